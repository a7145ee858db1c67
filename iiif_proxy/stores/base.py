"""Where derivatives are kept: keys, entries, the Store protocol, and the store of nothing."""

import io
import os
import re
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, Protocol, Self, cast

from iiif_proxy.stores.draft import Draft

# One path segment each: no slash, no leading dot (those are the store's own), nothing to escape.
PART = re.compile(r"[0-9A-Za-z_!=+@~^,-][0-9A-Za-z._!=+@~^,-]*")
WHOLE_KEY = re.compile(rf"{PART.pattern}/{PART.pattern}/{PART.pattern}")

Write = Callable[[BinaryIO], object]


def checked(part: str) -> str:
    """A text that may be a path segment of a store. Raises ValueError."""
    if not PART.fullmatch(part):
        raise ValueError(f"not a part of a key: {part!r}")
    return part


@dataclass(frozen=True, slots=True)
class Key:
    """The address of one entry; raises ValueError for what is not safe as three file names.

    `group`: hash of the identifier, `version`: fingerprint of the source's state, `name`: the
    plan's canonical text with its extension.
    """

    group: str
    version: str
    name: str

    def __post_init__(self) -> None:
        if not WHOLE_KEY.fullmatch(f"{self.group}/{self.version}/{self.name}"):
            raise ValueError(f"not a key: {self.group!r} {self.version!r} {self.name!r}")


class Entry:
    """One stored object, open: it can be read even if it is evicted meanwhile.

    `size` in bytes, `mtime` in whole seconds since the epoch. To be closed, also by `with`. `file`
    (unbuffered, at the start) takes the descriptor over: whoever asks for it may close that
    instead. A raw descriptor, because a Python file object costs more than the whole hit.
    """

    __slots__ = ("_descriptor", "_file", "mtime", "size")
    # Where it is found by its key, if it is: folder/group/version/name.
    path: str | None = None

    def __init__(self, descriptor: int, size: int, mtime: float) -> None:
        self._descriptor = descriptor
        self._file: BinaryIO | None = None
        self.size = size
        self.mtime = mtime

    @classmethod
    def of_bytes(cls, data: bytes, mtime: float) -> Self:
        """An entry in memory without a descriptor: what is left when descriptors ran out."""
        entry = cls(-1, len(data), mtime)
        entry._file = io.BytesIO(data)
        return entry

    @property
    def file(self) -> BinaryIO:
        if self._file is None:
            if self._descriptor < 0:
                raise ValueError("the entry is closed")
            self._file = cast(BinaryIO, io.FileIO(self._descriptor, "rb"))
            self._descriptor = -1
        return self._file

    def fileno(self) -> int:
        """The descriptor; io.UnsupportedOperation when the entry has none."""
        return self._descriptor if self._descriptor >= 0 else self.file.fileno()

    def read(self) -> bytes:
        """All bytes, wherever `file` stands. Raises OSError when there are fewer than `size`."""
        if isinstance(self._file, io.BytesIO):
            return self._file.getvalue()
        descriptor = self.fileno()
        data = os.pread(descriptor, self.size, 0)
        while len(data) < self.size:
            more = os.pread(descriptor, self.size - len(data), len(data))
            if not more:
                raise OSError("a stored object was cut short")
            data += more
        return data

    def share(self) -> "Entry":
        """Another entry over the same bytes, with a position and a life of its own."""
        if isinstance(self._file, io.BytesIO):
            return Entry.of_bytes(self._file.getvalue(), self.mtime)
        try:
            # Opened anew, not dup()ed: a duplicate would share the position.
            again = os.open(f"/proc/self/fd/{self.fileno()}", os.O_RDONLY)
        except OSError:
            return Entry.of_bytes(self.read(), self.mtime)
        return Entry(again, self.size, self.mtime)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if self._descriptor >= 0:
            warnings.warn("an entry was not closed", ResourceWarning, source=self, stacklevel=2)
            self.close()


class NamedEntry(Entry):
    """An entry that another process may open by its path, unless it is evicted meanwhile."""

    __slots__ = ("path",)


@dataclass(frozen=True, slots=True)
class Stats:
    """What a store holds: number of entries, and bytes as the bound counts them."""

    entries: int
    bytes: int


class Store(Protocol):
    """Objects by Key. No method raises for a damaged or refusing disk."""

    def get(self, key: Key) -> Entry | None:
        """The entry, open, or None."""

    def put(self, key: Key, write: Write, mtime: float | None = None) -> Entry:
        """Store what `write` writes to the file it is given, and return it as an entry.

        `write` is called once and must not keep the file. What it raises comes out, and nothing is
        left behind. What cannot be kept is returned all the same, from memory. `mtime` (seconds) is
        the object's Last-Modified; now, if None.
        """

    def adopt(self, key: Key, path: str | os.PathLike[str], mtime: float | None = None) -> bool:
        """Take a complete file of the same file system over; False (and left alone): not kept."""

    def link(self, key: Key, name: str) -> bool:
        """Let an entry be found by a second name of the same version, as an entry of its own.

        True if something is there by that name then. Raises ValueError for what is no name.
        """

    def delete(self, key: Key) -> None:
        """Forget one entry."""

    def purge(self, group: str) -> int:
        """Forget all versions of a group; the number of entries."""

    def purge_all(self) -> int:
        """Forget everything; the number of entries."""

    def drop_versions(self, group: str, *keep: str) -> int:
        """Forget the versions of a group that are not named; the number of entries."""

    def drop_broken(self, group: str, version: str) -> int:
        """Forget entries of a version that lost their end in a power cut; the number of them."""

    def stats(self) -> Stats:
        """Count; may take long."""


class NullStore:
    """Keeps nothing: `put` gives back what was written, from memory (a temporary file if large)."""

    def get(self, key: Key) -> Entry | None:
        return None

    def put(self, key: Key, write: Write, mtime: float | None = None) -> Entry:
        with Draft(Draft.nameless) as draft:
            write(draft.file)
            draft.finish()
            return entry_of(draft, seconds(mtime))

    def adopt(self, key: Key, path: str | os.PathLike[str], mtime: float | None = None) -> bool:
        return False

    def link(self, key: Key, name: str) -> bool:
        checked(name)
        return False

    def delete(self, key: Key) -> None:
        pass

    def purge(self, group: str) -> int:
        checked(group)
        return 0

    def purge_all(self) -> int:
        return 0

    def drop_versions(self, group: str, *keep: str) -> int:
        checked(group)
        return 0

    def drop_broken(self, group: str, version: str) -> int:
        checked(group), checked(version)
        return 0

    def stats(self) -> Stats:
        return Stats(0, 0)


def seconds(mtime: float | None) -> int:
    """Whole seconds from 1970 to now: a Last-Modified in the future is none (RFC 9110, 8.8.2.1)."""
    now = int(time.time())
    return now if mtime is None or not mtime < now else max(0, int(mtime))


def entry_of(draft: Draft, mtime: float) -> Entry:
    """A finished draft as an entry: its descriptor changes hands."""
    descriptor = draft.take()
    if descriptor is None:
        return Entry.of_bytes(draft.bytes(), mtime)
    return Entry(descriptor, draft.size, mtime)
