"""Parts of a source over HTTP Range: a tiled file is read without being fetched."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import urllib3.exceptions

from iiif_proxy.errors import OriginFailed, OriginTimeout, SourceChanged
from iiif_proxy.ranges import Span

CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
# Spans of one tile are fetched beside each other.
_pool = ThreadPoolExecutor(8, thread_name_prefix="ranges")


class HttpRanges:
    """A ByteSource: one URL at one state, named by `validator` (a header and its value then).

    `pool` gives the connection pool of the source. Raises SourceChanged (after `changed()`) when
    the origin has another file by now, or gives no parts any more; OriginFailed; OriginTimeout.
    """

    def __init__(
        self,
        url: str,
        size: int,
        validator: tuple[str, str],
        pool: Callable[[], Any],
        timeout: tuple[float, float],
        headers: dict[str, str],
        changed: Callable[[], None],
    ) -> None:
        parts = urlsplit(url)
        self._target = parts.path + (f"?{parts.query}" if parts.query else "")
        self._url = url
        self._size = size
        self._validator = validator
        self._pool = pool
        self._timeout = urllib3.Timeout(connect=timeout[0], read=timeout[1])
        self._headers = headers
        self._changed = changed

    @property
    def size(self) -> int:
        return self._size

    def read(self, offset: int, size: int) -> bytes:
        size = min(size, self._size - offset)
        if size <= 0:
            return b""
        headers = {**self._headers, "Range": f"bytes={offset}-{offset + size - 1}"}
        try:
            answer = self._pool().urlopen(
                "GET",
                self._target,
                headers=headers,
                redirect=False,
                retries=False,
                timeout=self._timeout,
                preload_content=False,
            )
            try:
                return self._body(answer, offset, size)
            finally:
                answer.release_conn()
        except urllib3.exceptions.TimeoutError as cause:
            raise OriginTimeout("The origin did not answer in time.", self._url) from cause
        except urllib3.exceptions.HTTPError as cause:
            raise OriginFailed(
                "The origin could not be reached.", f"{self._url}: {cause}"
            ) from cause

    def _body(self, answer: Any, offset: int, size: int) -> bytes:
        said = CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        name, value = self._validator
        if answer.status != 206 or not said or answer.headers.get(name) != value:
            answer.close()
            if answer.status >= 500:
                raise OriginFailed("The origin failed to give a part of this image.", self._url)
            self._changed()
            raise SourceChanged
        if tuple(map(int, said.groups())) != (offset, offset + size - 1, self._size):
            answer.close()
            self._changed()
            raise SourceChanged
        data: bytes = answer.read(size + 1)
        if len(data) != size:
            raise OriginFailed("The origin broke off in the middle of this image.", self._url)
        return data

    def read_many(self, spans: list[Span]) -> list[bytes]:
        if len(spans) == 1:
            return [self.read(*spans[0])]
        return list(_pool.map(lambda span: self.read(*span), spans))
