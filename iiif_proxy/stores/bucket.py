"""An object store of several machines: S3, Google Cloud Storage or Azure, by obstore."""

import logging
import math
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from obstore.store import ObjectStore

log = logging.getLogger(__name__)
T = TypeVar("T")

# Seconds. A reader waits for the first, and nobody within the pause after a failure.
READ_TIMEOUT, WRITE_TIMEOUT, CONNECT_TIMEOUT = 5, 60, 2
PAUSE = 5.0
MTIME = "mtime"
# By any bucket of this process or of the one it was forked from.
_used = False


class Away(Exception):
    """The object store does not answer, or did not a moment ago."""


class Bucket:
    """Objects below a URL such as `s3://bucket/prefix`. Raises ImportError without obstore.

    Credentials, region and endpoint come from the variables of each vendor (`AWS_...`,
    `GOOGLE_...`, `AZURE_...`) or from the machine's role. After a failure nothing is sent for
    `pause` seconds, then one request tries for all; meanwhile every method raises Away at once.

    Where one was used before a fork, obstore 0.12 hangs in the child, with a new client too: there
    the store is Away for good. (`serve` forks before; gunicorn's `--preload` does too.)
    """

    def __init__(self, url: str, *, pause: float = PAUSE) -> None:
        import obstore

        self.url = url
        self._obstore = obstore
        self._pause = pause
        self._clients: dict[int, ObjectStore] = {}
        self._lock = threading.Lock()
        self._until = 0.0
        self.fault = ""
        _all.add(self)
        self._client(READ_TIMEOUT)  # A URL that cannot be is a mistake of the start: ValueError.

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        if _used:
            self.fault, self._until = "Forked", math.inf

    def _client(self, timeout: int) -> "ObjectStore":
        with self._lock:
            found = self._clients.get(timeout)
            if found is None:
                found = self._clients[timeout] = opened(self.url, timeout)
            return found

    @property
    def away(self) -> bool:
        return bool(self.fault)

    def get(self, name: str) -> tuple[bytes, float | None] | None:
        """The bytes and the mtime (seconds) they were put with; None: it is not there."""

        def read() -> tuple[bytes, float | None]:
            found = self._obstore.get(self._client(READ_TIMEOUT), name)
            data = bytes(found.bytes())
            if len(data) != found.meta["size"]:
                raise OSError("an object was cut short")
            return data, _seconds(found.attributes)

        try:
            return self._try(read)
        except FileNotFoundError:
            return None

    def put(self, name: str, data: bytes, attributes: Mapping[str, str]) -> bool:
        """Put it if there is none: whether it was we. What is there is never written over."""

        def write() -> None:
            self._obstore.put(
                self._client(WRITE_TIMEOUT),
                name,
                data,
                attributes=dict(attributes),
                mode="create",
                use_multipart=False,  # Which would not look whether there is one.
            )

        try:
            self._try(write)
        except self._obstore.exceptions.AlreadyExistsError:
            return False
        return True

    def has(self, name: str) -> bool:
        try:
            self._try(lambda: self._obstore.head(self._client(READ_TIMEOUT), name))
        except FileNotFoundError:
            return False
        return True

    def signed(self, name: str, seconds: float) -> str:
        """A URL for reading it, by whoever has the URL, for so long."""
        client: Any = self._client(READ_TIMEOUT)  # One of S3, Google or Azure: all three sign.
        made: str = self._try(
            lambda: self._obstore.sign(client, "GET", name, timedelta(seconds=seconds))
        )
        return made

    def names(self, folder: str = "") -> Iterator[list[str]]:
        """What is below a folder, some at a time."""
        listed = self._try(
            lambda: iter(self._obstore.list(self._client(READ_TIMEOUT), folder or None))
        )
        end: list[Any] = []
        while batch := self._try(lambda: next(listed, end)):
            yield [item["path"] for item in batch]

    def delete(self, names: list[str]) -> None:
        if names:
            try:
                self._try(lambda: self._obstore.delete(self._client(WRITE_TIMEOUT), names))
            except FileNotFoundError:
                return

    def look(self) -> None:
        """Raise Away if it does not answer now, or not to us."""

        def list_some() -> None:
            next(iter(self._obstore.list(self._client(READ_TIMEOUT), ".none", chunk_size=1)), None)

        self._try(list_some, always=True)

    def _try(self, ask: Callable[[], T], always: bool = False) -> T:
        if self.fault:
            with self._lock:
                now = time.monotonic()
                if now < self._until and (not always or self._until == math.inf):
                    raise Away(self.fault)
                self._until = now + self._pause  # Others go on waiting for what comes of this.
        global _used
        _used = True
        try:
            answer = ask()
        except (FileNotFoundError, self._obstore.exceptions.AlreadyExistsError):
            self._answered()
            raise
        except (self._obstore.exceptions.BaseError, OSError, ValueError) as error:
            fault = type(error).__name__
            with self._lock:
                first = not self.fault
                self.fault, self._until = fault, time.monotonic() + self._pause
            if first:
                log.warning("the shared cache does not answer (%s): going on without", fault)
                log.debug("%s", error)
            raise Away(fault) from error
        self._answered()
        return answer

    def _answered(self) -> None:
        if self.fault:
            log.warning("the shared cache answers again")
            self.fault = ""


def opened(url: str, timeout: int) -> "ObjectStore":
    from obstore.store import from_url

    return from_url(
        url,
        client_options={
            "timeout": timedelta(seconds=timeout),
            "connect_timeout": timedelta(seconds=CONNECT_TIMEOUT),
            # A store of one's own network may be without TLS; the endpoint's scheme decides.
            "allow_http": True,
        },
        retry_config={"max_retries": 1, "retry_timeout": timedelta(seconds=CONNECT_TIMEOUT)},
    )


def _seconds(attributes: Mapping[Any, str]) -> float | None:
    try:
        return float(attributes.get(MTIME, ""))
    except ValueError:
        return None


_all: "weakref.WeakSet[Bucket]" = weakref.WeakSet()


def _after_fork() -> None:
    for bucket in list(_all):
        bucket.after_fork()


os.register_at_fork(after_in_child=_after_fork)
