"""The reference table: every kind of source, by the whole proxy, against independent pixels."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
from PIL import Image

from tests.fidelity.asking import Asked, by_libvips
from tests.fidelity.kinds import HEIGHT, WIDTH, Kind, kinds
from tests.fidelity.measure import distance, shown
from tests.imaging.drawn import lanczos

NAMES = list(kinds())
# What an eye could see, were the two shown side by side (mean CIEDE2000).
VISIBLE = 0.5
# dB that each output must keep of pixels that the default settings of its encoder are given.
LOSSY = {"jpg": 30, "webp": 30, "avif": 29, "jp2": 38}


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    return Asked(tmp_path_factory.mktemp("kinds"))


def ask_for(asked: Asked, name: str) -> tuple[str, Kind]:
    kind = kinds()[name]
    file = f"{NAMES.index(name)}"
    asked.put(file, kind.data)
    return file, kind


def is_gray(kind: Kind) -> bool:
    return kind.wanted.ndim == 2 or kind.wanted.shape[2] == 2


@pytest.mark.parametrize("program", ["djpeg", "opj_decompress"])
def test_the_reference_decoders_are_here(need: Callable[[str], str], program: str) -> None:
    """Without them lossy files are compared with what they were made of, which says less."""
    need(program)


@pytest.mark.parametrize("name", NAMES)
def test_the_picture_is_the_picture(asked: Asked, name: str) -> None:
    """Its pixels, its size upright, gray where it is gray, alpha where it has some."""
    file, kind = ask_for(asked, name)
    found = asked.pixels(f"{file}/full/max/0/default.png")
    info = json.loads(asked.bytes(f"{file}/info.json"))
    assert (info["height"], info["width"]) == found.shape[:2] == kind.wanted.shape[:2]
    ours = distance(found, kind.wanted)
    assert ours.psnr >= kind.least
    channels = kind.wanted.shape[2] if kind.wanted.ndim == 3 else 1
    assert (found.shape[2] if found.ndim == 3 else 1) == channels
    if not kind.convention:
        theirs = by_libvips(kind.data, WIDTH, HEIGHT)
        assert theirs is not None
        assert ours.delta_e <= distance(theirs, kind.wanted).delta_e + VISIBLE


@pytest.mark.parametrize("name", NAMES)
def test_a_region_is_cut_from_the_same_picture(asked: Asked, name: str) -> None:
    file, _ = ask_for(asked, name)
    whole = asked.pixels(f"{file}/full/max/0/default.png").astype(int)
    part = asked.pixels(f"{file}/40,24,64,48/max/0/default.png").astype(int)
    assert numpy.abs(part - whole[24:72, 40:104]).max() <= 1


@pytest.mark.parametrize("name", [n for n in NAMES if "orientation" not in n or "6" in n])
def test_scaled_down_it_is_what_lanczos_makes_of_it(asked: Asked, name: str) -> None:
    """And no further from that than libvips is."""
    file, kind = ask_for(asked, name)
    width, height = 75, 50
    found = asked.pixels(f"{file}/full/{width},{height}/0/default.png")
    wanted = scaled(kind.wanted, width, height)
    ours = distance(found, wanted)
    theirs = None if kind.convention else by_libvips(kind.data, width, height)
    assert ours.psnr > 30
    if theirs is not None:
        assert ours.delta_e <= distance(theirs, wanted).delta_e + VISIBLE


def scaled(pixels: numpy.ndarray, width: int, height: int) -> numpy.ndarray:
    """The textbook's Lanczos, of colours as far as they are opaque."""
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    size = (pixels.shape[1], pixels.shape[0])
    if pixels.shape[2] not in (2, 4):
        return lanczos(pixels, (0, 0, *size), (width, height)).clip(0, 255)
    alpha = pixels[..., -1:] / 255
    weighed = numpy.dstack([pixels[..., :-1] * alpha, alpha])
    found = lanczos(weighed, (0, 0, *size), (width, height))
    colours = found[..., :-1] / numpy.maximum(found[..., -1:], 1e-3)
    return numpy.dstack([colours, found[..., -1:] * 255]).clip(0, 255)


SOURCES = [
    "JPEG", "JPEG gray", "JPEG Adobe RGB", "JPEG CMYK with profile", "PNG 1 bit",
    "PNG palette, tRNS", "PNG RGBA", "PNG gray alpha", "PNG gray 16", "TIFF RGB 16 II",
    "TIFF Adobe RGB, tiles", "TIFF float with its range", "JPEG 2000",
]  # fmt: skip


@pytest.mark.parametrize("format", ["png", "tif", "jpg", "webp", "avif", "jp2", "gif"])
@pytest.mark.parametrize("name", SOURCES)
def test_every_output_keeps_it(asked: Asked, name: str, format: str) -> None:
    """Exactly, or as far as the format's default quality does; on white where it has no alpha."""
    file, _ = ask_for(asked, name)
    exact = asked.pixels(f"{file}/full/max/0/default.png")
    data = asked.bytes(f"{file}/full/max/0/default.{format}")
    with Image.open(io.BytesIO(data)) as opened:
        assert not opened.info.get("icc_profile")
        mode = "RGBA" if opened.has_transparency_data else "RGB"
        found = numpy.asarray(opened.convert(mode))
    if format == "jpg":
        exact = laid_on_white(exact)
    if format in ("png", "tif"):
        assert numpy.abs(shown(found) - shown(exact)).max() < 1
    elif format == "gif":
        # Where there is alpha, a pixel is there or not, and no colour is kept for it.
        assert mode == "RGB" or set(found[..., 3].ravel()) <= {0, 255}
        assert mode == "RGBA" or distance(found, exact).delta_e < 6
        assert (mode == "RGBA") == (exact.ndim == 3 and exact.shape[2] in (2, 4))
    else:
        assert distance(found, exact).psnr > LOSSY[format]


def laid_on_white(pixels: numpy.ndarray) -> numpy.ndarray:
    if pixels.ndim == 2 or pixels.shape[2] not in (2, 4):
        return pixels
    alpha = pixels[..., -1:] / 255
    return pixels[..., :-1] * alpha + 255 * (1 - alpha)


def test_gray_stays_gray_unless_colour_is_asked(asked: Asked) -> None:
    for name in NAMES:
        if is_gray(kinds()[name]):
            file, _ = ask_for(asked, name)
            assert asked.image(f"{file}/full/20,/0/default.jpg").mode == "L", name
            assert asked.image(f"{file}/full/20,/0/color.jpg").mode == "RGB", name


def test_the_table_in_the_docs_has_every_kind() -> None:
    """`python -m bench.fidelity --docs docs/fidelity.md` writes it."""
    from bench.fidelity import shown_in_table

    text = (Path(__file__).parents[2] / "docs" / "fidelity.md").read_text()
    rows = {
        line.split("|")[1].split("(libvips")[0].strip() for line in text.splitlines() if "|" in line
    }
    assert set(shown_in_table()) <= rows
