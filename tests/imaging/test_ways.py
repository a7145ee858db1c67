"""Every way to the pixels gives the same ones: light reads, sessions, TIFF tiles, at any seam."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy
import pytest
from PIL import Image

from iiif_proxy.iiif.model import Box
from iiif_proxy.imaging.look import DEFAULT, Look
from iiif_proxy.imaging.reader import Reader, probe
from iiif_proxy.imaging.reading import Reading
from iiif_proxy.imaging.resample import Scaling
from iiif_proxy.imaging.routes import Routes, describe
from iiif_proxy.imaging.session import Session
from iiif_proxy.imaging.sessions import Sessions, Start
from iiif_proxy.imaging.sharpen import sharpened
from iiif_proxy.ranges import FileSource
from tests.fidelity.kinds import gamma, jpeg, png, tiff
from tests.imaging import profiles
from tests.imaging.drawn import Pixels, photo, psnr, saved

WIDTH, HEIGHT, TILE = 1111, 701, 256
PATIENCE = 20.0
COLOUR = photo(WIDTH, HEIGHT, noise=3)
GRAY = COLOUR[..., 1].copy()
ALPHA = numpy.tile(numpy.linspace(20, 255, WIDTH).astype(numpy.uint8), (HEIGHT, 1))


def inked() -> Image.Image:
    return Image.fromarray(COLOUR).convert("CMYK")


def with_profile(picture: Image.Image) -> bytes:
    return saved(picture, "PNG", icc_profile=profiles.rgb(), compress_level=1)


KINDS: dict[str, Callable[[], bytes]] = {
    "plain": lambda: jpeg(Image.fromarray(COLOUR)),
    "matrix": lambda: jpeg(Image.fromarray(COLOUR), icc_profile=profiles.rgb()),
    "table": lambda: jpeg(Image.fromarray(COLOUR), icc_profile=profiles.faded()),
    "gray profile": lambda: jpeg(Image.fromarray(GRAY), icc_profile=profiles.gray(1.4)),
    "ink": lambda: jpeg(inked()),
    "press": lambda: jpeg(inked(), icc_profile=profiles.cmyk()),
    "heavy press": lambda: jpeg(inked(), icc_profile=profiles.heavy(3 << 20)),
    "alpha": lambda: with_profile(Image.fromarray(numpy.dstack([COLOUR, ALPHA]))),
    "palette": lambda: with_profile(Image.fromarray(COLOUR).quantize(250)),
    "gray alpha": lambda: png(numpy.dstack([GRAY, ALPHA]), 4, gamma(1)),
    "deep": lambda: png(GRAY.astype(numpy.uint16) * 257, 0, gamma(1)),
    "float": lambda: tiff(GRAY.astype(numpy.float32)),
    "lab": lambda: tiff(COLOUR ^ numpy.array([0, 128, 128], numpy.uint8), photometric="cielab"),
    "tiles": lambda: tiff(COLOUR, photometric="rgb", tile=(TILE, TILE), iccprofile=profiles.rgb()),
}


class Content:
    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.read = FileSource(path).read


class Gate:
    def enter(self, cost: int, timeout: float) -> Iterator[None]:
        raise AssertionError


def session_of(path: Path, folder: Path, look: Look) -> Session:
    sessions = Sessions(folder, 1 << 30, look)
    info = describe(str(path), Reading(1 << 30), True)
    assert info is not None
    routes = Routes(
        "x", info, lambda whole: Content(path), lambda: None, sessions, Reading(1 << 30), look
    )
    image, session = routes.tile(Box(0, 0, 16, 16), 16, 16, PATIENCE)
    assert image is not None
    assert session is not None
    return session


def numbers(image: Image.Image) -> Pixels:
    """RGBA, so that RGBX, L and LA can be compared with what they stand for."""
    image = image.convert("RGB") if image.mode == "RGBX" else image
    return numpy.asarray(image.convert("RGBA")).astype(int)


def stitched(read: Callable[[Box, int, int], Image.Image], factor: int) -> Pixels:
    """The whole image at a factor, of canonical tiles."""
    size = -(-WIDTH // factor), -(-HEIGHT // factor)
    canvas = numpy.zeros((size[1], size[0], 4), int)
    step = TILE * factor
    for y in range(0, HEIGHT, step):
        for x in range(0, WIDTH, step):
            box = Box(x, y, min(step, WIDTH - x), min(step, HEIGHT - y))
            width, height = -(-box.width // factor), -(-box.height // factor)
            tile = numbers(read(box, width, height))
            assert tile.shape[:2] == (height, width)
            left, top = x // factor, y // factor
            canvas[top : top + height, left : left + width] = tile
    return canvas


@pytest.mark.parametrize("kind", KINDS)
def test_tiles_join_to_what_the_whole_image_is(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "source"
    path.write_bytes(KINDS[kind]())
    whole = Box(0, 0, WIDTH, HEIGHT)
    info = probe(path)
    reader = Reader(path, info)
    full = numbers(reader.read(whole, WIDTH, HEIGHT))
    if kind == "tiles":
        from iiif_proxy.imaging.tiff import Tiff

        read = Tiff.open(FileSource(path)).read
    else:
        session = session_of(path, tmp_path / "sessions", DEFAULT)

        def read(box: Box, width: int, height: int) -> Image.Image:
            return session.read(box, width, height, PATIENCE)

    assert numpy.abs(stitched(read, 1) - full).max() <= 1
    assert numpy.abs(stitched(reader.read, 1)[:TILE] - full[:TILE]).max() <= 1
    for factor in (2, 4):
        size = -(-WIDTH // factor), -(-HEIGHT // factor)
        tiles = stitched(read, factor)
        # The same way, asked for all whole squares at once: not a seam.
        within = WIDTH // factor, HEIGHT // factor
        most = Box(0, 0, within[0] * factor, within[1] * factor)
        inner = tiles[: within[1], : within[0]]
        assert numpy.abs(inner - numbers(read(most, *within))).max() <= 1
        # The other way: another filter, the same picture.
        assert psnr(tiles, numbers(reader.read(whole, *size))) > 30


@pytest.mark.parametrize("kind", ["png", "tiles"])
@pytest.mark.parametrize("factor", [4, 8, 16])
def test_the_whole_image_fills_its_size(tmp_path: Path, kind: str, factor: int) -> None:
    """Sizes of info.json are rounded up; the last column is no padding, by whatever way."""
    x, y = numpy.meshgrid(numpy.arange(WIDTH), numpy.arange(HEIGHT))
    waves = 127.5 + 100 * numpy.sin(x / 23) * numpy.cos(y / 17)
    picture = numpy.dstack([waves] * 3).round().astype(numpy.uint8)
    path = tmp_path / "source"
    size = -(-WIDTH // factor), -(-HEIGHT // factor)
    whole = Box(0, 0, WIDTH, HEIGHT)
    if kind == "tiles":
        from iiif_proxy.imaging.tiff import Tiff

        path.write_bytes(tiff(picture, photometric="rgb", tile=(TILE, TILE)))
        found = Tiff.open(FileSource(path)).read(whole, *size)
    else:
        path.write_bytes(saved(Image.fromarray(picture), "PNG"))
        session = session_of(path, tmp_path / "sessions", DEFAULT)
        found = session.read(whole, *size, PATIENCE)
        session.close()
    wanted = Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS)
    assert psnr(numbers(found), numbers(wanted)) > 36


@pytest.mark.parametrize("kind", ["matrix", "alpha", "ink"])
def test_linear_light_is_the_same_by_every_way(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "source"
    path.write_bytes(KINDS[kind]())
    look = Look(scaling=Scaling(linear=True))
    session = session_of(path, tmp_path / "sessions", look)
    reader = Reader(path, probe(path), look=look)
    size = -(-WIDTH // 4), -(-HEIGHT // 4)
    tiles = stitched(lambda *asked: session.read(*asked, PATIENCE), 4)
    assert psnr(tiles, numbers(reader.read(Box(0, 0, WIDTH, HEIGHT), *size))) > 34


def test_sharpened_tiles_join(tmp_path: Path) -> None:
    path = tmp_path / "source"
    path.write_bytes(KINDS["matrix"]())
    session = session_of(path, tmp_path / "sessions", DEFAULT)
    info = probe(path)

    def plain(box: Box, width: int, height: int) -> Image.Image:
        return session.read(box, width, height, PATIENCE)

    def sharp(box: Box, width: int, height: int) -> Image.Image:
        return sharpened(plain, info, box, width, height, 80)

    for factor in (2, 4):
        size = -(-WIDTH // factor), -(-HEIGHT // factor)
        whole = numbers(sharp(Box(0, 0, WIDTH, HEIGHT), *size))
        tiles = stitched(sharp, factor)
        most = Box(0, 0, size[0] * factor - 8 * factor, size[1] * factor - 8 * factor)
        within = size[0] - 8, size[1] - 8
        inner = tiles[: within[1], : within[0]]
        assert numpy.abs(inner - numbers(sharp(most, *within))).max() <= 1
        flat = numbers(plain(Box(0, 0, WIDTH, HEIGHT), *size))
        assert numpy.diff(whole[..., 0]).std() > 1.2 * numpy.diff(flat[..., 0]).std()
    box = Box(300, 200, 100, 80)
    assert (numbers(sharp(box, 100, 80)) == numbers(plain(box, 100, 80))).all()


@pytest.mark.parametrize("kind", ["press", "heavy press", "matrix"])
def test_neighbours_are_told_what_the_pixels_still_need(tmp_path: Path, kind: str) -> None:
    """Another process reads the same pixels from the same memory, however large the profile is."""
    path = tmp_path / "source"
    path.write_bytes(KINDS[kind]())
    session = session_of(path, tmp_path / "sessions", DEFAULT)
    mine = numbers(session.read(Box(100, 100, 300, 200), 300, 200, PATIENCE))
    sessions = Sessions(tmp_path / "sessions", 1 << 30)

    def never() -> Start:
        raise AssertionError("it is open already")

    theirs, begun = sessions.open("x", never, PATIENCE)
    assert not begun
    found = numbers(theirs.read(Box(100, 100, 300, 200), 300, 200, PATIENCE))
    assert (found == mine).all()
    session.close()
