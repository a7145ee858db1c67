"""The origin as a WSGI application."""

import re
import ssl
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from iiif_proxy.concurrency import Circuits
from iiif_proxy.errors import OriginFailed, OriginTimeout
from iiif_proxy.upstream.framing import BadAnswer, Framing, framing_of
from iiif_proxy.upstream.request import (
    TARGET,
    Environ,
    Manners,
    blocks_of,
    head_of,
    length_of,
)
from iiif_proxy.upstream.wire import Connection, Gone, Origin, Pool

READ = 256 << 10
AUTHORITY = re.compile(r"[^\s@/?#\\]+")


class Upstream:
    """A WSGI application: hands each request to the origin and its answer back, both streamed.

    What is not as it came: hop-by-hop fields (RFC 9110, 7.6.1; those that Connection names; all of
    Proxy-*), Expect and trailers end here; Upgrade is not supported. `Host` is the origin's own,
    which its virtual hosts and its certificate go by, unless `preserve_host`; the visitor's is in
    X-Forwarded-Host. `forwarded_for`, `forwarded_proto` and `forwarded_host` add X-Forwarded-*,
    `via` is our name in Via (None: no Via). What a peer says in X-Forwarded-*, X-Real-IP and
    Forwarded goes on only if `trusted(REMOTE_ADDR)`; without the callable nobody is trusted.

    `base_url` may have a path, which is put in front of every target. `connect_timeout` and
    `read_timeout` are seconds: to connect; to the end of the answer's head, and between the bytes
    of its body. `pool` is how many idle connections a process keeps. TLS certificates are verified
    (`tls`: a context of one's own, such as for a private authority). `circuits`: who else asks the
    origin in this process learns from us that it does not answer, and we from them.

    Raises ValueError for a `base_url` that is none. A call raises InvalidRequest (400),
    NotSupported (501, CONNECT), OriginFailed (502) or OriginTimeout (504) before the answer has
    begun; afterwards a body that breaks off raises them from its iteration, so that the server
    cuts the connection and the visitor sees that it is not whole.
    """

    def __init__(
        self,
        base_url: str,
        *,
        connect_timeout: float = 5,
        read_timeout: float = 60,
        pool: int = 32,
        preserve_host: bool = False,
        via: str | None = "iiif-proxy",
        forwarded_for: bool = True,
        forwarded_proto: bool = True,
        forwarded_host: bool = True,
        trusted: Callable[[str], bool] | None = None,
        tls: ssl.SSLContext | None = None,
        circuits: Circuits | None = None,
    ) -> None:
        url = urlsplit(base_url)
        if url.scheme not in {"http", "https"} or not url.hostname:
            raise ValueError(f"{base_url!r} is no http or https URL")
        if not AUTHORITY.fullmatch(url.netloc) or url.query or url.fragment:
            raise ValueError(f"{base_url!r} has more than a host and a path")
        if url.path and not TARGET.fullmatch(url.path):
            raise ValueError(f"{base_url!r} has a path that cannot be sent")
        secure = url.scheme == "https"
        self._origin = Origin(
            url.hostname,
            url.port or (443 if secure else 80),
            (tls or ssl.create_default_context()) if secure else None,
            connect_timeout,
            read_timeout,
        )
        self._circuit = (circuits or Circuits()).of(self._origin.host, self._origin.port)
        self._pool = Pool(pool)
        self._manners = Manners(
            base=url.path.rstrip("/"),
            host=url.netloc if url.netloc.isascii() else url.netloc.encode("idna").decode(),
            preserve_host=preserve_host,
            via=via,
            forwarded_for=forwarded_for,
            forwarded_proto=forwarded_proto,
            forwarded_host=forwarded_host,
            trusted=trusted or (lambda address: False),
        )

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        method: str = environ["REQUEST_METHOD"]
        length = length_of(environ)
        head = head_of(environ, length, self._manners)
        blocks = blocks_of(environ, length)
        hints = environ.get("wsgi.early_hints")
        with self._circuit.turn():
            connection = self._pool.take() or self._origin.connect()
            try:
                try:
                    whole = _send(connection, head, blocks)
                    answer, rest = connection.head(hints)
                except Gone:
                    # The origin gave a kept connection up while the request was on its way.
                    if not connection.kept or blocks is not None or method not in {"GET", "HEAD"}:
                        raise
                    connection.close()
                    connection = self._origin.connect()
                    whole = _send(connection, head, None)
                    answer, rest = connection.head(hints)
                framing = framing_of(answer, method)
                first = framing.feed(rest)
            except BadAnswer as cause:
                connection.close()
                raise OriginFailed("The origin's answer is not valid HTTP.", str(cause)) from cause
            except Gone as cause:
                connection.close()
                raise OriginFailed("The origin closed without an answer.", str(cause)) from cause
            except BaseException:
                connection.close()
                raise
        body = Body(connection, self._pool if answer.keep and whole else None, framing, first)
        try:
            start_response(f"{answer.status} {answer.reason}", answer.fields)
        except BaseException:
            body.close()
            raise
        return body

    def close(self) -> None:
        """Give the idle connections of this process up."""
        self._pool.close()


def _send(connection: Connection, head: bytes, blocks: Iterator[bytes] | None) -> bool:
    """Whether all of it went: an origin may refuse a body (413) before it has read it."""
    if blocks is None:
        connection.send(head)
        return True
    try:
        connection.send(head + next(blocks))
        for block in blocks:
            connection.send(block)
    except (Gone, OriginTimeout):
        if connection.readable():
            return False
        raise
    return True


class Body:
    """The origin's body, as it arrives: at most READ bytes at a time, whatever there is.

    The connection goes back to `pool` (None: it cannot be used again) as soon as the last byte is
    here, before the visitor has it.
    """

    def __init__(
        self, connection: Connection, pool: Pool | None, framing: Framing, first: bytes
    ) -> None:
        self._connection: Connection | None = connection
        self._pool = pool
        self._framing = framing
        # Without a byte of the body yet, an empty one makes gunicorn send the head: the visitor
        # of an event stream learns that it is open.
        self._first: bytes | None = first
        self._settle()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._first is not None:
            first, self._first = self._first, None
            if first or self._connection is not None:
                return first
        try:
            while self._connection is not None:
                data = self._receive(self._connection)
                self._settle()
                if data:
                    return data
        except BadAnswer as cause:
            raise OriginFailed("The origin broke off its answer.", str(cause)) from cause
        raise StopIteration

    def _receive(self, connection: Connection) -> bytes:
        received = connection.receive(min(READ, self._framing.wants or READ))
        if received:
            return self._framing.feed(received)
        self._framing.end()
        return b""

    def _settle(self) -> None:
        if self._framing.done and self._connection is not None:
            connection, self._connection = self._connection, None
            if self._pool is not None and not self._framing.spare:
                self._pool.give(connection)
            else:
                connection.close()

    def close(self) -> None:
        """Called by the server at the end, also when either side broke off: a connection in the
        middle of an answer is of no use."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
