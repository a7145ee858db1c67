"""An unsharp mask for what was scaled down, an option: seen by no tile's edge."""

from collections.abc import Callable

from PIL import Image, ImageFilter

from iiif_proxy.iiif.model import Box, ImageInfo
from iiif_proxy.imaging.resample import on_grid

Read = Callable[[Box, int, int], Image.Image]
RADIUS = 0.8
# Pixels of the answer that the mask looks at on each side: three box blurs of one pixel.
MARGIN = 4
_MODES = ("L", "RGB", "RGBX")


def sharpened(
    read: Read, info: ImageInfo, box: Box, width: int, height: int, percent: int
) -> Image.Image:
    """What `read` gives, sharpened by `percent` if it is smaller than its region.

    At whole factors (tiles) the pixels around it count, as they do in the whole image: tiles join.
    Images with alpha are left as they are: a mask would lighten their edges.
    """
    if not percent or (width >= box.width and height >= box.height):
        return read(box, width, height)
    around, left, top, size = _around(info, box, width, height)
    pixels = read(around, *size)
    if pixels.mode in _MODES:
        profile = pixels.info.get("icc_profile")
        pixels = pixels.filter(ImageFilter.UnsharpMask(RADIUS, percent, 0))
        if profile:
            pixels.info["icc_profile"] = profile
    if size == (width, height):
        return pixels
    return pixels.crop((left, top, left + width, top + height))


def _around(
    info: ImageInfo, box: Box, width: int, height: int
) -> tuple[Box, int, int, tuple[int, int]]:
    """A wider box, where the wanted pixels begin in it, and its size."""
    factor = max(-(-box.width // width), -(-box.height // height))
    if not on_grid(box, width, height, factor):
        return box, 0, 0, (width, height)
    left, top = min(MARGIN, box.x // factor), min(MARGIN, box.y // factor)
    right = min(box.x + box.width + MARGIN * factor, info.width)
    bottom = min(box.y + box.height + MARGIN * factor, info.height)
    if (left, top) == (box.x // factor, box.y // factor) and (right, bottom) == (
        info.width,
        info.height,
    ):
        # All of the image would be scaled as a whole, not by the grid that tiles share.
        if box.x:
            left -= 1
        elif box.y:
            top -= 1
        elif box.width < right:
            right = max(box.width, right - (right % factor or factor))
        elif box.height < bottom:
            bottom = max(box.height, bottom - (bottom % factor or factor))
    x, y = box.x - left * factor, box.y - top * factor
    wide = Box(x, y, right - x, bottom - y)
    return wide, left, top, (-(-wide.width // factor), -(-wide.height // factor))
