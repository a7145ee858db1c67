"""Region, size, rotation, quality: grammar and arithmetic of one parameter each (section 4)."""

import re
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Literal

from iiif_proxy.errors import InvalidRequest, ProxyError
from iiif_proxy.iiif.model import Box, Features, ImageInfo, Limits
from iiif_proxy.iiif.tiles import bounds, declared_height, fit, half_up, within

# Python refuses to read integers of more than 4300 digits (640 at the least setting) with a
# ValueError; nothing of use is this long.
LONGEST = 512
# No \d: it takes the digits of every script.
NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"

_PIXELS = re.compile(r"([0-9]+),([0-9]+),([0-9]+),([0-9]+)")
_PERCENT = re.compile(rf"pct:({NUMBER}),({NUMBER}),({NUMBER}),({NUMBER})")
_SIZE = re.compile(rf"(!?)([0-9]*),([0-9]*)|pct:({NUMBER})")
_ROTATION = re.compile(rf"(!?)({NUMBER})")

QUALITIES = ("default", "color", "gray", "bitonal")

REGION_SENTENCE = "The region must be full, square, x,y,w,h in whole pixels or pct:x,y,w,h."
ROTATION_SENTENCE = "The rotation must be a number from 0 to 360, with ! before it to mirror."
LARGER_SENTENCE = "The size is larger than the region."
ENLARGING_SENTENCE = "The size is larger than the region, and this server does not enlarge."
QUALITY_SENTENCE = "The quality must be default, color, gray or bitonal."

# A number as numerator and denominator: decimal fractions stay exact, without Fraction's cost.
Ratio = tuple[int, int]
Kind = Literal["full", "max", "w", "h", "wh", "fit", "pct"]
NONE: frozenset[Kind] = frozenset()
EXPLICIT: frozenset[Kind] = frozenset({"w", "h", "wh", "pct"})
ALL: frozenset[Kind] = EXPLICIT | {"max", "fit"}


def ratio(text: str) -> Ratio:
    """Digits with at most one point, as the fraction they are."""
    whole, _, decimals = text.partition(".")
    return int(whole + decimals), 10 ** len(decimals)


@dataclass(frozen=True, slots=True)
class Region:
    """Section 4.1. `values` are x, y, width, height: pixels, or percentages of the full image."""

    kind: Literal["full", "square", "pixels", "percent"]
    values: tuple[Ratio, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Region":
        """Raises InvalidRequest."""
        if text == "full":
            return FULL
        if text == "square":
            return SQUARE
        if len(text) <= LONGEST:
            if found := _PIXELS.fullmatch(text):
                x, y, width, height = found.groups()
                return cls("pixels", ((int(x), 1), (int(y), 1), (int(width), 1), (int(height), 1)))
            if found := _PERCENT.fullmatch(text):
                return cls("percent", tuple(ratio(value) for value in found.groups()))
        raise InvalidRequest(REGION_SENTENCE)

    def resolve(self, info: ImageInfo) -> Box:
        """Pixels of the upright full image, cropped at its edges.

        Raises InvalidRequest for what is empty or outside.
        """
        if self.kind == "full":
            return Box(0, 0, info.width, info.height)
        if self.kind == "square":
            side = min(info.width, info.height)
            return Box((info.width - side) // 2, (info.height - side) // 2, side, side)
        if self.kind == "pixels":
            (x, _), (y, _), (width, _), (height, _) = self.values
        else:
            sides = (info.width, info.height) * 2
            x, y, width, height = (
                half_up(side * value, 100 * unit)
                for side, (value, unit) in zip(sides, self.values, strict=True)
            )
        width, height = min(width, info.width - x), min(height, info.height - y)
        if width < 1 or height < 1:
            raise InvalidRequest("The region is empty or outside the image.")
        return Box(x, y, width, height)


FULL = Region("full")
SQUARE = Region("square")


@dataclass(frozen=True, slots=True)
class Size:
    """Section 4.2, with what the versions disagree on as data.

    `enlarges`: the result may exceed the region, if this installation enlarges at all; `refusal`
    is the error if it does not. `declared`: a width alone that info.json declares for the region
    (a tile, a size) means the declared height, not the height by exact aspect.
    """

    kind: Kind
    width: int = 0
    height: int = 0
    percent: Ratio = (0, 1)
    enlarges: bool = False
    refusal: type[ProxyError] = InvalidRequest
    declared: bool = False

    @classmethod
    def parse(
        cls,
        text: str,
        sentence: str,
        *,
        enlarging: frozenset[Kind] = NONE,
        refusal: type[ProxyError] = InvalidRequest,
        declared: bool = False,
    ) -> "Size":
        """The forms both versions know: max w, ,h w,h !w,h pct:n.

        `enlarging` are the kinds that may enlarge. Raises InvalidRequest with `sentence`.
        """
        if text == "max":
            return cls("max", enlarges="max" in enlarging, refusal=refusal)
        found = _SIZE.fullmatch(text) if len(text) <= LONGEST else None
        if found is None:
            raise InvalidRequest(sentence)
        bang, width, height, percent = found.groups()
        kind: Kind
        if percent:
            kind = "pct"
        elif width and height:
            kind = "fit" if bang else "wh"
        elif bang or not (width or height):
            raise InvalidRequest(sentence)
        else:
            kind = "w" if width else "h"
        return cls(
            kind,
            int(width or 0),
            int(height or 0),
            ratio(percent) if percent else (0, 1),
            kind in enlarging,
            refusal,
            declared,
        )

    def resolve(
        self, box: Box, info: ImageInfo, limits: Limits, features: Features
    ) -> tuple[int, int]:
        """Width and height of the scaled region, before rotation.

        Raises InvalidRequest for a size of 0, above a limit, or above the region without leave;
        `refusal` where enlarging would be needed and is off.
        """
        width, height = self._wanted(box, info, limits, features)
        if width < 1 or height < 1:
            raise InvalidRequest("The size would be less than one pixel.")
        if width > box.width or height > box.height or self.percent[0] > 100 * self.percent[1]:
            if not self.enlarges:
                raise InvalidRequest(LARGER_SENTENCE)
            if not features.upscaling:
                raise self.refusal(ENLARGING_SENTENCE)
        if not within(width, height, limits):
            raise InvalidRequest("The size is above the limits that info.json declares.")
        return width, height

    def _wanted(
        self, box: Box, info: ImageInfo, limits: Limits, features: Features
    ) -> tuple[int, int]:
        match self.kind:
            case "full":
                return box.width, box.height
            case "max":
                return largest(box, limits, self.enlarges)
            case "w":
                if self.declared:
                    return self.width, height_of(box, self.width, info, limits, features)
                return self.width, half_up(self.width * box.height, box.width) or 1
            case "h":
                return half_up(self.height * box.width, box.height) or 1, self.height
            case "wh":
                return self.width, self.height
            case "fit":
                return largest(box, limits, self.enlarges, (self.width, self.height))
            case "pct":
                value, unit = self.percent
                width = half_up(box.width * value, 100 * unit)
                height = half_up(box.height * value, 100 * unit)
                # One side of 0 is lifted, as with w, and ,h: a thin image has small sizes too.
                return (width or 1, height or 1) if width or height else (0, 0)


def height_of(box: Box, width: int, info: ImageInfo, limits: Limits, features: Features) -> int:
    """2.1's `w,`: the height info.json declares with that width for `box`, else by exact aspect.

    Viewers of 2.1 ask for tiles by `w,` and lay them out by the declared size (rounded up); the
    exact aspect would give an edge tile of 561x2048 at 71, a height of 259 and a seam.
    """
    declared = declared_height(box, width, info, limits, features)
    return declared or half_up(width * box.height, box.width) or 1


def largest(
    box: Box, limits: Limits, enlarge: bool, inside: tuple[int, int] | None = None
) -> tuple[int, int]:
    """`max` and `!w,h`: the largest size of the box's shape `inside` a rectangle and the limits.

    Never above the region unless `enlarge`; without any limit nothing is larger than the region.
    """
    max_width, max_height, area = bounds(limits)
    if inside is None:
        inside = (area, area) if enlarge and area else (box.width, box.height)
        if enlarge and max_width is not None and max_height is not None:
            inside = (max_width, max_height)
    width, height = inside
    if not enlarge:
        width, height = min(width, box.width), min(height, box.height)
    if max_width is not None:
        width = min(width, max_width)
    if max_height is not None:
        height = min(height, max_height)
    return fit(box.width, box.height, width, height, area)


@dataclass(frozen=True, slots=True)
class Rotation:
    """Section 4.3. `degrees` is in [0, 360), clockwise, at most 6 decimals, no trailing zeros."""

    mirror: bool
    degrees: Decimal

    @classmethod
    def parse(cls, text: str) -> "Rotation":
        """Raises InvalidRequest."""
        found = _ROTATION.fullmatch(text) if len(text) <= LONGEST else None
        if found is None:
            raise InvalidRequest(ROTATION_SENTENCE)
        bang, number = found.groups()
        degrees = Decimal(number)
        if degrees > 360:
            raise InvalidRequest(ROTATION_SENTENCE)
        return cls(bool(bang), _tidy(degrees))


# A context of our own: an application may have set the thread's to less.
_CONTEXT = Context(prec=16, rounding=ROUND_HALF_UP)
_MILLIONTH = Decimal("0.000001")


def _tidy(degrees: Decimal) -> Decimal:
    if degrees.as_tuple().exponent != 0:
        degrees = degrees.quantize(_MILLIONTH, context=_CONTEXT)
    whole = int(degrees)
    return Decimal(whole % 360) if degrees == whole else degrees.normalize(_CONTEXT)


def rotation_text(mirror: bool, degrees: Decimal) -> str:
    """The canonical form: an integer if possible, a leading 0, no trailing zeros."""
    return f"{'!' if mirror else ''}{degrees:f}"


def region_text(box: Box, info: ImageInfo) -> str:
    """The canonical form: `full` for the whole image, else the pixels that are used."""
    if box.width == info.width and box.height == info.height:
        return "full"
    return f"{box.x},{box.y},{box.width},{box.height}"


def parse_quality(text: str) -> str:
    """Section 4.4: the same words in both versions. Raises InvalidRequest."""
    if text not in QUALITIES:
        raise InvalidRequest(QUALITY_SENTENCE)
    return text
