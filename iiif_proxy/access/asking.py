"""Asking the origin: whether it would show an image to a visitor, by the visitor's credentials."""

import hashlib
import hmac
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from secrets import token_bytes
from typing import Any
from weakref import WeakValueDictionary

from cachetools import TTLCache

from iiif_proxy.errors import (
    NotAllowed,
    NotAuthenticated,
    NotFound,
    OriginFailed,
    OriginTimeout,
    ProxyError,
    TooManyRequests,
    Undecided,
)
from iiif_proxy.sources.base import CREDENTIALS, PRINTABLE

Environ = dict[str, Any]
Look = Callable[[str, Environ, Mapping[str, str], str], tuple[int, Mapping[str, str]]]
OF_VISITORS = ("HTTP_COOKIE", "HTTP_AUTHORIZATION", "REMOTE_USER")
# An application may have another image on another host.
OF_PLACES = ("HTTP_HOST", "HTTP_X_FORWARDED_HOST")
REMEMBERED = 20_000
PAUSE = 5
VARY = "Authorization, Cookie"


@dataclass(frozen=True, slots=True)
class Said:
    """The origin's verdict: 200, 401, 403 or 404, and how 401 may be answered."""

    status: int
    challenge: str = ""


class Turn:
    """A lock for all who want to know the same."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __enter__(self) -> None:
        self.lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.lock.release()


class Asking:
    """`look` asks the sources; `method` is HEAD or GET (of one byte). A verdict, good or bad, is
    remembered for `seconds`, by a digest of the credentials and by the identifier."""

    def __init__(self, look: Look, method: str, seconds: float) -> None:
        self._look = look
        self._method = method
        self.seconds = seconds
        self._secret = token_bytes(32)
        self._said: TTLCache[tuple[bytes, str], Said] = TTLCache(REMEMBERED, seconds)
        self._turns: WeakValueDictionary[tuple[bytes, str], Turn] = WeakValueDictionary()
        self._lock = threading.Lock()

    def ask(self, identifier: str, environ: Environ) -> None:
        """Leaves the credentials in the environ for the sources. Raises NotAuthenticated,
        NotAllowed, NotFound, TooManyRequests; Undecided where the origin does not say."""
        given = {name: str(environ[name]) for name in OF_VISITORS if environ.get(name)}
        key = self._digest(given, environ), identifier
        with self._lock:
            said = self._said.get(key)
            turn = self._turns.setdefault(key, Turn())
        if said is None:
            with turn:
                with self._lock:
                    said = self._said.get(key)
                if said is None:
                    said = self._asked(identifier, environ, given)
                    with self._lock:
                        self._said[key] = said
        _judge(said)
        environ[CREDENTIALS] = given

    def _digest(self, given: Mapping[str, str], environ: Environ) -> bytes:
        parts = [given.get(name, "") for name in OF_VISITORS]
        parts += [str(environ.get(name, "")) for name in OF_PLACES]
        text = "".join(f"{len(part)}:{part}" for part in parts)
        return hmac.digest(self._secret, text.encode("utf-8", "surrogatepass"), hashlib.sha256)

    def _asked(self, identifier: str, environ: Environ, given: Mapping[str, str]) -> Said:
        try:
            status, headers = self._look(identifier, environ, given, self._method)
        except NotFound:
            return Said(404)
        except (OriginFailed, OriginTimeout) as cause:
            raise _undecided(str(cause)) from cause
        if status in {200, 203, 204, 206}:
            # A page is no image: mostly it asks for a login.
            html = headers.get("content-type", "").lower().startswith("text/html")
            return Said(403 if html else 200)
        if status == 401:
            challenge = headers.get("www-authenticate", "")
            return Said(401, challenge if PRINTABLE.fullmatch(challenge) else "")
        if status == 429:
            raise TooManyRequests(
                "The origin asks for fewer requests at the moment.",
                headers={"Retry-After": str(PAUSE)},
            )
        if status < 500:
            return Said(403)
        raise _undecided(f"status {status}")


def _undecided(cause: str) -> ProxyError:
    return Undecided(
        "The origin does not say at the moment whether you may see this image.",
        cause,
        {"Retry-After": str(PAUSE)},
    )


def _judge(said: Said) -> None:
    if said.status == 401:
        kept = {"WWW-Authenticate": said.challenge} if said.challenge else {}
        raise NotAuthenticated("The origin asks who you are for this image.", headers=kept)
    if said.status == 403:
        raise NotAllowed("The origin does not allow you this image.")
    if said.status == 404:
        raise NotFound("No source has an image with this identifier.")
