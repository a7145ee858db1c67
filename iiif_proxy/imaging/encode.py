"""Writing: formats, what they can hold, and how they are set."""

import functools
import hashlib
import io
from dataclasses import astuple, dataclass
from typing import Any, BinaryIO

from PIL import Image, features
from PIL.PngImagePlugin import PngInfo

from iiif_proxy.errors import InvalidRequest, NotSupported, ProxyError
from iiif_proxy.imaging.palette import indexed
from iiif_proxy.imaging.pixels import bare, flatten
from iiif_proxy.imaging.words import ARTIST, COPYRIGHT, SILENT, Words, exif, xmp

WHITE = (255, 255, 255)


@dataclass(frozen=True, slots=True)
class Format:
    """`modes` are written as they are; `longest` is the longest side, None: no matter.

    `feature` is what Pillow must have been built with.
    """

    media_type: str
    extension: str
    pillow: str
    feature: str
    modes: tuple[str, ...]
    longest: int | None = None

    @property
    def copies(self) -> int:
        """How much memory writing takes beside the pixels, in their own size (4 bytes each)."""
        return _COPIES.get(self.extension, 1)

    @property
    def alpha(self) -> bool:
        """Whether transparency survives."""
        return "RGBA" in self.modes

    def fitted(self, mode: str) -> str:
        """The mode in which pixels of a mode are written."""
        targets = (mode, *_NEXT.get(mode, ()), "RGB")
        return next(target for target in targets if target in self.modes)

    @property
    def profile(self) -> bool:
        """Whether a colour profile can be written into it here."""
        return self.extension in _WITH_PROFILE


FORMATS = {
    "jpg": Format("image/jpeg", "jpg", "JPEG", "jpg", ("L", "RGB", "RGBX"), 65500),
    "png": Format("image/png", "png", "PNG", "zlib", ("1", "L", "LA", "RGB", "RGBA")),
    "tif": Format("image/tiff", "tif", "TIFF", "libtiff", ("1", "L", "LA", "RGB", "RGBA")),
    "gif": Format("image/gif", "gif", "GIF", "", ("1", "L", "LA", "RGB", "RGBA"), 65535),
    "webp": Format("image/webp", "webp", "WEBP", "webp", ("RGB", "RGBA"), 16383),
    "avif": Format("image/avif", "avif", "AVIF", "avif", ("L", "RGB", "RGBA"), 32768),
    "jp2": Format("image/jp2", "jp2", "JPEG2000", "jpg_2000", ("L", "LA", "RGB", "RGBA")),
    "pdf": Format("application/pdf", "pdf", "PDF", "jpg", ("1", "L", "RGB"), 65500),
}
# Measured with 20 megapixels of RGBX, rounded up: JPEG 0.1 bytes a pixel, PNG, TIFF and PDF 4,
# GIF 9, WebP 10, AVIF 26, JPEG 2000 38.
_COPIES = {"jpg": 0, "gif": 3, "webp": 3, "avif": 7, "jp2": 10}
_WITH_PROFILE = frozenset({"jpg", "png", "tif", "webp", "avif"})
# What a mode becomes where it cannot be written: the first that can.
_NEXT = {
    "1": ("L", "RGB"),
    "L": ("RGB",),
    "LA": ("RGBA",),
    "RGBX": ("RGB",),
}


@dataclass(frozen=True, slots=True)
class EncodeOptions:
    """Settings of the encoders. The defaults are 3 to 6 times faster than Pillow's for 2 to 5 %
    more bytes (512-pixel tiles: WebP 7 against 24 ms, AVIF 12 against 76, PNG 19 against 83).

    `jp2_quality` is the PSNR aimed at, in dB. `rights`: names of the source go on (`words.said`).
    """

    jpeg_quality: int = 80
    jpeg_subsampling: str = "4:2:0"
    jpeg_progressive: bool = False
    jpeg_lossless: bool = True
    webp_quality: int = 80
    webp_method: int = 1
    avif_quality: int = 65
    avif_speed: int = 9
    avif_subsampling: str = "4:2:0"
    png_compression: int = 1
    jp2_quality: int = 40
    tiff_compression: str = "deflate"
    rights: bool = False

    @property
    def digest(self) -> str:
        """Twelve characters that change with any setting, for keys of caches."""
        return hashlib.sha256(repr(astuple(self)).encode()).hexdigest()[:12]


def available() -> tuple[str, ...]:
    """The formats that this installation can write, in the order of preference."""
    return tuple(name for name, kind in FORMATS.items() if _has(kind.feature))


@functools.lru_cache
def _has(feature: str) -> bool:
    """Whether Pillow was built with it: it lists all names of its core each time it is asked."""
    return not feature or bool(features.check(feature))


def encode(
    pixels: Image.Image,
    format: str,
    file: BinaryIO,
    options: EncodeOptions,
    profile: bytes | None = None,
    words: Words = SILENT,
) -> None:
    """Write an image (mode 1, L, LA, RGB, RGBX, RGBA) to an open binary file, at its position.

    No EXIF, comment or other word of the source is written but `words`, and a colour `profile`
    (ICC), where they are given and the format has room. Best straight to a real file, unbuffered:
    Pillow then encodes without holding the interpreter's lock. Alpha that the format cannot hold
    lies on white. InvalidRequest for sides that the format has no room for, NotSupported for a
    codec that is missing here.
    """
    kind = FORMATS[format]
    if kind.longest is not None and max(pixels.size) > kind.longest:
        raise InvalidRequest(f"No side of a {format} can be longer than {kind.longest} pixels.")
    if not _has(kind.feature):
        raise NotSupported(f"This server cannot write {format}.")
    fitted = bare(_fitted(pixels, kind))
    arguments = _arguments(format, pixels.mode, options)
    if profile and kind.profile:
        arguments["icc_profile"] = profile
    arguments |= _said(format, words, options)
    if format == "gif":
        fitted = indexed(fitted)
    try:
        if format in _SEEKING:
            buffer = io.BytesIO()
            fitted.save(buffer, kind.pillow, **arguments)
            file.write(buffer.getbuffer())
        else:
            fitted.save(file, kind.pillow, **arguments)
    except (ValueError, RuntimeError, SystemError) as cause:
        raise ProxyError("The image could not be written in this format.", repr(cause)) from cause


_TIFF = {"deflate": "tiff_adobe_deflate", "lzw": "tiff_lzw", "none": "raw"}
# These writers go back in the file, or ask it for its name.
_SEEKING = ("tif", "jp2", "pdf")


def _fitted(pixels: Image.Image, kind: Format) -> Image.Image:
    if pixels.mode in kind.modes:
        return pixels
    if not kind.alpha and pixels.mode in ("LA", "RGBA"):
        return flatten(pixels, WHITE)
    return pixels.convert(kind.fitted(pixels.mode))


def _arguments(format: str, mode: str, options: EncodeOptions) -> dict[str, Any]:
    """What Pillow's writer of the format is told."""
    two_colours = mode == "1"
    if format == "jpg":
        return {
            "quality": options.jpeg_quality,
            "subsampling": options.jpeg_subsampling,
            "progressive": options.jpeg_progressive,
        }
    if format == "png":
        return {"compress_level": options.png_compression}
    if format == "webp":
        # Lossless is exact and smaller for two colours.
        return {
            "quality": options.webp_quality,
            "method": options.webp_method,
            "lossless": two_colours,
        }
    if format == "avif":
        found = {"quality": options.avif_quality, "speed": options.avif_speed}
        gray = mode in ("1", "L")  # has no chroma, and says so
        return found if gray else {**found, "subsampling": options.avif_subsampling}
    if format == "tif":
        return {"compression": "group4" if two_colours else _TIFF[options.tiff_compression]}
    if format == "jp2":
        return (
            {}
            if two_colours
            else {
                "irreversible": True,
                "quality_mode": "dB",
                "quality_layers": [options.jp2_quality],
                "mct": 1,
            }
        )
    if format == "pdf":
        # By itself Pillow would write the file's name as title, and the time.
        nothing = {"title": None, "creationDate": None, "modDate": None, "producer": None}
        return nothing if two_colours else {**nothing, "quality": options.jpeg_quality}
    return {}


def _said(format: str, words: Words, options: EncodeOptions) -> dict[str, Any]:
    """What Pillow's writer of the format is told of `words`."""
    found: dict[str, Any] = {}
    if words.dpi:
        if format in ("jpg", "tif", "png"):
            found["dpi"] = (words.dpi, words.dpi)
        elif format == "pdf":
            found["resolution"] = words.dpi
    if not words.creator and not words.rights:
        return found
    if format in ("jpg", "webp", "avif"):
        found |= {"exif": exif(words), "xmp": xmp(words)}
    elif format == "png":
        chunks = PngInfo()
        chunks.add_itxt("XML:com.adobe.xmp", xmp(words).decode())
        found |= {"exif": exif(words), "pnginfo": chunks}
    elif format == "tif":
        tags = {ARTIST: words.creator, COPYRIGHT: words.rights}
        found["tiffinfo"] = {tag: text.encode() for tag, text in tags.items() if text}
    elif format == "pdf":
        found["author"] = words.creator or words.rights
    return found
