"""Parts of a source over HTTP Range: a tiled file is read without being fetched."""

import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ClassVar, Protocol, Self

from iiif_proxy.errors import OriginFailed, SourceChanged
from iiif_proxy.ranges import Span
from iiif_proxy.sources.base import entity_tag, judge, length_of, mind_forks

CONTENT_RANGE = re.compile(r"bytes +([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15}|\*)")
UNSATISFIED = re.compile(r"bytes +\*/([0-9]{1,15})")
# Spans that are fetched beside each other, by all requests of a process.
ABREAST = 16
# A span is held in memory.
MOST = 256 << 20


class RangesRefused(SourceChanged):
    """The origin does not give parts (any more): fetch the file whole."""


class Fetched(Protocol):
    """What HttpSource.fetch gives."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def url(self) -> str: ...
    @property
    def chunks(self) -> Iterator[bytes]: ...
    @property
    def close(self) -> Callable[[], None]: ...
    @property
    def let_go(self) -> Callable[[], None]: ...


Fetch = Callable[[str, Mapping[str, str]], Fetched]


class HttpRanges:
    """A ByteSource: one URL at one state, which `etag`, or `modified` without one, names.

    One request a span, in parallel. `size` may be told by the first answer. Raises SourceChanged
    when the origin has another file by now, RangesRefused when it does not give parts (both after
    `changed()`, the latter after `refused()`), OriginFailed, OriginTimeout, TooManyRequests.
    """

    head = b""
    # The headers that `of` wants to know.
    SAYING: ClassVar = (
        "accept-ranges", "content-encoding", "content-length", "etag", "last-modified",
    )  # fmt: skip

    def __init__(
        self,
        fetch: Fetch,
        url: str,
        *,
        etag: str | None = None,
        modified: str | None = None,
        size: int | None = None,
        changed: Callable[[], None] = lambda: None,
        refused: Callable[[], None] = lambda: None,
    ) -> None:
        self._fetch = fetch
        self._url = url
        self._validator = ("etag", etag) if etag else ("last-modified", modified)
        self._size = size
        self._changed = changed
        self._refused = refused
        # A weak tag is no condition for a part: the origin would send all of it.
        strong = etag if etag is None or etag.startswith('"') else None
        condition = strong or (None if etag else modified)
        self._sent = {"If-Range": condition} if condition else {}

    @classmethod
    def of(
        cls,
        fetch: Fetch,
        url: str,
        headers: Mapping[str, str],
        changed: Callable[[], None],
        refused: Callable[[], None] = lambda: None,
    ) -> Self | None:
        """The file of an answer with these headers, if they promise its parts."""
        etag, modified = entity_tag(headers), headers.get("last-modified")
        size = length_of(headers)
        coded = headers.get("content-encoding", "identity").lower() != "identity"
        gives = "bytes" in headers.get("accept-ranges", "").lower().replace(",", " ").split()
        if not gives or coded or size is None or not (etag or modified):
            return None
        return cls(
            fetch, url, etag=etag, modified=modified, size=size, changed=changed, refused=refused
        )

    @property
    def size(self) -> int | None:
        return self._size

    def read(self, offset: int, size: int) -> bytes:
        if self._size is not None:
            size = min(size, self._size - offset)
        if size <= 0 or offset < 0:
            return b""
        if size > MOST:
            raise OriginFailed("A part of this image is larger than is allowed here.", str(size))
        wanted = {"Range": f"bytes={offset}-{offset + size - 1}", **self._sent}
        got = self._fetch(self._url, wanted)
        try:
            if got.status == 206:
                return self._part(got, offset, size)
            if got.status == 416:
                return self._beyond(got, offset)
            raise self._refusal(got)
        except BaseException:
            got.close()
            raise

    def read_many(self, spans: list[Span]) -> list[bytes]:
        """One of them here, the others beside it."""
        others = [_threads.submit(self.read, span) for span in spans[1:]]
        first = [self.read(*span) for span in spans[:1]]
        return first + [other.result() for other in others]

    def _part(self, got: Fetched, offset: int, size: int) -> bytes:
        self._compare(got)
        said = CONTENT_RANGE.fullmatch(got.headers.get("content-range", ""))
        if not said or got.headers.get("content-encoding", "identity").lower() != "identity":
            raise self._none("no Content-Range, or a compressed part")
        first, end = int(said[1]), int(said[2]) + 1
        total = None if said[3] == "*" else int(said[3])
        if self._size is None:
            self._size = total
        elif total not in {None, self._size}:
            raise self._another(f"{total} bytes instead of {self._size}")
        whole = offset + size if total is None else min(offset + size, total)
        if first != offset or not (end == whole or (total is None and offset < end < whole)):
            raise self._none(f"bytes {first}-{end - 1} instead of {offset}-{whole - 1}")
        blocks: list[bytes] = []
        for block in got.chunks:
            blocks.append(block)
            size -= len(block)
            if size < 0:
                break
        data = b"".join(blocks)
        if len(data) != end - offset:
            raise OriginFailed("The origin broke off in the middle of this image.", self._url)
        return data

    def _beyond(self, got: Fetched, offset: int) -> bytes:
        said = UNSATISFIED.fullmatch(got.headers.get("content-range", ""))
        got.let_go()
        if self._size is None and said and int(said[1]) <= offset:
            self._size = int(said[1])
            return b""
        raise self._another("416")

    def _refusal(self, got: Fetched) -> Exception:
        """What an answer without the part means."""
        if got.status == 200:
            self._compare(got)
            return self._none("200")
        # A redirect's target, whose signature may have run out, is asked for from the start.
        if got.status in {401, 403, 412} or not judge(got.status, got.headers, got.url):
            return self._another(str(got.status))
        return self._none(str(got.status))

    def _compare(self, got: Fetched) -> None:
        name, value = self._validator
        said = got.headers.get(name)
        if said is not None and value is not None and said != value:
            raise self._another(f"{name} {said}")
        if said is None and value is not None and not self._sent:
            raise self._none(f"no {name}")

    def _another(self, why: str) -> SourceChanged:
        self._changed()
        return SourceChanged(f"{self._url}: {why}")

    def _none(self, why: str) -> RangesRefused:
        self._refused()
        self._changed()
        return RangesRefused(f"{self._url}: {why}")


class _Threads:
    """A pool for spans, begun anew after a fork."""

    def __init__(self) -> None:
        self.after_fork()
        mind_forks(self)

    def after_fork(self) -> None:
        self._pool = ThreadPoolExecutor(ABREAST, thread_name_prefix="ranges")

    def submit(self, read: Callable[[int, int], bytes], span: Span) -> "Future[bytes]":
        return self._pool.submit(read, *span)


_threads = _Threads()
