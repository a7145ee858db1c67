"""What is made before it is asked for: tiles around a visitor, and all of a large source."""

import contextlib
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, BinaryIO

from iiif_proxy.ahead import PAUSE, Ahead
from iiif_proxy.iiif.model import Box, Features, ImageInfo, Limits, Plan
from iiif_proxy.iiif.plan import stored_name
from iiif_proxy.iiif.tiles import Tiling, tile_boxes, tile_factor, tiling
from iiif_proxy.imaging.encode import EncodeOptions, encode
from iiif_proxy.imaging.levels import ARRIVING, WHOLE, LevelsLost
from iiif_proxy.imaging.look import Look
from iiif_proxy.imaging.pixels import profile_in
from iiif_proxy.imaging.render import render
from iiif_proxy.imaging.routes import Routes
from iiif_proxy.imaging.session import Session
from iiif_proxy.imaging.sharpen import sharpened
from iiif_proxy.imaging.words import said
from iiif_proxy.keeping import VIEW, KeptLevels, level_of, whole
from iiif_proxy.located import Located
from iiif_proxy.stores.base import Key, Store, Write

if TYPE_CHECKING:
    from PIL.Image import Image

    Read = Callable[[Box, int, int], Image]
    # What writes a plan's answer without decoding anything, if that can be (True).
    Straight = Callable[[Plan], Callable[[BinaryIO], bool] | None]

# A dozen tiles, in bytes.
NEIGHBOURS = 4 << 20
BESIDE = ((1, 0), (0, 1), (-1, 0), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
BELOW = ((0, 0), (1, 0), (0, 1), (1, 1))


class Preparing:
    """Fills the derivative store in the background. `write_ahead` and `predict` switch it on.

    `room`: the bytes that one source may take of the store. What was asked for must not be pushed
    out by what was not. `made` is told of each that is.
    """

    def __init__(
        self,
        derivatives: Store,
        kept: KeptLevels,
        ahead: Ahead,
        *,
        features: Features,
        limits: Limits,
        options: EncodeOptions,
        look: Look,
        write_ahead: bool,
        predict: bool,
        room: int,
        patience: float,
        made: Callable[[Located, Key], None],
    ) -> None:
        self._derivatives = derivatives
        self._kept = kept
        self._ahead = ahead
        self._features = features
        self._limits = limits
        self._options = options
        self._look = look
        self._write_ahead = write_ahead
        self._predict = predict
        self._room = room
        self._patience = patience
        self._made = made

    def opened(self, located: Located, session: Session) -> None:
        """A source was opened for a tile: all its tiles will be wanted."""
        if self._write_ahead and self._has_room(located):
            self._ahead.submit(lambda: self._all_tiles(located, session))

    def cut(self, located: Located, routes: Routes) -> None:
        """A tile came from a session: its neighbours are next, unless all tiles are written."""
        if self._write_ahead and self._has_room(located):
            return

        def read(box: Box, width: int, height: int) -> "Image":
            image, _ = routes.tile(box, width, height, self._patience)
            if image is None:
                raise LevelsLost
            return image

        self._guess(located, read)

    def answered(
        self, located: Located, read: "Read", by_parts: bool, straight: "Straight | None" = None
    ) -> None:
        """Something was read straight from the file: what is the next?

        Of a file whose parts can be decoded (`by_parts`): around a tile its neighbours. After a
        large view of the whole image other views: one level is kept for them. (Not after a
        thumbnail, which is asked once.)
        """
        info = located.info
        if info.tile_width or (by_parts and located.plan.box != whole(info)):
            self._guess(located, read, straight)
        elif self._keeps_level(located):
            self._ahead.submit(lambda: self._level(located, read))

    def level(self, located: Located) -> ImageInfo | None:
        """The level to be kept of this source, if it is just what a view is best made from, and
        can be taken now: pixels do not wait in a queue."""
        info, plan = located.info, located.plan
        level = level_of(info)
        if level is None or info.tile_width or plan.box != whole(info):
            return None
        fine = level.width // 2 < plan.width <= level.width
        if not fine or not self._keeps_level(located) or not self._ahead.idle():
            return None
        return None if self._kept.has(located) else level

    def found_level(self, located: Located, pixels: "Image") -> None:
        """The pixels of `level`: others have use of them at once."""
        self._kept.found(located, pixels)
        self._ahead.submit(lambda: self._level(located, lambda *_: pixels))

    def _keeps_level(self, located: Located) -> bool:
        view = max(located.plan.width, located.plan.height) >= VIEW
        return view and self._write_ahead and self._has_room(located)

    def _guess(self, located: Located, read: "Read", straight: "Straight | None" = None) -> None:
        if self._predict and located.stored and self._room >= NEIGHBOURS:
            self._ahead.guess(lambda: self._neighbours(located, read, straight))

    def _has_room(self, located: Located) -> bool:
        info = located.info
        return located.stored and info.width * info.height // 2 <= self._room

    def _all_tiles(self, located: Located, session: Session) -> Iterator[None]:
        """Every canonical tile, coarse to fine and from what was asked outwards."""
        while session.levels.state == ARRIVING:
            time.sleep(PAUSE)
            yield
        if session.levels.state != WHOLE:
            return

        def read(box: Box, width: int, height: int) -> "Image":
            return session.read(box, width, height, self._patience)

        info, asked = located.info, located.plan.box
        tiles = tiling(info, self._limits, self._features)
        with contextlib.suppress(LevelsLost):  # Another has its room now.
            for factor in reversed(tiles.scale_factors):
                near = sorted(tile_boxes(info, tiles, factor), key=lambda t: away(t[0], asked))
                for box, width, height in near:
                    self._write_tile(located, read, box, width, height)
                    yield
            self._keep_level(located, read)
            session.settle()

    def _neighbours(
        self, located: Located, read: "Read", straight: "Straight | None"
    ) -> Iterator[None]:
        tiles = tiling(located.info, self._limits, self._features)
        for box, width, height in neighbours(located.plan, located.info, tiles):
            self._write_tile(located, read, box, width, height, straight)
            yield

    def _level(self, located: Located, read: "Read") -> Iterator[None]:
        if not self._kept.has(located):
            self._keep_level(located, read)
        yield

    def _write_tile(
        self,
        located: Located,
        read: "Read",
        box: Box,
        width: int,
        height: int,
        straight: "Straight | None" = None,
    ) -> None:
        plan = Plan(box, width, height, False, Decimal(0), "default", "jpg")
        key = located.named(stored_name(plan, located.info, self._limits))
        found = self._derivatives.get(key)
        if found is None:

            def by_pixels() -> Write:
                percent, mark = self._look.sharpen, self._look.mark
                pixels = sharpened(read, located.info, box, width, height, percent)
                marked = mark is not None and mark.on(plan, located.info, tile=True)
                pixels = render(pixels, plan, self._look, mark if marked else None)
                words = said(plan, located.info, self._options.rights)
                return lambda file: encode(
                    pixels, plan.format, file, self._options, profile_in(pixels), words
                )

            as_it_is = straight(plan) if straight is not None else None
            write = by_pixels() if as_it_is is None else either(as_it_is, by_pixels)
            found = self._derivatives.put(key, write, located.modified)
            self._made(located, key)
        found.close()

    def _keep_level(self, located: Located, read: "Read") -> None:
        key = self._kept.keep(located, read)
        if key is not None:
            self._made(located, key)


def either(as_it_is: Callable[[BinaryIO], bool], by_pixels: Callable[[], Write]) -> Write:
    """Write what need not be decoded; if that is nothing, by pixels."""

    def write(file: BinaryIO) -> None:
        if not as_it_is(file):
            by_pixels()(file)

    return write


def neighbours(plan: Plan, info: ImageInfo, tiles: Tiling) -> Iterator[tuple[Box, int, int]]:
    """The tiles beside a plan that is a tile itself, nearest first, then the four below it."""
    factor = tile_factor(plan.box, plan.width, plan.height, info, tiles)
    if factor is None:
        return
    across, down = tiles.width * factor, tiles.height * factor
    for dx, dy in BESIDE:
        x, y = plan.box.x + dx * across, plan.box.y + dy * down
        yield from tile_at(x, y, factor, info, tiles)
    if factor // 2 in tiles.scale_factors:
        for dx, dy in BELOW:
            x, y = plan.box.x + dx * across // 2, plan.box.y + dy * down // 2
            yield from tile_at(x, y, factor // 2, info, tiles)


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
