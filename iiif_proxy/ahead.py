"""Work before it is asked for: in the background, when nobody waits, at the lowest priority."""

import contextlib
import fcntl
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

log = logging.getLogger(__name__)
NICE = 19
PAUSE = 0.01
# Of guesses only the newest count: a visitor has moved on from the others.
GUESSES = 8
# A viewer asks for what it shows in one burst: what it will want next can wait so long.
QUIET = 0.05

# Yields wherever it may be made to wait.
Job = Callable[[], Iterator[None]]


class Ahead:
    """Jobs one after the other, guesses between their steps, one process of this machine at a time.

    `busy` says whether somebody is waiting for this process: work pauses then.
    """

    def __init__(self, folder: Path | None, busy: Callable[[], bool]) -> None:
        self._folder = folder
        self._busy = busy
        self._some = threading.Condition()
        self._jobs: deque[Job] = deque()
        self._guesses: deque[Job] = deque(maxlen=GUESSES)
        self._thread: threading.Thread | None = None
        self._working = False

    def submit(self, job: Job) -> None:
        """To be done after those before it."""
        self._add(self._jobs, job)

    def guess(self, job: Job) -> None:
        """To be done next, or never, if newer guesses come."""
        self._add(self._guesses, job)

    def idle(self) -> bool:
        """Whether nothing is to be done, nor being done."""
        with self._some:
            return not (self._jobs or self._guesses or self._working)

    def _add(self, queue: deque[Job], job: Job) -> None:
        with self._some:
            queue.append(job)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, daemon=True, name="ahead")
                self._thread.start()
            self._some.notify()

    def _run(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        while True:
            with self._some:
                self._working = False
                while not self._jobs and not self._guesses:
                    self._some.wait()
                self._working = True
            with self._alone():
                while self._jobs or self._guesses:
                    self._next()

    def _next(self) -> None:
        if self._guesses:
            self._guess()
            return
        with self._some:
            job = self._jobs.popleft()
        self._work(job)

    def _guess(self) -> None:
        """The newest, when the visitor has been given what was asked for."""
        time.sleep(QUIET)
        while self._busy():
            time.sleep(PAUSE)
        with self._some:
            newest = self._guesses.pop() if self._guesses else None
        if newest is not None:
            self._work(newest, guess=True)

    def _work(self, job: Job, guess: bool = False) -> None:
        try:
            for _ in job():
                while self._busy():
                    time.sleep(PAUSE)
                if not guess and self._guesses:
                    self._guess()
        except Exception as cause:
            log.warning("work ahead ended: %r", cause)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """The kernel frees the lock of a process that dies."""
        lock = None
        if self._folder is not None:
            with contextlib.suppress(OSError):
                self._folder.mkdir(parents=True, exist_ok=True)
                lock = os.open(self._folder / "ahead.lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if lock is not None:
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            if lock is not None:
                os.close(lock)
