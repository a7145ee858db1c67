"""An identifier becomes a source: order, freshness, revalidation, and the memory of what is not."""

import contextlib
import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from secrets import token_hex
from typing import Any

from cachetools import LRUCache, TTLCache

from iiif_proxy.concurrency import SingleFlight
from iiif_proxy.errors import OriginFailed, OriginTimeout, ProxyError, SourceChanged
from iiif_proxy.sources.arrival import Arrival, Elsewhere, Held, Incoming, SourceImage
from iiif_proxy.sources.base import Answer, Environ, LocalFile, Source, not_found
from iiif_proxy.sources.file import FileSource, stamp_of
from iiif_proxy.sources.freshness import freshness
from iiif_proxy.sources.http import HttpSource
from iiif_proxy.sources.ranges import HttpRanges
from iiif_proxy.sources.record import (
    Record,
    from_json,
    hashed,
    known_early,
    of_answer,
    of_file,
)
from iiif_proxy.stores.base import Key, Store
from iiif_proxy.telling import asked, stage, went_stale

log = logging.getLogger(__name__)

# Given the path of a whole or growing file: what its header says, or None for "not yet".
Probe = Callable[[str, bool], Mapping[str, Any] | None]
# Given the parts of a file and its first bytes: what its header says, None if it is better whole.
ProbeParts = Callable[[HttpRanges, bytes], Mapping[str, Any] | None]
FIRST_PROBE = 2048
TIFF_HEAD = 16
# Smaller files are fetched: that takes no longer than their directories.
PARTS_LEAST = 1 << 20
FAILING_PAUSE = 5.0
CHECKED = ("cache-control", "expires", "pragma")


class SourceCache:
    """The sources of identifiers, in the order of the templates.

    A 404 moves on to the next template, any other failure does not. Records (what is known) and
    bytes are kept in stores of their own, so that a derivative is found when the bytes are gone.
    `unshow` is told an identifier when its record has changed or gone, after that is written down.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        probe: Probe,
        probe_parts: ProbeParts,
        records: Store,
        bytes_store: Store,
        flights: SingleFlight,
        *,
        folder: Path | None,
        ttl: float = 3600,
        unknown_ttl: float = 10,
        stale_if_error: float = 86400,
        max_bytes: int = 2 << 30,
        patience: float = 150,
        unshow: Callable[[str], None] = lambda identifier: None,
    ) -> None:
        self._sources = sources
        self._unshow = unshow
        self._leading = [s for s in sources[: _leading(sources)] if isinstance(s, FileSource)]
        self._probe = probe
        self._probe_parts = probe_parts
        self._records = records
        self._bytes = bytes_store
        self._flights = flights
        self._folder = folder
        self._ttl = ttl
        self._stale_if_error = stale_if_error
        self._max_bytes = max_bytes
        self._patience = patience
        self._purged = Purged(folder)
        self._lock = threading.Lock()
        self._memory: LRUCache[str, Record] = LRUCache(20_000)
        self._unknown: TTLCache[str, bool] = TTLCache(20_000, unknown_ttl)
        self._arrivals: dict[str, Arrival] = {}

    def open(self, identifier: str, environ: Environ, whole: bool = False) -> SourceImage:
        """The source of an identifier, fresh; with `whole` False its bytes may still be coming.

        Raises NotFound, OriginFailed, OriginTimeout, NotAuthenticated, NotAllowed.
        """
        for index, source in enumerate(self._leading):
            found = source.ask(identifier, None, environ)
            if found is not None:
                return self._local(identifier, index, source.url(identifier, environ), found)
        name = self._name(identifier, environ)
        record = self._known(identifier, name)
        if record is not None and record.fresh_until > time.time():
            return SourceImage(record)
        return self._arrive(identifier, name, environ, whole)

    def content(self, image: SourceImage, environ: Environ, whole: bool = True) -> Held:
        """The bytes of a source, fetched again if they were lost.

        With `whole` False some may still be on their way: read them by `Held.read`.

        Raises SourceChanged when the origin has other bytes by now: open it again.
        """
        record = image.record
        if record.path:
            return self._file(record)
        if image.held is not None and (image.whole or not whole):
            return image.held
        stored = self._stored(record)
        if stored is None and not whole:
            stored = self._elsewhere(record)
        if stored is not None:
            return stored
        name = self._name(record.identifier, environ)
        got = self._arrive(record.identifier, name, environ, True, lost=record)
        if got.record.fingerprint != record.fingerprint:
            raise SourceChanged
        held = got.held if got.whole else self._stored(got.record)
        if held is None:
            raise SourceChanged
        return held

    def generation(self) -> int:
        """Another number whenever something was purged, or found changed within its life."""
        return self._purged.date()

    def current(self, record: Record, generation: int | None = None) -> bool:
        """Whether a record may be answered from without asking: the hit path's one question.

        `generation` is that from before the record was opened.
        """
        if record.path:
            try:
                return stamp_of(os.stat(record.path)) == record.stamp
            except OSError:
                return False
        if generation is None:
            generation = self._purged.noted
        return record.fresh_until > time.time() and self._purged.date() == generation

    def may_be_shown(self, record: Record) -> bool:
        """Whether others may answer from a record until its freshness ends, without asking here.

        Not where a file must be looked at each time, nor where the image may depend on the host
        that was asked for (`app:`, which is asked within the visitor's own request).
        """
        asked = self._sources[: record.template + 1]
        own = record.path or not some_may_be_shown(asked)
        return record.keep and not own and not record.failing_since

    def holds(self, record: Record, environ: Environ) -> bool:
        """Whether a record is what is written down for all processes, not only remembered here."""
        name = self._name(record.identifier, environ)
        stored = self._read(record.identifier, name)
        return stored is not None and (
            (stored.fingerprint, stored.checked, stored.lifetime, stored.failing_since)
            == (record.fingerprint, record.checked, record.lifetime, record.failing_since)
        )

    def ranges(self, record: Record, environ: Environ) -> HttpRanges | None:
        """The source by parts, if that is how it is read."""
        source = self._sources[record.template]
        if record.parts is None or not isinstance(source, HttpSource):
            return None
        name = self._name(record.identifier, environ)
        return source.ranges(
            record.parts["url"], record.parts, lambda: self._end(record.identifier, name)
        )

    def forget(self, identifier: str) -> None:
        """Purge record and bytes of one identifier."""
        group = hashed(identifier)
        self._records.purge(group)
        self._bytes.purge(group)
        self._purged.say()
        self._forget_memory()
        self._unshow(identifier)

    def _forget_memory(self) -> None:
        with self._lock:
            self._memory.clear()
            self._unknown.clear()

    # What is known already

    def _name(self, identifier: str, environ: Environ) -> str:
        """The record's name: all URLs that may answer, so that no host answers for another."""
        return hashed(*(source.url(identifier, environ) for source in self._sources))

    def _known(self, identifier: str, name: str) -> Record | None:
        if self._purged.seen():
            self._forget_memory()
            self._purged.note()
        with self._lock:
            if name in self._unknown:
                raise not_found(identifier)
            record = self._memory.get(name)
        if record is not None and record.fresh_until > time.time():
            return record
        stored = self._read(identifier, name)
        if stored is None:
            return record
        with self._lock:
            self._memory[name] = stored
        return stored

    def _read(self, identifier: str, name: str) -> Record | None:
        entry = self._records.get(Key(hashed(identifier), "record", name + ".json"))
        if entry is None:
            return None
        with entry:
            stored = from_json(entry.read())
        return stored if stored is not None and stored.identifier == identifier else None

    def _by_parts(self, made: Record, answer: Answer, incoming: Incoming) -> Record | None:
        """A large tiled TIFF behind an origin that gives parts: never fetched whole."""
        source = self._sources[made.template]
        held = incoming.held()
        head = held.read(0, 1 << 16)
        if (
            not isinstance(source, HttpSource)
            or made.size < PARTS_LEAST
            or head[:4] not in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}
        ):
            return None
        ranges = source.ranges(answer.url, answer.headers, lambda: None)
        if ranges is None:
            return None
        try:
            info = self._probe_parts(ranges, head)
        except (ProxyError, SourceChanged) as fault:
            log.info("not read by parts: %s", fault)
            return None
        kept = ("content-length", "etag", "last-modified", "accept-ranges")
        said = {k: v for k, v in answer.headers.items() if k in kept}
        return replace(made, info=info, parts={**said, "url": answer.url}) if info else None

    def _remember(self, name: str, record: Record) -> None:
        if not record.keep:
            self._drop(record.identifier, name)
            return
        raw = record.to_json()
        with self._lock:
            before = self._memory.get(name)
            self._memory[name] = record
        changed = before is None or before.fingerprint != record.fingerprint
        key = Key(hashed(record.identifier), "record", name + ".json")
        with self._records.put(key, lambda file: file.write(raw)):
            pass
        if changed:
            self._unshow(record.identifier)

    def _drop(self, identifier: str, name: str) -> None:
        with self._lock:
            self._memory.pop(name, None)
        self._records.delete(Key(hashed(identifier), "record", name + ".json"))
        self._unshow(identifier)

    def _end(self, identifier: str, name: str) -> None:
        """A record turned out wrong within its life: no process goes on answering from it."""
        self._drop(identifier, name)
        self._purged.say()

    def _stored(self, record: Record) -> Held | None:
        entry = self._bytes.get(self._bytes_key(record))
        if entry is None:
            return None
        with entry:
            return Held(os.dup(entry.fileno()))

    def _elsewhere(self, record: Record) -> Held | None:
        """The bytes that another process is receiving now."""
        if self._folder is None:
            return None
        path = self._folder / "incoming" / record.bytes_id
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError:
            return None
        key = self._bytes_key(record)

        def stored() -> bool:
            entry = self._bytes.get(key)
            if entry is not None:
                entry.close()
            return entry is not None

        return Held(descriptor, Elsewhere(path, descriptor, stored))

    def _bytes_key(self, record: Record) -> Key:
        return Key(hashed(record.identifier), record.bytes_id, "source")

    # Files of this machine

    def _local(self, identifier: str, index: int, url: str, file: LocalFile) -> SourceImage:
        record = of_file(identifier, index, url, file, time.time())
        with self._lock:
            before = self._memory.get(record.fingerprint)
        if before is not None:
            return SourceImage(before)
        held = self._file(record)
        record = replace(record, info=self._whole_info(held))
        with self._lock:
            self._memory[record.fingerprint] = record
        return SourceImage(record, held)

    def _file(self, record: Record) -> Held:
        try:
            held = Held(os.open(record.path, os.O_RDONLY))
        except FileNotFoundError:
            raise SourceChanged from None
        except OSError as cause:
            raise OriginFailed("The source of this image cannot be read.", str(cause)) from cause
        if stamp_of(os.fstat(held.descriptor)) != record.stamp:
            raise SourceChanged
        return held

    def _whole_info(self, held: Held) -> Mapping[str, Any]:
        info = self._probe(held.path, True)
        if info is None:
            raise OriginFailed("What the origin sent is no image that can be decoded.")
        return info

    # What must be asked for

    def _arrive(
        self,
        identifier: str,
        name: str,
        environ: Environ,
        whole: bool,
        lost: Record | None = None,
    ) -> SourceImage:
        """Join the fetch under way, or begin one: one for all threads and processes."""
        with self._lock:
            arrival = self._arrivals.get(name)
            mine = arrival is None
            if arrival is None:
                arrival = self._arrivals[name] = Arrival()
        arrival.whole_wanted = arrival.whole_wanted or whole
        with stage("fetch"):
            if mine:
                work = (arrival, identifier, name, environ, lost)
                if all(source.threaded for source in self._sources):
                    threading.Thread(target=self._run, args=work, daemon=True).start()
                else:
                    self._run(*work)
            return arrival.wait(whole, self._patience)

    def _run(
        self,
        arrival: Arrival,
        identifier: str,
        name: str,
        environ: Environ,
        lost: Record | None,
    ) -> None:
        image: SourceImage | None = None
        error: ProxyError | None = None
        begun = time.time()

        def find() -> SourceImage | None:
            record = self._known(identifier, name)
            if record is None or record.failing_since:
                return None
            if lost is not None:
                held = self._stored(record)
                return SourceImage(record, held, True) if held else None
            return SourceImage(record) if max(record.fresh_until, record.checked) > begun else None

        def make() -> SourceImage:
            return self._fetch(arrival, identifier, name, environ, lost)

        try:
            image, _ = self._flights.do("source " + name, find, make, self._patience)
        except ProxyError as caught:
            error = caught
        except Exception as caught:
            log.exception("fetching a source failed")
            error = OriginFailed("The source of this image could not be read.", repr(caught))
        with self._lock:
            self._arrivals.pop(name, None)
        arrival.finish(image, error)

    def _fetch(
        self,
        arrival: Arrival,
        identifier: str,
        name: str,
        environ: Environ,
        lost: Record | None,
    ) -> SourceImage:
        held = None if lost else self._known(identifier, name)
        try:
            for index, source in enumerate(self._sources):
                same = held if held is not None and held.template == index else None
                conditions = same.conditions() if same else None
                answer = asked(source.ask, identifier, conditions, environ)
                if answer is None:
                    continue
                url = source.url(identifier, environ)
                if isinstance(answer, LocalFile):
                    return self._local(identifier, index, url, answer)
                try:
                    if not answer.modified and same is not None:
                        return self._confirmed(name, same, answer)
                    return self._receive(arrival, identifier, name, index, url, answer, lost)
                finally:
                    answer.close()
        except (OriginFailed, OriginTimeout) as fault:
            return self._despite(name, held, fault)
        (self._end if lost else self._drop)(identifier, name)
        with self._lock:
            self._unknown[name] = True
        raise not_found(identifier)

    def _confirmed(self, name: str, record: Record, answer: Answer) -> SourceImage:
        """304: as it was. What the 304 does not say about freshness is still as it was said."""
        now = time.time()
        if any(header in answer.headers for header in CHECKED):
            record = record.renewed(now, freshness(answer.headers, now, self._ttl))
        else:
            record = replace(record, checked=now)
        record = replace(record, failing_since=0.0)
        self._remember(name, record)
        return SourceImage(record)

    def _despite(self, name: str, held: Record | None, fault: ProxyError) -> SourceImage:
        """The origin fails: what is stale but known goes on being served for a while."""
        now = time.time()
        if held is None or held.strict:
            raise fault
        since = held.failing_since or held.fresh_until
        if now - since > self._stale_if_error:
            raise fault
        went_stale()
        log.warning("serving a stale source: %s", fault)
        record = replace(held, checked=now, lifetime=FAILING_PAUSE, failing_since=since)
        self._remember(name, record)
        return SourceImage(record)

    def _receive(
        self,
        arrival: Arrival,
        identifier: str,
        name: str,
        index: int,
        url: str,
        answer: Answer,
        lost: Record | None,
    ) -> SourceImage:
        """Take a 200's body in; the record is there as early as the header is."""
        now = time.time()
        fresh = freshness(answer.headers, now, self._ttl)
        due = answer.headers.get("content-length", "")
        if due.isdigit() and int(due) > self._max_bytes:
            raise OriginFailed("The source of this image is larger than is allowed here.", due)
        # Without validators that name the content, the content itself must: known at the end.
        digest = None if known_early(answer.headers, now) else hashlib.sha256()
        made = of_answer(identifier, index, url, answer.headers, fresh, now, token_hex(8))
        if lost is not None and digest is None and made.fingerprint != lost.fingerprint:
            self._end(identifier, name)
        incoming = Incoming(self._folder and self._folder / "incoming", made.bytes_id)
        try:
            probe_at = FIRST_PROBE
            parts = lost is None and digest is None and fresh.keep
            for chunk in answer.chunks:
                incoming.write(chunk)
                arrival.grown(incoming.size)
                if parts and incoming.size >= TIFF_HEAD:
                    parts = False
                    by_parts = self._by_parts(made, answer, incoming)
                    if by_parts is not None:
                        self._remember(name, by_parts)
                        return SourceImage(by_parts)
                if digest:
                    digest.update(chunk)
                if incoming.size > self._max_bytes:
                    raise OriginFailed("The source of this image is larger than is allowed here.")
                if made.info is None and incoming.size >= probe_at:
                    probe_at = incoming.size * 4
                    held = incoming.held(arrival)
                    made = replace(made, info=self._probe(held.path, False))
                    if made.info is not None and digest:
                        arrival.head(replace(made, fingerprint=""), held)
                    elif made.info is not None:
                        # First for the other processes: they will not wait for the rest then.
                        self._remember(name, made)
                        arrival.head(made, held)
            held = incoming.held()
            made = replace(made, size=incoming.size, info=made.info or self._whole_info(held))
            if digest:
                made = made.named_by(digest.hexdigest())
                if lost is not None and made.fingerprint != lost.fingerprint:
                    self._end(identifier, name)
            if fresh.keep and incoming.path is not None:
                self._bytes.adopt(self._bytes_key(made), incoming.path)
            self._remember(name, made)
            return SourceImage(made, held, True)
        except BaseException:
            if made.info is not None:
                self._drop(identifier, name)
            raise
        finally:
            incoming.discard()
            incoming.close()


class Purged:
    """A file whose date says to all processes that something was purged: a stat a request."""

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else str(folder / "purged")
        self.noted = self.date()

    def seen(self) -> bool:
        return self.date() != self.noted

    def note(self) -> None:
        self.noted = self.date()

    def say(self) -> None:
        if self._path is not None:
            with contextlib.suppress(OSError):
                os.makedirs(os.path.dirname(self._path), exist_ok=True)
                with open(self._path, "a"):
                    # Set, not left to the kernel: its clock stands still for up to 4 ms.
                    os.utime(self._path, ns=(time.time_ns(),) * 2)

    def date(self) -> int:
        try:
            return os.stat(self._path).st_mtime_ns if self._path else 0
        except OSError:
            return 0


def some_may_be_shown(sources: Sequence[Source]) -> bool:
    """Whether any record of the last of these could be, see `SourceCache.may_be_shown`."""
    return not _leading(sources) and all(source.threaded for source in sources)


def _leading(sources: Sequence[Source]) -> int:
    """How many templates at the front are files: those are simply looked at."""
    count = 0
    for source in sources:
        if not isinstance(source, FileSource):
            break
        count += 1
    return count
