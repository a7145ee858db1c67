"""Writing canonical tiles ahead: a source that was opened once becomes files."""

import contextlib
import fcntl
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

log = logging.getLogger(__name__)
NICE = 19
PAUSE = 0.01


class Ahead:
    """Background work, one piece at a time on this machine, at the lowest priority.

    `busy` says whether somebody is waiting for this process: work pauses then.
    """

    def __init__(self, folder: Path | None, busy: Callable[[], bool]) -> None:
        self._folder = folder
        self._busy = busy
        self._lock = threading.Lock()
        self._jobs: queue.SimpleQueue[Callable[[], Iterator[None]]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def submit(self, job: Callable[[], Iterator[None]]) -> None:
        """Run a job after those before it; it yields where it may be made to wait."""
        self._jobs.put(job)
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        while True:
            with contextlib.suppress(Exception):
                job = self._jobs.get()
                with self._alone():
                    self._work(job())

    def _work(self, steps: Iterable[None]) -> None:
        try:
            for _ in steps:
                while self._busy():
                    time.sleep(PAUSE)
        except Exception as cause:
            log.warning("writing tiles ahead ended: %s", cause)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One process of this machine at a time; the kernel frees the lock of a dead one."""
        if self._folder is None:
            yield
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(self._folder / "ahead.lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError:
            yield
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)
