"""Bytes in hand: an open file, whole or still growing."""

import fcntl
import os
import threading
import time
from collections.abc import Callable
from typing import Protocol

from iiif_proxy.errors import OriginTimeout

# The sources' own limits end an arrival long before.
STALLED = 600.0
LOOK = 0.005


class Growing(Protocol):
    """What is still on its way into a file."""

    def wait_beyond(self, offset: int) -> bool:
        """Until there are more bytes than that; False when there will be none.

        Raises what ended it early.
        """


class Held:
    """An open file that outlives its name: `path` can be read as long as this is held.

    (/dev/fd opens the file itself anew, with an offset of its own, also when it has been
    unlinked meanwhile.)
    """

    def __init__(self, descriptor: int, growing: Growing | None = None) -> None:
        self.descriptor = descriptor
        self.path = f"/dev/fd/{descriptor}"
        self._growing = growing

    def read(self, offset: int, size: int) -> bytes:
        """At most so many bytes; waits for them where they are still on their way.

        b"" is the end. Raises what ended an arrival early.
        """
        while True:
            growing = self._growing
            found = os.pread(self.descriptor, size, offset)
            if found or growing is None:
                return found
            if not growing.wait_beyond(offset):
                return os.pread(self.descriptor, size, offset)

    def complete(self) -> None:
        """Wait until all of it is there. Raises what ended an arrival early."""
        while (growing := self._growing) is not None:
            if not growing.wait_beyond(os.fstat(self.descriptor).st_size):
                return

    def settle(self) -> None:
        """All of it is there."""
        self._growing = None

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        close(self.descriptor)


def move(source: int, target: int) -> None:
    """Put a file with the same bytes under the descriptor `target`; `source` is closed."""
    os.dup2(source, target, inheritable=False)
    os.close(source)


class Elsewhere:
    """An arrival in another process, seen by its file: locked while it grows, then renamed.

    `whole` gives the bytes when it is neither: what was stored, or fetched anew if its maker died.
    """

    def __init__(self, path: str, descriptor: int, whole: Callable[[], Held]) -> None:
        self._path = path
        self._descriptor = descriptor
        self._whole = whole
        self._lock = threading.Lock()
        self._done = False

    def wait_beyond(self, offset: int) -> bool:
        """As Growing says."""
        end = time.monotonic() + STALLED
        while True:
            going_on = not self._done and is_written(self._path)
            if os.fstat(self._descriptor).st_size > offset:
                return True
            if self._done:
                return False
            if not going_on:
                self._finish()
            elif time.monotonic() > end:
                raise OriginTimeout("The origin took too long for this image.")
            else:
                time.sleep(LOOK)

    def _finish(self) -> None:
        with self._lock:
            if not self._done:
                whole = self._whole()
                move(os.dup(whole.descriptor), self._descriptor)
                self._done = True


def is_written(path: str) -> bool:
    """Whether a file is there, and a process that has it locked to write it."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False
