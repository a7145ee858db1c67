"""What is known of sources, and of what is none: in memory, and in a store for all processes."""

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cachetools import LRUCache, TTLCache

from iiif_proxy.sources.base import mind_forks, not_found
from iiif_proxy.sources.bell import Bell
from iiif_proxy.sources.file import stamp_at
from iiif_proxy.sources.record import Record, from_json, hashed
from iiif_proxy.stores.base import Key, Store

MOST = 20_000


@dataclass(frozen=True, slots=True)
class Moment:
    """When a fetch began: by the clock, and by what had been rung till then."""

    time: float
    rung: int


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

    def now(self) -> Moment:
        return Moment(time.time(), self._bell.look())

    def outdated(self, identifier: str, since: Moment) -> bool:
        """Whether it was purged, or found to be another, since then."""
        return self._bell.rang(identifier, since.rung)

    def unpurged(self) -> contextlib.AbstractContextManager[None]:
        """No record is purged or dropped while this is held."""
        return self._bell.silent()

    def keep(
        self,
        record: Record,
        since: Moment,
        show: Callable[[Record], None] | None = None,
    ) -> Record:
        """In place of any older one, if the origin lets it be kept; what is known from now on.

        `since`: when the origin was asked. What was purged meanwhile is of yesterday: good for
        whoever waits for it, to be asked for again by all others. `show` is told when it is known
        here, before it is written down: whoever finds it wrong can drop it from then on.
        """
        if not record.keep:
            self.drop(record.name, record.identifier)
            return record
        with self._bell.silent():
            if self.outdated(record.identifier, since):
                record = record.outdated(since.time)
            before = self._remember(record)
            another = before is None or before.fingerprint != record.fingerprint
            # What another process shows for a while (`stand_in`) may be written down only.
            others = self.stored(record.name, record.identifier) if another else None
            if show is not None:
                show(record)
            self._write(record)
        if another:
            self._unshow(record.identifier)
            now = time.time()
            if any(one is not None and one.fresh_until > now for one in (before, others)):
                # Fresh in the memory of other processes too.
                self._bell.ring()
        return record

    def stand_in(self, shown: Record, stale: Record) -> Record:
        """What is to be shown while the origin does not answer: `shown`, which all processes know
        from now on, unless there is something newer than what is `stale` by now.

        Raises NotFound if that is what another thread was told.
        """
        with self._bell.alone():
            newest = self.find(stale.name, stale.identifier)
            if newest is not None and newest.checked > stale.checked:
                return newest
            if newest is not None:
                self._remember(shown)
                self._write(shown)
        # If it is known no more, it was purged: then it is good for who asked before that.
        return shown

    def _remember(self, record: Record) -> Record | None:
        """What was remembered before."""
        with self._lock:
            before = self._memory.get(record.name)
            self._memory[record.name] = record
            self._unknown.pop(record.name, None)
        return before

    def _write(self, record: Record) -> None:
        raw = record.to_json()
        key = _key(record.name, record.identifier)
        self._store.put(key, lambda file: file.write(raw)).close()

    def drop(self, name: str, identifier: str) -> None:
        """The record is no longer so, whoever has it. (Nothing is written if nobody has.)"""
        with self._lock:
            had = self._memory.pop(name, None) is not None
        entry = self._store.get(_key(name, identifier))
        if entry is not None:
            entry.close()
        if entry is not None or had:
            with self._bell.ringing(identifier):
                self._store.delete(_key(name, identifier))
            self._unshow(identifier)

    def missing(self, name: str, identifier: str, since: Moment) -> None:
        """No source has it: remembered for a short time."""
        with self._bell.silent():
            if not self.outdated(identifier, since):
                with self._lock:
                    self._unknown[name] = True

    def forget(self, identifier: str) -> None:
        """All records of an identifier, in all processes."""
        with self._bell.ringing(identifier):
            self._store.purge(hashed(identifier))
            with self._lock:
                self._memory.clear()
                self._unknown.clear()
        self._unshow(identifier)

    def forget_all(self) -> None:
        """All records, in all processes. (What a static server answers ends with its freshness.)"""
        with self._bell.ringing(None):
            self._store.purge_all()
            with self._lock:
                self._memory.clear()
                self._unknown.clear()

    def after_fork(self) -> None:
        self._lock = threading.Lock()


def _key(name: str, identifier: str) -> Key:
    return Key(hashed(identifier), "record", name + ".json")
