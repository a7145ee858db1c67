"""Scaling, exact to fractions of a pixel, in several threads where it pays."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from iiif_proxy.iiif.model import Box
from iiif_proxy.imaging import light
from iiif_proxy.imaging.helpers import each
from iiif_proxy.imaging.pixels import Convert, cut

# left, top, right, bottom in pixels of an image; fractions are meant.
Edges = tuple[float, float, float, float]

FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "hamming": Image.Resampling.HAMMING,
    "bilinear": Image.Resampling.BILINEAR,
    "box": Image.Resampling.BOX,
}
# Of Lanczos; the others look less far.
SUPPORT = 3
# Whole pixels are averaged first as long as Lanczos is left with at least this shrinking: 24 MP to
# 400 px differs by 52 dB from Lanczos alone, far below the loss of the JPEG that it becomes.
GAP = 3.0
# And as long as so many are left in each direction: a few of them would not stand for the rest.
LEAST = 64
# Pixels of input or output from which a second thread is worth waking: 750 x 500 to 400 pixels
# takes 3.2 ms by two, 5.2 by one.
PARALLEL = 1 << 18
# Pixels of a band, averaged ones: its copies are small enough (imaging.memory.MAPPED) not to be
# memory that the kernel makes anew. 3000 x 2100 to 2000: 42 ms instead of 48 by two halves, with
# 15,700 pages made for each on a virtual machine. Thinner ones share too many rows.
BAND = 1 << 20

_PREMULTIPLIED = {"LA": "La", "RGBA": "RGBa"}
_STRAIGHT = {"La": "LA", "RGBa": "RGBA"}


@dataclass(frozen=True, slots=True)
class Scaling:
    """`filter` is one of FILTERS. `linear`: light is averaged, not its code (`light.py`)."""

    filter: str = "lanczos"
    linear: bool = False


PLAIN = Scaling()


def on_grid(box: Box, width: int, height: int, factor: int) -> bool:
    """Whether a box at this size is whole pixels of the image reduced by `factor`.

    The last column or row may be a rest (sizes are rounded up), as in tiles at the edges.
    """
    return (
        box.x % factor == 0
        and box.y % factor == 0
        and width == -(-box.width // factor)
        and height == -(-box.height // factor)
    )


def resample(
    image: Image.Image,
    edges: Edges,
    width: int,
    height: int,
    convert: Convert | None = None,
    scaling: Scaling = PLAIN,
) -> Image.Image:
    """The pixels between `edges` at `width` x `height`.

    `convert` makes pieces of `image` into a mode that can be scaled (`modes.working`); without it
    the mode stays as it is: L, LA, RGB, RGBX, RGBA, CMYK or LAB. Pixels beyond the edges count at
    the rim as they would if the whole image were scaled, so that tiles join without a seam.
    Alpha is premultiplied: what is transparent lends no colour to its neighbours.
    """
    x0, y0, x1, y1 = edges
    if (x1 - x0, y1 - y0) == (width, height) and all(edge == int(edge) for edge in edges):
        return _ready(cut(image, int(x0), int(y0), int(x1), int(y1)), convert)
    across = _Axis(x0, x1, width, image.width)
    down = _Axis(y0, y1, height, image.height)
    kernel = FILTERS[scaling.filter]
    if scaling.linear:
        rect = (across.start, down.start, across.stop, down.stop)
        piece = _ready(cut(image, *rect), convert)
        return light.applied(piece, _scaler(across, down, width, height, kernel))

    def scaled(down: "_Axis") -> Image.Image:
        rect = (across.start, down.start, across.stop, down.stop)
        factors = (across.factor, down.factor)
        if factors != (1, 1) and convert is None and image.mode not in _PREMULTIPLIED:
            piece = Image.Image.reduce(image, factors, rect)
        else:
            piece = _ready(cut(image, *rect), convert)
            piece = _changed(piece, _PREMULTIPLIED)
            piece = piece if factors == (1, 1) else piece.reduce(factors)
        # In this order, which Pillow would choose by the shape: neighbours are rounded alike.
        left, top, right, bottom = _box(across, down, piece)
        piece = piece.resize((width, piece.height), kernel, (left, 0, right, piece.height))
        piece = piece.resize((width, down.size), kernel, (0, top, width, bottom))
        return _changed(piece, _STRAIGHT)

    pixels = max(width * height, (across.stop - across.start) * (down.stop - down.start))
    if pixels < PARALLEL or height < 2:
        return scaled(down)
    whole: Image.Image | None = None
    top, pairs = 0, -(-pixels // (across.factor * down.factor * 2 * BAND))
    for band in each(scaled, down.bands(min(2 * pairs, height))):
        if whole is None:
            whole = Image.new(band.mode, (width, height), None)
            whole.info = band.info  # a colour profile, where it is kept
        whole.paste(band, (0, top))
        top += band.height
    assert whole is not None
    return whole


def _scaler(
    across: "_Axis", down: "_Axis", width: int, height: int, kernel: Image.Resampling
) -> Callable[[Image.Image], Image.Image]:
    """What scales one band of the pixels that the axes need."""

    def scaled(band: Image.Image) -> Image.Image:
        band = band.reduce((across.factor, down.factor))
        return band.resize((width, height), kernel, _box(across, down, band))

    return scaled


def needed(
    edges: Edges, width: int, height: int, size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what `resample` looks at, in an image of that size."""
    x0, y0, x1, y1 = edges
    across, down = _Axis(x0, x1, width, size[0]), _Axis(y0, y1, height, size[1])
    return across.start, down.start, across.stop, down.stop


class _Axis:
    """One direction: which whole source pixels are needed, by how much they are averaged first.

    `start` and `stop` are source pixels; `first` and `last` the edges among the averaged ones.
    The averaging lies on a grid of the whole image: neighbouring regions average the same pixels.
    """

    def __init__(
        self, begin: float, end: float, size: int, limit: int, factor: int | None = None
    ) -> None:
        scale = (end - begin) / size
        self.factor = factor or max(1, int(min(scale / GAP, (end - begin) / LEAST)))
        margin = math.ceil(SUPPORT * max(scale, 1.0)) + 1
        self.start = max(0, int(begin - margin)) // self.factor * self.factor
        self.stop = min(limit, -(-math.ceil(end + margin) // self.factor) * self.factor)
        self.first = (begin - self.start) / self.factor
        self.last = (end - self.start) / self.factor
        self.size = size
        self._edges, self._limit = (begin, end), limit

    def bands(self, count: int) -> list["_Axis"]:
        """Each with the pixels around it that count: what is scaled so joins without a seam."""
        begin, end = self._edges
        cuts = [self.size * number // count for number in range(count + 1)]
        at = [begin + (end - begin) * cut / self.size for cut in cuts]
        return [
            _Axis(at[n], at[n + 1], cuts[n + 1] - cuts[n], self._limit, self.factor)
            for n in range(count)
        ]


def _box(across: _Axis, down: _Axis, pixels: Image.Image) -> Edges:
    """The edges among averaged pixels."""
    right, bottom = min(across.last, pixels.width), min(down.last, pixels.height)
    return across.first, down.first, right, bottom


def _changed(image: Image.Image, modes: dict[str, str]) -> Image.Image:
    """Converted if its mode is among those (converting to the same mode would copy)."""
    return image.convert(modes[image.mode]) if image.mode in modes else image


def _ready(image: Image.Image, convert: Convert | None) -> Image.Image:
    return image if convert is None else convert(image)
