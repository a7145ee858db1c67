"""From a request to a derivative: source, plan, store, and pixels only when they must be made."""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from cachetools import LRUCache

from iiif_proxy.concurrency import Gate, SingleFlight
from iiif_proxy.iiif.model import Features, ImageInfo, Limits, Plan
from iiif_proxy.iiif.plan import ImageRequest, resolve
from iiif_proxy.imaging.encode import FORMATS, EncodeOptions, encode
from iiif_proxy.imaging.reader import Reader
from iiif_proxy.imaging.render import render
from iiif_proxy.stores.base import Entry, Key, NullStore, Store

if TYPE_CHECKING:
    from iiif_proxy.sources.arrival import Held, SourceImage
    from iiif_proxy.sources.cache import SourceCache

log = logging.getLogger(__name__)
Environ = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Located:
    """What a request comes to: one plan of one source at one state. No pixel was touched yet."""

    source: "SourceImage"
    info: ImageInfo
    plan: Plan
    key: Key
    etag: str
    media_type: str

    @property
    def modified(self) -> float | None:
        return self.source.record.modified


@dataclass(frozen=True, slots=True)
class Derivative:
    """An image, made: an open entry, and whether it was there already."""

    entry: Entry
    hit: bool


class ImageService:
    """The work between an understood request and an answer.

    Everything besides the plan that shapes the bytes (encoder settings, background) is part of
    the key's version: a changed setting never meets old derivatives.
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
        background: tuple[int, int, int],
        source_max_pixels: int,
        patience: float,
    ) -> None:
        self.features = features
        self.limits = limits
        self._sources = sources
        self._derivatives = derivatives
        self._unkept = NullStore()
        self._flights = flights
        self._gate = gate
        self._options = options
        self._background = background
        self._recipe = hashed(repr(options), repr(background))[:12]
        self._max_pixels = source_max_pixels
        self._patience = patience
        self._infos: LRUCache[str, ImageInfo] = LRUCache(4096)

    def info(self, identifier: str, environ: Environ) -> "tuple[SourceImage, ImageInfo]":
        """What the source's header says; raises what the sources raise."""
        source = self._sources.open(identifier, environ)
        return source, info_of(source)

    def locate(self, request: ImageRequest, environ: Environ) -> Located:
        """Resolve a request against its source. Raises InvalidRequest and NotSupported too."""
        source = self._sources.open(request.identifier, environ)
        if not source.record.fingerprint:
            source = self._sources.open(request.identifier, environ, whole=True)
        info = info_of(source)
        plan = resolve(request, info, self.limits, self.features)
        record = source.record
        version = f"{record.fingerprint}-{self._recipe}"
        key = Key(group_of(request.identifier), version, plan.key)
        return Located(source, info, plan, key, etag_of(key), FORMATS[plan.format].media_type)

    def current(self, located: Located) -> bool:
        """Whether what was located a while ago is still what would be located now."""
        return self._sources.current(located.source.record)

    def find(self, located: Located) -> Entry | None:
        """The derivative, if it is stored: one open file, no lock."""
        return self._store(located).get(located.key)

    def derive(self, located: Located, environ: Environ) -> Derivative:
        """The derivative, from the store or made now: once for all who wait for it.

        Raises SourceChanged when the source is another by now: locate it again.
        """
        entry = self.find(located)
        if entry is not None:
            return Derivative(entry, True)
        return self._make_once(located, environ)

    def _make_once(self, located: Located, environ: Environ) -> Derivative:
        store = self._store(located)

        def make() -> Entry:
            return store.put(located.key, self._writer(located, environ), located.modified)

        key = located.key
        entry, made = self._flights.do(
            f"derivative {key.group}/{key.version}/{key.name}",
            lambda: store.get(key),
            make,
            self._patience,
        )
        return Derivative(entry, not made)

    def _writer(self, located: Located, environ: Environ) -> Callable[[BinaryIO], None]:
        """Make the pixels now; what is returned encodes them into a file, as often as needed."""
        plan = located.plan
        held = self._sources.content(located.source, environ)
        reader = self._reader(held, located.info)
        cost = reader.cost(plan.box, plan.width, plan.height)
        with self._gate.enter(cost, self._patience):
            pixels = render(reader.read(plan.box, plan.width, plan.height), plan, self._background)

        def write(file: BinaryIO) -> None:
            encode(pixels, plan.format, file, self._options)

        return write

    def _reader(self, held: "Held", info: ImageInfo) -> Reader:
        return Reader(held.path, info)

    def _store(self, located: Located) -> Store:
        return self._derivatives if located.source.record.keep else self._unkept

    def purge(self, identifier: str) -> None:
        """Forget everything of one identifier: record, source, derivatives."""
        self._sources.forget(identifier)
        self._derivatives.purge(group_of(identifier))


def group_of(identifier: str) -> str:
    """The folder of an identifier's derivatives."""
    return hashed(identifier)


def etag_of(key: Key) -> str:
    """Known before the image is made: the key names its content."""
    return f'"{hashed(key.group, key.version, key.name)[:20]}"'


def hashed(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def info_of(source: "SourceImage") -> ImageInfo:
    values = dict(source.record.info or {})
    values["scale_factors"] = tuple(values.get("scale_factors", ()))
    return ImageInfo(**values)
