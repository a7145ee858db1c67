"""What comes back shows what was asked for: sources whose pixels say where they are."""

import numpy
import pytest

from tests.http.collection import BLUE, GREEN, RED, YELLOW, coordinates
from tests.http.conftest import Proxy, Serving

WHOLE = (0, 0, 300, 200)


def pixels(proxy: Proxy, target: str) -> numpy.ndarray:
    return numpy.asarray(proxy.image(target).convert("RGB"))


@pytest.mark.parametrize("source", ["coordinates.png", "coordinates.tif"])
@pytest.mark.parametrize("version, size", [(2, "full"), (3, "max")])
@pytest.mark.parametrize(
    "region, box",
    [
        ("full", WHOLE),
        ("0,0,9999,9999", WHOLE),
        ("17,31,64,80", (17, 31, 64, 80)),
        ("299,199,5,5", (299, 199, 1, 1)),
        ("125,15,200,200", (125, 15, 175, 185)),
        ("square", (50, 0, 200, 200)),
        ("pct:41.6,7.5,66.6,100", (125, 15, 175, 185)),
        ("pct:0,0,50,50", (0, 0, 150, 100)),
    ],
)
def test_region_is_exactly_that(
    proxy: Proxy,
    source: str,
    version: int,
    size: str,
    region: str,
    box: tuple[int, int, int, int],
) -> None:
    x, y, width, height = box
    expected = coordinates(300, 200)[y : y + height, x : x + width]
    found = pixels(proxy, f"/{version}/{source}/{region}/{size}/0/default.png")
    assert numpy.array_equal(found, expected)


@pytest.mark.parametrize("region", ["0,0,512,512", "512,512,512,512", "1024,1024,277,78"])
def test_tile_is_exactly_that(proxy: Proxy, region: str) -> None:
    x, y, width, height = map(int, region.split(","))
    expected = coordinates(1301, 1102)[y : y + height, x : x + width]
    assert numpy.array_equal(pixels(proxy, f"/3/large.png/{region}/max/0/default.png"), expected)


@pytest.mark.parametrize("quarters, angle", [(0, "0"), (1, "90"), (2, "180"), (3, "270")])
@pytest.mark.parametrize("mirror", ["", "!"])
@pytest.mark.parametrize("region", ["full", "10,20,70,30"])
def test_right_angles_move_pixels_and_change_none(
    proxy: Proxy, quarters: int, angle: str, mirror: str, region: str
) -> None:
    """SPEC 19: mirrored first, then turned clockwise."""
    expected = coordinates(300, 200)
    if region != "full":
        expected = expected[20:50, 10:80]
    if mirror:
        expected = numpy.fliplr(expected)
    expected = numpy.rot90(expected, -quarters)
    for version in (2, 3):
        target = f"/{version}/coordinates.png/{region}/max/{mirror}{angle}/default.png"
        assert numpy.array_equal(pixels(proxy, target), expected)


@pytest.mark.parametrize(
    "rotation, corners",
    [  # top left, top right, bottom left, bottom right
        ("0", (RED, GREEN, BLUE, YELLOW)),
        ("90", (BLUE, RED, YELLOW, GREEN)),
        ("180", (YELLOW, BLUE, GREEN, RED)),
        ("270", (GREEN, YELLOW, RED, BLUE)),
        ("!0", (GREEN, RED, YELLOW, BLUE)),
        ("!90", (YELLOW, GREEN, BLUE, RED)),
        ("!180", (BLUE, YELLOW, RED, GREEN)),
        ("!270", (RED, BLUE, GREEN, YELLOW)),
    ],
)
def test_corners(proxy: Proxy, rotation: str, corners: tuple[tuple[int, int, int], ...]) -> None:
    found = pixels(proxy, f"/3/quarters.png/full/max/{rotation}/default.png")
    assert [tuple(found[y, x]) for y in (0, -1) for x in (0, -1)] == list(corners)


def test_odd_angle_turns_clockwise_about_the_centre(proxy: Proxy) -> None:
    image = proxy.image("/3/quarters.png/full/max/45/default.png")
    width, height = image.size
    assert image.mode == "RGBA"
    assert image.getpixel((0, 0)) == (0, 0, 0, 0)
    # Top, right, bottom, left of the diamond: what was left of the top, and so on clockwise.
    spots = [(0.5, 0.25), (0.75, 0.5), (0.5, 0.75), (0.25, 0.5)]
    found = [image.getpixel((int(x * width), int(y * height))) for x, y in spots]
    assert found == [(*colour, 255) for colour in (RED, GREEN, YELLOW, BLUE)]


def test_mirrored_before_it_is_turned_by_an_odd_angle(proxy: Proxy) -> None:
    image = proxy.image("/3/quarters.png/full/max/!45/default.png")
    width, height = image.size
    assert image.getpixel((width // 2, height // 4)) == (*GREEN, 255)
    assert image.getpixel((width // 4, height // 2)) == (*YELLOW, 255)


@pytest.mark.parametrize(
    "source, full", [("gradient.png", (300, 200)), ("gradient.jpg", (1200, 800))]
)
@pytest.mark.parametrize(
    "region, size",
    [
        ("full", "100,67"),
        ("full", "37,50"),
        ("full", "150,100"),
        ("pct:25,25,50,50", "60,40"),
        ("pct:50,0,50,50", "75,50"),
        ("pct:75,75,25,25", "20,13"),
    ],
)
def test_scaled_without_a_shift(
    proxy: Proxy, source: str, full: tuple[int, int], region: str, size: str
) -> None:
    """Every pixel has the colour of the place its centre comes from."""
    found = pixels(proxy, f"/3/{source}/{region}/{size}/0/default.png").astype(float)
    width, height = map(int, size.split(","))
    x, y, w, h = (
        [float(part) / 100 for part in region[4:].split(",")] if region != "full" else (0, 0, 1, 1)
    )
    red = 255 * (x + w * (numpy.arange(width) + 0.5) / width)
    green = 255 * (y + h * (numpy.arange(height) + 0.5) / height)
    inner = slice(1, -1)  # the outermost pixels have neighbours on one side only
    assert numpy.abs(found[inner, inner, 0] - red[inner]).max() < 3
    assert numpy.abs(found[inner, inner, 1] - green[inner, None]).max() < 3


def test_enlarged_without_a_shift(serving: Serving) -> None:
    proxy = serving(upscaling="on", max_width=1000)
    found = pixels(proxy, "/3/gradient.png/150,100,60,40/^240,160/0/default.png").astype(float)
    red = 255 * (0.5 + 0.2 * (numpy.arange(240) + 0.5) / 240)
    assert numpy.abs(found[8:-8, 8:-8, 0] - red[8:-8]).max() < 3


def test_distorted_on_request(proxy: Proxy) -> None:
    found = pixels(proxy, "/3/quarters.png/full/40,180/0/default.png")
    spots = [tuple(found[y, x]) for y in (45, 135) for x in (10, 30)]
    assert spots == [RED, GREEN, BLUE, YELLOW]


@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("version", [2, 3])
def test_exif_orientation(proxy: Proxy, version: int, value: int) -> None:
    """SPEC 21: upright, upright sizes, and no tag that would turn it once more."""
    base = f"/{version}/oriented-{value}.jpg"
    info = proxy.info(f"{base}/info.json")
    assert (info["width"], info["height"]) == (160, 96)
    image = proxy.image(f"{base}/full/max/0/default.jpg")
    assert image.size == (160, 96)
    assert not image.getexif()
    assert not {"exif", "comment", "icc_profile"} & image.info.keys()
    found = numpy.asarray(image).astype(int)
    spots = [found[y, x] for y in (20, 76) for x in (30, 130)]
    assert numpy.abs(numpy.array(spots) - [RED, GREEN, BLUE, YELLOW]).max() < 8
    # A region in upright coordinates, its scaled and its turned form.
    part = numpy.asarray(proxy.image(f"{base}/90,50,60,40/max/0/default.png")).astype(int)
    assert part.shape == (40, 60, 3)
    assert numpy.abs(part - YELLOW).max() < 8
    strip = proxy.image(f"{base}/0,0,160,10/80,/0/default.png")
    assert strip.size == (80, 5)
    assert numpy.abs(numpy.array(strip.getpixel((10, 2))) - RED).max() < 8
    turned = proxy.image(f"{base}/full/max/90/default.png")
    assert turned.size == (96, 160)
    assert numpy.abs(numpy.array(turned.getpixel((10, 10))) - BLUE).max() < 8


def test_canonical_never_shows_the_stored_geometry(proxy: Proxy) -> None:
    answer = proxy.ask("/3/oriented-6.jpg/0,0,160,96/160,96/0/default.jpg")
    assert "/full/max/0/default.jpg>" in (answer.get("Link") or "")
