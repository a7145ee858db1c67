"""A cache before a real origin, pictures for it to give, and another process beside it."""

import contextlib
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image

from iiif_proxy.sources.base import Source
from iiif_proxy.sources.cache import SourceCache
from iiif_proxy.sources.http import HttpSource
from tests.servers import ROOT, Exchange, Origin, reply
from tests.sources.worker import HURRIED, LIMITS, cache_over

OLD = "Tue, 14 Nov 2023 22:13:20 GMT"
Make = Callable[..., SourceCache]


def picture(size: tuple[int, int] = (80, 60), color: str = "red", noise: bool = False) -> bytes:
    image = Image.new("RGB", size, color)
    if noise:
        rng = numpy.random.default_rng(1)
        image = Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), numpy.uint8))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


RED, BLUE = picture(), picture(color="blue")
LARGE = picture((1200, 900), noise=True)


def answer(body: bytes, status: str = "200 OK", **fields: str) -> bytes:
    named = [(name.replace("_", "-"), value) for name, value in fields.items()]
    return reply(status, fields=[("Content-Type", "image/jpeg"), *named], body=body)


class Slowly:
    """Half of an answer; the rest when it is let go, or a broken connection."""

    def __init__(self, body: bytes, breaks: bool = False, **fields: str) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()
        self._body, self._breaks, self._fields = body, breaks, fields

    def __call__(self, exchange: Exchange) -> None:
        whole = answer(self._body, **self._fields)
        half = len(whole) // 2
        exchange.write(whole[:half])
        self.begun.set()
        self.go.wait(30)
        if self._breaks:
            exchange.reset()
        else:
            exchange.write(whole[half:])


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin() as made:
        made.default = answer(b"", "404 Not Found")
        yield made


@pytest.fixture
def make(origin: Origin, tmp_path: Path) -> Make:
    """A cache over the folder, as every process has its own."""

    def made(*sources: Source, folder: Path | None = tmp_path, **options: Any) -> SourceCache:
        given = sources or (HttpSource(f"{origin.url}/{{id}}", **LIMITS),)
        return cache_over(folder or tmp_path, *given, folder=folder, **options)

    return made


def hurried(origin: Origin) -> HttpSource:
    """For a test that is about an answer that does not come."""
    return HttpSource(f"{origin.url}/{{id}}", **HURRIED)


def content(cache: SourceCache, identifier: str) -> bytes:
    held = cache.content(cache.open(identifier, {}, whole=True), {})
    return b"".join(iter_read(held))


def iter_read(held: Any) -> Iterator[bytes]:
    offset = 0
    while block := held.read(offset, 1 << 16):
        offset += len(block)
        yield block


def left(folder: Path) -> list[str]:
    """What should not be there when nothing is under way."""
    incoming = folder / "incoming"
    return [path.name for path in incoming.iterdir()] if incoming.exists() else []


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def together(
    work: Callable[[], Any], count: int, begun: threading.Event | None = None
) -> list[Any]:
    """What so many threads get that do it at once; exceptions too. `begun` is set when all have
    begun."""
    got: list[Any] = []
    all_of_them = threading.Barrier(count, begun and begun.set)

    def one() -> None:
        all_of_them.wait()
        try:
            got.append(work())
        except Exception as error:
            got.append(error)

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return got


class Other:
    """Another process: `open` and `content` as a request there would."""

    def __init__(self, folder: Path, url: str, total: float) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed by close()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.sources.worker", str(folder), url, str(total)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def begin(self, what: str, identifier: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{what} {identifier}\n")
        self.process.stdin.flush()

    def said(self) -> dict[str, str]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self._errors.seek(0)
        return dict(json.loads(line or json.dumps({"died": self._errors.read().decode()})))

    def do(self, what: str, identifier: str) -> dict[str, str]:
        self.begin(what, identifier)
        return self.said()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        self._errors.close()


@pytest.fixture
def other(origin: Origin, tmp_path: Path) -> Iterator[Callable[..., Other]]:
    with contextlib.ExitStack() as stack:

        def made(total: float = 10.0) -> Other:
            return stack.enter_context(contextlib.closing(Other(tmp_path, origin.url, total)))

        yield made


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
