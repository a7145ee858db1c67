"""Numbers that travel between the rooms: no version, no URL text."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the upright full image."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What is known of a source without decoding it.

    `width` and `height` are of the upright image (EXIF orientation applied). `tile_width`,
    `tile_height` and `scale_factors` are the source's own tiling (a tiled pyramid), else 0 and ().
    `bilevel` is a 1-bit source (gray is then true as well), `progressive` a JPEG that is decoded
    as a whole, whatever is asked. `dpi` (pixels an inch, 0: unknown),
    `creator` and `rights` are what the file says of itself.
    """

    width: int
    height: int
    format: str
    gray: bool = False
    bilevel: bool = False
    alpha: bool = False
    tile_width: int = 0
    tile_height: int = 0
    scale_factors: tuple[int, ...] = ()
    progressive: bool = False
    dpi: float = 0.0
    creator: str = ""
    rights: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """maxWidth, maxHeight and maxArea (section 5.3 of 3.0); None is no limit.

    `max_width` alone implies the same for the height; `max_height` alone is an illegal setting.
    """

    max_width: int | None = None
    max_height: int | None = None
    max_area: int | None = None


@dataclass(frozen=True, slots=True)
class Features:
    """What this installation does: the one table that both refuses and declares.

    `formats` are the formats that can be written here ("jpg" first). `max_pixels` bounds the
    pixels of any answer, after rotation, whatever is declared (a private cap).
    """

    formats: tuple[str, ...] = ("jpg", "png")
    upscaling: bool = False
    rotation_arbitrary: bool = True
    tile_size: int = 512
    max_pixels: int = 400_000_000
    preferred_formats: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scope:
    """How much of the specification one caller may ask of one image: what info.json declares.

    `regions`, `sizes`: any; `turns`: mirroring and right angles; `qualities`: others than default.
    `tiles`: those of the tiling. `listed`: the sizes of the whole image, None: those of the tiling.
    """

    regions: bool = True
    sizes: bool = True
    turns: bool = True
    qualities: bool = True
    tiles: bool = True
    listed: tuple[tuple[int, int], ...] | None = None


EVERYTHING = Scope()


@dataclass(frozen=True, slots=True)
class Plan:
    """One derivative, exactly: crop `box`, scale to `width` x `height`, mirror, turn, colour, save.

    `degrees` is in [0, 360), clockwise, at most 6 decimals. `quality` is "default", "color",
    "gray" or "bitonal": what is the same image has the same Plan ("color" is "default" unless the
    source is gray; "gray" of a gray source is "default").
    """

    box: Box
    width: int
    height: int
    mirror: bool
    degrees: Decimal
    quality: str
    format: str


@dataclass(frozen=True, slots=True)
class Extras:
    """What a publisher adds to info.json: JSON-ready values, None where there is nothing to say.

    `rights` (3.0, 5.6) is one URI and stands in for `license` in 2.1 where that is None.
    `license`, `attribution` and `logo` are 2.1's (5.4), `part_of` and `see_also` 3.0's (5.8),
    `service` belongs to both; a single object will do where the specification wants a list.
    `context` are the contexts of extensions (3.0, 5.2), which come before the specification's own.
    """

    rights: str | None = None
    license: Any = None
    attribution: Any = None
    logo: Any = None
    part_of: Any = None
    see_also: Any = None
    service: Any = None
    context: tuple[str, ...] = ()
