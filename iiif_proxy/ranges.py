"""Bytes at random: what a reader of tiled files asks of a file, an HTTP origin or a bucket."""

import os
import threading
import weakref
from collections.abc import Iterable, Sequence
from typing import IO, Protocol

from iiif_proxy.errors import OriginFailed, for_want

Span = tuple[int, int]
"""(offset, size) in bytes."""


class ByteSource(Protocol):
    """A source of bytes with random access, safe to share among threads.

    `size` is None while it is not known. Fewer bytes than asked are returned only where the
    source ends (none at all beyond it). `read_many` is one round trip where the source can
    (parallel or multipart ranges); it answers in the order asked. Errors are ProxyErrors.
    """

    @property
    def size(self) -> int | None: ...

    def read(self, offset: int, size: int) -> bytes: ...

    def read_many(self, spans: list[Span]) -> list[bytes]: ...


class Parts(ByteSource, Protocol):
    """A ByteSource of which the first bytes may be known already: `head`."""

    @property
    def head(self) -> bytes: ...


def coalesce(spans: Iterable[Span], gap: int, most: int = 16 << 20) -> list[Span]:
    """The fewest spans that cover `spans`: neighbours at most `gap` bytes apart become one.

    Sorted by offset; overlapping spans always join, others only up to `most` bytes.
    """
    merged: list[Span] = []
    for offset, size in sorted(spans):
        if merged:
            start, length = merged[-1]
            end = max(start + length, offset + size)
            close = offset <= start + length + gap and end - start <= most
            if close or offset < start + length:
                merged[-1] = (start, end - start)
                continue
        merged.append((offset, size))
    return merged


def read_coalesced(source: ByteSource, spans: Sequence[Span], gap: int) -> list[bytes]:
    """The bytes of each span, in the order asked, by one `read_many` of the merged spans."""
    merged = coalesce(spans, gap)
    if not merged:
        return []
    blocks = source.read_many(merged)
    found: dict[Span, bytes] = {}
    at = 0
    for span in sorted(set(spans)):
        offset, size = span
        while offset >= merged[at][0] + merged[at][1] and at + 1 < len(merged):
            at += 1
        start = offset - merged[at][0]
        found[span] = blocks[at][start : start + size]
    return [found[span] for span in spans]


class FileSource:
    """A local file, read by `pread`: no shared position, so threads need no lock."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            said = OriginFailed("The source image cannot be read.", cause=str(error))
            raise for_want(error) or said from error
        # The descriptor lives as long as somebody can still read: closing it under a reader
        # would let the number be reused for another file.
        self._close = weakref.finalize(self, os.close, self._fd)
        self._size = os.fstat(self._fd).st_size

    @property
    def size(self) -> int:
        return self._size

    def read(self, offset: int, size: int) -> bytes:
        size = min(size, self._size - offset)
        if size <= 0 or offset < 0:
            return b""
        try:
            return os.pread(self._fd, size, offset)
        except OSError as error:
            said = OriginFailed("The source image cannot be read.", cause=str(error))
            raise for_want(error) or said from error

    def read_many(self, spans: list[Span]) -> list[bytes]:
        return [self.read(offset, size) for offset, size in spans]

    def close(self) -> None:
        """Give the descriptor back early; nobody may be reading, nor read again."""
        self._close()


class OfFile:
    """An open file of this thread alone, as a ByteSource. Its position moves."""

    size = None

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, offset: int, size: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(size)

    def read_many(self, spans: list[Span]) -> list[bytes]:
        return [self.read(*span) for span in spans]


class BlockCache:
    """A ByteSource that keeps what it reads, for headers: few round trips, bounded memory.

    A read that misses fetches at least `block` bytes from its offset on (and a little before
    it), or everything that is left when the end is at most `tail` away: a chain of directories
    that sits between the levels of a pyramid then costs one round trip per large level, and one
    for all the small levels together with their pixels. At most `limit` bytes are kept, least
    recently used first out. `head` is what the caller already has of the start.
    """

    def __init__(
        self,
        source: ByteSource,
        block: int = 65536,
        tail: int = 512 << 10,
        limit: int = 4 << 20,
        head: bytes = b"",
    ) -> None:
        self.source = source
        self._block = block
        self._tail = tail
        self._limit = limit
        self._lock = threading.Lock()
        # Newest last. A handful of entries (limit / block at most): a scan beats any index.
        self._kept: list[tuple[int, bytes]] = [(0, head)] if head else []

    @property
    def size(self) -> int | None:
        return self.source.size

    def peek(self, offset: int, size: int) -> bytes | None:
        """The bytes if all of them are here already."""
        with self._lock:
            for i in range(len(self._kept) - 1, -1, -1):
                start, data = self._kept[i]
                if start <= offset and offset + size <= start + len(data):
                    if i != len(self._kept) - 1:
                        self._kept.append(self._kept.pop(i))
                    return data[offset - start : offset - start + size]
        return None

    def prefetch(self, offset: int) -> None:
        """What is there, and the end of the file, in one round trip."""
        whole = self.size
        if whole is not None and self.peek(offset, 8) is None:
            end = whole - self._tail + self._block // 16
            self.read_many([(offset, 8), (max(offset, end), 8)])

    def read(self, offset: int, size: int) -> bytes:
        data = self.peek(offset, size)
        return self.read_many([(offset, size)])[0] if data is None else data

    def read_many(self, spans: list[Span]) -> list[bytes]:
        """Each span's bytes; all that is missing is fetched together, in one `read_many`."""
        end = self.size
        found = [b"" if end is not None and at >= end else self.peek(at, n) for at, n in spans]
        missing = [span for span, data in zip(spans, found, strict=True) if data is None]
        if missing:
            wide = coalesce((self._widen(*span) for span in missing), self._block)
            blocks = self.source.read_many(wide)
            self._keep([(start, data) for (start, _), data in zip(wide, blocks, strict=True)])
            for i, (offset, size) in enumerate(spans):
                if found[i] is None:
                    found[i] = _cut(wide, blocks, offset, size)
        return [data for data in found if data is not None]

    def _widen(self, offset: int, size: int) -> Span:
        # Some writers put the values of a directory just before it.
        start = max(0, offset - self._block // 16)
        end = max(offset + size, start + self._block)
        whole = self.size
        if whole is not None and start + self._tail >= whole > offset:
            end = whole
            start = max(0, min(start, whole - self._block))
        return start, end - start

    def _keep(self, blocks: list[tuple[int, bytes]]) -> None:
        with self._lock:
            self._kept += [block for block in blocks if 0 < len(block[1]) <= self._limit // 2]
            while sum(len(data) for _, data in self._kept) > self._limit:
                del self._kept[0]


def _cut(wide: list[Span], blocks: list[bytes], offset: int, size: int) -> bytes:
    for (start, length), data in zip(wide, blocks, strict=True):
        if start <= offset < start + length:
            return data[offset - start : offset - start + size]
    raise AssertionError("a span that was asked for lies in no block")
