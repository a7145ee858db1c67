"""From a request to a derivative: source, plan, store, and pixels only when they must be made."""

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from iiif_proxy.ahead import PAUSE, Ahead
from iiif_proxy.concurrency import Gate, SingleFlight
from iiif_proxy.iiif.model import Box, Features, ImageInfo, Limits, Plan
from iiif_proxy.iiif.plan import ImageRequest, resolve, stored_name
from iiif_proxy.iiif.tiles import Tiling, is_tile, tile_boxes, tiling
from iiif_proxy.imaging.encode import FORMATS, EncodeOptions, encode
from iiif_proxy.imaging.levels import ARRIVING, WHOLE
from iiif_proxy.imaging.reader import Reader
from iiif_proxy.imaging.render import render
from iiif_proxy.imaging.routes import Routes
from iiif_proxy.imaging.session import KEPT_SIDE, Session
from iiif_proxy.imaging.sessions import Sessions
from iiif_proxy.publisher import Publisher
from iiif_proxy.stores.base import Entry, Key, NullStore, Store

if TYPE_CHECKING:
    from PIL.Image import Image

    from iiif_proxy.sources.arrival import SourceImage
    from iiif_proxy.sources.cache import SourceCache

log = logging.getLogger(__name__)
Environ = dict[str, Any]
KEPT_LEVEL = "level.jpg"
KEPT_AS = EncodeOptions(jpeg_quality=95, jpeg_subsampling="4:4:4")
BESIDE = ((1, 0), (0, 1), (-1, 0), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
BELOW = ((0, 0), (1, 0), (0, 1), (1, 1))


@dataclass(frozen=True, slots=True)
class Located:
    """What a request comes to: one plan of one source at one state. No pixel was touched yet."""

    source: "SourceImage"
    info: ImageInfo
    plan: Plan
    key: Key
    etag: str
    media_type: str
    # Under what other name a static server looks for it, if it is to be found by one.
    also: str | None = None

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
        background: tuple[int, int, int],
        recipe: str,
        publisher: Publisher,
        sessions: Sessions,
        folder: Path | None,
        write_ahead: bool,
        predict: bool,
        max_pixels: int,
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
        self._recipe = recipe
        self._publisher = publisher
        self._sessions = sessions
        self._max_pixels = max_pixels
        self._write_ahead = write_ahead and folder is not None
        self._predict = predict and folder is not None
        self._working = Working()
        self._ahead = Ahead(folder, self.busy)
        self._patience = patience

    def info(self, identifier: str, environ: Environ) -> "tuple[SourceImage, ImageInfo]":
        """What the source's header says; raises what the sources raise."""
        source = self._sources.open(identifier, environ)
        self._show(source, environ)
        return source, info_of(source)

    def locate(self, request: ImageRequest, environ: Environ) -> Located:
        """Resolve a request against its source. Raises InvalidRequest and NotSupported too."""
        source = self._sources.open(request.identifier, environ)
        if not source.record.fingerprint:
            source = self._sources.open(request.identifier, environ, whole=True)
        info = info_of(source)
        plan = resolve(request, info, self.limits, self.features)
        name = stored_name(plan, info, self.limits)
        key = Key(group_of(request.identifier), self._version(source), name)
        also = None
        if self._show(source, environ):
            also = request.api.also_named(plan, info, self.limits, self.features)
        media_type = FORMATS[plan.format].media_type
        return Located(source, info, plan, key, etag_of(key), media_type, also)

    def _version(self, source: "SourceImage") -> str:
        return f"{source.record.fingerprint}-{self._recipe}"

    def _show(self, source: "SourceImage", environ: Environ) -> bool:
        """Whether a static server may now answer for this state of the source, and for no other."""
        record = source.record
        if not record.fingerprint:
            return False
        group = group_of(record.identifier)
        return self._publisher.show(record, group, self._version(source), environ)

    def current(self, located: Located) -> bool:
        """Whether what was located a while ago is still what would be located now."""
        record = located.source.record
        return self._sources.current(record) and not self._publisher.due(record)

    def find(self, located: Located) -> Entry | None:
        """The derivative, if it is stored: one open file, no lock."""
        return self._store(located).get(located.key)

    def derive(self, located: Located, environ: Environ) -> Derivative:
        """The derivative, from the store or made now: once for all who wait for it.

        Raises SourceChanged when the source is another by now: locate it again.
        """
        entry = self.find(located)
        found = Derivative(entry, True) if entry else self._make_once(located, environ)
        if located.also is not None:
            self._derivatives.link(located.key, located.also)
        return found

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
        """Make the pixels now; what is returned encodes them into a file."""
        plan = located.plan
        with self._working:
            pixels = render(self._read(located, environ), plan, self._background)

        def write(file: BinaryIO) -> None:
            with self._working:
                encode(pixels, plan.format, file, self._options)

        return write

    def _read(self, located: Located, environ: Environ) -> "Image":
        """By the cheapest way: an open session, a kept level, a light decode, a new session."""
        plan, box = located.plan, located.plan.box
        size = plan.width, plan.height
        routes = self._routes(located, environ)
        if routes.session(box, *size) is not None or routes.wants_session(box):
            image, begun = routes.tile(box, *size, self._patience)
            if begun is not None and self._write_ahead:
                self._ahead.submit(lambda: self._all_tiles(located, begun))
            if image is not None:
                return image
        kept = self._from_kept_level(located)
        if kept is not None:
            return kept
        if self._predict and located.info.tile_width:
            self._ahead.guess(lambda: self._neighbours(located, environ))
        return routes.light(box, *size, self._gate, self._patience)

    def _routes(self, located: Located, environ: Environ) -> Routes:
        return Routes(
            located.source.record.fingerprint,
            located.info,
            lambda whole: self._sources.content(located.source, environ, whole),
            lambda: self._sources.ranges(located.source.record, environ),
            self._sessions,
            self._max_pixels,
        )

    # What is made before it is asked for

    def _all_tiles(self, located: Located, session: Session) -> Iterator[None]:
        """Write every canonical tile, coarse to fine and from what was asked outwards."""
        while session.levels.state == ARRIVING:
            time.sleep(PAUSE)
            yield
        if session.levels.state != WHOLE or not located.source.record.keep:
            return

        def read(box: Box, width: int, height: int) -> "Image":
            return session.read(box, width, height, self._patience)

        info, asked = located.info, located.plan.box
        tiles = tiling(info, self.limits, self.features)
        for factor in reversed(tiles.scale_factors):
            near = sorted(tile_boxes(info, tiles, factor), key=lambda tile: away(tile[0], asked))
            for box, width, height in near:
                self._write_tile(located, read, box, width, height)
                yield
        self._keep_level(located, read)
        session.settle()

    def _neighbours(self, located: Located, environ: Environ) -> Iterator[None]:
        """The tiles around the one that was asked, and those that zooming in would show."""
        routes = self._routes(located, environ)

        def read(box: Box, width: int, height: int) -> "Image":
            return routes.light(box, width, height, self._gate, self._patience)

        tiles = tiling(located.info, self.limits, self.features)
        for box, width, height in neighbours(located.plan, located.info, tiles):
            self._write_tile(located, read, box, width, height)
            yield

    def _write_tile(
        self,
        located: Located,
        read: "Callable[[Box, int, int], Image]",
        box: Box,
        width: int,
        height: int,
    ) -> None:
        plan = Plan(box, width, height, False, Decimal(0), "default", "jpg")
        key = replace(located.key, name=stored_name(plan, located.info, self.limits))
        found = self._derivatives.get(key)
        if found is None:
            pixels = render(read(box, width, height), plan, self._background)
            found = self._derivatives.put(
                key,
                lambda file: encode(pixels, plan.format, file, self._options),
                located.modified,
            )
        found.close()

    def _keep_level(self, located: Located, read: "Callable[[Box, int, int], Image]") -> None:
        """One level of a large source, nearly lossless: other sizes of the whole come from it."""
        info, factor = located.info, kept_factor(located.info)
        if factor == 1 or info.alpha:
            return
        whole = Box(0, 0, info.width, info.height)
        pixels = read(whole, -(-info.width // factor), -(-info.height // factor))
        self._derivatives.put(
            replace(located.key, name=KEPT_LEVEL),
            lambda file: encode(pixels, "jpg", file, KEPT_AS),
        ).close()

    def _from_kept_level(self, located: Located) -> "Image | None":
        info, plan = located.info, located.plan
        factor = kept_factor(info)
        width, height = -(-info.width // factor), -(-info.height // factor)
        fits = plan.width <= width and plan.height <= height
        if factor == 1 or not fits or plan.box != Box(0, 0, info.width, info.height):
            return None
        entry = self._derivatives.get(replace(located.key, name=KEPT_LEVEL))
        if entry is None:
            return None
        with entry:
            level = ImageInfo(width, height, "jpeg", gray=info.gray)
            path = f"/dev/fd/{entry.fileno()}"
            return Reader(path, level).read(Box(0, 0, width, height), plan.width, plan.height)

    def busy(self) -> bool:
        """Whether somebody is waiting for an image to be made by this process."""
        return self._working.count > 0

    def _store(self, located: Located) -> Store:
        return self._derivatives if located.source.record.keep else self._unkept

    def purge(self, identifier: str) -> None:
        """Forget everything of one identifier: record, source, derivatives."""
        self._sources.forget(identifier)
        self._publisher.hide(identifier)
        self._derivatives.purge(group_of(identifier))


class Working:
    """How many are being made, as a context manager."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self.count += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.count -= 1


def kept_factor(info: ImageInfo) -> int:
    """The first power of two that brings the longer side within what is kept."""
    factor = 1
    while max(info.width, info.height) > KEPT_SIDE * factor:
        factor *= 2
    return factor


def neighbours(plan: Plan, info: ImageInfo, tiles: Tiling) -> Iterator[tuple[Box, int, int]]:
    """The tiles beside a plan that is a tile itself, nearest first, then the four below it."""
    size = plan.width, plan.height
    for factor in tiles.scale_factors:
        if is_tile(plan.box, info, tiles, factor) and size == (
            -(-plan.box.width // factor),
            -(-plan.box.height // factor),
        ):
            across, down = tiles.width * factor, tiles.height * factor
            for dx, dy in BESIDE:
                yield from tile_at(
                    plan.box.x + dx * across, plan.box.y + dy * down, factor, info, tiles
                )
            if factor // 2 in tiles.scale_factors:
                for dx, dy in BELOW:
                    x, y = plan.box.x + dx * across // 2, plan.box.y + dy * down // 2
                    yield from tile_at(x, y, factor // 2, info, tiles)
            return


def tile_at(
    x: int, y: int, factor: int, info: ImageInfo, tiles: Tiling
) -> Iterator[tuple[Box, int, int]]:
    if 0 <= x < info.width and 0 <= y < info.height:
        width = min(tiles.width * factor, info.width - x)
        height = min(tiles.height * factor, info.height - y)
        yield Box(x, y, width, height), -(-width // factor), -(-height // factor)


def away(box: Box, asked: Box) -> int:
    """How far a tile is from what was asked: squared, between the centres."""
    x = 2 * (box.x - asked.x) + box.width - asked.width
    y = 2 * (box.y - asked.y) + box.height - asked.height
    return x * x + y * y


def group_of(identifier: str) -> str:
    """The folder of an identifier's derivatives."""
    return hashed(identifier)


def recipe_of(
    options: EncodeOptions, background: tuple[int, int, int], limits: Limits, features: Features
) -> str:
    """The settings that shape derivatives or forbid them.

    The latter too, because a static server finds what was made before they forbade it.
    """
    allowed = replace(features, formats=tuple(sorted(features.formats)), preferred_formats=())
    return hashed(repr(options), repr(background), repr(limits), repr(allowed))[:12]


def etag_of(key: Key) -> str:
    """Known before the image is made: the key names its content."""
    return f'"{hashed(key.group, key.version, key.name)[:20]}"'


def hashed(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def info_of(source: "SourceImage") -> ImageInfo:
    values = dict(source.record.info or {})
    values["scale_factors"] = tuple(values.get("scale_factors", ()))
    return ImageInfo(**values)
