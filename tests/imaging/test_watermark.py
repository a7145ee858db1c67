"""A mark on answers: where, how large, on which of them, and nothing else changed."""

from decimal import Decimal
from pathlib import Path

import numpy
import pytest
from PIL import Image

from iiif_proxy.errors import OriginFailed
from iiif_proxy.iiif.model import Box, ImageInfo, Plan
from iiif_proxy.imaging.look import Look
from iiif_proxy.imaging.render import render
from iiif_proxy.imaging.watermark import POSITIONS, Watermark, font_for, marked, picture
from tests.imaging.drawn import image, numbers, photo, saved, stored

BASE = photo(600, 400)
INFO = ImageInfo(600, 400, "jpeg")
RED = (255, 0, 0, 255)


def solid(width: int, height: int, colour: tuple[int, ...] = RED, **more: object) -> Watermark:
    data = Image.new("RGBA", (width, height), colour).tobytes()
    return Watermark(size=(width, height), rgba=data, **more)  # type: ignore[arg-type]


def changed(before: Image.Image, after: Image.Image) -> tuple[int, int, int, int]:
    """The box around all pixels that are not as they were: left, top, right, bottom."""
    mode = "RGBA" if before.mode in ("LA", "RGBA") else "RGB"
    other = (numbers(before.convert(mode)) != numbers(after.convert(mode))).any(2)
    rows, columns = numpy.flatnonzero(other.any(1)), numpy.flatnonzero(other.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


@pytest.mark.parametrize("position", POSITIONS)
def test_positions(position: str) -> None:
    before = image(BASE)
    after = marked(before, solid(60, 40, position=position))
    # 8 is a fiftieth of the shorter side.
    x = 8 if "left" in position else 532 if "right" in position else 270
    y = 8 if "top" in position else 352 if "bottom" in position else 180
    assert changed(before, after) == (x, y, x + 60, y + 40)
    assert (numbers(after)[y : y + 40, x : x + 60] == RED[:3]).all()
    assert (numbers(before) == BASE).all()  # a copy was marked


@pytest.mark.parametrize(
    "size, percent, shown",
    [
        ((60, 40), 20, (60, 40)),  # never enlarged
        ((600, 100), 20, (120, 20)),
        ((100, 800), 20, (10, 80)),
        ((600, 100), 100, (584, 97)),
        ((5000, 1), 1, (6, 1)),
    ],
)
def test_it_fits_into_its_part(size: tuple[int, int], percent: int, shown: tuple[int, int]) -> None:
    before = image(BASE)
    left, top, right, bottom = changed(before, marked(before, solid(*size, percent=percent)))
    assert right - left == pytest.approx(shown[0], abs=1)
    assert bottom - top == pytest.approx(shown[1], abs=1)


def test_half_transparent_is_half_seen() -> None:
    after = marked(Image.new("RGB", (500, 500), (0, 100, 200)), solid(50, 50, (255, 255, 255, 128)))
    assert numpy.abs(numbers(after)[460, 460] - [128, 178, 228]).max() <= 1


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBX", "RGBA"])
def test_every_mode_stays(mode: str) -> None:
    before = image(BASE).convert(mode)
    before.info["icc_profile"] = b"kept"
    after = marked(before, solid(60, 40))
    assert (after.mode, after.size, after.info) == (mode, before.size, before.info)
    x, y, right, bottom = changed(before, after)
    assert (x, y, right, bottom) == (532, 352, 592, 392)
    inside = numbers(after.convert("RGB"))[352:392, 532:592]
    assert (inside == ((76,) * 3 if mode in ("L", "LA") else RED[:3])).all()


def test_it_is_opaque_where_the_picture_is_not() -> None:
    after = marked(Image.new("RGBA", (400, 400), (0, 0, 0, 0)), solid(40, 40))
    assert after.getpixel((370, 370)) == RED
    assert after.getpixel((300, 300)) == (0, 0, 0, 0)


@pytest.mark.parametrize("base", [(255, 255, 255), (0, 0, 0), (128, 128, 128)])
def test_words_are_seen_on_anything(base: tuple[int, int, int]) -> None:
    text = "© Musée"
    font = font_for(text, "")
    before = Image.new("RGB", (1000, 600), base)
    after = marked(before, Watermark(text=text, font=font, position="top-left", percent=30))
    left, top, right, _ = changed(before, after)
    assert (left, top) == pytest.approx((12, 12), abs=3)
    assert 250 < right - left <= 300
    assert numpy.ptp(numbers(after)) > 90


def test_a_font_must_have_the_letters(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no font here has all its letters"):
        font_for("\U0001f9ff", "")
    for path in (tmp_path / "none.ttf", stored(tmp_path, b"no font")):
        with pytest.raises(ValueError, match="is no font"):
            font_for("A", str(path))


def test_pictures(tmp_path: Path) -> None:
    """Upright, sRGB, and no larger than is of use."""
    size, rgba = picture(str(stored(tmp_path, saved(Image.new("RGB", (4000, 10), "red"), "PNG"))))
    assert size == (2000, 5)
    assert rgba[:4] == bytes(RED)
    with pytest.raises(OriginFailed):
        picture(str(stored(tmp_path, b"%!PS")))


def plan(box: Box, width: int, height: int, **more: object) -> Plan:
    values = {"mirror": False, "degrees": Decimal(0), "quality": "default", "format": "png"}
    return Plan(box, width, height, **(values | more))  # type: ignore[arg-type]


WHOLE = Box(0, 0, 600, 400)


@pytest.mark.parametrize(
    "box, size, tile, settings, wanted",
    [
        (WHOLE, (600, 400), False, {}, True),
        (WHOLE, (600, 400), True, {}, True),  # all of it in one tile
        (Box(0, 0, 300, 300), (300, 300), False, {}, True),
        (Box(0, 0, 512, 400), (512, 400), True, {}, False),
        (Box(0, 0, 512, 400), (512, 400), True, {"tiles": True}, True),
        (WHOLE, (199, 133), False, {"least": 200}, False),
        (WHOLE, (200, 133), False, {"least": 200}, True),
        (Box(0, 0, 512, 400), (128, 100), True, {"tiles": True, "least": 200}, False),
    ],
)
def test_which_answers_have_it(
    box: Box, size: tuple[int, int], tile: bool, settings: dict[str, int], wanted: bool
) -> None:
    assert solid(60, 40, **settings).on(plan(box, *size), INFO, tile) == wanted


def test_it_is_upright_on_what_is_turned_and_lies_on_the_background() -> None:
    mark = solid(60, 40)
    look = Look(mark=mark)
    turned = render(image(BASE), plan(WHOLE, 600, 400, degrees=Decimal(90)), look, mark)
    assert turned.size == (400, 600)
    assert (numbers(turned)[552:592, 332:392] == RED[:3]).all()
    odd = render(image(BASE), plan(WHOLE, 600, 400, degrees=Decimal(30), format="jpg"), look, mark)
    x, y = odd.width - odd.height // 50 - 30, odd.height - odd.height // 50 - 20
    assert odd.getpixel((x, y)) == RED[:3]


@pytest.mark.parametrize("quality, mode, value", [("gray", "L", 76), ("bitonal", "1", 0)])
def test_it_has_the_quality_of_the_picture(quality: str, mode: str, value: int) -> None:
    mark = solid(60, 40)
    found = render(image(BASE), plan(WHOLE, 600, 400, quality=quality), Look(), mark)
    assert (found.mode, found.getpixel((560, 370))) == (mode, value)


def test_every_part_of_it_is_in_the_key() -> None:
    marks = [
        None, solid(60, 40), solid(40, 60), solid(60, 40, (0, 0, 0, 255)),
        solid(60, 40, position="top"), solid(60, 40, percent=9), solid(60, 40, least=9),
        solid(60, 40, tiles=True), Watermark(text="a"), Watermark(text="b"),
        Watermark(text="a", font="x.ttf"),
    ]  # fmt: skip
    assert len({Look(mark=mark).digest for mark in marks}) == len(marks)
