"""Decoding in other processes: the same pixels, and what becomes of it when they go."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from iiif_proxy.errors import Busy, NotFound, OriginFailed
from iiif_proxy.iiif.model import Box
from iiif_proxy.imaging.apart import HERE, Apart
from iiif_proxy.imaging.look import DEFAULT, Look
from iiif_proxy.imaging.reader import Reader, probe
from iiif_proxy.imaging.reading import NO_IMAGE, TOO_LONG, Reading
from tests.servers import ROOT

READING = Reading()
PATIENCE = 60


# Those of proxies that other tests of this process made, and are still there.
OTHERS: set[int] = set()


@pytest.fixture(autouse=True)
def others() -> None:
    OTHERS.clear()
    OTHERS.update(workers())


@pytest.fixture
def apart() -> Iterator[Apart]:
    made = Apart(seconds=PATIENCE)
    yield made
    made.close()


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of work."""
    path = tmp_path_factory.mktemp("large") / "large.png"
    noise = Image.effect_noise((3000, 3000), 90)
    Image.merge("RGB", [noise, noise, noise]).save(path, compress_level=1)
    return path


def part_of(jobs: Any, path: Path, reading: Reading = READING, look: Look = DEFAULT) -> Image.Image:
    info = probe(path)
    box = Box(0, 0, info.width, info.height)
    found = jobs.run("region", str(path), info, reading, look, box, info.width // 2, 20)
    assert isinstance(found, Image.Image)
    return found


def workers() -> list[int]:
    """The processes that this one has decode."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().split(b"\0")
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if b"iiif_proxy.imaging.worker" in words and parent == os.getpid():
            found.append(int(place.name))
    return [pid for pid in found if pid not in OTHERS]


def ended(pid: int) -> bool:
    """Whether it is a zombie, and the last of its threads is gone."""
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state == "Z" and len(list(Path(f"/proc/{pid}/task").iterdir())) == 1


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_the_same_pixels(apart: Apart, tmp_path: Path, mode: str) -> None:
    path = tmp_path / "image.tif"
    image = Image.linear_gradient("L").resize((90, 70))
    (image if mode == "I;16" else image.convert(mode)).save(path)
    here, there = part_of(HERE, path), part_of(apart, path)
    assert (there.mode, there.size) == (here.mode, here.size)
    assert there.tobytes() == here.tobytes()


def test_the_same_facts_and_pages(apart: Apart, tmp_path: Path) -> None:
    path = tmp_path / "pages.gif"
    frames = [Image.new("L", (30, 20), shade) for shade in (0, 90, 200)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert apart.run("header", str(path), READING) == probe(path)
    assert apart.run("pages", str(path), READING) == 3
    assert apart.run("facts", str(path), probe(path), READING, DEFAULT) == HERE.run(
        "facts", str(path), probe(path), READING, DEFAULT
    )


def test_a_kept_profile_comes_along(apart: Apart, tmp_path: Path) -> None:
    path = tmp_path / "profiled.png"
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.new("RGB", (60, 50), (10, 20, 30)).save(path, icc_profile=profile)
    assert part_of(apart, path, look=Look(profile="keep")).info["icc_profile"] == profile


def test_what_it_raises_is_what_is_raised_here(apart: Apart, tmp_path: Path) -> None:
    path = tmp_path / "broken.png"
    Image.new("RGB", (600, 500)).save(path)
    info = probe(path)
    path.write_bytes(path.read_bytes()[:400])
    box = Box(0, 0, 600, 500)
    with pytest.raises(OriginFailed) as raised:
        apart.run("region", str(path), info, READING, DEFAULT, box, 60, 50)
    assert raised.value.public == NO_IMAGE
    with pytest.raises(NotFound):
        apart.run("header", str(path), Reading(page=2))
    with pytest.raises(OriginFailed):
        apart.run("header", str(tmp_path / "none.png"), READING)
    assert len(workers()) == 1


def test_a_crash_costs_one_request(apart: Apart, large: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.png"
    Image.new("RGB", (60, 50)).save(small)
    part_of(apart, small)
    (worker,) = workers()
    raised: list[OriginFailed] = []

    def ask() -> None:
        with pytest.raises(OriginFailed) as found:
            part_of(apart, large)
        raised.append(found.value)

    os.kill(worker, signal.SIGSTOP)
    asking = threading.Thread(target=ask)
    asking.start()
    until(lambda: not apart._idle)
    time.sleep(0.2)  # It is no matter if that is too short: nobody asks it twice.
    os.kill(worker, signal.SIGSEGV)
    os.kill(worker, signal.SIGCONT)
    asking.join(PATIENCE)
    assert raised[0].public == NO_IMAGE
    assert "-11" in (raised[0].cause or "")
    assert part_of(apart, small).size == (30, 20)
    assert workers() != [worker]


def test_who_kills_it_says_nothing_of_the_image(apart: Apart, large: Path) -> None:
    """As the kernel does where there is no memory left."""
    part_of(apart, large)
    (worker,) = workers()
    raised: list[Busy] = []

    def ask() -> None:
        with pytest.raises(Busy) as found:
            part_of(apart, large)
        raised.append(found.value)

    os.kill(worker, signal.SIGSTOP)
    asking = threading.Thread(target=ask)
    asking.start()
    until(lambda: not apart._idle)
    time.sleep(0.2)  # As above: it is no matter.
    os.kill(worker, signal.SIGKILL)
    asking.join(PATIENCE)
    assert raised[0].headers["Retry-After"]
    assert part_of(apart, large).size == (1500, 20)


def test_one_that_ended_while_nobody_asked_is_replaced(apart: Apart, large: Path) -> None:
    part_of(apart, large)
    (worker,) = workers()
    os.kill(worker, signal.SIGKILL)
    until(lambda: ended(worker))
    assert part_of(apart, large).size == (1500, 20)


def test_what_takes_too_long_is_given_up(large: Path) -> None:
    apart = Apart(seconds=0.02)
    with pytest.raises(OriginFailed) as raised:
        part_of(apart, large)
    assert raised.value.public == TOO_LONG
    assert not workers()
    apart.close()


def test_a_jpeg_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    Image.effect_noise((2000, 2000), 90).save(path)
    info = probe(path)
    reader = Reader(path, info, reading=Reading(seconds=0.0))
    with pytest.raises(OriginFailed) as raised:
        reader.read(Box(0, 0, 2000, 2000), 2000, 2000)
    assert raised.value.public == TOO_LONG


def test_no_more_at_once_than_may_be(large: Path) -> None:
    apart = Apart(seconds=PATIENCE, most=1, patience=0.0)
    results: list[str] = []

    def ask() -> None:
        try:
            part_of(apart, large)
            results.append("made")
        except Busy:
            results.append("busy")

    asking = [threading.Thread(target=ask) for _ in range(4)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(PATIENCE)
    assert sorted(results) == ["busy", "busy", "busy", "made"]
    assert len(workers()) == 1
    apart.close()
    until(lambda: not workers())


def test_where_no_process_can_be_begun_it_is_done_here(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "python-of-another-kind"
    other.write_text("#!/bin/sh\nexit 3\n")
    other.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(other))
    apart = Apart()
    assert part_of(apart, large).size == (1500, 20)
    assert not workers()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_has_its_own(apart: Apart, large: Path) -> None:
    part_of(apart, large)
    (before,) = workers()
    child = os.fork()
    if not child:
        code = 1
        try:
            part_of(apart, large)
            code = 0 if before not in workers() and len(workers()) == 1 else 2
            apart.close()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    part_of(apart, large)
    assert workers() == [before]


SCRIPT = """
import sys, time
from iiif_proxy.imaging.apart import Apart
from iiif_proxy.imaging.reading import Reading
apart = Apart()
apart.run("header", sys.argv[1], Reading())
print(apart._idle[0]._process.pid, flush=True)
time.sleep(600)
"""


def test_it_ends_with_its_owner(large: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(large)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as owner:
        assert owner.stdout is not None
        worker = int(owner.stdout.readline())
        owner.kill()
    until(lambda: not _runs(worker))


def _runs(pid: int) -> bool:
    try:
        return "imaging.worker" in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False
