"""A mark laid on answers: a picture or some words, and which answers have it."""

import functools
from dataclasses import dataclass
from typing import cast

from PIL import Image, ImageDraw, ImageFont

from iiif_proxy.iiif.model import Box, ImageInfo, Plan
from iiif_proxy.imaging.reader import Reader, probe

POSITIONS = {
    "top-left": (0, 0), "top": (1, 0), "top-right": (2, 0),
    "left": (0, 1), "center": (1, 1), "right": (2, 1),
    "bottom-left": (0, 2), "bottom": (1, 2), "bottom-right": (2, 2),
}  # fmt: skip
# What is looked for where no font is named; Pillow's own has hardly more than ASCII.
FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf")
# Of a picture; more would be kept in memory for nothing.
LARGEST = 2000
# Between the mark and the edges, in parts of the shorter side.
MARGIN = 50
_MEASURED, _SMALLEST_LETTERS, _OPACITY = 100, 6, 192


@dataclass(frozen=True, slots=True)
class Watermark:
    """A picture (`size`, `rgba`), or a `text` in a `font` (a file; "": Pillow's own).

    It fits into `percent` of an answer's width and of its height; a picture is never enlarged.
    Whole images and parts whose longer side has `least` pixels get it, tiles only if `tiles` is
    set, each by itself.
    """

    position: str = "bottom-right"
    percent: int = 20
    least: int = 0
    tiles: bool = False
    text: str = ""
    font: str = ""
    size: tuple[int, int] = (0, 0)
    rgba: bytes = b""

    def on(self, plan: Plan, info: ImageInfo, tile: bool) -> bool:
        """Whether the answer to a plan gets it. `tile`: it is one of those that info.json offers.

        An image that is one tile as a whole counts as a whole image.
        """
        part = plan.box != Box(0, 0, info.width, info.height)
        large = max(plan.width, plan.height) >= self.least
        return large and (self.tiles or not (tile and part))


def picture(path: str) -> tuple[tuple[int, int], bytes]:
    """`size` and `rgba` of a Watermark. Raises OriginFailed for what is no image."""
    info = probe(path)
    factor = max(1.0, max(info.width, info.height) / LARGEST)
    size = round(info.width / factor) or 1, round(info.height / factor) or 1
    found = Reader(path, info).read(Box(0, 0, info.width, info.height), *size)
    return size, found.convert("RGBA").tobytes()


def font_for(text: str, path: str) -> str:
    """The font that `text` is written in: `path`, or one of this machine's.

    ValueError, with a sentence, if it cannot be opened or lacks a letter.
    """
    for name in (path,) if path else (*FONTS, ""):
        try:
            font = _font(name, 40)
        except OSError:
            continue
        unknown = bytes(font.getmask("\uffff"))
        lacking = [sign for sign in text if not sign.isspace()]
        lacking = [sign for sign in lacking if bytes(font.getmask(sign)) == unknown]
        if not lacking:
            return name
    if not path:
        raise ValueError("no font here has all its letters: name one, or give a picture")
    raise ValueError(f"{path!r} is no font that has all its letters")


def marked(pixels: Image.Image, mark: Watermark) -> Image.Image:
    """A copy with the mark on it; its mode (L, LA, RGB, RGBX, RGBA) and info stay."""
    margin = min(pixels.size) // MARGIN
    across, down = (
        max(1, min(side * mark.percent // 100, side - 2 * margin)) for side in pixels.size
    )
    drawn = _written(mark, (across, down)) if mark.text else _shrunk(mark, (across, down))
    x, y = (
        margin + step * (whole - side - 2 * margin) // 2
        for step, whole, side in zip(POSITIONS[mark.position], pixels.size, drawn.size, strict=True)
    )
    area = (x, y, x + drawn.width, y + drawn.height)
    below = pixels.crop(area).convert("RGBA")
    below.alpha_composite(drawn)
    found = pixels.copy()
    found.paste(below if pixels.mode in ("LA", "RGBA") else below.convert("RGB"), area)
    return found


@functools.lru_cache(maxsize=64)
def _shrunk(mark: Watermark, room: tuple[int, int]) -> Image.Image:
    found = Image.frombytes("RGBA", mark.size, mark.rgba)
    found.thumbnail(room, Image.Resampling.LANCZOS, reducing_gap=None)
    return found


@functools.lru_cache(maxsize=64)
def _written(mark: Watermark, room: tuple[int, int]) -> Image.Image:
    """White letters with a dark rim, seen on anything, as large as the room lets them be."""
    left, top, right, bottom = _extent(mark, _MEASURED)
    factor = min(room[0] / (right - left), room[1] / (bottom - top))
    size = max(_SMALLEST_LETTERS, int(_MEASURED * factor))
    left, top, right, bottom = _extent(mark, size)
    found = Image.new("RGBA", (int(right - left) + 1, int(bottom - top) + 1))
    ImageDraw.Draw(found).text(
        (-left, -top),
        mark.text,
        (255, 255, 255, 255),
        _font(mark.font, size),
        stroke_width=_rim(size),
        stroke_fill=(0, 0, 0, 160),
    )
    found.putalpha(found.getchannel("A").point([level * _OPACITY // 255 for level in range(256)]))
    return found.crop(found.getbbox())


def _extent(mark: Watermark, size: int) -> tuple[float, float, float, float]:
    return ImageDraw.Draw(Image.new("L", (1, 1))).textbbox(
        (0, 0), mark.text, _font(mark.font, size), stroke_width=_rim(size)
    )


def _rim(size: int) -> int:
    return max(1, size // 20)


@functools.lru_cache(maxsize=16)
def _font(path: str, size: int) -> ImageFont.FreeTypeFont:
    if path:
        return ImageFont.truetype(path, size)
    return cast(ImageFont.FreeTypeFont, ImageFont.load_default(size))
