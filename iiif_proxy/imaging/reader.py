"""The only door to pixels: a header read, and a region of the upright image at a size."""

import contextlib
import os
from collections.abc import Callable
from dataclasses import asdict
from typing import IO, BinaryIO, Literal, cast, overload

from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from iiif_proxy.errors import OriginFailed
from iiif_proxy.iiif.model import Box, ImageInfo
from iiif_proxy.imaging import webp
from iiif_proxy.imaging.color import finished, prepared
from iiif_proxy.imaging.formats import open_as, opened, readable
from iiif_proxy.imaging.later import ByRegion
from iiif_proxy.imaging.look import DEFAULT, Look
from iiif_proxy.imaging.modes import is_gray
from iiif_proxy.imaging.openers import Jpeg2000
from iiif_proxy.imaging.orientation import Stored, orientation_in, orientation_of, upright
from iiif_proxy.imaging.pixels import padded
from iiif_proxy.imaging.raw import Raw
from iiif_proxy.imaging.reading import DEFAULT as READING
from iiif_proxy.imaging.reading import (
    FAULTS,
    MAX_PIXELS,
    Path,
    Reading,
    decoding,
    limit,
    load,
    open_file,
)
from iiif_proxy.imaging.resample import Edges, needed, on_grid, resample
from iiif_proxy.imaging.signatures import HEAD, sniff
from iiif_proxy.imaging.words import heard, of_blocks

# Reductions that libjpeg decodes at.
_DCT_SCALES = (8, 4, 2)
# Of a JPEG 2000, by default of every encoder.
_USUAL_HALVINGS = 5
# Known before all of the file has come; of others the directory, or all, may stand at the end.
_EARLY = ("bmp", "gif", "jp2", "jpeg", "png", "ppm", "webp")
USUAL = Reading(MAX_PIXELS)
# Reads that a header may take: a PNM of blanks, which is read byte by byte, held a thread for ever.
_READS = 100_000


@overload
def probe(
    file: Path | BinaryIO, reading: Reading = ..., *, whole: Literal[True] = ...
) -> ImageInfo: ...


@overload
def probe(file: Path | BinaryIO, reading: Reading = ..., *, whole: bool) -> ImageInfo | None: ...


def probe(
    file: Path | BinaryIO, reading: Reading = USUAL, *, whole: bool = True
) -> ImageInfo | None:
    """What the header says, upright; nothing is decoded. OriginFailed if it is no good.

    `whole=False` is for a file that is still arriving: None then means that more of it is needed.
    JPEG, PNG, GIF, JPEG 2000, BMP and PNM are known from their first bytes, WebP too unless it
    has EXIF (which stands at its end); all others only when they are whole.
    """
    if isinstance(file, str | os.PathLike):
        with open_file(file) as own:
            return _probe(own, reading, whole)
    return _probe(file, reading, whole)


def _probe(file: IO[bytes], reading: Reading, whole: bool) -> ImageInfo | None:
    file.seek(0)
    head = file.read(HEAD)
    if not whole and len(head) < HEAD and sniff(head) is None:
        return None
    name = readable(head)
    if name not in _EARLY:  # opened by libraries that want a real file
        return _info(file, name, reading) if whole else None
    watched = _Watched(file)
    try:
        info = _info(cast("IO[bytes]", watched), name, reading)
    except OriginFailed:
        if watched.ended and not whole:
            return None
        raise
    return None if watched.ended and not whole else info


def _info(file: IO[bytes], name: str, reading: Reading) -> ImageInfo:
    if name == "webp" and reading.page == 1:
        file.seek(0)
        with decoding():
            header = webp.read_header(file)
        limit(header.width, header.height, reading.max_pixels)
        stored = Stored(orientation_in(header.exif), header.width, header.height)
        words = asdict(of_blocks(header.exif, header.xmp))
        return ImageInfo(*stored.upright, format=name, alpha=header.alpha, **words)
    image = open_as(name, file, reading)
    stored = Stored(orientation_of(image), *image.size)
    return ImageInfo(
        *stored.upright,
        format="raw" if isinstance(image, Raw) else name,
        gray=is_gray(image),
        bilevel=image.mode == "1",
        alpha=image.has_transparency_data,
        progressive=name == "jpeg" and "progressive" in image.info,
        **asdict(heard(image)),
    )


class Reader:
    """A source file. Every `read` opens it anew: safe to share among threads."""

    def __init__(
        self,
        source: Path | Callable[[], IO[bytes]],
        info: ImageInfo,
        *,
        reading: Reading = READING,
        look: Look = DEFAULT,
    ) -> None:
        """`source`: a path, or what opens a file (that may still be arriving).

        `info` is what `probe` said of the file, or of its first bytes.
        """
        self.info = info
        self._source = source
        self._reading = reading
        self._look = look

    def read(self, box: Box, width: int, height: int) -> Image.Image:
        """A region of the upright image at exactly `width` x `height`: L, LA, RGB or RGBA.

        It is sRGB, unless the look keeps profiles (`color.finished`). JPEG and JPEG 2000 are
        decoded at the coarsest scale that still has the pixels asked for, then scaled. Colours
        are converted last, on the fewest pixels; gray stays gray.
        OriginFailed for what cannot be decoded, is too large or is not what `info` says.
        """
        limit(self.info.width, self.info.height, self._reading.max_pixels)
        with self._opened() as image:
            orientation = orientation_of(image)
            stored = Stored(orientation, *image.size)
            drawn = isinstance(image, ByRegion)
            if stored.upright != (self.info.width, self.info.height) and not drawn:
                raise OriginFailed("The source image changed while it was read.")
            region, (width, height) = stored.box(box), stored.size(width, height)
            scaling = self._look.scaling
            convert, profile, _ = prepared(image, self._look)
            if isinstance(image, ByRegion):
                with decoding():
                    decoded, edges = image.region(
                        (self.info.width, self.info.height), box, width, height
                    )
            elif isinstance(image, Jpeg2000):
                decoded, edges = self._decode_jpeg2000(image, region, width, height)
            else:
                decoded, edges = self._decode(image, region, width, height)
            scaled = resample(decoded, edges, width, height, convert, scaling)
            return finished(upright(scaled, orientation), profile, self._look)

    def _opened(self) -> ImageFile.ImageFile:
        return opened(
            self._source() if callable(self._source) else self._source,
            self._reading,
            close=True,
        )

    def cost(self, box: Box, width: int, height: int, by_parts: bool = False) -> int:
        """The pixels that `read` holds for this: those decoded and those answered.

        Known without the file; a JPEG 2000 is taken to have the usual number of resolutions, and
        `by_parts` says whether no more than the box of it is decoded.
        """
        shrink = 1
        if self.info.format == "pdf":
            return 2 * width * height
        if self._look.scaling.linear:
            pass
        elif self.info.format == "jpeg":
            shrink = _dct_scale(box, width, height)
        elif self.info.format == "jp2":
            shrink = 1 << _halvings(box, width, height, _USUAL_HALVINGS)
        read = (box.width, box.height) if by_parts else (self.info.width, self.info.height)
        # libjpeg keeps its coefficients, 3 to 6 bytes a pixel.
        held = self.info.width * self.info.height if self.info.progressive else 0
        return held + -(-read[0] // shrink) * -(-read[1] // shrink) + width * height

    def _decode(
        self, image: ImageFile.ImageFile, box: Box, width: int, height: int
    ) -> tuple[Image.Image, Edges]:
        """Decode, a JPEG by its DCT scales, and say where the box lies in what came out."""
        scale = 1
        if isinstance(image, JpegImageFile) and not self._look.scaling.linear:
            scale = _dct_scale(box, width, height)
            if scale > 1:
                # Of sizes between w/s and w/2s Pillow takes exactly s.
                image.draft(None, (image.width // scale, image.height // scale))
        load(image, self._reading)
        return image, _edges(box, scale, image)

    def _decode_jpeg2000(
        self, image: Jpeg2000, box: Box, width: int, height: int
    ) -> tuple[Image.Image, Edges]:
        """Decode, reduced if possible, and say where the box lies in what came out.

        A reduced pixel is not the mean of its square: the wavelet's low pass is centred on the
        square's first pixel. So all lies up to half a reduced pixel further to the right and
        down, and the last half pixel is not there at all: the rim is repeated.
        """
        linear = self._look.scaling.linear
        halvings = 0 if linear else _halvings(box, width, height, image.facts.halvings)
        factor = 1 << halvings
        shift = 0.5 - 0.5 / factor
        corners = (box.x, box.y, box.x + box.width, box.y + box.height)
        x0, y0, x1, y1 = (corner / factor + shift for corner in corners)
        rim = 1 if halvings else 0
        if image.by_parts and not self._reading.partial:
            size = tuple(-(-side // factor) for side in image.size)
            rect = needed((x0, y0, x1, y1), width, height, (size[0] + rim, size[1] + rim))
            x, y, right, bottom = rect
            if 2 * (right - x) * (bottom - y) < size[0] * size[1]:
                end = min(right * factor, image.width), min(bottom * factor, image.height)
                with contextlib.suppress(*FAULTS):  # what is wrong with it is found out below
                    part = image.part((x * factor, y * factor, *end), halvings)
                    return padded(part, 0, 0, rim, rim), (x0 - x, y0 - y, x1 - x, y1 - y)
        if not halvings:
            load(image, self._reading)
            return image, _edges(box, 1, image)
        image.reduce = halvings
        try:
            image.load()
        except FAULTS:  # also where a tile of the file would vanish: try it whole
            with self._opened() as again:
                load(again, self._reading)
                return again, _edges(box, 1, again)
        return padded(image, 0, 0, 1, 1), (x0, y0, x1, y1)


def _dct_scale(box: Box, width: int, height: int) -> int:
    """Sizes that were rounded up (of tiles at the edge, of the whole) belong to their scale too."""
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


class _Watched:
    """A file that remembers whether somebody wanted more of it than there was."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.ended = False
        self._left = _READS

    def read(self, size: int = -1) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise OSError("the header does not end")
        data = self._file.read(size)
        self.ended |= size < 0 or len(data) < size
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()
