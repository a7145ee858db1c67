"""Real sockets for tests: an origin that does as it is told, gunicorn, a client that sees bytes.

    with Origin() as origin, gunicorn("tests.upstream.application:application", {...}) as server:
        origin.routes["/a"] = reply(body=b"hello")
        assert ask(server.port, get("/a")).body == b"hello"
        assert origin.requests[-1].target == "/a"

The client's side is in tests/clients.py.
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
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.clients import Answer, Client, Fields, Stream, ask, fields_of, get, reply

__all__ = [
    "Answer",
    "Client",
    "Exchange",
    "Fields",
    "Origin",
    "Request",
    "Served",
    "ask",
    "get",
    "gunicorn",
    "reply",
]
ROOT = Path(__file__).parent.parent


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
        self.peer: int = sock.getpeername()[1]
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
DEFAULT = reply(fields=[("Content-Type", "text/plain")], body=b"default")


class Origin:
    """A threaded HTTP/1.1 origin on loopback that records every request.

    `routes` maps paths (without query) to an answer on the wire or to a handler, which writes what
    it likes; `default` answers the rest. Bodies are read and recorded before an answer of bytes;
    a handler reads by itself. Nagle is off: with it, head and body apart cost 44 ms.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.routes: dict[str, bytes | Handler] = {}
        self.default: bytes | Handler = DEFAULT
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
        self._deaf()
        for thread in list(self._threads):
            thread.join(5)

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        """Nobody listens at its port, and who was connected is no more."""
        self._deaf()
        bound = socket.socket()
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", self.port))
        try:
            yield
        finally:
            bound.listen(128)
            self._listener = bound
            self._threads.append(threading.Thread(target=self._accept, daemon=True))
            self._threads[-1].start()

    def _deaf(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def clear(self) -> None:
        """Forget what was asked and what was told to answer."""
        self.requests.clear()
        self.failures.clear()
        self.routes.clear()
        self.default = DEFAULT

    def _accept(self) -> None:
        listener = self._listener
        while True:
            try:
                sock, _ = listener.accept()
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
    before: Iterable[str] = (),
) -> Iterator[Served]:
    """gunicorn (gthread) on a free port, from when it answers; nothing of it is left afterwards.

    `app` is as gunicorn takes it, `environ` comes on top of ours, `before` is a command that runs
    another in its place.
    """
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        with socket.create_server(("127.0.0.1", 0), backlog=128) as listener, log.open("wb") as out:
            port = listener.getsockname()[1]
            process = subprocess.Popen(
                [
                    *before, sys.executable, "-m", "gunicorn", app,
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
