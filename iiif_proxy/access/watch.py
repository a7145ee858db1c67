"""The policy that is in force: read again when its files change, if they are right."""

import contextlib
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path

from iiif_proxy.access.reading import PolicyError
from iiif_proxy.access.regime import Regime
from iiif_proxy.sources.base import mind_forks

log = logging.getLogger(__name__)
# Seconds between looks at the files: a stat each.
PAUSE = 2.0


class Watch:
    """`changed` is called for every policy that comes into force after the first.

    Raises PolicyError when the first is not right.
    """

    def __init__(
        self,
        establish: Callable[[], Regime],
        pause: float | None = None,
    ) -> None:
        self._establish = establish
        self.changed: Callable[[], None] = lambda: None
        self._pause = PAUSE if pause is None else pause
        self._lock = threading.Lock()
        self._next = 0.0
        self._alone = False
        mind_forks(self)
        self.regime = establish()
        self._seen = stamps(self.regime.files)
        self.fault: str | None = None

    def after_fork(self) -> None:
        """Threads do not survive it; a lock may have been held by one."""
        self._lock = threading.Lock()
        self._alone = False

    def current(self) -> Regime:
        if not self._alone and self.regime.files:
            self._begin()
        if time.monotonic() >= self._next and self._lock.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._next = time.monotonic() + self._pause
                self._lock.release()
        return self.regime

    def _begin(self) -> None:
        """Look also while no request comes: a static server may be answering all of them."""
        with self._lock:
            if self._alone:
                return
            self._alone = True
        with contextlib.suppress(RuntimeError):  # No more threads: then as requests come.
            threading.Thread(
                target=looking, args=(weakref.ref(self),), name="policy", daemon=True
            ).start()

    def _look(self) -> None:
        seen = stamps(self.regime.files)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            regime = self._establish()
        except PolicyError as error:
            self.fault = str(error)
            log.error("the policy was changed and is not right; the old one stays: %s", error)
            return
        self.fault = None
        self._seen = stamps(regime.files)
        self.regime = regime
        self.changed()
        log.info("a new policy is in force")


def looking(of: "weakref.ref[Watch]") -> None:
    """As long as there is a proxy that goes by it."""
    while True:
        time.sleep(PAUSE or 1.0)
        watch = of()
        if watch is None:
            return
        watch.current()
        del watch


def stamps(files: tuple[Path, ...]) -> list[object]:
    found: list[object] = []
    for path in files:
        try:
            status = os.stat(path)
            found.append((status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
        except OSError:
            found.append(None)
    return found
