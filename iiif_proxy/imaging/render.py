"""The specification's order, as plain statements: mirror, rotate, quality (section 4)."""

import math
from decimal import Decimal

from PIL import Image

from iiif_proxy.iiif.model import Plan
from iiif_proxy.iiif.tiles import turned
from iiif_proxy.imaging import icc
from iiif_proxy.imaging.color import to_srgb
from iiif_proxy.imaging.encode import FORMATS
from iiif_proxy.imaging.look import DEFAULT, EMBED, Look
from iiif_proxy.imaging.pixels import Colour, bare, flatten, padded, profile_in
from iiif_proxy.imaging.watermark import Watermark, marked

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


def render(
    pixels: Image.Image, plan: Plan, look: Look = DEFAULT, mark: Watermark | None = None
) -> Image.Image:
    """Cropped and scaled pixels (L, LA, RGB, RGBX, RGBA) to what the format is given.

    Mode 1 for bitonal, L or LA for gray, and no other for color. Alpha, also of turned corners,
    is kept where the format has it and the quality is not bitonal; else everything lies on the
    look's background, and then `mark` on all that. A profile that was kept, or is to be embedded,
    is `info["icc_profile"]`.
    """
    kept = profile_in(pixels)
    if kept and (plan.quality != "default" or not FORMATS[plan.format].profile):
        pixels, kept = bare(to_srgb(pixels, kept)), None
    if plan.degrees % 90:
        if plan.mirror:
            pixels = pixels.transpose(_T.FLIP_LEFT_RIGHT)
        pixels = rotate(pixels, plan.degrees, look.corners)
    else:
        move = MOVES.get((plan.mirror, int(plan.degrees)))
        pixels = pixels if move is None else pixels.transpose(move)
    if plan.quality == "bitonal" or not FORMATS[plan.format].alpha:
        pixels = flatten(pixels, look.background)
    if mark is not None:
        pixels = marked(pixels, mark)
    if plan.quality == "gray":
        pixels = pixels.convert("LA" if pixels.mode in _ALPHA else "L")
    elif plan.quality == "color" and pixels.mode in ("L", "LA"):
        pixels = pixels.convert("RGBA" if pixels.mode == "LA" else "RGB")
    elif plan.quality == "bitonal":
        pixels = bitonal(pixels, look.threshold)
    return _named(bare(pixels), plan.format, kept) if kept or look.profile == EMBED else pixels


def _named(pixels: Image.Image, format: str, kept: bytes | None) -> Image.Image:
    """The picture with the profile that it kept, or that of sRGB."""
    written = FORMATS[format].fitted(pixels.mode)
    gray = written in ("L", "LA")
    if kept and (kept[16:20] == b"GRAY") != gray:  # gray, where the format knows only colour
        return bare(to_srgb(pixels, kept))
    if kept or written != "1":
        said = icc.srgb_gray() if gray else icc.srgb()
        pixels.info["icc_profile"] = kept or said
    return pixels


def bitonal(pixels: Image.Image, threshold: int = THRESHOLD) -> Image.Image:
    """Black and white, mode 1: white from `threshold` on; 0: dithered (validators ask for none)."""
    if not threshold:
        return pixels.convert("L").convert("1", dither=Image.Dither.FLOYDSTEINBERG)
    table = [0] * threshold + [255] * (256 - threshold)
    return pixels.convert("L").point(table, "1")


def rotate(pixels: Image.Image, degrees: Decimal, corners: Colour | None = None) -> Image.Image:
    """Turn clockwise about the centre, bicubic; what was not there is transparent (LA, RGBA).

    With a colour for the `corners` it has that instead, and the mode stays as it is; gray becomes
    RGB if the colour is none.

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
    if corners is not None:
        return _laid(colours, coverage, gray, corners)
    if alpha:
        colours = colours.convert("LA" if gray else "RGBA")
        opacity = Image.new("L", coverage.size, 0)
        opacity.paste(colours.getchannel("A"), mask=coverage)
        coverage = opacity
    colours.putalpha(coverage)
    return colours


def _laid(colours: Image.Image, coverage: Image.Image, gray: bool, corners: Colour) -> Image.Image:
    """Turned colours (L, RGB, La, RGBa) as far as they cover the corners' colour."""
    alpha = colours.mode in ("La", "RGBa")
    if alpha:
        colours = colours.convert({"La": "LA", "RGBa": "RGBA"}[colours.mode])
    if gray and len(set(corners)) > 1:
        colours = colours.convert("RGBA" if alpha else "RGB")
    parts = corners[:1] if colours.mode in ("L", "LA") else corners
    below = Image.new(colours.mode, colours.size, (*parts, 255) if alpha else parts)
    if alpha:
        # By light that comes through, not by value: what is transparent lends no colour.
        weight = {"LA": "La", "RGBA": "RGBa"}[colours.mode]
        mixed = Image.composite(colours.convert(weight), below.convert(weight), coverage)
        return mixed.convert(colours.mode)
    below.paste(colours, mask=coverage)
    return below


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
