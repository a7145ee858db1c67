"""Which pixels of a pyramid answer a request: the stored levels, and what can be had from them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from iiif_proxy.iiif.model import Box
from iiif_proxy.imaging.tifflevel import JPEG, Level

# The largest step a decoder or reduce() takes from one stored level.
MAX_SHRINK = 64
# A level this little too small is still the nearest one: nobody sees 1 % of enlargement, and the
# next finer level costs four times as much.
TOLERANCE = 1.01


@dataclass(frozen=True, slots=True)
class View:
    """The image, `factor_x` x `factor_y` times smaller: a level decoded `shrink` times smaller.

    `shrink` is a power of two that divides the tile: tiles of the view join without a gap.
    """

    level: Level
    shrink: int
    factor_x: float
    factor_y: float

    @property
    def width(self) -> int:
        return -(-self.level.width // self.shrink)

    @property
    def height(self) -> int:
        return -(-self.level.height // self.shrink)

    @property
    def factor(self) -> int:
        """The factor where it is the same whole number in both directions, else 0."""
        whole = self.factor_x == self.factor_y and self.factor_x == int(self.factor_x)
        return int(self.factor_x) if whole else 0


def factors_of(first: Level, level: Level) -> tuple[float, float]:
    """How much smaller a level is, across and down.

    A power of two, if the sizes are so within rounding up or down: such levels are made by taking
    pixels together, so what rounding lost is missing at the right and bottom edges (measured on
    floor-halved levels: 41 against 30 dB). Any other level is taken as the whole image, scaled.
    """
    nearest: int = 1 << round(math.log2(first.width / level.width))
    if all(
        whole // nearest <= part <= -(-whole // nearest)
        for whole, part in ((first.width, level.width), (first.height, level.height))
    ):
        return nearest, nearest
    return first.width / level.width, first.height / level.height


def views_of(levels: Sequence[Level]) -> tuple[View, ...]:
    """The levels, finest first, and between and behind them what they give when shrunk.

    JPEG tiles are decoded smaller (DCT scaling), others are averaged tile by tile: a pyramid that
    lacks levels, or is none, still costs no more memory than four times the answer.
    """
    views: list[View] = []
    for i, level in enumerate(levels):
        factor_x, factor_y = factors_of(levels[0], level)
        coarser = factors_of(levels[0], levels[i + 1]) if i + 1 < len(levels) else None
        shrink = 1
        while shrink <= MAX_SHRINK and _joins(level, shrink):
            # A stored level, even one a pixel off the exact half, is better than a made one.
            if coarser and shrink > 1 and factor_x * shrink > 0.9 * min(coarser):
                break
            views.append(View(level, shrink, factor_x * shrink, factor_y * shrink))
            shrink *= 2
    return tuple(views)


def _joins(level: Level, shrink: int) -> bool:
    across = level.tile_width % shrink == 0 or level.across == 1
    down = level.tile_height % shrink == 0 or level.down == 1
    # The last strip is shorter than the others; only whole blocks of it can be shrunk by JPEG.
    return across and down and (shrink == 1 or level.tiled or level.compression != JPEG)


def exact(views: Sequence[View], box: Box, width: int, height: int) -> View | None:
    """The finest view in which the request is whole pixels of that very size, or None.

    The whole image is no tile: a grid whose last column or row stands for less than the others
    is not that image at that size, unless the file itself has it so.
    """
    first = views[0]
    whole_image = (box.width, box.height) == (first.width, first.height)
    for view in views:
        factor = view.factor
        if not factor or box.x % factor or box.y % factor:
            continue
        rest = box.width % factor or box.height % factor
        if whole_image and rest and view.shrink > 1:
            continue
        right, bottom = box.x + box.width, box.y + box.height
        if right % factor and right != first.width:
            continue
        if bottom % factor and bottom != first.height:
            continue
        if (-(-box.width // factor), -(-box.height // factor)) == (width, height):
            return view
    return None


def nearest(views: Sequence[View], box: Box, width: int, height: int) -> View:
    """The coarsest view that has as many pixels as asked, the finest if none has."""
    scale = min(box.width / width, box.height / height) * TOLERANCE
    fitting = [view for view in views if max(view.factor_x, view.factor_y) <= scale]
    return max(fitting, key=lambda view: view.factor_x, default=views[0])
