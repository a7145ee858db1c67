"""Colours against arithmetic of our own and against littleCMS asked directly."""

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
import pytest
from PIL import Image, ImageCms

from iiif_proxy.iiif.model import Box
from iiif_proxy.imaging import color
from iiif_proxy.imaging.color import to_srgb
from iiif_proxy.imaging.reader import Reader, probe
from tests.imaging import profiles
from tests.imaging.drawn import Pixels, exif, image, lanczos, numbers, photo, psnr, saved, stored

RGB = photo(160, 120)
# The full cube, coarsely.
CUBE = numpy.stack(numpy.meshgrid(*[numpy.arange(0, 256, 15)] * 3), -1).reshape(18, -1, 3)
CUBE = CUBE.astype(numpy.uint8)
ADOBE, CMYK = profiles.rgb(), profiles.cmyk()
SRGB_TO_D50 = numpy.array(
    [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]]
)


def encoded(linear: Pixels) -> Pixels:
    """The curve of sRGB (IEC 61966-2-1)."""
    linear = linear.clip(0, 1)
    low = linear * 12.92
    return numpy.where(linear <= 0.0031308, low, 1.055 * linear ** (1 / 2.4) - 0.055) * 255


def by_littlecms(picture: Image.Image, profile: bytes) -> Image.Image:
    found = ImageCms.profileToProfile(
        picture,
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        "RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    assert found is not None
    return found


def test_adobe_rgb_by_arithmetic() -> None:
    linear = (CUBE / 255) ** (563 / 256)
    xyz = linear @ numpy.array(profiles.ADOBE).T
    wanted = encoded(xyz @ numpy.linalg.inv(SRGB_TO_D50).T)
    found = numbers(to_srgb(image(CUBE), ADOBE))
    assert numpy.abs(found - wanted).max() < 0.8
    assert numpy.abs(found - CUBE).max() > 40  # and it is no small matter


@pytest.mark.parametrize(
    "mode, profile", [("RGB", ADOBE), ("RGB", profiles.faded()), ("CMYK", CMYK)]
)
def test_as_littlecms_says(mode: str, profile: bytes) -> None:
    picture = image(CUBE).convert(mode)
    found = to_srgb(picture, profile)
    assert found.mode == "RGB"
    assert found.info == {}
    assert found.tobytes() == by_littlecms(picture, profile).tobytes()


@pytest.mark.parametrize("mode", ["RGBA", "RGBX"])
def test_the_fourth_channel_is_kept(mode: str) -> None:
    picture = image(CUBE).convert(mode)
    if mode == "RGBA":
        picture.putalpha(image(CUBE[..., 0].copy()))
    found = to_srgb(picture, ADOBE)
    assert found.mode == mode
    wanted = by_littlecms(image(CUBE), ADOBE)
    assert (numbers(found.convert("RGB")) == numbers(wanted)).all()
    if mode == "RGBA":
        assert (numbers(found)[..., 3] == CUBE[..., 0]).all()


def test_black_points_meet() -> None:
    """The darkest that a profile knows becomes black, and white stays white."""
    black = numbers(to_srgb(Image.new("RGB", (9, 9)), profiles.faded()))
    plain = ImageCms.profileToProfile(
        Image.new("RGB", (9, 9)),
        ImageCms.ImageCmsProfile(io.BytesIO(profiles.faded())),
        ImageCms.createProfile("sRGB"),
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
    )
    assert numbers(plain).min() > 25
    assert black.max() <= 3
    white = numbers(to_srgb(Image.new("RGB", (9, 9), "white"), profiles.faded()))
    assert white.min() >= 252


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.6])
def test_gray_stays_gray(gamma: float) -> None:
    ramp = numpy.tile(numpy.arange(256, dtype=numpy.uint8), (4, 1))
    wanted = encoded((ramp / 255) ** (round(gamma * 256) / 256))
    found = to_srgb(image(ramp), profiles.gray(gamma))
    assert found.mode == "L"
    assert numpy.abs(numbers(found) - wanted).max() < 0.6
    both = Image.merge("LA", (image(ramp), image(ramp[:, ::-1].copy())))
    found = to_srgb(both, profiles.gray(gamma))
    assert found.mode == "LA"
    assert numpy.abs(numbers(found)[..., 0] - wanted).max() < 0.6
    assert (numbers(found)[..., 1] == ramp[:, ::-1]).all()


def test_srgb_costs_nothing() -> None:
    """By what it does, not by its name; and an impostor's name helps nothing."""
    picture = image(RGB)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert to_srgb(picture, srgb) is picture
    impostor = ADOBE.replace(b"test\0", b"sRGB\0")
    assert to_srgb(picture, impostor).tobytes() == to_srgb(picture, ADOBE).tobytes()


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "CMYK", "LAB"])
@pytest.mark.parametrize(
    "profile",
    [
        None,
        b"",
        b"no profile",
        ADOBE[:200],
        ADOBE[:128] + bytes(len(ADOBE) - 128),
        CMYK[:300],
        profiles.gray(1.8),
        ADOBE,
        CMYK,
    ],
)
def test_bad_and_foreign_profiles_are_passed_over(mode: str, profile: bytes | None) -> None:
    spaces = {b"RGB ": ("RGB", "RGBA"), b"GRAY": ("L", "LA"), b"CMYK": ("CMYK",)}
    fits = profile in (profiles.gray(1.8), ADOBE, CMYK)
    if profile and fits and mode in spaces.get(profile[16:20], ()):
        return  # this one is right
    picture = image(RGB).convert(mode)
    found = to_srgb(picture, profile)
    plain = picture if mode in ("L", "LA", "RGB", "RGBA") else picture.convert("RGB")
    assert (found.mode, found.tobytes()) == (plain.mode, plain.tobytes())


def test_transforms_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    build = color._build
    monkeypatch.setattr(color, "_build", lambda p, m: made.append(m) or build(p, m))
    fresh = profiles.rgb(gamma=1.9)
    start = threading.Barrier(4)

    def convert(_: int) -> bytes:
        start.wait()
        return b"".join(to_srgb(image(RGB), fresh).tobytes() for _ in range(5))

    with ThreadPoolExecutor(4) as threads:
        results = set(threads.map(convert, range(4)))
    assert len(results) == 1
    assert 1 <= len(made) <= 4  # those who came at once
    convert_again = len(made)
    to_srgb(image(RGB), bytes(bytearray(fresh)))
    assert len(made) == convert_again
    assert results == {by_littlecms(image(RGB), fresh).tobytes() * 5}


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF", "JPEG2000"])
def test_profiles_of_files_count(format: str, tmp_path: Path) -> None:
    options = {"WEBP": {"lossless": True}, "AVIF": {"quality": 95, "subsampling": "4:4:4"}}
    data = saved(image(RGB), format, icc_profile=ADOBE, **options.get(format, {}))
    if format == "JPEG2000":
        data = with_icc_box(data, ADOBE)
    path = stored(tmp_path, data)
    wanted = by_littlecms(image(RGB), ADOBE)
    found = Reader(path, probe(path)).read(Box(0, 0, 160, 120), 160, 120)
    assert psnr(found, wanted) > 30
    assert psnr(found, wanted) > psnr(image(RGB), wanted) + 5


def with_icc_box(jp2: bytes, profile: bytes) -> bytes:
    """A JPEG 2000 whose colour is described by a profile instead of a number."""
    old = jp2.index(b"colr") - 4
    box = (11 + len(profile)).to_bytes(4, "big") + b"colr\2\0\0" + profile
    grown = len(box) - 15
    head = jp2.index(b"jp2h") - 4
    size = int.from_bytes(jp2[head : head + 4], "big") + grown
    data = jp2[:old] + box + jp2[old + 15 :]
    return data[:head] + size.to_bytes(4, "big") + data[head + 4 :]


def test_tiles_have_the_colours_of_the_whole(tmp_path: Path) -> None:
    path = stored(tmp_path, saved(image(photo(400, 300)), "TIFF", icc_profile=ADOBE))
    reader = Reader(path, probe(path))
    whole = numbers(reader.read(Box(0, 0, 400, 300), 100, 75))
    for x in range(0, 400, 100):
        tile = numbers(reader.read(Box(x, 0, 100, 300), 25, 75))
        assert numpy.abs(tile - whole[:, x // 4 : x // 4 + 25]).max() <= 2


def test_cmyk_jpeg_is_not_inverted(tmp_path: Path) -> None:
    """Adobe's convention, which Photoshop writes and Pillow too: stored upside down."""
    inks = image(RGB).convert("CMYK")
    path = stored(tmp_path, saved(inks, "JPEG", quality=98, subsampling=0))
    assert b"Adobe" in path.read_bytes()
    assert psnr(Reader(path, probe(path)).read(Box(0, 0, 160, 120), 160, 120), RGB) > 38
    path = stored(tmp_path, saved(inks, "JPEG", quality=98, subsampling=0, icc_profile=CMYK))
    found = Reader(path, probe(path)).read(Box(0, 0, 160, 120), 80, 60)
    small = lanczos(numbers(by_littlecms(inks, CMYK)), (0, 0, 160, 120), (80, 60)).clip(0, 255)
    assert psnr(found, small) > 28


def test_lab_and_ycbcr_tiff(tmp_path: Path) -> None:
    lab = image(CUBE).convert("LAB")
    path = stored(tmp_path, saved(lab, "TIFF"))
    found = Reader(path, probe(path)).read(Box(0, 0, CUBE.shape[1], 18), CUBE.shape[1], 18)
    assert numpy.abs(numbers(found) - CUBE).mean() < 2
    for options in ({"compression": "jpeg", "quality": 98}, {}):
        path = stored(tmp_path, saved(image(RGB).convert("YCbCr"), "TIFF", **options))
        found = Reader(path, probe(path)).read(Box(0, 0, 160, 120), 160, 120)
        assert psnr(found, RGB) > 32


def test_colours_of_a_turned_file(tmp_path: Path) -> None:
    data = saved(image(RGB), "TIFF", icc_profile=ADOBE, exif=exif(6))
    path = stored(tmp_path, data)
    found = Reader(path, probe(path)).read(Box(0, 0, 120, 160), 120, 160)
    wanted = numbers(by_littlecms(image(RGB), ADOBE))
    assert (numbers(found) == numpy.rot90(wanted, -1)).all()
