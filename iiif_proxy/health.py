"""Whether everything that a request needs is there: more than that the process is alive."""

import http.client
import os
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from iiif_proxy.errors import ProxyError
from iiif_proxy.imaging.lossless import jpegtran
from iiif_proxy.imaging.optional import installed
from iiif_proxy.stores import history

# Of the file system: below this nothing can be stored reliably.
LEAST_FREE = 64 << 20
REMEMBERED = 5.0
OVER = 1.10


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `says` is a public sentence: no path, no credentials."""

    ok: bool
    says: str
    facts: Mapping[str, Any]


class Health:
    """`origins` are base URLs, or say theirs when asked; `folders` those of `file:` templates,
    `stores` name to bound.

    `policy`, `shared` (the cache of several machines) and `redis` say what is wrong, or None.

    Findings are remembered for some seconds: whoever asks often costs the origin nothing.
    """

    def __init__(
        self,
        origins: Sequence[str | Callable[[], str]],
        folders: Sequence[Path],
        cache: Path | None,
        stores: Mapping[str, int],
        formats: Sequence[str],
        *,
        timeout: float = 5.0,
        policy: Callable[[], str | None] | None = None,
        shared: Callable[[], str | None] | None = None,
        redis: Callable[[], str | None] | None = None,
    ) -> None:
        self._origins = origins
        self._folders = folders
        self._cache = cache
        self.stores = {} if cache is None else {name: (cache / name) for name in stores}
        self._bounds = stores
        self.codecs = codecs(formats)
        self._timeout = timeout
        self._policy, self._shared, self._redis = policy, shared, redis
        self._lock = threading.Lock()
        self._found: dict[str, Finding] = {}
        self._until = 0.0

    def deep(self) -> dict[str, Finding]:
        with self._lock:
            if time.monotonic() >= self._until:
                self._found = self._look()
                self._until = time.monotonic() + REMEMBERED
            return self._found

    def report(self) -> tuple[bool, dict[str, Any]]:
        """Whether all is well, and the findings as JSON values."""
        found = self.deep()
        checks = {name: {"ok": f.ok, "says": f.says, **f.facts} for name, f in found.items()}
        return all(finding.ok for finding in found.values()), checks

    def _look(self) -> dict[str, Finding]:
        found: dict[str, Finding] = {}
        for number, origin in enumerate(self._origins):
            name = f"origin {number + 1}" if number else "origin"
            found[name] = _safely(partial(reachable, origin, self._timeout))
        for number, folder in enumerate(self._folders):
            found[f"folder {number + 1}" if number else "folder"] = readable(folder)
        if self._cache is None:
            found["cache"] = Finding(True, "Nothing is stored: there is no cache folder.", {})
        else:
            cache = self._cache
            found["cache"] = _safely(partial(writable, cache, tuple(self._bounds)))
            found["space"] = _safely(partial(spacious, cache))
            for name, bound in self._bounds.items():
                folder = cache / name
                found[name] = _safely(partial(within, folder, bound))
        if self._policy is not None:
            found["policy"] = policy_of(self._policy())
        if self._shared is not None:
            found["shared cache"] = shared_of(self._shared())
        if self._redis is not None:
            found["redis"] = redis_of(self._redis())
        found["codecs"] = self.codecs
        return found


def reachable(origin: str | Callable[[], str], timeout: float) -> Finding:
    """Any answer below 500 to HEAD will do: who is there may still know nothing of `/`."""
    try:
        parts = urlsplit(origin if isinstance(origin, str) else origin())
    except ProxyError as fault:
        return Finding(False, fault.public, {})
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    begun = time.perf_counter()
    connection = kind(parts.hostname or "", parts.port, timeout=timeout)
    try:
        connection.request("HEAD", (parts.path or "") + "/", headers={"User-Agent": "iiif-proxy"})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as fault:
        return Finding(False, "The origin does not answer.", {"fault": type(fault).__name__})
    finally:
        connection.close()
    facts = {"status": status, "ms": round((time.perf_counter() - begun) * 1000, 1)}
    if status >= 500 and status != 501:
        return Finding(False, "The origin answers with a fault of its own.", facts)
    return Finding(True, "The origin answers.", facts)


def readable(folder: Path) -> Finding:
    if os.access(folder, os.R_OK | os.X_OK):
        return Finding(True, "The folder of the images can be read.", {})
    return Finding(False, "The folder of the images is not there or cannot be read.", {})


def writable(cache: Path, names: Sequence[str]) -> Finding:
    for name in names:
        state = cache / name / ".state"
        try:
            state.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=state) as file:
                file.write(b"x")
        except OSError as fault:
            says = f"The cache cannot be written ({(fault.strerror or 'unknown').lower()})."
            return Finding(False, says, {"store": name})
    return Finding(True, "The cache can be written.", {})


def spacious(cache: Path) -> Finding:
    free, nodes = room(cache)
    facts = {"free_bytes": free, "free_files": nodes}
    if free < LEAST_FREE:
        return Finding(False, "The disk of the cache is nearly full.", facts)
    if nodes is not None and nodes < 1000:
        return Finding(False, "The disk of the cache has hardly any inodes left.", facts)
    return Finding(True, "There is room on the disk of the cache.", facts)


def room(folder: Path) -> tuple[int, int | None]:
    """Free bytes and inodes (None where the file system does not count any)."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize, status.f_favail if status.f_files else None


def within(folder: Path, bound: int) -> Finding:
    if not folder.is_dir():
        return Finding(True, "Nothing is stored yet.", {"bytes": 0, "bound": bound})
    held, swept = history.total(str(folder)), history.last(str(folder))
    facts: dict[str, Any] = {"bytes": held, "bound": bound, "evicted": swept.evicted}
    facts["last_sweep"] = round(swept.at, 1) or None
    if held > bound * OVER:
        return Finding(False, "More is stored than is allowed, and sweeping did not help.", facts)
    return Finding(True, "What is stored is within its bound.", facts)


def policy_of(fault: str | None) -> Finding:
    """`fault` is for the log: it may hold paths."""
    if fault is None:
        return Finding(True, "The policy is in force.", {})
    return Finding(False, "The policy was changed and is not right; the one before stays.", {})


def shared_of(fault: str | None) -> Finding:
    if fault is None:
        return Finding(True, "The cache of all machines answers.", {})
    says = "The cache of all machines does not answer: this one goes on with its own."
    return Finding(False, says, {"fault": fault})


def redis_of(fault: str | None) -> Finding:
    if fault is None:
        return Finding(True, "Redis answers.", {})
    says = "Redis does not answer: this machine goes on by itself, and purges reach others later."
    return Finding(False, says, {"fault": fault})


def codecs(formats: Sequence[str]) -> Finding:
    """What is optional: told, never a fault."""
    turns = jpegtran() is not None
    facts = {"formats": list(formats), "extras": installed(), "jpegtran": turns}
    way = "without decoding it, by jpegtran" if turns else "by its pixels: there is no jpegtran"
    return Finding(True, f"Can write {', '.join(formats)}. JPEG is turned {way}.", facts)


def _safely(look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except (OSError, ValueError) as fault:
        return Finding(False, "This could not be looked at.", {"fault": type(fault).__name__})
