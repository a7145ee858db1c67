"""`iiif-proxy serve`: processes that share visitors and memory, and end when they are told to."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from iiif_proxy.commands.seats import NO_SEAT, Seats
from tests.clients import ask, get
from tests.servers import ROOT

PATIENCE = 60.0
HEALTH = b"GET /iiif/-/health HTTP/1.1\r\nHost: a\r\n\r\n"


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextlib.contextmanager
def serving(folder: Path, workers: int) -> Iterator[tuple[int, int]]:
    """The arbiter's number, and the port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    environ = {
        "IIIF_PROXY_SOURCE": f"file:{folder}/{{id}}",
        "IIIF_PROXY_CACHE_DIR": str(folder / "cache"),
        "IIIF_PROXY_WORKERS": str(workers),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "iiif_proxy.cli", "serve", "--bind", f"127.0.0.1:{port}"],
        cwd=ROOT, env=os.environ | environ, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        yield process.pid, port
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_worker_that_is_interrupted_again_and_again_ends(tmp_path: Path) -> None:
    """Ctrl-C comes twice: from the terminal, and from the arbiter who got it too."""
    with serving(tmp_path, 1) as (pid, port):
        for _ in range(8):
            (worker,) = awaited(pid, port)
            for _ in range(3000):
                try:
                    os.kill(worker, signal.SIGINT)
                except ProcessLookupError:
                    break
            end = time.monotonic() + PATIENCE
            while worker in children(pid):
                assert time.monotonic() < end, "it did not end"
                time.sleep(0.02)


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="Linux tells of memory")
def test_what_is_loaded_is_shared(tmp_path: Path) -> None:
    """Less than half of a worker's own memory is its alone (three quarters, where it looks for
    garbage in what the arbiter has loaded)."""
    with serving(tmp_path, 2) as (pid, port):
        for worker in awaited(pid, port):
            told = Path(f"/proc/{worker}/smaps_rollup").read_text()
            kb = {name: int(size) for name, size in re.findall(r"(\w+): +([0-9]+) kB", told)}
            assert kb["Private_Dirty"] < kb["Shared_Dirty"], kb


def awaited(pid: int, port: int) -> list[int]:
    """The workers, when they answer."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            if ask(port, get("/iiif/-/health")).status == 200:
                return children(pid)
        except OSError:
            time.sleep(0.05)
    raise AssertionError("nobody answers")


def test_visitors_are_spread(tmp_path: Path) -> None:
    """They come one by one, as a browser's do, and stay: the worker that was woken first had most
    or all."""
    with serving(tmp_path, 2) as (pid, port):
        awaited(pid, port)
        time.sleep(1)  # until each has a seat
        fewest = []
        for _ in range(5):
            before = {worker: sockets(worker) for worker in children(pid)}
            with contextlib.ExitStack() as stack:
                for _ in range(12):
                    visitor = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                    visitor.sendall(HEALTH)
                    assert visitor.recv(1000).startswith(b"HTTP/1.1 200 ")
                    time.sleep(0.02)
                fewest.append(min(sockets(worker) - had for worker, had in before.items()))
            time.sleep(0.2)
        assert sorted(fewest)[2] >= 4, f"of twelve visitors one worker has {fewest}"


def test_a_worker_that_hangs_keeps_no_visitor_waiting(tmp_path: Path) -> None:
    """It seems to have the fewest."""
    with serving(tmp_path, 2) as (pid, port):
        awaited(pid, port)
        while len(children(pid)) < 2:
            time.sleep(0.02)
        time.sleep(1)
        worker = children(pid)[0]
        os.kill(worker, signal.SIGSTOP)
        try:
            with contextlib.ExitStack() as stack:
                begun = time.monotonic()
                for _ in range(10):
                    visitor = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                    visitor.settimeout(20)
                    visitor.sendall(HEALTH)
                    assert visitor.recv(1000).startswith(b"HTTP/1.1 200 ")
                assert time.monotonic() - begun < 10
        finally:
            os.kill(worker, signal.SIGCONT)


def sockets(pid: int) -> int:
    count = 0
    for place in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            count += os.readlink(place).startswith("socket:")
    return count


def test_seats() -> None:
    seats = Seats()
    assert seats.free(set()) == 0
    assert seats.free({0, 2}) == 1
    assert seats.free(set(range(NO_SEAT))) == NO_SEAT
    assert not seats.fewer(1000), "nobody else is there"
    seats.tell(0, 3)
    seats.tell(1, 2)
    seats.tell(NO_SEAT, 0)
    assert seats.fewer(3)
    assert not seats.fewer(2)
    seats.leave(1)
    assert not seats.fewer(3)
