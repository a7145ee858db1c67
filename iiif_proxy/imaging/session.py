"""Tile sessions: a large source is decoded once, for all threads and processes."""

import contextlib
import fcntl
import json
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from iiif_proxy.errors import Busy
from iiif_proxy.iiif.model import Box
from iiif_proxy.imaging.decode import Feed, fill
from iiif_proxy.imaging.levels import CLOSED, FAILED, POLL, Levels, Shape, shape_of
from iiif_proxy.imaging.resample import resample

log = logging.getLogger(__name__)
PROC = Path("/proc/self/fd")


class Session:
    """A source whose pixels are in memory, or on their way there.

    Boxes are in stored pixels (before EXIF orientation); colours are the source's own.
    """

    def __init__(self, levels: Levels, lock: int | None, mine: bool) -> None:
        self.levels = levels
        self.mine = mine
        self.used = time.monotonic()
        self._lock = lock

    @property
    def alive(self) -> bool:
        return self.levels.state not in {FAILED, CLOSED}

    def read(self, box: Box, width: int, height: int, timeout: float) -> Image.Image:
        """That region at width x height, as soon as its rows are decoded.

        A canonical tile is cut out of its level without resampling, so that tiles join without a
        seam. Raises Busy and OriginFailed.
        """
        self.used = time.monotonic()
        levels = self.levels
        factor = factor_for(box, width, height, levels.shape)
        exact = aligned(box, width, height, 2)
        if exact:
            factor = 1
        last = min(-(-(box.y + box.height) // factor), levels.shape.size(factor)[1])
        levels.wait(factor, last, timeout)
        image = levels.image(factor)
        if exact:
            return image.reduce(2, (box.x, box.y, box.x + box.width, box.y + box.height))
        if aligned(box, width, height, factor):
            left, top = box.x // factor, box.y // factor
            return image.crop((left, top, left + width, top + height))
        edges = (
            box.x / factor,
            box.y / factor,
            min((box.x + box.width) / factor, image.width),
            min((box.y + box.height) / factor, image.height),
        )
        return resample(image, edges, width, height)

    def ready(self, box: Box, width: int, height: int) -> bool:
        """Whether `read` would not have to wait."""
        factor = factor_for(box, width, height, self.levels.shape)
        last = min(-(-(box.y + box.height) // factor), self.levels.shape.size(factor)[1])
        return self.levels.rows(factor) >= last

    def close(self) -> None:
        """End it for everybody; what is being read still finishes."""
        if self.mine:
            self.levels.state = CLOSED
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def aligned(box: Box, width: int, height: int, factor: int) -> bool:
    """Whether a box at this size lies on the grid of a level: a crop then, no resampling."""
    return (
        box.x % factor == 0
        and box.y % factor == 0
        and width == -(-box.width // factor)
        and height == -(-box.height // factor)
    )


def factor_for(box: Box, width: int, height: int, shape: Shape) -> int:
    """The coarsest level that still has at least one pixel for each of the answer's.

    A tile at the right or lower edge may be rounded up by part of a pixel: it counts as its level.
    """
    for factor in reversed(shape.factors):
        if aligned(box, width, height, factor) or (
            factor * width <= box.width and factor * height <= box.height
        ):
            return factor
    return 1


class Sessions:
    """The sessions of this process and, through `folder`, those of its neighbours.

    `budget` bounds the bytes that this process's own sessions take: the least recently used ends.
    """

    def __init__(self, folder: Path | None, budget: int) -> None:
        self._folder = folder
        self._budget = budget
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}

    def get(self, key: str) -> Session | None:
        """A session that this process has already."""
        session = self._sessions.get(key)
        if session is not None and not session.alive:
            self.drop(key, session)
            return None
        return session

    def fits(self, shape: Shape) -> bool:
        return shape.total <= self._budget

    def open(
        self, key: str, start: Callable[[], tuple[Image.Image, Feed, str]], timeout: float
    ) -> Session:
        """The session of a source: this process's, a neighbour's, or begun now.

        `start` opens the image (its header), and gives it with its feed and the mode to keep.
        """
        end = time.monotonic() + timeout
        while True:
            with self._lock:
                session = self.get(key)
                if session is None:
                    session = self._attach_or_begin(key, start)
                    if session is not None:
                        self._sessions[key] = session
            if session is not None:
                return session
            if time.monotonic() > end:
                raise Busy("The image is not decoded yet.", headers={"Retry-After": "1"})
            time.sleep(POLL)

    def drop(self, key: str, session: Session) -> None:
        with contextlib.suppress(KeyError):
            if self._sessions[key] is session:
                del self._sessions[key]
        session.close()

    def bytes(self) -> int:
        return sum(s.levels.held_bytes() for s in list(self._sessions.values()) if s.mine)

    def _attach_or_begin(
        self, key: str, start: Callable[[], tuple[Image.Image, Feed, str]]
    ) -> Session | None:
        """None: a neighbour has just begun, and has not said where yet."""
        lock = None
        if self._folder is not None and PROC.exists():
            with contextlib.suppress(OSError):
                self._folder.mkdir(parents=True, exist_ok=True)
                lock = os.open(self._folder / f"{key}.lock", os.O_RDWR | os.O_CREAT, 0o644)
        if lock is not None:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                found = self._attach(lock)
                os.close(lock)
                return found
            os.ftruncate(lock, 0)
        return self._begin(start, lock)

    def _attach(self, lock: int) -> Session | None:
        """What the holder of the lock has written into it says where its memory is."""
        raw = os.pread(lock, 4096, 0)
        try:
            said: dict[str, Any] = json.loads(raw)
            shape = Shape(said["width"], said["height"], said["mode"], tuple(said["factors"]))
            address = {int(factor): number for factor, number in said["address"].items()}
            return Session(Levels.attach(shape, said["pid"], address), None, False)
        except (ValueError, KeyError, TypeError):
            return None
        except OSError as cause:
            log.warning("a neighbour's session cannot be shared: %s", cause)
            return None

    def _begin(
        self, start: Callable[[], tuple[Image.Image, Feed, str]], lock: int | None
    ) -> Session:
        try:
            opened, feed, mode = start()
            shape = shape_of(*opened.size, mode)
            self._make_room(shape.total)
            levels = Levels.create(shape)
            if lock is not None:
                said = {
                    "pid": os.getpid(),
                    "width": shape.width,
                    "height": shape.height,
                    "mode": shape.mode,
                    "factors": shape.factors,
                    "address": levels.address(),
                }
                os.pwrite(lock, json.dumps(said).encode(), 0)
        except BaseException:
            if lock is not None:
                os.close(lock)
            raise
        threading.Thread(target=_fill, args=(levels, opened, feed), daemon=True).start()
        return Session(levels, lock, True)

    def _make_room(self, wanted: int) -> None:
        own = [(s.used, key, s) for key, s in self._sessions.items() if s.mine]
        for _, key, session in sorted(own, key=lambda item: item[0]):
            if self.bytes() + wanted <= self._budget:
                return
            self.drop(key, session)


def _fill(levels: Levels, opened: Image.Image, feed: Feed) -> None:
    try:
        fill(levels, opened, feed)
    except Exception as cause:
        log.warning("a session ended: %s", cause)
    finally:
        opened.close()
