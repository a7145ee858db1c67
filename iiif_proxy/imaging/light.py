"""Averages of light instead of its code: scaling in linear light, an option.

Fine black and white lines average to a gray as bright as they are (188 in sRGB, where averaged
codes make 128). The curve is sRGB's, whatever the profile: others differ little from it. Four to
eight times slower than scaling the codes, and nothing is left to the decoder (no DCT scaling).
"""

from collections.abc import Callable
from typing import Any

from PIL import Image, ImageMath

Band = Callable[[Image.Image], Image.Image]
# Light is kept as floats of one band at a time, and coded by a table of so many steps.
STEPS = 65535
# What is less opaque than this has no colour to speak of.
_LEAST = 1 / 1024


def _decoded(code: float) -> float:
    return code / 12.92 if code <= 0.04045 else ((code + 0.055) / 1.055) ** 2.4


def _encoded(linear: float) -> float:
    return linear * 12.92 if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055


_LIGHT = [_decoded(code / 255) for code in range(256)]
_PART = [alpha / 255 for alpha in range(256)]
_CODES = [round(_encoded(step / STEPS) * 255) for step in range(STEPS + 1)]


def applied(image: Image.Image, change: Band) -> Image.Image:
    """The image (L, LA, RGB, RGBX, RGBA) after `change` averaged the light of each band.

    Alpha is a weight: what is transparent lends no light. The fourth band of RGBX is averaged.
    """
    bands = list(image.split())
    fourth = bands.pop() if image.mode in ("LA", "RGBA", "RGBX") else None
    if fourth is None or image.mode == "RGBX":
        made = [_coded(change(band.point(_LIGHT, "F"))) for band in bands]
        if fourth is not None:
            made.append(_levels(change(fourth.point(_PART, "F")), 255))
        return Image.merge(image.mode, made)
    opacity = fourth.point(_PART, "F")
    scaled = change(opacity)
    made = []
    for band in bands:
        weighed = change(_math(lambda n: n["x"] * n["y"], x=band.point(_LIGHT, "F"), y=opacity))
        made.append(_coded(_math(lambda n: n["x"] / n["max"](n["y"], _LEAST), x=weighed, y=scaled)))
    return Image.merge(image.mode, [*made, _levels(scaled, 255)])


def reduced(image: Image.Image, factor: int, box: tuple[int, int, int, int]) -> Image.Image:
    """As Image.reduce."""
    return applied(image.crop(box), lambda band: band.reduce(factor))


def _math(formula: Callable[[Any], Any], **images: Image.Image) -> Image.Image:
    found: Image.Image = ImageMath.lambda_eval(formula, **images)
    return found


def _levels(image: Image.Image, most: int) -> Image.Image:
    """0 to 1 as 0 to `most`: L up to 255, I above; L is clipped."""
    scaled = image.point(lambda value: value * most + 0.5)
    return scaled.convert("L" if most <= 255 else "I")


def _coded(image: Image.Image) -> Image.Image:
    return _levels(image, STEPS).point(_CODES, "L")
