"""The specification's order, as plain statements: mirror, rotate, quality (section 4)."""

import math
from decimal import Decimal

from PIL import Image, ImageOps

from iiif_proxy.iiif.model import Plan
from iiif_proxy.iiif.tiles import turned
from iiif_proxy.imaging.encode import FORMATS

Colour = tuple[int, int, int]
TURNS = {
    90: Image.Transpose.ROTATE_270,
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_90,
}
THRESHOLD = 128


def render(pixels: Image.Image, plan: Plan, background: Colour) -> Image.Image:
    """Cropped and scaled pixels (L, LA, RGB, RGBA) to what the format is given.

    Alpha, also of turned corners, is kept where the format has it and the quality is not bitonal;
    else it is flattened on `background`.
    """
    keeps_alpha = FORMATS[plan.format].alpha and plan.quality != "bitonal"
    if plan.mirror:
        pixels = ImageOps.mirror(pixels)
    if plan.degrees % 90 == 0:
        turn = TURNS.get(int(plan.degrees))
        pixels = pixels if turn is None else pixels.transpose(turn)
    else:
        pixels = rotate(pixels, plan.degrees)
    if not keeps_alpha:
        pixels = flatten(pixels, background)
    if plan.quality == "gray":
        pixels = pixels.convert("LA" if pixels.mode in {"LA", "RGBA"} else "L")
    elif plan.quality == "bitonal":
        pixels = pixels.convert("L").point(lambda v: 255 * (v >= THRESHOLD)).convert("1")
    return pixels


def rotate(pixels: Image.Image, degrees: Decimal) -> Image.Image:
    """Turn clockwise about the centre, bicubic; the corners become transparent.

    The box is the specification's, without a spare border (Pillow's `expand` adds one). Colours
    are premultiplied meanwhile, so that edges get no dark fringe.
    """
    width, height = turned(*pixels.size, degrees)
    angle = math.radians(float(degrees))
    cosine, sine = math.cos(angle), math.sin(angle)
    x, y = pixels.width / 2, pixels.height / 2
    matrix = (
        cosine,
        sine,
        x - cosine * width / 2 - sine * height / 2,
        -sine,
        cosine,
        y + sine * width / 2 - cosine * height / 2,
    )
    mode, final = ("La", "LA") if pixels.mode in {"L", "LA"} else ("RGBa", "RGBA")
    if pixels.mode != final:
        pixels = pixels.convert(final)
    # A transparent border of one pixel lets the filter fade the edge.
    padded = ImageOps.expand(pixels.convert(mode), 1, 0)
    matrix = (*matrix[:2], matrix[2] + 1, *matrix[3:5], matrix[5] + 1)
    turned_pixels = padded.transform(
        (width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC
    )
    return turned_pixels.convert(final)


def flatten(pixels: Image.Image, background: Colour) -> Image.Image:
    """Without alpha: on the background, gray pixels on its gray if it has one."""
    if pixels.mode not in {"LA", "RGBA"}:
        return pixels
    gray = pixels.mode == "LA" and len(set(background)) == 1
    below = Image.new("L" if gray else "RGB", pixels.size, background[0] if gray else background)
    above = pixels if gray or pixels.mode == "RGBA" else pixels.convert("RGBA")
    below.paste(above.convert(below.mode), mask=above.getchannel("A"))
    return below
