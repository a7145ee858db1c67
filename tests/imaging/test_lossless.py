"""JPEG without decoding: turned bit by bit, handed on without a word that is no picture."""

import io
import itertools
import os
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy
import pytest
from PIL import Image, ImageCms, ImageOps

from iiif_proxy.iiif.model import Box, Plan
from iiif_proxy.imaging import jpegwalk, lossless
from iiif_proxy.imaging.formats import opened
from iiif_proxy.imaging.orientation import orientation_of
from tests.imaging.drawn import exif, image, numbers, oriented, photo, saved, stored

SOURCE = photo(160, 96)
TURNS = list(itertools.product(range(4), [False, True]))


def plan(box: Box, quarters: int = 0, mirror: bool = False) -> Plan:
    return Plan(box, box.width, box.height, mirror, Decimal(90 * quarters), "default", "jpg")


def whole(path: Path) -> Box:
    with opened(path) as picture:
        swapped = orientation_of(picture) > 4
        width, height = picture.size
    return Box(0, 0, height, width) if swapped else Box(0, 0, width, height)


def worked(path: Path, wanted: Plan, progressive: bool = False) -> lossless.Work | None:
    with opened(path) as picture:
        return lossless.work(picture, orientation_of(picture), wanted, progressive)


def made(path: Path, wanted: Plan, progressive: bool = False) -> bytes:
    todo = worked(path, wanted, progressive)
    assert todo is not None
    target = io.BytesIO()
    assert lossless.run(todo, str(path), target)
    return target.getvalue()


def stripped(data: bytes) -> bytes:
    return b"".join(jpegwalk.picture(io.BytesIO(data)))


def decoded(data: bytes) -> numpy.ndarray:
    return numbers(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("quarters, mirror", TURNS)
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_turns(
    tmp_path: Path, orientation: int, quarters: int, mirror: bool, subsampling: int
) -> None:
    """What is shown upright, mirrored, then turned clockwise; the same but for the IDCT's
    rounding, which is not symmetrical."""
    laid = image(oriented(SOURCE, orientation))
    data = saved(laid, "JPEG", quality=90, subsampling=subsampling, exif=exif(orientation))
    path = stored(tmp_path, data)
    before = decoded(saved(laid, "JPEG", quality=90, subsampling=subsampling))
    shown = numbers(upright(Image.fromarray(before.astype("uint8")), orientation))
    wanted = numpy.rot90(shown[:, ::-1] if mirror else shown, -quarters)
    found = made(path, plan(whole(path), quarters, mirror))
    after = Image.open(io.BytesIO(found))
    assert orientation_of(after) == 1
    assert numpy.abs(numbers(after) - wanted).max() <= 4


def upright(laid: Image.Image, orientation: int) -> Image.Image:
    tagged = Image.open(io.BytesIO(saved(laid, "PNG", exif=exif(orientation))))
    return ImageOps.exif_transpose(tagged)


@pytest.mark.parametrize("quarters, mirror", TURNS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_there_and_back_is_the_same_to_the_bit(
    tmp_path: Path, quarters: int, mirror: bool, mode: str
) -> None:
    data = saved(image(SOURCE).convert(mode), "JPEG", quality=85)
    path = stored(tmp_path, data)
    turned = stored(tmp_path, made(path, plan(whole(path), quarters, mirror)), "turned")
    back = plan(whole(turned), quarters if mirror else -quarters % 4, mirror)
    assert made(turned, back) == stripped(data)
    if quarters or mirror:
        assert turned.read_bytes() != stripped(data)


@pytest.mark.parametrize("before", [False, True])
def test_progressive_if_that_is_set(tmp_path: Path, before: bool) -> None:
    """The same coefficients in another order; what is progressive stays so."""
    path = stored(tmp_path, saved(image(SOURCE), "JPEG", quality=90, progressive=before))
    for progressive in (False, True):
        found = made(path, plan(whole(path)), progressive)
        with Image.open(io.BytesIO(found)) as again:
            assert bool(again.info.get("progressive")) == (before or progressive)
        assert (decoded(found) == decoded(path.read_bytes())).all()
        assert (found == stripped(path.read_bytes())) == (before or not progressive)


def test_a_part_on_whole_blocks(tmp_path: Path) -> None:
    path = stored(tmp_path, saved(image(SOURCE), "JPEG", quality=90, subsampling=0))
    all_of_it = decoded(path.read_bytes())
    # The image is 160 x 96: its height is no whole number of 16, the part's is.
    found = decoded(made(path, plan(Box(24, 8, 64, 40), 1)))
    assert numpy.abs(found - numpy.rot90(all_of_it[8:48, 24:88], -1)).max() <= 4
    assert (decoded(made(path, plan(Box(24, 8, 50, 30)))) == all_of_it[8:38, 24:74]).all()


@pytest.mark.parametrize(
    "size, subsampling, box, quarters, mirror, possible",
    [
        ((160, 96), 2, (0, 0, 160, 96), 1, False, True),
        ((161, 96), 2, (0, 0, 161, 96), 0, True, False),
        ((161, 96), 2, (0, 0, 161, 96), 0, False, True),
        ((161, 96), 2, (0, 0, 161, 96), 1, False, True),
        ((161, 96), 2, (0, 0, 161, 96), 3, False, False),
        ((160, 98), 2, (0, 0, 160, 98), 1, False, False),
        ((161, 97), 2, (0, 0, 161, 97), 1, True, False),
        ((161, 97), 2, (0, 0, 161, 97), 3, True, True),
        ((160, 96), 2, (8, 0, 64, 64), 0, False, False),
        ((160, 96), 0, (8, 0, 64, 64), 0, False, True),
        ((160, 96), 2, (16, 16, 50, 64), 2, False, False),
    ],
)
def test_only_where_no_block_is_cut(
    tmp_path: Path,
    size: tuple[int, int],
    subsampling: int,
    box: tuple[int, int, int, int],
    quarters: int,
    mirror: bool,
    possible: bool,
) -> None:
    """As jpegtran itself judges: where work is promised, `-perfect` agrees."""
    path = stored(tmp_path, saved(image(photo(*size)), "JPEG", subsampling=subsampling))
    wanted = plan(Box(*box), quarters, mirror)
    assert (worked(path, wanted) is not None) == possible
    if possible:
        turned = (box[3], box[2]) if quarters % 2 else box[2:]
        assert decoded(made(path, wanted)).shape[1::-1] == turned


@pytest.mark.parametrize(
    "changes",
    [
        {"quality": "gray"},
        {"format": "png"},
        {"width": 80, "height": 48},
        {"degrees": Decimal("22.5")},
        {"box": Box(16, 16, 64, 64), "width": 64, "height": 64, "tile": True},
    ],
)
def test_what_must_be_decoded(changes: dict[str, object]) -> None:
    tile = bool(changes.pop("tile", False))
    values = {"box": Box(0, 0, 160, 96), "width": 160, "height": 96, "mirror": False}
    values |= {"degrees": Decimal(0), "quality": "default", "format": "jpg"}
    assert lossless.may_be(Plan(**values), "jpeg", False, 160 * 96)  # type: ignore[arg-type]
    assert not lossless.may_be(Plan(**values), "png", False, 160 * 96)  # type: ignore[arg-type]
    wanted = Plan(**(values | changes))  # type: ignore[arg-type]
    assert not lossless.may_be(wanted, "jpeg", tile, 160 * 96)


def test_small_parts_of_large_images_are_left_to_sessions() -> None:
    part = plan(Box(0, 0, 512, 512), 1)
    assert lossless.may_be(part, "jpeg", False, lossless.SMALL)
    assert not lossless.may_be(part, "jpeg", False, lossless.SMALL + 1)
    assert lossless.may_be(plan(Box(0, 0, 4000, 3000), 1), "jpeg", False, 6000 * 8000)


@pytest.mark.parametrize("mode, options", [("CMYK", {}), ("RGB", {"progressive": True})])
def test_kinds(tmp_path: Path, mode: str, options: dict[str, object]) -> None:
    path = stored(tmp_path, saved(image(SOURCE).convert(mode), "JPEG", **options))
    wanted = plan(whole(path), 2)
    if mode == "CMYK":
        assert worked(path, wanted) is None
        return
    assert made(path, plan(whole(path))) == stripped(path.read_bytes())
    assert "progressive" not in Image.open(io.BytesIO(made(path, wanted))).info
    assert "progressive" in Image.open(io.BytesIO(made(path, wanted, progressive=True))).info


def full_of_words() -> bytes:
    words = Image.Exif()
    words[0x0112] = 1
    words[0x013B] = "somebody"
    words.get_ifd(0x8825)[1] = "N"
    return saved(
        image(SOURCE),
        "JPEG",
        quality=90,
        dpi=(300, 300),
        exif=words,
        comment=b"a private comment",
        icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        xmp=b"<x:xmpmeta>secret</x:xmpmeta>",
    )


class Dripping(io.BytesIO):
    """Every boundary is the end of a block."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(1)


def test_nothing_but_the_picture_is_handed_on() -> None:
    plain = saved(image(SOURCE), "JPEG", quality=90, dpi=(300, 300))
    data = full_of_words() + b"\xff\xd8another picture behind the end"
    found = stripped(data)
    assert found == plain
    assert b"".join(jpegwalk.picture(Dripping(data))) == plain
    # JFIF's own thumbnail would show what was cut away from the picture.
    jfif = jpegwalk.segment(0xE0, plain[6:18] + b"\x02\x01" + b"RGBRGB")
    assert stripped(plain[:2] + jfif + plain[20:]) == plain


def test_adobe_says_what_the_colours_are() -> None:
    """Without its word RGB would be shown as YCbCr."""
    data = saved(image(SOURCE), "JPEG", quality=90, keep_rgb=True)
    adobe = jpegwalk.segment(0xEE, b"Adobe\0\x64\0\0\0\0\0")
    data = data[:2] + adobe + data[2:]
    assert adobe in stripped(data)
    assert (decoded(stripped(data)) == decoded(data)).all()


def test_words_that_are_added() -> None:
    comment = jpegwalk.segment(0xFE, b"added")
    plain = saved(image(SOURCE), "JPEG")
    found = b"".join(jpegwalk.picture(io.BytesIO(plain), [comment]))
    assert found == plain[:20] + comment + plain[20:]
    bare = plain[:2] + plain[20:]  # without JFIF
    assert b"".join(jpegwalk.picture(io.BytesIO(bare), [comment])) == plain[:2] + comment + bare[2:]


def test_broken_files_are_not_handed_on(tmp_path: Path) -> None:
    data = full_of_words()
    for length in [*range(0, len(data) - 1, 97), len(data) - 2, len(data) - 1]:
        with pytest.raises(jpegwalk.Unfit):
            stripped(data[:length])
    target = io.BytesIO(b"before")
    target.seek(6)
    path = stored(tmp_path, data[:-100])
    for quarters in (0, 1):
        todo = worked(path, plan(whole(path), quarters))
        assert todo is not None
        assert not lossless.run(todo, str(path), target)
        assert target.getvalue() == b"before"


def test_jpegtran_is_ended_when_it_takes_too_long(tmp_path: Path) -> None:
    """It waits for the rest of a pipe that never comes."""
    data = saved(image(SOURCE), "JPEG")
    todo = worked(stored(tmp_path, data), plan(Box(0, 0, 160, 96), 1))
    assert todo is not None
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    kept_open = os.open(pipe, os.O_RDWR)
    try:
        os.write(kept_open, data[:1000])
        target = io.BytesIO()
        assert not lossless.run(todo, str(pipe), target, seconds=0.3)
        assert not target.getvalue()
    finally:
        os.close(kept_open)


def test_memory_is_bounded(tmp_path: Path) -> None:
    """jpegtran gives up at its bound, and what is counted is enough (the tests above)."""
    path = stored(tmp_path, saved(image(photo(800, 800)), "JPEG"))
    todo = worked(path, plan(Box(0, 0, 800, 800), 1))
    assert todo is not None
    command = list(todo.commands[0])
    command[command.index("-maxmemory") + 1] = "500"
    small = replace(todo, commands=(tuple(command),))
    assert not lossless.run(small, str(path), io.BytesIO())
    assert lossless.run(todo, str(path), io.BytesIO())


def test_without_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stored(tmp_path, saved(image(SOURCE), "JPEG"))
    assert worked(path, plan(whole(path), 1)) is not None
    monkeypatch.setattr(lossless, "jpegtran", lambda: None)
    assert worked(path, plan(whole(path), 1)) is None
    assert worked(path, plan(whole(path))) is not None
