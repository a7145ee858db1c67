"""Section 4.1 of both versions: traps 1 to 4."""

import time

import pytest

from iiif_proxy.iiif.model import Box

BOTH = pytest.mark.parametrize("version", [2, 3])

# image, region, box
REGIONS = [
    ((300, 200), "full", (0, 0, 300, 200)),
    ((300, 200), "0,0,300,200", (0, 0, 300, 200)),
    ((300, 200), "125,15,120,140", (125, 15, 120, 140)),
    ((300, 200), "007,00,1,1", (7, 0, 1, 1)),
    # Percentages of the reported size: the specification's own figures pin the rounding.
    ((300, 200), "pct:41.6,7.5,66.6,100", (125, 15, 175, 185)),
    ((300, 200), "pct:41.6,7.5,40,70", (125, 15, 120, 140)),
    ((300, 200), "pct:50,50,100,100", (150, 100, 150, 100)),
    ((300, 200), "pct:0,0,100,100", (0, 0, 300, 200)),
    ((300, 200), "pct:.5,0.50,50.,50", (2, 1, 150, 100)),  # 1.5 is half: up
    ((200, 200), "pct:0.25,0.75,50,50", (1, 2, 100, 100)),  # 0.5 and 1.5: half up, not half even
    ((200, 200), "pct:1.25,0,50,50", (3, 0, 100, 100)),  # 2.5 would be 2 by round()
    ((1000, 1000), "pct:0.05,0.15,0.05,0.25", (1, 2, 1, 3)),
    ((300, 200), "pct:0,0,0.2,0.3", (0, 0, 1, 1)),  # 0.6x0.6
    ((300, 200), "pct:0,0,1000,1000", (0, 0, 300, 200)),
    # Past the edge: cropped.
    ((300, 200), "125,15,200,200", (125, 15, 175, 185)),
    ((300, 200), "0,0,9999,9999", (0, 0, 300, 200)),
    ((300, 200), "299,199,5,5", (299, 199, 1, 1)),
    ((300, 200), f"0,0,{'9' * 400},9", (0, 0, 300, 9)),
    # The square is in the middle, on whole pixels.
    ((301, 200), "square", (50, 0, 200, 200)),
    ((200, 301), "square", (0, 50, 200, 200)),
    ((200, 200), "square", (0, 0, 200, 200)),
    ((6000, 4000), "square", (1000, 0, 4000, 4000)),
    ((1, 9), "square", (0, 4, 1, 1)),
    # Percent-encoded parameters mean the same.
    ((300, 200), "pct%3A50%2C50%2C50%2C50", (150, 100, 150, 100)),
    ((300, 200), "%66ull", (0, 0, 300, 200)),
]


@BOTH
@pytest.mark.parametrize("image, region, box", REGIONS)
def test_region_to_pixels(asker, version, image, region, box):
    assert asker(*image).plan(version, f"{region}/max").box == Box(*box)


REFUSED = [
    "300,0,1,1",
    "0,200,1,1",
    "0,0,0,10",
    "0,0,10,0",
    "pct:0,0,0,10",
    "pct:0,0,10,0",
    "pct:100,0,10,10",
    "pct:0,100,10,10",
    "pct:0,0,0.1,0.1",
    "pct:0,0,0.1,100",
    "-1,0,9,9",
    "+1,0,9,9",
    "0.5,0,9,9",
    "1e1,0,9,9",
    "0,0,10",
    "0,0,10,10,10",
    "0,0,10,",
    ",,,",
    "1_0,0,9,9",
    "\u0661,0,9,9",
    "%D9%A1,0,9,9",  # the same digit as it comes
    "pct:%D9%A1,0,9,9",
    "pct:-1,0,9,9",
    "pct:+1,0,9,9",
    "pct:1e1,0,9,9",
    "pct:1..5,0,9,9",
    "pct:.,0,9,9",
    "pct:nan,0,9,9",
    "pct:inf,0,9,9",
    "pct:10,10,10",
    "pct 0,0,9,9",
    "percent:0,0,9,9",
    " 0,0,9,9",
    "0, 0,9,9",
    "0,0,9,9%0A",
    "Full",
    "SQUARE",
    "smart",
    "full%00",
    "",
    f"{'9' * 400},0,9,9",
    f"0,0,{'9' * 700},9",
]


@BOTH
@pytest.mark.parametrize("region", REFUSED)
def test_region_refused(asker, version, region):
    assert asker().status(version, f"{region}/max") == 400


@BOTH
@pytest.mark.parametrize(
    "tail",
    [
        "1" * 100_000 + ",0,9,9/max",
        "pct:" + "1" * 400 + "." + "1" * 400 + ",0,9,9/max",
        "0,0," * 20_000 + "/max",
        "pct:" + "." * 50_000 + "/max",
        "full/" + "1" * 100_000 + ",",
        "full/pct:" + "0." * 50_000,
        "full/max/" + "1" * 100_000 + "/default.jpg",
        "full/max/" + "0." * 50_000 + "/default.jpg",
        "full/max/0/default." + "j" * 100_000,
    ],
    ids=range(9),
)
def test_monstrous_numbers_are_refused_at_once(asker, version, tail):
    begun = time.perf_counter()
    assert asker().status(version, tail) == 400
    assert time.perf_counter() - begun < 5
