"""The specification's order, as plain statements: mirror, rotate, quality (section 4)."""

import math
from decimal import Decimal

from PIL import Image

from iiif_proxy.iiif.model import Plan
from iiif_proxy.iiif.tiles import turned
from iiif_proxy.imaging.encode import FORMATS
from iiif_proxy.imaging.pixels import Colour, flatten, padded

THRESHOLD = 128
_T = Image.Transpose
# (mirrored first, degrees clockwise) -> one move of pixels
MOVES = {
    (True, 0): _T.FLIP_LEFT_RIGHT,
    (False, 90): _T.ROTATE_270,
    (True, 90): _T.TRANSVERSE,
    (False, 180): _T.ROTATE_180,
    (True, 180): _T.FLIP_TOP_BOTTOM,
    (False, 270): _T.ROTATE_90,
    (True, 270): _T.TRANSPOSE,
}
_ALPHA = ("LA", "RGBA")


def render(pixels: Image.Image, plan: Plan, background: Colour) -> Image.Image:
    """Cropped and scaled pixels (L, LA, RGB, RGBX, RGBA) to what the format is given.

    Mode 1 for bitonal, L or LA for gray. Alpha, also of turned corners, is kept where the format
    has it and the quality is not bitonal; else everything lies on `background`.
    """
    if plan.degrees % 90:
        if plan.mirror:
            pixels = pixels.transpose(_T.FLIP_LEFT_RIGHT)
        pixels = rotate(pixels, plan.degrees)
    else:
        move = MOVES.get((plan.mirror, int(plan.degrees)))
        pixels = pixels if move is None else pixels.transpose(move)
    if plan.quality == "bitonal" or not FORMATS[plan.format].alpha:
        pixels = flatten(pixels, background)
    if plan.quality == "gray":
        pixels = pixels.convert("LA" if pixels.mode in _ALPHA else "L")
    elif plan.quality == "bitonal":
        pixels = bitonal(pixels)
    return pixels


def bitonal(pixels: Image.Image, threshold: int = THRESHOLD) -> Image.Image:
    """Black and white, mode 1: white from `threshold` on. (Validators ask for no dithering.)"""
    table = [0] * threshold + [255] * (256 - threshold)
    return pixels.convert("L").point(table, "1")


def rotate(pixels: Image.Image, degrees: Decimal) -> Image.Image:
    """Turn clockwise about the centre, bicubic; what was not there is transparent (LA, RGBA).

    The box is the specification's, without a spare border (Pillow's `expand` may add one). The
    edge fades by how much of a pixel is covered, in the colour of the edge itself: coverage is
    turned apart from the colours, whose edges are repeated outwards meanwhile, so there is
    neither a dark fringe nor the filter's ringing along the edge.
    """
    width, height = turned(*pixels.size, degrees)
    gray = pixels.mode in ("L", "LA")
    alpha = pixels.mode in _ALPHA
    working = {"L": "L", "LA": "La", "RGBA": "RGBa"}.get(pixels.mode, "RGB")
    matrix = _backwards(pixels.size, (width, height), degrees)

    def turn(image: Image.Image, resample: Image.Resampling) -> Image.Image:
        return image.transform((width, height), Image.Transform.AFFINE, matrix, resample)

    colours = turn(padded(pixels.convert(working), 1, 1, 1, 1), Image.Resampling.BICUBIC)
    covered = Image.new("L", (pixels.width + 2, pixels.height + 2), 0)
    covered.paste(255, (1, 1, pixels.width + 1, pixels.height + 1))
    coverage = turn(covered, Image.Resampling.BILINEAR)
    if alpha:
        colours = colours.convert("LA" if gray else "RGBA")
        opacity = Image.new("L", coverage.size, 0)
        opacity.paste(colours.getchannel("A"), mask=coverage)
        coverage = opacity
    colours.putalpha(coverage)
    return colours


def _backwards(
    size: tuple[int, int], turned_size: tuple[int, int], degrees: Decimal
) -> tuple[float, ...]:
    """Where pixels of the turned image come from, in the image with a border of one pixel.

    Centre on centre; coordinates are of corners of pixels, y goes down, degrees clockwise.
    """
    angle = math.radians(degrees)
    cosine, sine = math.cos(angle), math.sin(angle)
    from_x, from_y = turned_size[0] / 2, turned_size[1] / 2
    to_x, to_y = size[0] / 2 + 1, size[1] / 2 + 1
    return (
        cosine,
        sine,
        to_x - cosine * from_x - sine * from_y,
        -sine,
        cosine,
        to_y + sine * from_x - cosine * from_y,
    )
