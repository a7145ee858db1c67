"""What is written: readable, right, of the asked kind, and silent about its source."""

import io
import re
import subprocess
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image

from iiif_proxy.errors import InvalidRequest, NotSupported
from iiif_proxy.iiif.plan import LONGEST_SIDE
from iiif_proxy.imaging.encode import FORMATS, EncodeOptions, available, encode
from iiif_proxy.imaging.palette import indexed
from tests.imaging.drawn import exif, image, numbers, photo, psnr
from tests.imaging.profiles import rgb

OPTIONS = EncodeOptions()
SOURCE = photo(120, 80)
MODES = ("1", "L", "LA", "RGB", "RGBX", "RGBA")


def picture(mode: str) -> Image.Image:
    found = image(SOURCE).convert(mode if mode not in ("LA", "RGBA") else mode[:-1])
    if mode in ("LA", "RGBA"):
        alpha = numpy.zeros((80, 120), numpy.uint8)
        alpha[:, 40:] = 255
        alpha[:, 80:] = 128
        found.putalpha(image(alpha))
    return found


def written(pixels: Image.Image, format: str, options: EncodeOptions = OPTIONS) -> bytes:
    buffer = io.BytesIO()
    encode(pixels, format, buffer, options)
    return buffer.getvalue()


def reread(data: bytes) -> Image.Image:
    found = Image.open(io.BytesIO(data))
    found.load()
    return found


IMAGES = [name for name in FORMATS if name != "pdf"]
# What comes back, by mode written; RGBX is RGB.
KINDS: dict[str, dict[str, str]] = {
    "jpg": {"1": "L", "L": "L", "LA": "L", "RGB": "RGB", "RGBA": "RGB"},
    "png": {"1": "1", "L": "L", "LA": "LA", "RGB": "RGB", "RGBA": "RGBA"},
    "tif": {"1": "1", "L": "L", "LA": "LA", "RGB": "RGB", "RGBA": "RGBA"},
    "gif": {"1": "P", "L": "P", "LA": "P", "RGB": "P", "RGBA": "P"},
    "webp": {"1": "RGB", "L": "RGB", "LA": "RGBA", "RGB": "RGB", "RGBA": "RGBA"},
    "avif": {"1": "L", "L": "L", "LA": "RGBA", "RGB": "RGB", "RGBA": "RGBA"},
    "jp2": {"1": "L", "L": "L", "LA": "LA", "RGB": "RGB", "RGBA": "RGBA"},
}
PILLOW = {"jpg": "JPEG", "png": "PNG", "tif": "TIFF", "gif": "GIF", "webp": "WEBP",
          "avif": "AVIF", "jp2": "JPEG2000"}  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("format", IMAGES)
def test_every_mode_in_every_format(format: str, mode: str) -> None:
    source = picture(mode)
    before = source.tobytes()
    found = reread(written(source, format))
    assert (found.format, found.size) == (PILLOW[format], (120, 80))
    assert found.mode == KINDS[format][mode.replace("X", "")]
    wanted = source.convert("RGBA") if mode in ("LA", "RGBA") else source.convert("RGB")
    if mode not in ("LA", "RGBA"):
        least = 30 if mode != "1" else 18  # a dither pattern is the hardest there is
        assert psnr(found.convert("RGB"), wanted) > (22 if format == "gif" else least)
    elif FORMATS[format].alpha:
        shown = numbers(found.convert("RGBA"))
        off = 4 if format == "jp2" else 0  # it is lossy in all channels
        assert (shown[:, :40, 3] <= off).all()
        assert (shown[:, 40:80, 3] >= 255 - off).all()
        opaque = numbers(wanted)[:, 42:78, :3]
        assert psnr(shown[:, 42:78, :3], opaque) > (22 if format == "gif" else 28)
    else:
        shown = numbers(found.convert("RGB"))
        assert shown[:, :32].min() > 230  # on white, not on black
    assert source.tobytes() == before


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBX", "RGBA"])
@pytest.mark.parametrize("format", ["png", "tif"])
def test_lossless_is_exact(format: str, mode: str) -> None:
    source = picture(mode)
    found = reread(written(source, format))
    wanted = source.convert("RGB") if mode == "RGBX" else source
    assert (found.mode, found.tobytes()) == (wanted.mode, wanted.tobytes())


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("mode", ["1", "LA", "RGB"])
def test_the_file_makes_no_difference(format: str, mode: str, tmp_path: Path) -> None:
    """Raw, buffered or in memory, at the start or behind something: the same bytes."""
    wanted = written(picture(mode), format)
    for number, arguments in enumerate(({"buffering": 0}, {})):
        for kind in ("wb", "w+b"):
            path = tmp_path / f"tempname{number}{kind}"
            with path.open(kind, **arguments) as file:  # type: ignore[call-overload]
                encode(picture(mode), format, file, OPTIONS)
                file.write(b"end")
            assert path.read_bytes() == wanted + b"end"
    assert b"tempname" not in wanted


@pytest.mark.parametrize("format", FORMATS)
def test_nothing_of_the_source_is_told(format: str) -> None:
    source = picture("RGB")
    source.info = {
        "icc_profile": rgb(),
        "exif": exif(6),
        "xmp": b"<secret/>",
        "comment": b"secret",
        "transparency": (1, 2, 3),
        "dpi": (37, 37),
        "gamma": 0.7,
        "photoshop": {1: b"secret"},
    }
    kept = dict(source.info)
    data = written(source, format)
    assert source.info == kept
    for word in (b"secret", b"acsp", b"Exif", b"GPS", b"eXIf", b"iCCP", b"tRNS", b"http:"):
        assert word not in data
    clean = picture("RGB")
    assert data == written(clean, format)


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "LA"])
def test_pdf_is_one_page_with_the_pixels(mode: str) -> None:
    data = written(picture(mode), "pdf")
    assert data.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type /Page\b", data)) == 1
    assert b"120" in data
    assert b"/CreationDate" not in data
    assert b"/Title" not in data
    if mode != "1":
        start = data.index(b"\xff\xd8\xff")
        found = reread(data[start : data.index(b"\xff\xd9", start) + 2])
        assert (found.size, found.mode) == ((120, 80), "RGB" if mode == "RGB" else "L")


def test_bitonal() -> None:
    """SPEC 16: one bit where the format can, two colours or nearly so elsewhere."""
    source = image(SOURCE).convert("L").point([0] * 128 + [255] * 128, "1")
    wanted = numbers(source) * 255
    for format in ("png", "tif", "gif", "webp"):
        found = reread(written(source, format))
        assert (numbers(found.convert("L")) == wanted).all()
    gif = reread(written(source, "gif"))
    assert len(gif.convert("RGB").getcolors() or ()) == 2
    assert (gif.getpalette() or [])[:6] == [0, 0, 0, 255, 255, 255]
    for format in ("jpg", "avif", "jp2"):
        found_numbers = numbers(reread(written(source, format)).convert("L"))
        assert psnr(found_numbers, wanted) > 24
    tif = reread(written(source, "tif"))
    assert tif.info["compression"] == "group4"


def test_options_count() -> None:
    source = image(photo(200, 150))

    def size(format: str, **options: Any) -> int:
        return len(written(source, format, replace(OPTIONS, **options)))

    assert size("jpg", jpeg_quality=40) < size("jpg")
    assert size("jpg", jpeg_subsampling="4:4:4") > size("jpg", jpeg_subsampling="4:2:2")
    assert size("webp", webp_quality=40) < size("webp")
    assert size("webp", webp_method=6) != size("webp", webp_method=0)
    assert size("avif", avif_quality=30) < size("avif")
    assert size("avif", avif_speed=2) != size("avif", avif_speed=10)
    assert size("png", png_compression=9) < size("png", png_compression=0)
    assert size("jp2", jp2_quality=30) < size("jp2")
    assert size("pdf", jpeg_quality=40) < size("pdf")
    plain = written(source, "jpg")
    progressive = written(source, "jpg", replace(OPTIONS, jpeg_progressive=True))
    assert b"\xff\xc0" in plain
    assert b"\xff\xc2" in progressive
    found = Image.open(io.BytesIO(plain))
    assert [layer[1:3] for layer in found.layer] == [(2, 2), (1, 1), (1, 1)]  # type: ignore[attr-defined]


def test_a_changed_option_is_another_digest() -> None:
    digests = {OPTIONS.digest}
    for field in fields(EncodeOptions):
        value = getattr(OPTIONS, field.name)
        other = "4:4:4" if isinstance(value, str) else not value if value is False else value + 1
        digests.add(replace(OPTIONS, **{field.name: other}).digest)
    assert len(digests) == 1 + len(fields(EncodeOptions))
    assert EncodeOptions().digest == OPTIONS.digest
    assert re.fullmatch("[0-9a-f]{12}", OPTIONS.digest)


@pytest.mark.parametrize("format", ["png", "tif", "gif", "webp", "jp2"])
def test_two_colours_are_exact(format: str) -> None:
    found = reread(written(picture("1"), format)).convert("RGB")
    assert found.tobytes() == picture("1").convert("RGB").tobytes()


def test_jp2_quality_is_a_psnr() -> None:
    source = image(photo(300, 300))
    for quality in (34, 40, 46):
        found = reread(written(source, "jp2", replace(OPTIONS, jp2_quality=quality)))
        assert abs(psnr(found, source) - quality) < 1.5


def test_what_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    assert available()[0] == "jpg"
    assert set(available()) <= set(FORMATS)
    assert {"jpg", "png", "gif", "pdf"} <= set(available())
    monkeypatch.setattr("iiif_proxy.imaging.encode._has", lambda name: name != "avif")
    assert "avif" not in available()
    with pytest.raises(NotSupported, match="avif"):
        written(picture("RGB"), "avif")


def test_longest_sides() -> None:
    """The plan refuses the same sides earlier."""
    ours = {name: kind.longest for name, kind in FORMATS.items() if kind.longest}
    assert ours == LONGEST_SIDE
    for name, side in ours.items():
        with pytest.raises(InvalidRequest, match=str(side)):
            written(Image.new("L", (side + 1, 1)), name)
    for name in ("jpg", "gif", "webp"):
        side = ours[name]
        assert side is not None
        assert reread(written(Image.new("L", (side, 1)), name)).size == (side, 1)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 3), (17, 1)])
@pytest.mark.parametrize("format", FORMATS)
def test_tiny_images(format: str, size: tuple[int, int]) -> None:
    for mode in ("1", "LA", "RGB"):
        data = written(picture(mode).resize(size), format)
        assert format == "pdf" or reread(data).size == size


@pytest.mark.parametrize("count", [1, 2, 100, 255, 256])
def test_few_colours_are_kept(count: int) -> None:
    rng = numpy.random.default_rng(count)
    colours = rng.integers(0, 256, (count, 3)).astype(numpy.uint8)
    source = image(colours[rng.integers(0, count, (50, 60))])
    assert (numbers(reread(written(source, "gif")).convert("RGB")) == numbers(source)).all()
    if count < 256:
        source.putalpha(image((numpy.arange(3000).reshape(50, 60) % 3 > 0) * numpy.uint8(255)))
        shown = numbers(reread(written(source, "gif")).convert("RGBA"))
        seen = shown[..., 3] == 255
        assert (seen == (numbers(source)[..., 3] == 255)).all()
        assert (shown[seen] == numbers(source)[seen]).all()


def test_many_colours_are_dithered_well() -> None:
    source = image(photo(256, 256, noise=0))
    found = indexed(source).convert("RGB")
    assert psnr(found.reduce(4), source.reduce(4)) > 33
    fully = Image.new("RGBA", (20, 20))
    assert numbers(indexed(fully).convert("RGBA"))[..., 3].max() == 0


def test_djpeg_reads_it(need: Callable[[str], str]) -> None:
    """A second opinion on colours and order."""
    data = written(picture("RGB"), "jpg")
    ppm = subprocess.run([need("djpeg"), "-pnm"], input=data, capture_output=True, check=True)
    assert psnr(Image.open(io.BytesIO(ppm.stdout)), picture("RGB")) > 30
