"""What is made in spare time only: one at a time, while nobody else waits."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from iiif_proxy.concurrency.recent import busy as too_much

PAUSE = 0.02
RETRY = 10


class Spare:
    """A place for one in a process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @contextmanager
    def enter(self, busy: Callable[[], bool], patience: float) -> Iterator[None]:
        """Wait for the place, and until `busy()` is false; Busy after `patience` seconds."""
        deadline = time.monotonic() + patience
        if not self._lock.acquire(timeout=max(0.0, patience)):
            raise too_much(RETRY)
        try:
            while busy():
                if time.monotonic() >= deadline:
                    raise too_much(RETRY)
                time.sleep(PAUSE)
            yield
        finally:
            self._lock.release()
