"""gunicorn's worker with threads, none of which waits for a visitor's first line."""

import selectors
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

# Within these a request's head must have come, however slowly.
HEAD_SECONDS = 10.0
# Of a head so much is waited for; the rest is then read by a thread.
MOST = 32 << 10
ENDS = (b"\r\n\r\n", b"\n\n")


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """A connection gets a thread when the head of its request is there.

    gunicorn's own gives it one with the first byte and reads on for ever: as many visitors as
    there are threads, who send a byte a second, are all that it then has time for.
    """

    def init_process(self) -> None:
        self._heads: dict[Any, float] = {}
        super().init_process()

    def enqueue_req(self, conn: Any) -> None:
        if _has_come(conn, self.cfg.is_ssl):
            if self._heads.pop(conn, None):
                conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
            super().enqueue_req(conn)
            return
        self._heads.setdefault(conn, time.monotonic() + HEAD_SECONDS)
        more: Callable[[Any], None] = partial(self._more, conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, more)
        if len(self._heads) > self.worker_connections // 2:
            self._drop(next(iter(self._heads)))

    def _more(self, conn: Any, client: Any) -> None:
        self.poller.unregister(client)
        self.enqueue_req(conn)

    def murder_keepalived(self, *args: Any, **keywords: Any) -> None:
        """Called at every turn of the loop, at least once a second."""
        super().murder_keepalived(*args, **keywords)
        now = time.monotonic()
        for conn, until in list(self._heads.items()):
            if until > now and self.alive:
                break
            self._drop(conn)

    def _drop(self, conn: Any) -> None:
        del self._heads[conn]
        self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()


def _has_come(conn: Any, tls: bool) -> bool:
    """Whether a thread would find a whole head, or the end; else wakes us when there is more."""
    sock: socket.socket = conn.sock
    if tls or (conn.initialized and conn.parser.unreader.buf.getvalue()):
        return True
    try:
        data = sock.recv(MOST, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
    if not data or len(data) == MOST or any(end in data for end in ENDS):
        return True
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, len(data) + 1)
    return False
