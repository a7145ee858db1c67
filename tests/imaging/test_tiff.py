"""The TIFF reader against tifffile, Pillow and libvips: same pixels, few reads, no trust."""

import io
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageOps

from iiif_proxy.errors import NotSupported, OriginFailed
from iiif_proxy.iiif.model import Box
from iiif_proxy.imaging import jpegtile, tiffcanvas, tiffextra
from iiif_proxy.imaging.color import to_srgb
from iiif_proxy.imaging.tiff import Tiff
from iiif_proxy.imaging.tiffviews import exact, views_of
from iiif_proxy.ranges import FileSource, Span
from tests.imaging import profiles

SAMPLES = Path(__file__).parent / "samples"
WIDTH, HEIGHT = 331, 205


class Memory:
    """A ByteSource over bytes that writes down each round trip."""

    def __init__(self, data: bytes, size_known: bool = True) -> None:
        self.data = data
        self.size = len(data) if size_known else None
        self.trips: list[list[Span]] = []

    def read(self, offset: int, size: int) -> bytes:
        return self.read_many([(offset, size)])[0]

    def read_many(self, spans: list[Span]) -> list[bytes]:
        self.trips.append(spans)
        return [self.data[offset : offset + size] for offset, size in spans]


def picture(width: int = WIDTH, height: int = HEIGHT, samples: int = 3) -> np.ndarray:
    """Something like a photograph: slopes, edges, a little grain."""
    y, x = np.mgrid[0:height, 0:width].astype(float)
    noise = np.random.default_rng(7).normal(0, 3, (height, width, samples))
    planes = [
        128 + 90 * np.sin(x / (23 + 9 * i)) * np.cos(y / (31 - 5 * i)) + 30 * ((x + y) % 97 > 60)
        for i in range(samples)
    ]
    found = np.clip(np.dstack(planes) + noise, 0, 255).astype(np.uint8)
    return found if samples > 1 else found[:, :, 0]


def written(array: np.ndarray, **how: Any) -> bytes:
    """A TIFF of one level by tifffile, tiles of 64 x 48 unless told otherwise."""
    file = io.BytesIO()
    opening = {key: how.pop(key) for key in ("byteorder", "bigtiff") if key in how}
    with tifffile.TiffWriter(file, **opening) as writer:
        writer.write(array, **{"tile": (48, 64), "metadata": None, **how})
    return file.getvalue()


def halved(array: np.ndarray, ceil: bool = False) -> np.ndarray:
    """Half as large, a box filter, odd sides rounded down or up."""
    image = Image.fromarray(array)
    if not ceil:
        image = image.crop((0, 0, image.width // 2 * 2, image.height // 2 * 2))
    return np.asarray(image.reduce(2))


def pyramid(levels: list[np.ndarray], below: bool, flagged: bool = True, **how: Any) -> bytes:
    """A pyramid by tifffile: levels in the chain (as libvips writes them) or as SubIFDs."""
    file = io.BytesIO()
    how = {"tile": (64, 64), "metadata": None, "photometric": "rgb", **how}
    with tifffile.TiffWriter(file) as writer:
        writer.write(levels[0], subifds=len(levels) - 1 if below else 0, **how)
        for level in levels[1:]:
            writer.write(level, subfiletype=1 if flagged else 0, **how)
    return file.getvalue()


def levels_of(count: int, ceil: bool = False) -> list[np.ndarray]:
    found = [picture()]
    for _ in range(count - 1):
        found.append(halved(found[-1], ceil))
    return found


def opened(data: bytes) -> Tiff:
    return Tiff.open(Memory(data))


def psnr(one: Image.Image, other: Image.Image) -> float:
    a, b = (np.asarray(image.convert("RGB"), dtype=float) for image in (one, other))
    error = float(np.mean((a - b) ** 2))
    return 99.0 if error == 0 else 10 * np.log10(255**2 / error)


# Whole pixels of the full size: inside one tile, over many, at the edges, all.
BOXES = [
    Box(64, 48, 64, 48),
    Box(70, 50, 30, 20),
    Box(13, 7, 250, 171),
    Box(300, 190, 31, 15),
    Box(330, 204, 1, 1),
    Box(0, 0, WIDTH, HEIGHT),
]


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"byteorder": ">"},
        {"bigtiff": True},
        {"bigtiff": True, "byteorder": ">", "compression": "lzw"},
        {"compression": "lzw"},
        {"compression": "lzw", "predictor": True},
        {"compression": "zlib", "predictor": True, "byteorder": ">"},
        {"compression": "deflate"},
        {"compression": "packbits"},
        {"compression": "zstd", "predictor": True},
        {"compression": "jpeg2000", "compressionargs": {"level": 0}},
        {"compression": "webp", "compressionargs": {"lossless": True}},
        {"tile": None, "rowsperstrip": 16, "compression": "lzw"},
        {"tile": None, "rowsperstrip": 1},
        {"tile": None, "rowsperstrip": 32, "compression": "zlib", "predictor": True},
        {"tile": (256, 256)},
    ],
    ids=str,
)
def test_lossless_rgb_is_bit_identical(how: dict[str, Any], box: Box) -> None:
    array = picture()
    tiff = opened(written(array, photometric="rgb", **how))
    assert tiff.supported
    found = tiff.read(box, box.width, box.height)
    assert found.mode == "RGB"
    expected = array[box.y : box.y + box.height, box.x : box.x + box.width]
    assert np.array_equal(np.asarray(found), expected)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "lzw"])
@pytest.mark.parametrize(
    "samples, photometric, extra, mode",
    [
        (1, "minisblack", None, "L"),
        (2, "minisblack", "unassalpha", "LA"),
        (4, "rgb", "unassalpha", "RGBA"),
        (4, "rgb", "unspecified", "RGB"),
    ],
)
def test_modes(
    samples: int, photometric: str, extra: str | None, mode: str, compression: str, planar: str
) -> None:
    array = picture(samples=samples)
    stored = array.transpose(2, 0, 1).copy() if planar == "separate" and samples > 1 else array
    how: dict[str, Any] = {"extrasamples": [extra]} if extra else {}
    if samples > 1:
        how["planarconfig"] = planar
    tiff = opened(written(stored, photometric=photometric, compression=compression, **how))
    found = tiff.read(Box(13, 7, 250, 171), 250, 171)
    assert found.mode == mode
    channels = len(mode)
    expected = array[7:178, 13:263] if samples == 1 else array[7:178, 13:263, :channels]
    assert np.array_equal(np.asarray(found), expected)
    info = tiff.info()
    assert (info.gray, info.alpha) == (mode[0] == "L", mode[-1] == "A")


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_premultiplied_alpha_is_divided_out(planar: str) -> None:
    array = np.full((64, 64, 4), (50, 100, 20, 128), np.uint8)
    stored = array.transpose(2, 0, 1).copy() if planar == "separate" else array
    data = written(stored, photometric="rgb", extrasamples=["assocalpha"], planarconfig=planar)
    found = opened(data).read(Box(0, 0, 64, 64), 64, 64)
    assert found.mode == "RGBA"
    red, green, blue, alpha = found.getpixel((5, 5))  # type: ignore[misc]
    assert (abs(red - 100) <= 1, abs(green - 199) <= 1, abs(blue - 40) <= 1) == (True,) * 3
    assert alpha == 128


@pytest.mark.parametrize("compression", [None, "lzw"])
def test_white_is_zero(compression: str | None) -> None:
    array = picture(samples=1)
    data = written(array, photometric="miniswhite", compression=compression)
    found = opened(data).read(Box(5, 5, 200, 100), 200, 100)
    assert np.array_equal(np.asarray(found), 255 - array[5:105, 5:205])


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "lzw", "zlib"])
@pytest.mark.parametrize("samples", [1, 3])
def test_sixteen_bits_are_scaled_not_clipped(
    samples: int, compression: str | None, byteorder: str
) -> None:
    array = picture(samples=samples).astype(np.uint16) * 257 + 100
    how = {"photometric": "rgb" if samples == 3 else "minisblack", "compression": compression}
    tiff = opened(written(array, byteorder=byteorder, predictor=bool(compression), **how))
    found = tiff.read(Box(0, 0, WIDTH, HEIGHT), WIDTH, HEIGHT)
    assert found.mode == ("RGB" if samples == 3 else "L")
    assert np.abs(np.asarray(found).astype(float) - array / 257).max() <= 1


# JPEG


def jpeg_reference(data: bytes) -> np.ndarray:
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        return tiff.pages.first.asarray()


# tifffile stores RGB as YCbCr with a JFIF mark unless told `outcolorspace`, then with Adobe's.
JPEGS: list[dict[str, Any]] = [
    {},
    {"subsampling": (1, 1)},
    {"subsampling": (2, 1)},
    {"compressionargs": {"outcolorspace": "rgb"}},
    {"planarconfig": "separate"},
    {"photometric": "minisblack"},
    {"bigtiff": True, "byteorder": ">"},
]


@pytest.mark.parametrize("how", JPEGS, ids=str)
def test_jpeg_has_the_colours_of_the_picture(how: dict[str, Any]) -> None:
    array = picture(samples=1 if "photometric" in how else 3)
    stored = array.transpose(2, 0, 1).copy() if "planarconfig" in how else array
    how = {"photometric": "rgb", **how}
    how["compressionargs"] = {"level": 92, **how.get("compressionargs", {})}
    data = written(stored, compression="jpeg", **how)
    found = opened(data).read(Box(0, 0, WIDTH, HEIGHT), WIDTH, HEIGHT)
    reference = jpeg_reference(data)
    if "planarconfig" in how:
        reference = reference.transpose(1, 2, 0)
    assert np.array_equal(np.asarray(found), reference)
    assert psnr(found, Image.fromarray(array)) > 30


@pytest.mark.parametrize("name", ["vips-ycbcr.tif", "vips-rgb-subifd-big.tif"])
def test_files_of_libvips(name: str) -> None:
    """JPEGTables apart, YCbCr (Q 80) and RGB without a mark (Q 95); levels rounded down."""
    tiff = Tiff.open(FileSource(SAMPLES / name))
    with tifffile.TiffFile(SAMPLES / name) as reference:
        stored = [level.asarray() for level in reference.series[0].levels]
    sizes = [(level.width, level.height) for level in tiff.levels]
    assert sizes == [(a.shape[1], a.shape[0]) for a in stored]
    assert sizes == [(331, 205), (165, 102), (82, 51), (41, 25)]
    assert len(tiff.pages) == 1
    assert tiff.info().scale_factors == (1, 2, 4, 8)
    for factor, array in zip((1, 2, 4, 8), stored, strict=True):
        for y in range(0, HEIGHT, 64 * factor):
            for x in range(0, WIDTH, 64 * factor):
                box = Box(x, y, min(64 * factor, WIDTH - x), min(64 * factor, HEIGHT - y))
                width, height = -(-box.width // factor), -(-box.height // factor)
                found = np.asarray(tiff.read(box, width, height))
                assert found.shape == (height, width, 3)
                # What a viewer asks beyond a level that was rounded down repeats its edge.
                rows = np.minimum(np.arange(y // factor, y // factor + height), len(array) - 1)
                columns = np.arange(x // factor, x // factor + width)
                columns = np.minimum(columns, array.shape[1] - 1)
                assert np.array_equal(found, array[rows][:, columns])


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_strips_of_pillow(mode: str, compression: str) -> None:
    image = Image.fromarray(picture()).convert(mode)
    file = io.BytesIO()
    image.save(file, "TIFF", compression=compression, strip_size=WIDTH * 3 * 32)
    tiff = opened(file.getvalue())
    found = tiff.read(Box(10, 20, 300, 180), 300, 180)
    with Image.open(file) as reference:
        assert psnr(found, reference.crop((10, 20, 310, 200))) == 99
    assert tiff.info().tile_width == 0


# Pyramids


@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("below, flagged", [(True, True), (False, True), (False, False)])
def test_levels_are_found_and_answer_whole_pixels(below: bool, flagged: bool, ceil: bool) -> None:
    levels = levels_of(4, ceil)
    tiff = opened(pyramid(levels, below, flagged, compression="zlib"))
    assert [(x.height, x.width) for x in tiff.levels] == [a.shape[:2] for a in levels]
    assert len(tiff.pages) == 1
    info = tiff.info()
    assert (info.tile_width, info.tile_height) == (64, 64)
    assert info.scale_factors == (1, 2, 4, 8)
    for factor, array in zip(info.scale_factors, levels, strict=True):
        box = Box(0, 0, 64 * factor, min(64 * factor, HEIGHT))
        box = Box(0, 0, min(box.width, WIDTH), box.height)
        width, height = -(-box.width // factor), -(-box.height // factor)
        found = np.asarray(tiff.read(box, width, height))
        rows, columns = min(height, len(array)), min(width, array.shape[1])
        assert np.array_equal(found[:rows, :columns], array[:rows, :columns])


def test_pages_are_not_levels_and_levels_not_pages() -> None:
    file = io.BytesIO()
    how = {"tile": (64, 64), "metadata": None, "photometric": "rgb", "compression": "zlib"}
    one, two = picture(), picture(200, 100)[::-1].copy()
    mask = np.full((HEIGHT, WIDTH), True)
    label = picture(50, 160)
    with tifffile.TiffWriter(file) as writer:
        writer.write(one, **how)
        writer.write(halved(one), subfiletype=1, **how)
        writer.write(mask, subfiletype=4, **{**how, "photometric": "minisblack"})
        writer.write(label, subfiletype=1, **how)
        writer.write(two, subfiletype=2, subifds=1, **how)
        writer.write(halved(two), subfiletype=1, **how)
        writer.write(one, subfiletype=2, **how)
    tiff = opened(file.getvalue())
    assert [[x.width for x in page.levels] for page in tiff.pages] == [
        [331, 165],
        [200, 100],
        [331],
    ]
    assert np.array_equal(np.asarray(tiff.pages[1].read(Box(0, 0, 200, 100), 200, 100)), two)


def test_a_page_costs_no_look_at_the_pages_behind_its_levels() -> None:
    file = io.BytesIO()
    how = {"tile": (256, 256), "metadata": None, "photometric": "rgb"}
    with tifffile.TiffWriter(file) as writer:
        for _ in range(6):
            writer.write(picture(640, 480), **how)
    source = Memory(file.getvalue())
    tiff = Tiff.open(source)
    assert len(source.trips) <= 2
    assert len(tiff.pages) == 6


@pytest.mark.parametrize("size_known", [True, False])
def test_round_trips(size_known: bool) -> None:
    """IFDs between the levels, as libtiff and tifffile write them; 3 MB uncompressed."""
    levels = [picture(1024, 768)]
    while len(levels) < 4:
        levels.append(halved(levels[-1]))
    source = Memory(pyramid(levels, below=False, tile=(128, 128)), size_known)
    tiff = Tiff.open(source)
    assert len(source.trips) <= (3 if size_known else 4)
    source.trips.clear()
    # One aligned tile; four neighbours; something across.
    for box, spans in [
        (Box(256, 256, 128, 128), 1),
        (Box(256, 128, 256, 256), 2),
        (Box(200, 100, 300, 300), 4),
    ]:
        tiff.read(box, box.width, box.height)
        assert len(source.trips) == 1
        assert len(source.trips.pop()) <= spans


def test_the_end_comes_with_the_first_directory() -> None:
    """Where it is not in front: most writers put it behind its pixels, and go on so."""
    data = written(picture(1024, 768), tile=(128, 128))
    size = 2 + 12 * int.from_bytes(data[8:10], "little") + 4
    moved = data[:4] + len(data).to_bytes(4, "little") + data[8:]
    moved = moved[:8] + bytes(size) + moved[8 + size :] + data[8 : 8 + size] + bytes(1 << 20)
    source = Memory(moved)
    tiff = Tiff.open(source, head=moved[:4096])
    assert (tiff.info().width, tiff.info().tile_width) == (1024, 128)
    ((first, last),) = source.trips
    assert first[0] <= len(data) < sum(first) < last[0]
    assert sum(last) == len(moved)
    source = Memory(data)
    Tiff.open(source, head=data[:4096])
    assert source.trips == []


def test_small_levels_come_with_the_directories() -> None:
    levels = [picture(1024, 768)]
    while len(levels) < 4:
        levels.append(halved(levels[-1]))
    source = Memory(pyramid(levels, below=False, tile=(128, 128)))
    tiff = Tiff.open(source)
    source.trips.clear()
    tiff.read(Box(0, 0, 1024, 768), 128, 96)
    assert source.trips == []


def test_a_file_of_one_block_is_one_read_and_a_known_head_is_none() -> None:
    data = pyramid(levels_of(4), below=True, compression="jpeg")
    source = Memory(data)
    tiff = Tiff.open(source)
    assert len(source.trips) == 1
    tiff.read(Box(0, 0, WIDTH, HEIGHT), 100, 62)
    assert len(source.trips) == 1
    source = Memory(data)
    Tiff.open(source, head=data)
    assert source.trips == []


# Quality


def lanczos(array: np.ndarray, box: Box, width: int, height: int) -> Image.Image:
    edges = (box.x, box.y, box.x + box.width, box.y + box.height)
    return Image.fromarray(array).resize((width, height), Image.Resampling.LANCZOS, edges)


@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize(
    "box, width, height",
    [
        (Box(0, 0, WIDTH, HEIGHT), 200, 124),
        (Box(0, 0, WIDTH, HEIGHT), 100, 62),
        (Box(0, 0, WIDTH, HEIGHT), 40, 25),
        (Box(17, 33, 200, 150), 90, 67),
        (Box(101, 3, 77, 200), 60, 156),
        (Box(33, 21, 57, 41), 57, 41),
    ],
)
def test_any_region_at_any_size_is_what_lanczos_makes_of_it(
    box: Box, width: int, height: int, ceil: bool
) -> None:
    levels = levels_of(4, ceil)
    found = opened(pyramid(levels, below=True)).read(box, width, height)
    assert found.size == (width, height)
    assert psnr(found, lanczos(levels[0], box, width, height)) > 40


def test_a_level_does_not_move_the_picture() -> None:
    """Regions that start between the pixels of a level are cut between its pixels."""
    y, x = np.mgrid[0:256, 0:256]
    smooth = np.dstack([128 + 100 * np.sin(x / 40), 128 + 100 * np.sin(y / 40), x * 0 + 60])
    first = smooth.astype(np.uint8)
    levels = [first, halved(first), halved(halved(first))]
    tiff = opened(pyramid(levels, below=True))
    for shift in range(8):
        box = Box(50 + shift, 40 + shift, 120, 120)
        found = tiff.read(box, 29, 29)
        assert psnr(found, lanczos(first, box, 29, 29)) > 44


@pytest.mark.parametrize("compression", ["jpeg", "zlib"])
def test_a_file_without_levels_is_shrunk_tile_by_tile(
    compression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = picture(1000, 700)
    how = {"photometric": "rgb", "tile": (64, 64)}
    tiff = opened(written(array, compression=compression, **how))
    largest = []
    new = Image.new
    monkeypatch.setattr(
        Image, "new", lambda mode, size, *rest: (largest.append(size), new(mode, size, *rest))[1]
    )
    box = Box(0, 0, 1000, 700)
    found = tiff.read(box, 100, 70)
    assert max(width * height for width, height in largest) <= 200 * 140
    assert psnr(found, lanczos(array, box, 100, 70)) > 33
    # 1/8 on the grid is not resampled a second time.
    assert psnr(tiff.read(box, 125, 88), lanczos(array, box, 125, 88)) > 31


@pytest.mark.parametrize("compression", ["zlib", None])
def test_what_lies_beyond_the_edge_is_not_mixed_in(compression: str | None) -> None:
    white = np.full((205, 331, 3), 255, np.uint8)
    tiff = opened(written(white, photometric="rgb", compression=compression, tile=(64, 64)))
    for size in [(331, 205), (166, 103), (150, 93), (42, 26), (20, 12)]:
        found = tiff.read(Box(0, 0, 331, 205), *size)
        assert found.getextrema() == ((255, 255),) * 3


def test_tiles_join_without_a_seam() -> None:
    levels = levels_of(3, ceil=True)
    tiff = opened(pyramid(levels, below=True, compression="jpeg"))
    whole = np.asarray(tiff.read(Box(0, 0, WIDTH, HEIGHT), 166, 103))
    for y in range(0, HEIGHT, 100):
        for x in range(0, WIDTH, 100):
            box = Box(x, y, min(100, WIDTH - x), min(100, HEIGHT - y))
            tile = np.asarray(tiff.read(box, -(-box.width // 2), -(-box.height // 2)))
            part = whole[y // 2 : y // 2 + tile.shape[0], x // 2 : x // 2 + tile.shape[1]]
            assert np.array_equal(tile, part)


def test_only_whole_pixels_are_exact() -> None:
    page = opened(pyramid(levels_of(4, ceil=True), below=True)).page
    views = views_of(page.levels)

    def factor(box: Box, width: int, height: int) -> int | None:
        view = exact(views, box, width, height)
        return None if view is None else view.factor

    assert factor(Box(0, 0, 64, 64), 32, 32) == 2
    assert factor(Box(0, 0, 63, 64), 32, 32) is None
    assert factor(Box(0, 0, 64, 63), 32, 32) is None
    assert factor(Box(1, 0, 64, 64), 32, 32) is None
    assert factor(Box(0, 1, 64, 64), 32, 32) is None
    assert factor(Box(300, 200, 31, 5), 16, 3) == 2
    assert factor(Box(300, 200, 31, 5), 8, 2) == 4
    # A last pixel is the same at every factor: the finest has it as it is.
    assert factor(Box(328, 200, 1, 1), 1, 1) == 1
    assert [view.factor for view in views][:4] == [1, 2, 4, 8]


def test_levels_need_not_be_halves() -> None:
    """Slide scanners write thirds, quarters, and sizes that no factor gives exactly."""
    first = picture()
    levels = [first, np.asarray(Image.fromarray(first).resize((110, 68), Image.Resampling.BOX))]
    tiff = opened(pyramid(levels, below=False, compression="zlib"))
    assert [level.width for level in tiff.levels] == [331, 110]
    whole = Box(0, 0, WIDTH, HEIGHT)
    assert np.array_equal(np.asarray(tiff.read(whole, 110, 68)), levels[1])
    assert psnr(tiff.read(whole, 90, 56), lanczos(first, whole, 90, 56)) > 29


def test_enlarging_starts_from_the_full_size() -> None:
    array = picture()
    found = opened(pyramid(levels_of(3), below=True)).read(Box(10, 10, 50, 40), 100, 80)
    assert psnr(found, lanczos(array, Box(10, 10, 50, 40), 100, 80)) > 40


# Orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("box", [Box(0, 0, 64, 64), Box(13, 7, 111, 90), Box(1, 2, 3, 150)])
def test_orientation(orientation: int, box: Box) -> None:
    array = picture()
    extra = [(274, "H", 1, orientation, False)]
    data = written(array, photometric="rgb", tile=(64, 64), extratags=extra)
    tiff = opened(data)
    image = Image.fromarray(array)
    image.getexif()[274] = orientation
    upright = ImageOps.exif_transpose(image)
    info = tiff.info()
    assert (info.width, info.height) == upright.size
    assert (info.tile_width > 0) == (orientation in (1, 5))
    crop = upright.crop((box.x, box.y, box.x + box.width, box.y + box.height))
    found = tiff.read(box, box.width, box.height)
    assert ImageChops.difference(found, crop).getbbox() is None
    half = tiff.read(box, box.width // 2, box.height // 2)
    assert half.size == (box.width // 2, box.height // 2)


def test_pixels_are_brought_to_srgb() -> None:
    profile = profiles.rgb()
    tiff = opened(written(picture(), photometric="rgb", iccprofile=profile))
    found = tiff.read(Box(0, 0, 64, 48), 64, 48)
    wanted = to_srgb(Image.fromarray(picture()).crop((0, 0, 64, 48)), profile)
    assert found.tobytes() == wanted.tobytes()
    assert found.getpixel((3, 3)) != Image.fromarray(picture()).getpixel((3, 3))


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b"RIFF",
        b"\xff\xd8",
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8\xff\xda\x00\x08",
        b"\xff\xd8\xff\xc0\x00\x05\x08\x00\x10\xff\xda\x00\x02",
        b"\xff\xd8"
        + b"\xff\xc0\x00\x0b\x08\x00\x10\x00\x10\x01\x01\x11\x00" * 2
        + b"\xff\xda\x00\x02",
        b"\xff\xd8\xff\xdb\x00\x00\xff\xda\x00\x02",
    ],
)
def test_no_frame_is_a_damaged_tile(stream: bytes) -> None:
    with pytest.raises(OriginFailed):
        jpegtile.parse_frame(stream)


# What is not for this reader


@pytest.mark.parametrize(
    "array, how",
    [
        (picture().astype(np.float32), {"photometric": "rgb"}),
        (picture(samples=1).astype(np.int16), {"photometric": "minisblack"}),
        (picture(samples=1) > 128, {"photometric": "minisblack"}),
        (picture(samples=5), {"photometric": "minisblack", "planarconfig": "contig"}),
        (picture(samples=4), {"photometric": "separated"}),
    ],
    ids=["float", "signed", "bilevel", "five", "cmyk"],
)
def test_unsupported_has_its_size_and_no_pixels(array: np.ndarray, how: dict[str, Any]) -> None:
    tiff = opened(written(array, **how))
    assert not tiff.supported
    info = tiff.info()
    assert (info.width, info.height, info.tile_width) == (WIDTH, HEIGHT, 0)
    assert info.bilevel == (array.dtype == bool)
    with pytest.raises(NotSupported):
        tiff.read(Box(0, 0, 10, 10), 10, 10)


def test_the_extra_reads_twelve_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    array = picture(samples=1).astype(np.uint16) * 16
    how = {"compression": "jpeg", "compressionargs": {"bitspersample": 12, "level": 98}}
    data = written(array, photometric="minisblack", **how)
    # tifffile writes 16 where the stream has 12.
    tiff = opened(
        data.replace(struct.pack("<HHII", 258, 3, 1, 16), struct.pack("<HHII", 258, 3, 1, 12))
    )
    assert tiff.supported
    found = tiff.read(Box(10, 10, 100, 100), 100, 100)
    assert found.mode == "L"
    assert np.abs(np.asarray(found).astype(float) - array[10:110, 10:110] / 4095 * 255).max() < 6
    monkeypatch.setattr(tiffextra, "installed", lambda: False)
    assert not opened(data).supported


def test_tiles_that_were_never_written_are_black() -> None:
    array = picture(128, 128)
    data = bytearray(written(array, photometric="rgb", tile=(64, 64)))
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as tiff:
        tag = tiff.pages.first.tags["TileByteCounts"]
        at, width = tag.valueoffset, {3: 2, 4: 4}[tag.dtype]
    data[at + width : at + 2 * width] = bytes(width)
    found = np.asarray(opened(bytes(data)).read(Box(0, 0, 128, 128), 128, 128))
    assert not found[:64, 64:].any()
    assert np.array_equal(found[64:], array[64:])
    assert not np.asarray(opened(bytes(data)).read(Box(64, 0, 64, 64), 64, 64)).any()


# Trust


def _entry(data: bytes, tag: int) -> int:
    """Where a tag's entry lies in the first directory of a little-endian classic TIFF."""
    first, count = struct.unpack_from("<I", data, 4)[0], 0
    (count,) = struct.unpack_from("<H", data, first)
    for i in range(count):
        at = first + 2 + 12 * i
        if struct.unpack_from("<H", data, at)[0] == tag:
            return int(at)
    raise KeyError(tag)


def _with(data: bytes, tag: int, count: int | None = None, value: int | None = None) -> bytes:
    changed = bytearray(data)
    at = _entry(data, tag)
    if count is not None:
        struct.pack_into("<I", changed, at + 4, count)
    if value is not None:
        struct.pack_into("<HII", changed, at + 2, 4, count or 1, value)
    return bytes(changed)


SMALL = written(picture(200, 100), photometric="rgb", compression="zlib", tile=(64, 64))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: b"",
        lambda d: b"GIF89a" + d[6:],
        lambda d: d[:7],
        lambda d: d[:4] + struct.pack("<I", 0) + d[8:],
        lambda d: d[:4] + struct.pack("<I", 1 << 31) + d[8:],
        lambda d: b"II\x2b\x00\x07\x00\x00\x00" + d[8:],
        lambda d: _with(d, 256, value=0),
        lambda d: _with(d, 256, value=(1 << 32) - 1),
        lambda d: _with(d, 322, value=0),
        lambda d: _with(d, 258, count=1 << 30),
    ],
)
def test_a_broken_header_is_one_sentence(spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(OriginFailed) as caught:
        opened(spoil(SMALL))
    assert caught.value.public == "The source image is a damaged TIFF."


def test_a_chain_in_a_circle_ends() -> None:
    data = bytearray(written(picture(200, 100), photometric="rgb"))
    first = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, first)[0]
    struct.pack_into("<I", data, first + 2 + 12 * count, first)
    with pytest.raises(OriginFailed):
        opened(bytes(data))


@pytest.mark.parametrize("height, width", [(65000, 65000), (48, 64), (64, 48)])
def test_a_tile_that_says_another_size_is_refused(height: int, width: int) -> None:
    data = written(picture(128, 128), photometric="rgb", compression="jpeg", tile=(64, 64))
    frame = data.index(b"\xff\xc0")
    other = data[: frame + 5] + struct.pack(">HH", height, width) + data[frame + 9 :]
    with pytest.raises(OriginFailed):
        opened(other).read(Box(0, 0, 64, 64), 64, 64)


@pytest.mark.parametrize("value", [1 << 30, (1 << 32) - 1])
def test_a_tile_of_a_gigabyte_is_not_fetched(value: int) -> None:
    data = written(picture(64, 64), photometric="rgb", compression="zlib", tile=(64, 64))
    source = Memory(_with(data, 325, value=value), size_known=False)
    tiff = Tiff.open(source)
    with pytest.raises(OriginFailed):
        tiff.read(Box(0, 0, 64, 64), 64, 64)
    assert sum(size for trip in source.trips for _, size in trip) < 1 << 20


def test_an_image_of_a_terapixel_is_refused_before_it_is_read() -> None:
    data = _with(_with(SMALL, 256, value=1 << 20), 257, value=1 << 20)
    data = _with(_with(data, 324, count=1 << 28), 325, count=1 << 28)
    source = Memory(data)
    tiff = Tiff.open(source)
    source.trips.clear()
    with pytest.raises(OriginFailed) as caught:
        tiff.read(Box(0, 0, 1 << 20, 1 << 20), 1000, 1000)
    assert "too large" in caught.value.public
    assert source.trips == []


@pytest.mark.parametrize("compression", ["zlib", "lzw", "jpeg", None])
def test_cut_files_fail_or_are_right(compression: str | None) -> None:
    data = written(picture(200, 100), photometric="rgb", compression=compression, tile=(64, 64))
    right = opened(data).read(Box(0, 0, 200, 100), 200, 100)
    for cut in range(0, len(data), max(1, len(data) // 60)):
        try:
            found = opened(data[:cut]).read(Box(0, 0, 200, 100), 200, 100)
        except OriginFailed:
            continue
        assert ImageChops.difference(found, right).getbbox() is None


HOSTILE = {
    "classic": pyramid([picture(128, 96), halved(picture(128, 96))], True, compression="jpeg"),
    "chain": pyramid([picture(128, 96), halved(picture(128, 96))], below=False, compression="lzw"),
    "big": written(picture(128, 96), photometric="rgb", bigtiff=True, byteorder=">"),
    "strips": written(picture(128, 96), photometric="rgb", tile=None, compression="zlib"),
}


def _directory_bytes(data: bytes) -> list[int]:
    """Offsets of the bytes that say how the file is made, and not what its pixels are."""
    found = list(range(16))
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        pages = list(tiff.pages)
        for page in pages + [below for top in pages for below in (top.pages or ())]:
            found += range(page.offset, page.offset + 8 + 20 * len(page.tags))
            for tag in page.tags:
                found += range(tag.valueoffset, tag.valueoffset + min(tag.valuebytecount, 700))
    return [at for at in found if at < len(data)]


HEADERS = {name: _directory_bytes(data) for name, data in HOSTILE.items()}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=st.sampled_from(sorted(HOSTILE)),
    flips=st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_flipped_bytes_raise_nothing_else(name: str, flips: list[tuple[int, int]]) -> None:
    data = bytearray(HOSTILE[name])
    for where, value in flips:
        data[HEADERS[name][where % len(HEADERS[name])]] = value
    source = Memory(bytes(data))
    try:
        tiff = Tiff.open(source)
        info = tiff.info()
        for page in tiff.pages[:4]:
            size = page.info()
            page.read(Box(0, 0, size.width, size.height), 50, 40)
            page.read(Box(0, 0, min(64, size.width), min(64, size.height)), 64, 64)
        assert info.width > 0
        assert info.height > 0
    except (OriginFailed, NotSupported):
        pass
    asked = sum(size for trip in source.trips for _, size in trip)
    assert asked < 64 << 20


# Sharing


def test_threads_share_one_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiffcanvas, "THREAD_BYTES", 0)
    array = picture()
    data = pyramid([array, halved(array)], below=True, compression="zlib")
    tiff = opened(data)

    def read(i: int) -> bool:
        box = Box(i % 50, i % 30, 200, 150)
        found = np.asarray(tiff.read(box, 200, 150))
        return np.array_equal(found, array[box.y : box.y + 150, box.x : box.x + 200])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(64)))


def test_price_counts_the_tiles_to_decode() -> None:
    page = opened(pyramid(levels_of(3), below=True)).page
    assert page.price(Box(0, 0, 64, 64), 64, 64) == 64 * 64
    assert page.price(Box(10, 10, 64, 64), 64, 64) == 4 * 64 * 64
    assert page.price(Box(0, 0, 128, 128), 64, 64) == 64 * 64
