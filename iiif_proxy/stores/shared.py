"""One derivative store for several machines: each one's disk in front of a bucket."""

import atexit
import contextlib
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path

from iiif_proxy.stores.base import Entry, Key, Stats, Store, Write, checked
from iiif_proxy.stores.bucket import MTIME, Away, Bucket

# Entries that wait to be written to the bucket (300 bytes each; the bytes are on the disk).
WAITING = 10_000
WRITERS = 4
# Bytes of an object: it goes through memory.
LARGEST = 256 << 20
# Seconds at the end of a process for what still waits.
LAST_CHANCE = 5.0
# Seconds between looks at whether the bucket may be asked again.
AGAIN = 1.0
EVERYTHING = ".all"


class SharedStore:
    """A near store (the disk), and behind it a bucket that all machines read and fill.

    A hit on the disk never asks the bucket. What is on neither is made here; threads write it to
    the bucket afterwards, if nobody else did: at most WAITING at a time, what is beyond stays on
    this machine only. While the bucket is away, this is the near store.

    A purge that could not reach the bucket is written down in `owed` (a folder) and made up for;
    until then nothing of that group is read from the bucket by this machine.

    `attributes` of an object by key (Content-Type and so on). `told`: `hit`, `miss`, `kept`,
    `present` (another machine was first), `dropped` or `away`, each time.
    """

    def __init__(
        self,
        near: Store,
        bucket: Bucket,
        owed: Path,
        attributes: Callable[[Key], Mapping[str, str]],
        told: Callable[[str], object] = lambda outcome: None,
    ) -> None:
        self.near, self.bucket = near, bucket
        self._owed, self._attributes, self._told = owed, attributes, told
        self._begin()
        _all.add(self)

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._waiting: OrderedDict[Key, None] = OrderedDict()
        self._writers: list[threading.Thread] = []
        self._busy = 0
        self._debt = False

    def after_fork(self) -> None:
        """In a child: the threads are the parent's, and so is what waits there."""
        self._begin()

    # Reading and writing

    def get(self, key: Key) -> Entry | None:
        entry = self.near.get(key)
        return entry if entry is not None else self._fetched(key)

    def _fetched(self, key: Key) -> Entry | None:
        if self._owes(key.group):
            self._wake(debt=True)
            return None
        try:
            found = self.bucket.get(name_of(key))
        except Away:
            self._told("away")
            return None
        self._told("miss" if found is None else "hit")
        if found is None:
            return None
        data, mtime = found
        return self.near.put(key, lambda file: file.write(data), mtime)

    def only_far(self, key: Key) -> bool:
        """Whether the bucket has it and the disk does not. It is not fetched."""
        entry = self.near.get(key)
        if entry is not None:
            entry.close()
            return False
        if self._owes(key.group):
            return False
        try:
            return self.bucket.has(name_of(key))
        except Away:
            return False

    def put(self, key: Key, write: Write, mtime: float | None = None) -> Entry:
        entry = self.near.put(key, write, mtime)
        self._later(key)
        return entry

    def adopt(self, key: Key, path: str | os.PathLike[str], mtime: float | None = None) -> bool:
        adopted = self.near.adopt(key, path, mtime)
        if adopted:
            self._later(key)
        return adopted

    def link(self, key: Key, name: str) -> bool:
        """A second name is for this machine's static server: the bucket has no use for it."""
        return self.near.link(key, name)

    # Forgetting

    def delete(self, key: Key) -> None:
        self.near.delete(key)
        with contextlib.suppress(Away):
            self.bucket.delete([name_of(key)])

    def purge(self, group: str) -> int:
        return self._purged(checked(group), lambda: self.near.purge(group))

    def purge_all(self) -> int:
        return self._purged(EVERYTHING, self.near.purge_all)

    def purge_all_here(self) -> int:
        """The near store now; the bucket, which another machine purges too, in the background: for
        what this one was just writing to it."""
        self._owe(EVERYTHING)
        number = self.near.purge_all()
        self._wake(debt=True)
        return number

    def _owe(self, what: str) -> None:
        with contextlib.suppress(OSError):
            self._owed.mkdir(parents=True, exist_ok=True)
            (self._owed / what).touch()

    def _purged(self, what: str, near: Callable[[], int]) -> int:
        """Written down before it is done: a purge is not lost with this process either."""
        self._owe(what)
        number = near()
        try:
            self._pay(what)
        except Away:
            self._wake(debt=True)
        return number

    def drop_versions(self, group: str, *keep: str) -> int:
        number = self.near.drop_versions(group, *keep)
        with contextlib.suppress(Away):
            for names in self.bucket.names(checked(group)):
                self.bucket.delete([name for name in names if name.split("/")[1] not in keep])
        return number

    def drop_broken(self, group: str, version: str) -> int:
        return self.near.drop_broken(group, version)

    def stats(self) -> Stats:
        """Of this machine."""
        return self.near.stats()

    # What is owed to the bucket

    def _owes(self, group: str) -> bool:
        return (self._owed / group).exists() or (self._owed / EVERYTHING).exists()

    def _pay(self, what: str) -> None:
        """Purge the bucket too. Raises Away."""
        for names in self.bucket.names("" if what == EVERYTHING else what):
            self.bucket.delete(names)
        with contextlib.suppress(OSError):
            (self._owed / what).unlink(missing_ok=True)

    def _pay_all(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            for what in os.listdir(self._owed):
                self._pay(what)
        self._debt = False

    # Writing behind

    def _later(self, key: Key) -> None:
        with self._changed:
            if len(self._waiting) < WAITING:
                self._waiting[key] = None
            else:
                self._told("dropped")
        self._wake()

    def _wake(self, debt: bool = False) -> None:
        with self._changed:
            self._debt = self._debt or debt
            if len(self._writers) < min(WRITERS, len(self._waiting) or 1):
                writer = threading.Thread(target=self._write, daemon=True, name="write-behind")
                self._writers.append(writer)
                writer.start()
            self._changed.notify()

    def _write(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._debt)
                key = self._waiting.popitem(last=False)[0] if self._waiting else None
                self._busy += 1
            away = False
            try:
                self._pay_all()  # Also what a process owes that is no more: 10 us.
                if key is not None:
                    self._upload(key)
            except Away:
                away = True
            finally:
                with self._changed:
                    self._busy -= 1
                    if away and key is not None:
                        self._waiting[key] = None
                        self._waiting.move_to_end(key, last=False)
                    self._changed.notify_all()
                    if away:
                        self._changed.wait(AGAIN)

    def _upload(self, key: Key) -> None:
        """From the disk, so that what was purged or evicted meanwhile is not written. Raises
        Away."""
        entry = self.near.get(key)
        if entry is None:
            return
        with entry:
            if entry.size > LARGEST:
                return
            try:
                data = entry.read()
            except OSError:
                return
            attributes = {**self._attributes(key), MTIME: str(int(entry.mtime))}
        kept = self.bucket.put(name_of(key), data, attributes)
        self._told("kept" if kept else "present")
        again = self.near.get(key)
        if again is not None:
            again.close()
        elif kept:  # Purged while it was on its way, maybe by another process.
            self.bucket.delete([name_of(key)])

    def flush(self, seconds: float) -> bool:
        """Wait until all is written; False when time is up, or the bucket is away."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self.bucket.away or not (self._waiting or self._busy), seconds
            ) and not (self._waiting or self._busy)


def name_of(key: Key) -> str:
    return f"{key.group}/{key.version}/{key.name}"


def flush_all(seconds: float) -> bool:
    """Wait for what this process still writes to buckets: whether all is written."""
    left = [store for store in list(_all) if not store.flush(seconds)]
    return not left


_all: "weakref.WeakSet[SharedStore]" = weakref.WeakSet()


def _after_fork() -> None:
    for store in list(_all):
        store.after_fork()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(flush_all, LAST_CHANCE)
