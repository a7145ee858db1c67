"""`iiif-proxy serve` ends when it is told to, however often that is said."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.clients import ask, get
from tests.servers import ROOT

PATIENCE = 60.0


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_worker_that_is_interrupted_again_and_again_ends(tmp_path: Path) -> None:
    """Ctrl-C comes twice: from the terminal, and from the arbiter who got it too."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    environ = {
        "IIIF_PROXY_SOURCE": f"file:{tmp_path}/{{id}}",
        "IIIF_PROXY_CACHE_DIR": str(tmp_path / "cache"),
        "IIIF_PROXY_WORKERS": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "iiif_proxy.cli", "serve", "--bind", f"127.0.0.1:{port}"],
        cwd=ROOT, env=os.environ | environ, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        for _ in range(8):
            (worker,) = awaited(process.pid, port)
            for _ in range(3000):
                try:
                    os.kill(worker, signal.SIGINT)
                except ProcessLookupError:
                    break
            end = time.monotonic() + PATIENCE
            while worker in children(process.pid):
                assert time.monotonic() < end, "it did not end"
                time.sleep(0.02)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


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
