"""Rounding, limits and the tiling of an image: one arithmetic for info.json, plans and readers."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from math import isqrt

from iiif_proxy.iiif.model import Box, Features, ImageInfo, Limits


def half_up(numerator: int, denominator: int) -> int:
    """The quotient of two non-negative integers, rounded half up: the only rounding there is."""
    return (2 * numerator + denominator) // (2 * denominator)


def ceil_div(numerator: int, denominator: int) -> int:
    """The quotient rounded up: what viewers do with scale factors."""
    return -(-numerator // denominator)


@dataclass(frozen=True, slots=True)
class Tiling:
    """Tiles of `width` x `height` pixels at each of `scale_factors`, as info.json declares them."""

    width: int
    height: int
    scale_factors: tuple[int, ...]


def scale_factors(info: ImageInfo, tile_size: int) -> tuple[int, ...]:
    """1, 2, 4, ... until the whole image fits one square tile of `tile_size` pixels."""
    factors = [1]
    while max(info.width, info.height) > tile_size * factors[-1]:
        factors.append(2 * factors[-1])
    return tuple(factors)


@lru_cache(maxsize=4096)
def tiling(info: ImageInfo, limits: Limits, features: Features) -> Tiling:
    """The tiles to declare: the source's own where it has any and the limits let them be asked.

    A tile above a limit could never be answered (3.0, 5.2: tiles MUST be within the limits), so
    the side of the computed tiles shrinks to what is allowed.
    """
    width, height = info.tile_width, info.tile_height or info.tile_width
    if width and _answerable(width, height, limits, features):
        factors = sorted(info.scale_factors) or scale_factors(info, min(width, height))
        return Tiling(width, height, tuple(factors))
    max_width, max_height, max_area = bounds(limits)
    side = min(
        features.tile_size,
        isqrt(features.max_pixels),
        *(limit for limit in (max_width, max_height) if limit is not None),
        *(isqrt(limit) for limit in (max_area,) if limit is not None),
    )
    side = max(side, 1)
    return Tiling(side, side, scale_factors(info, side))


def sizes(info: ImageInfo, limits: Limits, features: Features) -> tuple[tuple[int, int], ...]:
    """Sizes of the whole image at the scale factors above 1, within the limits, smallest first."""
    found = (
        (ceil_div(info.width, factor), ceil_div(info.height, factor))
        for factor in reversed(tiling(info, limits, features).scale_factors)
        if factor > 1
    )
    return tuple(dict.fromkeys(size for size in found if _answerable(*size, limits, features)))


def tile_boxes(info: ImageInfo, tiles: Tiling, factor: int) -> Iterator[tuple[Box, int, int]]:
    """All tiles at one scale factor, row by row: region and size in pixels (3.0 notes, 3)."""
    step_x, step_y = tiles.width * factor, tiles.height * factor
    for y in range(0, info.height, step_y):
        height = min(step_y, info.height - y)
        for x in range(0, info.width, step_x):
            width = min(step_x, info.width - x)
            yield Box(x, y, width, height), ceil_div(width, factor), ceil_div(height, factor)


def is_tile(box: Box, info: ImageInfo, tiles: Tiling, factor: int) -> bool:
    """Whether `box` is exactly one of the tiles at `factor`, those cut at the edges included."""
    step_x, step_y = tiles.width * factor, tiles.height * factor
    return (
        box.x % step_x == 0
        and box.y % step_y == 0
        and box.width == min(step_x, info.width - box.x)
        and box.height == min(step_y, info.height - box.y)
    )


def tile_factor(box: Box, width: int, height: int, info: ImageInfo, tiles: Tiling) -> int | None:
    """The scale factor at which a box at this size is a tile; None if it is none."""
    for factor in tiles.scale_factors:
        size = ceil_div(box.width, factor), ceil_div(box.height, factor)
        if size == (width, height) and is_tile(box, info, tiles, factor):
            return factor
    return None


def declared_height(
    box: Box, width: int, info: ImageInfo, limits: Limits, features: Features
) -> int | None:
    """The height that goes with `width` if info.json declares that size for `box`, else None.

    Declared are tiles, and the sizes of the whole image. Where two scale factors give a sliver
    the same width, the finer one counts: its height is the nearer to the true shape.
    """
    tiles = tiling(info, limits, features)
    whole = box.width == info.width and box.height == info.height
    for factor in tiles.scale_factors:
        if ceil_div(box.width, factor) == width:
            height = ceil_div(box.height, factor)
            if is_tile(box, info, tiles, factor):
                return height
            if whole and _answerable(width, height, limits, features):
                return height
    return None


def bounds(limits: Limits) -> tuple[int | None, int | None, int | None]:
    """Width, height and area as enforced: maxWidth alone bounds the height too (3.0, 5.2)."""
    height = limits.max_width if limits.max_height is None else limits.max_height
    return limits.max_width, height, limits.max_area


def within(width: int, height: int, limits: Limits) -> bool:
    """Whether a size is within the declared limits."""
    max_width, max_height, max_area = bounds(limits)
    return (
        (max_width is None or width <= max_width)
        and (max_height is None or height <= max_height)
        and (max_area is None or width * height <= max_area)
    )


def fit(
    width: int, height: int, in_width: int, in_height: int, area: int | None
) -> tuple[int, int]:
    """The shape `width` x `height` at the largest size inside `in_width` x `in_height` and `area`.

    The side that limits is met exactly, the other rounded half up and never 0.
    """
    if in_width * height <= in_height * width:
        found = in_width, half_up(in_width * height, width) or 1
    else:
        found = half_up(in_height * width, height) or 1, in_height
    if area is None or found[0] * found[1] <= area:
        return found
    # The area limits: both sides are floored, for rounding one up may pass the limit. A side that
    # was already met stays; the other then only loses what its rounding had added.
    fitted_width = min(found[0], isqrt(area * width // height)) or 1
    fitted_height = min(found[1], isqrt(area * height // width)) or 1
    if fitted_width * fitted_height > area:  # a side of a fraction of a pixel was lifted to 1
        return (1, area) if height > width else (area, 1)
    return fitted_width, fitted_height


def turned(width: int, height: int, degrees: Decimal) -> tuple[int, int]:
    """The box around an image turned by `degrees`, rounded half up; exact at right angles."""
    quarters, rest = divmod(degrees, 90)
    if not rest:
        return (height, width) if quarters % 2 else (width, height)
    angle = math.radians(degrees)
    cos, sin = abs(math.cos(angle)), abs(math.sin(angle))
    return (
        math.floor(width * cos + height * sin + 0.5),
        math.floor(height * cos + width * sin + 0.5),
    )


def _answerable(width: int, height: int, limits: Limits, features: Features) -> bool:
    return width * height <= features.max_pixels and within(width, height, limits)
