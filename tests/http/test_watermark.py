"""The watermark as a visitor meets it: on every way to an answer, and on tiles only if asked."""

from pathlib import Path

import numpy
import pytest
from PIL import Image

from tests.http.collection import coordinates
from tests.http.conftest import Proxy, Serving

TILE = "0,0,512,512/512,512"


@pytest.fixture(scope="module")
def logo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("logo") / "logo.png"
    Image.new("RGBA", (40, 20), (255, 0, 255, 255)).save(path)
    return path


@pytest.fixture
def site(serving: Serving, logo: Path) -> Proxy:
    return serving(watermark=str(logo), watermark_min=150)


def is_marked(image: Image.Image) -> bool:
    """At the bottom right, where it belongs."""
    pixels = numpy.asarray(image.convert("RGB")).astype(int)
    height, width = pixels.shape[:2]
    margin = min(width, height) // 50
    spot = pixels[
        height - margin - 6 : height - margin - 2, width - margin - 8 : width - margin - 2
    ]
    return bool(numpy.abs(spot - (255, 0, 255)).max() < 90)


@pytest.mark.parametrize(
    "target, wanted",
    [
        ("/3/gradient.jpg/full/max/0/default.jpg", True),  # not the source's own bytes
        ("/3/gradient.jpg/full/max/90/default.jpg", True),  # nor jpegtran's
        ("/2/gradient.jpg/full/full/0/default.jpg", True),
        ("/3/gradient.jpg/full/300,/0/default.webp", True),
        ("/3/gradient.jpg/100,100,400,300/max/0/default.png", True),
        ("/3/large.png/full/400,/0/default.jpg", True),
        ("/3/quarters.png/full/max/0/default.avif", True),
        ("/3/quarters.png/full/max/0/gray.jpg", False),  # it is, in gray
        ("/3/gradient.jpg/full/149,/0/default.jpg", False),
        (f"/3/gradient.jpg/{TILE}/0/default.jpg", False),
        (f"/3/large.png/{TILE}/0/default.jpg", False),
    ],
)
def test_which_answers_have_it(site: Proxy, target: str, wanted: bool) -> None:
    assert is_marked(site.image(target)) == wanted


def test_all_else_is_as_it_was(site: Proxy) -> None:
    found = numpy.asarray(site.image("/3/coordinates.png/full/max/0/default.png"))
    other = (found != coordinates(300, 200)).any(2)
    assert other.sum() <= 40 * 20
    assert other[176:196, 256:296].sum() == other.sum()
    tile = numpy.asarray(site.image(f"/3/large.png/{TILE}/0/default.png"))
    assert numpy.array_equal(tile, coordinates(1301, 1102)[:512, :512])


def test_tiles_have_it_if_that_is_set(serving: Serving, logo: Path) -> None:
    site = serving(watermark=str(logo), watermark_min=150, watermark_tiles="on", write_ahead="on")
    for target in (TILE, "512,512,512,512/512,512", "0,0,1024,1024/512,512"):
        assert is_marked(site.image(f"/3/large.png/{target}/0/default.jpg"))


def test_words(serving: Serving) -> None:
    site = serving(watermark="text:© Museum", watermark_position="top-left", watermark_size=40)
    found = numpy.asarray(site.image("/3/300x200.jpg/full/max/0/default.png")).astype(int)
    away = numpy.abs(found - found[-1, -1]).max(2) > 40
    assert away[:80, :130].sum() > 200
    assert not away[100:].any()
    assert not away[:, 150:].any()
