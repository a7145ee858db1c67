"""The directories of a file that is read by parts: loaded once for all processes."""

import json
import threading

from iiif_proxy.ranges import ByteSource, Span

# More than the directories of any pyramid: what lies beyond is loaded again.
MOST = 2 << 20


class Noting:
    """A ByteSource that notes what is read through it, `head` first."""

    def __init__(self, source: ByteSource, head: bytes) -> None:
        self.head = head
        self._source = source
        self._blocks: list[tuple[int, bytes]] | None = [(0, head)]

    @property
    def size(self) -> int | None:
        return self._source.size

    def read(self, offset: int, size: int) -> bytes:
        return self.read_many([(offset, size)])[0]

    def read_many(self, spans: list[Span]) -> list[bytes]:
        found = self._source.read_many(spans)
        if self._blocks is not None:
            self._blocks += [(offset, data) for (offset, _), data in zip(spans, found, strict=True)]
        return found

    def end(self) -> bytes:
        """For `Remembered.of`: a line that says where the blocks were, then the blocks. Nothing
        more is noted."""
        blocks, self._blocks = self._blocks or [], None
        kept, left = [], MOST
        for offset, data in blocks:
            left -= len(data)
            if left >= 0:
                kept.append((offset, data))
        line = json.dumps([(offset, len(data)) for offset, data in kept])
        return b"".join([line.encode(), b"\n", *(data for _, data in kept)])


class Remembered:
    """Parts that answer each noted block once without asking.

    Once: who reads directories keeps them (BlockCache).
    """

    def __init__(self, source: ByteSource, blocks: dict[int, bytes]) -> None:
        self.head = blocks.pop(0, b"")
        self._source = source
        self._lock = threading.Lock()
        self._blocks = blocks

    @classmethod
    def of(cls, source: ByteSource, noted: bytes) -> "Remembered":
        """Raises ValueError for what `Noting` did not write."""
        line, _, rest = noted.partition(b"\n")
        blocks, at = {}, 0
        try:
            for offset, size in json.loads(line):
                blocks[offset] = rest[at : at + size]
                at += size
        except TypeError as cause:
            raise ValueError("not what was noted") from cause
        if at != len(rest):
            raise ValueError("not the blocks that were noted")
        return cls(source, blocks)

    @property
    def size(self) -> int | None:
        return self._source.size

    def read(self, offset: int, size: int) -> bytes:
        return self.read_many([(offset, size)])[0]

    def read_many(self, spans: list[Span]) -> list[bytes]:
        found = [self._noted(offset, size) for offset, size in spans]
        missing = [span for span, data in zip(spans, found, strict=True) if data is None]
        loaded = iter(self._source.read_many(missing) if missing else [])
        return [next(loaded) if data is None else data for data in found]

    def _noted(self, offset: int, size: int) -> bytes | None:
        with self._lock:
            data = self._blocks.get(offset)
            if data is None or len(data) < size:
                return None
            return self._blocks.pop(offset)[:size]
