"""A client that costs little: one kept connection, one request at a time, nothing decoded."""

import re
import socket
import statistics
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
PATIENCE = 120


class Failed(Exception):
    """An answer that no measurement may count."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`seconds` from the request to the last byte; `head` and `body` as they came."""

    seconds: float
    head: bytes
    body: bytes

    @property
    def hit(self) -> bool:
        return b"; hit" in self.head


class Client:
    """HTTP/1.1 over one connection, made anew when the server has closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._sock: socket.socket | None = None

    def get(self, path: str) -> Answer:
        """Raises Failed for anything but a 200 of known length."""
        request = (
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nUser-Agent: bench\r\n"
            "Accept: image/*,*/*;q=0.8\r\nAccept-Encoding: gzip\r\n\r\n"
        ).encode()
        begun = time.perf_counter()
        received = self._sent(request)
        end = received.find(b"\r\n\r\n")
        head, parts = received[:end], [received[end + 4 :]]
        if head[9:12] != b"200":
            self.close()
            raise Failed(f"{path}: {head[:80]!r}")
        found = LENGTH.search(head)
        if found is None:
            raise Failed(f"{path}: an answer without a length")
        left = int(found[1]) - len(parts[0])
        while left > 0:
            more = self._connected().recv(1 << 20)
            if not more:
                raise Failed(f"{path}: broken off")
            parts.append(more)
            left -= len(more)
        return Answer(time.perf_counter() - begun, head, b"".join(parts))

    def _sent(self, request: bytes) -> bytes:
        """The request made, and the answer's beginning with at least all of its head."""
        for last in (False, True):
            try:
                sock = self._connected()
                sock.sendall(request)
                received = b""
                while b"\r\n\r\n" not in received:
                    more = sock.recv(65536)
                    if not more:
                        raise ConnectionError("closed")
                    received += more
                return received
            except ConnectionError:
                self.close()
                if last:
                    raise
        raise AssertionError

    def _connected(self) -> socket.socket:
        if self._sock is None:
            self._sock = socket.create_connection(("127.0.0.1", self._port), PATIENCE)
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._sock

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
        self._sock = None

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Drive:
    """What several clients met together: sorted seconds of the answers, and the wall clock's."""

    seconds: list[float]
    wall: float

    @property
    def rate(self) -> float:
        return len(self.seconds) / self.wall

    @property
    def p50(self) -> float:
        return statistics.median(self.seconds)

    @property
    def p95(self) -> float:
        return self.seconds[min(len(self.seconds) - 1, int(0.95 * len(self.seconds)))]


def drive(port: int, paths: Iterable[str], clients: int, limit: float = 30) -> Drive:
    """The paths in turn by that many clients, one connection each, for `limit` seconds at most."""
    left = iter(paths)
    lock = threading.Lock()
    found: list[float] = []
    failed: list[Exception] = []
    end = time.perf_counter() + limit

    def work() -> None:
        with Client(port) as client:
            while time.perf_counter() < end and not failed:
                with lock:
                    path = next(left, None)
                if path is None:
                    return
                try:
                    found.append(client.get(path).seconds)
                except (Failed, OSError) as fault:
                    failed.append(fault)

    threads = [threading.Thread(target=work) for _ in range(clients)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return Drive(sorted(found), time.perf_counter() - begun)
