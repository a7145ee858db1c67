"""The only door to pixels: a header read, and a region of the upright image at a size."""

import logging
import struct
from typing import Any, BinaryIO

from PIL import ExifTags, Image, UnidentifiedImageError

from iiif_proxy.errors import OriginFailed
from iiif_proxy.iiif.model import Box, ImageInfo
from iiif_proxy.imaging.color import to_srgb
from iiif_proxy.imaging.modes import normal
from iiif_proxy.imaging.resample import resample

log = logging.getLogger(__name__)
# What may be opened: nothing that starts a program or follows a reference.
ALLOWED = (
    "JPEG", "MPO", "PNG", "TIFF", "GIF", "WEBP", "JPEG2000", "AVIF", "BMP", "PPM",
)  # fmt: skip
NAMES = {"MPO": "jpeg", "JPEG2000": "jp2"}
NO_IMAGE = "What the origin sent is no image that can be decoded."
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
FAULTS = (OSError, ValueError, SyntaxError, struct.error, EOFError, KeyError, IndexError,
          TypeError, OverflowError, AttributeError, RuntimeError, MemoryError)  # fmt: skip


def probe(file: str | BinaryIO, *, max_pixels: int, whole: bool = True) -> ImageInfo | None:
    """Read the header only. With `whole` False the file may still be growing: None is "not yet".

    Raises OriginFailed for what is no image, or too large a one.
    """
    try:
        with opened(file) as image:
            if image.width * image.height > max_pixels:
                raise OriginFailed("The source image has more pixels than is allowed here.")
            return info_of(image)
    except OriginFailed:
        raise
    except UnidentifiedImageError as cause:
        if not whole and _may_become(file):
            return None
        raise OriginFailed(NO_IMAGE, str(cause)) from cause
    except FAULTS as cause:
        if not whole:
            return None
        raise OriginFailed(NO_IMAGE, repr(cause)) from cause


def opened(file: str | BinaryIO) -> Image.Image:
    """Open an image of the allowed kinds, by its first bytes.

    Not by `Image.open`: that judges the size by a global which the wrapped application may have
    set for itself. Ours is an argument (`probe`).
    """
    if isinstance(file, str):
        with open(file, "rb") as start:
            first = start.read(16)
    else:
        first = file.read(16)
        file.seek(0)
    Image.preinit()
    Image.init()
    for name in ALLOWED:
        factory, accept = Image.OPEN[name]
        if accept is None or accept(first) is True:
            try:
                return factory(file, "")
            except FAULTS as cause:
                raise UnidentifiedImageError(f"{name}: {cause!r}") from cause
    raise UnidentifiedImageError("unknown first bytes")


def _may_become(file: str | BinaryIO) -> bool:
    """Whether the first bytes are those of a kind that may be read: the rest may still come."""
    if isinstance(file, str):
        with open(file, "rb") as start:
            first = start.read(16)
    else:
        file.seek(0)
        first = file.read(16)
    return any((accept := Image.OPEN[name][1]) and accept(first) is True for name in ALLOWED)


def info_of(image: Image.Image) -> ImageInfo:
    """What an opened image says of itself, upright."""
    width, height = image.size
    if orientation_of(image) > 4:
        width, height = height, width
    name = image.format or ""
    return ImageInfo(
        width=width,
        height=height,
        format=NAMES.get(name, name.lower()),
        gray=image.mode in {"1", "L", "LA", "La", "I", "F"} or image.mode.startswith("I;16"),
        bilevel=image.mode == "1",
        alpha=image.mode in {"LA", "La", "RGBA", "RGBa", "PA"} or "transparency" in image.info,
    )


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 for what says nothing or nonsense. AVIF comes upright."""
    if image.format == "AVIF":
        return 1
    try:
        value: Any = image.getexif().get(ExifTags.Base.Orientation, 1)
    except FAULTS:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


class Reader:
    """One source file. `read` may be called by several threads; each opens the file for itself."""

    def __init__(self, path: str | BinaryIO, info: ImageInfo) -> None:
        self._path = path
        self.info = info

    def read(self, box: Box, width: int, height: int) -> Image.Image:
        """That region of the upright image at exactly width x height, in sRGB or gray.

        Decoded no finer than needed. Raises OriginFailed.
        """
        try:
            with opened(self._path) as image:
                orientation = orientation_of(image)
                stored = Stored(orientation, *image.size)
                region, size = stored.box(box), stored.size(width, height)
                reduced(image, region, size)
                edges = (
                    region.x * image.width / stored.width,
                    region.y * image.height / stored.height,
                    (region.x + region.width) * image.width / stored.width,
                    (region.y + region.height) * image.height / stored.height,
                )
                profile = image.info.get("icc_profile")
                pixels = normal(image)
                return finished(resample(pixels, edges, *size), profile, orientation)
        except OriginFailed:
            raise
        except FAULTS as cause:
            raise OriginFailed(NO_IMAGE, repr(cause)) from cause

    def cost(self, box: Box, width: int, height: int) -> int:
        """How many pixels `read` would decode."""
        shrink = 1
        if self.info.format in {"jpeg", "jp2"}:
            most = 8 if self.info.format == "jpeg" else 64
            ratio = min(box.width // width, box.height // height)
            while shrink < most and shrink * 2 <= ratio:
                shrink *= 2
        return self.info.width * self.info.height // shrink**2 + width * height


def finished(pixels: Image.Image, profile: bytes | None, orientation: int) -> Image.Image:
    """Stored pixels as the outside sees them: in sRGB or gray, upright."""
    pixels = to_srgb(pixels, profile)
    turn = TURNS.get(orientation)
    return pixels if turn is None else pixels.transpose(turn)


def reduced(image: Image.Image, region: Box, size: tuple[int, int]) -> None:
    """Tell the decoder how small the answer is: JPEG by DCT scaling, JPEG 2000 by resolutions.

    To the first scale that still has a pixel for each of the answer's: PSNR against a full decode
    and Lanczos is above 50 dB (tests), far below the loss of encoding the answer.
    """
    ratio = min(region.width / size[0], region.height / size[1])
    if image.format in {"JPEG", "MPO"} and ratio >= 2:
        image.draft(None, (int(image.width / ratio), int(image.height / ratio)))  # type: ignore[arg-type]
    elif image.format == "JPEG2000" and ratio >= 2:
        image.reduce = int(ratio).bit_length() - 1  # type: ignore[assignment,method-assign]


class Stored:
    """The geometry between upright and stored pixels for one EXIF orientation."""

    def __init__(self, orientation: int, width: int, height: int) -> None:
        self.orientation, self.width, self.height = orientation, width, height

    def size(self, width: int, height: int) -> tuple[int, int]:
        return (height, width) if self.orientation > 4 else (width, height)

    def box(self, box: Box) -> Box:
        x, y, w, h = box.x, box.y, box.width, box.height
        if self.orientation > 4:
            x, y, w, h = y, x, h, w
        # After the swap every turn is a mirror of x, of y, of both or of none.
        if self.orientation in (2, 3, 7, 8):
            x = self.width - x - w
        if self.orientation in (3, 4, 6, 7):
            y = self.height - y - h
        return Box(x, y, w, h)
