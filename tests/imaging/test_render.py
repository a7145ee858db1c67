"""Mirror, rotation and quality: SPEC traps 16, 19 and 20, against numpy."""

import math
from decimal import Decimal

import numpy
import pytest
from PIL import Image

from iiif_proxy.iiif.model import Box, Plan
from iiif_proxy.imaging.look import Look
from iiif_proxy.imaging.render import render, rotate
from tests.imaging.drawn import Pixels, image, numbers, photo, psnr

WHITE, RED = (255, 255, 255), (255, 0, 0)
SOURCE = photo(300, 200)
ALPHA_FORMATS = ("png", "webp", "gif", "tif", "avif", "jp2")


def plan(
    degrees: str = "0", *, mirror: bool = False, quality: str = "default", format: str = "png"
) -> Plan:
    return Plan(Box(0, 0, 300, 200), 300, 200, mirror, Decimal(degrees), quality, format)


def transparent(mode: str = "RGBA") -> Image.Image:
    picture = image(SOURCE).convert(mode[:-1])
    picture.putalpha(image(SOURCE[..., 2].copy()))
    return picture


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBX", "RGBA"])
def test_right_angles_move_pixels(mode: str, quarters: int, mirror: bool) -> None:
    """Clockwise, mirrored first, and nothing is resampled."""
    source = transparent(mode) if mode in ("LA", "RGBA") else image(SOURCE).convert(mode)
    pixels = numbers(source)
    wanted = numpy.rot90(pixels[:, ::-1] if mirror else pixels, -quarters)
    found = render(source, plan(str(90 * quarters), mirror=mirror))
    assert found.mode == mode
    assert (numbers(found) == wanted).all()


@pytest.mark.parametrize(
    "degrees, mirror, corner",
    [("90", False, (-1, 0)), ("90", True, (-1, -1)), ("180", True, (0, -1)), ("270", True, (0, 0))],
)
def test_where_the_corner_goes(degrees: str, mirror: bool, corner: tuple[int, int]) -> None:
    """SPEC 19: `90` top right, `!90` bottom right, `!180` upside down."""
    marked = Image.new("RGB", (300, 200))
    marked.putpixel((0, 0), RED)
    found = numbers(render(marked, plan(degrees, mirror=mirror)))
    x, y = corner
    assert tuple(found[y, x]) == RED


def turned_box(width: int, height: int, degrees: float) -> tuple[int, int]:
    angle = math.radians(degrees)
    cosine, sine = abs(math.cos(angle)), abs(math.sin(angle))
    return math.floor(width * cosine + height * sine + 0.5), math.floor(
        height * cosine + width * sine + 0.5
    )


@pytest.mark.parametrize(
    "degrees, size",
    [("22.5", (354, 300)), ("45", (354, 354)), ("345", (342, 271)), ("0.5", None), ("179.9", None)],
)
def test_the_box_is_the_specifications(degrees: str, size: tuple[int, int] | None) -> None:
    found = render(image(SOURCE), plan(degrees))
    assert found.size == (size or turned_box(300, 200, float(degrees)))
    assert found.mode == "RGBA"


def backwards(shape: tuple[int, int], size: tuple[int, int], degrees: float) -> Pixels:
    """For each pixel of the turned image, where its centre was: arrays of x and y."""
    angle = math.radians(degrees)
    y, x = numpy.mgrid[0 : shape[0], 0 : shape[1]]
    right, down = x + 0.5 - shape[1] / 2, y + 0.5 - shape[0] / 2
    return numpy.stack(
        [
            math.cos(angle) * right + math.sin(angle) * down + size[0] / 2,
            -math.sin(angle) * right + math.cos(angle) * down + size[1] / 2,
        ]
    )


@pytest.mark.parametrize("degrees", ["22.5", "45", "100", "359", "200.123456"])
def test_turned_about_the_centre(degrees: str) -> None:
    """A formula drawn and turned is the formula at turned places, to 0.02 pixels."""

    def formula(x: Pixels, y: Pixels) -> Pixels:
        return 127 + 60 * numpy.sin(x / 17) + 50 * numpy.cos(y / 23 + x / 40)

    y, x = numpy.mgrid[0:200, 0:300] + 0.5
    drawn = image(numpy.dstack([formula(x, y)] * 3).round().astype(numpy.uint8))
    found = numbers(render(drawn, plan(degrees)))
    x, y = backwards(found.shape[:2], (300, 200), float(degrees))
    inside = (x > 2) & (x < 298) & (y > 2) & (y < 198)
    difference = (found[..., 0] - formula(x, y))[inside]
    assert numpy.abs(difference).max() < 2.6
    assert abs(difference.mean()) < 0.6  # Pillow's bicubic rounds down
    slope = numpy.gradient(formula(x, y), axis=(0, 1))
    difference -= difference.mean()
    for part in slope:  # no systematic shift either way
        assert abs((difference * part[inside]).sum() / (part[inside] ** 2).sum()) < 0.02


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBX", "LA", "RGBA"])
@pytest.mark.parametrize("degrees", ["22.5", "45", "123"])
def test_edges_fade_without_a_fringe(mode: str, degrees: str) -> None:
    flat = Image.new(mode, (101, 77), (200, 100, 50, 180)[: len(mode)] if mode[0] == "R" else 200)
    if mode == "LA":
        flat.putalpha(180)
    opacity = 180 if mode in ("LA", "RGBA") else 255
    found = rotate(flat, Decimal(degrees))
    assert found.mode == ("LA" if mode in ("L", "LA") else "RGBA")
    pixels = numbers(found)
    alpha = pixels[..., -1]
    assert alpha[0, 0] == alpha[-1, -1] == alpha[0, -1] == alpha[-1, 0] == 0
    # as much is covered as there was
    assert abs(alpha.sum() / opacity - 101 * 77) < 20
    assert ((alpha > 0) & (alpha < opacity - 3)).sum() > 150
    colour = numpy.atleast_3d(numbers(flat))[0, 0][: pixels.shape[2] - 1]
    seen = pixels[alpha > 30][:, :-1]
    assert numpy.abs(seen - colour).max() <= 4
    # coverage of each pixel, by 8 x 8 points in it
    points = []
    for sub in numpy.ndindex(8, 8):
        x, y = backwards(alpha.shape, (101, 77), float(degrees))
        angle = math.radians(float(degrees))
        right, down = (sub[0] - 3.5) / 8, (sub[1] - 3.5) / 8
        x = x + math.cos(angle) * right + math.sin(angle) * down
        y = y - math.sin(angle) * right + math.cos(angle) * down
        points.append((x > 0) & (x < 101) & (y > 0) & (y < 77))
    wanted = numpy.mean(points, 0) * opacity
    assert numpy.abs(alpha - wanted).max() < 0.15 * 255


@pytest.mark.parametrize("format", [*ALPHA_FORMATS, "jpg", "pdf"])
@pytest.mark.parametrize("quality", ["default", "gray", "bitonal"])
def test_corners(format: str, quality: str) -> None:
    """Transparent where the format can, else the background; bitonal has none (SPEC 16, 19)."""
    for source, gray in ((image(SOURCE), False), (image(SOURCE).convert("L"), True)):
        found = render(source, plan("30", quality=quality, format=format))
        if quality == "bitonal":
            assert found.mode == "1"
            assert found.getpixel((0, 0)) == 255
        elif format in ALPHA_FORMATS:
            assert found.mode == ("LA" if gray or quality == "gray" else "RGBA")
            assert numbers(found)[0, 0, -1] == 0
        else:
            assert found.mode == ("L" if gray or quality == "gray" else "RGB")
            assert (numbers(found)[0, 0] == 255).all()


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
@pytest.mark.parametrize("background", [WHITE, RED, (9, 9, 9)])
def test_alpha_lies_on_the_background(mode: str, background: tuple[int, int, int]) -> None:
    source = transparent(mode)
    found = render(source, plan(format="jpg"), Look(background=background))
    gray = mode == "LA" and background != RED
    assert found.mode == ("L" if gray else "RGB")
    pixels = numbers(source).astype(float)
    alpha = pixels[..., -1:] / 255
    wanted = pixels[..., :-1] * alpha + numpy.array(background) * (1 - alpha)
    assert numpy.abs(numbers(found.convert("RGB")) - wanted).max() <= 1
    assert (
        render(source, plan(quality="gray", format="jpg"), Look(background=background)).mode == "L"
    )


def test_order() -> None:
    """SPEC 20: the size came first, then turning, then gray."""
    found = render(image(photo(50, 25)), plan("90", quality="gray"))
    assert (found.size, found.mode) == ((25, 50), "L")
    wanted = image(numpy.rot90(photo(50, 25), -1)).convert("L")
    assert found.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("mode", ["RGB", "RGBX", "L"])
def test_gray_is_luma(mode: str) -> None:
    source = image(SOURCE).convert(mode)
    found = render(source, plan(quality="gray"))
    assert found.mode == "L"
    weights = numpy.array([0.299, 0.587, 0.114])
    if mode != "L":
        assert numpy.abs(numbers(found) - numbers(source)[..., :3] @ weights).max() < 1


def test_bitonal_is_a_threshold() -> None:
    ramp = numpy.tile(numpy.arange(256, dtype=numpy.uint8), (8, 1))
    found = render(image(ramp), plan(quality="bitonal"))
    assert found.mode == "1"
    assert (numbers(found).astype(bool) == (ramp >= 128)).all()
    hidden = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    assert numbers(render(hidden, plan(quality="bitonal"))).all()
    assert not numbers(render(hidden, plan(quality="bitonal"), Look(background=(0, 0, 0)))).any()


def test_transparent_pixels_stay_out_of_turned_ones() -> None:
    pixels = numpy.zeros((60, 60, 4), numpy.uint8)
    pixels[20:40, 20:40] = (0, 200, 0, 255)
    pixels[..., 0] = numpy.where(pixels[..., 3] == 0, 255, 0)  # red that nobody may see
    found = numbers(rotate(image(pixels), Decimal(33)))
    seen = found[found[..., 3] > 20]
    assert seen[:, 0].max() <= 3
    assert seen[:, 1].min() >= 190


def test_turning_there_and_back() -> None:
    flat = image(photo(200, 200, noise=0))
    there = rotate(flat, Decimal(20))
    back = rotate(there.convert("RGB"), Decimal(340))
    middle = (back.width - 100) // 2
    found = back.convert("RGB").crop((middle, middle, middle + 100, middle + 100))
    assert psnr(found, flat.crop((50, 50, 150, 150))) > 30
