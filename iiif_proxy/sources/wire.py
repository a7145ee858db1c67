"""Connections of sources: kept, with one deadline for a whole answer, never into private networks
that the operator did not name."""

import contextlib
import http.client
import io
import ipaddress
import math
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any

import requests
import urllib3.connection
import urllib3.exceptions
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# Seconds within which a connection that was closed meanwhile is noticed.
AT_ONCE = 1.0
# Of an answer that is not used so much is read, for so long, to keep its connection.
REST, REST_SECONDS = 64 << 10, 0.25


class PrivateAddress(Exception):
    """A name that the operator did not write led into a private network."""


class Deadline:
    """When an answer must be complete. Redirects share one."""

    def __init__(self, seconds: float) -> None:
        self.at = time.monotonic() + seconds

    def left(self) -> float:
        return self.at - time.monotonic()

    def within(self, seconds: float) -> None:
        self.at = min(self.at, time.monotonic() + seconds)


class _Now(threading.local):
    """The deadline of the request that this thread is sending."""

    deadline = Deadline(math.inf)


_now = _Now()


class _Reads(io.RawIOBase):
    """A socket's bytes, each read within what is left.

    The socket's own timeout never ends an answer that trickles: each byte starts it anew.
    """

    def __init__(self, sock: socket.socket, stall: float | None, deadline: Deadline) -> None:
        self._sock = sock
        # It counts among the socket's users: http.client closes the socket under it.
        self._raw: io.RawIOBase = sock.makefile("rb", buffering=0)
        self._stall = math.inf if stall is None else stall
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int | None:
        left = self._deadline.left()
        if left <= 0:
            raise TimeoutError("the time for this answer is over")
        self._sock.settimeout(min(left, self._stall))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class _Socket:
    """What http.client asks of a socket to read an answer from it."""

    def __init__(self, sock: socket.socket, stall: float | None) -> None:
        self._reads = _Reads(sock, stall, _now.deadline)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self._reads)


class _Timed:
    """A connection (mixed into urllib3's) that reads by the deadline and looks whom it reached."""

    _trusted: frozenset[str] = frozenset()
    host: str
    sock: socket.socket
    timeout: float | None

    def _new_conn(self) -> socket.socket:
        made: socket.socket = super()._new_conn()  # type: ignore[misc]  # urllib3's own hook
        if self.host not in self._trusted and not is_public(made.getpeername()[0]):
            made.close()
            raise PrivateAddress(f"{self.host} is {made!r}")
        return made

    def getresponse(self) -> Any:
        stall = self.timeout

        def response_class(sock: Any, *args: Any, **keywords: Any) -> http.client.HTTPResponse:
            return http.client.HTTPResponse(_Socket(sock, stall), *args, **keywords)  # type: ignore[arg-type]  # it asks for no more

        self.response_class = response_class
        return super().getresponse()  # type: ignore[misc]  # urllib3's


NAT64 = ipaddress.ip_network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether it is of the internet; of an IPv6 address that leads to an IPv4 one, that one."""
    peer = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(peer, ipaddress.IPv6Address):
        last = ipaddress.IPv4Address(int(peer) & 0xFFFFFFFF)
        peer = peer.ipv4_mapped or peer.sixtofour or (last if peer in NAT64 else peer)
    return peer.is_global and not peer.is_multicast


class Wire(HTTPAdapter):
    """A pool of connections. `trusted`: hosts that may have a private address.

    No Session: it would keep cookies from one image for the next, and takes 0.1 ms more.
    """

    def __init__(self, trusted: frozenset[str], pool: int) -> None:
        own = {"_trusted": trusted}
        self._classes = {
            "http": type("Timed", (_Timed, urllib3.connection.HTTPConnection), own),
            "https": type("TimedTLS", (_Timed, urllib3.connection.HTTPSConnection), own),
        }
        # The machine's own authorities, as the pass-through has it; else those of requests.
        paths = ssl.get_default_verify_paths()
        self._authorities = paths.cafile or paths.capath or True
        super().__init__(pool_connections=16, pool_maxsize=pool, max_retries=0)

    def init_poolmanager(self, *args: Any, **keywords: Any) -> None:
        super().init_poolmanager(*args, **keywords)
        self.poolmanager.pool_classes_by_scheme = {
            scheme: type("Pool", (base,), {"ConnectionCls": self._classes[scheme]})
            for scheme, base in self.poolmanager.pool_classes_by_scheme.items()
        }

    def get(
        self,
        url: str,
        headers: dict[str, str],
        timeout: tuple[float, float],
        deadline: Deadline,
        method: str = "GET",
    ) -> requests.Response:
        """The answer to one GET (or HEAD), its body not read. Raises what requests raises."""
        begun = time.monotonic()
        try:
            return self._get(url, headers, timeout, deadline, method)
        except requests.ConnectionError as cause:
            broken = isinstance(cause.args[0], urllib3.exceptions.ProtocolError)
            if not broken or time.monotonic() - begun > AT_ONCE:
                raise
            # A kept connection that the origin gave up while our request was on its way.
            return self._get(url, headers, timeout, deadline, method)

    def _get(
        self,
        url: str,
        headers: dict[str, str],
        timeout: tuple[float, float],
        deadline: Deadline,
        method: str,
    ) -> requests.Response:
        left = deadline.left()
        if left <= 0:
            raise requests.ReadTimeout("the time for this answer is over")
        # By hand: preparing takes 0.1 ms, to no effect on a URL that is encoded.
        request = requests.PreparedRequest()
        request.method, request.url, request.body = method, url, None
        request.headers = CaseInsensitiveDict(headers)
        _now.deadline = deadline
        connect, read = timeout
        return self.send(
            request,
            stream=True,
            timeout=(min(connect, left), min(read, left)),
            verify=self._authorities,
        )


def let_go(response: requests.Response, deadline: Deadline) -> None:
    """Close, but keep the connection where next to nothing is left on it."""
    deadline.within(REST_SECONDS)
    with contextlib.suppress(Exception):
        size = 0
        while size <= REST and (data := response.raw.read1(REST, decode_content=False)):
            size += len(data)
    response.close()
