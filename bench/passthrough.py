"""Pass-through (PERFORMANCE.md, C6): Upstream against bare http.client in the same gunicorn worker.

    python -m bench.passthrough          ratios of Upstream to bare http.client, and to going direct
    python -m bench.passthrough --all    the urllib3 pool as well

A raw threaded origin, one gunicorn worker (gthread, 4 threads) per application, one client
connection, all on loopback; rounds alternate and medians are printed: trust the ratios. CPU is the
worker's (/proc, ticks of 10 ms). Three runs on 2 noisy cores, 2026-11-23, Python 3.11.7, gunicorn
27.0.1, urllib3 2.8.0; wall to the last byte as a ratio to bare http.client:

              Upstream                                     urllib3 pool
    1 KB      0.78, 0.80, 0.76                             1.30, 1.33, 1.14
    100 KB    0.78, 0.99, 0.86                             1.08, 1.63, 1.06
    1 MB      0.99, 1.14, 0.89                             1.01, 1.29, 1.11
    200 MB    1.00, 0.86, 0.93   0.42-0.56 CPU s/GB        1.15, 1.00, 1.15   0.60-0.72 CPU s/GB

Goals (PERFORMANCE.md): 1 KB <= 1.25 of bare; 200 MB <= 0.6 CPU s/GB.
"""

import argparse
import contextlib
import http.client
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

READ = 256 << 10
SIZES = {"/1k": 1 << 10, "/100k": 100 << 10, "/1m": 1 << 20, "/200m": 200 << 20}
DROPPED = {"connection", "transfer-encoding", "keep-alive", "date", "server"}
TICK = os.sysconf("SC_CLK_TCK")
Environ = dict[str, Any]
StartResponse = Callable[..., Any]


# The applications, as gunicorn loads them: bench.passthrough:bare and so on.


def upstream() -> Any:
    from iiif_proxy.upstream import Upstream

    return Upstream(os.environ["BENCH_ORIGIN"])


def sent_fields(environ: Environ) -> dict[str, str]:
    return {
        name[5:].replace("_", "-"): value
        for name, value in environ.items()
        if name.startswith("HTTP_") and name != "HTTP_CONNECTION"
    }


def kept_fields(fields: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in fields if name.lower() not in DROPPED]


def bare() -> Any:
    """http.client, one kept connection a thread, and nothing a proxy should do beside."""
    host = os.environ["BENCH_ORIGIN"].removeprefix("http://")
    local = threading.local()

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if not hasattr(local, "connection"):
            local.connection = http.client.HTTPConnection(host, timeout=60)
            local.connection.connect()
            local.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = local.connection
        connection.request(
            environ["REQUEST_METHOD"], environ["RAW_URI"], headers=sent_fields(environ)
        )
        answer = connection.getresponse()
        start_response(f"{answer.status} {answer.reason}", kept_fields(answer.getheaders()))
        return iter(lambda: answer.read(READ), b"")

    return app


def pooled() -> Any:
    """The urllib3 pool."""
    import urllib3

    pool = urllib3.connection_from_url(os.environ["BENCH_ORIGIN"], maxsize=8)

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        answer = pool.urlopen(
            environ["REQUEST_METHOD"],
            environ["RAW_URI"],
            headers=sent_fields(environ),
            preload_content=False,
            decode_content=False,
            redirect=False,
            retries=False,
        )
        start_response(f"{answer.status} {answer.reason}", kept_fields(answer.headers.items()))
        return answer.stream(READ, decode_content=False)

    return app


# The origin: canned answers, in a process of its own.


def serve_origin() -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    print(listener.getsockname()[1], flush=True)
    block = memoryview(bytes(1 << 20))

    def serve(sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        received = b""
        while more := sock.recv(65536):
            received += more
            while b"\r\n\r\n" in received:
                head, _, received = received.partition(b"\r\n\r\n")
                left = SIZES[head.split(b" ", 2)[1].decode()]
                fields = (
                    "HTTP/1.1 200 OK\r\nServer: bench\r\nDate: Mon, 23 Nov 2026 00:00:00 GMT\r\n"
                    f"Content-Type: application/octet-stream\r\nContent-Length: {left}\r\n"
                    'ETag: "x"\r\nCache-Control: max-age=60\r\n\r\n'
                ).encode()
                if left <= len(block):
                    sock.sendall(fields + block[:left])
                    continue
                sock.sendall(fields)
                while left:
                    sock.sendall(block[: min(left, len(block))])
                    left -= min(left, len(block))

    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()


# Measuring


class Server:
    """Where to ask, and whose CPU that costs."""

    def __init__(self, name: str, port: int, pid: int) -> None:
        self.name = name
        self._pid = pid
        self._sock = socket.create_connection(("127.0.0.1", port))
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray(1 << 20)

    def cpu(self) -> float:
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def get(self, path: str) -> float:
        """Seconds to the last byte."""
        begun = time.perf_counter()
        self._sock.sendall(
            f"GET {path} HTTP/1.1\r\nHost: a\r\nUser-Agent: bench\r\nAccept: */*\r\n"
            "Accept-Encoding: gzip\r\nCookie: a=b\r\n\r\n".encode()
        )
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._sock.recv(65536)
        left = SIZES[path] - len(received.partition(b"\r\n\r\n")[2])
        while left:
            left -= self._sock.recv_into(self._buffer)
        return time.perf_counter() - begun

    def close(self) -> None:
        self._sock.close()


@contextlib.contextmanager
def gunicorn(name: str, origin: int) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        process = subprocess.Popen(
            [
                sys.executable, "-m", "gunicorn", f"bench.passthrough:{name}()",
                "--bind", f"fd://{listener.fileno()}", "--worker-class", "gthread",
                "--workers", "1", "--threads", "4", "--keep-alive", "60",
                "--log-level", "error", "--no-control-socket",
            ],
            pass_fds=[listener.fileno()],
            env=os.environ | {"BENCH_ORIGIN": f"http://127.0.0.1:{origin}"},
        )  # fmt: skip
        try:
            worker = 0
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            while not worker:
                time.sleep(0.05)
                if process.poll() is not None:
                    raise RuntimeError("gunicorn did not start")
                worker = int((children.read_text().split() or ["0"])[0])
            server = Server(name, port, worker)
            server.get("/1k")
            try:
                yield server
            finally:
                server.close()
        finally:
            process.terminate()
            process.wait(10)


def measure(servers: list[Server], path: str, requests: int, rounds: int) -> None:
    times: dict[str, list[float]] = {server.name: [] for server in servers}
    costs: dict[str, list[float]] = {server.name: [] for server in servers}
    for _ in range(rounds):
        for server in servers:
            before = server.cpu()
            times[server.name].append(statistics.median(server.get(path) for _ in range(requests)))
            costs[server.name].append((server.cpu() - before) / requests)
    size = SIZES[path]
    reference = statistics.median(times["bare"])
    spent = statistics.mean(costs["bare"])
    for server in servers:
        wall = statistics.median(times[server.name])
        cpu = statistics.mean(costs[server.name])
        line = f"{path:6} {server.name:9} {wall * 1e3:9.3f} ms  {wall / reference:5.2f} of bare"
        if server.name != "direct":
            line += f"   {cpu * 1e6:9.0f} us CPU"
            line += f"  {cpu / spent:5.2f} of bare" if spent else ""
            if size >= 1 << 20:
                line += f"  {cpu / size * 1e9:5.2f} CPU s/GB"
        print(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--all", action="store_true", help="the urllib3 pool as well")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve-origin", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve_origin:
        serve_origin()
    origin = subprocess.Popen(
        [sys.executable, "-m", "bench.passthrough", "--serve-origin"], stdout=subprocess.PIPE
    )
    try:
        assert origin.stdout is not None
        port = int(origin.stdout.readline())
        with contextlib.ExitStack() as stack:
            servers = [
                stack.enter_context(gunicorn(name, port))
                for name in ["bare", "upstream"] + ["pooled"] * chosen.all
            ]
            direct = Server("direct", port, origin.pid)
            stack.callback(direct.close)
            servers.append(direct)
            for path, requests in (("/1k", 400), ("/100k", 200), ("/1m", 60), ("/200m", 1)):
                measure(servers, path, requests, chosen.rounds)
    finally:
        origin.terminate()
        origin.wait(10)


if __name__ == "__main__":
    main()
