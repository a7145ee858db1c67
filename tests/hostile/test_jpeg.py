"""A JPEG whose scans or metadata have no measure is refused; an unusual one is not."""

import io
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from iiif_proxy.errors import OriginFailed
from iiif_proxy.iiif.model import Box
from iiif_proxy.imaging import jpegtile, jpegwalk
from iiif_proxy.imaging.jpegwalk import segment
from iiif_proxy.imaging.reader import Reader, probe
from tests.ahead.conftest import encoded
from tests.hostile.images import jpeg_of_scans
from tests.servers import ask, get, gunicorn


def read(data: bytes, width: int = 500) -> Image.Image:
    info = probe(io.BytesIO(data))
    return Reader(lambda: io.BytesIO(data), info).read(
        Box(0, 0, info.width, info.height), width, width
    )


@pytest.mark.parametrize("width", [2000, 250])
def test_thousands_of_scans_are_refused_before_they_are_decoded(width: int) -> None:
    data = jpeg_of_scans(20_000)
    assert probe(io.BytesIO(data)).width == 2000
    begin = time.process_time()
    with pytest.raises(OriginFailed):
        read(data, width)
    assert time.process_time() - begin < 2  # 6.4 s and more if it were decoded


def test_a_hundred_scans_are_a_picture() -> None:
    assert read(jpeg_of_scans(100)).getpixel((0, 0)) == 77


def test_no_tile_of_a_tiff_and_no_lossless_answer_has_so_many() -> None:
    data = jpeg_of_scans(1_000)
    with pytest.raises(OriginFailed):
        jpegtile.parse_frame(data)
    with pytest.raises(jpegwalk.Unfit):
        list(jpegwalk.picture(io.BytesIO(data)))
    assert jpegtile.parse_frame(jpeg_of_scans(90)).width == 2000


def test_a_service_refuses_them_as_a_broken_source(tmp_path: Path) -> None:
    (tmp_path / "scans.jpg").write_bytes(jpeg_of_scans(20_000))
    (tmp_path / "colour.jpg").write_bytes(jpeg_of_scans(20_000, colour=True))
    (tmp_path / "good.jpg").write_bytes(jpeg_of_scans(100, colour=True))
    settings = {
        "IIIF_PROXY_SOURCE": f"file:{tmp_path}/{{id}}",
        "IIIF_PROXY_CACHE_DIR": str(tmp_path / "cache"),
    }
    with gunicorn("iiif_proxy.wsgi", settings) as server:
        for name in ("scans", "colour"):
            for wanted in ("full/max", "full/100,", "0,0,512,512/512,", "512,0,512,512/512,"):
                answer = ask(server.port, get(f"/iiif/3/{name}.jpg/{wanted}/0/default.jpg"))
                assert answer.status == 502, (name, wanted)
        assert ask(server.port, get("/iiif/3/good.jpg/full/max/0/default.jpg")).status == 200


def with_segments(count: int, head: bytes, size: int) -> bytes:
    data = encoded(Image.new("RGB", (64, 64), "red"))
    return data[:2] + segment(0xE1, head + b"\0" * size) * count + data[2:]


def test_exif_without_end_is_refused_while_it_is_read() -> None:
    file = io.BytesIO(with_segments(600, b"Exif\0\0", 65_000))
    with pytest.raises(OriginFailed):
        probe(file)
    assert file.tell() < 8 << 20


def test_junk_between_segments_is_not_read_for_ever() -> None:
    data = encoded(Image.new("RGB", (64, 64), "red"))
    with pytest.raises(OriginFailed):
        read(data[:2] + b"\0" * (2 << 20) + data[2:])


@pytest.mark.parametrize(
    "segments",
    [(40, b"Exif\0\0", 65_000), (300, b"http://ns.adobe.com/xmp/extension/\0", 65_000)],
)
def test_much_metadata_is_no_fault(segments: tuple[Any, ...]) -> None:
    assert probe(io.BytesIO(with_segments(*segments))).width == 64
