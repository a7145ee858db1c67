"""Real sockets for tests: an origin that does as it is told, gunicorn, a client that sees bytes.

    with Origin() as origin, gunicorn("tests.upstream.application:application", {...}) as server:
        origin.routes["/a"] = reply(body=b"hello")
        assert ask(server.port, get("/a")).body == b"hello"
        assert origin.requests[-1].target == "/a"
"""

import contextlib
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).parent.parent
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
        self._file = sock.makefile("rb", buffering=1 << 16)

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
        while size := int(self._file.readline().partition(b";")[0] or b"x", 16):
            yield from self.exactly(size)
            if self._file.readline() != b"\r\n":
                raise EOFError("broken off")
        self.head()

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
class Request:
    """What the origin received. `body` is there once the handler has read it."""

    head: bytes
    method: str
    target: str
    version: str
    fields: Fields
    connection: int
    body: bytes = b""

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]


class Exchange:
    """A request in a handler's hands."""

    def __init__(self, request: Request, sock: socket.socket, stream: Stream) -> None:
        self.request = request
        self.open = "close" not in request.all("Connection")
        self._sock = sock
        self._body = stream.body(request.fields, closes=False)

    def body(self) -> Iterator[bytes]:
        """The request's body as it comes, not recorded."""
        return self._body

    def read(self) -> bytes:
        """The rest of the body, recorded."""
        self.request.body += b"".join(self._body)
        return self.request.body

    def write(self, data: bytes) -> None:
        self._sock.sendall(data)

    def close(self) -> None:
        """No more on this connection, politely."""
        self.open = False

    def reset(self) -> None:
        """RST instead of FIN."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.open = False


Handler = Callable[[Exchange], object]


class Origin:
    """A threaded HTTP/1.1 origin on loopback that records every request.

    `routes` maps paths (without query) to an answer on the wire or to a handler, which writes what
    it likes; `default` answers the rest. Bodies are read and recorded before an answer of bytes;
    a handler reads by itself. Nagle is off: with it, head and body apart cost 44 ms.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.routes: dict[str, bytes | Handler] = {}
        self.default: bytes | Handler = reply(body=b"default")
        self.requests: list[Request] = []
        self.connections = 0
        self.failures: list[BaseException] = []
        self._tls = tls
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(5)

    def clear(self) -> None:
        self.requests.clear()
        self.routes.clear()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.add(sock)
            thread = threading.Thread(
                target=self._serve, args=(sock, self.connections), daemon=True
            )
            self._threads = [t for t in self._threads if t.is_alive()] + [thread]
            thread.start()

    def _serve(self, plain: socket.socket, number: int) -> None:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock = plain
        try:
            if self._tls is not None:
                sock = self._tls.wrap_socket(plain, server_side=True)
                self._open.add(sock)
            stream = Stream(sock)
            with contextlib.closing(stream):
                while self._answer(sock, stream, number):
                    pass
        except (OSError, EOFError):
            pass  # whoever asked went away
        except BaseException as error:
            self.failures.append(error)
            raise
        finally:
            sock.close()
            self._open -= {plain, sock}

    def _answer(self, sock: socket.socket, stream: Stream, number: int) -> bool:
        head = stream.head()
        if not head:
            return False
        line, fields = fields_of(head)
        method, target, version = line.split(" ", 2)
        request = Request(head, method, target, version, fields, number)
        self.requests.append(request)
        exchange = Exchange(request, sock, stream)
        answer = self.routes.get(target.partition("?")[0], self.default)
        if callable(answer):
            answer(exchange)
        else:
            exchange.read()
            exchange.write(answer)
        return exchange.open


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
        return (self.all(name) or [None])[0]


class Client:
    """One connection: `send` bytes, `head` and `stream` or `answer` what comes back."""

    def __init__(self, port: int, timeout: float = 10) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), timeout)
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

    def head(self) -> Answer:
        """The final answer's head, interim answers collected."""
        interim = []
        while True:
            head = self.stream.head()
            line, fields = fields_of(head)
            _, status, reason = (line + "  ").split(" ", 2)
            if not status.startswith("1"):
                return Answer(
                    int(status or 0), reason.rstrip(), fields, head, whole=bool(head), interim=interim
                )
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


@dataclass
class Served:
    """A running gunicorn."""

    port: int
    process: "subprocess.Popen[bytes]"
    _log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def workers(self) -> list[int]:
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [int(child) for child in children.split()]

    def log(self) -> str:
        return self._log.read_text(errors="replace")


@contextlib.contextmanager
def gunicorn(
    app: str,
    environ: dict[str, str] | None = None,
    *,
    workers: int = 1,
    threads: int = 4,
    options: Iterable[str] = (),
) -> Iterator[Served]:
    """gunicorn (gthread) on a free port, from when it answers; nothing of it is left afterwards.

    `app` is as gunicorn takes it, `environ` comes on top of ours.
    """
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        with socket.create_server(("127.0.0.1", 0), backlog=128) as listener, log.open("wb") as out:
            port = listener.getsockname()[1]
            process = subprocess.Popen(
                [
                    sys.executable, "-m", "gunicorn", app,
                    "--bind", f"fd://{listener.fileno()}", "--worker-class", "gthread",
                    "--workers", str(workers), "--threads", str(threads),
                    "--graceful-timeout", "1", "--no-control-socket", *options,
                ],
                cwd=ROOT,
                env=os.environ | (environ or {}),
                pass_fds=[listener.fileno()],
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )  # fmt: skip
        served = Served(port, process, log)
        try:
            _await(served)
            yield served
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _await(served: Served) -> None:
    """Until a worker refuses what is no request: that never reaches the application."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and served.process.poll() is None:
        with contextlib.suppress(OSError), Client(served.port, 1) as client:
            client.send(b"?\r\n\r\n")
            if client.answer().status == 400:
                return
        time.sleep(0.02)
    raise RuntimeError("gunicorn does not answer:\n" + served.log())
