"""An identifier becomes a source: what is known of it, its bytes, and the memory of what is not."""

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from iiif_proxy.concurrency import SingleFlight
from iiif_proxy.errors import OriginFailed, SourceChanged
from iiif_proxy.ranges import Parts
from iiif_proxy.sources.app import AppSource
from iiif_proxy.sources.arrival import SourceImage
from iiif_proxy.sources.base import CREDENTIALS, Environ, LocalFile, Source, not_found
from iiif_proxy.sources.contents import Contents
from iiif_proxy.sources.fetch import Fetches, Wanted
from iiif_proxy.sources.file import FileSource, opened, stamp_of, unreadable
from iiif_proxy.sources.held import Held
from iiif_proxy.sources.http import HttpSource
from iiif_proxy.sources.known import Known
from iiif_proxy.sources.receive import Probe, ProbeParts, Receiver
from iiif_proxy.sources.record import Record, hashed, of_file
from iiif_proxy.sources.remembered import Remembered
from iiif_proxy.stores.base import Store

# So often a file may change while it is opened.
CHANGES = 3


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
        stale_after: float = 0.5,
        failing_pause: float = 5,
        max_bytes: int = 2 << 30,
        patience: float = 150,
        unshow: Callable[[str], None] = lambda identifier: None,
    ) -> None:
        self._sources = sources
        self._leading = _leading(sources)
        self._threaded = all(source.threaded for source in sources)
        self._probe = probe
        self._known = Known(records, folder, unknown_ttl, unshow)
        self._contents = Contents(bytes_store, folder and folder / "incoming")
        receiver = Receiver(self._known, self._contents, probe, probe_parts, max_bytes)
        self._fetches = Fetches(
            sources,
            self._known,
            self._contents,
            receiver,
            flights,
            self._local,
            ttl=ttl,
            stale_if_error=stale_if_error,
            stale_after=stale_after,
            failing_pause=failing_pause,
            patience=patience,
        )

    def open(self, identifier: str, environ: Environ, whole: bool = False) -> SourceImage:
        """The source of an identifier, fresh; with `whole` False its bytes may still be coming.

        Raises NotFound, OriginFailed, OriginTimeout, NotAuthenticated, NotAllowed,
        TooManyRequests, Busy.
        """
        for index in range(self._leading):
            local = self._local(identifier, index, environ)
            if local is not None:
                return local
        # The name: all URLs that may answer, so that no host answers for another.
        name = hashed(*(source.url(identifier, environ) for source in self._sources))
        record = self._known.find(name, identifier)
        if record is not None and record.fresh_until > time.time():
            return SourceImage(record)
        wanted = Wanted(identifier, name, environ)
        if record is not None and not whole and self._threaded:
            return self._fetches.confirm(wanted, record)
        return self._fetches.get(wanted, whole, here=record is not None)

    def content(self, image: SourceImage, environ: Environ, whole: bool = True) -> Held:
        """The bytes of a source, fetched again if they were lost.

        With `whole` False some may still be on their way: read them by `Held.read`.

        Raises SourceChanged when the origin has other bytes by now: open it again.
        """
        record = image.record
        if record.path:
            return self._file(record)
        # In another thread, without what is the request's own.
        kept = {CREDENTIALS: environ.get(CREDENTIALS, {})}
        held = image.held or self._contents.get(record)
        if held is None and not whole and self._threaded:
            held = self._contents.growing(
                record,
                lambda: self._contents.get(record) or self._again(record, kept, True),
            )
        if held is None:
            held = self._again(record, environ, whole)
        if whole:
            held.complete()
        return held

    def _again(self, record: Record, environ: Environ, whole: bool) -> Held:
        wanted = Wanted(record.identifier, record.name, environ, lost=record)
        got = self._fetches.get(wanted, whole)
        if not got.record.fingerprint:
            got = self._fetches.get(wanted, True)
        if got.record.fingerprint != record.fingerprint:
            raise SourceChanged
        held = got.held or self._contents.get(got.record)
        if held is None and got.record.parts is not None:
            # Joined to a fetch that took its header only.
            got = self._fetches.get(wanted, True)
            held = got.held
        if held is None or got.record.fingerprint != record.fingerprint:
            raise SourceChanged
        return held

    def look(
        self, identifier: str, environ: Environ, credentials: Mapping[str, str], method: str
    ) -> tuple[int, Mapping[str, str]]:
        """What the first source that has the image answers to a visitor's own credentials, without
        the image. Raises NotFound, OriginFailed, OriginTimeout."""
        for source in self._sources:
            assert isinstance(source, HttpSource | AppSource)
            status, headers = source.look(identifier, environ, credentials, method)
            if status not in {404, 410}:
                return status, headers
        raise not_found(identifier)

    def generation(self) -> int:
        """Another number whenever something was purged, or found changed within its life."""
        return self._known.generation()

    def current(self, record: Record, generation: int | None = None) -> bool:
        """Whether a record may be answered from without asking: the hit path's one question.

        `generation` is that from before the record was opened.
        """
        return self._known.current(record, generation)

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
        stored = self._known.stored(record.name, record.identifier)
        return stored is not None and (
            (stored.fingerprint, stored.checked, stored.lifetime, stored.failing_since)
            == (record.fingerprint, record.checked, record.lifetime, record.failing_since)
        )

    def unpurged(self) -> contextlib.AbstractContextManager[None]:
        """Nothing is purged, by any process, while this is held."""
        return self._known.unpurged()

    def ranges(self, record: Record, environ: Environ) -> Parts | None:
        """The source by parts, if that is how it is read; its directories are known already."""
        source = self._sources[record.template]
        if record.parts is None or not isinstance(source, HttpSource):
            return None
        parts = source.ranges(
            record.parts["url"],
            record.parts,
            lambda: self._known.drop(record.name, record.identifier),
        )
        noted = self._contents.noted(record)
        if parts is None or noted is None:
            return parts
        with contextlib.suppress(ValueError):
            return Remembered.of(parts, noted)
        return parts

    def reject(self, record: Record) -> None:
        """The bytes turned out to be no image: the next request fetches them anew.

        (An origin that announces too short a length sends what is cut off but complete.)
        """
        if not record.path:
            self._known.drop(record.name, record.identifier)
            self._contents.drop(record)

    def forget(self, identifier: str) -> None:
        """Purge record and bytes of one identifier."""
        self._contents.forget(identifier)
        self._known.forget(identifier)

    def forget_all(self) -> None:
        """What is known of sources; their bytes only where the origin has others by then."""
        self._known.forget_all()

    def purge_all(self) -> None:
        """Records and bytes of all identifiers."""
        self._contents.forget_all()
        self._known.forget_all()

    # Files of this machine

    def _local(self, identifier: str, index: int, environ: Environ) -> SourceImage | None:
        source = self._sources[index]
        for _ in range(CHANGES):
            file = source.ask(identifier, None, environ)
            if not isinstance(file, LocalFile):
                return None
            url = source.url(identifier, environ)
            record = of_file(identifier, index, url, file, time.time())
            before = self._known.file(record.name)
            if before is not None:
                return SourceImage(before)
            with contextlib.suppress(SourceChanged):
                held = self._file(record)
                record = replace(record, info=self._whole_info(held))
                self._known.keep_file(record)
                return SourceImage(record, held)
        raise OriginFailed("The source of this image keeps changing.")

    def _file(self, record: Record) -> Held:
        try:
            held = Held(opened(record.path))
        except FileNotFoundError:
            raise SourceChanged from None
        except OSError as cause:
            raise unreadable(cause) from cause
        if stamp_of(os.fstat(held.descriptor)) != record.stamp:
            raise SourceChanged
        return held

    def _whole_info(self, held: Held) -> Mapping[str, Any]:
        info = self._probe(held.path, True)
        if info is None:
            raise OriginFailed("What the origin sent is no image that can be decoded.")
        return info


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
