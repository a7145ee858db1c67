"""The policy that is in force: read again when its files change, if they are right."""

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from iiif_proxy.access.reading import PolicyError
from iiif_proxy.access.regime import Regime

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
        self.regime = establish()
        self._seen = stamps(self.regime.files)
        self.fault: str | None = None

    def current(self) -> Regime:
        if time.monotonic() >= self._next and self._lock.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._next = time.monotonic() + self._pause
                self._lock.release()
        return self.regime

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


def stamps(files: tuple[Path, ...]) -> list[object]:
    found: list[object] = []
    for path in files:
        try:
            status = os.stat(path)
            found.append((status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
        except OSError:
            found.append(None)
    return found
