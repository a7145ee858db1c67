"""The `[tiff]` extra: samples of odd depth, unpacked by tifffile and imagecodecs."""

import functools
import importlib.util
import io

from iiif_proxy.imaging.tifflevel import (
    DEFLATE,
    JPEG,
    LZW,
    NONE,
    OLD_DEFLATE,
    PACKBITS,
    Level,
)

# Only codecs whose output is bounded by the tile that the directory declares.
CODECS = {NONE, LZW, JPEG, DEFLATE, OLD_DEFLATE, PACKBITS, 34925, 50000}


@functools.cache
def installed() -> bool:
    return all(importlib.util.find_spec(name) for name in ("tifffile", "imagecodecs"))


def covers(level: Level) -> bool:
    """Unsigned gray or RGB of 8 to 16 bits in one plane, and the extra is installed."""
    return (
        8 <= level.bits <= 16
        and not level.planar
        and level.photometric in (0, 1, 2)
        and level.compression in CODECS
        and installed()
    )


def decode(stream: bytes) -> bytes:
    """The samples of a TIFF of one strip as bytes, scaled (not clipped) to 8 bits."""
    import numpy
    import tifffile

    with tifffile.TiffFile(io.BytesIO(stream)) as tiff:
        page = tiff.pages.first
        samples = page.asarray().astype(numpy.uint32)
        most = (1 << page.bitspersample) - 1
    scaled = (samples * 255 + most // 2) // most
    return scaled.astype(numpy.uint8).tobytes()
