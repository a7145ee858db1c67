"""The bytes of one tile become an image: by Pillow's JPEG decoder, or by its libtiff."""

import functools
import io

from PIL import Image, ImageChops

from iiif_proxy.errors import NoImage, OriginFailed
from iiif_proxy.imaging import jpegtile, tiffextra
from iiif_proxy.imaging.tifflevel import (
    DEFLATE,
    JPEG,
    LZW,
    NONE,
    OLD_DEFLATE,
    PACKBITS,
    Level,
)
from iiif_proxy.imaging.tiffstrip import strip_file
from iiif_proxy.imaging.tifftags import broken

# Tiles that are files of their own, by compression.
_WHOLE_FILES = {34712: "JPEG2000", 33005: "JPEG2000", 50001: "WEBP"}
# What Pillow's libtiff may have been built with (LZMA, Zstandard): a byte of 0 in each.
_OPTIONAL = {
    34925: bytes.fromhex(
        "fd377a585a000000ff12d941020021010c0000008f98419c010000000000000000011101ada6580406729e7a01"
        "0000000000595a"
    ),
    50000: bytes.fromhex("28b52ffd200109000000"),
}

# (color, samples, extra sample) -> mode of the image, unpacker of the samples. An RGB image of
# four samples without a word about the fourth has alpha, as Pillow reads it.
_MODES = {
    (False, 1, None): ("L", "L"),
    (False, 2, 0): ("L", "LX"),
    (False, 2, 1): ("La", "La"),
    (False, 2, 2): ("LA", "LA"),
    (True, 3, None): ("RGB", "RGB"),
    (True, 4, None): ("RGBA", "RGBA"),
    (True, 4, 0): ("RGB", "RGBX"),
    (True, 4, 1): ("RGBA", "RGBa"),
    (True, 4, 2): ("RGBA", "RGBA"),
}


def mode_of(level: Level) -> str | None:
    """The mode of the images that `decode` returns; None if it cannot decode the level."""
    found = _samples(level)
    if found is None or not level.complete:
        return None
    return {"La": "LA"}.get(found[0], found[0])


def _samples(level: Level) -> tuple[str, str] | None:
    """(mode, unpacker) of the level's samples as 8-bit ones, or None if nothing here fits."""
    extra = level.extra[0] if level.extra else None
    found = _MODES.get((level.photometric in (2, 6), level.samples, extra))
    if found is None or level.photometric not in (0, 1, 2, 6) or level.sample_format != 1:
        return None
    if level.photometric == 0 and level.samples != 1:
        return None
    return found if _decodable(level) or tiffextra.covers(level) else None


def _decodable(level: Level) -> bool:
    """Pillow alone decodes the tiles."""
    compression, ycc = level.compression, level.photometric == 6
    if level.fill_order != 1 or level.predictor not in (1, 2):
        return False
    if level.planar:
        return level.bits == 8 and compression in _plain() | {JPEG} and not ycc
    if compression == JPEG:
        return level.bits == 8 and level.samples in (1, 3)
    if compression in _WHOLE_FILES:
        return level.bits == 8 and not ycc
    if compression not in _plain():
        return False
    if level.bits == 16:
        return level.samples in (1, 3, 4) and not ycc
    return level.bits == 8 and (level.samples == 3 or not ycc)


@functools.cache
def _plain() -> frozenset[int]:
    """The lossless codecs of this Pillow's libtiff."""
    found = {NONE, LZW, DEFLATE, OLD_DEFLATE, PACKBITS}
    for compression, data in _OPTIONAL.items():
        try:
            _libtiff("L", (1, 1), strip_file(data, 1, 1, compression=compression), "L")
        except (OSError, ValueError):
            continue
        found.add(compression)
    return frozenset(found)


def decode(level: Level, planes: list[bytes], rows: int, shrink: int = 1) -> Image.Image:
    """The pixels of a tile of `rows` rows, in `mode_of(level)`.

    `planes` are the stored bytes, one for each plane of the level. `shrink` (1, 2, 4 or 8; JPEG
    only) asks the decoder for ceil(size / shrink). OriginFailed if the bytes are not such a tile.
    """
    try:
        return _decode(level, planes, rows, shrink)
    except OriginFailed:
        raise
    # ImageCodecs raises what it likes; a codec that fails costs one answer.
    except Exception as error:
        raise NoImage("A tile of the source image cannot be decoded.", cause=repr(error)) from error


def _decode(level: Level, planes: list[bytes], rows: int, shrink: int) -> Image.Image:
    found = _samples(level)
    assert found is not None
    mode, raw = found
    if level.planar:
        bands = [_decode_plane(level, data, rows, shrink) for data in planes]
        merged = raw if raw in ("RGBa", "La") else mode
        image = Image.merge(merged, bands[: len(merged)])
    elif not _decodable(level):
        if level.compression == JPEG:
            _checked_frame(level, planes[0], rows)
        samples = tiffextra.decode(_wrapped(level, planes[0], rows, level.samples))
        image = Image.frombytes(mode, (level.tile_width, rows), samples, "raw", raw)
    elif level.compression == JPEG:
        image = _decode_jpeg(level, planes[0], rows, shrink, mode)
    else:
        image = _decode_lossless(level, planes[0], rows, mode, raw)
    if image.mode in ("La", "RGBa"):
        image = image.convert(mode.upper())
    return ImageChops.invert(image) if level.photometric == 0 else image


def _checked_frame(level: Level, data: bytes, rows: int) -> jpegtile.Frame:
    """The frame, after a look at its size: a decoder would allocate what the stream says."""
    frame = jpegtile.parse_frame(data)
    if (frame.width, frame.height) != (level.tile_width, rows):
        raise broken(f"a JPEG tile of {frame.width} x {frame.height}")
    return frame


def _decode_plane(level: Level, data: bytes, rows: int, shrink: int) -> Image.Image:
    if level.compression == JPEG:
        return _decode_jpeg(level, data, rows, shrink, "L")
    size = (level.tile_width, rows)
    return _libtiff("L", size, _wrapped(level, data, rows, 1), "L")


def _decode_jpeg(level: Level, data: bytes, rows: int, shrink: int, mode: str) -> Image.Image:
    """JPEGTables + tile, straight into Pillow's decoder: no file, no parser in between.

    The colour coding is told to the decoder as the directory has it (libjpeg would guess YCbCr
    for RGB without marks), unless the stream says it itself, as libjpeg's own files do.
    """
    frame = _checked_frame(level, data, rows)
    width = level.tile_width
    if len(frame.sampling) != len(mode):
        raise broken(f"a JPEG tile of {len(frame.sampling)} components")
    if mode == "L":
        coding = "L"
    elif frame.own_colour:
        coding = ""
    else:
        coding = "YCbCr" if level.photometric == 6 else "RGB"
    size = (-(-width // shrink), -(-rows // shrink))
    stream = jpegtile.complete(level.tables, data)
    return Image.frombytes(mode, size, stream, "jpeg", mode, coding, shrink, 0)


def _decode_lossless(level: Level, data: bytes, rows: int, mode: str, raw: str) -> Image.Image:
    size = (level.tile_width, rows)
    name = _WHOLE_FILES.get(level.compression)
    if name is not None:
        with Image.open(io.BytesIO(data), formats=[name]) as image:
            if image.size != size:
                raise broken(f"a {name} tile of {image.size}")
            image.load()
            return image.convert(mode)
    if level.bits == 16 and level.samples == 1:
        deep = _libtiff("I;16", size, _wrapped(level, data, rows, 1), "I;16N")
        # A linear function is a scale and an offset to Pillow, not a table.
        return deep.convert("I").point(lambda v: v * (1 / 257) + 0.5).convert("L")
    if level.bits == 16:
        raw += ";16N"
    elif level.photometric == 6:
        raw = "RGBX"
    elif level.compression == NONE:
        return Image.frombytes(mode, size, data, "raw", raw)
    return _libtiff(mode, size, _wrapped(level, data, rows, level.samples), raw)


def _libtiff(mode: str, size: tuple[int, int], stream: bytes, raw: str) -> Image.Image:
    """Pillow's libtiff on a whole TIFF in memory, without its parser in Python (0.3 ms)."""
    try:
        return Image.frombytes(mode, size, stream, "libtiff", raw, 0, 0)
    except TypeError:  # older Pillows also want the codec's name, and do not look at it
        return Image.frombytes(mode, size, stream, "libtiff", raw, "", 0, 0)


def _wrapped(level: Level, data: bytes, rows: int, samples: int) -> bytes:
    """A tile, or one plane of it, as a TIFF of its own."""
    whole = samples == level.samples
    return strip_file(
        data,
        level.tile_width,
        rows,
        order=level.order,
        samples=samples,
        bits=level.bits,
        compression=level.compression,
        photometric=level.photometric if whole else 1,
        predictor=level.predictor,
        extra=level.extra if whole else (),
        tables=level.tables,
        subsampling=level.subsampling,
    )
