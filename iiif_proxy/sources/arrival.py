"""One fetch that many wait for: first for the image's header, then for its bytes."""

import threading
import time
from dataclasses import dataclass

from iiif_proxy.errors import OriginTimeout, ProxyError
from iiif_proxy.sources.held import STALLED, Held
from iiif_proxy.sources.known import Moment
from iiif_proxy.sources.record import Record

# Seconds for whoever waits for the header: Python runs one thread at a time, and would go on with
# the rest first (info.json 1 ms later).
AFTER_YOU = 0.002


@dataclass(frozen=True, slots=True)
class SourceImage:
    """A source at one state. `held`: its bytes, in hand already, though some may be to come."""

    record: Record
    held: Held | None = None


class Arrival:
    """What has come so far of one fetch, for the threads of this process; `since`: its begin."""

    def __init__(self, since: Moment) -> None:
        self.since = since
        self._changed = threading.Condition()
        self._image: SourceImage | None = None
        self._error: ProxyError | None = None
        self._done = False
        self._size = 0

    def grown(self, size: int) -> None:
        """So many bytes are in the file."""
        with self._changed:
            self._size = size
            self._changed.notify_all()

    def head(self, image: SourceImage) -> None:
        """The header has come: width and height are known, the rest is on its way."""
        with self._changed:
            self._image = image
            self._changed.notify_all()

    def show(self, record: Record, held: Held | None = None) -> None:
        """The same, before it is written down: after those who wait for it."""
        self.head(SourceImage(record, held))
        time.sleep(AFTER_YOU)

    def finish(self, image: SourceImage | None, error: ProxyError | None) -> None:
        with self._changed:
            self._image, self._error, self._done = image, error, True
            self._changed.notify_all()

    def wait_beyond(self, offset: int) -> bool:
        """As Growing says."""
        end = time.monotonic() + STALLED
        with self._changed:
            while self._size <= offset:
                if self._error:
                    raise copied(self._error)
                if self._done:
                    return False
                self._wait_until(end)
        return True

    def wait(self, whole: bool, timeout: float) -> SourceImage:
        """The image; with `whole` False as soon as its header is known."""
        end = time.monotonic() + timeout
        with self._changed:
            while True:
                if self._error:
                    raise copied(self._error)
                if self._image is not None and (self._done or not whole):
                    return self._image
                self._wait_until(end)

    def _wait_until(self, end: float) -> None:
        left = end - time.monotonic()
        if left <= 0:
            raise OriginTimeout("The origin took too long for this image.")
        self._changed.wait(left)


def copied(error: ProxyError) -> ProxyError:
    """One exception object must not be raised in several threads."""
    return type(error)(error.public, error.cause, dict(error.headers))
