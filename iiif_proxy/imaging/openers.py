"""Who opens what: Pillow's class for each format, or an extra's."""

from collections.abc import Callable
from typing import IO, Any, cast

from PIL import Image, ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.DdsImagePlugin import DdsImageFile
from PIL.FitsImagePlugin import FitsImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.IcoImagePlugin import IcoImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.MpoImagePlugin import MpoImageFile
from PIL.MspImagePlugin import MspImageFile
from PIL.PcxImagePlugin import PcxImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.PsdImagePlugin import PsdImageFile
from PIL.QoiImagePlugin import QoiImageFile
from PIL.SgiImagePlugin import SgiImageFile
from PIL.SunImagePlugin import SunImageFile
from PIL.TgaImagePlugin import TgaImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile
from PIL.XbmImagePlugin import XbmImageFile
from PIL.XpmImagePlugin import XpmImageFile

from iiif_proxy.errors import NotFound
from iiif_proxy.imaging import heif, jp2area, jpeg2000, pages, pdf, tiffdeep, webp
from iiif_proxy.imaging.deep import DeepPng
from iiif_proxy.imaging.heif import Heif
from iiif_proxy.imaging.jpegbounds import Header, Scans
from iiif_proxy.imaging.pdf import Pdf
from iiif_proxy.imaging.raw import Raw, is_raw
from iiif_proxy.imaging.reading import DEFAULT as READING
from iiif_proxy.imaging.reading import FAULTS, NO_PAGE, Clock, Reading, limit
from iiif_proxy.imaging.tiff import Tiff
from iiif_proxy.imaging.tiffdeep import DeepTiff
from iiif_proxy.ranges import OfFile

# Read at once. With Pillow's 64 KiB libjpeg falls out of its fast loop at the end of each block:
# 24 MP at 1/8 took 78.6 ms, so 71.6, with 1 MiB 70.9 (where rows then show later).
JPEG_BLOCK = 256 << 10
MOST_OF_AN_ICON = 1024
Opener = Callable[[IO[bytes], Reading], ImageFile.ImageFile]


class _Jpeg(JpegImageFile):
    """Also for MPO: its first picture. Resolution in EXIF is not looked for: that may warn."""

    seconds = READING.seconds
    _clock: Clock | None = None

    def _open(self) -> None:
        assert self.fp is not None
        file, header = self.fp, Header(self.fp)
        self.fp = cast("IO[bytes]", header)
        try:
            super()._open()
        finally:
            self.fp = file
        self.decodermaxblock = JPEG_BLOCK
        self._coded = file.tell()
        self._repeats = header.repeats(self.layers, bool(self.info.get("progressive")))
        self._counting = self.scans()

    def scans(self) -> Scans | None:
        """A counter for one decoding; None for a file of a single scan."""
        return Scans(self._coded) if self._repeats else None

    def load_read(self, read_bytes: int) -> bytes:
        assert self.fp is not None
        self._clock = self._clock or Clock(self.seconds)
        self._clock.check()
        at = self.fp.tell() if self._counting else 0
        data = super().load_read(read_bytes)
        if self._counting:
            self._counting.see(at, data)
        return data

    def _read_dpi_from_exif(self) -> None:
        pass


class _Mpo(MpoImageFile):
    """Its pages behind the first, one to be decoded."""

    _counting: Scans | None = None

    def _read_dpi_from_exif(self) -> None:
        pass

    def load_read(self, read_bytes: int) -> bytes:
        self._counting = self._counting or Scans()
        data = super().load_read(read_bytes)
        self._counting.see(0, data)
        return data


class Jpeg2000(Jpeg2KImageFile):
    """With the colour profile, and `facts.halvings`: how often it can be halved in decoding."""

    def _open(self) -> None:
        super()._open()
        assert self.fp is not None
        self.facts = facts = jpeg2000.read_facts(self.fp)
        if facts.icc_profile:
            self.info["icc_profile"] = facts.icc_profile

    @property
    def by_parts(self) -> bool:
        """Whether `part` can be used."""
        plain = self.facts.plain and self.mode in jp2area.BANDS and self._descriptor() is not None
        return plain and jp2area.library() is not None

    def _descriptor(self) -> int | None:
        try:
            return self.fp.fileno() if self.fp is not None else None
        except OSError:  # in memory
            return None

    def part(self, area: tuple[int, int, int, int], halvings: int) -> Image.Image:
        """Pixels between left, top, right, bottom of the full image, halved so often."""
        return jp2area.decoded(
            f"/dev/fd/{self._descriptor()}", self.mode, self.facts.boxed, area, halvings
        )

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

    def _setup(self) -> None:
        super()._setup()
        self._size = self._tile_size

    def load_prepare(self) -> None:
        if self._im is None:
            self.im = Image.new(self.mode, self._tile_size).im
        ImageFile.ImageFile.load_prepare(self)

    def load_end(self) -> None:
        pass


def _tiff(file: IO[bytes], reading: Reading) -> ImageFile.ImageFile:
    """A page as libtiff reads it; by the extra, if this is none of Pillow's kinds."""
    parts = OfFile(file)
    if is_raw(parts):
        return Raw(file, "")
    index = Tiff.open(parts).at(reading.page).index
    file.seek(0)
    image: _Tiff | None = None
    try:
        image = _Tiff(file, "")
        if index:
            image.seek(index)
    except FAULTS:
        image = None  # The directories are sound: it is no damage that Pillow stumbles over.
    return DeepTiff(file, "", index) if tiffdeep.wanted(image) or image is None else image


def _pillow(kind: Callable[[IO[bytes], str], ImageFile.ImageFile]) -> Opener:
    def opener(file: IO[bytes], reading: Reading) -> ImageFile.ImageFile:
        image = kind(file, "")
        if reading.page > 1:
            pages.turn_to(image, reading.page, reading.max_pixels)
        return image

    return opener


def _jpeg(file: IO[bytes], reading: Reading) -> ImageFile.ImageFile:
    image: ImageFile.ImageFile = _Jpeg(file, "")
    image.seconds = reading.seconds  # type: ignore[attr-defined]
    if reading.page > 1:
        if "mp" not in image.info or _is_gain_map(image):
            raise NotFound(NO_PAGE)
        file.seek(0)
        image = _Mpo(file, "")
        pages.turn_to(image, reading.page, reading.max_pixels)
    if not image.tile:
        raise SyntaxError("no pixels behind the header")
    return image


def _webp(file: IO[bytes], reading: Reading) -> ImageFile.ImageFile:
    header = webp.read_header(file)  # opening it allocates the canvas: look before
    limit(header.width, header.height, reading.max_pixels)
    file.seek(0)
    return _pillow(WebPImageFile)(file, reading)


def _ico(file: IO[bytes], reading: Reading) -> ImageFile.ImageFile:
    """Opening it decodes it, a PNG inside of any size: look before."""
    head = file.read(6)
    for _ in range(int.from_bytes(head[4:6], "little")):
        entry = file.read(16)
        back, offset = file.tell(), int.from_bytes(entry[12:16], "little")
        file.seek(offset)
        inside = file.read(24)
        if inside.startswith(b"\x89PNG") and max(inside[16:18] + inside[20:22]) > 0:
            raise SyntaxError("an icon of more than 65535 pixels a side")
        sides = (int.from_bytes(inside[18:20], "big"), int.from_bytes(inside[22:24], "big"))
        if inside.startswith(b"\x89PNG") and max(sides) > MOST_OF_AN_ICON:
            raise SyntaxError(f"an icon of {sides}")
        file.seek(back)
    file.seek(0)
    return IcoImageFile(file, "")


OPENERS: dict[str, Opener] = {
    "avif": _pillow(AvifImageFile),
    "bmp": _pillow(BmpImageFile),
    "dds": _pillow(DdsImageFile),
    "fits": _pillow(FitsImageFile),
    "gif": _pillow(GifImageFile),
    "heif": lambda file, reading: Heif(file, "", reading.page),
    "ico": _ico,
    "jp2": _pillow(Jpeg2000),
    "jpeg": _jpeg,
    "msp": _pillow(MspImageFile),
    "pcx": _pillow(PcxImageFile),
    "pdf": lambda file, reading: Pdf(file, "", reading.page, reading.dpi),
    "png": _pillow(DeepPng),
    "ppm": _pillow(PpmImageFile),
    "psd": _pillow(PsdImageFile),
    "qoi": _pillow(QoiImageFile),
    "raw": lambda file, reading: Raw(file, ""),
    "sgi": _pillow(SgiImageFile),
    "sun": _pillow(SunImageFile),
    "tga": _pillow(TgaImageFile),
    "tiff": _tiff,
    "webp": _webp,
    "xbm": _pillow(XbmImageFile),
    "xpm": _pillow(XpmImageFile),
}


def count(name: str, file: IO[bytes], reading: Reading) -> int:
    """How many pages a file of that format has."""
    file.seek(0)
    if name in ("pdf", "heif"):
        return pdf.count(file) if name == "pdf" else heif.count(file)
    if name == "tiff":
        parts = OfFile(file)
        return 1 if is_raw(parts) else len(Tiff.open(parts).pages)
    image = OPENERS[name](file, reading)
    if name == "jpeg":
        if "mp" not in image.info or _is_gain_map(image):
            return 1
        file.seek(0)
        image = _Mpo(file, "")
    return len(pages.places_of(image))


def _is_gain_map(image: Any) -> bool:
    """The second picture of an Ultra HDR JPEG is how bright the first is, and no page."""
    return any(b"hdrgm:Version=" in content for _, content in image.applist)
