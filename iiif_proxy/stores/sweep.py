"""Keeping a folder of entries within its bound: what was used longest ago goes first."""

import fcntl
import heapq
import os
import stat
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from secrets import token_hex

from iiif_proxy.stores.ledger import Ledger

# What a file costs is whole blocks, and a folder one: a million small files are honest.
BLOCK = FOLDER = 4096
# A writer holds its temporary file for milliseconds (a large one while it is encoded).
STALE = 600.0
BATCH = 256


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep saw and did: entries and bytes before it, and what it evicted."""

    entries: int = 0
    bytes: int = 0
    evicted: int = 0
    freed: int = 0


# One file: its folder ("group/version" below the root), its name, its status. (A plain tuple: a
# sweep sees all, and a named one costs a tenth of it.)
Found = tuple[str, str, os.stat_result]


def cost(size: int) -> int:
    """Bytes on disk of a file of `size` bytes."""
    return -(-size // BLOCK) * BLOCK


def temporary_name(due: int) -> str:
    """A new name for a file that will have `due` bytes (0: not known)."""
    return f".{token_hex(8)}.{due}.tmp"


def _due(name: str) -> int:
    """What a temporary file will cost."""
    parts = name.split(".")
    return cost(int(parts[2])) if len(parts) == 4 and parts[2].isdecimal() else 0


def sweep(root: str, ledger: Ledger, target: int) -> Swept:
    """Evict what was used longest ago, down to `target` bytes. Raises OSError.

    To be called by one process at a time (`only_one`). Hits of other threads meanwhile cost what
    they cost else: every stat lets go of the GIL.
    """
    return _Sweep(root).run(ledger, target)


def walk(root: str) -> Iterator[Found]:
    """Every file of every entry, and the temporary ones (their names begin with a dot)."""
    return _Sweep(root).walk(tidy=False)


def count(root: str) -> tuple[int, int]:
    """Entries, and bytes as the bound counts them."""
    counting = _Sweep(root)
    entries = size = 0
    for _, name, status in counting.walk(tidy=False):
        temporary = name.startswith(".")
        entries += not temporary
        size += max(cost(status.st_size), _due(name) if temporary else 0)
    return entries, size + counting.folders


class _Sweep:
    """One pass over root/group/version/name.

    One pass, because the oldest are chosen while scanning: a heap of just enough bytes, so memory
    is that of what will be evicted (10 % of the entries), and nothing is sorted. A pass costs
    2-3 us an entry and frees a tenth of the bound, hence ten stats for each write, at any number
    of entries.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._bytes = 0
        self._entries = 0

    def run(self, ledger: Ledger, target: int) -> Swept:
        remove_tree(f"{self._root}/.trash")
        before = ledger.change(0)
        goal = max(0, before.bytes - target) if before.sure else 0
        oldest = self._scan(goal)
        ledger.settle(before.bytes, self._bytes)
        if self._bytes - held_by(oldest) > target + target // 20:
            # The ledger had far too little (it was lost): now it is known how much is too much.
            before = ledger.change(0)
            oldest = self._scan(self._bytes - target)
            ledger.settle(before.bytes, self._bytes)
        excess = self._bytes - target
        held = held_by(oldest)
        while oldest and held - oldest[0][1] >= excess:
            held -= heapq.heappop(oldest)[1]
        evicted, freed = self._evict(oldest, ledger) if excess > 0 else (0, 0)
        return Swept(self._entries, self._bytes, evicted, freed)

    def _scan(self, goal: int) -> list[tuple[int, int, str]]:
        """(minus atime, cost, path) of the oldest entries that together reach `goal` bytes."""
        self._bytes = self._entries = held = 0
        now = time.time()
        oldest: list[tuple[int, int, str]] = []
        for folder, name, status in self.walk(tidy=True):
            size = -(-status.st_size // BLOCK) * BLOCK
            if name[0] == ".":
                # By ctime: the mtime may already be the object's.
                path = f"{self._root}/{folder}/{name}"
                if now - status.st_ctime <= STALE or not _gone(path):
                    self._bytes += max(size, _due(name))
                continue
            self._bytes += size
            self._entries += 1
            minus_atime = -status.st_atime_ns
            if held < goal or (oldest and minus_atime > oldest[0][0]):
                heapq.heappush(oldest, (minus_atime, size, f"{self._root}/{folder}/{name}"))
                held += size
                while held - oldest[0][1] >= goal:
                    held -= heapq.heappop(oldest)[1]
        return oldest

    @property
    def folders(self) -> int:
        """Bytes of the folders, while nothing else was added."""
        return self._bytes

    def walk(self, tidy: bool) -> Iterator[Found]:
        """Every file; with `tidy`, what does not belong and what is empty is removed."""
        for group in _listed(self._root):
            if group.name.startswith(".") or not self._folder(group, tidy):
                continue
            left = False
            for version in _listed(group.path):
                if self._folder(version, tidy):
                    folder = f"{group.name}/{version.name}"
                    left |= yield from self._files(folder, version.path, tidy)
            if tidy and not left and _empty(group.path):
                self._bytes -= FOLDER

    def _files(self, folder: str, path: str, tidy: bool) -> Generator[Found, None, bool]:
        """The files of one version; whether there were any."""
        left = False
        for file in _listed(path):
            left = True
            try:
                status = file.stat(follow_symlinks=False)
            except OSError:
                continue
            if stat.S_ISREG(status.st_mode):
                yield folder, file.name, status
            elif tidy:
                _remove(file)
        if tidy and not left and _empty(path):
            self._bytes -= FOLDER
        return left

    def _folder(self, entry: "os.DirEntry[str]", tidy: bool) -> bool:
        if entry.is_dir(follow_symlinks=False):
            self._bytes += FOLDER
            return True
        if tidy:
            _remove(entry)
        return False

    def _evict(self, oldest: list[tuple[int, int, str]], ledger: Ledger) -> tuple[int, int]:
        folders: set[str] = set()
        evicted = freed = told = 0
        for number, (minus_atime, size, path) in enumerate(oldest, 1):
            try:
                # Used since it was scanned: not the oldest any more.
                if os.lstat(path).st_atime_ns == -minus_atime:
                    os.unlink(path)
                    freed += size
                    evicted += 1
                    folders.add(os.path.dirname(path))
            except OSError:
                continue
            if number % BATCH == 0:
                ledger.change(told - freed)
                told = freed
        for folder in folders:
            if _empty(folder):
                freed += FOLDER
                if _empty(os.path.dirname(folder)):
                    freed += FOLDER
        ledger.change(told - freed)
        return evicted, freed


@contextmanager
def only_one(root: str, patience: float = 0.0) -> Iterator[bool]:
    """Whether this is the one sweeper of all processes. Raises OSError.

    A killed one frees the lock. `patience`: seconds to wait for another to finish.
    """
    os.makedirs(f"{root}/.state", exist_ok=True)
    descriptor = os.open(f"{root}/.state/sweep", os.O_RDWR | os.O_CREAT, 0o644)
    end = time.monotonic() + patience
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= end:
                    yield False
                    return
                time.sleep(0.01)
            else:
                break
        try:
            yield True
        finally:
            # Said, not left to close: a child forked meanwhile may have the descriptor too.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def held_by(oldest: list[tuple[int, int, str]]) -> int:
    return sum(size for _, size, _ in oldest)


def remove_tree(path: str) -> tuple[int, int]:
    """Remove a folder and all in it, as far as it goes: (entries, bytes) that this call removed.

    Without the bytes of temporary files: their writers give them back.
    """
    files = freed = 0
    for entry in _listed(path):
        if entry.is_dir(follow_symlinks=False):
            more, size = remove_tree(entry.path)
            files, freed = files + more, freed + size
            continue
        try:
            size = cost(entry.stat(follow_symlinks=False).st_size)
        except OSError:
            continue
        if _gone(entry.path) and not entry.name.startswith("."):
            freed += size
            files += 1
    return files, freed + (FOLDER if _empty(path) else 0)


def _listed(path: str) -> "Iterator[os.DirEntry[str]]":
    """Lazily: a list of a million groups would be 200 MB."""
    try:
        with os.scandir(path) as entries:
            yield from entries
    except OSError:
        return


def _remove(entry: "os.DirEntry[str]") -> None:
    """What no store put there (a file for a folder, a folder for a file): in the way of entries."""
    if entry.is_dir(follow_symlinks=False):
        remove_tree(entry.path)
    else:
        _gone(entry.path)


def _gone(path: str) -> bool:
    try:
        os.unlink(path)
    except OSError:
        return False
    return True


def _empty(path: str) -> bool:
    """Remove a folder if nothing is in it; a writer that meant to use it makes it again."""
    try:
        os.rmdir(path)
    except OSError:
        return False
    return True
