"""From a request to a derivative: source, plan, store, and pixels only when they must be made."""

import contextlib
import functools
import io
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from iiif_proxy.ahead import Ahead
from iiif_proxy.cluster import Leases
from iiif_proxy.concurrency import Gate, Place, SingleFlight, Spare
from iiif_proxy.errors import Busy, NoImage, OriginFailed, SourceChanged
from iiif_proxy.iiif.model import Box, Features, ImageInfo, Limits, Plan
from iiif_proxy.iiif.plan import ImageRequest, resolve, stored_name
from iiif_proxy.iiif.tiles import sizes
from iiif_proxy.imaging.apart import HERE, Jobs
from iiif_proxy.imaging.encode import FORMATS, EncodeOptions
from iiif_proxy.imaging.look import Look
from iiif_proxy.imaging.sessions import Sessions
from iiif_proxy.keeping import KeptLevels
from iiif_proxy.later import Later
from iiif_proxy.located import Located
from iiif_proxy.making import Maker, Working
from iiif_proxy.paging import Paging
from iiif_proxy.preparing import Preparing
from iiif_proxy.publisher import Publisher
from iiif_proxy.sources.record import hashed
from iiif_proxy.stores.base import Entry, Key, NullStore, Store
from iiif_proxy.stores.disk import DiskStore
from iiif_proxy.stores.elsewhere import Address, Elsewhere
from iiif_proxy.stores.retention import Retention
from iiif_proxy.stores.shared import SharedStore
from iiif_proxy.telling import ToldGate

if TYPE_CHECKING:
    from iiif_proxy.ranges import ByteSource
    from iiif_proxy.sources.arrival import SourceImage
    from iiif_proxy.sources.cache import SourceCache
    from iiif_proxy.sources.held import Held

Environ = dict[str, Any]
Found = TypeVar("Found")
# So often a source may change while it is looked at.
CHANGES = 3
# Pixels of a source of which a derivative takes longer than to ask the other machines (0.5 ms).
DEAR = 4_000_000


@dataclass(frozen=True, slots=True)
class Derivative:
    """An image, made: an open entry, and whether it was there already."""

    entry: Entry
    hit: bool


class ImageService:
    """The work between an understood request and an answer.

    `recipe` names the settings that shape the bytes or decide what may be asked. It is part of
    the key's version: a changed setting never meets old derivatives, nor does a static server.
    """

    def __init__(
        self,
        sources: "SourceCache",
        derivatives: Store,
        flights: SingleFlight,
        gate: Gate,
        *,
        features: Features,
        limits: Limits,
        options: EncodeOptions,
        look: Look,
        recipe: str,
        publisher: Publisher,
        sessions: Sessions,
        folder: Path | None,
        write_ahead: bool,
        predict: bool,
        room: int,
        paging: Paging,
        patience: float,
        retention: Retention | None = None,
        leases: Leases | None = None,
        purged: Callable[[str | None], object] = lambda identifier: None,
        elsewhere: Elsewhere | None = None,
        jobs: Jobs = HERE,
    ) -> None:
        self.features = features
        self.limits = limits
        self._sources = sources
        self._derivatives = derivatives
        self._unkept = NullStore()
        self._flights = flights
        self._gate = ToldGate(gate)
        self._recipe = recipe
        self._publisher = publisher
        self._sessions = sessions
        self._paging = paging
        self._working = Working()
        self._spare = Spare()
        kept = KeptLevels(derivatives, sessions, look, patience)
        self._preparing = Preparing(
            derivatives,
            kept,
            Ahead(folder, self.busy),
            features=features,
            limits=limits,
            options=options,
            look=look,
            write_ahead=write_ahead and folder is not None,
            predict=predict and folder is not None,
            room=room,
            patience=patience,
            made=self._made,
        )
        self._maker = Maker(
            sources,
            sessions,
            kept,
            self._preparing,
            self._working,
            self._gate,
            features=features,
            limits=limits,
            options=options,
            look=look,
            reading=paging.reading,
            jobs=jobs,
            patience=patience,
        )
        self._later = Later()
        self._retention = retention
        self._leases = leases
        self._purged = purged
        self._elsewhere = elsewhere
        self._patience = patience

    def info(self, identifier: str, environ: Environ) -> "tuple[SourceImage, ImageInfo]":
        """What the source's header says; raises what the sources raise."""
        name, page = self._paging.split(identifier)

        def look() -> "tuple[SourceImage, ImageInfo]":
            source = self._opened(name, page, environ)
            return source, self._info(source, page, environ)

        return steady(look)

    def pages(self, identifier: str, environ: Environ) -> list[str]:
        """The identifiers of all pages of a source; only its own where pages are off."""
        if not self._paging.on:
            return [identifier]
        name, _ = self._paging.split(identifier)

        def look() -> int:
            source = self._opened(name, 2, environ)
            key, keep = self._key(source, "pages"), source.record.keep
            return self._paging.count(key, *self._ways(source, environ), keep)

        count = steady(look)
        return [self._paging.joined(name, page) for page in range(1, count + 1)]

    def locate(
        self, request: ImageRequest, environ: Environ, limits: Limits | None = None
    ) -> Located:
        """Resolve a request against its source. Raises InvalidRequest and NotSupported too.

        `limits`: lower ones of whoever asks. Only the plan goes by them: its name and its URL
        are the same for all.
        """
        if self._retention is not None:
            self._retention.wake()
        generation = self._sources.generation()
        identifier, page = self._paging.split(request.identifier)
        source = self._sources.open(identifier, environ)
        if not source.record.fingerprint:
            source = self._sources.open(identifier, environ, whole=True)
        self.show(source, environ)
        info = self._info(source, page, environ)
        plan = resolve(request, info, limits or self.limits, self.features)
        name = stored_name(plan, info, self.limits)
        key = self._key(source, name if page == 1 else f"page-{page}_{name}")
        # A static server knows the first page only: by the source's own identifier.
        also = request.api.also_named(plan, info, self.limits, self.features) if page == 1 else None
        media_type = FORMATS[plan.format].media_type
        return Located(source, info, plan, key, etag_of(key), media_type, generation, also, page)

    def _opened(self, identifier: str, page: int, environ: Environ) -> "SourceImage":
        """For a page behind the first the source must have a name, which may come at its end."""
        source = self._sources.open(identifier, environ)
        if page > 1 and not source.record.fingerprint:
            source = self._sources.open(identifier, environ, whole=True)
        return source

    def _key(self, source: "SourceImage", name: str) -> Key:
        return Key(group_of(source.record.identifier), self._version(source), name)

    def _info(self, source: "SourceImage", page: int, environ: Environ) -> ImageInfo:
        if page == 1:
            return info_of(source)
        key = self._key(source, "page")
        return self._paging.info(key, page, *self._ways(source, environ), source.record.keep)

    def _ways(
        self, source: "SourceImage", environ: Environ
    ) -> "tuple[Callable[[], ByteSource | None], Callable[[], Held]]":
        """To the bytes of a source: by parts if it is read so, and whole."""
        return (
            lambda: self._sources.ranges(source.record, environ),
            lambda: self._sources.content(source, environ),
        )

    def _version(self, source: "SourceImage") -> str:
        return version_of(source.record.fingerprint, self._recipe)

    def show(self, source: "SourceImage", environ: Environ) -> bool:
        """Whether a static server answers for this state of the source from now on."""
        record = source.record
        if not record.fingerprint:
            return False
        group = group_of(record.identifier)
        return self._publisher.show(record, group, self._version(source), environ)

    def current(self, located: Located) -> bool:
        """Whether what was located a while ago is still what would be located now."""
        record = located.source.record
        current = self._sources.current(record, located.generation)
        return current and not self._publisher.due(record)

    def find(self, located: Located) -> Entry | None:
        """The derivative, if it is stored: one open file, no lock."""
        return self._store(located).get(located.key)

    def at_hand(self, located: Located) -> bool:
        """Whether what was located a while ago is still so, and stored here. Neither another
        machine nor a source's file, which may be on one, is asked."""
        record = located.source.record
        if record.path or not isinstance(self._derivatives, DiskStore):
            return False
        current = self._sources.current(record, located.generation)
        return current and self._derivatives.has(located.key)

    def elsewhere(self, located: Located) -> Address | None:
        """Where a visitor gets it without this machine, if visitors are sent there at all."""
        if self._elsewhere is None or not located.stored:
            return None
        return self._elsewhere(located.key)

    def has(self, located: Located) -> bool:
        """Whether the derivative is stored."""
        entry = self.find(located)
        if entry is not None:
            entry.close()
        return entry is not None

    def stored(
        self, identifier: str, source: "SourceImage", info: ImageInfo
    ) -> Callable[[Plan], bool]:
        """Whether a plan of one image is stored."""
        _, page = self._paging.split(identifier)

        def has(plan: Plan) -> bool:
            if not (source.record.fingerprint and source.record.keep):
                return False
            name = stored_name(plan, info, self.limits)
            key = self._key(source, name if page == 1 else f"page-{page}_{name}")
            entry = self._derivatives.get(key)
            if entry is not None:
                entry.close()
            return entry is not None

        return has

    def name_of(self, identifier: str) -> str:
        """The source's own identifier, whatever page is asked for."""
        return self._paging.split(identifier)[0]

    def look(
        self, identifier: str, environ: Environ, credentials: Mapping[str, str], method: str
    ) -> tuple[int, Mapping[str, str]]:
        """What the origin says to a visitor's own credentials: see SourceCache.look."""
        return self._sources.look(self.name_of(identifier), environ, credentials, method)

    def derive(self, located: Located, environ: Environ) -> Derivative:
        """The derivative, from the store or made now: once for all who wait for it.

        Raises SourceChanged when the source is another by now: locate it again.
        """
        entry = self.find(located)
        found = Derivative(entry, True) if entry else self._make_once(located, environ)
        # Again: while the source was still coming, there was no record to show.
        if self.show(located.source, environ) and located.also is not None:
            self._derivatives.link(located.key, located.also)
        return found

    def postpone(
        self, located: Located, environ: Environ, bound: int, hand: Callable[[], bool]
    ) -> Busy | None:
        """Make it in the background if it is not stored and its price is above `bound`, unless
        `hand` gives it to others.

        Then what to tell who asks. Raises what it came to the last time, if it failed.
        """
        plan, key = located.plan, located.key
        if not located.stored or self.has(located):
            return None
        price = self._maker.routes(located, environ).price(plan.box, plan.width, plan.height)
        if price < bound:
            return None
        # The request ends before this is made.
        asked = {**environ, "REQUEST_METHOD": "GET", "wsgi.input": io.BytesIO()}

        def make() -> None:
            self.derive(located, asked).entry.close()

        return self._later.submit(f"{key.group}/{key.version}/{key.name}", make, hand)

    def smaller(self, located: Located) -> Entry | None:
        """The same at less pixels, if that is stored: the largest."""
        info, plan = located.info, located.plan
        steps = [(-(-plan.width // 2**n), -(-plan.height // 2**n)) for n in range(1, 6)]
        if plan.box == Box(0, 0, info.width, info.height):
            found = sizes(info, self.limits, self.features)
            steps += [(w, h) for w, h in found if w < plan.width and h < plan.height]
        for width, height in sorted(set(steps), reverse=True):
            less = replace(plan, width=width, height=height)
            entry = self._derivatives.get(located.named(stored_name(less, info, self.limits)))
            if entry is not None:
                return entry
        return None

    def _make_once(self, located: Located, environ: Environ) -> Derivative:
        store = self._store(located)

        plan = located.plan
        extra = plan.width * plan.height * FORMATS[plan.format].copies

        def make() -> Entry:
            spare = self._spare.enter(self.busy, self._patience)
            try:
                with nullcontext() if located.kept else spare, Place(self._gate, extra) as place:
                    writer = self._maker.writer(located, environ, place)
                    entry = store.put(located.key, writer, located.modified)
                self._made(located, located.key)
                return entry
            except NoImage:
                # Its header was good: that is known, and its bytes are kept.
                self._sources.reject(located.source.record)
                raise

        key = located.key
        name = f"derivative {key.group}/{key.version}/{key.name}"

        def find() -> Entry | None:
            return store.get(key)

        end = time.monotonic() + self._patience

        def first() -> Entry:
            if self._leases is None or not self._is_dear(located, environ):
                return make()
            # What was waited for the processes of this machine counts too.
            return self._leases.first(name, find, make, end - time.monotonic())

        entry, made = self._flights.do(name, find, first, self._patience)
        return Derivative(entry, not made)

    def _is_dear(self, located: Located, environ: Environ) -> bool:
        """Whether machines had better wait for one of them than each make it."""
        plan, info = located.plan, located.info
        if not located.stored:
            return False
        pixels = info.width * info.height
        return pixels >= DEAR and not self._maker.routes(located, environ).session(
            plan.box, plan.width, plan.height
        )

    def _made(self, located: Located, key: Key) -> None:
        if self._retention is not None and located.owner is not None and located.stored:
            self._retention.note(key, located.owner)

    def ruled(self, rules: str) -> None:
        """Another policy is in force: what a static server may answer is found out anew."""
        self._publisher.ruled(self._recipe + rules)

    def busy(self) -> bool:
        """Whether somebody is waiting for an image to be made by this process."""
        return self._working.count > 0

    def _store(self, located: Located) -> Store:
        return self._derivatives if located.stored else self._unkept

    def purge(self, identifier: str) -> None:
        """Forget everything of one identifier, on all machines: record, source, derivatives."""
        self.forget(identifier)
        self._purged(identifier)

    def purge_all(self) -> None:
        """Forget everything of all identifiers, on all machines."""
        self._sources.purge_all()
        # Before a bucket is emptied, which takes a while.
        self._purged(None)
        self._derivatives.purge_all()

    def forget_all(self) -> None:
        """Purge everything on this machine."""
        self._sources.purge_all()
        if isinstance(self._derivatives, SharedStore):
            self._derivatives.purge_all_here()
        else:
            self._derivatives.purge_all()

    def forget(self, identifier: str) -> None:
        """Purge it on this machine."""
        identifier, _ = self._paging.split(identifier)
        self._sources.forget(identifier)
        self._derivatives.purge(group_of(identifier))


def steady(look: Callable[[], Found]) -> Found:
    """What is found out about a source, once more if that changed under way."""
    for _ in range(CHANGES):
        with contextlib.suppress(SourceChanged):
            return look()
    raise OriginFailed("The source of this image keeps changing.")


def version_of(fingerprint: str, recipe: str) -> str:
    """The folder in it of those of one state of the source, made by one recipe."""
    return f"{fingerprint}-{recipe}"


@functools.lru_cache(1024)
def group_of(identifier: str) -> str:
    """The folder of an identifier's derivatives."""
    return hashed(identifier)


def recipe_of(options: EncodeOptions, look: Look, limits: Limits, features: Features) -> str:
    """The settings that shape derivatives or forbid them.

    The latter too, because a static server finds what was made before they forbade it.
    """
    allowed = replace(features, formats=tuple(sorted(features.formats)), preferred_formats=())
    return hashed(repr(options), look.digest, repr(limits), repr(allowed))[:12]


def etag_of(key: Key) -> str:
    """Known before the image is made: the key names its content."""
    return f'"{hashed(key.group, key.version, key.name)[:20]}"'


def info_of(source: "SourceImage") -> ImageInfo:
    values = dict(source.record.info or {})
    values["scale_factors"] = tuple(values.get("scale_factors", ()))
    return ImageInfo(**values)
