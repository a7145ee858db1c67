"""Tile sessions: right pixels from shared memory, while they arrive and after; nothing left."""

import gc
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iiif_proxy.errors import Busy, OriginFailed
from iiif_proxy.iiif.model import Box, ImageInfo
from iiif_proxy.imaging import decode
from iiif_proxy.imaging.formats import opened
from iiif_proxy.imaging.levels import CLOSED, POLL, SETTLED, WHOLE, Levels, LevelsLost, shape_of
from iiif_proxy.imaging.reader import probe
from iiif_proxy.imaging.reading import Reading
from iiif_proxy.imaging.routes import Routes
from iiif_proxy.imaging.session import Facts, Session
from iiif_proxy.imaging.sessions import Sessions
from iiif_proxy.ranges import FileSource

WIDTH, HEIGHT = 1603, 1201
PATIENCE = 10.0


class Content:
    """A source's bytes, as SourceCache gives them."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.read = FileSource(path).read


def photo(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """Smooth colours with detail and grain, so that resampling shows."""
    y, x = np.mgrid[0:height, 0:width]
    red = 128 + 100 * np.sin(x / 37.0) * np.cos(y / 29.0)
    green = 128 + 90 * np.sin((x + y) / 53.0)
    blue = 128 + 80 * np.cos(x / 91.0)
    grain = np.random.default_rng(5).normal(0, 6, (height, width))
    stacked = np.stack([red, green, blue], -1) + grain[..., None]
    return Image.fromarray(np.clip(stacked, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def jpeg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sources") / "photo.jpg"
    photo().save(path, quality=92)
    return path


@pytest.fixture
def sessions(tmp_path: Path) -> Iterator[Sessions]:
    made = Sessions(tmp_path / "sessions", 1 << 30)
    yield made
    made.close()


def routes_to(path: Path, sessions: Sessions, key: str = "key") -> Routes:
    info = probe(path)
    return Routes(key, info, lambda whole: Content(path), lambda: None, sessions, Reading(10**9))


def whole(session: Session) -> Session:
    end = time.monotonic() + PATIENCE
    while session.levels.state < WHOLE:
        assert time.monotonic() < end
        time.sleep(0.005)
    return session


def begin(path: Path, sessions: Sessions, key: str = "key") -> Session:
    image, session = routes_to(path, sessions, key).tile(Box(0, 0, 64, 64), 64, 64, PATIENCE)
    assert image is not None
    assert session is not None
    return whole(session)


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(float)


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    error = np.mean((one - other) ** 2)
    return 99.0 if error == 0 else float(10 * np.log10(255**2 / error))


def test_pillow_still_decodes_into_our_memory(jpeg: Path) -> None:
    """It rests on internals: this says when they change."""
    source = FileSource(jpeg)
    with open(jpeg, "rb") as file:
        image = opened(file)
        levels = Levels.create(shape_of(*image.size, "RGB"))
        assert decode.streams(image, "RGB")
        decode.fill(levels, decode.streamed(image, source.read))
    assert levels.state == WHOLE
    with Image.open(jpeg) as plain:
        expected = np.asarray(plain.convert("RGB"))
    assert (np.asarray(levels.image(1))[..., :3] == expected).all()


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_tiles_are_the_level(jpeg: Path, sessions: Sessions, factor: int) -> None:
    """Tiles put side by side are the averaged image, without a seam, rests at the edges too."""
    session = begin(jpeg, sessions)
    with Image.open(jpeg) as plain:
        expected = np.asarray(plain.convert("RGB").reduce(factor)).astype(float)
    step = 128 * factor  # more than one tile: the whole image is not cut out of the grid
    made = np.zeros_like(expected)
    for y in range(0, HEIGHT, step):
        for x in range(0, WIDTH, step):
            box = Box(x, y, min(step, WIDTH - x), min(step, HEIGHT - y))
            size = -(-box.width // factor), -(-box.height // factor)
            tile = session.read(box, *size, PATIENCE)
            assert tile.size == size
            made[y // factor :, x // factor :][: size[1], : size[0]] = pixels(tile)
    # Averages of averages round twice.
    assert np.abs(made - expected).max() <= (0 if factor <= 4 else 2)


@pytest.mark.parametrize(
    "box, size, least",
    [
        (Box(100, 50, 700, 500), (350, 250), 40),
        (Box(3, 7, 1001, 901), (500, 450), 40),
        (Box(0, 0, 800, 600), (133, 100), 45),
        (Box(500, 300, 333, 222), (333, 222), 99),
        (Box(500, 300, 333, 222), (300, 200), 45),
    ],
)
def test_other_sizes_are_near_a_full_decode(
    jpeg: Path, sessions: Sessions, box: Box, size: tuple[int, int], least: float
) -> None:
    got = begin(jpeg, sessions).read(box, *size, PATIENCE)
    with Image.open(jpeg) as plain:
        edges = (box.x, box.y, box.x + box.width, box.y + box.height)
        expected = plain.convert("RGB").resize(size, Image.Resampling.LANCZOS, edges)
    assert psnr(pixels(got), pixels(expected)) >= least


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright(tmp_path: Path, sessions: Sessions, orientation: int) -> None:
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo(1200, 900).save(path, quality=95, exif=exif)
    info = probe(path)
    box = Box(128, 256, 256, 128)
    session = begin(path, sessions)
    got = session.read(box, 256, 128, PATIENCE)
    with Image.open(path) as plain:
        from PIL import ImageOps

        upright = ImageOps.exif_transpose(plain).convert("RGB")
    assert upright.size == (info.width, info.height)
    assert (pixels(got) == pixels(upright.crop((128, 256, 384, 384)))).all()


def save_gray(path: Path) -> None:
    photo().convert("L").save(path, "PNG")


def save_alpha(path: Path) -> None:
    image = photo().convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.save(path, "PNG")


def save_palette(path: Path) -> None:
    photo().quantize(64).save(path, "PNG")


def save_deep(path: Path) -> None:
    Image.fromarray(np.asarray(photo().convert("L")).astype(np.uint16) * 257).save(path, "PNG")


def save_cmyk(path: Path) -> None:
    photo().convert("CMYK").save(path, "JPEG", quality=95)


@pytest.mark.parametrize(
    "save, mode",
    [
        (save_gray, "L"),
        (save_alpha, "RGBA"),
        (save_palette, "RGB"),
        (save_deep, "L"),
        (save_cmyk, "CMYK"),
    ],
)
def test_every_mode_is_as_the_reader_gives_it(
    tmp_path: Path, sessions: Sessions, save: Callable[[Path], None], mode: str
) -> None:
    path = tmp_path / "source"
    save(path)
    session = begin(path, sessions)
    assert session.levels.shape.mode == mode
    box = Box(512, 256, 256, 256)
    from iiif_proxy.imaging.reader import Reader

    expected = Reader(path, probe(path)).read(box, 256, 256)
    got = session.read(box, 256, 256, PATIENCE)
    assert np.abs(pixels(got) - pixels(expected)).max() <= 1


def test_a_row_is_answered_before_the_last_byte_has_come(jpeg: Path, sessions: Sessions) -> None:
    data = jpeg.read_bytes()
    stop = len(data) // 2
    shown = probe(jpeg)
    levels = Levels.create(shape_of(shown.width, shown.height, "RGB"))
    file = io.BytesIO(data)
    image = opened(file)
    seen: list[int] = []

    def feed(offset: int, size: int) -> bytes:
        if offset >= stop and not seen:
            levels.wait(1, 256, PATIENCE, lambda: True)
            seen.append(levels.rows(1))
        return data[offset : offset + min(size, 4096)]

    decode.fill(levels, decode.streamed(image, feed))
    assert 256 <= seen[0] < HEIGHT


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_broken_source_is_refused(
    jpeg: Path, tmp_path: Path, sessions: Sessions, share: float
) -> None:
    path = tmp_path / "broken.jpg"
    data = jpeg.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(OriginFailed):
        routes_to(path, sessions).tile(Box(0, HEIGHT - 256, 256, 256), 256, 256, PATIENCE)
    # Mended, it is right at once.
    path.write_bytes(data)
    image, _ = routes_to(path, sessions).tile(Box(0, HEIGHT - 256, 256, 256), 256, 256, PATIENCE)
    assert image is not None


def test_settled_gives_memory_back_and_still_answers_small(tmp_path: Path, jpeg: Path) -> None:
    path = tmp_path / "large.jpg"
    photo(6400, 400).save(path, quality=90)
    sessions = Sessions(None, 1 << 30)
    session = begin(path, sessions)
    before = session.held_bytes()
    session.settle()
    assert session.levels.state == SETTLED
    assert session.held_bytes() < before / 10
    assert session.covers(Box(0, 0, 6400, 400), 800, 50)
    assert not session.covers(Box(0, 0, 512, 400), 512, 400)
    assert session.read(Box(0, 0, 6400, 400), 800, 50, PATIENCE).size == (800, 50)
    image, again = routes_to(path, sessions).tile(Box(0, 0, 512, 400), 512, 400, PATIENCE)
    assert image is not None
    assert again is not None
    assert again is not session
    sessions.close()


def test_the_bound_holds(tmp_path: Path, jpeg: Path) -> None:
    one = shape_of(WIDTH, HEIGHT, "RGB").total
    sessions = Sessions(tmp_path / "s", int(one * 2.5))
    for key in ("a", "b", "c", "d"):
        begin(jpeg, sessions, key)
        assert sessions.bytes() <= one * 2.5
    assert sessions.get("a") is None
    assert sessions.get("d") is not None
    assert not sessions.fits(WIDTH * 2, HEIGHT * 2)
    sessions.close()


def test_the_memory_of_what_gave_way_goes_at_once(tmp_path: Path, jpeg: Path) -> None:
    """Whoever still has the session, such as work that waits to be done ahead."""
    gc.collect()
    before = mapped()  # What other tests of this process left open.
    one = shape_of(WIDTH, HEIGHT, "RGB").total
    sessions = Sessions(tmp_path / "s", int(one * 2.5))
    kept = [begin(jpeg, sessions, key) for key in "abcdef"]
    assert mapped() - before <= 2.5 * one
    with pytest.raises(LevelsLost):
        kept[0].read(Box(0, 0, 256, 256), 256, 256, PATIENCE)
    assert kept[-1].read(Box(0, 0, 256, 256), 256, 256, PATIENCE).size == (256, 256)
    sessions.close()
    assert mapped() <= before


def mapped() -> int:
    """Bytes of levels that this process has in its memory."""
    total = 0
    for line in Path("/proc/self/maps").read_text().splitlines():
        if "memfd:iiif-proxy-" in line and not line.endswith("-0 (deleted)"):
            begin, end = (int(word, 16) for word in line.split()[0].split("-"))
            total += end - begin
    return total


def test_one_that_gives_way_while_it_is_decoded(tmp_path: Path, jpeg: Path) -> None:
    """Its decoder stops, and nobody is told that the image is broken."""
    source = FileSource(jpeg)
    with open(jpeg, "rb") as file:
        image = opened(file)
        levels = Levels.create(shape_of(*image.size, "RGB"))
        session = Session(levels, Facts(1, None), os.getpid(), None)

        def feed(at: int, size: int) -> bytes:
            session.close()
            return source.read(at, min(size, 20_000))

        with pytest.raises(LevelsLost):
            decode.fill(levels, decode.streamed(image, feed))
    assert levels.state == CLOSED


NEIGHBOUR = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from tests.imaging.test_sessions import *
sessions = Sessions(Path(sys.argv[1]), 1 << 30)
session = begin(Path(sys.argv[2]), sessions)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def neighbour(tmp_path: Path, jpeg: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds a session of the same source."""
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", NEIGHBOUR, str(tmp_path / "sessions"), str(jpeg), str(root)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def test_a_neighbours_session_is_shared(
    jpeg: Path, sessions: Sessions, neighbour: "subprocess.Popen[str]"
) -> None:
    def no_bytes(whole: bool) -> Content:
        raise AssertionError("decoded again")

    info = ImageInfo(WIDTH, HEIGHT, "jpeg")
    routes = Routes("key", info, no_bytes, lambda: None, sessions, Reading(10**9))
    image, begun = routes.tile(Box(256, 256, 256, 256), 256, 256, PATIENCE)
    assert begun is None
    assert image is not None
    with Image.open(jpeg) as plain:
        expected = plain.convert("RGB").crop((256, 256, 512, 512))
    assert (pixels(image) == pixels(expected)).all()


def test_a_killed_neighbour_is_replaced(
    jpeg: Path, sessions: Sessions, neighbour: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    routes = routes_to(jpeg, sessions)
    first, begun = routes.tile(Box(0, 0, 256, 256), 256, 256, PATIENCE)
    assert first is not None
    assert begun is None
    neighbour.send_signal(signal.SIGKILL)
    neighbour.wait()
    # What it had finished is still mapped here; a process that comes later begins anew.
    assert routes.tile(Box(0, 0, 256, 256), 256, 256, PATIENCE)[0] is not None
    later = Sessions(tmp_path / "sessions", 1 << 30)
    image, begun = routes_to(jpeg, later).tile(Box(0, 0, 256, 256), 256, 256, PATIENCE)
    assert image is not None
    assert begun is not None
    later.close()


def test_a_settled_neighbour_is_not_enough_for_detail(
    jpeg: Path, sessions: Sessions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its fine levels are gone, and their descriptors' numbers may be other files by now."""
    monkeypatch.setattr("iiif_proxy.imaging.session.KEPT_SIDE", 500)
    here = Sessions(tmp_path / "sessions", 1 << 30)
    begin(jpeg, here).settle()
    others = [os.open(jpeg, os.O_RDONLY) for _ in range(8)]
    detail = Box(256, 256, 256, 256)
    image, begun = routes_to(jpeg, sessions).tile(detail, 256, 256, PATIENCE)
    assert image is not None
    assert begun is not None
    with Image.open(jpeg) as plain:
        expected = plain.convert("RGB").crop((256, 256, 512, 512))
    assert (pixels(image) == pixels(expected)).all()
    for number in others:
        os.close(number)
    here.close()


def test_it_is_closed_once_however_many_close_it(
    tmp_path: Path, jpeg: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number that is closed twice may be somebody else's file by then."""
    sessions = Sessions(tmp_path / "s", 1 << 30)
    session = begin(jpeg, sessions)
    [lock] = session._locks
    together, closed, really = threading.Barrier(8), [], os.close

    def slowly(number: int) -> None:
        closed.append(number)
        time.sleep(0.01)
        really(number)

    def close() -> None:
        together.wait()
        session.close()

    threads = [threading.Thread(target=close) for _ in range(8)]
    with monkeypatch.context() as patch:
        patch.setattr("iiif_proxy.imaging.session.os.close", slowly)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert closed.count(lock) == 1
    sessions.close()


def test_nothing_is_left_behind(tmp_path: Path, jpeg: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        sessions = Sessions(tmp_path / "s", 1 << 30)
        begin(jpeg, sessions)
        sessions.close()
    del sessions
    # Who decodes finds out in its own time that it is for nobody.
    deadline = time.monotonic() + 30
    while len(os.listdir("/proc/self/fd")) > before + 2:
        assert time.monotonic() < deadline, os.listdir("/proc/self/fd")
        gc.collect()
        time.sleep(0.02)
    assert [json.loads(p.read_text() or "{}").get("pid") for p in (tmp_path / "s").iterdir()] in (
        [os.getpid()],
        [],
    )


def test_waiting_has_an_end() -> None:
    levels = Levels.create(shape_of(2000, 1000, "L"))
    with pytest.raises(Busy):
        levels.wait(1, 10, 0.05, lambda: True)


def test_a_thumbnail_opens_no_session(jpeg: Path, sessions: Sessions) -> None:
    """A session is for tiles and for parts at full size; a square thumbnail is neither."""
    routes = routes_to(jpeg, sessions)
    square = Box(200, 0, HEIGHT, HEIGHT)
    assert not routes.wants_session(Box(0, 0, WIDTH, HEIGHT), WIDTH, HEIGHT, True)
    assert routes.wants_session(Box(0, 0, 512, 512), 512, 512, True)
    assert routes.wants_session(Box(0, 0, 1024, 1024), 128, 128, True)
    assert routes.wants_session(Box(10, 10, 300, 200), 300, 200, False)
    assert [routes.wants_session(square, 200, 200, False) for _ in range(3)] == [
        False,
        False,
        True,
    ]
    small = Routes(
        "s", ImageInfo(900, 900, "jpeg"), Content, lambda: None, sessions, Reading(10**9)
    )
    assert not small.wants_session(Box(0, 0, 512, 512), 512, 512, True)


def test_pages_are_made_before_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that the decoder will come to next: a source that does not come holds no memory."""
    monkeypatch.setattr(decode, "AHEAD", 8 << 20)
    levels = Levels.create(shape_of(4096, 4096, "RGB"))
    number = levels.address()[1]

    def made() -> int:
        return os.fstat(number).st_blocks * 512

    assert made() == 0
    with decode._paved(levels):
        wait_for(lambda: made() >= 8 << 20)
        levels.advance(1, 2048)
        wait_for(lambda: made() >= 16 << 20)
        levels.advance(1, 2049)
        wait_for(lambda: made() >= 20 << 20)
    levels.advance(1, 4096)
    assert made() == 20 << 20, "neither what is written already, nor what is far"


def wait_for(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(POLL)
