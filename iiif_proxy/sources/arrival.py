"""Bytes on their way from an origin: held in a file, waited for by many."""

import fcntl
import os
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from iiif_proxy.concurrency.flight import again
from iiif_proxy.errors import OriginFailed, OriginTimeout, ProxyError
from iiif_proxy.sources.record import Record

# The sources' own limits end an arrival long before.
STALLED = 600.0
LOOK = 0.005


class Held:
    """An open file that outlives its name: `path` can be read as long as this is held.

    (/dev/fd opens the file itself anew, with an offset of its own, also when it has been
    unlinked meanwhile.)
    """

    def __init__(self, descriptor: int, arrival: "Arrival | Elsewhere | None" = None) -> None:
        self.descriptor = descriptor
        self.path = f"/dev/fd/{descriptor}"
        self._arrival = arrival

    def read(self, offset: int, size: int) -> bytes:
        """At most so many bytes; waits for them where they are still on their way.

        b"" is the end. Raises what ended an arrival early.
        """
        while True:
            found = os.pread(self.descriptor, size, offset)
            if found or self._arrival is None:
                return found
            if not self._arrival.wait_beyond(offset):
                return os.pread(self.descriptor, size, offset)

    def __del__(self) -> None:
        os.close(self.descriptor)


class Elsewhere:
    """An arrival in another process, seen by its file: it grows, and then gets another name."""

    def __init__(self, path: Path, descriptor: int, stored: Callable[[], bool]) -> None:
        self._path = path
        self._descriptor = descriptor
        self._stored = stored

    def wait_beyond(self, offset: int, timeout: float = STALLED) -> bool:
        """As Arrival.wait_beyond."""
        end = time.monotonic() + timeout
        while True:
            going_on = self._path.exists() and self._written()
            if os.fstat(self._descriptor).st_size > offset:
                return True
            if not going_on:
                if self._stored():
                    return False
                raise OriginFailed("The origin broke off in the middle of this image.")
            if time.monotonic() > end:
                raise OriginTimeout("The origin took too long for this image.")
            time.sleep(LOOK)

    def _written(self) -> bool:
        """Whether the process that writes it is still there."""
        try:
            with open(self._path, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False


class Incoming:
    """The file that a download is written to.

    In the cache's folder when that can be written, so that keeping it is a rename; in memory as
    soon as the disk refuses, so that the request in hand is still answered.
    """

    def __init__(self, folder: Path | None, name: str) -> None:
        self.path: Path | None = None
        self.size = 0
        try:
            if folder is None:
                with tempfile.TemporaryFile() as made:
                    self._descriptor = os.dup(made.fileno())
                return
            folder.mkdir(parents=True, exist_ok=True)
            self.path = folder / name
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
            # Held as long as this process lives: who reads along sees whether it still does.
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        except OSError:
            self.path = None
            self._descriptor = os.memfd_create("iiif-proxy-source")

    def write(self, chunk: bytes) -> None:
        view = memoryview(chunk)
        while view:
            try:
                done = os.write(self._descriptor, view)
            except OSError:
                if not self._to_memory():
                    raise
                continue
            self.size += done
            view = view[done:]

    def _to_memory(self) -> bool:
        """The disk refuses: go on in memory. False when this was memory already."""
        if self.path is None:
            return False
        memory = os.memfd_create("iiif-proxy-source")
        offset = 0
        while block := os.pread(self._descriptor, 1 << 20, offset):
            offset += os.write(memory, block)
        self.discard()
        os.close(self._descriptor)
        self._descriptor = memory
        return True

    def held(self, arrival: "Arrival | None" = None) -> Held:
        """The bytes so far; with `arrival` also those that will come."""
        return Held(os.dup(self._descriptor), arrival)

    def discard(self) -> None:
        """Take the name away; what is held can still be read."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
            self.path = None

    def close(self) -> None:
        os.close(self._descriptor)


@dataclass(frozen=True, slots=True)
class SourceImage:
    """A source at one state. `held`: its bytes, in hand already; `whole`: all of them."""

    record: Record
    held: Held | None = None
    whole: bool = False


class Arrival:
    """One fetch that several requests of this process may wait for."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._image: SourceImage | None = None
        self._error: ProxyError | None = None
        self._done = False
        self._size = 0
        self.whole_wanted = False

    def grown(self, size: int) -> None:
        """So many bytes are in the file."""
        with self._changed:
            self._size = size
            self._changed.notify_all()

    def wait_beyond(self, offset: int, timeout: float = STALLED) -> bool:
        """Until there are more bytes than that; False when there will be none."""
        end = time.monotonic() + timeout
        with self._changed:
            while self._size <= offset:
                if self._error:
                    raise again(self._error)
                if self._done:
                    return False
                left = end - time.monotonic()
                if left <= 0:
                    raise OriginTimeout("The origin took too long for this image.")
                self._changed.wait(left)
        return True

    def head(self, record: Record, held: Held) -> None:
        """The header has come: width and height are known, the rest is on its way."""
        with self._changed:
            self._image = SourceImage(record, held)
            self._changed.notify_all()

    def finish(self, image: SourceImage | None, error: ProxyError | None) -> None:
        with self._changed:
            self._image, self._error, self._done = image, error, True
            self._changed.notify_all()

    def wait(self, whole: bool, timeout: float) -> SourceImage:
        """The image; with `whole` False as soon as its header is known."""
        end = time.monotonic() + timeout
        with self._changed:
            self.whole_wanted = self.whole_wanted or whole
            while True:
                if self._error:
                    raise again(self._error)
                if self._image is not None and (self._done or not whole):
                    return self._image
                left = end - time.monotonic()
                if left <= 0:
                    raise OriginTimeout("The origin took too long for this image.")
                self._changed.wait(left)
