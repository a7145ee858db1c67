"""Formats in: every kind is told, described and shown as what it is; the others are refused."""

import io
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import tifffile
from PIL import Image

from iiif_proxy.errors import NotFound, OriginFailed
from iiif_proxy.iiif.model import Box, ImageInfo
from iiif_proxy.imaging import optional, pages, tiffextra
from iiif_proxy.imaging.formats import count_pages, opened
from iiif_proxy.imaging.reader import Reader, probe
from iiif_proxy.imaging.reading import Reading
from tests.imaging import kinds
from tests.imaging.drawn import Pixels, exif, image, oriented, photo, psnr, saved, stored
from tests.imaging.kinds import SOURCE

GRAY = numpy.asarray(image(SOURCE).convert("L"))


USUAL = Reading(10**7)


def shown(path: Path, reading: Reading = USUAL) -> tuple[ImageInfo, Pixels]:
    """All of it at its own size."""
    info = probe(path, reading)
    whole = Box(0, 0, info.width, info.height)
    pixels = Reader(path, info, reading=reading).read(whole, info.width, info.height)
    return info, numpy.asarray(pixels)


def plain(format: str, **options: object) -> Callable[[], bytes]:
    return lambda: saved(image(SOURCE), format, **options)


EXACT: dict[str, tuple[Callable[[], bytes], Pixels]] = {
    "bmp": (plain("BMP"), SOURCE),
    "dds": (plain("DDS"), SOURCE),
    "fits": (lambda: kinds.fits(GRAY), GRAY),
    "gray tga": (lambda: saved(image(GRAY), "TGA"), GRAY),
    "msp": (lambda: kinds.bilevel("MSP", SOURCE), (GRAY >= 128) * 255),
    "pcx": (plain("PCX"), SOURCE),
    "ppm": (plain("PPM"), SOURCE),
    "psd": (lambda: kinds.psd(SOURCE), SOURCE),
    "qoi": (plain("QOI"), SOURCE),
    "sgi": (plain("SGI"), SOURCE),
    "sun": (lambda: kinds.sun(SOURCE), SOURCE),
    "tga": (plain("TGA", compression="tga_rle"), SOURCE),
    "xbm": (lambda: kinds.bilevel("XBM", SOURCE), (GRAY >= 128) * 255),
    "tiff jpeg2000": (lambda: kinds.tiff(SOURCE, compression="jpeg2000"), SOURCE),
    "tiff lerc": (lambda: kinds.tiff(SOURCE, compression="lerc"), SOURCE),
    "tiff zstd planar": (
        lambda: kinds.tiff(
            SOURCE.transpose(2, 0, 1) * numpy.uint16(257), compression="zstd", photometric="rgb"
        ),
        SOURCE,
    ),
    "tiff white is zero": (
        lambda: kinds.tiff(255 - GRAY, compression="lerc", photometric="miniswhite"),
        GRAY,
    ),
}


@pytest.mark.parametrize("kind", EXACT)
def test_every_pixel(tmp_path: Path, kind: str) -> None:
    make, wanted = EXACT[kind]
    info, found = shown(stored(tmp_path, make()))
    assert (info.width, info.height) == (96, 64)
    assert info.gray == (wanted.ndim == 2)
    assert (found.squeeze() == wanted).all()


LOSSY: dict[str, tuple[Callable[[], bytes], float]] = {
    "heif": (lambda: kinds.heif(SOURCE), 35),
    "raw": (lambda: kinds.dng(SOURCE), 17),
    "ico": (lambda: saved(image(SOURCE), "ICO", sizes=[(96, 64)]), 60),
    "xpm": (lambda: kinds.xpm(SOURCE), 21),
}


@pytest.mark.parametrize("kind", LOSSY)
def test_much_alike(tmp_path: Path, kind: str) -> None:
    make, least = LOSSY[kind]
    info, found = shown(stored(tmp_path, make()))
    assert (info.width, info.height, info.format) == (96, 64, kind)
    assert psnr(found[..., :3], SOURCE) > least


def test_a_negative_is_not_its_thumbnail(tmp_path: Path) -> None:
    with opened(stored(tmp_path, kinds.dng(SOURCE))) as negative:
        assert negative.format == "RAW"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_heif_is_turned_once(tmp_path: Path, orientation: int) -> None:
    """libheif does what `irot` and `imir` say; EXIF says the same again."""
    data = kinds.heif(oriented(SOURCE, orientation), exif=exif(orientation))
    path = stored(tmp_path, data)
    info, found = shown(path)
    assert (info.width, info.height) == (96, 64)
    assert psnr(found, SOURCE) > 30
    part = Reader(path, info).read(Box(17, 9, 40, 30), 40, 30)
    assert (numpy.asarray(part) == found[9:39, 17:57]).all()


# A black square of 36 points, its lower left corner at 36, 72.
SQUARE = "0 0 0 rg 36 72 36 36 re f"


def test_pdf(tmp_path: Path) -> None:
    path = stored(tmp_path, kinds.pdf((144, 216, SQUARE)))
    info, found = shown(path, Reading(10**7, dpi=72))
    assert (info.width, info.height, info.format, info.dpi) == (144, 216, "pdf", 72)
    wanted = numpy.full((216, 144, 3), 255)
    wanted[108:144, 36:72] = 0
    assert (found == wanted).all()
    assert probe(path, Reading(dpi=150)).width == 300
    turned = probe(stored(tmp_path, kinds.pdf((144, 216, SQUARE), rotate=90)), Reading(dpi=72))
    assert (turned.width, turned.height) == (216, 144)


def test_pdf_is_drawn_sharp_at_any_size(tmp_path: Path) -> None:
    path = stored(tmp_path, kinds.pdf((144, 216, SQUARE)))
    reading = Reading(10**7, dpi=72)
    info = probe(path, reading)
    found = Reader(path, info, reading=reading).read(Box(30, 100, 20, 20), 200, 200)
    wanted = numpy.full((200, 200, 3), 255)
    wanted[80:, 60:] = 0
    assert (numpy.asarray(found) == wanted).all()
    # What was described under another setting is still the same picture.
    other = Reader(path, info, reading=Reading(10**7, dpi=300)).read(Box(0, 0, 144, 216), 144, 216)
    assert (numpy.asarray(other)[108:144, 36:72] == 0).all()


def test_tiles_of_a_pdf_join(tmp_path: Path) -> None:
    drawn = "1 0 0 RG 3 w 5 5 m 190 270 l S 0 0 1 rg 40 50 99 77 re f"
    path = stored(tmp_path, kinds.pdf((200, 280, drawn)))
    info, whole = shown(path)
    reader = Reader(path, info)
    for x in range(0, info.width, 128):
        for y in range(0, info.height, 128):
            box = Box(x, y, min(128, info.width - x), min(128, info.height - y))
            tile = numpy.asarray(reader.read(box, box.width, box.height))
            part = whole[y : y + box.height, x : x + box.width]
            assert numpy.abs(tile.astype(int) - part).max() <= 2


@pytest.mark.parametrize(
    "make, name, extra",
    [
        (lambda: kinds.heif(SOURCE), "HEIF", "heif"),
        (lambda: kinds.pdf((72, 72, "")), "PDF", "pdf"),
        (lambda: kinds.dng(SOURCE), "RAW", "raw"),
        (lambda: b"FUJIFILMCCD-RAW 0201" + bytes(60), "RAW", "raw"),
        (lambda: kinds.tiff(SOURCE, compression="lerc"), "TIFF", "tiff"),
    ],
)
def test_without_the_extra(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[], bytes],
    name: str,
    extra: str,
) -> None:
    monkeypatch.setattr(optional, "module", lambda format: None)
    monkeypatch.setattr(tiffextra, "installed", lambda: False)
    with pytest.raises(OriginFailed) as refused:
        probe(stored(tmp_path, make()))
    assert name in refused.value.public
    assert f"iiif-proxy[{extra}]" in refused.value.public


@pytest.mark.parametrize(
    "data, word",
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\xff\x0a" + bytes(80), "JPEG XL"),
        (b"8BPS\0\x02" + bytes(80), "PSB"),
        (b"AT&TFORM" + bytes(80), "DjVu"),
    ],
)
def test_known_and_refused(tmp_path: Path, data: bytes, word: str) -> None:
    with pytest.raises(OriginFailed, match=word):
        probe(stored(tmp_path, data))


BOMBS = {
    "pcx": struct.pack("<4B4H53xB62x", 10, 5, 1, 8, 0, 0, 65000, 65000, 3),
    "psd": struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, 100000, 100000, 8, 3) + bytes(40),
    "qoi": b"qoif" + struct.pack(">II", 90000, 90000) + b"\x03\0" + bytes(80),
    "sgi": struct.pack(">HBBHHHH", 474, 1, 1, 3, 65000, 65000, 3) + bytes(600),
    "sun": struct.pack(">8I", 0x59A66A95, 90000, 90000, 24, 0, 1, 0, 0) + bytes(80),
    "tga": struct.pack("<3B5x4H2B", 0, 0, 2, 0, 0, 65000, 65000, 24, 0) + bytes(80),
    "xbm": b"#define x_width 90000\n#define x_height 90000\nstatic char x_bits[] = {\n0x00};",
    "pdf": kinds.pdf((14400, 14400, "")),
}  # fmt: skip


@pytest.mark.parametrize("kind", BOMBS)
def test_bombs_are_refused_by_their_header(tmp_path: Path, kind: str) -> None:
    with pytest.raises(OriginFailed, match="too large"):
        probe(stored(tmp_path, BOMBS[kind]), Reading(500_000_000))


def test_what_is_decoded_slowly_must_be_small(tmp_path: Path) -> None:
    large = b"qoif" + struct.pack(">II", 4000, 3000) + b"\x03\0" + bytes(80)
    with pytest.raises(OriginFailed, match="too large"):
        probe(stored(tmp_path, large))


def test_an_icon_is_looked_at_before_it_is_opened(tmp_path: Path) -> None:
    """Opening it decodes it: a PNG of any size may be inside."""
    inside = saved(Image.new("1", (9000, 9000)), "PNG")
    entry = struct.pack("<4B2H2I", 0, 0, 0, 0, 1, 32, len(inside), 22)
    with pytest.raises(OriginFailed, match="no image") as refused:
        probe(stored(tmp_path, b"\0\0\x01\0\x01\0" + entry + inside))
    assert "icon" in (refused.value.cause or "")


def test_compressed_fits_is_refused(tmp_path: Path) -> None:
    cards = ["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 0", "END"]
    cards2 = ["XTENSION= 'BINTABLE'", "BITPIX  = 8", "NAXIS   = 2", "NAXIS1  = 8", "NAXIS2  = 9"]
    cards2 += ["ZIMAGE  = T", "ZCMPTYPE= 'GZIP_1  '", "ZBITPIX = 8", "ZNAXIS  = 2"]
    cards2 += ["ZNAXIS1 = 9", "ZNAXIS2 = 9", "END"]
    data = b"".join(
        "".join(card.ljust(80) for card in part).ljust(2880).encode() for part in (cards, cards2)
    )
    with pytest.raises(OriginFailed, match="FITS"):
        probe(stored(tmp_path, data + bytes(2880)))


@pytest.mark.parametrize("kind", [*EXACT, *LOSSY, "pdf"])
def test_cut_off(tmp_path: Path, kind: str) -> None:
    """Refused, or what is there is shown: nothing else than OriginFailed is ever raised."""
    make = (EXACT | LOSSY).get(kind, (lambda: kinds.pdf((72, 72, SQUARE)),))[0]
    data = make()
    for length in (3, 12, 70, len(data) // 3, len(data) * 2 // 3):
        for reading in (Reading(10**7), Reading(10**7, partial=True)):
            try:
                shown(stored(tmp_path, data[:length]), reading)
            except OriginFailed:
                continue


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "BMP", "GIF"])
def test_partial(tmp_path: Path, format: str) -> None:
    """The upper part is there and right, if that is wanted; else it is refused."""
    options = {"compression": "tiff_lzw"} if format == "TIFF" else {}
    source = photo(400, 300)
    picture = image(source).quantize(64) if format == "GIF" else image(source)
    data = saved(picture, format, **options)
    if format == "TIFF":  # its directory stands at the end
        data = data[: len(data) // 3] + bytes(len(data) // 3) + data[len(data) // 3 * 2 :]
    else:
        data = data[: len(data) * 2 // 3]
    path = stored(tmp_path, data)
    wanted = numpy.asarray(picture.convert("RGB"))
    if format != "TIFF":  # libtiff does not notice
        with pytest.raises(OriginFailed):
            shown(path)
    _, found = shown(path, Reading(10**7, partial=True))
    assert found.shape == wanted.shape
    # A BMP is stored from below; a strip of the TIFF has 54 rows.
    part = slice(-60, None) if format == "BMP" else slice(50)
    assert psnr(found[part], wanted[part]) > 28


# Pages


def animated(format: str, pages: list[Pixels], **options: object) -> bytes:
    first, *rest = [image(page) for page in pages]
    buffer = io.BytesIO()
    first.save(buffer, format, save_all=True, append_images=rest, **options)
    return buffer.getvalue()


PAGES = [photo(60, 40, seed=1), photo(60, 40, seed=2), photo(60, 40, seed=3)]
BINDERS: dict[str, Callable[[], bytes]] = {
    "tiff": lambda: animated("TIFF", PAGES, compression="tiff_lzw"),
    "gif": lambda: animated("GIF", PAGES),
    "webp": lambda: animated("WEBP", PAGES, lossless=True),
    "png": lambda: animated("PNG", PAGES),
    "mpo": lambda: animated("MPO", PAGES, quality=95, subsampling=0),
    "avif": lambda: animated("AVIF", PAGES, quality=95, subsampling="4:4:4"),
    "pdf": lambda: animated("PDF", PAGES, resolution=72, quality=95),
    "heif": lambda: kinds.heif(*PAGES),
}


@pytest.mark.parametrize("kind", BINDERS)
def test_pages(tmp_path: Path, kind: str) -> None:
    path = stored(tmp_path, BINDERS[kind]())
    assert count_pages(path) == 3
    for number, page in enumerate(PAGES, 1):
        info, found = shown(path, Reading(10**7, number, dpi=72))
        assert (info.width, info.height) == (60, 40)
        assert psnr(found[..., :3], page) > (24 if kind in ("gif", "pdf", "avif") else 30)
    for number in (4, 400):
        with pytest.raises(NotFound):
            probe(path, Reading(page=number))


def test_levels_and_masks_are_no_pages(tmp_path: Path) -> None:
    """Two pages; the first has a level behind it, the second below it; a mask of the first."""
    first, second = photo(256, 256, seed=4), photo(256, 256, seed=5)
    path = tmp_path / "pages.tif"
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        how = {"photometric": "rgb", "metadata": None, "tile": (64, 64)}
        writer.write(first, **how)
        writer.write(first[::2, ::2], subfiletype=1, **how)
        writer.write(first[..., 0] > 128, subfiletype=4, metadata=None, photometric="mask")
        writer.write(second, subifds=1, **how)
        writer.write(second[::2, ::2], subfiletype=1, **how)
    assert count_pages(path) == 2
    _, found = shown(path, Reading(10**7, 2))
    assert (found == second).all()
    with pytest.raises(NotFound):
        probe(path, Reading(page=3))


def test_an_old_preview_in_an_mpo_is_no_page(tmp_path: Path) -> None:
    data = bytearray(animated("MPO", [PAGES[0], PAGES[1][:20, :30]], quality=90))
    assert count_pages(stored(tmp_path, bytes(data))) == 2
    # The second entry (16 bytes each) becomes "Large Thumbnail (VGA Equivalent)".
    first = re.search(rb"\0\0\x03\0....\0{8}", data, re.DOTALL)
    assert first is not None
    data[first.end() : first.end() + 4] = struct.pack("<L", 0x010001)
    assert count_pages(stored(tmp_path, bytes(data))) == 1


def test_far_pages_of_an_animation_cost_all_before_them(tmp_path: Path) -> None:
    path = stored(tmp_path, animated("GIF", PAGES))
    probe(path, Reading(page=3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "MOST_ON_THE_WAY", 60 * 40 * 2)
        probe(path, Reading(page=2))
        with pytest.raises(OriginFailed, match="too far"):
            probe(path, Reading(page=3))
