"""HTTP as bytes: what a test says on a socket, and what it hears."""

import contextlib
import io
import socket
import struct
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

Fields = list[tuple[str, str]]


def reply(
    status: int | str = "200 OK", fields: Iterable[tuple[str, str]] = (), body: bytes = b""
) -> bytes:
    """An answer on the wire; Content-Length is made unless a framing is among the fields."""
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields)]
    if not any(n.lower() in {"content-length", "transfer-encoding"} for n, _ in fields):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def get(target: str, *lines: str, method: str = "GET", version: str = "1.1") -> bytes:
    """A request on the wire without a body, of a visitor who closes afterwards."""
    fixed = [f"{method} {target} HTTP/{version}", "Host: visited.example", "Connection: close"]
    return "\r\n".join([*fixed, *lines, "", ""]).encode("latin-1")


class Stream:
    """Reading HTTP from a socket: lines, counted bytes, chunks."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._file = io.BufferedReader(socket.SocketIO(sock, "r"), 1 << 16)

    def head(self) -> bytes:
        """Up to the empty line, which is left out; what there is if the connection ends."""
        lines = []
        while (line := self._file.readline()) not in {b"\r\n", b"\n", b""}:
            lines.append(line)
        return b"".join(lines)

    def exactly(self, count: int) -> Iterator[bytes]:
        while count and (data := self._file.read1(min(count, 1 << 18))):
            count -= len(data)
            yield data
        if count:
            raise EOFError("broken off")

    def chunks(self) -> Iterator[bytes]:
        while size := int(self._line().partition(b";")[0], 16):
            yield from self.exactly(size)
            if self._line() != b"\r\n":
                raise ValueError("a chunk longer than its size")
        while self._line() != b"\r\n":
            pass  # trailers

    def _line(self) -> bytes:
        line = self._file.readline()
        if not line.endswith(b"\n"):
            raise EOFError("broken off")
        return line

    def until_closed(self) -> Iterator[bytes]:
        while data := self._file.read1(1 << 18):
            yield data

    def some(self) -> bytes:
        """What has come, at least a byte."""
        return self._file.read1(1 << 18)

    def body(self, fields: Fields, closes: bool) -> Iterator[bytes]:
        named = {name.lower(): value for name, value in fields}
        if named.get("transfer-encoding", "").lower() == "chunked":
            return self.chunks()
        if "content-length" in named:
            return self.exactly(int(named["content-length"]))
        return self.until_closed() if closes else iter(())

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._file.close()
        self._sock.close()


def fields_of(head: bytes) -> tuple[str, Fields]:
    first, *lines = head.decode("latin-1").replace("\r\n", "\n").rstrip("\n").split("\n")
    parts = (line.partition(":") for line in lines)
    return first, [(name, value.strip()) for name, _, value in parts]


@dataclass
class Answer:
    """What the client saw. `whole` is false if the framing's end never came."""

    status: int
    reason: str
    fields: Fields
    head: bytes
    body: bytes = b""
    whole: bool = True
    interim: list[bytes] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        return next(iter(self.all(name)), None)


class Client:
    """One connection: `send` bytes, `head` and `stream` or `answer` what comes back.

    `buffer`: how many bytes the system takes in for who does not read.
    """

    def __init__(self, port: int, timeout: float = 10, buffer: int = 0) -> None:
        self._sock = socket.socket()
        if buffer:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self._sock.settimeout(timeout)
        try:
            self._sock.connect(("127.0.0.1", port))
        except BaseException:
            self._sock.close()
            raise
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = Stream(self._sock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stream.close()

    def send(self, data: bytes) -> None:
        self._sock.sendall(data)

    def finish(self) -> None:
        """No more will be sent; answers are still read."""
        self._sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """RST instead of FIN."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    def head(self) -> Answer:
        """The final answer's head, interim answers collected."""
        interim: list[bytes] = []
        while True:
            head = self.stream.head()
            line, fields = fields_of(head)
            _, status, reason = (line + "  ").split(" ", 2)
            if not status.startswith("1"):
                answer = Answer(int(status or 0), reason.rstrip(), fields, head, interim=interim)
                answer.whole = bool(head)
                return answer
            interim.append(head)

    def answer(self, method: str = "GET") -> Answer:
        answer = self.head()
        if method != "HEAD" and answer.status not in {0, 204, 304}:
            try:
                for data in self.stream.body(answer.fields, closes=True):
                    answer.body += data
            except (EOFError, ValueError, OSError):
                answer.whole = False
        return answer


def ask(port: int, *blocks: bytes, timeout: float = 10) -> Answer:
    """Send, from a thread of its own in case the server answers before it reads, and parse."""
    method = blocks[0].partition(b" ")[0].decode("latin-1")

    def send() -> None:
        with contextlib.suppress(OSError):
            for block in blocks:
                client.send(block)

    with Client(port, timeout) as client:
        if len(blocks) == 1 and len(blocks[0]) < 60_000:
            client.send(blocks[0])
            return client.answer(method)
        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        answer = client.answer(method)
    sender.join(5)
    return answer
