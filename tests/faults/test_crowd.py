"""A hundred who want the same at once, before two processes; and the maker dies."""

import collections
import contextlib
import io
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.clients import Answer, reply
from tests.faults.pictures import asked, drawn, right, serve
from tests.servers import Exchange, Origin, Served, gunicorn

CROWD = 100
NO_ANSWER = Answer(0, "", [], b"", whole=False)


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with Origin() as origin:
        yield origin


@pytest.fixture(autouse=True)
def fresh(origin: Origin) -> None:
    origin.clear()
    origin.default = serve


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("crowd")


@pytest.fixture(scope="module")
def served(origin: Origin, cache: Path) -> Iterator[Served]:
    settings = {
        "IIIF_PROXY_ORIGIN": origin.url,
        "IIIF_PROXY_CACHE_DIR": str(cache),
        "IIIF_PROXY_WRITE_AHEAD": "off",
        "IIIF_PROXY_PREDICT": "off",
    }
    with gunicorn("iiif_proxy.wsgi", settings, workers=2, threads=CROWD // 4) as served:
        yield served


class Crowd:
    """Many who ask the same at once, in threads."""

    def __init__(self, count: int, ask: Callable[[], Answer]) -> None:
        self.answers: list[Answer] = []
        self._ask = ask
        self._threads = [threading.Thread(target=self._go) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _go(self) -> None:
        answer = NO_ANSWER
        with contextlib.suppress(OSError):
            answer = self._ask()
        self.answers.append(answer)

    def all(self) -> list[Answer]:
        for thread in self._threads:
            thread.join()
        return self.answers


def of(answers: list[Answer]) -> collections.Counter[str]:
    """What Cache-Status says, or that there was no whole answer."""
    return collections.Counter(
        (answer.get("Cache-Status") or "") if answer.whole else "cut" for answer in answers
    )


def holder(inode: int) -> int | None:
    """The process that has a file locked."""
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()
        if words[1] == "FLOCK" and words[5].endswith(f":{inode}"):
            return int(words[4])
    return None


def test_one_fetch_and_one_transform(origin: Origin, served: Served) -> None:
    answers = Crowd(CROWD, lambda: asked(served, "crowd.png", "full/240,/0/default.png")).all()
    assert all(right(answer, "crowd.png", (240, 180)) for answer in answers)
    assert len({answer.body for answer in answers}) == 1
    assert len([request for request in origin.requests if request.method == "GET"]) == 1
    made = [answer for answer in answers if "fwd=miss" in (answer.get("Cache-Status") or "")]
    assert len(made) == 1, of(answers)


def test_the_maker_dies_in_mid_fetch(origin: Origin, served: Served) -> None:
    """Who waits in the other process takes over; its own visitors are cut off, and no more."""
    body = drawn("dying.png")
    half, held = threading.Event(), threading.Event()
    ports: list[int] = []

    def slowly(exchange: Exchange) -> None:
        ports.append(exchange.peer)
        head = reply(fields=[("Content-Type", "image/png"), ("ETag", '"1"')], body=body)
        exchange.write(head[: len(head) // 2])
        if len(ports) == 1:
            half.set()
            held.wait(60)
        exchange.write(head[len(head) // 2 :])

    origin.routes["/dying.png"] = slowly
    crowd = Crowd(20, lambda: asked(served, "dying.png"))
    assert half.wait(60)
    maker = owner(ports[0], served.workers())
    os.kill(maker, signal.SIGSTOP)
    # These can only come to the other one.
    others = Crowd(20, lambda: asked(served, "dying.png"))
    waiting(served, maker)
    os.kill(maker, signal.SIGKILL)
    answers = crowd.all() + others.all()
    held.set()
    whole = [answer for answer in answers if answer.whole]
    assert whole
    assert all(right(answer, "dying.png") for answer in whole)
    assert len(ports) == 2
    assert right(asked(served, "dying.png"), "dying.png")


def owner(port: int, pids: list[int]) -> int:
    """Which of these processes has a connection from this port."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = {row[9] for row in rows if int(row[1].partition(":")[2], 16) == port}
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if os.readlink(link)[8:-1] in inodes:
                    return pid
    raise AssertionError("nobody has it")


def waiting(served: Served, maker: int) -> None:
    """Until the other process has visitors too: their connections are its."""
    (other,) = [pid for pid in served.workers() if pid != maker]
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        links = []
        for link in Path(f"/proc/{other}/fd").iterdir():
            with contextlib.suppress(OSError):
                links.append(os.readlink(link))
        if sum(link.startswith("socket:") for link in links) > 6:
            return
        time.sleep(0.01)
    raise AssertionError("it has none")


def test_the_maker_dies_in_mid_transform(origin: Origin, cache: Path, served: Served) -> None:
    noise = random.Random(1).randbytes(500 * 375 * 3)
    image, buffer = Image.frombytes("RGB", (500, 375), noise).resize((2000, 1500)), io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    origin.routes["/large.png"] = reply(
        fields=[("Content-Type", "image/png"), ("ETag", '"1"')], body=buffer.getvalue()
    )
    # Known: the only lock from now on is the derivative's.
    assert asked(served, "large.png", "info.json").status == 200
    assert asked(served, "large.png", "full/40,/0/default.jpg").status == 200
    for width in range(1900, 2000):
        rest = f"full/{width},/90/default.png"
        crowd = Crowd(16, lambda rest=rest: asked(served, "large.png", rest))  # type: ignore[misc]  # bound now
        maker = stopped(cache / "locks", served.workers())
        if maker is not None:
            break
        crowd.all()  # It was faster than we are.
    others = Crowd(16, lambda: asked(served, "large.png", rest))
    waiting(served, maker or 0)
    os.kill(maker or 0, signal.SIGKILL)
    whole = [answer for answer in crowd.all() + others.all() if answer.whole]
    assert whole
    assert {answer.status for answer in whole} == {200}
    assert len({answer.body for answer in whole}) == 1
    found = Image.open(io.BytesIO(whole[0].body))
    found.load()
    assert found.size == (round(width * 0.75), width)
    assert of(whole)["iiif-proxy; fwd=miss"] == 1, of(whole)


def stopped(locks: Path, workers: list[int]) -> int | None:
    """The process that holds a lock, stopped while it does."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for path in locks.iterdir():
            with contextlib.suppress(OSError):
                inode = path.stat().st_ino
                maker = holder(inode)
                if maker in workers:
                    os.kill(maker, signal.SIGSTOP)
                    if holder(inode) == maker:
                        return maker
                    os.kill(maker, signal.SIGCONT)
                    return None
    raise AssertionError("nobody makes it")
