"""API keys: a file of names, classes and digests; the keys themselves are nowhere."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from iiif_proxy.access.callers import Caller
from iiif_proxy.errors import NotAuthenticated

LINE = re.compile(r"(\S+)\s+(\S+)\s+sha256:([0-9a-f]{64})")
LONGEST = 512


class KeysError(ValueError):
    """What is wrong with a file of keys, with its line."""


def digest_of(key: str) -> str:
    """Plain SHA-256 does: keys are random and long, so there is nothing to guess."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def read(path: Path, classes: Mapping[str, Any]) -> dict[str, Caller]:
    """Callers by the digest of their key. Raises KeysError."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as cause:
        raise KeysError(f"{path}: cannot be read") from cause
    found = {}
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        parts = LINE.fullmatch(text)
        if parts is None:
            raise KeysError(f"{path}: line {number}: is not `name class sha256:…`")
        if parts[2] not in classes:
            raise KeysError(f"{path}: line {number}: no such class: {parts[2]!r}")
        found[parts[3]] = Caller(parts[2], f"key {parts[1]}", True)
    return found


class ByKey:
    """A key in a header or, if the policy names one, in a parameter of the query."""

    def __init__(self, keys: Mapping[str, Caller], header: str, parameter: str | None) -> None:
        self._keys = keys
        self._header = "HTTP_" + header.upper().replace("-", "_")
        self._parameter = parameter
        self.vary: tuple[str, ...] = (header,)

    def find(self, environ: dict[str, Any]) -> Caller | None:
        key = environ.get(self._header, "")
        if not key and self._parameter and environ.get("QUERY_STRING"):
            given = parse_qs(environ["QUERY_STRING"])
            key = given.get(self._parameter, [""])[0]
        if not key:
            return None
        # Looked up by its digest: how long that takes says nothing about the keys.
        caller = self._keys.get(digest_of(key[:LONGEST]))
        if caller is None:
            raise NotAuthenticated("This key is not known here.")
        return caller
