"""What was made for some may go when nobody has read it for a while, long before the bound."""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from iiif_proxy.stores.base import Key
from iiif_proxy.stores.disk import DiskStore
from iiif_proxy.stores.sweep import only_one, walk

log = logging.getLogger(__name__)
# An attribute of the file: it goes with it, and a static server does not see it.
MARK = "user.iiif-proxy.for"
# Seconds between looks at all files, of all processes together; a look takes 5 us a file.
OFTEN, SELDOM = 1.0, 3600.0
PARTS = 10


class Retention:
    """Marks entries of a store with whom they were made for, and removes them in time.

    `lifetimes` are seconds unread by name. A mark is a name, or a name and seconds of its own.
    """

    def __init__(self, store: DiskStore, lifetimes: Callable[[], Mapping[str, float]]) -> None:
        self._store = store
        self._root = os.path.abspath(store.folder)
        self._lifetimes = lifetimes
        self._next = 0.0
        self._told = False
        self._lock = threading.Lock()

    def note(self, key: Key, mark: str) -> None:
        """An entry was made for somebody. What somebody else had made stays as it was."""
        path = f"{self._root}/{key.group}/{key.version}/{key.name}"
        try:
            os.setxattr(path, MARK, mark.encode())
        except FileNotFoundError:
            pass  # It was not kept.
        except (OSError, AttributeError) as refusal:
            if not self._told:
                self._told = True
                log.warning("retention needs a file system with attributes (%s)", refusal)

    def wake(self) -> None:
        """Look at all files, in a thread, if that is due."""
        now = time.monotonic()
        if now < self._next:
            return
        with self._lock:
            if now < self._next:
                return
            lifetimes = self._lifetimes()
            pause = min([SELDOM, *(seconds / PARTS for seconds in lifetimes.values())])
            self._next = now + max(OFTEN, pause)
        if lifetimes and self._due(max(OFTEN, pause)):
            with contextlib.suppress(RuntimeError):  # No more threads: the next time.
                threading.Thread(target=self.sweep, name="retention", daemon=True).start()

    def _due(self, pause: float) -> bool:
        """Whether no process has looked lately."""
        stamp = Path(self._root, ".state", "retention")
        try:
            if time.time() - stamp.stat().st_mtime < pause:
                return False
        except OSError:
            pass
        try:
            stamp.parent.mkdir(parents=True, exist_ok=True)
            stamp.touch()
        except OSError:
            return False
        return True

    def sweep(self) -> int:
        """Remove what is over; the number of entries."""
        lifetimes, gone, now = self._lifetimes(), 0, time.time()
        try:
            with only_one(self._root) as mine:
                if not mine:
                    return 0
                for folder, name, status in walk(self._root):
                    if name[0] == "." or now - status.st_atime < OFTEN:
                        continue
                    path = f"{self._root}/{folder}/{name}"
                    seconds = lifetime(path, lifetimes)
                    if seconds is not None and now - os.lstat(path).st_atime > seconds:
                        group, version = folder.split("/")
                        self._store.delete(Key(group, version, name))
                        gone += 1
        except (OSError, ValueError) as refusal:
            log.warning("what is over could not be removed (%s)", refusal)
        if gone:
            log.info("%s images were not read for so long that they went", gone)
        return gone


def lifetime(path: str, lifetimes: Mapping[str, float]) -> float | None:
    """Seconds, None for what stays."""
    try:
        name, _, own = os.getxattr(path, MARK).decode().partition(" ")
    except (OSError, UnicodeDecodeError, AttributeError):
        return None
    try:
        return float(own) if own else lifetimes.get(name)
    except ValueError:
        return None
