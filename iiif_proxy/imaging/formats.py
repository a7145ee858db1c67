"""Which files may be opened: told by their first bytes, opened by Pillow's class for just that.

Image.open is not used. It measures every image by Image.MAX_IMAGE_PIXELS, a global of the whole
process (89 megapixels, and an exception from 179) that a wrapped application may have set to
anything; it would have to be changed for all threads. Here `max_pixels` is an argument.
"""

import contextlib
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any

from PIL import Image, ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from iiif_proxy.errors import NoImage, OriginFailed, ProxyError
from iiif_proxy.imaging import jpeg2000, tiffdeep, webp
from iiif_proxy.imaging.deep import DeepPng
from iiif_proxy.imaging.tiffdeep import DeepTiff

Path = str | os.PathLike[str]

MAX_PIXELS = 500_000_000
NO_IMAGE = "What the origin sent is no image that can be decoded."
# What Pillow's codecs have been seen to throw at broken data.
FAULTS = (
    OSError, ValueError, SyntaxError, EOFError, KeyError, IndexError, TypeError, AttributeError,
    ArithmeticError, RuntimeError, MemoryError, Warning, struct.error, zlib.error,
    Image.DecompressionBombError,
)  # fmt: skip
# Read at once. With Pillow's 64 KiB libjpeg falls out of its fast loop at the end of each block:
# 24 MP at 1/8 took 78.6 ms, so 71.6, with 1 MiB 70.9 (where rows then show later).
JPEG_BLOCK = 256 << 10
# So many bytes tell every format here.
HEAD = 64

_SIGNATURES = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "jp2"),
    (b"\xff\x4f\xff\x51", "jp2"),
    (b"BM", "bmp"),
    *((b"P" + kind.encode(), "ppm") for kind in "123456f"),
    # Known by name only, for the sentence that refuses them.
    (b"%PDF-", "PDF"),
    (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "PostScript"),
    (b"8BPS", "Photoshop"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
)
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}


class _Jpeg(JpegImageFile):
    """Also for MPO: its first picture. Resolution in EXIF is not looked for: that may warn."""

    def _open(self) -> None:
        super()._open()
        self.decodermaxblock = JPEG_BLOCK

    def _read_dpi_from_exif(self) -> None:
        pass


class Jpeg2000(Jpeg2KImageFile):
    """With the colour profile, and `halvings`: how often it can be halved while it is decoded."""

    def _open(self) -> None:
        super()._open()
        assert self.fp is not None
        facts = jpeg2000.read_facts(self.fp)
        self.halvings = facts.halvings
        if facts.icc_profile:
            self.info["icc_profile"] = facts.icc_profile

    def load(self) -> Any:
        """Decode at 1 / 2**reduce, rounded up as OpenJPEG rounds.

        Pillow rounds to the nearest instead, and then refuses what OpenJPEG gives it.
        """
        if self.tile and self._reduce:
            power = 1 << self._reduce
            width, height = self.size
            self._size = -(-width // power) * power, -(-height // power) * power
        return super().load()


class _Tiff(TiffImageFile):
    """Pixels as they are stored. Pillow's own turns the page upright after decoding all of it."""

    def _open(self) -> None:
        super()._open()
        self._size = self._tile_size

    def load_prepare(self) -> None:
        if self._im is None:
            self.im = Image.new(self.mode, self._tile_size).im
        ImageFile.ImageFile.load_prepare(self)

    def load_end(self) -> None:
        pass


def _tiff(file: IO[bytes], name: str) -> ImageFile.ImageFile:
    """By Pillow, or by the extra `[tiff]` where that does better."""
    image: _Tiff | None = None
    try:
        image = _Tiff(file, name)
    except SyntaxError as fault:
        if str(fault) != "unknown pixel mode":
            raise
    return DeepTiff(file, name) if tiffdeep.wanted(image) or image is None else image


_OPENERS: dict[str, Callable[[IO[bytes], str], ImageFile.ImageFile]] = {
    "avif": AvifImageFile,
    "bmp": BmpImageFile,
    "gif": GifImageFile,
    "jp2": Jpeg2000,
    "jpeg": _Jpeg,
    "png": DeepPng,
    "ppm": PpmImageFile,
    "tiff": _tiff,
    "webp": WebPImageFile,
}


def sniff(head: bytes) -> str | None:
    """The short name of the format that a file with these first bytes has; None: unknown."""
    for signature, name in _SIGNATURES:
        if head.startswith(signature):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:8] == b"ftyp":
        size = min(int.from_bytes(head[:4], "big"), len(head))
        brands = {head[8:12], *(head[at : at + 4] for at in range(16, size - 3, 4))}
        if brands & _AVIF_BRANDS:
            return "avif"
        if brands & _HEIF_BRANDS:
            return "HEIF"
    return None


def readable(head: bytes) -> str:
    """As `sniff`, for what can be opened here; OriginFailed for anything else."""
    name = sniff(head)
    if name is None:
        raise NoImage("What the origin sent is no image that this server knows.")
    if name not in _OPENERS:
        raise OriginFailed(f"The origin sent a {name} file, which this server cannot read.")
    return name


def opened(
    file: Path | IO[bytes], max_pixels: int | None = None, close: bool = False
) -> ImageFile.ImageFile:
    """Read the header. Size and pixels are as stored, whatever the orientation says.

    A file given by its path is closed with the image, another if `close` is set. OriginFailed
    for what is no image, is not allowed, is broken or has more than `max_pixels`.
    """
    if isinstance(file, str | os.PathLike):
        own = open_file(file)
    elif close:
        own = file
    else:
        return _opened(file, max_pixels)
    try:
        image = _opened(own, max_pixels)
    except BaseException:
        own.close()
        raise
    image._exclusive_fp = True
    return image


def _opened(file: IO[bytes], max_pixels: int | None) -> ImageFile.ImageFile:
    file.seek(0)
    return open_as(readable(file.read(HEAD)), file, max_pixels)


def open_as(name: str, file: IO[bytes], max_pixels: int | None) -> ImageFile.ImageFile:
    """As `opened`, for a file that is known to be of the format `name`."""
    file.seek(0)
    with decoding():
        if name == "webp":  # opening it allocates the canvas: look before
            header = webp.read_header(file)
            limit(header.width, header.height, max_pixels)
            file.seek(0)
        # Without a file name Pillow does not map the file: no SIGBUS when it is cut off meanwhile.
        image = _OPENERS[name](file, "")
        if name == "jpeg" and not image.tile:
            raise SyntaxError("no pixels behind the header")
    limit(*image.size, max_pixels)
    return image


def open_file(path: Path) -> IO[bytes]:
    try:
        return open(path, "rb")
    except OSError as cause:
        raise OriginFailed("The source image cannot be read.", str(cause)) from cause


def limit(width: int, height: int, max_pixels: int | None) -> None:
    """OriginFailed for more pixels than that."""
    if max_pixels is not None and width * height > max_pixels:
        raise OriginFailed("The source image is too large for this server.", f"{width}x{height}")


@contextlib.contextmanager
def decoding() -> Iterator[None]:
    """Whatever a codec throws at broken data becomes OriginFailed."""
    try:
        yield
    except ProxyError:
        raise
    except Exception as cause:
        raise NoImage(NO_IMAGE, repr(cause)) from cause
