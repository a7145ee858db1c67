"""A tile session: one source, decoded once, read by all threads and processes."""

import contextlib
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from iiif_proxy.iiif.model import Box
from iiif_proxy.imaging import light
from iiif_proxy.imaging.color import finished
from iiif_proxy.imaging.levels import (
    CLOSED,
    FAILED,
    SETTLED,
    WHOLE,
    Levels,
    Shape,
)
from iiif_proxy.imaging.look import DEFAULT, Look
from iiif_proxy.imaging.orientation import Stored, upright
from iiif_proxy.imaging.resample import PLAIN, Scaling, on_grid, resample

# What stays in memory when all tiles are written: answers other sizes without the source.
KEPT_SIDE = 3000


@dataclass(frozen=True, slots=True)
class Facts:
    """What the pixels in memory still need: the colour profile, and the turn to be upright."""

    orientation: int
    profile: bytes | None


class Session:
    """Pixels of a source in shared memory, or on their way there. Boxes are of the upright image.

    `owner` is the process that decodes; `lock` its lock on the session's name, if this is it.
    """

    def __init__(
        self, levels: Levels, facts: Facts, owner: int, lock: int | None, look: Look = DEFAULT
    ) -> None:
        self.levels = levels
        self.facts = facts
        self.used = time.monotonic()
        self.overview = Overview()
        self._owner = owner
        # Taken out by one thread only: to close a number twice may close somebody else's file.
        self._locks = [] if lock is None else [lock]
        self._look = look

    @property
    def mine(self) -> bool:
        return self._owner == os.getpid()

    @property
    def alive(self) -> bool:
        return self.levels.state not in {FAILED, CLOSED} and (
            self.levels.state in {WHOLE, SETTLED} or self._owned()
        )

    def wait(self, box: Box, width: int, height: int, timeout: float) -> None:
        """Until `read` need not wait any more. Raises what that raises."""
        box, width, height = self._stored(box, width, height)
        if not self.ready(box, width, height) and not self.overview.holds(box, width):
            factor = finest(box, width, height, self.levels.shape)
            self.levels.wait(factor, self._rows(box, factor), timeout, self._owned)

    def read(self, box: Box, width: int, height: int, timeout: float) -> Image.Image:
        """That region at width x height, as soon as its rows are decoded: L, RGB or RGBA.

        A canonical tile is cut out of its level without resampling, so that tiles join without a
        seam. Raises Busy, OriginFailed, and LevelsLost when the session is no more.
        """
        self.used = time.monotonic()
        box, width, height = self._stored(box, width, height)
        if not self.ready(box, width, height):
            seen = self.overview.read(box, width, height)
            if seen is not None:
                return self._finished(seen)
        factor = finest(box, width, height, self.levels.shape)
        self.levels.wait(factor, self._rows(box, factor), timeout, self._owned)
        level = self.levels.image(factor)
        return self._finished(cut(level, factor, box, width, height, self._look.scaling))

    def covers(self, box: Box, width: int, height: int) -> bool:
        """Whether the level that this needs has not been given back."""
        box, width, height = self._stored(box, width, height)
        return self.levels.has(finest(box, width, height, self.levels.shape))

    def ready(self, box: Box, width: int, height: int) -> bool:
        """Whether the rows of a stored box are there."""
        factor = finest(box, width, height, self.levels.shape)
        return self.levels.rows(factor) >= self._rows(box, factor)

    def settle(self) -> None:
        """All tiles are written: give back what is finer than other sizes are asked of."""
        self.levels.state = SETTLED
        self.release()

    def release(self) -> None:
        """Follow the state that the header says."""
        if self.levels.state in {WHOLE, SETTLED}:
            self.overview.forget()
        if self.levels.state == SETTLED:
            for factor in self.levels.shape.factors:
                if max(self.levels.shape.size(factor)) > KEPT_SIDE:
                    self.levels.drop(factor)

    def close(self) -> None:
        """End it; for everybody, if it is this process's.

        Its memory goes at once, whoever still has the session: what is being read finishes, who
        comes later gets LevelsLost.
        """
        if self.mine:
            self.levels.state = CLOSED
        for factor in self.levels.shape.factors:
            self.levels.drop(factor)
        with contextlib.suppress(IndexError):
            os.close(self._locks.pop())

    def held_bytes(self) -> int:
        shape = self.levels.shape
        return sum(shape.bytes(factor) for factor in shape.factors if self.levels.has(factor))

    def _stored(self, box: Box, width: int, height: int) -> tuple[Box, int, int]:
        stored = Stored(self.facts.orientation, self.levels.shape.width, self.levels.shape.height)
        return stored.box(box), *stored.size(width, height)

    def _rows(self, box: Box, factor: int) -> int:
        height = self.levels.shape.size(factor)[1]
        return min(-(-(box.y + box.height) // factor), height)

    def _finished(self, pixels: Image.Image) -> Image.Image:
        turned = upright(pixels, self.facts.orientation)
        return finished(turned, self.facts.profile, self._look)

    def _owned(self) -> bool:
        return self.mine or Path(f"/proc/{self._owner}").exists()


class Overview:
    """A coarse whole image, decoded beside the full one while that takes its time.

    A JPEG at 1/8 is there in half the time of all its pixels: what a viewer shows first.
    """

    FACTOR = 8

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._image: Image.Image | None = None

    def offer(self, image: Image.Image) -> None:
        self._image = image

    def forget(self) -> None:
        """The levels have all that it has."""
        self._image = None

    def begin(self) -> bool:
        """Whether the caller is the one to make it."""
        return self._lock.acquire(blocking=False)

    def read(self, box: Box, width: int, height: int) -> Image.Image | None:
        """A stored box from the overview; None if it is not there, or too coarse."""
        image = self._image
        if image is None or not self.holds(box, width):
            return None
        return cut(image, self.FACTOR, box, width, height)

    def holds(self, box: Box, width: int) -> bool:
        """Whether it is there, and fine enough."""
        return self._image is not None and self.FACTOR * width <= box.width + self.FACTOR


def cut(
    image: Image.Image,
    factor: int,
    box: Box,
    width: int,
    height: int,
    scaling: Scaling = PLAIN,
) -> Image.Image:
    """A stored box out of the level of a factor, at width x height, in the level's mode.

    On the level's own grid, or on that of a coarser one, pixels are copied or averaged; else it
    is resampled. The whole image is no tile: unless it is whole pixels of that grid, it is scaled
    to the size that was asked, where a grid's last column would stand for less than the others.
    """
    level = -(-box.width // factor), -(-box.height // factor)
    whole_image = (box.x, box.y) == (0, 0) and level == image.size
    for more in (1, 2, 4, 8, 16):
        rest = box.width % (factor * more) or box.height % (factor * more)
        if on_grid(box, width, height, factor * more) and not (whole_image and rest):
            whole = (
                box.x // factor,
                box.y // factor,
                min(-(-(box.x + box.width) // factor), image.width),
                min(-(-(box.y + box.height) // factor), image.height),
            )
            if more == 1:
                return _copied(image, whole)
            if scaling.linear:
                return light.reduced(image, more, whole)
            return image.reduce(more, whole)
    edges = (
        box.x / factor,
        box.y / factor,
        min((box.x + box.width) / factor, image.width),
        min((box.y + box.height) / factor, image.height),
    )
    return resample(image, edges, width, height, scaling=scaling)


def _copied(image: Image.Image, edges: tuple[int, int, int, int]) -> Image.Image:
    return image._new(image.im.crop(edges))


def finest(box: Box, width: int, height: int, shape: Shape) -> int:
    """The coarsest level that still has at least one pixel for each of the answer's.

    A tile at the right or lower edge may be rounded up by part of a pixel: it counts as its level.
    """
    for factor in reversed(shape.factors):
        if factor * width >= box.width + factor:
            continue  # Most levels of a tile: too coarse for either.
        if on_grid(box, width, height, factor) or (
            factor * width <= box.width and factor * height <= box.height
        ):
            return factor
    return 1
