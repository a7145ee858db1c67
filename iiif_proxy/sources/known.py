"""What is known of sources, and of what is none: in memory, and in a store for all processes."""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from cachetools import LRUCache, TTLCache

from iiif_proxy.sources.base import mind_forks, not_found
from iiif_proxy.sources.file import stamp_at
from iiif_proxy.sources.record import Record, from_json, hashed
from iiif_proxy.stores.base import Key, Store

MOST = 20_000


class Known:
    """Records by name. `unshow` is told an identifier when its record has changed or gone, after
    that is written down."""

    def __init__(
        self,
        store: Store,
        folder: Path | None,
        unknown_ttl: float,
        unshow: Callable[[str], None],
    ) -> None:
        self._store = store
        self._unshow = unshow
        self._bell = Bell(folder)
        self._heard = self._bell.look()
        self._lock = threading.Lock()
        self._memory: LRUCache[str, Record] = LRUCache(MOST)
        self._unknown: TTLCache[str, bool] = TTLCache(MOST, unknown_ttl)
        mind_forks(self)

    def find(self, name: str, identifier: str) -> Record | None:
        """The newest record that any process wrote down, fresh or stale.

        Raises NotFound for what was asked for in vain a moment ago.
        """
        heard = self._bell.look()
        with self._lock:
            if heard != self._heard:
                self._heard = heard
                self._memory.clear()
                self._unknown.clear()
            if name in self._unknown:
                raise not_found(identifier)
            record = self._memory.get(name)
        if record is not None and record.fresh_until > time.time():
            return record
        stored = self.stored(name, identifier)
        # Ours may be newer, where the disk refuses.
        if stored is None or (record is not None and record.checked >= stored.checked):
            return record
        with self._lock:
            # It was read before whatever the bell rings for now: good for this once.
            if heard == self._heard == self._bell.look():
                self._memory[name] = stored
        return stored

    def stored(self, name: str, identifier: str) -> Record | None:
        """What is written down for all processes."""
        entry = self._store.get(_key(name, identifier))
        if entry is None:
            return None
        try:
            with entry:
                stored = from_json(entry.read())
        except OSError:
            return None
        same = stored is not None and (stored.name, stored.identifier) == (name, identifier)
        return stored if same else None

    def generation(self) -> int:
        """Another number whenever a record was dropped, or changed within its life."""
        return self._bell.look()

    def current(self, record: Record, generation: int | None = None) -> bool:
        """Whether a record may be answered from without asking: a stat, no lock.

        `generation` is that from before the record was found.
        """
        if record.path:
            return stamp_at(record.path) == record.stamp
        if generation is None:
            generation = self._heard
        return record.fresh_until > time.time() and self._bell.look() == generation

    def file(self, name: str) -> Record | None:
        """The record of a file at one state: in memory only."""
        with self._lock:
            return self._memory.get(name)

    def keep_file(self, record: Record) -> None:
        with self._lock:
            self._memory[record.name] = record

    def keep(self, record: Record) -> None:
        """In place of any older one, if the origin lets it be kept."""
        if not record.keep:
            self.drop(record.name, record.identifier)
            return
        with self._lock:
            before = self._memory.get(record.name)
            self._memory[record.name] = record
            self._unknown.pop(record.name, None)
        raw = record.to_json()
        self._store.put(_key(record.name, record.identifier), lambda file: file.write(raw)).close()
        if before is None or before.fingerprint != record.fingerprint:
            self._unshow(record.identifier)
            if before is not None and before.fresh_until > time.time():
                # Fresh in the memory of other processes too.
                self._bell.ring()

    def drop(self, name: str, identifier: str) -> None:
        """The record is no longer so, whoever has it. (Nothing is written if nobody has.)"""
        with self._lock:
            had = self._memory.pop(name, None) is not None
        entry = self._store.get(_key(name, identifier))
        if entry is not None:
            entry.close()
            self._store.delete(_key(name, identifier))
        if entry is not None or had:
            self._unshow(identifier)
            self._bell.ring()

    def missing(self, name: str) -> None:
        """No source has it: remembered for a short time."""
        with self._lock:
            self._unknown[name] = True

    def forget(self, identifier: str) -> None:
        """All records of an identifier, in all processes."""
        self._store.purge(hashed(identifier))
        with self._lock:
            self._memory.clear()
            self._unknown.clear()
        self._bell.ring()
        self._unshow(identifier)

    def after_fork(self) -> None:
        self._lock = threading.Lock()


class Bell:
    """Says to all processes that what they remember is to be read anew: a stat a request.

    A file that grows by a byte each time: dates and inodes may come again, a size does not.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else str(folder / "purged")

    def look(self) -> int:
        """Another number each time it has rung."""
        if self._path is None:
            return 0
        try:
            seen = os.stat(self._path)
        except OSError:
            return 0
        return seen.st_ino << 40 | seen.st_size

    def ring(self) -> None:
        if self._path is not None:
            with contextlib.suppress(OSError):
                os.makedirs(os.path.dirname(self._path), exist_ok=True)
                with open(self._path, "ab") as file:
                    file.write(b".")


def _key(name: str, identifier: str) -> Key:
    return Key(hashed(identifier), "record", name + ".json")
