"""Asking the sources, in order: once for all who want the same."""

import logging
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from secrets import token_hex

from iiif_proxy.concurrency import SingleFlight
from iiif_proxy.concurrency.recent import busy
from iiif_proxy.errors import (
    Busy,
    NotAllowed,
    NotAuthenticated,
    OriginFailed,
    OriginTimeout,
    ProxyError,
    TooManyRequests,
    for_want,
)
from iiif_proxy.sources.arrival import Arrival, SourceImage, copied
from iiif_proxy.sources.base import Answer, Environ, Source, mind_forks, not_found
from iiif_proxy.sources.contents import Contents
from iiif_proxy.sources.file import FileSource
from iiif_proxy.sources.freshness import freshness
from iiif_proxy.sources.known import Known, Moment
from iiif_proxy.sources.receive import Receiver
from iiif_proxy.sources.record import Record, of_answer
from iiif_proxy.telling import asked, stage, went_stale

log = logging.getLogger(__name__)

# Downloads of one process at a time. (Visitors who wait are fewer: this bounds what goes on
# after they had the header.)
AT_ONCE = 64
STALE = (OriginFailed, OriginTimeout, TooManyRequests, Busy)


@dataclass(frozen=True, slots=True)
class Wanted:
    """An identifier for a request; `lost`: the record whose bytes are wanted again."""

    identifier: str
    name: str
    environ: Environ
    lost: Record | None = None


class Fetches:
    """One fetch of a source at a time, for all threads and processes."""

    def __init__(
        self,
        sources: Sequence[Source],
        known: Known,
        contents: Contents,
        receiver: Receiver,
        flights: SingleFlight,
        local: Callable[[str, int, Environ], SourceImage | None],
        *,
        ttl: float,
        stale_if_error: float,
        stale_after: float,
        failing_pause: float,
        patience: float,
    ) -> None:
        self._sources = sources
        self._known = known
        self._contents = contents
        self._receiver = receiver
        self._flights = flights
        self._local = local
        self._ttl = ttl
        self._stale_if_error = stale_if_error
        self._stale_after = stale_after
        self._failing_pause = failing_pause
        self._patience = patience
        self._threaded = all(source.threaded for source in sources)
        self.after_fork()
        mind_forks(self)

    def after_fork(self) -> None:
        """The fetches under way are the parent's."""
        self._lock = threading.Lock()
        self._arrivals: dict[str, Arrival] = {}
        self._slots = threading.BoundedSemaphore(AT_ONCE)

    def get(self, wanted: Wanted, whole: bool, *, here: bool = False) -> SourceImage:
        """Join the fetch under way, or begin one: with `here` in this thread, else in its own.

        With `whole` False the image's header is enough.
        """
        with stage("fetch"):
            return self._joined(wanted, here or whole).wait(whole, self._patience)

    def confirm(self, wanted: Wanted, stale: Record) -> SourceImage:
        """What `get` gives if that comes soon, else what is stale; the fetch goes on.

        (A thread for it costs 0.1 to 0.3 ms, most likely for a 304.)
        """
        shown = self._shown_stale(stale)
        if shown is None:
            return self.get(wanted, False, here=True)
        with stage("fetch"):
            arrival = self._joined(wanted, False)
            try:
                return arrival.wait(False, self._stale_after)
            except OriginTimeout:
                went_stale()
                # Known to all, so that they do not wait one after the other.
                return SourceImage(self._known.stand_in(shown, stale))

    def _joined(self, wanted: Wanted, here: bool) -> Arrival:
        """The fetch under way, or a new one: with `here` it is over when this returns."""
        with self._lock:
            arrival = self._arrivals.get(wanted.name)
            if arrival and self._known.outdated(wanted.identifier, arrival.since):
                arrival = None
            mine = arrival is None
            if arrival is None:
                arrival = self._arrivals[wanted.name] = Arrival(self._known.now())
        if mine:
            self._begin(arrival, wanted, here or not self._threaded)
        return arrival

    def _begin(self, arrival: Arrival, wanted: Wanted, here: bool) -> None:
        if not here:
            thread = threading.Thread(
                target=self._run, args=(arrival, wanted), daemon=True, name="source"
            )
            try:
                return thread.start()
            except RuntimeError as refusal:
                log.warning("no thread for a source: %s", refusal)
        self._run(arrival, wanted)

    def _run(self, arrival: Arrival, wanted: Wanted) -> None:
        image: SourceImage | None = None
        error: ProxyError | None = OriginFailed("The source of this image could not be read.")
        taken = False
        try:
            # Who asks an application is bounded by the server's own threads.
            taken = self._threaded and self._slots.acquire(timeout=self._patience)
            if self._threaded and not taken:
                raise busy(5)
            image = self._flown(arrival, wanted)
            error = None
        except ProxyError as caught:
            # A copy: the frames of the original hold the file, and this arrival. So do those of its
            # cause, which under Python 3.13 may refer to each other (contextlib, in urllib3).
            error = copied(caught)
            traceback.clear_frames(caught.__traceback__)
        except Exception as caught:
            wanting = for_want(caught)
            if wanting is None:
                log.exception("fetching a source failed")
            error = wanting or error
        finally:
            # Also at SystemExit: who waits must not wait for ever.
            if taken:
                self._slots.release()
            with self._lock:
                if self._arrivals.get(wanted.name) is arrival:
                    del self._arrivals[wanted.name]
            arrival.finish(image, error)

    def _flown(self, arrival: Arrival, wanted: Wanted) -> SourceImage:
        """In turn with other processes, and with fetches that began before a purge."""
        asked = False

        def ask() -> SourceImage:
            nonlocal asked
            asked = True
            return self._ask(arrival, wanted)

        while True:
            try:
                return self._flights.do(
                    "source " + wanted.name,
                    lambda: self._found(wanted, arrival.since.time),
                    ask,
                    self._patience,
                )[0]
            except Busy:
                raise
            except ProxyError:
                if asked:
                    raise
                # What somebody met before the purge is not the answer after it.

    def _found(self, wanted: Wanted, begun: float) -> SourceImage | None:
        """What another process fetched while this one waited for its turn."""
        record = self._known.find(wanted.name, wanted.identifier)
        if record is None:
            return None
        lost = wanted.lost
        if lost is None:
            new = record.fresh_until > time.time() or record.checked > begun
            return SourceImage(record) if new else None
        if record.fingerprint != lost.fingerprint:
            return SourceImage(record)
        held = self._contents.get(record)
        return SourceImage(record, held) if held else None

    def _ask(self, arrival: Arrival, wanted: Wanted) -> SourceImage:
        """One source after the other, until one has it."""
        before = wanted.lost or self._known.find(wanted.name, wanted.identifier)
        stale = None if wanted.lost else before
        try:
            for index, source in enumerate(self._sources):
                same = stale if stale is not None and stale.template == index else None
                conditions = same.conditions() if same else None
                if isinstance(source, FileSource):
                    image = self._local(wanted.identifier, index, wanted.environ)
                    if image is not None:
                        return image
                    continue
                answer = asked(source.ask, wanted.identifier, conditions, wanted.environ)
                if not isinstance(answer, Answer):
                    continue
                url = source.url(wanted.identifier, wanted.environ)
                try:
                    if not answer.modified and same is not None and conditions is not None:
                        return self._confirmed(same, answer, arrival.since)
                    made = self._made(wanted, index, url, answer)
                    other = before is not None and before.is_another(made)
                    if other:
                        stale = None  # Not shown again, come what may.
                    lost = wanted.lost is not None
                    return self._receiver.receive(made, source, answer, arrival, lost, other)
                finally:
                    answer.close()
        except STALE as fault:
            image = self._despite(stale, fault)
            if image is None:
                raise
            return image
        except (NotAuthenticated, NotAllowed):
            self._known.drop(wanted.name, wanted.identifier)
            raise
        self._known.drop(wanted.name, wanted.identifier)
        self._known.missing(wanted.name, wanted.identifier, arrival.since)
        raise not_found(wanted.identifier)

    def _confirmed(self, record: Record, answer: Answer, since: Moment) -> SourceImage:
        record = record.confirmed(answer.headers, time.time(), self._ttl)
        return SourceImage(self._known.keep(record, since))

    def _despite(self, stale: Record | None, fault: ProxyError) -> SourceImage | None:
        """The origin fails: what is stale but known goes on being served for a while."""
        shown = None if stale is None else self._shown_stale(stale)
        if stale is None or shown is None:
            return None
        went_stale()
        log.warning("serving a stale source: %s", fault)
        return SourceImage(self._known.stand_in(shown, stale))

    def _shown_stale(self, stale: Record) -> Record | None:
        """What is stale, good for a pause, if it may be shown at all."""
        now = time.time()
        record = stale.failing(now, self._failing_pause)
        late = now - record.failing_since > self._stale_if_error
        return None if stale.strict or late else record

    def _made(self, wanted: Wanted, index: int, url: str, answer: Answer) -> Record:
        """The record by the answer's headers; what the image's header says is not known yet."""
        now = time.time()
        return of_answer(
            wanted.name,
            wanted.identifier,
            index,
            url,
            answer.headers,
            freshness(answer.headers, now, self._ttl),
            now,
            token_hex(8),
        )
