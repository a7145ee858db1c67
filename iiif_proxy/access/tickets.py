"""Signed statements that somebody is of a class until then: access cookies and access tokens.

A ticket is opaque: 8 bytes of its end, a nonce, digests of the class and of what it is bound to,
and HMAC-SHA256 over all of that and its purpose. Who sees one learns nothing, and a token cannot
be made into a cookie (Authorization Flow API 2.0, 4.4).
"""

import base64
import binascii
import hashlib
import hmac
import os
import struct
import time
from collections.abc import Iterable

SIZE = 8
MAC = 32
LENGTH = 4 * SIZE + MAC
COOKIE = "cookie"
TOKEN = "token"
# Told from other bearers: a JWT has points.
MARK = "iiif-"


class Expired(Exception):
    """It was good once."""


class Tickets:
    """Makes and reads tickets with one key of 16 bytes or more."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def made(self, purpose: str, one: str, bound: str, seconds: float) -> str:
        body = struct.pack(">Q", int(time.time() + seconds)) + os.urandom(SIZE)
        body += self._digest("class", one)[:SIZE] + self._digest("bound", bound)[:SIZE]
        whole = body + self._mac(purpose, body)
        return MARK + base64.urlsafe_b64encode(whole).decode().rstrip("=")

    def read(
        self, text: str, purpose: str, bound: str | None, classes: Iterable[str]
    ) -> str | None:
        """The class; None for what is no ticket of ours, or bound to something else (`bound` None:
        whatever it is bound to). Raises Expired."""
        raw = _raw(text)
        if raw is None:
            return None
        body, mac = raw[:-MAC], raw[-MAC:]
        if not hmac.compare_digest(mac, self._mac(purpose, body)):
            return None
        if bound is not None:
            digest = self._digest("bound", bound)[:SIZE]
            if not hmac.compare_digest(body[3 * SIZE :], digest):
                return None
        if struct.unpack(">Q", body[:SIZE])[0] < time.time():
            raise Expired
        said = body[2 * SIZE : 3 * SIZE]
        return next((one for one in classes if self._digest("class", one)[:SIZE] == said), None)

    def _mac(self, purpose: str, body: bytes) -> bytes:
        return self._digest(f"ticket {purpose}", body)

    def _digest(self, kind: str, value: str | bytes) -> bytes:
        data = value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")
        return hmac.new(self._key, kind.encode() + b"\0" + data, hashlib.sha256).digest()


def is_ticket(text: str) -> bool:
    return text.startswith(MARK)


def _raw(text: str) -> bytes | None:
    if not is_ticket(text) or not text.isascii() or len(text) > 2 * LENGTH:
        return None
    try:
        found = base64.urlsafe_b64decode(text[len(MARK) :] + "=" * (-len(text[len(MARK) :]) % 4))
    except (binascii.Error, ValueError):
        return None
    return found if len(found) == LENGTH else None
