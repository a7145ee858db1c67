"""What is measured, as processes of their own: an origin, and the sidecar under gunicorn."""

import argparse
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from bench.client import Client, Failed

TICK = os.sysconf("SC_CLK_TCK")
CONSTANT = "/-constant/"
COUNT = "/-count"
RANGE = re.compile(rb"\r\nrange: *bytes=(\d+)-(\d*)", re.IGNORECASE)
START_PATIENCE = 30
Environ = dict[str, Any]


# The origin: files by the last part of the path, whatever stands before it (so that one file is
# as many sources as are wanted), with validators and single ranges; and a count of all that.


class Origin:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._requests = self._bytes = 0

    def serve(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        print(listener.getsockname()[1], flush=True)
        while True:
            sock = listener.accept()[0]
            threading.Thread(target=self._connection, args=(sock,), daemon=True).start()

    def _connection(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        received = b""
        with contextlib.suppress(ConnectionError), sock:
            while more := sock.recv(65536):
                received += more
                while b"\r\n\r\n" in received:
                    head, _, received = received.partition(b"\r\n\r\n")
                    self._answer(sock, head)

    def _answer(self, sock: socket.socket, head: bytes) -> None:
        path = head.split(b" ", 2)[1].decode()
        if path == COUNT:
            body = json.dumps({"requests": self._requests, "bytes": self._bytes}).encode()
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            return
        try:
            file = open(self._folder / path.rpartition("/")[2], "rb")  # noqa: SIM115
        except OSError:
            sock.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return
        with file:
            size = os.fstat(file.fileno()).st_size
            start, stop, status = 0, size, "200 OK"
            found = RANGE.search(head)
            if found and int(found[1]) < size:
                start = int(found[1])
                stop = min(size, int(found[2] or size) + 1)
                status = f"206 Partial Content\r\nContent-Range: bytes {start}-{stop - 1}/{size}"
            with self._lock:
                self._requests += 1
            sock.sendall(
                f"HTTP/1.1 {status}\r\nContent-Type: image/jpeg\r\nContent-Length: {stop - start}"
                f'\r\nETag: "{size}"\r\nLast-Modified: Sat, 01 Nov 2025 00:00:00 GMT\r\n'
                "Accept-Ranges: bytes\r\nCache-Control: max-age=86400\r\n\r\n".encode()
            )
            while start < stop:
                sent = os.sendfile(sock.fileno(), file.fileno(), start, min(stop - start, 1 << 20))
                start += sent
                with self._lock:
                    self._bytes += sent


class RunningOrigin:
    """An origin of this machine: its port, and how much it was asked."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._client = Client(port)

    def count(self) -> tuple[int, int]:
        """Requests and bytes so far."""
        said = json.loads(self._client.get(COUNT).body)
        return said["requests"], said["bytes"]


@contextlib.contextmanager
def origin(folder: Path) -> Iterator[RunningOrigin]:
    command = [sys.executable, "-m", "bench.server", "origin", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield RunningOrigin(int(process.stdout.readline()))
        finally:
            process.terminate()


# The sidecar: as `iiif-proxy serve` starts it, but with a constant body beside the proxy.


def constant_beside(proxy: Any) -> Callable[..., Any]:
    """What the same worker costs when there is nothing to do."""
    bodies: dict[str, bytes] = {}

    def app(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if not path.startswith(CONSTANT):
            found: Iterable[bytes] = proxy(environ, start_response)
            return found
        size = path[len(CONSTANT) :]
        if size not in bodies:
            bodies[size] = bytes(int(size))
        start_response("200 OK", [("Content-Type", "image/jpeg"), ("Content-Length", size)])
        return [bodies[size]]

    # Which requests are spared a thread is known to the application itself.
    app.has = proxy.has  # type: ignore[attr-defined]
    return app


def serve_sidecar(bind: str) -> None:
    """As `iiif-proxy serve` does it, its counters and log included."""
    from iiif_proxy.commands.serve import counting_together
    from iiif_proxy.settings import load

    settings = load(os.environ)
    with counting_together():
        from iiif_proxy.commands.server import Server
        from iiif_proxy.proxy import IIIFProxy
        from iiif_proxy.telling import to_stderr

        class Beside(Server):
            def load(self) -> Any:
                return constant_beside(IIIFProxy())

        to_stderr(settings.log_level, settings.log_format)
        Beside(bind, settings).run()


class Sidecar:
    """A running sidecar."""

    def __init__(self, port: int, pid: int, cache: Path) -> None:
        self.port, self.pid, self.cache = port, pid, cache

    def workers(self) -> list[int]:
        return children(self.pid)

    def everybody(self) -> list[int]:
        """The workers, and the processes that decode for them."""
        workers = self.workers()
        return [*workers, *(child for worker in workers for child in children(worker))]

    def cpu(self) -> float:
        """Processor seconds of the workers (in ticks of 10 ms)."""
        spent = 0
        for pid in self.workers():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            spent += int(fields[11]) + int(fields[12])
        return spent / TICK

    def proportional(self) -> int:
        """Bytes of memory of all processes; what several share counts once."""
        return sum(_status(f"/proc/{pid}/smaps_rollup", "Pss:") for pid in self.everybody())

    def forget_peak(self) -> None:
        for pid in self.workers():
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def peak(self) -> int:
        """The most bytes that a worker had in memory since `forget_peak`."""
        return max(_status(f"/proc/{pid}/status", "VmHWM:") for pid in self.workers())


def children(pid: int) -> list[int]:
    """Of all its threads: whichever began them."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, task.read_text().split())
    return found


def _status(path: str, name: str) -> int:
    with contextlib.suppress(OSError):
        for line in Path(path).read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    return 0


@contextlib.contextmanager
def sidecar(origin_port: int, cache: Path | None = None, **settings: object) -> Iterator[Sidecar]:
    """One with an empty cache, or that one; keywords are settings. Ends with the block."""
    own = cache is None
    folder = cache or Path(tempfile.mkdtemp(prefix="iiif-proxy-bench-"))
    environ = {name: value for name, value in os.environ.items() if "IIIF_PROXY" not in name}
    environ |= {
        "IIIF_PROXY_ORIGIN": f"http://127.0.0.1:{origin_port}",
        "IIIF_PROXY_SOURCE": f"http://127.0.0.1:{origin_port}/{{id}}",
        "IIIF_PROXY_CACHE_DIR": str(folder),
        "IIIF_PROXY_LOG_LEVEL": "error",
    }
    environ |= {f"IIIF_PROXY_{name.upper()}": str(value) for name, value in settings.items()}
    try:
        with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
            port = listener.getsockname()[1]
            bind = f"fd://{listener.fileno()}"
            process = subprocess.Popen(
                [sys.executable, "-m", "bench.server", "sidecar", bind],
                pass_fds=[listener.fileno()],
                env=environ,
            )
        try:
            _answers(port, process)
            yield Sidecar(port, process.pid, folder)
        finally:
            process.terminate()
            process.wait(60)
    finally:
        if own:
            shutil.rmtree(folder, ignore_errors=True)


def _answers(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_PATIENCE
    with Client(port) as client:
        while True:
            with contextlib.suppress(OSError, Failed):
                client.get(CONSTANT + "1")
                return
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("the sidecar did not start")
            time.sleep(0.02)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["origin", "sidecar"])
    parser.add_argument("where")
    chosen = parser.parse_args()
    if chosen.what == "origin":
        Origin(Path(chosen.where)).serve()
    else:
        serve_sidecar(chosen.where)


if __name__ == "__main__":
    main()
