"""Scaling against the textbook's formula, and in two threads against one."""

import numpy
import pytest
from PIL import Image

from iiif_proxy.imaging import resample as module
from iiif_proxy.imaging.resample import resample
from tests.imaging.drawn import Edges, image, lanczos, numbers, photo, psnr

LARGE = photo(1400, 1100)


def of_mode(mode: str) -> Image.Image:
    picture = image(LARGE).convert(mode)
    if mode in ("LA", "RGBA"):
        picture.putalpha(image(LARGE[..., 1].copy()))
    return picture


def is_same(one: Image.Image, other: Image.Image) -> bool:
    """But for a rounding; of what is transparent two, and as it looks on black."""
    seen = {"RGBA": "RGBa", "LA": "La"}.get(one.mode, one.mode)
    apart = abs(numbers(one.convert(seen)) - numbers(other.convert(seen))).max()
    return bool(apart <= (1 if seen == one.mode else 2))


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBX", "CMYK", "RGBA", "LA"])
@pytest.mark.parametrize(
    "edges, size",
    [
        ((0, 0, 1400, 1100), (1199, 901)),
        ((3.3, 7.1, 1391, 1033.7), (1301, 900)),
        ((0, 0, 1400, 1100), (1700, 1500)),
        ((1, 2, 1399, 1097), (130, 101)),
        ((0, 0, 1400, 1100), (700, 2)),
        ((0, 0, 1400, 1100), (2, 900)),
    ],
)
@pytest.mark.parametrize("band", [1 << 30, 100_000])
def test_two_threads_are_one(
    mode: str, edges: Edges, size: tuple[int, int], band: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for a rounding here and there: Pillow keeps edges as 32-bit floats."""
    picture = of_mode(mode)
    monkeypatch.setattr(module, "BAND", band)
    monkeypatch.setattr(module, "PARALLEL", 1)
    apart = resample(picture, edges, *size)
    monkeypatch.setattr(module, "PARALLEL", 1 << 60)
    together = resample(picture, edges, *size)
    assert (apart.mode, apart.size) == (together.mode, together.size) == (mode, size)
    assert is_same(apart, together)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("size", [(1199, 901), (1700, 1500)])
def test_pillow_says_the_same(mode: str, size: tuple[int, int]) -> None:
    picture = of_mode(mode)
    wanted = picture.resize(size, Image.Resampling.LANCZOS)
    found = resample(picture, (0, 0, 1400, 1100), *size)
    assert is_same(found, wanted)


@pytest.mark.parametrize(
    "edges, size",
    [
        ((0, 0, 1400, 1100), (60, 47)),  # averaged first
        ((0, 0, 1400, 1100), (233, 183)),
        ((100.25, 50.5, 400.75, 300.125), (300, 250)),
        ((1390, 1090, 1400, 1100), (55, 44)),
        ((0, 0, 1400, 1100), (1, 1)),
        ((0, 0, 1400, 1100), (1, 300)),
        ((17, 19, 18, 20), (5, 3)),
    ],
)
def test_the_textbook_says_the_same(edges: Edges, size: tuple[int, int]) -> None:
    wanted = lanczos(LARGE, edges, size).clip(0, 255)
    assert psnr(resample(image(LARGE), edges, *size), wanted) > 51


def test_whole_pixels_are_not_touched() -> None:
    found = numbers(resample(image(LARGE), (30, 40, 130, 90), 100, 50))
    assert (found == LARGE[40:90, 30:130]).all()


def test_transparent_pixels_lend_no_colour() -> None:
    """Red on transparent black stays red, however thin."""
    pixels = numpy.zeros((400, 400, 4), numpy.uint8)
    pixels[100:300, 100:300] = (250, 0, 0, 255)
    for size in ((133, 71), (31, 29), (900, 900)):
        found = numbers(resample(image(pixels), (0, 0, 400, 400), *size))
        seen = found[found[..., 3] > 8]
        assert seen[:, 0].min() >= 235
        assert seen[:, 1:3].max() == 0
        half = (found[..., 3] > 8) & (found[..., 3] < 247)
        assert half.any()


def test_neighbours_join_without_a_seam() -> None:
    """Each region averages the same pixels, whichever grid its own corner would suggest."""
    whole = numbers(resample(image(LARGE), (0, 0, 1400, 1100), 140, 110))
    for x in range(0, 1400, 350):
        tile = numbers(resample(image(LARGE), (x, 0, x + 350, 1100), 35, 110))
        assert abs(tile - whole[:, x // 10 : x // 10 + 35]).max() <= 1


def test_pieces_are_converted_before_they_are_scaled() -> None:
    bits = image(LARGE[..., 0] > 127)
    found = resample(bits, (0, 0, 1400, 1100), 350, 275, lambda piece: piece.convert("L"))
    wanted = lanczos((LARGE[..., 0] > 127) * 255, (0, 0, 1400, 1100), (350, 275)).clip(0, 255)
    assert found.mode == "L"
    assert psnr(found, wanted) > 44
