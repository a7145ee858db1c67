"""`iiif-proxy serve`: processes that share what they can, and end when they are told to."""

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

from tests.clients import ask, get
from tests.servers import ROOT

PATIENCE = 60.0


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
