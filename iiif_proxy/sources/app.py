"""Sources from the wrapped application: a sub-request, in the request's own thread."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import unquote_to_bytes

from webob import Request

from iiif_proxy.errors import OriginFailed, ProxyError
from iiif_proxy.sources.base import Answer, Conditions, Environ, fill, judge

App = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

# What a visitor brings along must not colour what is then cached for everybody.
PERSONAL = ("HTTP_COOKIE", "HTTP_AUTHORIZATION", "REMOTE_USER", "AUTH_TYPE")
CONDITIONAL = (
    "HTTP_RANGE", "HTTP_IF_RANGE", "HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE",
    "HTTP_IF_MATCH", "HTTP_IF_UNMODIFIED_SINCE", "HTTP_ACCEPT_ENCODING", "HTTP_ACCEPT",
    "HTTP_EXPECT", "HTTP_TRANSFER_ENCODING", "CONTENT_TYPE",
)  # fmt: skip


class AppSource:
    """`app:/path/{id}`: asks the wrapped WSGI application, as a stranger would."""

    threaded = False

    def __init__(self, template: str, app: App) -> None:
        self.template = "/" + template.partition(":")[2].lstrip("/")
        self.app = app

    def url(self, identifier: str, environ: Environ) -> str:
        # The host is part of the name: an application may serve another image on another host.
        return f"app://{environ.get('HTTP_HOST', '')}{fill(self.template, identifier)}"

    def ask(
        self, identifier: str, conditions: Conditions | None, environ: Environ
    ) -> Answer | None:
        target = fill(self.template, identifier)
        response = Request(self._environ(target, conditions, environ))
        try:
            status, raw, body, *_ = response.call_application(self.app)
        except ProxyError:
            raise
        except Exception as cause:
            raise OriginFailed("The application failed to give this image.", repr(cause)) from cause
        close: Callable[[], None] = getattr(body, "close", lambda: None)
        headers: dict[str, str] = {}
        for name, value in raw:
            headers[name.lower()] = (
                f"{headers[name.lower()]}, {value}" if name.lower() in headers else value
            )
        try:
            code = int(status.split(" ", 1)[0])
            if not judge(code, headers, f"app: {status}"):
                close()
                return None
            if headers.get("content-encoding", "identity").lower() != "identity":
                raise OriginFailed("The application sent this image in an encoding.", status)
        except ProxyError:
            close()
            raise
        return Answer(code != 304, headers, _chunks(body, headers), close)

    def _environ(self, target: str, conditions: Conditions | None, outer: Environ) -> Environ:
        environ: Environ = Request(outer).copy_get().environ
        path, _, query = target.partition("?")
        for name in (*PERSONAL, *CONDITIONAL):
            environ.pop(name, None)
        environ["REQUEST_METHOD"] = "GET"
        environ["PATH_INFO"] = unquote_to_bytes(path).decode("latin-1")
        environ["QUERY_STRING"] = query
        raw = outer.get("SCRIPT_NAME", "") + target
        for name in ("RAW_URI", "REQUEST_URI"):
            if name in environ:
                environ[name] = raw
        if conditions and conditions.etag:
            environ["HTTP_IF_NONE_MATCH"] = conditions.etag
        if conditions and conditions.last_modified:
            environ["HTTP_IF_MODIFIED_SINCE"] = conditions.last_modified
        return environ


def _chunks(body: Iterable[bytes], headers: dict[str, str]) -> Iterator[bytes]:
    """The body, held to its own Content-Length."""
    due = headers.get("content-length", "")
    got = 0
    try:
        for chunk in body:
            got += len(chunk)
            yield chunk
    except ProxyError:
        raise
    except Exception as cause:
        raise OriginFailed("The application broke off this image.", repr(cause)) from cause
    if due.isdigit() and got != int(due):
        raise OriginFailed("The application broke off this image.", f"{got} of {due} bytes")
