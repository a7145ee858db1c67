"""Pages of one source by a suffix of its identifier, as a visitor sees them."""

import io

import numpy
import pytest
import tifffile
from PIL import Image

from tests.http.collection import BLUE, GREEN, RED
from tests.http.conftest import Proxy, Serving
from tests.servers import Exchange, Origin, reply

COLOURS = {1: RED, 2: GREEN, 3: BLUE}


def book(format: str) -> bytes:
    """Three pages of different colour, and of different size where the format has that."""
    sizes = [(60, 40), (70, 50), (80, 90)] if format in ("TIFF", "PDF") else [(60, 40)] * 3
    first, *rest = [
        Image.new("RGB", size, colour) for size, colour in zip(sizes, COLOURS.values(), strict=True)
    ]
    buffer = io.BytesIO()
    options = {"resolution": 72} if format == "PDF" else {}
    first.save(buffer, format, save_all=True, append_images=rest, **options)
    return buffer.getvalue()


BOOKS = {"tif": "TIFF", "gif": "GIF", "pdf": "PDF", "png": "PNG", "webp": "WEBP"}


@pytest.fixture(scope="module")
def paged(serving: Serving, origin: Origin) -> Proxy:
    for extension, format in BOOKS.items():
        data = book(format)
        fields = [("ETag", f'"{extension}"')]
        origin.routes[f"/book.{extension}"] = reply(fields=fields, body=data)
    return serving(page_separator=";page=", pdf_dpi=72)


@pytest.mark.parametrize("extension", BOOKS)
def test_pages(paged: Proxy, extension: str) -> None:
    varied = extension in ("tif", "pdf")
    for page, colour in COLOURS.items():
        base = f"/3/book.{extension}" + (f";page={page}" if page > 1 else "")
        info = paged.info(f"{base}/info.json")
        wanted = {1: (60, 40), 2: (70, 50), 3: (80, 90)}[page] if varied else (60, 40)
        assert (info["width"], info["height"]) == wanted
        assert info["id"].endswith(base)
        for target in ("full/max/0/default.png", "0,0,20,20/10,10/90/default.jpg"):
            image = paged.image(f"{base}/{target}").convert("RGB")
            near = numpy.abs(numpy.array(image.getpixel((5, 5))).astype(int) - colour)
            assert near.max() < 12
        assert paged.ask(f"{base}/full/max/0/default.png").get("Cache-Status") == "iiif-proxy; hit"
    for wrong in (4, 99):
        assert paged.ask(f"/3/book.{extension};page={wrong}/info.json").status == 404
        target = f"/3/book.{extension};page={wrong}/full/max/0/default.jpg"
        assert paged.ask(target).status == 404


def test_one_fetch_for_all_pages(paged: Proxy, origin: Origin) -> None:
    data = book("TIFF")
    asked = []

    def handler(exchange: Exchange) -> None:
        asked.append(exchange.request.target)
        exchange.write(reply(fields=[("ETag", '"x"')], body=data))

    origin.routes["/once.tif"] = handler
    for page in (3, 1, 2):
        assert paged.ask(f"/3/once.tif;page={page}/full/30,/0/default.jpg").status == 200
    assert asked == ["/once.tif"]


def test_the_first_page_is_the_source(paged: Proxy) -> None:
    target = "full/max/0/default.png"
    plain, first = (paged.ask(f"/3/book.tif{suffix}/{target}") for suffix in ("", ";page=1"))
    assert plain.body == first.body
    assert plain.get("ETag") == first.get("ETag")
    assert paged.ask(f"/3/book.tif;page=2/{target}").get("ETag") != plain.get("ETag")


@pytest.mark.parametrize("suffix", [";page=0", ";page=02", ";page=x", ";page=", ";page=1234567"])
def test_what_is_no_number_is_the_identifier(paged: Proxy, suffix: str) -> None:
    assert paged.ask(f"/3/book.tif{suffix}/info.json").status == 404


def test_off_by_default(proxy: Proxy, paged: Proxy) -> None:
    assert proxy.ask("/3/book.tif/info.json").status == 200
    assert proxy.ask("/3/book.tif;page=2/info.json").status == 404


def test_a_jpeg_has_one_page(paged: Proxy) -> None:
    """And is not handed on as it is for another."""
    assert paged.ask("/3/gradient.jpg;page=1/full/max/0/default.jpg").status == 200
    assert paged.ask("/3/gradient.jpg;page=2/full/max/0/default.jpg").status == 404


def test_pages_by_parts(paged: Proxy, origin: Origin) -> None:
    """Of a tiled TIFF that is never fetched whole; the second page lies in strips."""
    rng = numpy.random.default_rng(3)
    pages = [rng.integers(0, 255, (700, 800, 3), numpy.uint8) for _ in range(3)]
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for page, tile in zip(pages, [(256, 256), None, (128, 128)], strict=True):
            writer.write(page, tile=tile, photometric="rgb", metadata=None)
    data = buffer.getvalue()
    sent = []

    def handler(exchange: Exchange) -> None:
        fields = [("ETag", '"parts"'), ("Accept-Ranges", "bytes"), ("Content-Type", "image/tiff")]
        asked = exchange.request.all("Range")
        if not asked:
            exchange.write(reply(fields=fields, body=data))
            return
        start, end = map(int, asked[0].removeprefix("bytes=").split("-"))
        part = data[start : end + 1]
        sent.append(len(part))
        said = ("Content-Range", f"bytes {start}-{start + len(part) - 1}/{len(data)}")
        exchange.write(reply("206 Part", fields=[*fields, said], body=part))

    origin.routes["/parts.tif"] = handler
    for number, page in enumerate(pages, 1):
        base = f"/3/parts.tif;page={number}"
        info = paged.info(f"{base}/info.json")
        assert (info["width"], info["height"]) == (800, 700)
        assert info["tiles"][0]["width"] == {1: 256, 2: 512, 3: 128}[number]
        found = paged.image(f"{base}/256,128,128,128/max/0/default.png")
        assert (numpy.asarray(found) == page[128:256, 256:384]).all()
    assert 0 < sum(sent) < len(data)


def test_damaged_sources(serving: Serving, proxy: Proxy) -> None:
    """502, or what is there, by a setting."""
    for name in ("broken.jpg", "broken-large.jpg", "broken.png"):
        for target in ("full/90,/0", "0,0,512,512/max/0", "full/max/0", "full/max/90"):
            if target.startswith("full"):  # of a large one the upper rows are shown as they come
                assert proxy.ask(f"/3/{name}/{target}/default.jpg").status == 502
            kind = serving(partial="on").ask(f"/3/{name}/{target}/default.jpg")
            assert (kind.status, kind.get("Content-Type")) == (200, "image/jpeg")


def test_formats_that_are_not_read(proxy: Proxy, origin: Origin) -> None:
    origin.routes["/a.eps"] = reply(body=b"%!PS-Adobe-3.0 EPSF-3.0\n")
    answer = proxy.ask("/3/a.eps/info.json")
    assert answer.status == 502
    assert b"PostScript" in answer.body
