"""The `[tiff]` extra: kinds of TIFF that Pillow reads wrongly or not at all, decoded by tifffile.

Float and 64-bit samples of any number, gray with alpha in 16 bits, CMYK with alpha, ICC and 16-bit
Lab, planes of 16 bits, alpha behind other bands, and 16-bit colours whose profile has too few of
its 256 steps in the dark. Other TIFF stay with Pillow, which is faster.
"""

import importlib
import importlib.util
from typing import IO, TYPE_CHECKING, Any

from PIL import Image, ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from iiif_proxy.errors import OriginFailed
from iiif_proxy.imaging import deep, tiffbounds, tiffextra
from iiif_proxy.imaging.color import MAX_PROFILE, coarse, converts, to_srgb
from iiif_proxy.imaging.modes import span_of
from iiif_proxy.imaging.optional import missing

if TYPE_CHECKING:
    import numpy

    Samples = numpy.ndarray[Any, Any]

_BITS, _ORIENTATION, _PLANAR, _EXTRA = 258, 274, 284, 338
_SMALLEST, _LARGEST, _PROFILE = 340, 341, 34675
_RGB, _CMYK, _CIELAB, _ICCLAB = 2, 5, 8, 9
# photometric -> mode, samples of colour
_SPACES = {
    0: ("L", 1), 1: ("L", 1), _RGB: ("RGB", 3), _CMYK: ("CMYK", 4),
    _CIELAB: ("LAB", 3), _ICCLAB: ("LAB", 3),
}  # fmt: skip
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_MOST_SAMPLES = 32
# Of samples in memory at once; Pillow's own way takes a tenth of that.
_MOST_BYTES = 4 << 30


def wanted(image: TiffImageFile | None) -> bool:
    """Whether what Pillow has opened (None: could not) is better read by this.

    OriginFailed if it cannot be read without.
    """
    if image is not None and not _is_misread(image):
        return tiffextra.installed() and (_is_coarse(image) or _is_weighed(image))
    if not tiffextra.installed():
        raise missing("tiff")
    return True


def _deep(image: TiffImageFile) -> bool:
    bits = image.tag_v2.get(_BITS, (1,))
    return max(bits) > 8 and len(bits) > 1


def _is_misread(image: TiffImageFile) -> bool:
    """Planes of 16 bits: Pillow makes colours of them that nobody has seen."""
    return _deep(image) and image.tag_v2.get(_PLANAR) == 2


def _is_weighed(image: TiffImageFile) -> bool:
    """Premultiplied colours, of which Pillow divides the upper eight bits."""
    extra = image.tag_v2.get(_EXTRA, ())
    return _deep(image) and 1 in extra


def _is_coarse(image: TiffImageFile) -> bool:
    profile = image.info.get("icc_profile")
    return bool(_deep(image) and image.mode in ("RGB", "RGBA") and profile) and coarse(
        profile, "RGB"
    )


class DeepTiff(ImageFile.ImageFile):
    """One directory of a TIFF's chain, from 0.

    Its `mode` is that of 8-bit samples: L, LA, RGB(A), CMYK or LAB.

    As with Pillow's: `tag_v2` has the orientation, and the pixels are as they are stored.
    """

    format = "TIFF"

    def __init__(self, file: IO[bytes], name: str, index: int = 0) -> None:
        self._index = index
        super().__init__(file, name)

    def _open(self) -> None:
        tifffile = importlib.import_module("tifffile")
        assert self.fp is not None
        self.fp.seek(0)
        self._file = tifffile.TiffFile(_Unclosed(self.fp))
        page = self._page = self._file.pages[self._index]
        space = _SPACES.get(int(page.photometric))
        if space is None or not self._is_bounded():
            raise SyntaxError(f"{page.photometric} {page.compression}")
        base, colours = space
        samples, bits = int(page.samplesperpixel), int(page.bitspersample)
        size = page.imagewidth, page.imagelength
        if not colours <= samples <= _MOST_SAMPLES or page.imagedepth != 1:
            raise SyntaxError(f"{samples} samples of {page.photometric}")
        if int(page.sampleformat) not in (_UNSIGNED, _SIGNED, _FLOAT) or not 1 <= bits <= 64:
            raise SyntaxError(f"{bits} bits of {page.sampleformat}")
        if size[0] * size[1] * samples * max(bits, 8) // 8 > _MOST_BYTES:
            raise OriginFailed("The source image is too large for this server.", f"{size}")
        self._size = size
        self._base, self._colours = base, colours
        self._alpha = self._find_alpha(samples)
        # Of ink and alpha Pillow has no mode; Lab is shown without its alpha.
        over = {"CMYK": "RGBA", "LAB": "LAB"}.get(base, f"{base}A")
        self._mode = over if self._alpha is not None else base
        profile = page.tags.valueof(_PROFILE)
        self._profile = bytes(profile) if profile and len(profile) <= MAX_PROFILE else None
        # Ink with alpha is shown in RGB, whatever is asked.
        if self._profile and not (base == "CMYK" and self._alpha is not None):
            self.info["icc_profile"] = self._profile
        self._managed, self._cmyk = False, b""
        self.tag_v2 = {_ORIENTATION: int(page.tags.valueof(_ORIENTATION, default=1) or 1)}

    def _is_bounded(self) -> bool:
        """Whether no tile can become more than the directory says."""
        page = self._page
        if int(page.compression) in tiffextra.CODECS:
            return True
        assert self.fp is not None
        tile = (page.tilewidth or page.imagewidth, page.tilelength or page.rowsperstrip)
        known = int(page.compression) in tiffbounds.CODECS
        return known and tiffbounds.sane(self.fp, int(page.compression), tile, page.dataoffsets)

    def _find_alpha(self, samples: int) -> int | None:
        """The sample that says how opaque the others are."""
        extra = [int(kind) for kind in self._page.extrasamples]
        if not extra and self._base == "RGB" and samples == 4:
            return 3  # as Pillow reads it
        found = (i for i, kind in enumerate(extra) if kind in (1, 2))
        index = next(found, None)
        return None if index is None else self._colours + index

    def srgb_by(self, profile: bytes | None, cmyk: bytes) -> bool:
        """Bring the colours to sRGB when they are loaded, if that can be done with all bits.

        `cmyk`: the profile of ink that has none. Whether it will be done.
        """
        self._cmyk = cmyk
        whole = self._integers and int(self._page.bitspersample) == 16
        if whole and self._base == "RGB" and profile and converts(profile, "RGB"):
            self._managed = True
        return self._managed

    @property
    def _integers(self) -> bool:
        return int(self._page.sampleformat) == _UNSIGNED

    def load(self) -> Any:
        if self._im is None:
            samples = self._page.asarray()
            if self._page.samplesperpixel == 1:
                samples = samples.reshape(self.height, self.width, 1)
            elif int(self._page.planarconfig) == 2:
                shape = (self._page.samplesperpixel, self.height, self.width)
                samples = samples.reshape(shape).transpose(1, 2, 0)
            else:
                samples = samples.reshape(self.height, self.width, -1)
            self.im = self._image(samples).im
        return Image.Image.load(self)

    def _image(self, samples: "Samples") -> Image.Image:
        """A band of rows after the other: in between, numbers take eight times the room."""
        span = self._span(samples[..., : self._colours])
        canvas = Image.new(self._mode, self._size)
        for top in range(0, self.height, deep.ROWS):
            canvas.paste(self._band(samples[top : top + deep.ROWS], span), (0, top))
        return canvas

    def _band(self, samples: "Samples", span: tuple[float, float]) -> Image.Image:
        import numpy

        colours = samples[..., : self._colours]
        if self._is_weighed:
            assert self._alpha is not None
            colours = self._unweighed(colours, samples[..., self._alpha, None])
        if self._managed:
            ready = deep.to_srgb(colours, self._profile or b"")
        elif self._base == "LAB":
            ready = self._lab(colours)
        else:
            ready = _eight(colours, span)
        if int(self._page.photometric) == 0:
            ready = 255 - ready
        size = samples.shape[1], samples.shape[0]
        image = Image.frombytes(self._base, size, ready.tobytes())
        if self._alpha is None or self._base == "LAB":
            return image
        if self._base == "CMYK":
            image = to_srgb(image, self._profile, self._cmyk)
        alpha = _eight(samples[..., self._alpha], self._span_of_alpha())
        image.putalpha(Image.fromarray(numpy.ascontiguousarray(alpha)))
        return image

    @property
    def _is_weighed(self) -> bool:
        """Premultiplied: associated alpha."""
        extra = [int(kind) for kind in self._page.extrasamples]
        return bool(extra) and self._alpha is not None and extra[self._alpha - self._colours] == 1

    def _unweighed(self, colours: "Samples", alpha: "Samples") -> "Samples":
        import numpy

        low, high = self._span_of_alpha()
        part = numpy.maximum((alpha.astype(numpy.float64) - low) / (high - low), 1e-9)
        found = colours / part
        return found.clip(0, high).round() if self._integers else found

    def _span_of_alpha(self) -> tuple[float, float]:
        if int(self._page.sampleformat) == _FLOAT:
            return 0.0, 1.0
        return 0.0, float((1 << (self._page.bitspersample - (not self._integers))) - 1)

    def _span(self, colours: "Samples") -> tuple[float, float]:
        """As `modes.working` has it for gray: up to 16 bits all, else tags or what there is."""
        bits = int(self._page.bitspersample)
        if self._integers and bits <= 16:
            return 0.0, float((1 << bits) - 1)
        tags = self._page.tags
        declared = span_of(tags.valueof(_SMALLEST), tags.valueof(_LARGEST))
        if declared is not None:
            return declared
        import numpy

        known = colours[numpy.isfinite(colours)] if colours.dtype.kind == "f" else colours
        return (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)

    def _lab(self, colours: "Samples") -> "Samples":
        """As Pillow's raw mode LAB has it: a and b signed (TIFF 6.0, 23; Adobe's ICC L*a*b*)."""
        import numpy

        signed = int(self._page.photometric) == _CIELAB
        if self._page.bitspersample == 8:
            return colours if signed else colours ^ numpy.array([0, 128, 128], numpy.uint8)
        if self._page.bitspersample != 16 or not self._integers:
            raise OriginFailed("The source image has a kind of Lab that this server cannot read.")
        light = colours[..., :1] / (65535 if signed else 65280) * 255
        around = colours[..., 1:].astype(numpy.int32)
        if not signed:
            around = around - 32768
        else:
            around = numpy.where(around > 32767, around - 65536, around)
        both = numpy.rint(around / 256).clip(-128, 127).astype(numpy.int8).view(numpy.uint8)
        return numpy.concatenate([light.clip(0, 255).round().astype(numpy.uint8), both], -1)


def _eight(samples: "Samples", span: tuple[float, float]) -> "Samples":
    """Scaled to 8 bits and rounded; what is no number is black."""
    import numpy

    low, high = span
    if samples.dtype == numpy.uint8 and span == (0.0, 255.0):
        return samples
    scale = 255 / (high - low) if high != low else 0.0
    scaled = (samples.astype(numpy.float64) - low) * scale + 0.5
    return numpy.nan_to_num(scaled, nan=0).clip(0, 255).astype(numpy.uint8)


class _Unclosed:
    """A file that tifffile may read, but that is not its to close."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.name = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def close(self) -> None:
        pass
