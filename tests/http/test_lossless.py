"""JPEG that is not encoded anew, as a visitor sees it."""

import io

import numpy
from PIL import Image

from tests.http.collection import gradient, oriented, picture, quarters
from tests.http.conftest import Proxy, Serving


def tables(data: bytes) -> dict[int, list[int]]:
    return Image.open(io.BytesIO(data)).quantization  # type: ignore[attr-defined, no-any-return]


def test_the_source_as_it_is(proxy: Proxy) -> None:
    source = picture("/gradient.jpg")
    assert source is not None
    for target in ("/3/gradient.jpg/full/max", "/2/gradient.jpg/full/full"):
        assert proxy.ask(f"{target}/0/default.jpg").body == source
    asked = proxy.ask("/3/gradient.jpg/full/1200,800/0/color.jpg")
    assert asked.body == source


def test_turned(proxy: Proxy) -> None:
    """The source's quality (95) stays; a tile and a thumbnail have ours."""
    source = picture("/gradient.jpg")
    assert source is not None
    turned = proxy.ask("/3/gradient.jpg/full/max/!90/default.jpg")
    transposed = {k: list(numpy.reshape(v, (8, 8)).T.ravel()) for k, v in tables(source).items()}
    assert tables(turned.body) == transposed
    shown = numpy.asarray(turned_by_pixels(source)).astype(int)
    assert numpy.abs(numpy.asarray(Image.open(io.BytesIO(turned.body))) - shown).max() <= 3
    part = proxy.ask("/3/gradient.jpg/16,32,400,200/max/0/default.jpg")
    assert tables(part.body) == tables(source)
    for ours in ("0,0,512,512/512,512", "16,32,400,200/200,100", "17,32,400,200/max"):
        assert tables(proxy.ask(f"/3/gradient.jpg/{ours}/0/default.jpg").body) != tables(source)


def turned_by_pixels(source: bytes) -> Image.Image:
    mirrored = Image.open(io.BytesIO(source)).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return mirrored.transpose(Image.Transpose.ROTATE_270)


def test_orientation_is_done_too(proxy: Proxy) -> None:
    for value in range(1, 9):
        answer = proxy.ask(f"/3/oriented-{value}.jpg/full/max/0/default.jpg")
        image = Image.open(io.BytesIO(answer.body))
        assert not image.getexif()
        assert "comment" not in image.info
        assert set(tables(answer.body)[0]) == set(tables(oriented(value))[0])
        near = numpy.asarray(image).astype(int) - numpy.asarray(quarters(160, 96))
        assert numpy.abs(near).max() < 16


def test_switched_off(serving: Serving) -> None:
    proxy = serving(jpeg_lossless="off")
    answer = proxy.ask("/3/gradient.jpg/full/max/0/default.jpg")
    assert tables(answer.body) != tables(picture("/gradient.jpg") or b"")
    near = numpy.asarray(Image.open(io.BytesIO(answer.body))).astype(int)
    assert numpy.abs(near - numpy.asarray(gradient(1200, 800))).max() < 16
