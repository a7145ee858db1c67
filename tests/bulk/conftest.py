"""A real Redis, real Celery workers as processes, an origin that can be made to wait."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.http import collection
from tests.redisserver import RedisServer
from tests.servers import ROOT, Exchange, Origin, Request

HELD = "held-"


@pytest.fixture
def redis(need: Callable[[str], str]) -> Iterator[RedisServer]:
    with RedisServer(need("redis-server")) as redis:
        yield redis


class Bulk:
    """One machine with workers, before an origin and a broker.

    What the origin is asked for with HELD before its name comes when `go` is set.
    """

    def __init__(self, origin: Origin, redis: RedisServer, folder: Path) -> None:
        self.origin, self.redis, self.folder = origin, redis, folder
        self.go = threading.Event()
        origin.default = self._serve
        self.cache = folder / "cache"
        self._logs = 0
        self._all: list[subprocess.Popen[bytes]] = []

    def _serve(self, exchange: Exchange) -> None:
        if HELD in exchange.request.target:
            self.go.wait(60)
            exchange.request.target = exchange.request.target.replace(HELD, "")
            collection.serve(exchange)
            exchange.request.target = f"/{HELD}"
            return
        collection.serve(exchange)

    def environ(self, **more: str) -> dict[str, str]:
        return os.environ | {
            "IIIF_PROXY_ORIGIN": self.origin.url,
            "IIIF_PROXY_CACHE_DIR": str(self.cache),
            "IIIF_PROXY_BROKER": self.redis.url,
            **more,
        }

    def _start(self, *command: str, **more: str) -> "subprocess.Popen[bytes]":
        self._logs += 1
        with (self.folder / f"log-{self._logs}").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=ROOT,
                env=self.environ(**more),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._all.append(process)
        return process

    def worker(self, **more: str) -> "subprocess.Popen[bytes]":
        """As the documents start it, with one process for the work."""
        return self._start(
            "celery", "-A", "iiif_proxy.bulk", "worker", "--concurrency", "1",
            "--loglevel", "info", **more,
        )  # fmt: skip

    def warm(self, *arguments: str, engine: str = "celery") -> "subprocess.Popen[bytes]":
        return self._start("iiif_proxy.cli", "warm", "--engine", engine, *arguments)

    def said(self) -> str:
        logs = sorted(self.folder.glob("log-*"), key=lambda log: int(log.name[4:]))
        return "\n".join(f"{log.name}\n{log.read_text(errors='replace')}" for log in logs)

    def ended(self, process: "subprocess.Popen[bytes]") -> int:
        """The exit code, when it has one."""
        try:
            return process.wait(100)
        except subprocess.TimeoutExpired:
            raise AssertionError(self.said()) from None

    def until(self, so: Callable[[], object]) -> None:
        deadline = time.monotonic() + 60
        while not so():
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.02)

    def images(self) -> dict[str, bytes]:
        """All derivatives, by their names in the cache."""
        folder = self.cache / "derivatives"
        return {
            str(file.relative_to(folder)): file.read_bytes()
            for file in folder.rglob("*")
            if file.is_file() and file.suffix in {".jpg", ".png", ".webp"}
        }

    def asked(self) -> list[Request]:
        return [one for one in self.origin.requests if HELD in one.target]

    def kill(self, process: "subprocess.Popen[bytes]") -> None:
        """As kill -9 of it and all its children does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def end(self) -> None:
        self.go.set()
        for process in self._all:
            self.kill(process)


@pytest.fixture
def bulk(redis: RedisServer, tmp_path: Path) -> Iterator[Bulk]:
    with Origin() as origin:
        bulk = Bulk(origin, redis, tmp_path)
        try:
            yield bulk
        finally:
            bulk.end()
