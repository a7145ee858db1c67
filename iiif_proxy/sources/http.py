"""Sources over HTTP: pooled, bounded in time, redirected only where it is allowed."""

import contextlib
import fnmatch
import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3.connection
import urllib3.exceptions
from requests.adapters import HTTPAdapter

from iiif_proxy.errors import OriginFailed, OriginTimeout
from iiif_proxy.sources.base import Answer, Conditions, Environ, fill, judge
from iiif_proxy.sources.ranges import HttpRanges

REDIRECTS = {301, 302, 303, 307, 308}
MOST_REDIRECTS = 5
CHUNK = 256 * 1024
# Seconds within which a connection that was closed meanwhile is noticed.
AT_ONCE = 1.0
PORTS = {"http": 80, "https": 443}


class _Timed:
    """A connection whose answer must have begun when its time is over.

    A read timeout alone never ends headers that trickle: each byte starts it anew.
    """

    _trusted: frozenset[str] = frozenset()
    _seconds = 120.0

    def _new_conn(self) -> socket.socket:
        made: socket.socket = super()._new_conn()  # type: ignore[misc]  # urllib3's own hook
        peer = ipaddress.ip_address(str(made.getpeername()[0]).partition("%")[0])
        if not peer.is_global and self.host not in self._trusted:  # type: ignore[attr-defined]
            made.close()
            raise _PrivateAddress(f"{self.host} is {peer}")  # type: ignore[attr-defined]
        return made

    def getresponse(self) -> Any:
        sock = self.sock  # type: ignore[attr-defined]

        def cut() -> None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(self._seconds, cut)
        timer.daemon = True
        timer.start()
        try:
            return super().getresponse()  # type: ignore[misc]
        finally:
            timer.cancel()


class _PrivateAddress(Exception):
    """A name that the operator did not write led into a private network."""


class _Adapter(HTTPAdapter):
    def __init__(self, trusted: frozenset[str], seconds: float, pool: int) -> None:
        own = {"_trusted": trusted, "_seconds": seconds}
        self._classes = {
            "http": type("Timed", (_Timed, urllib3.connection.HTTPConnection), own),
            "https": type("TimedTLS", (_Timed, urllib3.connection.HTTPSConnection), own),
        }
        super().__init__(pool_connections=16, pool_maxsize=pool, max_retries=0)

    def init_poolmanager(self, *args: Any, **kw: Any) -> None:
        super().init_poolmanager(*args, **kw)
        self.poolmanager.pool_classes_by_scheme = {
            scheme: type("Pool", (base,), {"ConnectionCls": self._classes[scheme]})
            for scheme, base in self.poolmanager.pool_classes_by_scheme.items()
        }


class HttpSource:
    """`http://host/path/{id}`, also with `{id}` in the query.

    Redirects are followed a few times: to the template's own host, and to `redirect_hosts`
    (patterns such as `*.example.org`), never into a private network but the template's.
    Raises OriginTimeout and OriginFailed.
    """

    threaded = True

    def __init__(
        self,
        template: str,
        *,
        connect_timeout: float = 5,
        read_timeout: float = 30,
        total_timeout: float = 120,
        redirect_hosts: tuple[str, ...] = (),
        user_agent: str = "iiif-proxy",
        pool: int = 32,
    ) -> None:
        self.template = template
        self.host = urlsplit(template).hostname or ""
        self.port = urlsplit(template).port or PORTS[urlsplit(template).scheme]
        self.timeout = (connect_timeout, read_timeout)
        self.total = total_timeout
        self.redirect_hosts = redirect_hosts
        self.user_agent = user_agent
        self.pool = pool
        self._lock = threading.Lock()
        self._session: requests.Session | None = None

    def url(self, identifier: str, environ: Environ) -> str:
        return fill(self.template, identifier)

    def ask(
        self, identifier: str, conditions: Conditions | None, environ: Environ
    ) -> Answer | None:
        headers = {"Accept": "image/*,*/*;q=0.5"}
        if conditions and conditions.etag:
            headers["If-None-Match"] = conditions.etag
        if conditions and conditions.last_modified:
            headers["If-Modified-Since"] = conditions.last_modified
        return self.get(fill(self.template, identifier), headers)

    def ranges(
        self, url: str, headers: Mapping[str, str], changed: Callable[[], None]
    ) -> HttpRanges | None:
        """The same file by parts, if the answer with these headers promises that."""
        size = headers.get("content-length", "")
        validator = next(
            ((name, headers[name]) for name in ("etag", "last-modified") if name in headers), None
        )
        if (
            headers.get("accept-ranges", "").lower() != "bytes"
            or not size.isdigit()
            or "content-encoding" in headers
            or validator is None
        ):
            return None

        def pool() -> Any:
            adapter: Any = self._sessions().get_adapter(url)
            return adapter.poolmanager.connection_from_url(url)

        own = {"User-Agent": self.user_agent, "Accept-Encoding": "identity"}
        return HttpRanges(url, int(size), validator, pool, self.timeout, own, changed)

    def get(self, url: str, headers: dict[str, str]) -> Answer | None:
        """GET one URL of this source's; None for 404 and 410."""
        deadline = time.monotonic() + self.total
        response = self._follow(url, headers)
        seen = {name.lower(): value for name, value in response.headers.items()}
        try:
            if not judge(response.status_code, seen, f"{url}: {response.status_code}"):
                response.close()
                return None
        except Exception:
            response.close()
            raise
        return Answer(
            response.status_code != 304,
            seen,
            self._chunks(response, deadline),
            response.close,
            str(response.url),
        )

    def _follow(self, url: str, headers: dict[str, str]) -> requests.Response:
        for _ in range(MOST_REDIRECTS + 1):
            response = self._send(url, headers)
            target = response.headers.get("Location")
            if response.status_code not in REDIRECTS or not target:
                return response
            response.close()
            url = urljoin(url, target)
            if not self._allowed(url):
                raise OriginFailed("The origin redirects this image to a place not allowed.", url)
        raise OriginFailed("The origin redirects this image in circles.", url)

    def _allowed(self, url: str) -> bool:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port or PORTS.get(parts.scheme, 0)
        except ValueError:
            return False
        if parts.scheme not in PORTS or not host:
            return False
        if host == self.host and (port == self.port or {port, self.port} <= {80, 443}):
            return True
        return port in {80, 443} and any(fnmatch.fnmatch(host, p) for p in self.redirect_hosts)

    def _send(self, url: str, headers: dict[str, str]) -> requests.Response:
        begun = time.monotonic()
        try:
            try:
                return self._get(url, headers)
            except requests.ConnectionError as cause:
                broken = isinstance(cause.args[0], urllib3.exceptions.ProtocolError)
                if not broken or time.monotonic() - begun > AT_ONCE:
                    raise
                # A kept connection that the origin gave up while our request was on its way.
                return self._get(url, headers)
        except requests.Timeout as cause:
            raise OriginTimeout("The origin did not answer in time.", f"{url}: {cause}") from cause
        except (requests.RequestException, urllib3.exceptions.HTTPError) as cause:
            raise OriginFailed("The origin could not be reached.", f"{url}: {cause}") from cause
        except _PrivateAddress as cause:
            raise OriginFailed(
                "The origin redirects this image to a place not allowed.",
                f"{url}: {cause}",
            ) from cause

    def _get(self, url: str, headers: dict[str, str]) -> requests.Response:
        return self._sessions().get(
            url,
            headers=headers,
            stream=True,
            allow_redirects=False,
            timeout=self.timeout,
        )

    def _chunks(self, response: requests.Response, deadline: float) -> Iterator[bytes]:
        url = response.url
        encoding = response.headers.get("Content-Encoding", "identity").lower()
        if encoding not in {"identity", "gzip", "deflate", ""}:
            raise OriginFailed("The origin sent this image in an unknown encoding.", encoding)
        try:
            while True:
                # read1: what has come already, so that a slow origin's first bytes count at once.
                chunk = response.raw.read1(CHUNK, decode_content=True)
                if not chunk:
                    return
                yield chunk
                if time.monotonic() > deadline:
                    raise OriginTimeout("The origin took too long for this image.", url)
        except urllib3.exceptions.ReadTimeoutError as cause:
            raise OriginTimeout("The origin stopped in the middle of this image.", url) from cause
        except (urllib3.exceptions.HTTPError, OSError) as cause:
            raise OriginFailed(
                "The origin broke off in the middle of this image.", f"{url}: {cause}"
            ) from cause

    def _sessions(self) -> requests.Session:
        """The session, made at the first request: sockets do not survive a fork."""
        with self._lock:
            if self._session is None:
                session = requests.Session()
                session.trust_env = False
                session.headers.clear()
                session.headers.update(
                    {"User-Agent": self.user_agent, "Accept-Encoding": "identity"}
                )
                adapter = _Adapter(frozenset({self.host}), self.total, self.pool)
                session.mount("http://", adapter)
                session.mount("https://", adapter)
                self._session = session
            return self._session
