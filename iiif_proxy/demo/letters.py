"""Lettering, in the one font that comes with Pillow."""

from functools import cache
from typing import Any

from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
HALO = (255, 253, 246)


@cache
def font(size: int) -> Any:
    return ImageFont.load_default(size)


class Letters:
    """Puts words on an RGB image; names that would touch another name are left out."""

    def __init__(self, canvas: Image.Image) -> None:
        self.canvas = canvas
        self.pen = ImageDraw.Draw(canvas)
        self.taken: list[tuple[float, float, float, float]] = []

    def _free(self, box: tuple[float, float, float, float]) -> bool:
        left, top, right, bottom = box
        for a, b, c, d in self.taken:
            if left < c and right > a and top < d and bottom > b:
                return False
        self.taken.append(box)
        return True

    def spaced(
        self,
        text: str,
        middle: tuple[int, int],
        size: int,
        tracking: int,
        degrees: float,
        colour: Colour,
    ) -> None:
        """Letters far apart along a line that may lean, as seas and ranges have them."""
        face = font(size)
        widths = [face.getlength(letter) + tracking for letter in text]
        mask = Image.new("L", (round(sum(widths)), size * 2))
        pen, x = ImageDraw.Draw(mask), tracking / 2
        for letter, width in zip(text, widths, strict=True):
            pen.text((x, size), letter, font=face, fill=215, anchor="lm")
            x += width
        mask = mask.rotate(degrees, Image.Resampling.BICUBIC, expand=True)
        left, top = middle[0] - mask.width // 2, middle[1] - mask.height // 2
        self.canvas.paste(colour, (left, top), mask)
        if degrees == 0:
            self.taken.append((left, top, left + mask.width, top + mask.height))

    def beside(
        self, text: str, place: tuple[float, float], size: int, colour: Colour, away: int
    ) -> None:
        """A town: its dot and its name right or left of it."""
        x, y = place
        r = size / 5
        self.pen.ellipse((x - r, y - r, x + r, y + r), HALO, colour, max(3, size // 14))
        width = font(size).getlength(text)
        for anchor, left in (("lm", x + away), ("rm", x - away - width)):
            if self._free((left - 8, y - size * 0.6, left + width + 8, y + size * 0.6)):
                at = (x + away if anchor == "lm" else x - away, y)
                self._haloed(at, text, size, colour, anchor)
                return

    def peak(self, place: tuple[float, float], text: str, size: int, colour: Colour) -> None:
        x, y = place
        first, *more = text.split("\n")
        width = font(size).getlength(first)
        r = size * 0.36
        if self._free((x - r, y - size, x + r * 2 + width, y + size * (0.6 + len(more)))):
            self.pen.polygon([(x - r, y + r), (x + r, y + r), (x, y - r)], fill=colour)
            self._haloed((x + r * 1.7, y), first, size, colour, "lm")
            for line in more:
                self._haloed((x + r * 1.7, y + size), line, size * 3 // 4, colour, "lm")

    def _haloed(
        self, at: tuple[float, float], text: str, size: int, colour: Colour, anchor: str
    ) -> None:
        self.pen.text(
            at, text, colour, font(size), anchor, stroke_width=max(2, size // 12), stroke_fill=HALO
        )

    def centred(self, text: str, at: tuple[float, float], size: int, colour: Colour) -> None:
        self.pen.text(at, text, colour, font(size), "mm")

    def small(self, text: str, at: tuple[float, float], size: int, colour: Colour) -> None:
        self.pen.text(at, text, colour, font(size), "lm")
