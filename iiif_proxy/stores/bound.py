"""The bound of a disk store: room is taken before it is written, and made by sweeping."""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterator

from iiif_proxy.stores import history
from iiif_proxy.stores.ledger import Ledger, Total
from iiif_proxy.stores.sweep import FOLDER, Swept, only_one, remove_tree, sweep

log = logging.getLogger(__name__)

# Of the bound: what a sweep leaves, what the total never exceeds, and what is taken at most while
# nobody has counted. The rest to 110 % is for what the total cannot know: writes under way while
# a sweep counts, a large draft not yet complete.
LEFT, MOST, MOST_UNSURE = 90, 105, 2
# An object of this share of the bound waits for room; for a smaller one nobody waits.
LARGE = 64
QUIET_SECONDS = 60.0


class Bound:
    """Room below `root` for `max_bytes`, shared by all processes. Only `open` and `room` raise."""

    def __init__(self, root: str, max_bytes: int, background: bool) -> None:
        self._root = root
        self._max = max_bytes
        self._background = background
        self._ledger = Ledger(root)
        self._sweeper: threading.Thread | None = None
        self._starting = threading.Lock()
        self._not_before = 0.0
        self._warned = -QUIET_SECONDS

    def open(self) -> None:
        """Before the first folder is made: a new store knows that it is empty. Raises OSError."""
        self._ledger.change(0)

    @contextlib.contextmanager
    def room(self, size: int) -> Iterator[bool]:
        """Whether there is room for `size` more bytes: taken before they are written.

        Given back if that fails. Raises OSError.
        """
        total = None if size > self._max else self._taken(size)
        if total is not None and not total.done and self.is_large(size):
            total = self._made(size)
        taken = total is not None and total.done
        try:
            yield taken
        except BaseException:
            if taken:
                self.count(-size)
            raise
        if total is not None and not (taken and total.sure and total.bytes <= self._max):
            self._sweep_soon()

    def is_large(self, size: int) -> bool:
        return size * LARGE >= self._max

    def _made(self, size: int) -> Total | None:
        """Room for a large object, made while it waits."""
        if time.monotonic() < self._not_before:
            return None
        self.sweep(size + 2 * FOLDER, patience=1.0)
        return self._taken(size)

    def _taken(self, size: int) -> Total:
        most, unsure = self._max * MOST // 100, self._max * MOST_UNSURE // 100
        return self._ledger.change(size, most, unsure)

    def count(self, delta: int) -> None:
        """Bytes that came or went besides."""
        with contextlib.suppress(OSError):
            self._ledger.change(delta)

    def sweep(self, need: int = 0, *, patience: float = 0.0) -> Swept:
        """Evict down to 90 % of the bound, and to room for `need` bytes.

        Nothing if another sweeps already, after `patience` seconds.
        """
        target = max(0, min(self._max * LEFT // 100, self._max - need))
        begun = time.monotonic()
        try:
            with only_one(self._root, patience) as mine:
                swept = sweep(self._root, self._ledger, target) if mine else Swept()
                if mine:
                    left = swept.entries - swept.evicted
                    history.note(self._root, swept.evicted, swept.freed, left)
        except OSError as refusal:
            self.refused(refusal)
            return Swept()
        if swept.bytes - swept.freed > self._max:
            # What cannot be removed must not be scanned at every write.
            now = time.monotonic()
            self._not_before = now + max(1.0, 10 * (now - begun))
        return swept

    def _sweep_soon(self) -> None:
        """In a thread: a sweep of 100 000 entries takes 0.45 s, and someone waits for an answer."""
        if time.monotonic() < self._not_before:
            return
        if not self._background:
            self.sweep()
            return
        with self._starting:
            if self._sweeper is None or not self._sweeper.is_alive():
                self._sweeper = threading.Thread(target=self._sweeping, name="sweep", daemon=True)
                with contextlib.suppress(RuntimeError):  # No more threads: at the next write.
                    self._sweeper.start()

    def _sweeping(self) -> None:
        """Until the bound holds: what was written while a sweep ended has started no other."""
        while True:
            swept = self.sweep()
            with self._starting:
                # Nothing seen: another process sweeps, or the disk refuses.
                if not swept.bytes or time.monotonic() < self._not_before or not self._over():
                    self._sweeper = None
                    return

    def _over(self) -> bool:
        try:
            return self._ledger.change(0).bytes > self._max
        except OSError:
            return False

    def remove(self, path: str, trash: str) -> int:
        """Move a folder away at once, to below `trash`, and remove it there: files removed.

        Not while a sweep counts, or bytes would be taken off that it has not seen: then the total
        stays too high until the next one.
        """
        with contextlib.ExitStack() as stack:
            alone = False
            with contextlib.suppress(OSError):
                alone = stack.enter_context(only_one(self._root))
            files, freed = remove_tree(_moved(path, trash))
            if alone:
                self.count(-freed)
            return files

    def refused(self, refusal: OSError) -> None:
        """Say that the disk refuses, once a minute."""
        now = time.monotonic()
        if now - self._warned >= QUIET_SECONDS:
            self._warned = now
            cause = refusal.strerror or str(refusal)
            log.warning("the cache refuses (%s); answering from memory", cause)


def _moved(path: str, trash: str) -> str:
    """Where the folder is now: where it was, if it cannot be moved."""
    try:
        os.rename(path, trash)
    except FileNotFoundError:
        try:
            os.makedirs(os.path.dirname(trash), exist_ok=True)
            os.rename(path, trash)
        except OSError:
            return path
    except OSError:
        return path
    return trash
