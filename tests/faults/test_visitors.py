"""Visitors who take their time, before `iiif-proxy serve` with few threads."""

import contextlib
import io
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.clients import Client, ask, get, reply
from tests.faults.table import GOOD, TYPE
from tests.servers import ROOT, Exchange, Origin, Served

HEALTH = get("/iiif/-/health")
KEPT = b"GET /iiif/-/health HTTP/1.1\r\nHost: visited.example\r\n\r\n"
THREADS = 2


@pytest.fixture(scope="module")
def visited(bad_origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
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
        yield Served(port, process, ROOT / "README.md")
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def port(visited: Served) -> int:
    return visited.port


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


LONG = b"".join(b"X-Long-%d: %s\r\n" % (n, b"x" * 4000) for n in range(20))


def test_heads_without_end_hold_no_thread(port: int) -> None:
    """Longer than what is waited for, and those that the loop, or health's thread, would read."""
    for line in (b"GET /iiif/-/health", b"GET /iiif/3/a.png/info.json", b"POST /x"):
        with contextlib.ExitStack() as stack:
            visitors = [
                stack.enter_context(socket.create_connection(("127.0.0.1", port), 30))
                for _ in range(THREADS + 2)
            ]
            for visitor in visitors:
                visitor.sendall(line + b" HTTP/1.1\r\nHost: visited.example\r\n" + LONG)
            assert ask(port, HEALTH, timeout=20).status == 200
            assert ask(port, get("/iiif/3/nothing/info.json"), timeout=20).status == 404
            for visitor in visitors:
                assert visitor.recv(1000).startswith(b"HTTP/1.1 431 ")


def test_a_long_head_that_ends_is_answered(port: int) -> None:
    head = b"GET /iiif/-/health HTTP/1.1\r\nHost: visited.example\r\nConnection: close\r\n"
    assert ask(port, head + LONG[:48000].rpartition(b"\r\n")[0] + b"\r\n\r\n").status == 200


@pytest.mark.parametrize(
    "line",
    [
        b"GET /" + b"a" * 100_000,
        b"GET /?" + b"a" * 60_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: a" + b" " * 8000 + b"b\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: a" + b" \t" * 25_000 + b"b\r\n\r\n",
    ],
)
def test_long_lines_cost_the_loop_no_time(port: int, line: bytes) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(10):
            visitor = stack.enter_context(socket.create_connection(("127.0.0.1", port), 30))
            visitor.sendall(line)
        assert ask(port, HEALTH, timeout=10).status == 200


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


LARGE = "/iiif/3/noise.png/full/max/0/default.png"


@pytest.fixture
def large(bad_origin: Origin, port: int) -> bytes:
    """What LARGE answers: more than any system's buffers between two processes take."""
    image = Image.frombytes("RGB", (1500, 1000), random.Random(2).randbytes(1500 * 1000 * 3))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    bad_origin.routes["/noise.png"] = reply(fields=[TYPE, ("ETag", '"1"')], body=buffer.getvalue())
    answer = ask(port, get(LARGE), timeout=60)
    assert answer.status == 200
    assert answer.whole
    return answer.body


def reader(stack: contextlib.ExitStack, port: int) -> Client:
    """Who asks for LARGE, to be asked again on the same connection, and reads the head only."""
    client = stack.enter_context(Client(port, 60, buffer=4096))
    client.send(f"GET {LARGE} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    return client


def descriptors(visited: Served) -> int:
    (worker,) = visited.workers()
    return len(os.listdir(f"/proc/{worker}/fd"))


def test_who_reads_slowly_holds_no_thread(visited: Served, port: int, large: bytes) -> None:
    with contextlib.ExitStack() as stack:
        before = descriptors(visited)
        slow = [reader(stack, port) for _ in range(THREADS * 4)]
        heads = [client.head() for client in slow]
        assert {head.status for head in heads} == {200}
        for _ in range(5):
            for client in slow:
                assert client.stream.some()
            assert ask(port, HEALTH, timeout=30).status == 200
        # Half of them go away, the others read on: all of it comes, and their next request too.
        for client in slow[::2]:
            client.reset()
        assert ask(port, HEALTH, timeout=30).status == 200
        with Client(port, 60, buffer=1 << 16) as client:
            client.send(f"GET {LARGE} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            client.send(KEPT)
            time.sleep(0.5)
            answer = client.answer("GET")
            assert (answer.status, answer.body == large) == (200, True)
            assert client.answer("GET").status == 200
    deadline = time.monotonic() + 60
    while descriptors(visited) > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert descriptors(visited) <= before


STORED = "/iiif/3/stored.png/full/max/90/default.png"


@pytest.fixture
def stored(bad_origin: Origin, port: int) -> bytes:
    """What STORED answers, who has been answered so before: in one piece, of 700 KB."""
    image = Image.frombytes("RGB", (600, 400), random.Random(3).randbytes(600 * 400 * 3))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    bad_origin.routes["/stored.png"] = reply(fields=[TYPE, ("ETag", '"1"')], body=buffer.getvalue())
    answers = [ask(port, get(STORED), timeout=60) for _ in range(2)]
    assert answers[1].get("Cache-Status") == "iiif-proxy; hit"
    return answers[1].body


def test_what_is_stored_needs_no_thread(bad_origin: Origin, port: int, stored: bytes) -> None:
    """All of them wait for an origin that says nothing."""
    over, asked = threading.Event(), threading.Semaphore(0)

    def silent(exchange: Exchange) -> None:
        asked.release()
        over.wait(60)
        exchange.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    with contextlib.ExitStack() as stack:
        stack.callback(over.set)
        for number in range(THREADS):
            bad_origin.routes[f"/busy{number}.html"] = silent  # type: ignore[assignment]
            client = stack.enter_context(Client(port, 60))
            client.send(get(f"/busy{number}.html"))
            assert asked.acquire(timeout=30)
        for _ in range(3):
            time.sleep(0.1)  # After a while it is shown to static servers, which is work too.
            browser = get(STORED, "Upgrade-Insecure-Requests: 1")
            answer = ask(port, browser, timeout=20)
            assert answer.get("Cache-Status") == "iiif-proxy; hit"
            assert answer.body == stored


def test_who_asks_on_and_reads_nothing_holds_up_nobody(port: int, stored: bytes) -> None:
    wanted = f"GET {STORED} HTTP/1.1\r\nHost: visited.example\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        deaf = [stack.enter_context(Client(port, 60, buffer=4096)) for _ in range(THREADS * 3)]
        for _ in range(4):
            for client in deaf:
                client.send(wanted)
            answer = ask(port, get(STORED), timeout=30)
            assert (answer.status, answer.body == stored) == (200, True)
        # Whoever reads at last finds all of it.
        for _ in range(4):
            assert deaf[0].answer("GET").body == stored


def test_who_does_not_close_keeps_nobody_waiting(port: int) -> None:
    with contextlib.ExitStack() as stack:
        begun = time.monotonic()
        for _ in range(40):
            open_one = stack.enter_context(Client(port, 60))
            open_one.send(HEALTH)
            assert open_one.answer("GET").status == 200
        for _ in range(20):
            assert ask(port, HEALTH, timeout=120).status == 200
        # gunicorn's own loop waits 2 s for each of them: 80 s in all.
        assert time.monotonic() - begun < 40
