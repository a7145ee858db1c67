"""Rotation, quality, format and what caps an answer: traps 16 to 18, and Plan itself."""

from decimal import Decimal, localcontext

import pytest

from iiif_proxy.iiif import v2, v3
from iiif_proxy.iiif.model import Features, Limits
from iiif_proxy.iiif.plan import stored_name
from iiif_proxy.iiif.tiles import turned

BOTH = pytest.mark.parametrize("version", [2, 3])

ROTATIONS = [
    ("0", False, "0"),
    ("90", False, "90"),
    ("90.0", False, "90"),
    ("360", False, "0"),
    ("360.000", False, "0"),
    ("22.5", False, "22.5"),
    ("22.50", False, "22.5"),
    ("022.5", False, "22.5"),
    (".5", False, "0.5"),
    ("5.", False, "5"),
    ("!0", True, "0"),
    ("!0.0", True, "0"),
    ("!360", True, "0"),
    ("!345", True, "345"),
    ("%210", True, "0"),
    ("100", False, "100"),  # not 1E+2
    ("0.1234564", False, "0.123456"),
    ("0.1234565", False, "0.123457"),  # half up
    ("0.1234555", False, "0.123456"),  # half up, not half even
    ("0.000001", False, "0.000001"),
    ("0.0000004", False, "0"),
    ("359.9999996", False, "0"),
    ("0." + "3" * 400, False, "0.333333"),
]


@BOTH
@pytest.mark.parametrize("text, mirror, degrees", ROTATIONS)
def test_rotation(asker, version, text, mirror, degrees):
    plan = asker().plan(version, f"full/max/{text}/default.jpg")
    assert (plan.mirror, str(plan.degrees)) == (mirror, degrees)
    name = stored_name(plan, asker().info, Limits())
    assert name == f"full_max_{'!' if mirror else ''}{degrees}_default.jpg"


@BOTH
@pytest.mark.parametrize(
    "text",
    [
        "360.1", "361", "-90", "+90", "1e1", "nan", "inf", "!", "!!0", "90\u00b0", "90%C2%B0", "",
        ".", "9 0", "0,5", "1.2.3", "0x10", "1_0", "%D9%A1", "90!", "90%0A", "360.0000001",
        "9" * 400, "abcd",
    ],
)  # fmt: skip
def test_rotation_refused(asker, version, text):
    assert asker().status(version, f"full/max/{text}/default.jpg") == 400


@BOTH
def test_rotation_by_right_angles_only(asker, version):
    ask = asker(features=Features(rotation_arbitrary=False))
    assert ask.status(version, "full/max/22.5/default.jpg") == 400
    assert ask.status(version, "full/max/270/default.jpg") == 200
    assert ask.status(version, "full/max/!90.0/default.jpg") == 200


def test_rotation_does_not_depend_on_the_threads_decimal_context(asker):
    with localcontext(prec=2):
        assert str(asker().plan(3, "full/max/123.456789/default.jpg").degrees) == "123.456789"


@pytest.mark.parametrize(
    "size, degrees, result",
    [
        ((300, 200), "0", (300, 200)),
        ((300, 200), "90", (200, 300)),
        ((300, 200), "180", (300, 200)),
        ((300, 200), "270", (200, 300)),
        ((300, 200), "22.5", (354, 300)),
        ((300, 200), "45", (354, 354)),
        ((1000, 1000), "45", (1414, 1414)),
        ((90, 105), "345", (114, 125)),
        ((300, 200), "202.5", (354, 300)),
    ],
)
def test_turned(size, degrees, result):
    assert turned(*size, Decimal(degrees)) == result


def test_the_specifications_own_order_example(asker):
    plan = asker().plan(3, "125,15,120,140/90,/!345/gray.jpg")
    assert (plan.width, plan.height, plan.quality) == (90, 105, "gray")
    name = stored_name(plan, asker().info, Limits())
    assert name == "125,15,120,140_90,105_!345_gray.jpg"


QUALITIES = [
    # asked, of a colour, a gray, a bilevel source
    ("default", "default", "default", "default"),
    ("color", "default", "color", "color"),
    ("gray", "gray", "default", "default"),
    ("bitonal", "bitonal", "bitonal", "bitonal"),
]


@BOTH
@pytest.mark.parametrize("asked, of_color, of_gray, of_bilevel", QUALITIES)
def test_quality_names_the_same_picture_once(asker, version, asked, of_color, of_gray, of_bilevel):
    tail = f"full/max/0/{asked}.png"
    assert asker().plan(version, tail).quality == of_color
    assert asker(gray=True).plan(version, tail).quality == of_gray
    assert asker(gray=True, bilevel=True).plan(version, tail).quality == of_bilevel


@BOTH
@pytest.mark.parametrize(
    "last, status",
    [
        *[(f"{word}.jpg", 400) for word in (
            "native", "grey", "sepia", "DEFAULT", "Color", "", "default ", "def%61ult ", "colour",
        )],
        ("default.xyz", 400),
        ("default.JPG", 400),
        ("default.jpeg", 400),
        ("default.jpg.png", 400),
        ("default..jpg", 400),
        ("default.jpg%0A", 400),
        ("default.", 400),
        ("default", 400),
        (".jpg", 400),
        ("jpg", 400),
        ("default.jp2", 501),
        ("default.pdf", 501),
        *[(f"default.{format}", 200) for format in ("jpg", "png", "gif", "tif", "webp", "avif")],
        ("def%61ult.jp%67", 200),
        ("default%2Ejpg", 200),
    ],
)  # fmt: skip
def test_quality_and_format(asker, version, last, status):
    assert asker().status(version, f"full/max/0/{last}") == status


@BOTH
@pytest.mark.parametrize("format, status", [("webp", 501), ("tif", 501), ("avif", 400)])
def test_format_that_cannot_be_written_here(asker, version, format, status):
    assert asker(features=Features()).status(version, f"full/max/0/default.{format}") == status


@BOTH
@pytest.mark.parametrize(
    "side, format, status",
    [
        (20_000, "webp", 400), (20_000, "jpg", 200), (16_383, "webp", 200), (16_384, "webp", 400),
        (65_500, "jpg", 200), (65_501, "jpg", 400), (65_535, "gif", 200), (65_536, "gif", 400),
        (32_768, "avif", 200), (32_769, "avif", 400), (70_000, "png", 200), (70_000, "tif", 200),
    ],
)  # fmt: skip
def test_longest_side_of_a_format(asker, version, side, format, status):
    for image, tail in [
        ((side, 10), "full/max/0/default."),
        ((10, side), "full/max/0/default."),
        ((side, 10), "full/max/90/default."),
    ]:
        assert asker(*image).status(version, tail + format) == status
    assert asker(side, 10).status(version, f"full/100,/0/default.{format}") == 200


@BOTH
def test_a_turned_image_stays_within_its_format(asker, version):
    assert asker(16_383, 16_383).status(version, "full/max/45/default.webp") == 400
    assert asker(16_380, 1).status(version, "full/max/1/default.webp") == 200


@BOTH
def test_pixels_are_capped_after_rotation(asker, version):
    ask = asker(1000, 1000, features=Features(max_pixels=1_000_000))
    assert ask.status(version, "full/max") == 200
    assert ask.status(version, "full/max/90/default.jpg") == 200
    assert ask.status(version, "full/max/45/default.jpg") == 400
    assert ask.status(version, "full/500,/45/default.jpg") == 200
    assert asker(1001, 1000, features=Features(max_pixels=1_000_000)).status(
        version, "full/max"
    ) == 400  # fmt: skip


@pytest.mark.parametrize(
    "two, three",
    [
        ("full/full", "full/max"),
        ("0,0,300,200/max", "pct:0,0,100,100/300,200"),
        ("full/150,", "full/^150,100"),
        ("square/pct:50/360/color.png", "50,0,200,200/!100,100/0.0/default.png"),
    ],
)
def test_versions_share_plans(asker, two, three):
    assert asker().plan(2, two) == asker().plan(3, three)
    assert hash(asker().plan(2, two)) == hash(asker().plan(3, three))


@pytest.mark.parametrize(
    "tail, keywords, name, in_2",
    [
        ("full/max", {}, "full_max", None),
        ("full/300,200", {}, "full_max", None),
        ("0,0,300,200/max", {}, "full_max", None),
        ("0,0,999,999/150,100", {}, "full_150,100", "full_150,"),
        ("pct:50,50,50,50/max", {}, "150,100,150,100_max", None),
        ("10,20,30,40/30,40", {}, "10,20,30,40_max", None),
        ("10,20,30,40/15,20", {}, "10,20,30,40_15,20", "10,20,30,40_15,"),
        ("10,20,30,40/15,15", {}, "10,20,30,40_15,15", None),
        ("full/^600,400", {"upscaling": True}, "full_^600,400", "full_600,"),
        # What is the largest only because of the limits is `max` in a URL, and not by name.
        ("full/max", {"limits": Limits(150)}, "full_~150,100", "full_150,"),
        ("10,20,30,40/max", {"limits": Limits(150)}, "10,20,30,40_max", None),
    ],
)
def test_names(asker, tail, keywords, name, in_2):
    ask = asker(**keywords)
    plan = ask.plan(3, tail)
    assert stored_name(plan, ask.info, ask.limits) == f"{name}_0_default.jpg"
    given = plan, ask.info, ask.limits, ask.features
    assert v2.also_named(*given) == (in_2 and f"{in_2}_0_default.jpg")
    assert v3.also_named(*given) is None
