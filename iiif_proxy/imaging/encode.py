"""Writing: formats, what they can hold, and how they are set."""

import io
from dataclasses import dataclass
from typing import Any, BinaryIO

from PIL import Image, features

from iiif_proxy.errors import ProxyError


@dataclass(frozen=True, slots=True)
class Format:
    """`modes` that can be written as they are; `alpha` whether transparency survives."""

    media_type: str
    pillow: str
    modes: tuple[str, ...]
    alpha: bool


FORMATS = {
    "jpg": Format("image/jpeg", "JPEG", ("L", "RGB", "RGBX"), False),
    "png": Format("image/png", "PNG", ("1", "L", "LA", "RGB", "RGBA"), True),
    "tif": Format("image/tiff", "TIFF", ("1", "L", "LA", "RGB", "RGBA"), True),
    "gif": Format("image/gif", "GIF", ("1", "L", "RGB", "RGBA"), True),
    "webp": Format("image/webp", "WEBP", ("RGB", "RGBA"), True),
    "avif": Format("image/avif", "AVIF", ("RGB", "RGBA"), True),
    "jp2": Format("image/jp2", "JPEG2000", ("L", "LA", "RGB", "RGBA"), True),
    "pdf": Format("application/pdf", "PDF", ("1", "L", "RGB"), False),
}
_NEEDS = {"webp": "webp", "avif": "avif", "jp2": "jpg_2000", "tif": "libtiff"}


@dataclass(frozen=True, slots=True)
class EncodeOptions:
    """Settings of the encoders. The defaults are 3 to 6 times faster than Pillow's for 2 to 5 %
    more bytes (docs/performance.md)."""

    jpeg_quality: int = 80
    jpeg_subsampling: str = "4:2:0"
    jpeg_progressive: bool = False
    webp_quality: int = 80
    webp_method: int = 1
    avif_quality: int = 65
    avif_speed: int = 9
    png_compression: int = 1


def available() -> tuple[str, ...]:
    """The formats that this installation can write, in the order of preference."""
    return tuple(name for name in FORMATS if name not in _NEEDS or features.check(_NEEDS[name]))


def encode(pixels: Image.Image, format: str, file: BinaryIO, options: EncodeOptions) -> None:
    """Write to an open binary file, without any metadata of the source.

    Straight to a real file is best: Pillow then encodes without holding the interpreter's lock.
    """
    kind = FORMATS[format]
    if pixels.mode not in kind.modes:
        pixels = pixels.convert(_nearest(pixels.mode, kind.modes))
    # A fresh image object: no profile, EXIF or comment of the source comes along.
    bare = pixels.copy() if pixels.info else pixels
    bare.info = {}
    try:
        _save(bare, format, kind, file, options)
    except (ValueError, RuntimeError, SystemError) as cause:
        raise ProxyError("The image could not be written in this format.", repr(cause)) from cause


def _save(
    pixels: Image.Image, format: str, kind: Format, file: BinaryIO, options: EncodeOptions
) -> None:
    arguments: dict[str, Any] = {}
    if format == "jpg":
        arguments = {
            "quality": options.jpeg_quality,
            "subsampling": options.jpeg_subsampling,
            "progressive": options.jpeg_progressive,
        }
    elif format == "png":
        arguments = {"compress_level": options.png_compression}
    elif format == "webp":
        arguments = {"quality": options.webp_quality, "method": options.webp_method}
    elif format == "avif":
        arguments = {"quality": options.avif_quality, "speed": options.avif_speed}
    elif format == "tif":
        arguments = {"compression": "group4" if pixels.mode == "1" else "tiff_adobe_deflate"}
    elif format == "jp2":
        arguments = {"irreversible": True, "quality_mode": "rates", "quality_layers": [12]}
    elif format == "pdf":
        arguments = {} if pixels.mode == "1" else {"quality": options.jpeg_quality}
    if format in {"tif", "pdf", "jp2"}:
        # These writers seek and read back.
        buffer = io.BytesIO()
        pixels.save(buffer, kind.pillow, **arguments)
        file.write(buffer.getbuffer())
        return
    if format == "gif":
        pixels = _palette(pixels)
    pixels.save(file, kind.pillow, **arguments)


def _nearest(mode: str, modes: tuple[str, ...]) -> str:
    wish = {
        "LA": ("RGBA", "L", "RGB"),
        "RGBA": ("RGB",),
        "1": ("L", "RGB"),
        "L": ("RGB",),
    }.get(mode, ("RGB",))
    return next(found for found in wish if found in modes)


def _palette(pixels: Image.Image) -> Image.Image:
    if pixels.mode in {"1", "L"}:
        return pixels
    if pixels.mode == "RGBA":
        return pixels.quantize(256, Image.Quantize.FASTOCTREE)
    return pixels.quantize(256, Image.Quantize.MEDIANCUT)
