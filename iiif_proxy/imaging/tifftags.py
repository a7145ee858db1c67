"""The structure of a TIFF: header, directories, values. TIFF 6.0 section 2 and BigTIFF.

Everything read here may be hostile: counts are bounded before they are believed, directories are
counted and never read twice, and every error is one NoImage.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from iiif_proxy.errors import NoImage
from iiif_proxy.ranges import BlockCache, Span

MAX_DIRECTORIES = 2000
MAX_ENTRIES = 1000

# type -> (bytes of one value, struct code of the unsigned integers among them)
_TYPES = {
    1: (1, "B"),
    2: (1, None),
    3: (2, "H"),
    4: (4, "I"),
    5: (8, None),
    6: (1, None),
    7: (1, "B"),
    8: (2, None),
    9: (4, None),
    10: (8, None),
    11: (4, None),
    12: (8, None),
    13: (4, "I"),
    16: (8, "Q"),
    17: (8, None),
    18: (8, "Q"),
}
_WORDS: dict[str, Literal["little", "big"]] = {"<": "little", ">": "big"}


def broken(cause: str) -> NoImage:
    return NoImage("The source image is a damaged TIFF.", cause=cause)


@dataclass(frozen=True, slots=True)
class Array:
    """The unsigned integers of one tag, left in the file until a slice is asked."""

    cache: BlockCache
    order: str
    code: str
    count: int
    offset: int
    inline: bytes | None

    def span(self, start: int, stop: int) -> Span | None:
        """Where the values [start, stop) are; None when they are here already."""
        if self.inline is not None:
            return None
        width = struct.calcsize(self.code)
        return self.offset + start * width, (stop - start) * width

    def take(self, start: int, stop: int) -> tuple[int, ...]:
        """The values [start, stop), read through the cache. NoImage if the file ends."""
        count = stop - start
        if start < 0 or count < 0 or stop > self.count:
            raise broken(f"values {start}..{stop} of {self.count}")
        span = self.span(start, stop)
        if self.inline is not None:
            width = struct.calcsize(self.code)
            data = self.inline[start * width : stop * width]
        else:
            assert span is not None
            data = self.cache.read(*span)
        try:
            return struct.unpack(f"{self.order}{count}{self.code}", data)
        except struct.error as error:
            raise broken("a list of values ends with the file") from error


@dataclass(frozen=True, slots=True)
class Entry:
    """One tag of a directory: `inline` holds the value when it fits into the entry."""

    type: int
    count: int
    offset: int
    inline: bytes | None


@dataclass(frozen=True, slots=True)
class Directory:
    """One IFD: its tags, and the offset of the next one in the chain (0 at the end)."""

    cache: BlockCache
    order: str
    entries: dict[int, Entry]
    next: int

    def array(self, tag: int) -> Array | None:
        """The tag's unsigned integers, unread; None if absent or of another type."""
        entry = self.entries.get(tag)
        if entry is None or entry.count < 1:
            return None
        code = _TYPES[entry.type][1]
        if code is None:
            return None
        return Array(self.cache, self.order, code, entry.count, entry.offset, entry.inline)

    def numbers(self, tag: int, most: int) -> tuple[int, ...]:
        """All the tag's unsigned integers; () if absent. NoImage if more than `most`."""
        array = self.array(tag)
        if array is None:
            return ()
        if array.count > most:
            raise broken(f"tag {tag} has {array.count} values")
        return array.take(0, array.count)

    def number(self, tag: int, default: int) -> int:
        """The tag's first unsigned integer."""
        entry = self.entries.get(tag)
        if entry is None or entry.count < 1:
            return default
        width, code = _TYPES[entry.type]
        if code is None:
            return default
        if entry.inline is not None:
            return int.from_bytes(entry.inline[:width], _WORDS[self.order])
        array = self.array(tag)
        return default if array is None else array.take(0, 1)[0]

    def data(self, tag: int, most: int) -> bytes | None:
        """The tag's value as it lies in the file; None if absent, damaged or above `most`."""
        entry = self.entries.get(tag)
        if entry is None:
            return None
        size = entry.count * _TYPES[entry.type][0]
        if size > most:
            return None
        if entry.inline is not None:
            return entry.inline
        data = self.cache.read(entry.offset, size)
        return data if len(data) == size else None


class Structure:
    """The directories of one file, read on demand.

    `first` is the offset of the first one; `order` is the struct byte order of all numbers.
    """

    def __init__(self, cache: BlockCache) -> None:
        self._cache = cache
        header = cache.read(0, 16)
        marks = {b"II": "<", b"MM": ">"}
        if header[:2] not in marks or len(header) < 8:
            raise broken("no TIFF header")
        self.order = marks[header[:2]]
        version = struct.unpack(self.order + "H", header[2:4])[0]
        self.big = version == 43
        if version == 42:
            self.first: int = struct.unpack(self.order + "I", header[4:8])[0]
        elif self.big and len(header) == 16 and header[4:8] == struct.pack(self.order + "HH", 8, 0):
            self.first = struct.unpack(self.order + "Q", header[8:16])[0]
        else:
            raise broken(f"TIFF version {version}")
        # At the end are the small levels of most pyramids, with their directories.
        cache.prefetch(self.first)

    def directory(self, offset: int) -> Directory:
        """The directory at that offset. NoImage if there is none."""
        order, big = self.order, self.big
        head, width, tail = (8, 20, 8) if big else (2, 12, 4)
        # One read for a usual directory: the cache fetches the block around it anyway.
        data = self._cache.read(offset, head)
        if len(data) < head:
            raise broken("a directory lies beyond the end of the file")
        count = struct.unpack(order + ("Q" if big else "H"), data)[0]
        if not 1 <= count <= MAX_ENTRIES:
            raise broken(f"a directory with {count} entries")
        data = self._cache.read(offset + head, count * width + tail)
        if len(data) < count * width:
            raise broken("a directory ends with the file")
        entries: dict[int, Entry] = {}
        room = 8 if big else 4
        layout = struct.Struct(order + ("HHQ8s" if big else "HHI4s"))
        word = _WORDS[order]
        for tag, type_, values, field in layout.iter_unpack(data[: count * width]):
            if type_ not in _TYPES or tag in entries:
                continue
            size = values * _TYPES[type_][0]
            where = int.from_bytes(field, word)
            inline = field[:size] if size <= room else None
            entries[tag] = Entry(type_, values, where, inline)
        end = data[count * width :]
        # A file that lost its last bytes lost the chain, not this directory.
        following = 0
        if len(end) == tail:
            following = struct.unpack(order + ("Q" if big else "I"), end)[0]
        return Directory(self._cache, order, entries, following)

    def prefetch(self, offsets: list[int]) -> None:
        """Fetch the blocks of several directories in one round trip."""
        self._cache.read_many([(offset, 8) for offset in offsets])

    def chain(self) -> Iterator[Directory]:
        """The main directories in order; NoImage for a loop or far too many."""
        seen: set[int] = set()
        offset = self.first
        while offset:
            if offset in seen or len(seen) >= MAX_DIRECTORIES:
                raise broken("the directories run in a circle")
            seen.add(offset)
            directory = self.directory(offset)
            yield directory
            offset = directory.next
