"""What a header says: formats, flags, prefixes of a download, and what is refused."""

import io
import subprocess
import warnings
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image

from iiif_proxy.errors import OriginFailed
from iiif_proxy.iiif.model import Box, ImageInfo
from iiif_proxy.imaging.reader import Reader, probe
from iiif_proxy.imaging.reading import Reading
from iiif_proxy.imaging.signatures import sniff
from tests.imaging.drawn import exif, image, photo, png_chunk, saved, stored

RGB = image(photo(200, 150, noise=3))
GRAY = RGB.convert("L")
ALPHA = RGB.copy()
ALPHA.putalpha(GRAY)
GRAY_ALPHA = ALPHA.convert("LA")
DEEP = Image.frombytes("I;16", (200, 150), numpy.arange(30000, dtype="<u2").tobytes())
HALF = RGB.quantize(16)
HALF.info["transparency"] = 3


def as_bmff(brand: bytes, *others: bytes) -> bytes:
    content = brand + bytes(4) + b"".join(others)
    return (8 + len(content)).to_bytes(4, "big") + b"ftyp" + content + bytes(64)


@pytest.mark.parametrize(
    "picture, format, options, name, flags",
    [
        (RGB, "JPEG", {}, "jpeg", ""),
        (GRAY, "JPEG", {"progressive": True}, "jpeg", "gray progressive"),
        (RGB.convert("CMYK"), "JPEG", {}, "jpeg", ""),
        (RGB, "MPO", {"save_all": True, "append_images": [GRAY]}, "jpeg", ""),
        (RGB, "PNG", {}, "png", ""),
        (GRAY.convert("1"), "PNG", {}, "png", "gray bilevel"),
        (GRAY_ALPHA, "PNG", {}, "png", "gray alpha"),
        (ALPHA, "PNG", {}, "png", "alpha"),
        (DEEP, "PNG", {}, "png", "gray"),
        (RGB.quantize(16), "PNG", {}, "png", ""),
        (HALF, "PNG", {}, "png", "alpha"),
        (GRAY, "PNG", {"transparency": 7}, "png", "gray alpha"),
        (RGB, "TIFF", {"compression": "tiff_lzw"}, "tiff", ""),
        (GRAY.convert("1"), "TIFF", {"compression": "group4"}, "tiff", "gray bilevel"),
        (GRAY.convert("F"), "TIFF", {}, "tiff", "gray"),
        (RGB.convert("LAB"), "TIFF", {}, "tiff", ""),
        (RGB, "TIFF", {"big_tiff": True}, "tiff", ""),
        (RGB.quantize(9), "GIF", {}, "gif", ""),
        (GRAY, "GIF", {}, "gif", ""),  # its palette lacks a few grays, so it counts as one
        (RGB, "WEBP", {}, "webp", ""),
        (RGB, "WEBP", {"exif": exif(1)}, "webp", ""),
        (ALPHA, "WEBP", {}, "webp", "alpha"),
        (ALPHA, "WEBP", {"lossless": True}, "webp", "alpha"),
        (RGB, "WEBP", {"lossless": True}, "webp", ""),
        (RGB, "JPEG2000", {}, "jp2", ""),
        (GRAY, "JPEG2000", {"no_jp2": True}, "jp2", "gray"),
        (ALPHA, "AVIF", {}, "avif", "alpha"),
        (RGB, "BMP", {}, "bmp", ""),
        (GRAY, "PPM", {}, "ppm", "gray"),
    ],
)
def test_header(
    picture: Image.Image,
    format: str,
    options: dict[str, Any],
    name: str,
    flags: str,
    tmp_path: Path,
) -> None:
    data = saved(picture, format, **options)
    dpi = 96.012 if name == "bmp" else 0.0  # Pillow's writer says so
    wanted = ImageInfo(200, 150, name, dpi=dpi, **dict.fromkeys(flags.split(), True))
    assert probe(stored(tmp_path, data)) == wanted
    assert probe(io.BytesIO(data), whole=False) in (
        (wanted, None) if name in ("tiff", "avif") else (wanted,)
    )


@pytest.mark.parametrize(
    "format, options, known",
    [
        ("JPEG", {}, 700),
        ("PNG", {}, 64),
        ("GIF", {}, 1000),
        ("WEBP", {}, 64),
        ("JPEG2000", {}, 256),
        ("BMP", {}, 128),
        ("PPM", {}, 80),
        ("JPEG", {"exif": exif(6)}, 900),
        ("WEBP", {"exif": exif(6)}, None),
        ("TIFF", {}, None),
        ("AVIF", {}, None),
    ],
)
def test_a_prefix_says_nothing_or_what_the_whole_says(
    format: str, options: dict[str, Any], known: int | None
) -> None:
    """And it is never an error: more may come."""
    picture = RGB.quantize(64) if format == "GIF" else RGB
    data = saved(picture, format, **options)
    whole = probe(io.BytesIO(data))
    first = None
    for size in [*range(0, min(1100, len(data) - 1), 3), len(data) // 2, len(data) - 1]:
        info = probe(io.BytesIO(data[:size]), whole=False)
        assert info in (None, whole)
        if info is not None and first is None:
            first = size
    assert first is None if known is None else first is not None and first <= known


def test_a_file_that_grows_is_asked_again(tmp_path: Path) -> None:
    data = saved(RGB, "JPEG")
    path = tmp_path / "arriving"
    with path.open("wb", buffering=0) as file:
        file.write(data[:200])
        assert probe(path, whole=False) is None
        file.write(data[200:1000])
        assert probe(str(path), whole=False) == ImageInfo(200, 150, "jpeg")


@pytest.mark.parametrize(
    "data, word",
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript"),
        (b"\xd7\xcd\xc6\x9a" + bytes(60), "metafile"),
        (b"<html>not found</html>" + bytes(60), "HTML"),
        (b"", "knows"),
    ],
)
def test_other_files_are_refused_by_name(
    data: bytes, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)  # whoever wants to start one fails otherwise
    with pytest.raises(OriginFailed, match=word) as refused:
        probe(stored(tmp_path, data))
    assert str(tmp_path) not in refused.value.public
    if len(data) >= 64:
        with pytest.raises(OriginFailed):
            probe(io.BytesIO(data), whole=False)


def test_avif_under_a_general_brand() -> None:
    assert sniff(as_bmff(b"mif1", b"miaf", b"avif")) == "avif"


def test_a_broken_header_is_refused_although_more_may_come() -> None:
    data = bytearray(saved(RGB, "PNG"))
    data[16:24] = bytes(8)  # 0 x 0, and a wrong checksum
    with pytest.raises(OriginFailed):
        probe(io.BytesIO(bytes(data)), whole=False)


def bomb(format: str, side: int) -> bytes:
    """A small file whose header says side x side."""
    data = bytearray(saved(Image.new("L", (16, 16)), format))
    if format == "PNG":
        header = side.to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
        data[8:33] = png_chunk(b"IHDR", header)
    elif format == "JPEG":
        at = data.index(b"\xff\xc0")
        data[at + 5 : at + 9] = side.to_bytes(2, "big") * 2
    elif format == "GIF":
        data[6:10] = side.to_bytes(2, "little") * 2
    elif format == "WEBP":
        data[26:30] = side.to_bytes(2, "little") * 2
    elif format == "BMP":
        data[18:26] = side.to_bytes(4, "little") * 2
    return bytes(data)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "WEBP", "BMP"])
def test_bombs_are_refused_before_decoding(
    format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    side = 16000
    path = stored(tmp_path, bomb(format, side))
    monkeypatch.setattr(Image.core, "new", None)  # nobody makes room for pixels
    with pytest.raises(OriginFailed, match="too large"):
        probe(path, Reading(side * side - 1))
    info = ImageInfo(side, side, format.lower())
    with pytest.raises(OriginFailed, match="too large"):
        Reader(path, info, reading=Reading(side * side - 1)).read(Box(0, 0, 9, 9), 9, 9)
    if format != "WEBP":
        assert probe(path, Reading(side * side)).width == side


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "JPEG2000", "PPM"])
def test_the_limit_of_the_process_is_not_ours(
    format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Image.MAX_IMAGE_PIXELS belongs to the wrapped application: neither obeyed nor changed."""
    path = stored(tmp_path, saved(RGB, format))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        info = probe(path)
        assert Reader(path, info).read(Box(5, 5, 150, 100), 150, 100).size == (150, 100)
        assert Reader(path, info).read(Box(0, 0, 200, 150), 40, 30).size == (40, 30)
    assert Image.MAX_IMAGE_PIXELS == 100


def test_a_source_that_changed_is_noticed(tmp_path: Path) -> None:
    path = stored(tmp_path, saved(RGB, "PNG"))
    with pytest.raises(OriginFailed, match="changed"):
        Reader(path, ImageInfo(300, 150, "png")).read(Box(0, 0, 9, 9), 9, 9)
    with pytest.raises(OriginFailed) as gone:
        Reader(tmp_path / "gone", ImageInfo(9, 9, "png")).read(Box(0, 0, 9, 9), 9, 9)
    assert "gone" not in gone.value.public


BROKEN = {
    "jpeg": saved(RGB, "JPEG", exif=exif(6)),
    "progressive": saved(RGB, "JPEG", progressive=True),
    "png": saved(RGB, "PNG"),
    "palette": saved(RGB.quantize(16), "PNG"),
    "tiff": saved(RGB, "TIFF"),
    "lzw": saved(RGB, "TIFF", compression="tiff_lzw"),
    "gif": saved(RGB.quantize(64), "GIF"),
    "webp": saved(RGB, "WEBP"),
    "lossless": saved(ALPHA, "WEBP", lossless=True, exif=exif(3)),
    "jp2": saved(RGB, "JPEG2000"),
    "avif": saved(ALPHA, "AVIF"),
    "bmp": saved(RGB, "BMP"),
    "ppm": saved(RGB, "PPM"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_cut_off_files_are_refused(name: str, tmp_path: Path) -> None:
    """Nothing of them is served: only what ends after the last pixel passes."""
    data = BROKEN[name]
    info = probe(io.BytesIO(data))
    whole = Box(0, 0, info.width, info.height)
    for size in {*range(0, 300, 37), *(len(data) * part // 12 for part in range(12))}:
        path = stored(tmp_path, data[:size])
        with pytest.raises(OriginFailed) as refused:
            Reader(path, info).read(whole, 40, 30)
        assert str(tmp_path) not in refused.value.public


@pytest.mark.parametrize("name", BROKEN)
def test_damaged_files_are_images_or_refused(name: str, tmp_path: Path) -> None:
    """No other exception ever comes out."""
    data = BROKEN[name]
    rng = numpy.random.default_rng(len(data))
    for turn in range(40):
        damaged = bytearray(data)
        for at in rng.integers(0, min(len(data), 400 if turn % 2 else len(data)), 3):
            damaged[at] = rng.integers(0, 256)
        path = stored(tmp_path, bytes(damaged))
        try:
            info = probe(path, Reading(1_000_000))
            pixels = Reader(path, info).read(Box(0, 0, info.width, info.height), 20, 20)
            assert pixels.size == (20, 20)
        except OriginFailed:
            continue
