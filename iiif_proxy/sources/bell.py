"""One file that says to all processes that what they remember is to be read anew."""

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from iiif_proxy.sources.base import mind_forks
from iiif_proxy.sources.record import hashed

# Every ring is so long: whose it is, or nobody's in particular.
LENGTH = 16
ANY = b"." * (LENGTH - 1) + b"\n"
ALL = b"*" * (LENGTH - 1) + b"\n"


class Bell:
    """A file that grows at each ring: dates and inodes may come again, a size does not.

    Without a folder it is heard in this process only.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else str(folder / "purged")
        self._here = bytearray()
        self.after_fork()
        mind_forks(self)

    def after_fork(self) -> None:
        """Who held it is not in the child."""
        self._lock = threading.RLock()

    def look(self) -> int:
        """Another number each time it has rung: a stat."""
        if self._path is None:
            return len(self._here)
        try:
            seen = os.stat(self._path)
        except OSError:
            return 0
        return seen.st_ino << 40 | seen.st_size if seen.st_size else 0

    def ring(self, tag: bytes = ANY) -> None:
        if self._path is None:
            self._here += tag
            return
        with contextlib.suppress(OSError):
            descriptor = self._opened(self._path)
            try:
                os.write(descriptor, tag)
            finally:
                os.close(descriptor)

    def rang(self, identifier: str, since: int) -> bool:
        """Whether it has rung for an identifier since `look` gave that number."""
        now = self.look()
        if now == since:
            return False
        if self._path is None:
            return _among(_tag(identifier), bytes(self._here[since:]))
        if since and since >> 40 != now >> 40:
            return True  # Somebody removed it: nobody knows what was rung.
        try:
            with open(self._path, "rb") as file:
                file.seek(since & ((1 << 40) - 1))
                return _among(_tag(identifier), file.read())
        except OSError:
            return True

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        """Nobody rings for an identifier while this is held: what `rang` said stays so."""
        with self._held(fcntl.LOCK_SH):
            yield

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody rings or is `silent` while this is held."""
        with self._held(fcntl.LOCK_EX):
            yield

    @contextlib.contextmanager
    def ringing(self, identifier: str | None) -> Iterator[None]:
        """Ring for an identifier (None: for each) when this is done; wait until nobody is
        `silent`."""
        with self.alone():
            try:
                yield
            finally:
                self.ring(ALL if identifier is None else _tag(identifier))

    @contextlib.contextmanager
    def _held(self, how: int) -> Iterator[None]:
        if self._path is None:
            with self._lock:
                yield
            return
        try:
            descriptor = self._opened(self._path)
        except OSError:
            # A disk that refuses keeps no records either.
            yield
            return
        try:
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, how)
            yield
        finally:
            with contextlib.suppress(OSError):
                # Said, not left to close: a child forked meanwhile has the descriptor too.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    @staticmethod
    def _opened(path: str) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        try:
            return os.open(path, flags, 0o644)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            return os.open(path, flags, 0o644)


def _tag(identifier: str) -> bytes:
    return hashed(identifier)[: LENGTH - 1].encode() + b"\n"


def _among(tag: bytes, rung: bytes) -> bool:
    return any(rung[at : at + LENGTH] in (tag, ALL) for at in range(0, len(rung), LENGTH))
