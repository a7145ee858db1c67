"""gunicorn's worker with threads, none of which waits for a visitor."""

import contextlib
import fcntl
import gc
import os
import re
import selectors
import socket
import termios
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from iiif_proxy.commands.seats import NO_SEAT, NOBODY, Seats
from iiif_proxy.commands.sending import READ_SECONDS, THREAD_SECONDS, Patient, Rest
from iiif_proxy.errors import SCARCE
from iiif_proxy.settings import load

# Within these a request's head must have come, however slowly.
HEAD_SECONDS = 10.0
# A longer head is refused, with what we say then: a thread would wait for its end. (nginx passes on
# 64 KB at most.) A longer line is for gunicorn, which says so without waiting.
MOST, LONGEST_LINE = 64 << 10, 8190
END = b"\r\n\r\n"
TOO_LONG = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 24\r\n\r\n"
    b"The headers are too big\n"
)
# So much memory may wait for visitors who read slowly.
MOST_HELD = 64 << 20
# What a visitor sent too much is read for so long, lest the kernel takes back what it was told.
LINGER_SECONDS, MOST_DRAINED = 2.0, 64 << 10
# After so long there may be descriptors again.
PAUSE, QUIET_SECONDS = 0.1, 10.0
# Seconds: a visitor is left so long to workers who have fewer, then taken by who was woken first.
LEFT_TO_OTHERS, THEN_TAKEN = 0.005, 0.05
# What may be answered from the store at once: its path, and its host. (Possessive: a long line that
# does not match costs one pass, not one for each of its bytes, in the loop of all visitors.)
GET = re.compile(rb"GET (/[^ ?#]*+)[^ ]*+ HTTP/1\.[01]\r\n")
# No end of a line: gunicorn refuses such a head without waiting for more.
BARE = re.compile(rb"[^\r]\n")
HOST = re.compile(rb"\r\nhost:([^\r\n]*+)\r\n", re.IGNORECASE)
# With these a request may have a body, which its thread would wait for.
BODY = re.compile(rb"\n(?:content-length|transfer-encoding|expect|upgrade)[ \t]*:", re.IGNORECASE)


@dataclass
class Slow:
    """What a visitor has still to read, and until when it must have read some of it."""

    rest: Rest
    done: Any
    until: float


@dataclass
class Ending:
    """How much more is read of a visitor who was told that this is the end, and until when."""

    most: int
    until: float


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """A connection gets a thread when the head of its request is there.

    gunicorn's own gives it one with the first byte and reads on for ever: as many visitors as
    there are threads, who send a byte a second, are all that it then has time for. The same at the
    end: what a visitor does not read is sent by the loop that waits for all of them, and whoever
    does not close is waited for there too. (gunicorn's loop itself waits 2 s for each of those:
    five who did not close kept all others waiting for 8 s.)
    """

    # Which is its own is said before it is forked (server.pre_fork), and by nobody but `serve`.
    seats, seat = Seats(), NO_SEAT

    def init_process(self) -> None:
        self._left_until = -THEN_TAKEN
        self._heads: dict[Any, float] = {}
        self._scarce_until = -QUIET_SECONDS
        # Whether this lives is told whatever all others wait for.
        self._aside = ThreadPoolExecutor(1, "health")
        prefix = load(os.environ).prefix.encode()
        self._health = tuple(b"%s %s/-/health " % (verb, prefix) for verb in (b"GET", b"HEAD"))
        self._slow: dict[Any, Slow] = {}
        self._ending: dict[Any, Ending] = {}
        self._has: Callable[[str | None, str], bool] | None = None
        super().init_process()

    def run(self) -> None:
        # What was loaded stays: looked through again and again by the collector, it stopped a
        # request for 28 ms. (Not collected before: that writes to each page that is shared with
        # the other processes, see `server.when_ready`.)
        gc.freeze()
        self._has = getattr(self.wsgi, "has", None)
        super().run()

    def handle_quit(self, sig: int, frame: Any) -> None:
        """gunicorn's own takes a lock here, in a signal's handler: where that interrupted who holds
        it, or itself (Ctrl-C comes twice, from the terminal and from the arbiter), it waited for
        ever: one Ctrl-C in thirteen left a process behind."""
        super(ThreadWorker, self).handle_quit(sig, frame)

    def accept(self, listener: Any) -> None:
        """gunicorn's own ends the process, with all that it is about to answer, when there is no
        descriptor for another visitor. Who waits in the kernel's queue can wait on."""
        if self._leaves_to_others():
            return
        try:
            super().accept(listener)
            self.seats.tell(self.seat, self.nr_conns)
        except OSError as refusal:
            if refusal.errno not in SCARCE:
                raise
            now = time.monotonic()
            if now - self._scarce_until > QUIET_SECONDS:
                self.log.warning("no connection can be accepted (%s)", refusal.strerror)
            self.set_accept_enabled(False)
            self._scarce_until = now + PAUSE

    def _leaves_to_others(self) -> bool:
        """Whether a visitor is left, for a moment, to a worker that has fewer of them."""
        now = time.monotonic()
        waited = now - self._left_until < THEN_TAKEN
        if waited or not self.seats.fewer(self.nr_conns):
            self._left_until = -THEN_TAKEN
            return False
        self._left_until = now + LEFT_TO_OTHERS
        self.set_accept_enabled(False)
        return True

    def set_accept_enabled(self, enabled: bool) -> None:
        if not enabled or time.monotonic() >= max(self._scarce_until, self._left_until):
            super().set_accept_enabled(enabled)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        self.seats.tell(self.seat, self.nr_conns if self.alive else NOBODY)
        now = time.monotonic()
        if self._scarce_until > now:
            timeout = PAUSE
        elif self._left_until > now:
            timeout = min(timeout, self._left_until - now)
        super().wait_for_and_dispatch_events(timeout)

    def enqueue_req(self, conn: Any) -> None:
        head = _head(conn, self.cfg.is_ssl)
        if head is not None:
            # Else gunicorn makes a selector for each new visitor, to see the same.
            conn.data_ready = not self.cfg.is_ssl
            if self._heads.pop(conn, None):
                conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
            if len(head) == MOST and END not in head and b"\n" in head[:LONGEST_LINE]:
                self._refuse(conn)
                return
            if head.startswith(self._health) and END in head and not BODY.search(head):
                done = self._aside.submit(self.handle, conn)
                done.add_done_callback(
                    lambda _: self.method_queue.defer(self.finish_request, conn, done)
                )
                return
            if self._is_at_hand(conn, head):
                self._answer(conn)
                return
            super().enqueue_req(conn)
            return
        self._heads.setdefault(conn, time.monotonic() + HEAD_SECONDS)
        more: Callable[[Any], None] = partial(self._more, conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, more)
        if len(self._heads) > self.worker_connections // 2:
            self._drop(next(iter(self._heads)))

    def _is_at_hand(self, conn: Any, head: bytes) -> bool:
        """Whether a stored image is the answer, to a visitor who has read those before it."""
        found = GET.match(head)
        if self._has is None or self.cfg.is_ssl or found is None or END not in head:
            return False
        if BODY.search(head):
            return False
        host = HOST.search(head)
        name = None if host is None else host[1].strip(b" \t").decode("latin-1")
        return self._has(name, found[1].decode("latin-1")) and not _unread(conn.sock)

    def _refuse(self, conn: Any) -> None:
        with contextlib.suppress(OSError):
            conn.sock.send(TOO_LONG, socket.MSG_DONTWAIT)
        done: Future[bool] = Future()
        done.set_result(False)
        self._finished(conn, done)

    def _answer(self, conn: Any) -> None:
        """In the loop itself: to wake a thread, and to take turns with it, takes longer than the
        answer (0.57 ms by a thread, 0.33 ms here)."""
        done: Future[Any] = Future()
        done.set_result(self.handle(conn))
        self.finish_request(conn, done)

    # Another event of the same turn may have ended what an event is for.

    def _more(self, conn: Any, client: Any) -> None:
        if conn not in self._heads:
            return
        self.poller.unregister(client)
        self.enqueue_req(conn)

    def handle_request(self, req: Any, conn: Any) -> Any:
        if self.cfg.is_ssl:
            return super().handle_request(req, conn)
        sock = conn.sock
        # The loop waits for nobody.
        waits = threading.current_thread() is not threading.main_thread()
        conn.sock = patient = Patient(sock, THREAD_SECONDS if waits else 0.0)
        try:
            kept = super().handle_request(req, conn)
            conn.rest, patient.rest = patient.rest, None
            return kept
        finally:
            patient.close()
            conn.sock = sock

    def finish_request(self, conn: Any, fs: Any) -> None:
        rest: Rest | None = getattr(conn, "rest", None)
        if rest is None:
            self._finished(conn, fs)
            return
        conn.rest = None
        try:
            conn.sock.setblocking(False)
            self.poller.register(conn.sock, selectors.EVENT_WRITE, partial(self._send, conn))
        except (OSError, ValueError):  # It is gone already.
            rest.close()
            self.nr_conns -= 1
            conn.close()
            return
        self._slow[conn] = Slow(rest, fs, time.monotonic() + READ_SECONDS)
        held = sum(slow.rest.held for slow in self._slow.values())
        if held > MOST_HELD or len(self._slow) > self.worker_connections // 2:
            self._leave(next(iter(self._slow)))

    def _send(self, conn: Any, client: Any) -> None:
        slow = self._slow.get(conn)
        if slow is None:
            return
        try:
            if not slow.rest.send(conn.sock):
                slow.until = time.monotonic() + READ_SECONDS
                return
        except OSError:
            self._leave(conn)
            return
        del self._slow[conn]
        slow.rest.close()
        self.poller.unregister(client)
        self._finished(conn, slow.done)

    def _leave(self, conn: Any) -> None:
        self._slow.pop(conn).rest.close()
        self._close(conn)

    def _finished(self, conn: Any, fs: Any) -> None:
        failed = fs.cancelled() or fs.exception() is not None
        if self.cfg.is_ssl or failed or fs.result():
            super().finish_request(conn, fs)
            return
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._drain, conn))
        except (OSError, ValueError):  # It is gone already.
            self.nr_conns -= 1
            conn.close()
        else:
            self._ending[conn] = Ending(MOST_DRAINED, time.monotonic() + LINGER_SECONDS)

    def _drain(self, conn: Any, client: Any) -> None:
        ending = self._ending.get(conn)
        if ending is None:
            return
        try:
            data = conn.sock.recv(MOST_DRAINED)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        ending.most -= len(data)
        if not data or ending.most <= 0:
            del self._ending[conn]
            self._close(conn)

    def _close(self, conn: Any) -> None:
        self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()

    def murder_keepalived(self, *args: Any, **keywords: Any) -> None:
        """Called at every turn of the loop, at least once a second."""
        super().murder_keepalived(*args, **keywords)
        now = time.monotonic()
        for conn, until in list(self._heads.items()):
            if until > now and self.alive:
                break
            self._drop(conn)
        for conn, slow in list(self._slow.items()):
            if slow.until < now:
                self._leave(conn)
        for conn, ending in list(self._ending.items()):
            if ending.until > now:
                break
            del self._ending[conn]
            self._close(conn)

    def _drop(self, conn: Any) -> None:
        del self._heads[conn]
        self._close(conn)


def _unread(sock: socket.socket) -> bool:
    """Whether the kernel holds something for it still (or cannot say)."""
    try:
        return any(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))
    except OSError:
        return True


def _head(conn: Any, tls: bool) -> bytes | None:
    """How a whole head begins that a thread would find; b"" for what it must see by itself. None:
    it has not come, and this wakes us when there is more."""
    sock: socket.socket = conn.sock
    if tls or (conn.initialized and conn.parser.unreader.buf.getvalue()):
        return b""
    try:
        data = sock.recv(MOST, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
    except OSError:
        return b""
    if not data or len(data) == MOST or END in data or BARE.search(data):
        return data
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, len(data) + 1)
    return None
