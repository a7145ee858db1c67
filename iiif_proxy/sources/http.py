"""Sources over HTTP: pooled, bounded in time, redirected only where it is allowed."""

import fnmatch
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from urllib.parse import urljoin, urlsplit

import requests
import urllib3.exceptions
from cachetools import TTLCache
from requests.utils import requote_uri

from iiif_proxy.concurrency import Circuits
from iiif_proxy.errors import OriginFailed, OriginTimeout, for_want
from iiif_proxy.sources.base import (
    CREDENTIALS,
    REQUEST_ID,
    Answer,
    Conditions,
    Environ,
    fill,
    judge,
    mind_forks,
    personal,
)
from iiif_proxy.sources.coding import decoded
from iiif_proxy.sources.ranges import HttpRanges
from iiif_proxy.sources.wire import Deadline, PrivateAddress, Wire, let_go

REDIRECTS = {301, 302, 303, 307, 308}
MOST_REDIRECTS = 5
CHUNK = 256 * 1024
PORTS = {"http": 80, "https": 443}
PARTLESS = 600.0
NOT_THERE = "The origin redirects this image to a place not allowed."
STOPPED = "The origin stopped in the middle of this image."
BROKEN_OFF = "The origin broke off in the middle of this image."


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer of any status, after redirects. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    url: str
    chunks: Iterator[bytes]
    # A connection is kept if its answer was read to the end, or is let go with a short rest.
    close: Callable[[], None]
    let_go: Callable[[], None]


class HttpSource:
    """`http://host/path/{id}`, also with `{id}` in the query.

    Redirects are followed a few times: to the template's own host, and to `redirect_hosts`
    (`host`, `host:port`, or patterns such as `*.example.org`). They lead into a private network
    only to the template's host, and to hosts that are named without a pattern.

    Times are seconds: to connect, to the first byte and between bytes, for the whole answer.
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
        circuits: Circuits | None = None,
        user_agent: str = "iiif-proxy",
        pool: int = 32,
    ) -> None:
        self.template = template
        self.timeout = (connect_timeout, read_timeout)
        self.total = total_timeout
        self.redirect_hosts = tuple(name.lower() for name in redirect_hosts)
        self.user_agent = user_agent
        self._pool = pool
        self._circuits = circuits or Circuits()
        self._begin()
        self.after_fork()
        mind_forks(self)

    def _begin(self) -> None:
        self._reach(self.template)

    def _reach(self, url: str) -> None:
        """The place of this URL is ours: also if it is in a private network."""
        parts = urlsplit(url)
        self.host = parts.hostname or ""
        self._place = (parts.scheme, parts.hostname, parts.port)
        self.port = parts.port or PORTS[parts.scheme]
        named = {name.partition(":")[0] for name in self.redirect_hosts if "*" not in name}
        self._trusted = frozenset({self.host, *named})

    def after_fork(self) -> None:
        """Sockets do not survive it."""
        self._lock = threading.Lock()
        self._wire: Wire | None = None
        # Files whose parts were promised and not given.
        self._partless: TTLCache[str, bool] = TTLCache(1000, PARTLESS)

    def url(self, identifier: str, environ: Environ) -> str:
        return fill(self.template, identifier)

    def ask(
        self, identifier: str, conditions: Conditions | None, environ: Environ
    ) -> Answer | None:
        headers = {"Accept": "image/*,*/*;q=0.5"}
        if REQUEST_ID in environ:  # Ours, or of a peer that counts (telling.identify).
            headers["X-Request-Id"] = environ[REQUEST_ID]
        if conditions:
            headers |= conditions.headers()
        headers |= fields_of(environ.get(CREDENTIALS, {}))
        got = self.fetch(self.url(identifier, environ), headers)
        try:
            found = judge(got.status, got.headers, f"{got.url}: {got.status}")
            modified = found and got.status != 304
            chunks = decoded(got.chunks, got.headers.get("content-encoding", ""))
        except BaseException:
            got.let_go()
            raise
        if not modified:
            got.let_go()
        said = personal(got.headers, environ)
        return Answer(modified, said, chunks, got.close, got.url) if found else None

    def look(
        self, identifier: str, environ: Environ, credentials: Mapping[str, str], method: str
    ) -> tuple[int, Mapping[str, str]]:
        """Status and headers that a visitor's own credentials get, without the image. Redirects
        are not followed: they lead to logins as often as to images."""
        headers = {"User-Agent": self.user_agent, "Accept": "image/*,*/*;q=0.5"}
        headers |= fields_of(credentials)
        if method == "GET":
            headers["Range"] = "bytes=0-0"
        deadline = Deadline(sum(self.timeout))
        url = requote_uri(fill(self.template, identifier))
        with self._circuits.of(self.host, self.port).turn():
            response = self._send(url, headers, deadline, method)
        if method == "HEAD":
            response.close()  # Some send a body all the same, which must not be the next answer.
        else:
            let_go(response, deadline)
        return response.status_code, {n.lower(): v for n, v in response.headers.items()}

    def ranges(
        self, url: str, headers: Mapping[str, str], changed: Callable[[], None]
    ) -> HttpRanges | None:
        """The file at `url` by parts, if the answer with these headers promises that.

        `changed` is called when it has become another, or there are no parts after all.
        """
        file = url.partition("?")[0]

        def refused() -> None:
            with self._lock:
                self._partless[file] = True

        with self._lock:
            if file in self._partless:
                return None
        return HttpRanges.of(self.fetch, url, headers, changed, refused)

    def fetch(self, url: str, headers: Mapping[str, str]) -> Fetched:
        """GET one URL of this source's, and follow its redirects."""
        deadline = Deadline(self.total)
        sent = {"User-Agent": self.user_agent, "Accept-Encoding": "identity", **headers}
        url = requote_uri(url)
        for _ in range(MOST_REDIRECTS + 1):
            if not self._own(url):
                sent = {n: v for n, v in sent.items() if n not in {"Cookie", "Authorization"}}
            parts = urlsplit(url)
            circuit = self._circuits.of(parts.hostname or "", parts.port or PORTS[parts.scheme])
            with circuit.turn():
                response = self._send(url, sent, deadline)
            target = response.headers.get("Location")
            if response.status_code not in REDIRECTS or not target:
                seen = {name.lower(): value for name, value in response.headers.items()}
                return Fetched(
                    response.status_code,
                    seen,
                    url,
                    self._chunks(response, url),
                    response.close,
                    partial(let_go, response, deadline),
                )
            let_go(response, Deadline(deadline.left()))
            url = self._redirected(url, target)
        raise OriginFailed("The origin redirects this image in circles.", self._told(url))

    def _redirected(self, url: str, target: str) -> str:
        try:
            url = requote_uri(urljoin(url, target))
            parts = urlsplit(url)
            scheme, host, port = parts.scheme, parts.hostname or "", parts.port
        except (ValueError, requests.RequestException) as cause:
            raise OriginFailed(NOT_THERE, self._told(target)) from cause
        if scheme not in PORTS or "@" in parts.netloc or not self._allowed(host, port, scheme):
            raise OriginFailed(NOT_THERE, self._told(url))
        return url.partition("#")[0]

    def _told(self, text: str) -> str:
        """What the log may say of a URL."""
        return text

    def _own(self, url: str) -> bool:
        parts = urlsplit(url)
        return (parts.scheme, parts.hostname, parts.port) == self._place

    def _allowed(self, host: str, port: int | None, scheme: str) -> bool:
        given = port or PORTS[scheme]
        if host == self.host and (given == self.port or {given, self.port} <= {80, 443}):
            return True
        names = [f"{host}:{given}"] + ([host] if given in {80, 443} else [])
        return any(
            fnmatch.fnmatchcase(name, pattern) for name in names for pattern in self.redirect_hosts
        )

    def _send(
        self, url: str, headers: dict[str, str], deadline: Deadline, method: str = "GET"
    ) -> requests.Response:
        try:
            return self._wires().get(url, headers, self.timeout, deadline, method)
        except requests.Timeout as cause:
            told = self._told(f"{url}: {cause}")
            raise OriginTimeout("The origin did not answer in time.", told) from cause
        except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as cause:
            wanting = for_want(cause)
            if wanting is not None:
                raise wanting from cause
            told = self._told(f"{url}: {cause}")
            raise OriginFailed("The origin could not be reached.", told) from cause
        except PrivateAddress as cause:
            raise OriginFailed(NOT_THERE, self._told(f"{url}: {cause}")) from cause

    def _chunks(self, response: requests.Response, url: str) -> Iterator[bytes]:
        """The body as it comes, still encoded."""
        try:
            # read1: what has come already, so that a slow origin's first bytes count at once.
            while chunk := response.raw.read1(CHUNK, decode_content=False):
                yield chunk
        except urllib3.exceptions.TimeoutError as cause:
            raise OriginTimeout(STOPPED, self._told(url)) from cause
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as cause:
            raise OriginFailed(BROKEN_OFF, self._told(f"{url}: {cause}")) from cause

    def _wires(self) -> Wire:
        with self._lock:
            if self._wire is None:
                self._wire = Wire(self._trusted, self._pool)
            return self._wire


def fields_of(credentials: Mapping[str, str]) -> dict[str, str]:
    """Of those that an origin elsewhere understands."""
    names = {"HTTP_COOKIE": "Cookie", "HTTP_AUTHORIZATION": "Authorization"}
    return {names[name]: value for name, value in credentials.items() if name in names}
