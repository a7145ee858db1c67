"""Sources from the wrapped application: a sub-request, in the request's own thread."""

import contextlib
import io
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from iiif_proxy.errors import OriginFailed, OriginTimeout, ProxyError
from iiif_proxy.sources.base import (
    CREDENTIALS,
    REQUEST_ID,
    Answer,
    Conditions,
    Environ,
    fill,
    judge,
    length_of,
    personal,
)
from iiif_proxy.sources.coding import decoded

App = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

# Headers that are handed on, because applications refuse or redirect what lacks them; they are part
# of the source's name. Nothing else that a visitor says may colour what is kept for everybody.
SAID = (
    "HTTP_HOST", "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PORT", "HTTP_X_FORWARDED_PREFIX",
    "HTTP_X_FORWARDED_PROTO",
)  # fmt: skip
# Beside the headers: who the visitor is, what other middleware read from the first request, and
# a way to answer that is not to be iterated.
PERSONAL = {
    CREDENTIALS, "AUTH_TYPE", "CONTENT_LENGTH", "CONTENT_TYPE", "REMOTE_ADDR", "REMOTE_HOST",
    "REMOTE_IDENT", "REMOTE_PORT", "REMOTE_USER", "wsgi.file_wrapper", "wsgi.input_terminated",
}  # fmt: skip
READ = ("HTTP_", "webob.", "werkzeug.", "bottle.")
# An address that nobody has (RFC 5737): applications expect one.
NOBODY = "192.0.2.1"
# What an application may hand to write() before it returns: that is held in memory.
WRITTEN = 256 << 20


class AppSource:
    """`app:/path/{id}`: asks the wrapped WSGI application, as a stranger would.

    `total_timeout` is looked at between chunks: code that does not return cannot be stopped.
    """

    threaded = False

    def __init__(self, template: str, app: App, *, total_timeout: float = 120) -> None:
        self.template = "/" + template.partition(":")[2].lstrip("/")
        self.app = app
        self.total = total_timeout

    def url(self, identifier: str, environ: Environ) -> str:
        # An application may serve another image on another host.
        host, *others = (environ.get(name, "") for name in SAID)
        said = f"{host};{';'.join(others)}" if any(others) else host
        return f"app://{said}{fill(self.template, identifier)}"

    def ask(
        self, identifier: str, conditions: Conditions | None, environ: Environ
    ) -> Answer | None:
        deadline = time.monotonic() + self.total
        call = _Call()
        try:
            chunks = call.begin(self.app, self._environ(identifier, conditions, environ))
            status, headers = call.answered()
            if not judge(status, headers, f"app: {status}"):
                call.close()
                return None
            chunks = decoded(
                _held_to(chunks, length_of(headers), deadline), headers.get("content-encoding", "")
            )
        except ProxyError:
            call.close()
            raise
        except Exception as cause:
            call.close()
            raise OriginFailed("The application failed to give this image.", repr(cause)) from cause
        except BaseException:
            call.close()
            raise
        return Answer(status != 304, personal(headers, environ), chunks, call.close)

    def look(
        self, identifier: str, environ: Environ, credentials: Mapping[str, str], method: str
    ) -> tuple[int, Mapping[str, str]]:
        """Status and headers that a visitor's own credentials get; the image is not read."""
        call = _Call()
        inner = self._environ(identifier, None, {**environ, CREDENTIALS: credentials})
        inner["REQUEST_METHOD"] = method
        if method == "GET":
            inner["HTTP_RANGE"] = "bytes=0-0"
        try:
            call.begin(self.app, inner)
            return call.answered()
        except ProxyError:
            raise
        except Exception as cause:
            raise OriginFailed("The application failed to say.", repr(cause)) from cause
        finally:
            call.close()

    def _environ(self, identifier: str, conditions: Conditions | None, outer: Environ) -> Environ:
        target = fill(self.template, identifier)
        path, _, query = target.partition("?")
        environ = {
            name: value
            for name, value in outer.items()
            if name in SAID
            or name == REQUEST_ID
            or (name not in PERSONAL and not name.startswith(READ))
        }
        environ |= {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "REMOTE_ADDR": NOBODY,
            "wsgi.input": io.BytesIO(),
        }
        environ |= outer.get(CREDENTIALS, {})
        for name in ("RAW_URI", "REQUEST_URI"):
            if name in outer:
                environ[name] = outer.get("SCRIPT_NAME", "") + target
        for header, value in (conditions.headers() if conditions else {}).items():
            environ["HTTP_" + header.upper().replace("-", "_")] = value
        return environ


class _Call:
    """One call of a WSGI application, of whatever age: a list, a generator, or write()."""

    def __init__(self) -> None:
        self._body: Iterable[bytes] = ()
        self._answer: tuple[str, list[tuple[str, str]]] | None = None
        self._written: list[bytes] = []
        self._size = 0

    def begin(self, app: App, environ: Environ) -> Iterator[bytes]:
        self._body = app(environ, self._start_response)
        rest = iter(self._body)
        # A generator calls start_response only now.
        first = next(rest, b"")
        return self._chunks(first, rest)

    def answered(self) -> tuple[int, Mapping[str, str]]:
        if self._answer is None:
            raise ValueError("start_response was not called")
        status, fields = self._answer
        headers: dict[str, str] = {}
        for name, value in fields:
            key = name.lower()
            headers[key] = f"{headers[key]}, {value}" if key in headers else value
        return int(status.split(" ", 1)[0]), headers

    def close(self) -> None:
        body, self._body = self._body, ()
        close = getattr(body, "close", None)
        if close is not None:
            # What it sent is whole, or its fault is known already.
            with contextlib.suppress(Exception):
                close()

    def _start_response(
        self, status: str, fields: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        self._answer = (status, list(fields))
        return self._write

    def _write(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > WRITTEN:
            raise OriginFailed("The application wrote too much at once for this image.")
        self._written.append(data)

    def _chunks(self, first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
        yield from self._taken()
        yield first
        for chunk in rest:
            yield from self._taken()
            yield chunk
        yield from self._taken()

    def _taken(self) -> list[bytes]:
        taken, self._written, self._size = self._written, [], 0
        return taken


def _held_to(chunks: Iterator[bytes], due: int | None, deadline: float) -> Iterator[bytes]:
    """The body, held to its own Content-Length and to the time."""
    got = 0
    try:
        for chunk in chunks:
            got += len(chunk)
            if due is not None and got > due:
                break
            yield chunk
            if time.monotonic() > deadline:
                raise OriginTimeout("The application took too long for this image.")
    except ProxyError:
        raise
    except Exception as cause:
        raise OriginFailed("The application broke off this image.", repr(cause)) from cause
    if due is not None and got != due:
        raise OriginFailed("The application broke off this image.", f"{got} of {due} bytes")
