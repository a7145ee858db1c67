"""Sections 4.7 of 2.1 and 4.8 of 3.0: trap 13."""

import pytest

from iiif_proxy.iiif.model import Limits

LARGE = (6000, 4000)
SMALL = (300, 200)

# image, request, canonical in 2.1, in 3.0 (None: not a request of that version)
CANONICAL = [
    (LARGE, "full/pct:50/0/color.jpg", "full/3000,/0/default.jpg", "full/3000,2000/0/default.jpg"),
    (LARGE, "0,0,6000,4000/6000,4000", "full/full", "full/max"),
    (LARGE, "full/max", "full/full", "full/max"),
    (LARGE, "full/full", "full/full", None),
    (LARGE, "square/max", "1000,0,4000,4000/full", "1000,0,4000,4000/max"),
    (LARGE, "full/!300,300", "full/300,", "full/300,200"),
    (LARGE, "full/1000,667", "full/1000,", "full/1000,667"),
    (LARGE, "full/1000,666", "full/1000,666", "full/1000,666"),
    (LARGE, "full/500,500", "full/500,500", "full/500,500"),
    (LARGE, "0,0,1000,1000/500,", "0,0,1000,1000/500,", "0,0,1000,1000/500,500"),
    (LARGE, "0,0,1000,1000/500,333", "0,0,1000,1000/500,333", "0,0,1000,1000/500,333"),
    (LARGE, "full/^3000,", None, "full/3000,2000"),
    (LARGE, "full/%5Emax", None, "full/max"),
    (LARGE, "full/,1000", "full/1500,", "full/1500,1000"),
    (LARGE, "5000,3000,5000,5000/max", "5000,3000,1000,1000/full", "5000,3000,1000,1000/max"),
    (SMALL, "125,15,200,200/max", "125,15,175,185/full", "125,15,175,185/max"),
    (SMALL, "0,0,9999,9999/max", "full/full", "full/max"),
    (SMALL, "pct:41.6,7.5,40,70/max", "125,15,120,140/full", "125,15,120,140/max"),
    ((301, 200), "square/max", "50,0,200,200/full", "50,0,200,200/max"),
    ((200, 301), "square/max", "0,50,200,200/full", "0,50,200,200/max"),
    ((200, 200), "square/max", "full/full", "full/max"),
    ((1000, 3), "full/100,", "full/100,", "full/100,1"),
    (SMALL, "full/max/90.0/gray.png", "full/full/90/gray.png", "full/max/90/gray.png"),
    (SMALL, "full/max/22.50/gray.png", "full/full/22.5/gray.png", "full/max/22.5/gray.png"),
    (SMALL, "full/max/360/bitonal.png", "full/full/0/bitonal.png", "full/max/0/bitonal.png"),
    (SMALL, "full/max/!0.0/default.gif", "full/full/!0/default.gif", "full/max/!0/default.gif"),
    (SMALL, "full/max/.5/color.webp", "full/full/0.5/default.webp", "full/max/0.5/default.webp"),
    # A tile at the edge (trap 15): 2.1's viewers mean 71x256 by `71,`.
    ((2609, 3424), "2048,0,561,2048/71,256", "2048,0,561,2048/71,", "2048,0,561,2048/71,256"),
    ((2609, 3424), "2048,0,561,2048/71,259", "2048,0,561,2048/71,259", "2048,0,561,2048/71,259"),
]


def rows():
    for image, request, two, three in CANONICAL:
        for version, canonical in ((2, two), (3, three)):
            if canonical is not None:
                yield pytest.param(version, image, request, canonical, id=f"/{version}/{request}")


def whole(tail):
    return tail if tail.count("/") == 3 else tail + "/0/default.jpg"


@pytest.fixture(scope="session")
def tiled(asker):
    from iiif_proxy.iiif.model import Features

    features = Features(formats=("jpg", "png", "gif", "webp"), tile_size=256)
    return lambda *image, **more: asker(*image, features=features, **more)


@pytest.mark.parametrize("version, image, request_, canonical", list(rows()))
def test_canonical(tiled, version, image, request_, canonical):
    ask = tiled(*image)
    assert ask.canonical(version, request_) == whole(canonical)
    assert ask.canonical(version, canonical) == whole(canonical)
    assert ask.plan(version, canonical) == ask.plan(version, request_)


LIMITED = [
    (LARGE, Limits(max_width=3000), "full/max", "full/3000,", "full/max"),
    (LARGE, Limits(max_width=3000), "full/3000,", "full/3000,", "full/max"),
    (LARGE, Limits(max_width=3000), "full/1500,", "full/1500,", "full/1500,1000"),
    (LARGE, Limits(max_width=3000), "0,0,90,90/max", "0,0,90,90/full", "0,0,90,90/max"),
    (LARGE, Limits(3000, 2000, 4_000_000), "full/max", "full/2449,1632", "full/max"),
]


@pytest.mark.parametrize("image, limits, request_, two, three", LIMITED)
def test_canonical_within_limits(asker, image, limits, request_, two, three):
    ask = asker(*image, limits=limits)
    for version, canonical in ((2, two), (3, three)):
        assert ask.canonical(version, request_) == whole(canonical)
        assert ask.plan(version, canonical) == ask.plan(version, request_)


ENLARGED = [
    (LARGE, 12_000, "full/^9000,", "full/^9000,6000"),
    (LARGE, 9_000, "full/^9000,", "full/^max"),
    (LARGE, 9_000, "full/^max", "full/^max"),
    (LARGE, 9_000, "full/^6000,", "full/max"),
    (LARGE, 9_000, "full/^3000,", "full/3000,2000"),
    (LARGE, 9_000, "full/^6000,4001", "full/^6000,4001"),
    (LARGE, 3_000, "full/^max", "full/max"),
]


@pytest.mark.parametrize("image, max_width, request_, canonical", ENLARGED)
def test_canonical_enlarged(asker, image, max_width, request_, canonical):
    ask = asker(*image, limits=Limits(max_width=max_width), upscaling=True)
    assert ask.canonical(3, request_) == whole(canonical)
    assert ask.plan(3, canonical) == ask.plan(3, request_)


def test_canonical_enlarged_in_2(asker):
    ask = asker(limits=Limits(max_width=1000), upscaling=True)
    assert ask.canonical(2, "full/pct:200") == "full/600,/0/default.jpg"
    assert ask.plan(2, "full/600,") == ask.plan(3, "full/^pct:200")


@pytest.mark.parametrize("version", [2, 3])
def test_canonical_quality_of_a_gray_source(asker, version):
    for quality in ("default", "gray"):
        canonical = asker(gray=True).canonical(version, f"full/max/0/{quality}.png")
        assert canonical.endswith("/default.png")
    # Gray in three channels, which nobody gets who does not ask for it.
    assert asker(gray=True).canonical(version, "full/max/0/color.png").endswith("/color.png")
    assert asker(gray=True).canonical(version, "full/max/0/bitonal.png").endswith("/bitonal.png")
    bilevel = asker(gray=True, bilevel=True)
    assert bilevel.canonical(version, "full/max/0/bitonal.png").endswith("/bitonal.png")
