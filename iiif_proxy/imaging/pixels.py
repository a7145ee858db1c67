"""Small things done to Pillow images in more than one file."""

from collections.abc import Callable

from PIL import Image

Convert = Callable[[Image.Image], Image.Image]
Colour = tuple[int, int, int]


def bare(image: Image.Image) -> Image.Image:
    """The same pixels, shared and not copied, without file, profile, EXIF or any other info."""
    image.load()
    plain = image._new(image.im)
    plain.info = {}
    return plain


def profile_in(image: Image.Image) -> bytes | None:
    """The ICC profile that belongs to the pixels, where they are not sRGB or are to say so."""
    return image.info.get("icc_profile")


def cut(image: Image.Image, left: int, top: int, right: int, bottom: int) -> Image.Image:
    """A rectangle within the image (palette and info kept); all of it is shared, not copied.

    Image.crop would do, but warns or fails above Pillow's global limit of pixels, which belongs to
    whoever runs in this process; our own limit has been checked by now.
    """
    image.load()
    if (left, top, right, bottom) == (0, 0, *image.size):
        return image._new(image.im)
    return image._new(image.im.crop((left, top, right, bottom)))


def padded(image: Image.Image, left: int, top: int, right: int, bottom: int) -> Image.Image:
    """The image with so many pixels more on each side: its edges, repeated."""
    width, height = image.size
    grown = Image.new(image.mode, (left + width + right, top + height + bottom))
    grown.paste(image, (left, top))
    nearest = Image.Resampling.NEAREST
    for at, count, x in ((0, left, 0), (left + width, right, width - 1)):
        if count:
            column = image.crop((x, 0, x + 1, height))
            grown.paste(column.resize((count, height), nearest), (at, top))
    for at, count, y in ((0, top, top), (top + height, bottom, top + height - 1)):
        if count:
            row = grown.crop((0, y, grown.width, y + 1))
            grown.paste(row.resize((grown.width, count), nearest), (0, at))
    return grown


def flatten(image: Image.Image, background: Colour) -> Image.Image:
    """Without alpha: lying on the background. Gray stays gray if the background is."""
    if image.mode not in ("LA", "RGBA"):
        return image
    if image.mode == "LA" and len(set(background)) == 1:
        below = Image.new("L", image.size, background[0])
        below.paste(image.getchannel("L"), mask=image.getchannel("A"))
        return below
    below = Image.new("RGB", image.size, background)
    below.paste(image.convert("RGB"), mask=image.getchannel("A"))
    return below
