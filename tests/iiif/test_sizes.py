"""Section 4.2 of both versions: traps 5 to 12."""

import pytest

from iiif_proxy.iiif.model import Limits

BOTH = (2, 3)


def rows(table):
    """A row per version: versions, image, request, result."""
    for versions, image, request, result in table:
        for version in versions if isinstance(versions, tuple) else (versions,):
            yield pytest.param(version, image, request, result, id=f"/{version}/ {image} {request}")


SIZES = [
    # 5: exact on the named side, half up on the other, never 0.
    (BOTH, (6000, 4000), "full/1000,", (1000, 667)),
    (BOTH, (6000, 4000), "full/,1000", (1500, 1000)),
    (BOTH, (1000, 3), "full/100,", (100, 1)),
    (BOTH, (3, 1000), "full/,100", (1, 100)),
    (BOTH, (1000, 3), "full/pct:10", (100, 1)),
    (BOTH, (1000, 3), "full/!100,100", (100, 1)),
    (BOTH, (1000, 3), "full/333,1", (333, 1)),
    (BOTH, (300, 200), "full/0150,", (150, 100)),
    (BOTH, (1000, 5), "full/100,", (100, 1)),  # 0.5: up
    (BOTH, (1000, 25), "full/100,", (100, 3)),  # 2.5: up, where round() says 2
    (BOTH, (300, 200), "full/pct:33.3", (100, 67)),
    (BOTH, (300, 200), "full/pct:100", (300, 200)),
    (BOTH, (300, 200), "full/pct:100.000", (300, 200)),
    (BOTH, (300, 200), "full/pct:.5", (2, 1)),
    (BOTH, (300, 200), "full/pct:50.", (150, 100)),
    (BOTH, (300, 200), "full/pct%3A50", (150, 100)),
    (BOTH, (300, 200), "full/150%2C", (150, 100)),
    *[
        (BOTH, (300, 200), f"full/{size}", 400)
        for size in (
            "0,", ",0", "0,0", "0,5", "5,0", ",", "", "!100,", "!,100", "!,", "100", "!0,5", "!5,0",
            "pct:0", "pct:-5", "pct:+5", "pct:1e2", "pct:0.1", "pct:", "pct:.", "pct:5,5",
            "-1,", "+1,", "1.5,", "1,1,1", "1_0,", "%D9%A1,", "pct:%D9%A1", "max ", "Max", "!max",
            "150,%0A", "150, ", "1e2,", f"{'9' * 400},", f"pct:{'9' * 400}", f"{'9' * 600},",
            "!pct:50",
        )
    ],
    # 6: the limiting side of !w,h is met exactly.
    (BOTH, (3001, 2000), "full/!1000,1000", (1000, 666)),
    (BOTH, (300, 200), "full/!225,100", (150, 100)),
    (BOTH, (4961, 7016), "full/!1000,1000", (707, 1000)),
    (BOTH, (6000, 4000), "full/!300,300", (300, 200)),
    (BOTH, (3, 1), "full/!1,1", (1, 1)),
    # 7: !w,h above the region gives the region.
    (BOTH, (300, 200), "full/!1000,1000", (300, 200)),
    (BOTH, (300, 200), "full/!1000,100", (150, 100)),
    (BOTH, (300, 200), f"full/!{'9' * 200},{'9' * 200}", (300, 200)),
    (BOTH, (1000, 1000), "full/!2000,3000", (1000, 1000)),
    (BOTH, (6000, 4000), "0,0,100,100/!200,200", (100, 100)),
    # 8: nothing above the region.
    *[
        (BOTH, (300, 200), f"full/{size}", 400)
        for size in ("301,", ",201", "301,200", "300,201", "pct:100.1", "pct:120", "600,")
    ],
    (BOTH, (300, 200), f"full/pct:100.{'0' * 300}1", 400),
    (BOTH, (300, 200), "full/300,200", (300, 200)),
    (BOTH, (300, 200), "full/300,", (300, 200)),
    (BOTH, (300, 200), "full/,200", (300, 200)),
    (BOTH, (300, 200), "full/300,1", (300, 1)),
    (BOTH, (6000, 4000), "0,0,100,100/200,200", 400),
    (BOTH, (6000, 4000), "0,0,100,100/100,100", (100, 100)),
    (BOTH, (300, 200), "125,15,200,200/176,", 400),  # the cropped region counts
    (BOTH, (300, 200), "125,15,200,200/175,185", (175, 185)),
    # 9: the caret, while enlarging is off.
    (3, (300, 200), "full/^600,", 501),
    (3, (300, 200), "full/^,201", 501),
    (3, (300, 200), "full/^301,100", 501),
    (3, (300, 200), "full/^pct:120", 501),
    (3, (300, 200), "full/^!360,360", 501),
    (3, (300, 200), "full/^!301,1000", 501),
    (3, (300, 200), "full/^150,", (150, 100)),
    (3, (300, 200), "full/^,100", (150, 100)),
    (3, (300, 200), "full/^150,150", (150, 150)),
    (3, (300, 200), "full/^!225,100", (150, 100)),
    (3, (300, 200), "full/^pct:50", (150, 100)),
    (3, (300, 200), "full/^pct:100", (300, 200)),
    (3, (300, 200), "full/^max", (300, 200)),
    (3, (300, 200), "full/%5Emax", (300, 200)),
    (3, (300, 200), "full/%5E600,", 501),
    *[
        (3, (300, 200), f"full/{size}", 400)
        for size in (
            ",^240", "!^9,9", "^^9,", "^full", "^", "^0,", "^,", "^pct:0", "^pct:-1", "9,^", "9^,",
            "^!9,", "^ 9,", "pct:^120",
        )
    ],
    *[
        (2, (300, 200), f"full/{size}", 400)
        for size in ("^150,", "^max", "^full", "%5E150,", "^600,", "^!9,9", "^pct:50", ",^100")
    ],
    # 12: full is a size of 2.1 only.
    (2, (300, 200), "full/full", (300, 200)),
    (2, (6000, 4000), "0,0,100,50/full", (100, 50)),
    (BOTH, (300, 200), "full/max", (300, 200)),
    (BOTH, (6000, 4000), "10,10,100,50/max", (100, 50)),
    (3, (300, 200), "full/full", 400),
]  # fmt: skip


@pytest.mark.parametrize("version, image, request_, result", list(rows(SIZES)))
def test_size(asker, version, image, request_, result):
    assert asker(*image).result(version, request_) == result


ENLARGED = [
    (3, (300, 200), "full/^600,", (600, 400)),
    (3, (300, 200), "full/^,400", (600, 400)),
    (3, (300, 200), "full/^max", (1000, 667)),
    (3, (300, 200), "full/max", (300, 200)),
    (3, (300, 200), "full/^pct:200", (600, 400)),
    (3, (300, 200), "full/^pct:100.1", (300, 200)),
    (3, (300, 200), "full/^!360,360", (360, 240)),
    (3, (300, 200), "full/^!1000,1000", (1000, 667)),
    (3, (300, 200), "full/^!9999,9999", (1000, 667)),
    (3, (300, 200), "full/!1000,1000", (300, 200)),
    (3, (300, 200), "full/^360,360", (360, 360)),
    (3, (300, 200), "full/^301,1", (301, 1)),
    (3, (300, 200), "full/^1000,", (1000, 667)),
    (3, (300, 200), "full/^1001,", 400),
    (3, (300, 200), "full/^,1001", 400),
    (3, (300, 200), "full/^pct:334", 400),
    (3, (300, 200), "full/^0,", 400),
    (3, (300, 200), "full/600,", 400),
    (3, (300, 200), "full/pct:101", 400),
    (3, (300, 200), "0,0,1,1/^max", (1000, 1000)),
    (3, (6000, 4000), "full/^max", (1000, 667)),
    # 2.1 needs no caret; max and !w,h still never enlarge.
    (2, (300, 200), "full/600,", (600, 400)),
    (2, (300, 200), "full/,400", (600, 400)),
    (2, (300, 200), "full/600,600", (600, 600)),
    (2, (300, 200), "full/pct:200", (600, 400)),
    (2, (300, 200), "full/1001,", 400),
    (2, (300, 200), "full/!1000,1000", (300, 200)),
    (2, (300, 200), "full/max", (300, 200)),
    (2, (300, 200), "full/full", (300, 200)),
    (2, (300, 200), "full/^600,", 400),
]


@pytest.mark.parametrize("version, image, request_, result", list(rows(ENLARGED)))
def test_enlarging_with_max_width_1000(asker, version, image, request_, result):
    ask = asker(*image, limits=Limits(max_width=1000), upscaling=True)
    assert ask.result(version, request_) == result


def test_enlarging_up_to_an_area(asker):
    ask = asker(limits=Limits(max_area=240_000), upscaling=True)
    assert ask.result(3, "full/^max") == (600, 400)
    assert ask.result(3, "full/^!9999,500") == (600, 400)
    assert ask.result(3, "full/^600,400") == (600, 400)
    assert ask.result(3, "full/^601,400") == 400
    assert ask.result(3, "full/^2000,1") == (2000, 1)


def test_enlarging_without_any_limit_ends_at_the_region(asker):
    """Settings refuse this; the arithmetic still must not run away."""
    assert asker(upscaling=True).result(3, "full/^max") == (300, 200)


@pytest.mark.parametrize(
    "limits, result",
    [
        (Limits(max_width=1000), 501),
        (Limits(max_area=60_001 * 4), 501),
        (Limits(max_width=1000, max_area=60_000), (300, 200)),
        (Limits(max_width=300), (300, 200)),
        (Limits(max_width=150), (150, 100)),
        (Limits(max_width=1000, max_height=100), (150, 100)),
    ],
)
def test_caret_max_while_enlarging_is_off(asker, limits, result):
    """501 when a declared limit lies above the image: that is the size it names."""
    assert asker(limits=limits).result(3, "full/^max") == result


LIMITED = [
    # 10: image, limits, max
    ((4000, 6000), Limits(max_width=1000), (667, 1000)),
    ((6000, 4000), Limits(max_width=3000, max_height=1000), (1500, 1000)),
    ((6000, 4000), Limits(max_width=1000, max_height=9000), (1000, 667)),
    ((300, 200), Limits(max_area=10_000), (122, 81)),
    ((6000, 4000), Limits(3000, 2000, 4_000_000), (2449, 1632)),
    ((6000, 4000), Limits(3000, 2000, 6_000_000), (3000, 2000)),
    ((6000, 4000), Limits(3000, 2000, 5_999_999), (2999, 1999)),
    ((300, 200), Limits(max_area=60_000), (300, 200)),
    ((300, 200), Limits(max_area=59_999), (299, 199)),
    ((300, 200), Limits(max_width=1000), (300, 200)),
    ((5, 3), Limits(max_width=4, max_area=8), (4, 2)),  # flooring both sides would give 3x2
    # The width is met, and its height rounded up would pass the area: it is floored instead.
    ((1000, 667), Limits(max_width=100, max_area=6670), (100, 66)),
    # Slivers: a side lifted to 1 stays within the area.
    ((100_000, 1), Limits(max_area=100), (100, 1)),
    ((1, 100_000), Limits(max_area=100), (1, 100)),
    ((100_000, 1), Limits(max_width=1), (1, 1)),
]


@pytest.mark.parametrize("version", BOTH)
@pytest.mark.parametrize("image, limits, result", LIMITED)
def test_max_within_limits(asker, version, image, limits, result):
    ask = asker(*image, limits=limits)
    assert ask.result(version, "full/max") == result
    assert ask.result(version, "full/!999999,999999") == result


BEYOND = [
    # 11, with maxWidth 3000
    (BOTH, (6000, 4000), "full/3001,", 400),
    (BOTH, (6000, 4000), "full/4000,3000", 400),
    (BOTH, (6000, 4000), "full/10,3001", 400),
    (BOTH, (6000, 4000), "full/pct:51", 400),
    (BOTH, (6000, 4000), "full/pct:50", (3000, 2000)),
    (BOTH, (6000, 4000), "full/3000,", (3000, 2000)),
    (BOTH, (6000, 4000), "full/3000,3000", (3000, 3000)),
    (BOTH, (6000, 4000), "full/max", (3000, 2000)),
    (BOTH, (6000, 4000), "full/!5000,5000", (3000, 2000)),
    (BOTH, (6000, 4000), "full/!5000,1000", (1500, 1000)),
    (BOTH, (6000, 4000), "0,0,1000,1000/max", (1000, 1000)),
    (BOTH, (6000, 4000), "square/max", (3000, 3000)),
    (2, (6000, 4000), "full/full", 400),
    (2, (6000, 4000), "0,0,3000,3000/full", (3000, 3000)),
    (2, (6000, 4000), "0,0,3001,3000/full", 400),
    (3, (6000, 4000), "full/^3001,", 400),
    (3, (6000, 4000), "full/^3000,", (3000, 2000)),
]


@pytest.mark.parametrize("version, image, request_, result", list(rows(BEYOND)))
def test_beyond_a_declared_width(asker, version, image, request_, result):
    assert asker(*image, limits=Limits(max_width=3000)).result(version, request_) == result


@pytest.mark.parametrize("version", BOTH)
def test_beyond_a_declared_area(asker, version):
    ask = asker(limits=Limits(max_area=10_000))
    assert ask.result(version, "full/122,") == (122, 81)
    assert ask.result(version, "full/123,") == 400
    assert ask.result(version, "full/122,82") == 400
    assert ask.result(version, "full/300,33") == (300, 33)
    assert ask.result(version, "full/300,34") == 400


@pytest.mark.parametrize("version", BOTH)
def test_limits_are_measured_before_rotation(asker, version):
    ask = asker(1000, 1000, limits=Limits(max_width=1000))
    assert ask.result(version, "full/max/45/default.png") == (1000, 1000)
    assert asker().result(version, "full/100,/90/default.jpg") == (100, 67)
