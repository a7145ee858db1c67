"""gunicorn's worker with threads, none of which waits for a visitor's first line."""

import selectors
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from iiif_proxy.errors import SCARCE

# Within these a request's head must have come, however slowly.
HEAD_SECONDS = 10.0
# Of a head so much is waited for; the rest is then read by a thread.
MOST = 32 << 10
ENDS = (b"\r\n\r\n", b"\n\n")
# After so long there may be descriptors again.
PAUSE = 0.1


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """A connection gets a thread when the head of its request is there.

    gunicorn's own gives it one with the first byte and reads on for ever: as many visitors as
    there are threads, who send a byte a second, are all that it then has time for.
    """

    def init_process(self) -> None:
        self._heads: dict[Any, float] = {}
        self._scarce_until = 0.0
        super().init_process()

    def accept(self, listener: Any) -> None:
        """gunicorn's own ends the process, with all that it is about to answer, when there is no
        descriptor for another visitor. Who waits in the kernel's queue can wait on."""
        try:
            super().accept(listener)
        except OSError as refusal:
            if refusal.errno not in SCARCE:
                raise
            self.log.warning("no connection can be accepted (%s)", refusal.strerror)
            self.set_accept_enabled(False)
            self._scarce_until = time.monotonic() + PAUSE

    def set_accept_enabled(self, enabled: bool) -> None:
        if not enabled or time.monotonic() >= self._scarce_until:
            super().set_accept_enabled(enabled)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        scarce = self._scarce_until > time.monotonic()
        super().wait_for_and_dispatch_events(PAUSE if scarce else timeout)

    def enqueue_req(self, conn: Any) -> None:
        if _has_come(conn, self.cfg.is_ssl):
            # Else gunicorn makes a selector for each new visitor, to see the same.
            conn.data_ready = not self.cfg.is_ssl
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
