"""What takes long is made in the background, and who asks for it is told when to come again."""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable

from cachetools import TTLCache

from iiif_proxy.concurrency.recent import Recent, busy
from iiif_proxy.errors import Busy, SourceChanged

log = logging.getLogger(__name__)
THREADS = 2
LONGEST = 64
# Faults are told to the next who asks, if somebody does within so many seconds.
FAULTS, TOLD = 1000, 60.0
# Before anything was made, and at the most: seconds until it is worth to ask again.
GUESS, MOST = 2.0, 60
# Seconds in which somebody else may have it done; then it is done here, and what fails is told.
HANDED = 60.0
Job = Callable[[], None]


class Later:
    """Jobs by name, first come first served, `THREADS` at a time in this process."""

    def __init__(self) -> None:
        self._handed: TTLCache[str, bool] = TTLCache(FAULTS, HANDED)
        self._overdue: TTLCache[str, bool] = TTLCache(FAULTS, 2 * HANDED)
        self._some = threading.Condition()
        self._names: set[str] = set()
        self._waiting: deque[tuple[str, Job]] = deque()
        self._faults: TTLCache[str, Exception] = TTLCache(FAULTS, TOLD)
        self._took = Recent()
        self._threads: list[threading.Thread] = []

    def submit(self, name: str, job: Job, hand: Callable[[], bool] = lambda: False) -> Busy:
        """Have it done, unless it is on its way already; what to tell who asks.

        `hand` gives it to somebody else, if it can (True): once, and for HANDED seconds.
        Raises what the job raised the last time, once, and Busy when too many wait.
        """
        with self._some:
            fault = self._faults.pop(name, None)
            if fault is not None:
                raise fault
            if name not in self._names and not self._given(name, hand):
                if len(self._waiting) >= LONGEST:
                    raise busy(self._seconds())
                self._names.add(name)
                self._waiting.append((name, job))
                self._start()
                self._some.notify()
            after = min(MOST, max(1, math.ceil(self._seconds())))
        return Busy("This image is being made: ask again.", headers={"Retry-After": str(after)})

    def _given(self, name: str, hand: Callable[[], bool]) -> bool:
        if name in self._handed:
            return True
        if name in self._overdue or not hand():
            return False
        self._handed[name] = self._overdue[name] = True
        return True

    def idle(self) -> bool:
        return not self._names

    def _seconds(self) -> float:
        return (self._took.seconds or GUESS) * (1 + len(self._waiting) // THREADS)

    def _start(self) -> None:
        """After a fork the threads are the parent's."""
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        if len(self._threads) < THREADS:
            thread = threading.Thread(target=self._run, daemon=True, name="later")
            self._threads.append(thread)
            thread.start()

    def _run(self) -> None:
        while True:
            with self._some:
                while not self._waiting:
                    self._some.wait()
                name, job = self._waiting.popleft()
            self._do(name, job)

    def _do(self, name: str, job: Job) -> None:
        fault: Exception | None = None
        begun = time.monotonic()
        try:
            job()
        except SourceChanged:
            pass  # Who asks again asks for what it is by then.
        except Exception as error:
            log.info("what was to be made in the background failed: %r", error)
            fault = error
        with self._some:
            self._took.add(time.monotonic() - begun)
            self._names.discard(name)
            if fault is not None:
                self._faults[name] = fault.with_traceback(None)
