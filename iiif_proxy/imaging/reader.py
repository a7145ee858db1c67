"""Source files: what their header says, and any region of them, decoded no finer than needed."""

import os
from typing import IO, Any, BinaryIO, Literal, cast, overload

from PIL import Image, ImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile

from iiif_proxy.errors import OriginFailed
from iiif_proxy.iiif.model import Box, ImageInfo
from iiif_proxy.imaging import jpeg2000, webp
from iiif_proxy.imaging.color import to_srgb
from iiif_proxy.imaging.formats import (
    HEAD,
    MAX_PIXELS,
    decoding,
    limit,
    open_image,
    readable,
    sniff,
)
from iiif_proxy.imaging.modes import GRAY, working
from iiif_proxy.imaging.orientation import (
    as_stored,
    orientation_in,
    orientation_of,
    upright,
    upright_size,
)
from iiif_proxy.imaging.pixels import bare, cut, padded
from iiif_proxy.imaging.resample import Edges, on_grid, resample

Path = str | os.PathLike[str]
# Reductions that libjpeg decodes at.
_DCT_SCALES = (8, 4, 2)


@overload
def probe(file: Path | BinaryIO, *, max_pixels: int = ..., whole: Literal[True] = ...) -> ImageInfo:
    ...


@overload
def probe(file: Path | BinaryIO, *, max_pixels: int = ..., whole: bool) -> ImageInfo | None: ...


def probe(
    file: Path | BinaryIO, *, max_pixels: int = MAX_PIXELS, whole: bool = True
) -> ImageInfo | None:
    """What the header says, upright; nothing is decoded. OriginFailed if it is no good.

    `whole=False` is for a file that is still arriving: None then means that more of it is needed.
    JPEG, PNG, GIF, JPEG 2000, BMP and PNM are known from their first bytes, WebP too unless it
    has EXIF (which stands at its end); TIFF and AVIF only when they are whole.
    """
    if isinstance(file, str | os.PathLike):
        with _opened(file) as opened:
            return _probe(opened, max_pixels, whole)
    return _probe(file, max_pixels, whole)


def _probe(file: IO[bytes], max_pixels: int, whole: bool) -> ImageInfo | None:
    file.seek(0)
    head = file.read(HEAD)
    if not whole and len(head) < HEAD and sniff(head) is None:
        return None
    name = readable(head)
    if not whole and name in ("tif", "avif"):
        return None
    if name == "webp":
        return _probe_webp(file, max_pixels, whole)
    watched = _Watched(file)
    try:
        image = open_image(cast("IO[bytes]", watched), max_pixels)
    except OriginFailed:
        if watched.ended and not whole:
            return None
        raise
    if watched.ended and not whole:
        return None
    width, height = upright_size(image.size, orientation_of(image))
    return ImageInfo(
        width=width,
        height=height,
        format=name,
        gray=image.mode in GRAY,
        bilevel=image.mode == "1",
        alpha=image.has_transparency_data,
    )


def _probe_webp(file: IO[bytes], max_pixels: int, whole: bool) -> ImageInfo | None:
    file.seek(0)
    try:
        with decoding():
            header = webp.read_header(file)
    except OriginFailed as refused:
        if not whole and isinstance(refused.__cause__, EOFError):
            return None
        raise
    limit(header.width, header.height, max_pixels)
    if not header.complete and not whole:
        return None
    size = upright_size((header.width, header.height), orientation_in(header.exif))
    return ImageInfo(*size, format="webp", alpha=header.alpha)


class Reader:
    """A source file. Every `read` opens it anew: safe to share among threads."""

    def __init__(self, path: Path, info: ImageInfo, *, max_pixels: int = MAX_PIXELS) -> None:
        """`info` is what `probe` said of the file (or of its first bytes)."""
        self.info = info
        self._path = path
        self._max_pixels = max_pixels

    def read(self, box: Box, width: int, height: int) -> Image.Image:
        """A region of the upright image at exactly `width` x `height`, in sRGB: L, LA, RGB or RGBA.

        JPEG and JPEG 2000 are decoded at the coarsest scale that still has the pixels asked for,
        then Lanczos. Colours are converted last, on the fewest pixels; gray stays gray.
        OriginFailed for what cannot be decoded, is too large or is not what `info` says.
        """
        limit(self.info.width, self.info.height, self._max_pixels)
        with _opened(self._path) as file:
            image = open_image(file, self._max_pixels)
            orientation = orientation_of(image)
            if upright_size(image.size, orientation) != (self.info.width, self.info.height):
                raise OriginFailed("The source image changed while it was read.")
            region, width, height = as_stored(box, width, height, orientation, image.size)
            convert = working(image)
            profile = image.info.get("icc_profile")
            if isinstance(image, Jpeg2KImageFile):
                facts = jpeg2000.read_facts(file)
                profile = facts.icc_profile
                wanted = _halvings(region, width, height, facts.halvings)
                image, edges = _decode_jpeg2000(image, file, region, wanted)
            else:
                scale = 1
                if isinstance(image, JpegImageFile):
                    scale = _dct_scale(region, width, height)
                    image.draft(None, (image.width // scale, image.height // scale))
                with decoding():
                    image.load()
                edges = _edges(region, scale, image)
                if on_grid(region, width, height, scale):
                    left, top = int(edges[0]), int(edges[1])
                    edges = (left, top, left + width, top + height)
            pixels = resample(image, edges, width, height, convert)
        return bare(to_srgb(bare(upright(pixels, orientation)), profile))

    def cost(self, box: Box, width: int, height: int) -> int:
        """How many pixels `read` decodes for this, to reckon with before: it may open the file."""
        power = 1
        if self.info.format == "jpg":
            power = _dct_scale(box, width, height)
        elif self.info.format == "jp2":
            with _opened(self._path) as file:
                most = jpeg2000.read_facts(file).halvings
            power = 1 << _halvings(box, width, height, most)
        return -(-self.info.width // power) * -(-self.info.height // power)


def _dct_scale(box: Box, width: int, height: int) -> int:
    for scale in _DCT_SCALES:
        if on_grid(box, width, height, scale) or _covers(box, width, height, scale):
            return scale
    return 1


def _halvings(box: Box, width: int, height: int, most: int) -> int:
    while most and not _covers(box, width, height, 1 << most):
        most -= 1
    return most


def _covers(box: Box, width: int, height: int, factor: int) -> bool:
    """Whether a box reduced by `factor` still has the pixels asked for."""
    return factor * width <= box.width and factor * height <= box.height


def _edges(box: Box, scale: int, image: Image.Image) -> Edges:
    """The box in an image whose pixels average `scale` x `scale` (the last ones maybe fewer)."""
    return (
        box.x / scale,
        box.y / scale,
        min((box.x + box.width) / scale, image.width),
        min((box.y + box.height) / scale, image.height),
    )


def _decode_jpeg2000(
    image: ImageFile.ImageFile, file: IO[bytes], box: Box, halvings: int
) -> tuple[Image.Image, Edges]:
    """Decode, reduced if possible, and say where the box lies in what came out.

    A reduced pixel is not the mean of its square: the wavelet's low pass is centred on the
    square's first pixel. So everything lies up to half a reduced pixel further to the right and
    down, and the last half pixel of the image is not there: the rim is repeated.
    """
    if halvings:
        loaded = _reduced(image, halvings)
        if loaded is not None:
            factor = 1 << halvings
            shift = 0.5 - 0.5 / factor
            corners = (box.x, box.y, box.x + box.width, box.y + box.height)
            x0, y0, x1, y1 = (corner / factor + shift for corner in corners)
            return padded(loaded, 0, 0, 1, 1), (x0, y0, x1, y1)
        image = open_image(file, image.width * image.height)
    with decoding():
        image.load()
    return image, _edges(box, 1, image)


def _reduced(image: Any, halvings: int) -> Image.Image | None:
    """None where the codec refuses, as it does when a tile of the file would vanish."""
    image.reduce = halvings
    try:
        image.load()
    except Exception:
        return None
    return cut(image, 0, 0, *image.size)


def _opened(path: Path) -> BinaryIO:
    try:
        return open(path, "rb")
    except OSError as cause:
        raise OriginFailed("The source image cannot be read.", str(cause)) from cause


class _Watched:
    """A file that remembers whether somebody wanted more of it than there was."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.ended = False

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.ended |= size < 0 or len(data) < size
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()
