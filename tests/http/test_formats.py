"""Formats and qualities: SPEC.md 16 and 17, 19's corners; magic bytes, modes, transparency."""

import io

import numpy
import pytest
from PIL import Image

from tests.http.collection import RED, WHITE
from tests.http.conftest import Proxy, Serving

MAGIC = {
    "jpg": ("image/jpeg", b"\xff\xd8\xff", "JPEG"),
    "png": ("image/png", b"\x89PNG\r\n\x1a\n", "PNG"),
    "tif": ("image/tiff", (b"II*\0", b"MM\0*"), "TIFF"),
    "gif": ("image/gif", b"GIF8", "GIF"),
    "webp": ("image/webp", b"RIFF", "WEBP"),
    "jp2": ("image/jp2", b"\0\0\0\x0cjP  ", "JPEG2000"),
    "avif": ("image/avif", b"\0\0\0", "AVIF"),
    "pdf": ("application/pdf", b"%PDF-", None),
}


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("format", MAGIC)
def test_format(proxy: Proxy, version: int, format: str) -> None:
    media_type, magic, pillow = MAGIC[format]
    answer = proxy.ask(f"/{version}/quarters.png/full/150,/0/default.{format}")
    assert (answer.status, answer.get("Content-Type")) == (200, media_type)
    assert answer.body.startswith(magic)
    assert answer.get("Content-Length") == str(len(answer.body))
    if format == "webp":
        assert answer.body[8:12] == b"WEBP"
    if format == "avif":
        assert answer.body[4:12] == b"ftypavif"
    if pillow is not None:
        image = Image.open(io.BytesIO(answer.body))
        assert (image.format, image.size) == (pillow, (150, 100))
        near = numpy.array(image.convert("RGB").getpixel((20, 20))).astype(int) - RED
        assert numpy.abs(near).max() < 16
    else:
        assert b"/MediaBox" in answer.body


@pytest.mark.parametrize(
    "source, quality, format, mode",
    [
        ("quarters.png", "default", "png", "RGB"),
        ("quarters.png", "color", "png", "RGB"),
        ("quarters.png", "gray", "png", "L"),
        ("quarters.png", "gray", "jpg", "L"),
        ("quarters.png", "bitonal", "png", "1"),
        ("quarters.png", "bitonal", "jpg", "L"),
        ("quarters.png", "bitonal", "gif", "1"),
        ("quarters.png", "default", "gif", "P"),
        ("quarters.png", "default", "tif", "RGB"),
        ("quarters.png", "bitonal", "tif", "1"),
        ("palette.gif", "default", "png", "RGB"),
        ("gray.png", "default", "png", "L"),
        ("gray.png", "color", "png", "RGB"),
        ("gray.png", "default", "jpg", "L"),
        ("gray.png", "gray", "tif", "L"),
        ("gray-alpha.png", "default", "png", "LA"),
        ("gray-alpha.png", "default", "jpg", "L"),
        ("transparent.png", "default", "png", "RGBA"),
        ("transparent.png", "default", "tif", "RGBA"),
        ("transparent.png", "default", "webp", "RGBA"),
        ("transparent.png", "gray", "png", "LA"),
        ("transparent.png", "default", "jpg", "RGB"),
        ("transparent.png", "bitonal", "png", "1"),
    ],
)
def test_mode(proxy: Proxy, source: str, quality: str, format: str, mode: str) -> None:
    found = [
        proxy.image(f"/{version}/{source}/full/max/0/{quality}.{format}") for version in (2, 3)
    ]
    if format == "gif" and mode == "1":
        assert len(found[0].convert("RGB").getcolors() or []) == 2
    else:
        assert [image.mode for image in found] == [mode, mode]
    assert numpy.array_equal(*map(numpy.asarray, found))


def test_bitonal_jpg_is_almost_only_black_and_white(proxy: Proxy) -> None:
    found = numpy.asarray(proxy.image("/3/gray.png/full/max/0/bitonal.jpg"))
    assert ((found < 30) | (found > 225)).mean() > 0.98
    assert (found[:, 20:140] < 30).all()
    assert (found[:, 160:280] > 225).all()


def test_bilevel_source_stays_bilevel(proxy: Proxy) -> None:
    """Scaled too, where it would be gray at its edges: bitonal is not its default."""
    for size in ("max", "77,"):
        image = proxy.image(f"/3/bilevel.png/full/{size}/0/bitonal.png")
        assert image.mode == "1"
        assert (image.getpixel((2, 10)), image.getpixel((image.width - 2, 10))) == (0, 255)


@pytest.mark.parametrize("format", ["png", "tif", "webp", "gif", "avif"])
def test_transparency_is_kept(proxy: Proxy, format: str) -> None:
    image = proxy.image(f"/3/transparent.png/full/max/0/default.{format}").convert("RGBA")
    assert image.getpixel((290, 100))[3] == 0
    left = numpy.array(image.getpixel((10, 100))).astype(int)
    assert numpy.abs(left - (*RED, 255)).max() < 12


@pytest.mark.parametrize("format", ["jpg", "pdf"])
def test_transparency_is_flattened_on_white(proxy: Proxy, format: str) -> None:
    """SPEC 17: white, not black."""
    answer = proxy.ask(f"/3/transparent.png/full/max/0/default.{format}")
    assert answer.status == 200
    jpeg = answer.body[answer.body.index(b"\xff\xd8\xff") :]
    image = Image.open(io.BytesIO(jpeg)).convert("RGB")
    assert min(image.getpixel((290, 100))) > 250
    assert abs(image.getpixel((10, 100))[0] - RED[0]) < 12


def test_bitonal_is_flattened_first(proxy: Proxy) -> None:
    image = proxy.image("/3/transparent.png/full/max/0/bitonal.png")
    assert image.getpixel((290, 100)) == 255


@pytest.mark.parametrize(
    "source, quality, format, corner",
    [
        ("quarters.png", "default", "png", (0, 0, 0, 0)),
        ("quarters.png", "default", "webp", 0),
        ("quarters.png", "default", "gif", 0),
        ("quarters.png", "gray", "png", (0, 0)),
        ("gray.png", "default", "png", (0, 0)),
        ("quarters.png", "default", "jpg", WHITE),
        ("gray.png", "default", "jpg", 255),
    ],
)
def test_turned_corners(
    proxy: Proxy, source: str, quality: str, format: str, corner: tuple[int, ...] | int
) -> None:
    """SPEC 19: transparent where the format can, else the background."""
    image = proxy.image(f"/3/{source}/full/max/30/{quality}.{format}")
    if format in {"webp", "gif"}:
        assert image.convert("RGBA").getpixel((0, 0))[3] == corner
    elif format == "jpg":
        assert numpy.abs(numpy.subtract(image.getpixel((0, 0)), corner)).max() < 6
    else:
        assert image.getpixel((0, 0)) == corner


def test_background_is_a_setting(serving: Serving) -> None:
    proxy = serving(background="#0000ff", formats="png jpg webp")
    image = proxy.image("/3/transparent.png/full/max/0/default.jpg")
    assert numpy.abs(numpy.subtract(image.getpixel((290, 100)), (0, 0, 255))).max() < 6
    image = proxy.image("/3/quarters.png/full/max/45/default.jpg")
    assert numpy.abs(numpy.subtract(image.getpixel((2, 2)), (0, 0, 255))).max() < 6


@pytest.mark.parametrize("version", [2, 3])
def test_formats_that_are_switched_off(serving: Serving, version: int) -> None:
    """Known to the specification: 501. Unknown to it: 400, as if we had never heard of it."""
    proxy = serving(background="#0000ff", formats="png jpg webp")
    for format, status in {
        "png": 200, "jpg": 200, "webp": 200, "gif": 501, "tif": 501, "jp2": 501, "pdf": 501,
        "avif": 400, "bmp": 400,
    }.items():  # fmt: skip
        answer = proxy.ask(f"/{version}/quarters.png/full/50,/0/default.{format}")
        assert answer.status == status, format
    info = proxy.info(f"/{version}/quarters.png/info.json")
    extra = info["extraFormats"] if version == 3 else info["profile"][1]["formats"]
    assert extra == ["webp"]


ENCODERS = {
    "formats": "jpg png tif avif webp gif jp2 pdf",
    "keep_rights": "on",
    "bitonal": "dither",
    "tiff_compression": "lzw",
    "avif_subsampling": "4:4:4",
    "jp2_quality": "60",
}


def test_bitonal_is_dithered_if_that_is_set(proxy: Proxy, serving: Serving) -> None:
    plain, dithered = (
        numpy.asarray(one.image("/3/gray.png/full/max/0/bitonal.png").convert("L")) // 255
        for one in (proxy, serving(**ENCODERS))
    )
    ramp = numpy.linspace(0, 255, 300).astype("uint8")
    assert (plain == (ramp >= 128)).all()
    means = dithered.reshape(200, 30, 10).mean((0, 2))
    assert numpy.abs(means - ramp.reshape(30, 10).mean(1) / 255).max() < 0.05


def test_encoders_do_as_they_are_set(proxy: Proxy, serving: Serving) -> None:
    settled = serving(**ENCODERS)
    assert proxy.image("/3/gradient.png/full/max/0/default.tif").tag_v2[259] == 8  # type: ignore[attr-defined]
    assert settled.image("/3/gradient.png/full/max/0/default.tif").tag_v2[259] == 5  # type: ignore[attr-defined]
    assert settled.image("/3/gray.png/full/max/0/bitonal.tif").tag_v2[259] == 4  # type: ignore[attr-defined]
    for format in ("avif", "jp2"):
        target = f"/3/quarters.png/full/max/0/default.{format}"
        assert len(settled.ask(target).body) > len(proxy.ask(target).body)


def test_resolution_goes_on_with_the_size(proxy: Proxy) -> None:
    for target, dpi in (("full/max", 300), ("full/600,", 150), ("0,0,400,400/100,", 75)):
        for format in ("jpg", "png", "tif"):
            found = proxy.image(f"/3/signed.jpg/{target}/0/default.{format}").info["dpi"]
            assert found == pytest.approx((dpi, dpi), abs=0.1)


@pytest.mark.parametrize("target", ["full/max", "full/300,", "0,0,512,512/512,"])
@pytest.mark.parametrize("format", ["jpg", "png", "tif", "webp", "avif"])
def test_names_go_on_if_that_is_set_and_nothing_else_ever(
    proxy: Proxy, serving: Serving, target: str, format: str
) -> None:
    """By decoding, without it (`full/max` of JPEG), and cut from a session."""
    for settled, wanted in ((proxy, {}), (serving(**ENCODERS), {0x013B, 0x8298})):
        answer = settled.ask(f"/3/signed.jpg/{target}/0/default.{format}")
        assert answer.status == 200
        assert b"Secret" not in answer.body
        exif = Image.open(io.BytesIO(answer.body)).getexif()
        words = {tag for tag in exif if format != "tif" or tag in (0x013B, 0x8298, 0x8825, 0x8769)}
        assert words == set(wanted)
        assert not wanted or exif[0x8298] == "Public domain"
