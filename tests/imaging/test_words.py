"""What goes on of what a file says of itself: its resolution, and names if they are wanted."""

import io
import struct
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from iiif_proxy.iiif.model import Box, ImageInfo, Plan
from iiif_proxy.imaging import lossless
from iiif_proxy.imaging.encode import EncodeOptions, encode
from iiif_proxy.imaging.formats import opened
from iiif_proxy.imaging.reader import probe
from iiif_proxy.imaging.reading import DEFAULT as READING
from iiif_proxy.imaging.routes import describe
from iiif_proxy.imaging.words import Words, heard, of_blocks, said
from iiif_proxy.imaging.words import exif as exif_of
from iiif_proxy.imaging.words import xmp as xmp_of
from tests.imaging.drawn import image, photo, saved, stored

RGB = image(photo(96, 64))
NAMES = Words(0.0, "Frida Kahlo", "© Museo Ñandú & Söhne <2024>")
SECRETS = (b"GPS", b"Secret", b"13.7", b"Lens", b"private")


def everything() -> bytes:
    """EXIF of a phone: names, resolution, where it was, what with."""
    found = Image.Exif()
    found[0x010F] = "Lens Maker"
    found[0x010E] = "private words"
    found[0x013B], found[0x8298] = NAMES.creator, NAMES.rights.encode()
    found[0x011A], found[0x011B], found[0x0128] = 240.0, 240.0, 2
    found.get_ifd(0x8825).update({1: "N", 2: (13.0, 7.0, 1.0), 29: "2024:01:01"})
    found.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0Secret"
    return found.tobytes()


PACKET = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/"'
    b' xmlns:exif="http://ns.adobe.com/exif/1.0/" exif:GPSLatitude="13.7N">'
    b"<dc:creator><rdf:Seq><rdf:li>Ada</rdf:li><rdf:li>Bea</rdf:li></rdf:Seq></dc:creator>"
    b'<dc:rights><rdf:Alt><rdf:li xml:lang="x-default">Ours &amp; theirs</rdf:li></rdf:Alt>'
    b"</dc:rights><dc:title>Secret</dc:title></rdf:Description></rdf:RDF></x:xmpmeta>"
)
SAYS = Words(0.0, "Ada; Bea", "Ours & theirs")


def iptc() -> bytes:
    """Photoshop's resources with IPTC in them: a by-line, a city, a copyright notice."""
    fields = ((80, b"Carla"), (90, b"Secret City"), (116, b"By Carla"))
    block = b"".join(struct.pack(">BBBH", 0x1C, 2, tag, len(text)) + text for tag, text in fields)
    resource = b"8BIM" + struct.pack(">HHI", 0x0404, 0, len(block)) + block
    return b"Photoshop 3.0\0" + resource + bytes(len(block) % 2)


def with_segment(jpeg: bytes, content: bytes) -> bytes:
    return jpeg[:2] + b"\xff\xed" + struct.pack(">H", len(content) + 2) + content + jpeg[2:]


def words_of(path: Path) -> Words:
    info = probe(path)
    return Words(info.dpi, info.creator, info.rights)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_names_of_exif(tmp_path: Path, format: str) -> None:
    path = stored(tmp_path, saved(RGB, format, exif=everything()))
    assert words_of(path) == Words(240.0, NAMES.creator, NAMES.rights)


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "AVIF", "TIFF"])
def test_names_of_xmp(tmp_path: Path, format: str) -> None:
    how: dict[str, Any] = {"tiffinfo": {700: PACKET}} if format == "TIFF" else {"xmp": PACKET}
    assert words_of(stored(tmp_path, saved(RGB, format, **how))) == SAYS


def test_names_of_iptc_go_before_those_of_xmp(tmp_path: Path) -> None:
    data = with_segment(saved(RGB, "JPEG", xmp=PACKET), iptc())
    assert words_of(stored(tmp_path, data)) == Words(0.0, "Carla", "By Carla")


@pytest.mark.parametrize("tiled", [False, True])
def test_names_and_resolution_of_a_tiff(tmp_path: Path, tiled: bool) -> None:
    """By Pillow, and by its own tiles."""
    tifffile = pytest.importorskip("tifffile")
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        photo(96, 64),
        photometric="rgb",
        tile=(64, 64) if tiled else None,
        resolution=(100, 100),
        resolutionunit=3,
        extratags=[(315, 2, 0, "Frida", True), (700, 1, len(PACKET), PACKET, True)],
        metadata=None,
    )
    path = stored(tmp_path, buffer.getvalue())
    info = describe(str(path), READING, True)
    assert info is not None
    assert bool(info.tile_width) == tiled
    assert (info.dpi, info.creator, info.rights) == (254.0, "Frida", SAYS.rights)


def test_of_heif(tmp_path: Path) -> None:
    library = pytest.importorskip("pillow_heif")
    buffer = io.BytesIO()
    library.from_pillow(RGB).save(buffer, exif=everything(), xmp=PACKET)
    info = probe(stored(tmp_path, buffer.getvalue()))
    assert (info.width, info.height) == (96, 64)
    assert (info.dpi, info.creator, info.rights) == (240.0, NAMES.creator, NAMES.rights)


@pytest.mark.parametrize(
    "packet",
    [
        b"<",
        b"",
        b"\xff\xfe<\0?\0",
        PACKET[:-20],
        PACKET.decode().encode("utf-16"),
        b'<!DOCTYPE a [<!ENTITY b "' + b"c" * 99 + b'">]><a>&b;</a>',
        b"<a>" * 50_000 + b"</a>" * 50_000,
        b"<a>" + b" " * (2 << 20) + b"</a>",
        b'<?xml version="1.0" encoding="cp037"?><a/>',
        "text, no bytes",
        None,
    ],
)
def test_xmp_that_is_not_read(packet: Any) -> None:
    assert of_blocks(None, packet) == Words()


@pytest.mark.parametrize("at", range(0, 200, 7))
def test_damaged_exif_says_less_and_harms_nothing(at: int) -> None:
    block = everything()
    found = of_blocks(block[:at], None)
    assert found.creator in ("", NAMES.creator)
    torn = of_blocks(block[:at] + b"\xff\xff" + block[at + 2 :], None)
    assert len(torn.creator) < 1100


def test_signs_of_control_and_length_are_cut() -> None:
    names = Words(0.0, "A\x01B\nC", "x" * 5000)
    found = of_blocks(exif_of(names), None)
    assert found == Words(0.0, "A B C", "x" * 1000)


KEEPING = ("jpg", "png", "webp", "avif", "tif")


def written(format: str, words: Words, mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    encode(RGB.convert(mode), format, buffer, EncodeOptions(), None, words)
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA"])
@pytest.mark.parametrize("format", KEEPING)
def test_names_in_every_format_that_has_room(tmp_path: Path, format: str, mode: str) -> None:
    data = written(format, NAMES, mode)
    assert words_of(stored(tmp_path, data)) == NAMES
    again = Image.open(io.BytesIO(data))
    if format != "tif":
        assert again.info["xmp"].strip() == xmp_of(NAMES)
    assert again.getexif()[0x013B] == NAMES.creator


@pytest.mark.parametrize("format", ["gif", "jp2"])
def test_no_room(format: str) -> None:
    assert written(format, NAMES) == written(format, Words())


@pytest.mark.parametrize("format", ["jpg", "png", "tif", "pdf"])
def test_resolution_is_written(format: str) -> None:
    data = written(format, Words(150.0))
    if format == "pdf":
        assert b"[ 0 0 46.08 30.72 ]" in data  # 96 by 64 pixels, in points
    else:
        assert Image.open(io.BytesIO(data)).info["dpi"] == pytest.approx((150, 150), abs=0.02)
    assert "dpi" not in Image.open(io.BytesIO(written("png", Words()))).info


def test_a_smaller_picture_of_the_same_thing_has_less_of_it() -> None:
    info = ImageInfo(400, 300, "jpeg", dpi=300.0, creator="Ada", rights="Hers")
    box = Box(100, 0, 200, 300)
    half = Plan(box, 100, 150, False, Decimal(0), "default", "jpg")
    assert said(half, info, False) == Words(150.0)
    assert said(half, info, True) == Words(150.0, "Ada", "Hers")


@pytest.mark.parametrize("quarters", [0, 1])
@pytest.mark.parametrize("rights", [False, True])
@pytest.mark.parametrize("jfif", [True, False])
def test_without_decoding_too(tmp_path: Path, quarters: int, rights: bool, jfif: bool) -> None:
    options: dict[str, Any] = {"exif": everything(), "xmp": PACKET, "comment": b"Secret"}
    data = saved(RGB, "JPEG", **options, **({"dpi": (240, 240)} if jfif else {}))
    if not jfif:
        data = data[:2] + data[20:]
    path = stored(tmp_path, with_segment(data, iptc()))
    info = probe(path)
    box = Box(0, 0, 96, 64)
    plan = Plan(box, 96, 64, False, Decimal(90 * quarters), "default", "jpg")
    with opened(path) as picture:
        todo = lossless.work(picture, 1, plan, False)
    if todo is None:
        pytest.skip("no jpegtran here")
    target = io.BytesIO()
    assert lossless.run(todo, str(path), target, said(plan, info, rights))
    found = target.getvalue()
    assert not any(secret in found for secret in SECRETS)
    again = Image.open(io.BytesIO(found))
    names = (NAMES.creator, NAMES.rights) if rights else ("", "")
    assert heard(again) == Words(240.0, *names)
    assert again.info["dpi"] == (240, 240)


@pytest.mark.parametrize("format", ["jpg", "png", "webp", "avif", "tif", "pdf", "gif", "jp2"])
@pytest.mark.parametrize("rights", [False, True])
def test_nothing_else_goes_on(tmp_path: Path, format: str, rights: bool) -> None:
    data = with_segment(saved(RGB, "JPEG", exif=everything(), xmp=PACKET), iptc())
    assert all(secret in data for secret in (b"GPS", b"Secret", b"Lens"))
    path = stored(tmp_path, data)
    info = probe(path)
    plan = Plan(Box(0, 0, 96, 64), 96, 64, False, Decimal(0), "default", format)
    with opened(path) as picture:
        picture.load()
        buffer = io.BytesIO()
        encode(picture, format, buffer, EncodeOptions(), None, said(plan, info, rights))
    found = buffer.getvalue()
    assert not any(secret in found for secret in SECRETS)
    named = rights and format in KEEPING
    assert (NAMES.creator.encode() in found) == named or format == "pdf"
    if format in KEEPING:
        assert not Image.open(io.BytesIO(found)).getexif().get_ifd(0x8825)
