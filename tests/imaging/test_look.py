"""The settings that change pixels, each against numbers of its own."""

import io
from decimal import Decimal
from pathlib import Path

import numpy
import pytest
from PIL import Image, ImageCms

from iiif_proxy.iiif.model import Box, Plan
from iiif_proxy.imaging import icc
from iiif_proxy.imaging.color import to_srgb
from iiif_proxy.imaging.look import DEFAULT, Look
from iiif_proxy.imaging.reader import Reader, probe
from iiif_proxy.imaging.render import render
from iiif_proxy.imaging.resample import FILTERS, Scaling, resample
from iiif_proxy.metrics import PROFILES
from iiif_proxy.service import recipe_of
from iiif_proxy.settings import SettingsError, load
from iiif_proxy.wiring import look_of
from tests.fidelity.asking import Asked
from tests.fidelity.kinds import COLOUR, GRAY, HEIGHT, INK, WIDTH, curve, jpeg, light, png
from tests.fidelity.measure import distance
from tests.imaging import profiles
from tests.imaging.drawn import numbers, saved

LINEAR = Scaling(linear=True)
LINES = numpy.zeros((64, 64), numpy.uint8)
LINES[::2] = 255


def plan(format: str = "png", quality: str = "default", degrees: str = "0") -> Plan:
    return Plan(Box(0, 0, 9, 9), 9, 9, False, Decimal(degrees), quality, format)


def space(data: bytes) -> str | None:
    """GRAY or RGB of the profile in an image; None if there is none."""
    with Image.open(io.BytesIO(data)) as image:
        found = image.info.get("icc_profile")
    if not found:
        return None
    return ImageCms.ImageCmsProfile(io.BytesIO(found)).profile.xcolor_space.strip()


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "colour").write_bytes(png(COLOUR, 2))
    (folder / "gray").write_bytes(png(GRAY, 0))
    (folder / "wide").write_bytes(saved(Image.fromarray(COLOUR), "PNG", icc_profile=profiles.rgb()))
    (folder / "dark").write_bytes(
        saved(Image.fromarray(GRAY), "PNG", icc_profile=profiles.gray(1.4))
    )
    (folder / "ink").write_bytes(jpeg(Image.fromarray(INK, "CMYK"), icc_profile=profiles.cmyk()))
    return folder


FORMATS = ("jpg", "png", "tif", "webp", "avif")


@pytest.mark.parametrize("format", FORMATS)
def test_embedded_profiles_fit_what_is_written(sources: Path, format: str) -> None:
    asked = Asked(sources, color_profile="embed")
    colour_only = "RGB" if format == "webp" else "GRAY"
    for source, quality, wanted in (
        ("colour", "default", "RGB"), ("wide", "default", "RGB"), ("ink", "default", "RGB"),
        ("gray", "default", colour_only), ("colour", "gray", colour_only),
        ("gray", "color", "RGB"),
    ):  # fmt: skip
        data = asked.bytes(f"{source}/full/max/0/{quality}.{format}")
        assert space(data) == wanted, (source, quality)
    plain = Asked(sources)
    same = asked.pixels("wide/full/max/0/default.png") - plain.pixels("wide/full/max/0/default.png")
    assert not same.any()


def test_what_is_embedded_is_srgb() -> None:
    for profile, mode in ((icc.srgb(), "RGB"), (icc.srgb_gray(), "L")):
        picture = Image.fromarray(COLOUR).convert(mode)
        assert to_srgb(picture, profile) is picture
        assert len(profile) < 500


@pytest.mark.parametrize("format", FORMATS)
def test_kept_profiles_come_with_untouched_colours(sources: Path, format: str) -> None:
    asked = Asked(sources, color_profile="keep")
    data = asked.bytes(f"wide/full/max/0/default.{format}")
    with Image.open(io.BytesIO(data)) as image:
        assert image.info["icc_profile"] == profiles.rgb()
        found = numpy.asarray(image.convert("RGB")).astype(int)
    assert numpy.abs(found - COLOUR).mean() < 6
    if format in ("png", "tif"):
        assert (found == COLOUR).all()
    gray = asked.bytes(f"dark/full/max/0/default.{format}")
    assert space(gray) == (None if format == "webp" else "GRAY")
    # Nothing is kept of what no browser shows, nor of colours that became gray.
    assert space(asked.bytes(f"ink/full/max/0/default.{format}")) is None
    assert space(asked.bytes(f"wide/full/max/0/gray.{format}")) is None


def test_what_cannot_be_kept_becomes_srgb(sources: Path) -> None:
    kept, plain = Asked(sources, color_profile="keep"), Asked(sources)
    for tail in ("full/max/0/gray.png", "full/max/0/bitonal.png", "full/max/0/default.gif"):
        assert kept.bytes(f"wide/{tail}") == plain.bytes(f"wide/{tail}")
    assert kept.bytes("dark/full/max/0/default.webp") == plain.bytes("dark/full/max/0/default.webp")
    assert kept.bytes("colour/full/50,/0/default.png") == plain.bytes(
        "colour/full/50,/0/default.png"
    )


def test_stripped_by_default(sources: Path) -> None:
    for format in FORMATS:
        assert space(Asked(sources).bytes(f"wide/full/max/0/default.{format}")) is None


def test_profiles_that_are_no_good_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "source"
    for profile in (b"nonsense" * 99, profiles.cmyk(), profiles.gray(2.2)):
        path.write_bytes(saved(Image.fromarray(COLOUR), "PNG", icc_profile=profile))
        before = PROFILES._value.get()
        for look in (DEFAULT, Look(profile="keep")):
            box = Box(0, 0, WIDTH, HEIGHT)
            found = Reader(path, probe(path), look=look).read(box, WIDTH, HEIGHT)
            assert (numbers(found) == COLOUR).all()
            assert found.info == {}
        assert PROFILES._value.get() == before + 2


def test_cmyk_without_a_profile_by_a_setting(tmp_path: Path) -> None:
    (tmp_path / "press.icc").write_bytes(profiles.cmyk())
    (tmp_path / "ink").write_bytes(jpeg(Image.fromarray(INK, "CMYK")))
    asked = Asked(tmp_path, cmyk_profile=str(tmp_path / "press.icc"))
    with Image.open(tmp_path / "ink") as decoded:
        wanted = to_srgb(decoded, profiles.cmyk())
    assert (asked.pixels("ink/full/max/0/default.png") == numpy.asarray(wanted)).all()
    assert (Asked(tmp_path).pixels("ink/full/max/0/default.png") != numpy.asarray(wanted)).any()


@pytest.mark.parametrize("content", [None, b"nothing", profiles.rgb()])
def test_a_setting_that_is_no_press_stops_the_start(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "press.icc"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match="IIIF_PROXY_CMYK_PROFILE"):
        look_of(load({}, {"cmyk_profile": str(path)}))


def test_light_of_lines() -> None:
    """Black and white lines are half as bright as white: 188, not 128."""
    picture = Image.fromarray(LINES)
    for mode in ("L", "RGB"):
        found = numbers(resample(picture.convert(mode), (0, 0, 64, 64), 16, 16, scaling=LINEAR))
        assert numpy.abs(found[3:-3, 3:-3] - curve(numpy.array(0.5))).max() <= 1


def test_light_is_what_the_textbook_averages() -> None:
    from tests.imaging.drawn import lanczos

    edges = (3.3, 5.0, 180.7, 121.0)
    wanted = curve(lanczos(light(COLOUR), edges, (60, 40)))
    found = resample(Image.fromarray(COLOUR), edges, 60, 40, scaling=LINEAR)
    assert numpy.abs(numbers(found) - wanted).max() <= 1.1


def test_light_through_alpha() -> None:
    """What is transparent lends no colour, and the rest none of its own brightness."""
    pixels = numpy.zeros((64, 64, 4), numpy.uint8)
    pixels[::2] = (200, 100, 50, 255)
    found = numbers(resample(Image.fromarray(pixels), (0, 0, 64, 64), 16, 16, scaling=LINEAR))
    assert numpy.abs(found[3:-3, 3:-3] - (200, 100, 50, 128)).max() <= 1
    gray = Image.fromarray(numpy.ascontiguousarray(pixels[..., [0, 3]]))
    found = numbers(resample(gray, (0, 0, 64, 64), 16, 16, scaling=LINEAR))
    assert numpy.abs(found[3:-3, 3:-3] - (200, 128)).max() <= 1


@pytest.mark.parametrize("name", FILTERS)
def test_filters_by_name(name: str) -> None:
    """At twice the size nothing is averaged first: it is Pillow's own filter."""
    picture = Image.fromarray(COLOUR)
    size = (2 * WIDTH, 2 * HEIGHT)
    found = resample(picture, (0, 0, WIDTH, HEIGHT), *size, scaling=Scaling(name))
    assert found.tobytes() == picture.resize(size, FILTERS[name]).tobytes()


@pytest.mark.parametrize("mode, colour", [("RGB", (10, 200, 30)), ("L", (90, 90, 90))])
def test_corners_of_a_colour(mode: str, colour: tuple[int, int, int]) -> None:
    picture = Image.new(mode, (60, 40), "white")
    look = Look(corners=colour)
    found = render(picture, plan(degrees="30"), look)
    assert found.mode == mode
    wanted = colour if mode == "RGB" else colour[0]
    assert found.getpixel((0, 0)) == wanted
    assert found.getpixel((found.width // 2, found.height // 2)) in ((255, 255, 255), 255)
    # Between the two and nothing else: no fringe.
    values = numbers(found).reshape(-1, len(found.getbands()))
    assert (values >= numpy.array(wanted) - 1).all()
    # The same where no alpha is possible.
    assert render(picture, plan("jpg", degrees="30"), look).getpixel((0, 0)) == wanted


def test_corners_under_what_has_alpha() -> None:
    picture = Image.new("RGBA", (60, 40), (255, 0, 0, 0))
    found = render(picture, plan(degrees="30"), Look(corners=(0, 0, 255)))
    assert found.mode == "RGBA"
    assert found.getpixel((0, 0)) == (0, 0, 255, 255)
    assert found.getpixel((found.width // 2, found.height // 2))[3] == 0
    partly = numbers(found)
    some = partly[..., 3] > 8
    assert (partly[some][:, 2] >= 250).all()  # the edge is blue that fades, not red
    gray = Image.new("L", (60, 40), 255)
    assert render(gray, plan(degrees="30"), Look(corners=(0, 0, 255))).mode == "RGB"


def test_every_setting_that_changes_pixels_changes_the_name(tmp_path: Path) -> None:
    from iiif_proxy.iiif.model import Features, Limits
    from iiif_proxy.imaging.encode import EncodeOptions

    (tmp_path / "press.icc").write_bytes(profiles.cmyk())
    settings = [
        {}, {"background": "black"}, {"rotation_background": "white"},
        {"color_profile": "embed"}, {"color_profile": "keep"},
        {"cmyk_profile": str(tmp_path / "press.icc")}, {"filter": "bicubic"},
        {"linear_light": "on"}, {"sharpen": "50"},
    ]  # fmt: skip
    names = {
        recipe_of(EncodeOptions(), look_of(load({}, given)), Limits(), Features())
        for given in settings
    }
    assert len(names) == len(settings)


def test_a_changed_setting_meets_no_old_picture(sources: Path, tmp_path: Path) -> None:
    cache = str(tmp_path / "cache")
    tail = "wide/0,0,90,90/40,/0/default.png"
    first = Asked(sources, cache_dir=cache).bytes(tail)
    assert Asked(sources, cache_dir=cache).bytes(tail) == first
    others = {
        Asked(sources, cache_dir=cache, **given).bytes(tail)
        for given in (
            {"color_profile": "keep"}, {"color_profile": "embed"}, {"filter": "box"},
            {"linear_light": "on"}, {"sharpen": "90"},
        )
    }  # fmt: skip
    assert len(others | {first}) == 6


def test_odd_tiff_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence that says what is missing; what Pillow does well enough stays readable."""
    from iiif_proxy.errors import OriginFailed
    from iiif_proxy.imaging import tiffextra
    from tests.fidelity.kinds import kinds

    monkeypatch.setattr(tiffextra, "installed", lambda: False)
    path = tmp_path / "source"
    for name in ("TIFF RGB float", "TIFF RGB 16 planar", "TIFF gray alpha 16"):
        path.write_bytes(kinds()[name].data)
        with pytest.raises(OriginFailed, match=r"without the extra iiif-proxy\[tiff\]"):
            probe(path)
    for name in ("TIFF RGB 16, light", "TIFF RGBA 16 premultiplied"):
        path.write_bytes(kinds()[name].data)
        found = Reader(path, probe(path)).read(Box(0, 0, WIDTH, HEIGHT), WIDTH, HEIGHT)
        assert distance(numpy.asarray(found), kinds()[name].wanted).delta_e < 1


@pytest.mark.parametrize("cut", [0.3, 0.7, 0.95])
@pytest.mark.parametrize("name", ["TIFF RGB float", "TIFF CMYK and alpha", "TIFF RGB 16 planar"])
def test_odd_tiff_that_is_cut_off(tmp_path: Path, name: str, cut: float) -> None:
    from iiif_proxy.errors import OriginFailed
    from tests.fidelity.kinds import kinds

    path = tmp_path / "source"
    data = kinds()[name].data
    path.write_bytes(data[: int(len(data) * cut)])
    with pytest.raises(OriginFailed):
        Reader(path, probe(path)).read(Box(0, 0, WIDTH, HEIGHT), WIDTH, HEIGHT)
