"""A lock for each key, among processes."""

import contextlib
import fcntl
import hashlib
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import TypeVar

from iiif_proxy.concurrency.recent import Recent, busy

log = logging.getLogger(__name__)
T = TypeVar("T")

QUIET_SECONDS = 60.0
# How often a lock of another process is tried: at first quickly, at most every 25 ms.
TRY, TRY_MOST = 0.001, 0.025
# Locks that killed processes left behind are looked for once in so many.
TIDY_EVERY, TIDY_AGE = 1000, 86_400.0


class KeyLocks:
    """flock on a file for each key: kill -9 frees it.

    The file is made for the lock and removed after it (13 us; one of a fixed set of stripes would
    be 2 us). With stripes a tile would wait for another key's long decode, and two processes that
    nest could wait for each other for ever over keys that have nothing in common.

    If the disk refuses, nothing is locked; a warning says so once a minute.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = os.path.abspath(folder)
        self._guard = threading.Lock()
        self._held: set[int] = set()
        self._taken = 0
        self._warned = -QUIET_SECONDS
        _all.add(self)

    @contextlib.contextmanager
    def hold(
        self,
        key: str,
        end: float,
        took: Recent,
        meanwhile: Callable[[], T | None] = lambda: None,
    ) -> Iterator[T | None]:
        """Hold the lock of `key`, or give what `meanwhile` finds while another holds it.

        Raises Busy when the monotonic clock is at `end`.
        """
        name = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        path = f"{self._folder}/{name}"
        descriptor, found = self._locked(path, end, took, meanwhile)
        try:
            yield found
        finally:
            if descriptor is not None:
                self._unlock(path, descriptor)

    def _locked(
        self, path: str, end: float, took: Recent, meanwhile: Callable[[], T | None]
    ) -> tuple[int | None, T | None]:
        """The lock's descriptor, or None if there can be no locks, or something was found.

        Raises Busy.
        """
        found = None
        try:
            while found is None:
                descriptor = self._open(path)
                try:
                    found = _wait(descriptor, end, took, meanwhile)
                    # Its last holder removed it while it was waited for: then it locks nothing.
                    if found is None and _is_at(descriptor, path):
                        with self._guard:
                            self._held.add(descriptor)
                        return descriptor, None
                except BaseException:
                    os.close(descriptor)
                    raise
                os.close(descriptor)
        except OSError as refusal:
            self._refused(refusal)
        return None, found

    def _open(self, path: str) -> int:
        flags = os.O_RDWR | os.O_CREAT
        try:
            return os.open(path, flags, 0o644)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            return os.open(path, flags, 0o644)

    def _unlock(self, path: str, descriptor: int) -> None:
        with self._guard:
            self._held.discard(descriptor)
            self._taken += 1
            tidy = self._taken % TIDY_EVERY == 0
        # Removed while it is held, and only if it is ours: the folder may be a new one.
        with contextlib.suppress(OSError):
            if _is_at(descriptor, path):
                os.unlink(path)
        with contextlib.suppress(OSError):
            # Said, not left to close: a child forked meanwhile has the descriptor too.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)
        if tidy:
            self._tidy()

    def _tidy(self) -> None:
        """Remove locks of old that nobody holds: kill -9 leaves an empty file."""
        with contextlib.suppress(OSError), os.scandir(self._folder) as entries:
            for entry in entries:
                if time.time() - entry.stat().st_mtime < TIDY_AGE:
                    continue
                with contextlib.suppress(OSError):
                    descriptor = os.open(entry.path, os.O_RDWR)
                    try:
                        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        if _is_at(descriptor, entry.path):
                            os.unlink(entry.path)
                    finally:
                        os.close(descriptor)

    def _refused(self, refusal: OSError) -> None:
        now = time.monotonic()
        if now - self._warned >= QUIET_SECONDS:
            self._warned = now
            log.warning("no locks between processes (%s)", refusal.strerror or refusal)

    def after_fork(self) -> None:
        """In a child: it must not keep the parent's locks when the parent dies."""
        self._guard = threading.Lock()
        held, self._held = self._held, set()
        for descriptor in held:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def _wait(descriptor: int, end: float, took: Recent, meanwhile: Callable[[], T | None]) -> T | None:
    pause = TRY
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return None
        except BlockingIOError:
            left = end - time.monotonic()
            if left <= 0:
                raise busy(took.seconds) from None
        time.sleep(min(pause, left))
        pause = min(pause * 1.25, TRY_MOST)
        found = meanwhile()
        if found is not None:
            return found


def _is_at(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


_all: "weakref.WeakSet[KeyLocks]" = weakref.WeakSet()


def _after_fork() -> None:
    for locks in list(_all):
        locks.after_fork()


os.register_at_fork(after_in_child=_after_fork)
