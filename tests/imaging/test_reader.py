"""Regions of sources: every mode and every orientation, against numpy."""

import io
import zlib
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image

from iiif_proxy.errors import OriginFailed
from iiif_proxy.iiif.model import Box, ImageInfo
from iiif_proxy.imaging.formats import opened
from iiif_proxy.imaging.orientation import orientation_in, orientation_of
from iiif_proxy.imaging.reader import Reader, probe
from tests.imaging.drawn import (
    Pixels,
    exif,
    image,
    lanczos,
    numbers,
    oriented,
    photo,
    png_chunk,
    psnr,
    saved,
    stored,
)

WIDTH, HEIGHT = 96, 64
UPRIGHT = photo(WIDTH, HEIGHT, noise=3)
LUMA = numpy.asarray(image(UPRIGHT).convert("L"))
WHOLE = Box(0, 0, WIDTH, HEIGHT)


def read(path: Path, box: Box = WHOLE, size: tuple[int, int] | None = None) -> Image.Image:
    return Reader(path, probe(path)).read(box, *(size or (box.width, box.height)))


def deep(mode: str, values: Pixels) -> Image.Image:
    return Image.frombytes(mode, (values.shape[1], values.shape[0]), values.tobytes())


RAMP = numpy.linspace(0, 65535, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH).astype("<u2")
AS_EIGHT = (RAMP.astype(int) + 128) // 257
FLOATS = numpy.linspace(-3, 9, WIDTH * HEIGHT, dtype="<f4").reshape(HEIGHT, WIDTH)
SPREAD = ((FLOATS + 3) / 12 * 255).round().astype(int)
INTEGERS = (FLOATS * 10000).astype("<i4")
BITS = LUMA > 127


def with_alpha(mode: str) -> tuple[Image.Image, Pixels]:
    picture = image(UPRIGHT).convert(mode)
    picture.putalpha(image(UPRIGHT[..., 0].copy()))
    return picture, numbers(picture)


def keyed() -> tuple[bytes, Pixels]:
    """A palette with half-transparent entries."""
    picture = image(UPRIGHT).quantize(16)
    alpha = numpy.arange(16) * 17
    data = saved(picture, "PNG", transparency=bytes(alpha.tolist()))
    colours = numbers(picture.convert("RGB"))
    return data, numpy.dstack([colours, alpha[numpy.asarray(picture)]])


def colour_key() -> tuple[bytes, Pixels]:
    found = numpy.asarray(image(UPRIGHT).quantize(8).convert("RGB")).copy()
    key = tuple(int(part) for part in found[5, 5])
    alpha = numpy.where((found == key).all(2), 0, 255)
    return saved(image(found), "PNG", transparency=key), numpy.dstack([found, alpha])


def deep_key() -> tuple[bytes, Pixels]:
    """One of 65536 grays: its neighbours look the same and are opaque."""
    alpha = numpy.where(int(RAMP[9, 9]) == RAMP, 0, 255)
    data = saved(deep("I;16", RAMP), "PNG")
    chunk = png_chunk(b"tRNS", int(RAMP[9, 9]).to_bytes(2, "big"))
    return data[:33] + chunk + data[33:], numpy.dstack([AS_EIGHT, alpha])


def few_bits() -> tuple[bytes, Pixels]:
    """Gray of two bits, one of them transparent: the file says 2, the pixels 170."""
    levels = (LUMA // 64).astype(numpy.uint8)
    rows = b"".join(
        b"\0" + bytes(int(sum(int(v) << 6 - 2 * i for i, v in enumerate(row[at : at + 4])))
                      for at in range(0, WIDTH, 4))
        for row in levels
    )  # fmt: skip
    header = WIDTH.to_bytes(4, "big") + HEIGHT.to_bytes(4, "big") + bytes([2, 0, 0, 0, 0])
    data = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"tRNS", b"\0\2")
    data += png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return data, numpy.dstack([levels.astype(int) * 85, numpy.where(levels == 2, 0, 255)])


def tiff(picture: Image.Image, **tags: Any) -> bytes:
    return saved(picture, "TIFF", tiffinfo=tags.pop("tags", {}), **tags)


def inverted_deep() -> bytes:
    """16 bits, white is zero: PhotometricInterpretation is patched in the directory."""
    data = bytearray(tiff(deep("I;16", 65535 - RAMP)))
    at = data.index(bytes([6, 1, 3, 0, 1, 0, 0, 0, 1, 0]))
    data[at + 8] = 0
    return bytes(data)


RGBA, RGBA_PIXELS = with_alpha("RGB")
LA, LA_PIXELS = with_alpha("L")
SOURCES: dict[str, tuple[bytes, str, Pixels]] = {
    "png": (saved(image(UPRIGHT), "PNG"), "RGB", UPRIGHT),
    "png gray": (saved(image(LUMA), "PNG"), "L", LUMA),
    "png rgba": (saved(RGBA, "PNG"), "RGBA", RGBA_PIXELS),
    "png la": (saved(LA, "PNG"), "LA", LA_PIXELS),
    "png 1": (saved(image(BITS), "PNG"), "L", BITS * 255),
    "png 16": (saved(deep("I;16", RAMP), "PNG"), "L", AS_EIGHT),
    "png palette": (keyed()[0], "RGBA", keyed()[1]),
    "png colour key": (colour_key()[0], "RGBA", colour_key()[1]),
    "png deep key": (deep_key()[0], "LA", deep_key()[1]),
    "png 2 bits, key": (few_bits()[0], "LA", few_bits()[1]),
    "tiff": (tiff(image(UPRIGHT)), "RGB", UPRIGHT),
    "tiff deflate": (tiff(image(UPRIGHT), compression="tiff_adobe_deflate"), "RGB", UPRIGHT),
    "tiff rgba": (tiff(RGBA), "RGBA", RGBA_PIXELS),
    "tiff la": (tiff(LA), "LA", LA_PIXELS),
    "tiff 1": (tiff(image(BITS), compression="group4"), "L", BITS * 255),
    "tiff 16": (tiff(deep("I;16", RAMP)), "L", AS_EIGHT),
    "tiff 16 lzw": (tiff(deep("I;16", RAMP), compression="tiff_lzw"), "L", AS_EIGHT),
    "tiff 16 big-endian": (tiff(deep("I;16B", RAMP.astype(">u2"))), "L", AS_EIGHT),
    "tiff 16 white is zero": (inverted_deep(), "L", AS_EIGHT),
    "tiff float": (tiff(deep("F", FLOATS)), "L", SPREAD),
    "tiff float, tags": (
        tiff(deep("F", FLOATS), tags={340: 0.0, 341: 6.0}),
        "L",
        (FLOATS / 6 * 255).round().clip(0, 255).astype(int),
    ),
    "tiff int": (tiff(deep("I", INTEGERS)), "L", (INTEGERS + 30000) * 255 / 120000 + 0.5),
    "tiff constant": (tiff(deep("F", FLOATS * 0 + 7)), "L", LUMA * 0),
    "tiff palette": (
        tiff(image(UPRIGHT).quantize(16)),
        "RGB",
        numbers(image(UPRIGHT).quantize(16).convert("RGB")),
    ),
    "gif": (
        saved(image(UPRIGHT).quantize(32), "GIF"),
        "RGB",
        numbers(image(UPRIGHT).quantize(32).convert("RGB")),
    ),
    "gif gray": (saved(image(LUMA), "GIF"), "RGB", numpy.dstack([LUMA] * 3)),
    "webp": (saved(image(UPRIGHT), "WEBP", lossless=True), "RGB", UPRIGHT),
    "webp rgba": (saved(RGBA, "WEBP", lossless=True, exact=True), "RGBA", RGBA_PIXELS),
    "jp2": (saved(image(UPRIGHT), "JPEG2000"), "RGB", UPRIGHT),
    "jp2 gray": (saved(image(LUMA), "JPEG2000"), "L", LUMA),
    "jp2 16": (saved(deep("I;16", RAMP), "JPEG2000"), "L", AS_EIGHT),
    "bmp": (saved(image(UPRIGHT), "BMP"), "RGB", UPRIGHT),
    "ppm": (saved(image(UPRIGHT), "PPM"), "RGB", UPRIGHT),
    "pgm 16": (b"P5 96 64 65535 " + RAMP.astype(">u2").tobytes(), "L", AS_EIGHT),
}


@pytest.mark.parametrize("name", SOURCES)
def test_pixels_of_every_mode(name: str, tmp_path: Path) -> None:
    data, mode, wanted = SOURCES[name]
    path = stored(tmp_path, data)
    info = probe(path)
    whole = read(path)
    assert whole.mode == mode
    assert (info.gray, info.alpha) == (mode in ("L", "LA"), mode in ("LA", "RGBA"))
    expected = numpy.asarray(wanted).astype(int)
    assert (numbers(whole) == expected).all()
    part = read(path, Box(17, 9, 40, 30))
    assert (numbers(part) == expected[9:39, 17:57]).all()
    assert whole.info == {}
    assert not hasattr(whole, "filename")


def test_nan_and_infinity_are_no_range(tmp_path: Path) -> None:
    odd = FLOATS.copy()
    odd[0, 0] = numpy.inf
    pixels = numbers(read(stored(tmp_path, tiff(deep("F", odd)))))
    assert numpy.abs(pixels - (odd.clip(0, 1) * 255).round()).max() == 0


@pytest.mark.parametrize(
    "name", ["png", "png rgba", "png 16", "png palette", "tiff float", "png 1", "jp2 16"]
)
@pytest.mark.parametrize(
    "box, size",
    [(WHOLE, (40, 31)), (Box(11, 7, 60, 50), (20, 19)), (Box(80, 50, 16, 14), (32, 21))],
)
def test_scaled_like_the_textbook(
    name: str, box: Box, size: tuple[int, int], tmp_path: Path
) -> None:
    data, mode, wanted = SOURCES[name]
    values = numpy.asarray(wanted).astype(float)
    edges = (box.x, box.y, box.x + box.width, box.y + box.height)
    if mode == "RGBA":
        alpha = lanczos(values[..., 3], edges, size).clip(0, 255)
        colours = lanczos(values[..., :3] * values[..., 3:] / 255, edges, size).clip(0, 255)
        expected = numpy.dstack([colours, alpha])
        pixels = numbers(read(stored(tmp_path, data), box, size)).astype(float)
        pixels[..., :3] *= pixels[..., 3:] / 255
    else:
        expected = lanczos(values, edges, size).clip(0, 255)
        pixels = numbers(read(stored(tmp_path, data), box, size))
    assert psnr(pixels, expected) > 48


LOSSY = {
    "JPEG": {"quality": 97, "subsampling": 0},
    "WEBP": {"lossless": True},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
    "PNG": {},
    "TIFF": {},
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", LOSSY)
def test_upright(format: str, orientation: int, tmp_path: Path) -> None:
    picture = image(oriented(UPRIGHT, orientation))
    path = stored(tmp_path, saved(picture, format, exif=exif(orientation), **LOSSY[format]))
    info = probe(path)
    assert (info.width, info.height) == (WIDTH, HEIGHT)
    assert psnr(read(path), UPRIGHT) > 42
    assert psnr(read(path, Box(10, 5, 30, 20)), UPRIGHT[5:25, 10:40]) > 42
    small = lanczos(UPRIGHT, (7, 5, 71, 45), (16, 10)).clip(0, 255)
    assert psnr(read(path, Box(7, 5, 64, 40), (16, 10)), small) > 40


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "jpeg"])
def test_pillow_does_not_turn_a_tiff_as_well(compression: str, tmp_path: Path) -> None:
    """Its own reader does after decoding; ours must find the pixels as they are stored."""
    picture = image(oriented(UPRIGHT, 6))
    options = {"quality": 95} if compression == "jpeg" else {}
    data = saved(picture, "TIFF", compression=compression, exif=exif(6), **options)
    with opened(stored(tmp_path, data)) as image_file:
        assert image_file.size == (HEIGHT, WIDTH)
        image_file.load()
        assert image_file.size == image_file.im.size == (HEIGHT, WIDTH)
        assert orientation_of(image_file) == 6


def test_exif_in_avif_is_no_orientation(tmp_path: Path) -> None:
    """`irot` and `imir` are; EXIF beside them is ignored (ISO 23000-22)."""
    words = Image.Exif()
    words[0x0113] = 6
    data = saved(image(UPRIGHT), "AVIF", exif=words.tobytes())
    at = data.index(bytes([0x13, 1, 3, 0])) if b"II" in data else data.index(bytes([1, 0x13, 0, 3]))
    patched = data[:at] + data[at : at + 4].replace(b"\x13", b"\x12") + data[at + 4 :]
    assert patched != data
    assert probe(io.BytesIO(patched)) == ImageInfo(WIDTH, HEIGHT, "avif")


@pytest.mark.parametrize(
    "block, found",
    [
        (exif(8), 8),
        (b"Exif\0\0" + exif(3), 3),
        (exif(9), 1),
        (exif(0), 1),
        (exif(6)[:20], 1),
        (b"", 1),
        (b"Exif\0\0garbage", 1),
        (b"MM\0*\0\0\0\x08\0\1\1\x12\0\4\0\0\0\1\0\0\0\6", 6),
        (b"MM\0*\0\0\0\x08\xff\xff" + bytes(30), 1),
        (b"II*\0\xff\xff\xff\xff", 1),
    ],
)
def test_orientation_of_odd_exif(block: bytes, found: int) -> None:
    assert orientation_in(block) == found


def test_broken_exif_does_not_spoil_a_jpeg(tmp_path: Path) -> None:
    """Nor does it warn: warnings are errors here."""
    block = exif(6)
    data = saved(image(UPRIGHT), "JPEG", exif=block[:-6] + b"\xff" * 6)
    assert probe(stored(tmp_path, data)).width in (WIDTH, HEIGHT)
    assert read(stored(tmp_path, data), Box(0, 0, 9, 9)).size == (9, 9)


def test_undecodable_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stored(tmp_path, saved(image(UPRIGHT), "PNG"))
    info = probe(path)

    def full(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(Image.core, "new", full)
    with pytest.raises(OriginFailed):
        Reader(path, info).read(WHOLE, 9, 9)
