"""Sources decoded no finer than needed: nothing moves, and the price is known before."""

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image

from iiif_proxy.iiif.model import Box, ImageInfo
from iiif_proxy.imaging.jpeg2000 import Facts, read_facts
from iiif_proxy.imaging.reader import Reader, probe
from tests.imaging.drawn import (
    exif,
    image,
    lanczos,
    numbers,
    oriented,
    photo,
    psnr,
    saved,
    shift,
    stored,
)


def read(path: Path, box: Box, size: tuple[int, int]) -> Image.Image:
    return Reader(path, probe(path)).read(box, *size)


LARGE = photo(1003, 777)


@pytest.mark.parametrize(
    "format, options, least",
    [
        ("JPEG", {"quality": 92}, 40),
        ("JPEG", {"quality": 92, "progressive": True}, 40),
        ("JPEG2000", {}, 38),
        ("JPEG2000", {"irreversible": True, "quality_mode": "dB", "quality_layers": [45]}, 45),
        ("JPEG2000", {"tile_size": (256, 256)}, 38),
        ("PNG", {}, 50),
    ],
)
def test_coarse_decoding_is_in_its_place(
    format: str, options: dict[str, Any], least: float, tmp_path: Path
) -> None:
    """No shift against a full decode (a hundredth of a pixel), and PERFORMANCE.md's likeness."""
    path = stored(tmp_path, saved(image(LARGE), format, **options))
    with Image.open(path) as picture:
        full = numpy.asarray(picture.convert("RGB"))
    reader = Reader(path, probe(path))
    for box, size in [
        (Box(0, 0, 1003, 777), (100, 77)),
        (Box(0, 0, 1003, 777), (126, 98)),
        (Box(101, 203, 700, 500), (140, 100)),
        (Box(512, 256, 491, 512), (123, 128)),
        (Box(0, 0, 1003, 777), (400, 310)),
        (Box(303, 377, 700, 400), (525, 300)),
    ]:
        pixels = numbers(reader.read(box, *size))
        edges = (box.x, box.y, box.x + box.width, box.y + box.height)
        wanted = lanczos(full, edges, size).clip(0, 255)
        assert max(map(abs, shift(wanted, pixels))) < 0.02
        assert psnr(pixels, wanted) > least


@pytest.mark.parametrize("orientation", [3, 6])
def test_coarse_decoding_of_a_turned_image(orientation: int, tmp_path: Path) -> None:
    picture = image(oriented(LARGE, orientation))
    path = stored(tmp_path, saved(picture, "JPEG", quality=95, exif=exif(orientation)))
    pixels = numbers(read(path, Box(300, 100, 640, 480), (80, 60)))
    wanted = lanczos(LARGE, (300, 100, 940, 580), (80, 60)).clip(0, 255)
    assert max(map(abs, shift(wanted, pixels))) < 0.02
    assert psnr(pixels, wanted) > 38


@pytest.mark.parametrize(
    "format, box, size, decoded",
    [
        ("jpeg", Box(0, 0, 8000, 6000), (1000, 750), 1000 * 750),
        ("jpeg", Box(0, 0, 8000, 6000), (999, 749), 1000 * 750),
        ("jpeg", Box(0, 0, 8000, 6000), (1001, 751), 2000 * 1500),
        ("jpeg", Box(4096, 4096, 1001, 1001), (126, 126), 1000 * 750),  # 1001 / 8 rounded up
        ("jpeg", Box(0, 0, 8000, 6000), (8000, 750), 8000 * 6000),
        ("jp2", Box(0, 0, 8000, 6000), (250, 187), 250 * 188),
        ("png", Box(0, 0, 8000, 6000), (100, 75), 8000 * 6000),
    ],
)
def test_cost(format: str, box: Box, size: tuple[int, int], decoded: int) -> None:
    cost = Reader("", ImageInfo(8000, 6000, format)).cost(box, *size)
    assert cost == decoded + size[0] * size[1]


def test_cost_is_what_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for format in ("JPEG", "JPEG2000", "PNG"):
        path = stored(tmp_path, saved(image(LARGE), format))
        sizes: list[tuple[int, int]] = []
        new = Image.core.new

        def noted(mode: str, size: tuple[int, int], into: Any = sizes, new: Any = new) -> Any:
            into.append(size)
            return new(mode, size)

        reader = Reader(path, probe(path))
        with monkeypatch.context() as patch:
            patch.setattr(Image.core, "new", noted)
            reader.read(Box(0, 0, 1003, 777), 126, 97)
        cost = reader.cost(Box(0, 0, 1003, 777), 126, 97) - 126 * 97
        assert sizes[0][0] * sizes[0][1] == cost


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("resolutions", [1, 3, 6])
def test_halvings_are_those_of_the_codestream(plain: bool, resolutions: int) -> None:
    data = saved(image(LARGE[:200]), "JPEG2000", num_resolutions=resolutions, no_jp2=plain)
    assert read_facts(io.BytesIO(data)) == Facts(resolutions - 1, True, boxed=not plain)
    assert read_facts(io.BytesIO(data[:40])) == Facts(boxed=not plain)
    shifted = bytearray(data)
    shifted[data.index(b"\xff\x51") + 17] = 1  # XOsiz: reduced pixels lie elsewhere then
    assert read_facts(io.BytesIO(bytes(shifted))) == Facts(boxed=not plain)


def test_small_tiles_of_a_jpeg2000_that_vanish_when_reduced(tmp_path: Path) -> None:
    """The codec refuses to reduce it so far; it is decoded whole then."""
    picture = image(photo(262, 133))
    path = stored(tmp_path, saved(picture, "JPEG2000", tile_size=(65, 65), num_resolutions=6))
    pixels = read(path, Box(0, 0, 262, 133), (9, 5))
    wanted = lanczos(numpy.asarray(picture), (0, 0, 262, 133), (9, 5)).clip(0, 255)
    assert psnr(pixels, wanted) > 30


def test_threads_may_share_a_reader(tmp_path: Path) -> None:
    path = stored(tmp_path, saved(image(LARGE), "JPEG"))
    reader = Reader(path, probe(path))
    boxes = [Box(x, 100, 200, 150) for x in range(0, 800, 100)]
    alone = [reader.read(box, 100, 75).tobytes() for box in boxes]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda box: reader.read(box, 100, 75).tobytes(), boxes))
    assert together == alone


def test_a_colour_at_the_rim_is_the_same_in_every_tile(tmp_path: Path) -> None:
    """Neighbouring regions scaled apart join as if scaled in one piece."""
    path = stored(tmp_path, saved(image(LARGE), "PNG"))
    whole = numbers(read(path, Box(0, 0, 1000, 600), (250, 150)))
    left = numbers(read(path, Box(0, 0, 600, 600), (150, 150)))
    right = numbers(read(path, Box(600, 0, 400, 600), (100, 150)))
    assert numpy.abs(numpy.concatenate([left, right], 1) - whole).max() <= 1
