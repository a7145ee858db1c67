"""Visitors who take their time, before `iiif-proxy serve` with few threads."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import Client, ask, get, reply
from tests.faults.table import GOOD, TYPE
from tests.servers import ROOT, Origin

HEALTH = get("/iiif/-/health")
KEPT = b"GET /iiif/-/health HTTP/1.1\r\nHost: visited.example\r\n\r\n"
THREADS = 2


@pytest.fixture(scope="module")
def port(bad_origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    settings = {
        "IIIF_PROXY_ORIGIN": bad_origin.url,
        "IIIF_PROXY_CACHE_DIR": str(tmp_path_factory.mktemp("cache")),
        "IIIF_PROXY_WORKERS": "1",
        "IIIF_PROXY_THREADS": str(THREADS),
        "IIIF_PROXY_LOG_LEVEL": "error",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "iiif_proxy.cli", "serve", "--bind", f"127.0.0.1:{port}"],
        cwd=ROOT,
        env=os.environ | settings,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError):
                if ask(port, HEALTH).status == 200:
                    break
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_unfinished_heads_hold_no_thread(port: int) -> None:
    with contextlib.ExitStack() as stack:
        slow = []
        for _ in range(THREADS * 10):
            visitor = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            visitor.sendall(b"GET /iiif/-/health HTTP/1.1\r\nHost: a\r\nX-Slow: ")
            slow.append(visitor)
        for _ in range(5):
            for visitor in slow:
                visitor.sendall(b"y")
            assert ask(port, HEALTH, timeout=8).status == 200


def test_a_head_that_comes_slowly_is_answered(port: int) -> None:
    with Client(port, 30) as client:
        for number in range(0, len(HEALTH), 30):
            client.send(HEALTH[number : number + 30])
            time.sleep(0.02)
        assert client.answer("GET").status == 200


def test_one_after_another_on_one_connection(port: int) -> None:
    with Client(port, 30) as client:
        for _ in range(3):
            client.send(KEPT[:20])
            time.sleep(0.02)
            client.send(KEPT[20:])
            assert client.answer("GET").status == 200
        client.send(KEPT + KEPT)
        assert [client.answer("GET").status for _ in range(2)] == [200, 200]


def test_who_says_nothing_or_goes_away(port: int) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(THREADS * 4):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        for part in (b"", b"GET /iiif", b"\0\xff", KEPT[:-1]):
            with socket.create_connection(("127.0.0.1", port)) as gone:
                gone.sendall(part)
        assert ask(port, HEALTH, timeout=8).status == 200


def test_who_breaks_off_while_an_image_is_made(bad_origin: Origin, port: int) -> None:
    """It is made all the same, and there for the next."""
    bad_origin.routes["/gone.png"] = reply(fields=[TYPE, ("ETag", '"1"')], body=GOOD)
    target = get("/iiif/3/gone.png/full/max/90/default.png")
    for _ in range(THREADS * 2):
        with socket.create_connection(("127.0.0.1", port)) as gone:
            gone.sendall(target)
    answer = ask(port, target, timeout=30)
    assert answer.status == 200
    assert answer.whole
    assert (answer.get("Cache-Status") or "").startswith("iiif-proxy;")


def test_nothing_is_left_open(port: int) -> None:
    """Of those who went."""
    pids = [
        int(path.name)
        for path in Path("/proc").iterdir()
        if path.name.isdigit() and f"127.0.0.1:{port}".encode() in _command(path)
    ]
    assert pids
    deadline = time.monotonic() + 30
    while any(len(os.listdir(f"/proc/{pid}/fd")) > 60 for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _command(path: Path) -> bytes:
    with contextlib.suppress(OSError):
        return (path / "cmdline").read_bytes()
    return b""
