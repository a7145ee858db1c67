"""Tiles that a TIFF holds as JPEG leave as they are: neither decoded nor encoded anew."""

import io
from pathlib import Path
from typing import Any

import numpy
import pytest
import tifffile
from PIL import Image, ImageCms

from iiif_proxy.iiif.model import Box
from iiif_proxy.imaging.tiff import Tiff
from iiif_proxy.ranges import FileSource
from tests.ahead.conftest import Make, photograph, serving, until
from tests.servers import Origin

SIDE = 256
WHOLE = f"{SIDE},0,{SIDE},{SIDE}/{SIDE},{SIDE}/0/default."
COARSE = f"0,0,{2 * SIDE},{2 * SIDE}/{SIDE},{SIDE}/0/default."
EDGE = f"{4 * SIDE},0,176,{SIDE}/176,{SIDE}/0/default."


def tiled(path: Path, photometric: str, coded: str = "", profile: bytes | None = None) -> bytes:
    """Two levels of 1200 x 868 pixels; `coded`: as what the tiles' JPEG has RGB."""
    image = photograph((1200, 868)).convert("L" if photometric == "minisblack" else "RGB")
    given = {"level": 93, **({"outcolorspace": coded} if coded else {})}
    how: dict[str, Any] = {
        "tile": (SIDE, SIDE), "photometric": photometric, "metadata": None,
        "compression": "jpeg", "compressionargs": given, "iccprofile": profile,
    }  # fmt: skip
    with tifffile.TiffWriter(path) as writer:
        writer.write(numpy.asarray(image), subifds=1, **how)
        writer.write(numpy.asarray(image.reduce(2)), subfiletype=1, **how)
    return path.read_bytes()


def stored(path: Path, level: int, row: int, column: int) -> numpy.ndarray:
    """A tile by another reader."""
    with tifffile.TiffFile(path) as file:
        page = file.pages[0] if level == 0 else file.pages[0].pages[0]
        found = page.asarray()[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE]
        return numpy.asarray(found)


@pytest.mark.parametrize("parts", [True, False])
@pytest.mark.parametrize("photometric, coded", [("ycbcr", ""), ("rgb", "RGB"), ("minisblack", "")])
def test_the_stored_tile_itself(
    origin: Origin, make: Make, tmp_path: Path, photometric: str, coded: str, parts: bool
) -> None:
    path = tmp_path / "a.tif"
    more = {"Accept_Ranges": "bytes"} if parts else {}
    origin.routes["/a.tif"] = serving(tiled(path, photometric, coded), **more)
    site = make(predict="off")
    for target, place in ((WHOLE, (0, 0, 1)), (COARSE, (1, 0, 0))):
        status, headers, body = site.ask("a.tif/" + target + "jpg")
        assert (status, headers["Content-Type"]) == (200, "image/jpeg")
        image = Image.open(io.BytesIO(body))
        assert image.size == (SIDE, SIDE)
        assert not {"icc_profile", "exif"} & set(image.info)
        # By other decoders, nothing has been lost to the stored tile.
        difference = numpy.asarray(image, int) - stored(path, *place).astype(int)
        assert abs(difference).max() <= 1
        assert site.ask("a.tif/" + target + "jpg")[2] == body
        as_png = site.image("a.tif/" + target + "png")
        assert abs(numpy.asarray(as_png, int) - numpy.asarray(image, int)).max() <= 1
    # At the edge tiles are padded.
    assert site.image("a.tif/" + EDGE + "jpg").size == (176, SIDE)


def test_what_is_asked_for_otherwise_is_made(origin: Origin, make: Make, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    origin.routes["/a.tif"] = serving(tiled(path, "ycbcr"), Accept_Ranges="bytes")
    site = make(predict="off")
    plain = site.ask("a.tif/" + WHOLE + "jpg")[2]
    head = f"a.tif/{SIDE},0,{SIDE},{SIDE}/{SIDE},{SIDE}/"
    for tail in ("90/default.jpg", "!0/default.jpg", "0/gray.jpg"):
        assert site.image(head + tail).size == (SIDE, SIDE)
        assert site.ask(head + tail)[2] != plain
    turned = numpy.asarray(site.image(head + "90/default.png"), int)
    assert abs(numpy.rot90(turned) - stored(path, 0, 0, 1).astype(int)).max() <= 1
    off = make(predict="off", jpeg_lossless="off")
    assert off.ask("a.tif/" + WHOLE + "jpg")[2] != plain


def test_colours_that_must_be_converted_are(origin: Origin, make: Make, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    wide = wide_gamut()
    for name, found, same in (("srgb", srgb, True), ("wide", wide, False)):
        origin.routes[f"/{name}.tif"] = serving(
            tiled(path, "ycbcr", profile=found), Accept_Ranges="bytes"
        )
        site = make(predict="off")
        image = site.image(f"{name}.tif/" + WHOLE + "jpg")
        difference = abs(numpy.asarray(image, int) - stored(path, 0, 0, 1).astype(int))
        assert bool(difference.max() <= 1) == same, (name, difference.max())


def wide_gamut() -> bytes:
    """sRGB's profile with red and green swapped: whoever does not convert is seen to."""
    raw = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    places = {bytes(raw[i : i + 4]): i for i in range(132, 132 + 12 * 20, 12)}
    red, green = places[b"rXYZ"], places[b"gXYZ"]
    raw[red : red + 4], raw[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(raw)


def test_neighbours_are_the_same_whoever_made_them(
    origin: Origin, make: Make, tmp_path: Path
) -> None:
    origin.routes["/a.tif"] = serving(tiled(tmp_path / "a.tif", "ycbcr"), Accept_Ranges="bytes")
    ahead, asked = make(), make(predict="off")
    ahead.ask("a.tif/" + WHOLE + "jpg")
    beside = f"a.tif/{2 * SIDE},0,{SIDE},{SIDE}/{SIDE},{SIDE}/0/default.jpg"
    until(lambda: any("512,0,256,256" in name for name in ahead.stored()))
    assert ahead.hit(beside)
    assert not asked.hit(beside)
    assert ahead.ask(beside)[2] == asked.ask(beside)[2]


def test_a_damaged_tile_is_no_answer(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    data = bytearray(tiled(path, "ycbcr"))
    with tifffile.TiffFile(path) as file:
        offset = file.pages[0].dataoffsets[1]
    data[offset : offset + 20] = b"\0" * 20
    path.write_bytes(data)
    page = Tiff.open(FileSource(path)).page
    assert page.stored(Box(SIDE, 0, SIDE, SIDE), SIDE, SIDE) is None
    assert page.stored(Box(0, 0, SIDE, SIDE), SIDE, SIDE) is not None
