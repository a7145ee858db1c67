"""Which files may be opened: told by their first bytes, opened by Pillow's class for just that.

Image.open is not used. It measures every image by Image.MAX_IMAGE_PIXELS, a global of the whole
process (89 megapixels, and an exception from 179) that a wrapped application may have set to
anything; it would have to be changed for all threads. Here `max_pixels` is an argument.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import IO, Any

from PIL import Image, ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from iiif_proxy.errors import OriginFailed, ProxyError
from iiif_proxy.imaging import webp

MAX_PIXELS = 500_000_000
# So many bytes tell every format here.
HEAD = 64

_SIGNATURES = (
    (b"\xff\xd8\xff", "jpg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"II*\0", "tif"),
    (b"MM\0*", "tif"),
    (b"II+\0", "tif"),
    (b"MM\0+", "tif"),
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

    def _read_dpi_from_exif(self) -> None:
        pass


class _Jpeg2K(Jpeg2KImageFile):
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
            self.im = Image.core.new(self.mode, self._tile_size)
        ImageFile.ImageFile.load_prepare(self)

    def load_end(self) -> None:
        pass


_OPENERS: dict[str, Callable[[IO[bytes], str], ImageFile.ImageFile]] = {
    "avif": AvifImageFile,
    "bmp": BmpImageFile,
    "gif": GifImageFile,
    "jp2": _Jpeg2K,
    "jpg": _Jpeg,
    "png": PngImageFile,
    "ppm": PpmImageFile,
    "tif": _Tiff,
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
        raise OriginFailed("What the origin sent is no image that this server knows.")
    if name not in _OPENERS:
        raise OriginFailed(f"The origin sent a {name} file, which this server cannot read.")
    return name


def open_image(file: IO[bytes], max_pixels: int = MAX_PIXELS) -> ImageFile.ImageFile:
    """Read the header. `size` and pixels are as stored, whatever the orientation says.

    The file stays open, and belongs to the caller. OriginFailed for what is no image, is not
    allowed, is broken or has more than `max_pixels`.
    """
    file.seek(0)
    name = readable(file.read(HEAD))
    file.seek(0)
    with decoding():
        if name == "webp":  # opening it allocates the canvas: look before
            header = webp.read_header(file)
            limit(header.width, header.height, max_pixels)
            file.seek(0)
        # Without a file name Pillow does not map the file: no SIGBUS when it is cut off meanwhile.
        image = _OPENERS[name](file, "")
        if not image.tile:
            raise SyntaxError("no pixels behind the header")
    limit(*image.size, max_pixels)
    return image


def limit(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise OriginFailed("The source image is too large for this server.", f"{width}x{height}")


@contextlib.contextmanager
def decoding() -> Iterator[None]:
    """Whatever a codec throws at broken data becomes OriginFailed."""
    try:
        yield
    except ProxyError:
        raise
    except Exception as cause:
        raise OriginFailed(
            "What the origin sent is no image that can be decoded.", repr(cause)
        ) from cause
