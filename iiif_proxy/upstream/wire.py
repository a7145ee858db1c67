"""Connections to one origin, kept and shared by the threads of a process."""

import os
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from iiif_proxy.errors import OriginFailed, OriginTimeout
from iiif_proxy.upstream.framing import HEAD_END, BadAnswer, Fields, Head, parse_head

HEAD_READ = 64 << 10
HEAD_LIMIT = 128 << 10
INFORMATIONAL_LIMIT = 16
# Most origins give an idle connection up sooner; a closed one is noticed before it is used.
IDLE_SECONDS = 30.0


class Gone(Exception):
    """The origin closed the connection before a byte of the answer."""


class Connection:
    """One socket, and what has come on it that is not used yet."""

    __slots__ = ("_poll", "_rest", "_sock", "_timeout", "idle_since", "kept")

    def __init__(self, sock: socket.socket, timeout: float) -> None:
        self._sock = sock
        self._timeout = timeout
        self._rest = b""
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self.kept = False
        self.idle_since = 0.0

    def readable(self) -> bool:
        """Bytes or an end have come: bad news on an idle connection."""
        return bool(self._poll.poll(0))

    def send(self, data: bytes) -> None:
        try:
            self._sock.sendall(data)
        except TimeoutError as cause:
            raise OriginTimeout("The origin did not take this request in time.") from cause
        except OSError as cause:
            raise Gone(str(cause)) from cause

    def receive(self, most: int) -> bytes:
        """What there is, at least a byte, at most `most`; nothing at the end."""
        try:
            return self._sock.recv(most)
        except TimeoutError as cause:
            raise OriginTimeout("The origin stopped answering.") from cause
        except OSError as cause:
            raise OriginFailed("The origin broke off its answer.", str(cause)) from cause

    def head(self, hints: Callable[[Fields], object] | None) -> tuple[Head, bytes]:
        """The final answer's head and the first of its body. Interim answers (1xx) are passed
        to `hints` if they are 103, else read and dropped. Raises Gone, OriginTimeout, BadAnswer.
        """
        deadline = time.monotonic() + self._timeout
        for _ in range(INFORMATIONAL_LIMIT):
            head = parse_head(self._until_blank(deadline))
            if head.status >= 200:
                rest, self._rest = self._rest, b""
                return head, rest
            if head.status == 101:
                raise BadAnswer("101 without a request for it")
            if head.status == 103 and hints is not None:
                hints(head.fields)
        raise BadAnswer("endless interim answers")

    def _until_blank(self, deadline: float) -> bytes:
        data = self._rest
        searched = 0
        while (match := HEAD_END.search(data, searched)) is None:
            if len(data) > HEAD_LIMIT:
                raise BadAnswer("an endless head")
            searched = max(len(data) - 2, 0)
            data += self._more(bool(data), deadline)
        self._rest = data[match.end() :]
        return data[: match.start()]

    def _more(self, begun: bool, deadline: float) -> bytes:
        try:
            if begun:  # the time is for all of a head that trickles
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                self._sock.settimeout(left)
            more = self._sock.recv(HEAD_READ)
        except TimeoutError as cause:
            raise OriginTimeout("The origin did not answer in time.") from cause
        except OSError as cause:
            if begun:
                raise BadAnswer(str(cause)) from cause
            raise Gone(str(cause)) from cause
        finally:
            if begun:
                self._sock.settimeout(self._timeout)
        if not more:
            if begun:
                raise BadAnswer("the head broke off")
            raise Gone("closed without an answer")
        return more

    def close(self) -> None:
        self._sock.close()


@dataclass(frozen=True, slots=True)
class Origin:
    """Where to connect, and how long that may take. `tls` is None for plain HTTP."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    connect_timeout: float
    read_timeout: float

    def connect(self) -> Connection:
        """Raises OriginTimeout, OriginFailed (which covers a certificate that does not hold)."""
        sock = None
        try:
            sock = socket.create_connection((self.host, self.port), self.connect_timeout)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls is not None:
                sock = self.tls.wrap_socket(sock, server_hostname=self.host)
            sock.settimeout(self.read_timeout)
        except (OSError, UnicodeError) as cause:
            if sock is not None:
                sock.close()
            if isinstance(cause, TimeoutError):
                raise OriginTimeout("The origin did not answer in time.") from cause
            raise OriginFailed("The origin cannot be reached.", str(cause)) from cause
        return Connection(sock, self.read_timeout)


class Pool:
    """Idle connections, the last used first, at most `size` a process.

    A deque's own operations are atomic, so no lock. A forked child starts with none: the sockets
    it inherits belong to its parent.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._idle: dict[int, deque[Connection]] = {}

    def take(self) -> Connection | None:
        """A kept connection that the origin has not closed."""
        idle = self._mine()
        oldest = time.monotonic() - IDLE_SECONDS
        while True:
            try:
                connection = idle.pop()
            except IndexError:
                return None
            if connection.idle_since > oldest and not connection.readable():
                return connection
            connection.close()

    def give(self, connection: Connection) -> None:
        idle = self._mine()
        connection.kept = True
        connection.idle_since = time.monotonic()
        idle.append(connection)
        expired = connection.idle_since - IDLE_SECONDS
        try:
            while len(idle) > self._size or idle[0].idle_since < expired:
                idle.popleft().close()
        except IndexError:
            pass

    def close(self) -> None:
        """Nothing in use is touched."""
        self._drop(list(self._idle))

    def _mine(self) -> deque[Connection]:
        pid = os.getpid()
        mine = self._idle.get(pid)
        if mine is None:
            self._drop([other for other in self._idle if other != pid])
            mine = self._idle.setdefault(pid, deque())
        return mine

    def _drop(self, pids: list[int]) -> None:
        for pid in pids:
            idle = self._idle.pop(pid, None)
            while idle:
                idle.pop().close()
