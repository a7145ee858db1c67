"""What an entry says of itself: its length, its digest, its Last-Modified, its last use."""

import contextlib
import os
import stat
import time
import zlib
from secrets import token_hex

NANO = 10**9
BLOCK = 1 << 20
DIGEST = "user.iiif-proxy"
# The kernel must not move atimes by itself: within one clock tick it would put them back.
QUIET = os.O_RDONLY | getattr(os, "O_NOATIME", 0)


class Crc:
    """CRC-32 of blocks as they come: for accidents, which are all that a cache can defend from."""

    def __init__(self) -> None:
        self.value = 0

    def __call__(self, block: bytes) -> None:
        self.value = zlib.crc32(block, self.value)

    @classmethod
    def of(cls, descriptor: int) -> "Crc":
        crc = cls()
        offset = 0
        while block := os.pread(descriptor, BLOCK, offset):
            crc(block)
            offset += len(block)
        return crc


class Marks:
    """Length and digest of the entries below one folder.

    The length (modulo 10^9) is in the nanoseconds of the mtime. They are free, since Last-Modified
    has seconds only; the fstat of a hit has both; and the file stays what a static server expects.
    A name would have to be searched for, a trailer be hidden from static servers, an attribute or
    a second file cost a system call more. Length and digest are in an extended attribute as well.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._lost: bool | None = None

    def write(self, descriptor: int, size: int, mtime: int, crc: Crc | None) -> None:
        """Mark a whole file, used just now. Raises OSError."""
        if crc is not None:
            with contextlib.suppress(OSError):  # No attributes here: `check` sees lengths only.
                os.setxattr(descriptor, DIGEST, b"%d %08x" % (size, crc.value))
        os.utime(descriptor, ns=(time.time_ns(), mtime * NANO + size % NANO))

    def fit(self, status: os.stat_result) -> bool:
        """Whether a file has the length it was stored with."""
        size = status.st_size
        if not size or not stat.S_ISREG(status.st_mode):
            return False
        return status.st_mtime_ns % NANO == size % NANO or self._are_lost()

    def sound(self, path: str) -> bool | None:
        """Whether the file is what was stored; None: its length is, and it has no digest."""
        try:
            descriptor = os.open(path, QUIET)
        except OSError:
            return None
        try:
            status = os.fstat(descriptor)
            if not self.fit(status):
                return False
            try:
                due = os.getxattr(descriptor, DIGEST)
            except OSError:
                return None
            return due == b"%d %08x" % (status.st_size, Crc.of(descriptor).value)
        except OSError:
            return False
        finally:
            os.close(descriptor)

    def _are_lost(self) -> bool:
        """Whether this file system rounds its times, so that lengths cannot be seen there."""
        if self._lost is None:
            path = f"{self._root}/.state/{token_hex(8)}"
            try:
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
                try:
                    os.utime(path, ns=(NANO, NANO + 123_456_789))
                    self._lost = os.stat(path).st_mtime_ns != NANO + 123_456_789
                finally:
                    os.unlink(path)
            except OSError:
                return False
        return self._lost
