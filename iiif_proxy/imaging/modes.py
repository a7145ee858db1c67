"""Whatever Pillow decodes to becomes a mode that can be scaled: L, LA, RGB, RGBA, CMYK or LAB."""

import functools
import math
from collections.abc import Callable
from typing import Any

from PIL import Image

from iiif_proxy.imaging.pixels import Convert

SCALABLE = frozenset({"L", "LA", "RGB", "RGBX", "RGBA", "CMYK", "LAB"})
GRAY = frozenset({"1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"})
_PLAIN = {"1": "L", "La": "LA", "RGBa": "RGBA", "YCbCr": "RGB", "HSV": "RGB"}
# Samples below 8 bits are spread over the whole range, their transparent colour is not.
_SPREAD = {"L;2": 85, "L;4": 17}

_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT, _SMALLEST, _LARGEST = 258, 262, 339, 340, 341
_WHITE_IS_ZERO = 0
_UNSIGNED = 1
# black, white
Range = tuple[float, float]


def is_gray(image: Image.Image) -> bool:
    """Whether an image whose header is read holds grays, in whatever mode Pillow shows them."""
    return image.mode in GRAY or (image.mode == "RGBA" and _raw_mode(image).startswith("LA"))


def working(image: Image.Image, table: list[int] | None = None) -> Convert:
    """How pieces of this image are converted. Call it with the header read and nothing decoded.

    Sixteen bits are scaled to eight, not clipped. 32-bit integers and floats are scaled between
    the TIFF tags SMinSampleValue and SMaxSampleValue, or else between the smallest and the
    largest value of the whole image: the same for any region. Palettes and transparent colours
    become RGB(A) and LA. CMYK and LAB stay, for `color.to_srgb`.

    `table`: the 8-bit grays of 65536 deep ones, where they are more than a matter of scale.
    """
    mode = image.mode
    if mode in ("I", "F") or mode.startswith("I;16"):
        return _deep(image, table)
    if mode == "RGBA" and is_gray(image):  # PNG, gray and alpha of 16 bits
        return _to("LA")
    if mode in ("P", "PA"):
        return _to("RGBA" if image.has_transparency_data else "RGB")
    if mode in ("1", "L", "RGB") and "transparency" in image.info:
        return _keyed(image)
    return _to(mode if mode in SCALABLE else _PLAIN.get(mode, "RGB"))


def _to(mode: str) -> Convert:
    return lambda piece: piece if piece.mode == mode else piece.convert(mode)


def _keyed(image: Image.Image) -> Convert:
    """A colour of a PNG or GIF that stands for transparent."""
    key = image.info["transparency"]
    raw = _raw_mode(image)
    if isinstance(key, int) and raw in _SPREAD:
        key = key * _SPREAD[raw] & 255
    if isinstance(key, tuple) and "16" in raw:
        key = tuple(part >> 8 for part in key)
    target = "RGBA" if image.mode == "RGB" else "LA"

    def convert(piece: Image.Image) -> Image.Image:
        piece.info["transparency"] = key
        return piece.convert(target)

    return convert


def _deep(image: Image.Image, table: list[int] | None) -> Convert:
    key = image.info.get("transparency")
    most = len(table) - 1 if table else 255
    unsigned = _is_unsigned(image)
    span = _range_of(image, unsigned)

    def convert(piece: Image.Image) -> Image.Image:
        black, white = span()
        scale = most / (white - black) if white != black else 0.0
        offset = 0.5 - black * scale
        if unsigned:
            piece = as_unsigned(piece)
        numbers = piece if piece.mode == "F" else piece.convert("I")
        scaled = numbers.point(lambda value: value * scale + offset)
        gray = _clipped(scaled.convert("I").point(table, "L") if table else scaled)
        if isinstance(key, int) and piece.mode.startswith("I;16"):
            shown = [255] * 65536
            shown[key & 65535] = 0
            gray.putalpha(numbers.point(shown, "L"))
        return gray

    return convert


def _clipped(image: Image.Image) -> Image.Image:
    gray = image.convert("L")
    gray.info = {}
    return gray


def _is_unsigned(image: Image.Image) -> bool:
    """32 bits that Pillow shows as signed ones."""
    tags: Any = getattr(image, "tag_v2", {})
    whole = image.mode == "I" and tags.get(_BITS, (0,))[0] == 32
    return whole and tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))[0] == _UNSIGNED


def as_unsigned(image: Image.Image) -> Image.Image:
    """Mode I, whose bits are unsigned, as F (24 bits of precision are enough for 8)."""
    return Image.frombytes("F", image.size, image.tobytes(), "raw", "F;32N")


def _range_of(image: Image.Image, unsigned: bool) -> Callable[[], Range]:
    """Black and white of an image deeper than 8 bits; asked only when it is decoded."""
    tags: Any = getattr(image, "tag_v2", {})
    inverted = bool(tags) and tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    if image.mode.startswith("I;16"):
        bits = tags.get(_BITS, (16,))[0]
        return lambda: _ordered((0, (1 << bits) - 1), inverted)
    if image.mode == "I" and not tags:  # PNM: Pillow scales to 16 bits
        return lambda: (0, 65535)
    declared = span_of(tags.get(_SMALLEST), tags.get(_LARGEST))
    if declared is not None:
        return lambda: _ordered(declared, inverted)

    @functools.cache
    def measured() -> Range:
        found: Any = (as_unsigned(image) if unsigned else image).getextrema()
        if not all(math.isfinite(value) for value in found):
            found = (0, 1)
        return _ordered(found, inverted)

    return measured


def _ordered(span: Range, inverted: bool) -> Range:
    return (span[1], span[0]) if inverted else span


def span_of(smallest: Any, largest: Any) -> Range | None:
    """What the tags SMinSampleValue and SMaxSampleValue say; None if that is nothing."""
    low, high = _number(smallest), _number(largest)
    return (low, high) if low is not None and high is not None and low < high else None


def _number(value: Any) -> float | None:
    """A tag's value, of the first sample."""
    if isinstance(value, tuple) and value:
        value = value[0]
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _raw_mode(image: Image.Image) -> str:
    """How the file holds the samples, as Pillow's decoder is told."""
    tiles: Any = getattr(image, "tile", None)
    arguments = tiles[0][3] if tiles else ""
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)
