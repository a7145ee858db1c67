"""Who is logged in at the origin: asked at an address of its own that only those may see."""

import hashlib
import hmac
import io
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from secrets import token_bytes
from typing import Any
from urllib.parse import unquote_to_bytes

from cachetools import TTLCache
from webob import Request

from iiif_proxy.access.callers import Caller
from iiif_proxy.access.tickets import is_ticket
from iiif_proxy.errors import ProxyError, Undecided

log = logging.getLogger(__name__)
Environ = dict[str, Any]
App = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
# What the origin hears of the visitor; all else is of the request for an image.
SAID = (
    "HTTP_HOST", "HTTP_COOKIE", "HTTP_AUTHORIZATION", "HTTP_USER_AGENT", "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PORT", "HTTP_X_FORWARDED_PREFIX",
    "HTTP_X_FORWARDED_PROTO",
)  # fmt: skip
OF_BODY = {"CONTENT_LENGTH", "CONTENT_TYPE", "wsgi.input_terminated", "wsgi.file_wrapper"}
READ = ("HTTP_", "webob.", "werkzeug.", "bottle.")
SECONDS = 30.0
REMEMBERED = 20_000
TURNS = 32
PAUSE = "5"


class BySession:
    """`path` of `app` is 2xx for who is logged in. Remembered for `SECONDS` by a digest of the
    credentials; without any nobody is asked. `cookies` are those that a login leaves; none: any.
    """

    vary: tuple[str, ...] = ("Authorization", "Cookie")

    def __init__(self, app: App, path: str, one: str, cookies: Sequence[str] = ()) -> None:
        self._app = app
        self._path = path
        self._one = one
        self._cookies = frozenset(cookies)
        self._secret = token_bytes(32)
        self._said: TTLCache[bytes, bool] = TTLCache(REMEMBERED, SECONDS)
        self._lock = threading.Lock()
        # Tiles are asked for many at a time: the first asks for all.
        self._turns = [threading.Lock() for _ in range(TURNS)]

    def find(self, environ: Environ) -> Caller | None:
        given = self._given(environ)
        if not given:
            return None
        text = "\0".join([*given, str(environ.get("HTTP_HOST", ""))])
        digest = hmac.digest(self._secret, text.encode("utf-8", "surrogatepass"), hashlib.sha256)
        said = self._known(digest)
        if said is None:
            with self._turns[digest[0] % TURNS]:
                said = self._known(digest)
                if said is None:
                    said = self._asked(environ)
                    with self._lock:
                        self._said[digest] = said
        return Caller(self._one, f"session {digest.hex()[:16]}", True) if said else None

    def _known(self, digest: bytes) -> bool | None:
        with self._lock:
            return self._said.get(digest)

    def _given(self, environ: Environ) -> list[str]:
        """The credentials of a request; none where it has none that the origin could know."""
        cookies = environ.get("HTTP_COOKIE", "")
        if self._cookies:
            pairs = (pair.strip() for pair in cookies.split(";"))
            cookies = "; ".join(p for p in pairs if p.partition("=")[0] in self._cookies)
        bearer = environ.get("HTTP_AUTHORIZATION", "")
        if is_ticket(bearer.partition(" ")[2].strip()):
            bearer = ""
        return [cookies, bearer] if cookies or bearer else []

    def _asked(self, environ: Environ) -> bool:
        """Raises Undecided where the origin does not say."""
        try:
            answer = Request(self._environ(environ)).send(self._app)
            try:
                status = int(answer.status_int)
            finally:
                close = getattr(answer.app_iter, "close", None)
                if close is not None:
                    close()
        except ProxyError as cause:
            raise undecided(str(cause)) from cause
        except Exception as cause:
            log.exception("the origin could not be asked who is logged in")
            raise undecided(repr(cause)) from cause
        if status >= 500 or status == 429:
            raise undecided(f"status {status}")
        return 200 <= status < 300

    def _environ(self, outer: Environ) -> Environ:
        path, _, query = self._path.partition("?")
        environ = {
            name: value
            for name, value in outer.items()
            if name in SAID or (name not in OF_BODY and not name.startswith(READ))
        }
        environ |= {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "wsgi.input": io.BytesIO(),
        }
        for name in ("RAW_URI", "REQUEST_URI"):
            if name in outer:
                environ[name] = outer.get("SCRIPT_NAME", "") + self._path
        return environ


def undecided(cause: str) -> ProxyError:
    return Undecided(
        "Whether you are logged in cannot be found out at the moment.",
        cause,
        {"Retry-After": PAUSE},
    )
