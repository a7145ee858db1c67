"""Signed addresses: HMAC-SHA256 over one path, a class and a time."""

import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote_to_bytes, urlencode, urlsplit, urlunsplit

from iiif_proxy.access.callers import Caller
from iiif_proxy.errors import InvalidRequest, NotAllowed
from iiif_proxy.upstream import raw_target

KEY, ONE, UNTIL, SIGNATURE = "sig-key", "sig-class", "sig-until", "sig"
LINE = re.compile(r"([A-Za-z0-9_-]{1,64})\s+(\S{16,512})")


def read(path: Path) -> dict[str, bytes]:
    """Secrets by their id, in order: the first signs, all are good. Raises ValueError."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as cause:
        raise ValueError(f"{path}: cannot be read") from cause
    found: dict[str, bytes] = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        parts = LINE.fullmatch(text)
        if parts is None or parts[1] in found:
            raise ValueError(
                f"{path}: line {number}: is not `id secret`, of 16 characters at least"
            )
        found[parts[1]] = parts[2].encode()
    if not found:
        raise ValueError(f"{path}: has no key in it")
    return found


def sign(url: str, secrets: Mapping[str, bytes], prefix: str, one: str, until: int) -> str:
    """The address with a signature by the first key. Raises ValueError for what is not ours."""
    parts = urlsplit(url)
    key = next(iter(secrets))
    path = _path(parts.path, prefix)
    if not path or parts.query or parts.fragment:
        raise ValueError(f"is no address of an image below {prefix or '/'}, without a query")
    query = {KEY: key, ONE: one, UNTIL: str(until)}
    query[SIGNATURE] = _signature(secrets[key], key, one, str(until), path)
    return urlunsplit((*parts[:3], urlencode(query), ""))


class BySignature:
    """The class that a signed address names, for that address alone."""

    vary: tuple[str, ...] = ()

    def __init__(self, secrets: Mapping[str, bytes], prefix: str) -> None:
        self._secrets = secrets
        self._prefix = prefix

    def find(self, environ: dict[str, Any]) -> Caller | None:
        """Raises NotAllowed for a signature that is not good."""
        text = environ.get("QUERY_STRING", "")
        if SIGNATURE not in text:
            return None
        try:
            query = {name: values[0] for name, values in parse_qs(text, max_num_fields=20).items()}
        except ValueError:
            query = {}
        if SIGNATURE not in query:
            return None
        key, one, until = (query.get(name, "") for name in (KEY, ONE, UNTIL))
        try:
            path = _path(raw_target(environ).partition("?")[0], self._prefix)
        except InvalidRequest:
            path = ""
        # An unknown key takes as long as a known one.
        good = _signature(self._secrets.get(key, b"-"), key, one, until, path)
        same = hmac.compare_digest(good.encode(), query[SIGNATURE].encode("utf-8", "replace"))
        if not same or key not in self._secrets or not path:
            raise NotAllowed("The signature is not of this address.")
        if not until.isdecimal() or int(until) < time.time():
            raise NotAllowed("The time of this signed address is over.")
        return Caller(one, f"signature {key}", True)


def _signature(secret: bytes, *parts: str) -> str:
    text = "\n".join(("iiif-proxy 1", *parts)).encode("utf-8", "surrogateescape")
    return hmac.new(secret, text, hashlib.sha256).hexdigest()


def _path(path: str, prefix: str) -> str:
    """From the prefix on, each segment escaped in one way: browsers escape more or less."""
    _, found, rest = path.partition(prefix + "/")
    if not found:
        return ""
    segments = (
        quote(unquote_to_bytes(part.encode("latin-1", "replace")), safe="")
        for part in rest.split("/")
    )
    return "/".join(segments)
