"""Derivatives as files that a static server can serve as they are: folder/group/version/name."""

import contextlib
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from iiif_proxy.stores.base import (
    Entry,
    Key,
    NamedEntry,
    Stats,
    Write,
    checked,
    entry_of,
    seconds,
)
from iiif_proxy.stores.bound import Bound
from iiif_proxy.stores.draft import Draft, unlinked
from iiif_proxy.stores.marks import NANO, QUIET, Crc, Marks
from iiif_proxy.stores.sweep import FOLDER, Swept, cost, count, temporary_name, walk

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Check:
    """What `check` saw: entries, those that were broken and removed, those without a digest."""

    entries: int
    broken: int
    without_digest: int


class DiskStore:
    """Entries as plain files, within a bound, for any number of threads and processes.

    `folder` is the store's own: whatever is in it may be removed. `max_bytes` bounds it (files in
    blocks of 4 KiB, folders too) within 110 %. `fsync`: an entry is on the disk before it has a
    name. `digest`: entries carry a CRC-32 for `check` (14 us for 37 KB). `background`: sweep in a
    thread.

    A hit is open, fstat and utime: no lock. The atime is the time of last use, written by us,
    exact; hits that a static server takes move it once a day at most (relatime). `marks` says how
    an entry that lost its end in a power cut is noticed by that fstat.

    Nothing raises because of the disk: what cannot be kept is answered from memory.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        max_bytes: int,
        *,
        fsync: bool = False,
        digest: bool = True,
        background: bool = True,
    ) -> None:
        self.folder = Path(folder)
        self.max_bytes = max_bytes
        self._root = os.path.abspath(folder)
        self._fsync = fsync
        self._digest = digest
        self._marks = Marks(self._root)
        self._bound = Bound(self._root, max_bytes, background)

    # Reading

    def get(self, key: Key) -> Entry | None:
        path = f"{self._root}/{key.group}/{key.version}/{key.name}"
        try:
            descriptor = os.open(path, QUIET)
        except PermissionError:  # O_NOATIME is for the owner only.
            try:
                descriptor = os.open(path, os.O_RDONLY)
            except OSError:
                return None
        except OSError:
            return None
        try:
            status = os.fstat(descriptor)
            mtime = status.st_mtime_ns
            if self._marks.fit(status):
                with contextlib.suppress(OSError):  # Read-only, or another's: a hit all the same.
                    os.utime(descriptor, ns=(time.time_ns(), mtime))
                entry = NamedEntry(descriptor, status.st_size, mtime // NANO)
                entry.path = path
                return entry
            log.warning("an entry of the cache was broken and is made again")
            self._drop(path, status.st_size)
        except OSError:
            pass
        os.close(descriptor)
        return None

    def has(self, key: Key) -> bool:
        """Whether `get` has something to give: a stat. It counts as no use."""
        try:
            status = os.stat(f"{self._root}/{key.group}/{key.version}/{key.name}")
        except OSError:
            return False
        return self._marks.fit(status)

    # Writing

    def put(self, key: Key, write: Write, mtime: float | None = None) -> Entry:
        at = seconds(mtime)
        with Draft(lambda: self._temporary(key)) as draft:
            write(draft.file)
            draft.finish()
            try:
                if self._keep(key, draft, at):
                    draft.keep_name()
            except OSError as refusal:
                self._bound.refused(refusal)
            return entry_of(draft, at)

    def _keep(self, key: Key, draft: Draft, mtime: int) -> bool:
        """A finished draft becomes an entry, if there is room. Raises OSError."""
        if not draft.size or draft.size > self.max_bytes:
            return False
        if draft.spilled:
            descriptor, path = draft.spilled
            return self._named(descriptor, path, key, mtime)
        # The length is in the name before room is taken: a sweep that counts meanwhile sees it
        # twice rather than never. (Not by ftruncate: a power cut could leave nothing but that.)
        due = 0 if self._bound.is_large(draft.size) else draft.size
        descriptor, path = self._temporary(key, due)
        kept = False
        try:
            kept = self._written(descriptor, path, key, draft, mtime)
            return kept
        finally:
            os.close(descriptor)
            if not kept:
                unlinked(path)

    def _written(self, descriptor: int, path: str, key: Key, draft: Draft, mtime: int) -> bool:
        with self._bound.room(cost(draft.size)) as room:
            if room:
                crc = Crc() if self._digest else None
                draft.copy_to(descriptor, crc)
                if os.fstat(descriptor).st_size != draft.size:
                    raise OSError("the disk holds another length than was written")
                self._complete(descriptor, path, key, draft.size, mtime, crc)
            return room

    def _named(self, descriptor: int, path: str, key: Key, mtime: int) -> bool:
        """A file that is whole becomes an entry, if there is room. Raises OSError."""
        size = os.fstat(descriptor).st_size
        crc = Crc.of(descriptor) if self._digest else None  # Takes seconds: before, not within.
        with self._bound.room(cost(size)) as room:
            if room:
                self._make_folder(key)
                self._complete(descriptor, path, key, size, mtime, crc)
            return room

    def adopt(self, key: Key, path: str | os.PathLike[str], mtime: float | None = None) -> bool:
        try:
            descriptor = os.open(path, os.O_RDONLY)
            try:
                if not 0 < os.fstat(descriptor).st_size <= self.max_bytes:
                    return False
                return self._named(descriptor, os.fspath(path), key, seconds(mtime))
            finally:
                os.close(descriptor)
        except OSError as refusal:
            self._bound.refused(refusal)
            return False

    def link(self, key: Key, name: str) -> bool:
        """A hard link. It is counted as if it had blocks of its own: too much rather than less."""
        folder = f"{self._root}/{key.group}/{key.version}"
        target = f"{folder}/{checked(name)}"
        try:
            if os.path.lexists(target):
                return True
            size = os.lstat(f"{folder}/{key.name}").st_size
            with self._bound.room(cost(size)) as room:
                if room:
                    os.link(f"{folder}/{key.name}", target)
            return room
        except FileExistsError:
            return True
        except OSError:  # Evicted meanwhile, or a file system without hard links.
            return False

    def _complete(
        self, descriptor: int, path: str, key: Key, size: int, mtime: int, crc: Crc | None
    ) -> None:
        """Mark a whole file and give it its name. Raises OSError."""
        self._marks.write(descriptor, size, mtime, crc)
        if self._fsync:
            os.fsync(descriptor)
        folder = f"{self._root}/{key.group}/{key.version}"
        target = f"{folder}/{key.name}"
        replaced = 0
        with contextlib.suppress(OSError):
            replaced = cost(os.lstat(target).st_size)
        os.rename(path, target)
        if self._fsync:
            for name in (folder, os.path.dirname(folder), self._root):
                _flush(name)
        if replaced:
            self._bound.count(-replaced)

    def _temporary(self, key: Key, due: int = 0) -> tuple[int, str]:
        """A new file beside the entry: descriptor and path. Raises OSError."""
        path = f"{self._root}/{key.group}/{key.version}/{temporary_name(due)}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        # A sweep or a purge may take the folder away between making and using it.
        for _ in range(3):
            try:
                return os.open(path, flags, 0o644), path
            except FileNotFoundError:
                self._make_folder(key)
        return os.open(path, flags, 0o644), path

    def _make_folder(self, key: Key) -> None:
        self._bound.open()
        group = f"{self._root}/{key.group}"
        for path in (group, f"{group}/{key.version}"):
            with contextlib.suppress(FileExistsError, FileNotFoundError):
                os.mkdir(path)
                self._bound.count(FOLDER)

    # Forgetting

    def delete(self, key: Key) -> None:
        path = f"{self._root}/{key.group}/{key.version}/{key.name}"
        with contextlib.suppress(OSError):
            self._drop(path, os.lstat(path).st_size)

    def purge(self, group: str) -> int:
        return self._discard(f"{self._root}/{checked(group)}")

    def purge_all(self) -> int:
        return sum(self._discard(path) for path in _folders(self._root))

    def drop_versions(self, group: str, *keep: str) -> int:
        paths = _folders(f"{self._root}/{checked(group)}")
        return sum(self._discard(path) for path in paths if os.path.basename(path) not in keep)

    def drop_broken(self, group: str, version: str) -> int:
        """For whoever shows a version to a static server, which does not look at the marks."""
        dropped = 0
        with (
            contextlib.suppress(OSError),
            os.scandir(f"{self._root}/{checked(group)}/{checked(version)}") as entries,
        ):
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                if not entry.name.startswith(".") and not self._marks.fit(status):
                    self._drop(entry.path, status.st_size)
                    dropped += 1
        return dropped

    def _discard(self, path: str) -> int:
        """A folder away at once, then removed: who reads goes on, who writes makes a new one.

        (A put that is overtaken after it opened its temporary file is answered, not kept.)
        """
        if not os.path.isdir(path):
            return 0
        return self._bound.remove(path, f"{self._root}/.trash/{token_hex(8)}")

    def _drop(self, path: str, size: int) -> None:
        with contextlib.suppress(OSError):
            os.unlink(path)
            self._bound.count(-cost(size))

    # Looking after

    def sweep(self) -> Swept:
        """Evict down to 90 % of the bound now, counting anew."""
        return self._bound.sweep()

    def stats(self) -> Stats:
        return Stats(*count(self._root))

    def check(self) -> Check:
        """Read every entry and compare it with its length and digest; drop what is broken."""
        entries = broken = without = 0
        for folder, name, status in walk(self._root):
            if name.startswith("."):
                continue
            path = f"{self._root}/{folder}/{name}"
            sound = self._marks.sound(path)
            entries += 1
            without += sound is None
            if sound is False:
                broken += 1
                self._drop(path, status.st_size)
        return Check(entries, broken, without)


def _folders(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [
                entry.path
                for entry in entries
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
            ]
    except OSError:
        return []


def _flush(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
