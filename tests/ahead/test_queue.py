"""Work before it is asked for: in which order, and when not."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy
import tifffile

from iiif_proxy.ahead import GUESSES, Ahead, Job
from tests.ahead.conftest import Make, photograph, serving, until
from tests.servers import ROOT, Origin


def noting(done: list[str], name: str, steps: int = 1) -> Job:
    def job() -> Iterator[None]:
        for step in range(steps):
            done.append(f"{name}{step}")
            yield

    return job


def test_jobs_in_turn_and_guesses_between_their_steps() -> None:
    done: list[str] = []
    ahead = Ahead(None, lambda: False)

    def long() -> Iterator[None]:
        done.append("long")
        for name in ("old", "new"):
            ahead.guess(noting(done, name))
        yield
        done.append("end")
        yield

    ahead.submit(long)
    ahead.submit(noting(done, "next"))
    until(ahead.idle)
    assert done == ["long", "new0", "end", "old0", "next0"]


def test_only_the_newest_guesses_count() -> None:
    done: list[str] = []
    busy = threading.Event()
    busy.set()
    ahead = Ahead(None, busy.is_set)
    for number in range(3 * GUESSES):
        ahead.guess(noting(done, f"{number}."))
    assert done == []
    busy.clear()
    until(ahead.idle)
    assert done == [f"{number}.0" for number in reversed(range(2 * GUESSES, 3 * GUESSES))]


def test_nothing_is_done_while_somebody_waits() -> None:
    done: list[str] = []
    busy, begun = threading.Event(), threading.Event()
    ahead = Ahead(None, busy.is_set)

    def job() -> Iterator[None]:
        busy.set()
        begun.set()
        yield
        done.append("more")

    ahead.submit(job)
    assert begun.wait(10)
    assert not ahead.idle()
    assert done == []
    busy.clear()
    until(ahead.idle)
    assert done == ["more"]


def test_a_job_that_fails_ends_alone() -> None:
    done: list[str] = []
    ahead = Ahead(None, lambda: False)

    def broken() -> Iterator[None]:
        yield
        raise OSError("the disk")

    ahead.submit(broken)
    ahead.submit(noting(done, "next"))
    until(ahead.idle)
    assert done == ["next0"]


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """Another one's work waits; it goes on when that process is gone."""
    program = (
        "import sys, pathlib\n"
        "from iiif_proxy.ahead import Ahead\n"
        "def job():\n"
        "    print('begun', flush=True)\n"
        "    sys.stdin.read()\n"
        "    yield\n"
        f"Ahead(pathlib.Path({str(tmp_path)!r}), lambda: False).submit(job)\n"
        "import threading; threading.Event().wait()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == b"begun\n"
        done: list[str] = []
        ahead = Ahead(tmp_path, lambda: False)
        ahead.submit(noting(done, "mine"))
        until(lambda: ahead._working)
        assert done == []
    finally:
        other.kill()
        other.communicate()
    until(ahead.idle)
    assert done == ["mine0"]


def test_the_next_tiles_of_a_tiff_are_found_ready(
    origin: Origin, make: Make, tmp_path: Path
) -> None:
    """Around the tile that was asked, and below it: by parts, never the whole file."""
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        for factor in (1, 2, 4):
            image = photograph((4096 // factor, 3072 // factor), seed=factor)
            file.write(
                numpy.asarray(image),
                tile=(512, 512),
                photometric="rgb",
                subfiletype=int(factor > 1),
            )
    origin.routes["/a.tif"] = serving(path.read_bytes(), Accept_Ranges="bytes")
    site = make()
    assert not site.hit("a.tif/1024,1024,1024,1024/512,512/0/default.jpg")
    until(site.app.service._preparing._ahead.idle)
    for x, y in ((0, 1024), (2048, 1024), (1024, 0), (1024, 2048), (0, 0), (2048, 2048)):
        assert site.hit(f"a.tif/{x},{y},1024,1024/512,512/0/default.jpg")
    for x, y in ((1024, 1024), (1536, 1536)):
        assert site.hit(f"a.tif/{x},{y},512,512/512,512/0/default.jpg")
    whole = [request for request in origin.requests if not request.all("Range")]
    assert len(whole) == 1, "the first, for its header"
    off = make(predict="off")
    assert not off.hit("a.tif/1024,1024,1024,1024/512,512/0/default.jpg")
    assert off.app.service._preparing._ahead.idle()
