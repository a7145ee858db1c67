"""A rectangle of a view, put together from the tiles it touches."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image

from iiif_proxy.errors import OriginFailed
from iiif_proxy.iiif.model import Box
from iiif_proxy.imaging import light, tiffcodec
from iiif_proxy.imaging.helpers import each
from iiif_proxy.imaging.pixels import padded
from iiif_proxy.imaging.resample import PLAIN, SUPPORT, Edges, Scaling, resample
from iiif_proxy.imaging.tifflevel import JPEG
from iiif_proxy.imaging.tifftags import broken
from iiif_proxy.imaging.tiffviews import View
from iiif_proxy.ranges import BlockCache, Span, read_coalesced

# Neighbours in the file this close are read together: a round trip costs more than the bytes.
GAP = 16 << 10
# What is held of stored tiles at once, and how many: a full-size answer goes through in pieces.
BATCH_BYTES = 16 << 20
BATCH_TILES = 2048
# What one answer may take: tiles to find, pixels to hold.
MAX_TILES = 1 << 17
MAX_PIXELS = 1 << 29
# Below this many stored bytes a second thread costs more than it saves: four 256-pixel JPEG tiles,
# 51 KB together, take 1.65 ms by one and 1.15 by two.
THREAD_BYTES = 32 << 10


@dataclass(frozen=True, slots=True)
class Rect:
    """Pixels [left, right) x [top, bottom) of a view."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def size(self) -> tuple[int, int]:
        return self.right - self.left, self.bottom - self.top


@dataclass(frozen=True, slots=True)
class Place:
    """A tile to decode: its row and column in the grid, its stored bytes by plane."""

    row: int
    column: int
    planes: list[bytes]


def whole(
    cache: BlockCache, view: View, region: Box, width: int, height: int, linear: bool = False
) -> Image.Image:
    """A region that is whole pixels of the view (`tiffviews.exact`): no resampling.

    `linear`: where a view is made of a finer level, its light is averaged (`light.py`).
    """
    left, top = region.x // view.factor, region.y // view.factor
    return _padded(cache, view, Rect(left, top, left + width, top + height), linear)


def resampled(
    cache: BlockCache,
    view: View,
    region: Box,
    width: int,
    height: int,
    scaling: Scaling = PLAIN,
) -> Image.Image:
    """Any region at any size, scaled with the region's own fractions of the view's pixels."""
    rect, edges = cover(view, region, width, height)
    pixels = _padded(cache, view, rect, scaling.linear)
    return resample(pixels, edges, width, height, scaling=scaling)


def price(view: View, region: Box, width: int, height: int) -> int:
    """The pixels of the tiles that would be decoded."""
    rows, columns = tiles_of(view, _within(view, cover(view, region, width, height)[0]))
    level = view.level
    dct = min(view.shrink, 8) if level.compression == JPEG else 1
    return len(rows) * len(columns) * level.tile_width * level.tile_height // dct**2


def cover(view: View, region: Box, width: int, height: int) -> tuple[Rect, Edges]:
    """The view's pixels that count for a region at a size, and the region's edges among them.

    With what lies around it as far as Lanczos looks: neighbouring regions meet without a seam.
    """
    left, right = region.x / view.factor_x, (region.x + region.width) / view.factor_x
    top, bottom = region.y / view.factor_y, (region.y + region.height) / view.factor_y
    aside, above = _reach(left, right, width), _reach(top, bottom, height)
    rect = Rect(
        max(0, int(left) - aside),
        max(0, int(top) - above),
        max(math.ceil(right), min(math.ceil(right) + aside, view.width)),
        max(math.ceil(bottom), min(math.ceil(bottom) + above, view.height)),
    )
    return rect, (left - rect.left, top - rect.top, right - rect.left, bottom - rect.top)


def _reach(start: float, end: float, size: int) -> int:
    """How far beyond the edges pixels count; whole pixels that stay as they are need no others."""
    if end - start == size and start == int(start):
        return 0
    return math.ceil(SUPPORT * max((end - start) / size, 1.0))


def _within(view: View, rect: Rect) -> Rect:
    return Rect(
        min(rect.left, view.width - 1),
        min(rect.top, view.height - 1),
        min(rect.right, view.width),
        min(rect.bottom, view.height),
    )


def _padded(cache: BlockCache, view: View, rect: Rect, linear: bool = False) -> Image.Image:
    """The rectangle's pixels, where it may reach a pixel beyond the view.

    A level rounded down lacks the last column or row that viewers count on. It is repeated, so
    that all other pixels stay in place: tiles join without a seam, and nothing is stretched.
    """
    pixels = paint(cache, view, _within(view, rect), linear)
    missing = rect.size[0] - pixels.width, rect.size[1] - pixels.height
    return padded(pixels, 0, 0, *missing) if any(missing) else pixels


def tiles_of(view: View, rect: Rect) -> tuple[range, range]:
    """The rows and columns of the level's grid that the rectangle touches."""
    level, shrink = view.level, view.shrink
    return (
        range(
            rect.top * shrink // level.tile_height, -(-rect.bottom * shrink // level.tile_height)
        ),
        range(rect.left * shrink // level.tile_width, -(-rect.right * shrink // level.tile_width)),
    )


def paint(cache: BlockCache, view: View, rect: Rect, linear: bool = False) -> Image.Image:
    """The rectangle's pixels, in the mode of the level. One `read_many` for up to 16 MiB.

    Tiles that were never written are black. OriginFailed for a rectangle that takes too much.
    """
    rows, columns = tiles_of(view, rect)
    mode = tiffcodec.mode_of(view.level)
    assert mode is not None
    width, height = rect.size
    if len(rows) * len(columns) > MAX_TILES or width * height > MAX_PIXELS:
        raise OriginFailed("The source image is too large to be read in one piece.")
    alone = len(rows) * len(columns) == 1
    canvas = None if alone else Image.new(mode, rect.size, None)
    for places in _batches(cache, view, rows, columns):
        for place, tile in zip(places, _decoded(view, places, linear), strict=True):
            left = place.column * view.level.tile_width // view.shrink - rect.left
            top = place.row * view.level.tile_height // view.shrink - rect.top
            if canvas is None:
                whole = (left, top, *tile.size) == (0, 0, width, height)
                return tile if whole else tile.crop((-left, -top, width - left, height - top))
            canvas.paste(tile, (left, top))
    return canvas or Image.new(mode, rect.size)


def stored(cache: BlockCache, spans: list[Span]) -> list[bytes]:
    """The bytes of tiles: out of the cache what came along with the directories, else fetched."""
    found = [cache.peek(*span) for span in spans]
    missing = [span for span, data in zip(spans, found, strict=True) if data is None]
    fetched = iter(read_coalesced(cache.source, missing, GAP))
    tiles = [next(fetched) if data is None else data for data in found]
    for (offset, size), data in zip(spans, tiles, strict=True):
        if len(data) != size:
            raise broken(f"a tile of {size} bytes at {offset} ends with the file")
    return tiles


def _batches(cache: BlockCache, view: View, rows: range, columns: range) -> Iterator[list[Place]]:
    """The written tiles with their bytes, row by row, not too many at once."""
    step = max(1, BATCH_TILES // len(columns))
    for start in range(rows.start, rows.stop, step):
        part = range(start, min(start + step, rows.stop))
        located = view.level.locate(part, columns)
        cells = [(row, column) for row in part for column in columns]
        batch: list[tuple[int, int, list[Span]]] = []
        size = 0
        for (row, column), spans in zip(cells, located, strict=True):
            if any(count == 0 for _, count in spans):
                continue
            tile = sum(count for _, count in spans)
            if batch and size + tile > BATCH_BYTES:
                yield _fetched(cache, batch)
                batch, size = [], 0
            batch.append((row, column, spans))
            size += tile
        if batch:
            yield _fetched(cache, batch)


def _fetched(cache: BlockCache, batch: list[tuple[int, int, list[Span]]]) -> list[Place]:
    data = iter(stored(cache, [span for _, _, spans in batch for span in spans]))
    return [Place(row, column, [next(data) for _ in spans]) for row, column, spans in batch]


def _decoded(view: View, places: list[Place], linear: bool) -> Iterator[Image.Image]:
    """The tiles at the view's scale, in order; in threads if that helps: Pillow frees the GIL."""

    def decode(place: Place) -> Image.Image:
        return _tile(view, place, linear)

    if len(places) == 1 or sum(len(d) for p in places for d in p.planes) < THREAD_BYTES:
        return map(decode, places)
    return each(decode, places)


def _tile(view: View, place: Place, linear: bool) -> Image.Image:
    level, shrink = view.level, view.shrink
    rows = level.rows_of(place.row)
    if shrink == 1:
        return tiffcodec.decode(level, place.planes, rows)
    # Beyond the edge of the image a tile holds anything: it must not be averaged into the edge.
    width = min(level.tile_width, level.width - place.column * level.tile_width)
    height = min(rows, level.height - place.row * level.tile_height)
    dct = min(shrink, 8) if level.compression == JPEG and not linear else 1
    while width % dct or height % dct:
        dct //= 2
    tile = tiffcodec.decode(level, place.planes, rows, dct)
    if dct == shrink:
        return tile
    if linear:
        return light.reduced(tile, shrink, (0, 0, width, height))
    return tile.crop((0, 0, width // dct, height // dct)).reduce(shrink // dct)
