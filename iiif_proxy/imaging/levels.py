"""Decoded pixels in memory that several processes share, with a mark of how far they have come."""

import mmap
import os
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

from PIL import Image

from iiif_proxy.errors import Busy, NoImage

# States of a set of levels: SETTLED has given its fine levels back.
ARRIVING, WHOLE, SETTLED, FAILED, CLOSED = range(5)
HEADER = 4096
POLL = 0.002
ALIVE_EVERY = 0.1


class LevelsLost(Exception):
    """Never seen outside: the process that was decoding is gone, or the level was given back."""


def open_memory(pid: int, number: int, token: str, factor: int) -> int:
    """A descriptor of another process, if it still is what it was.

    Numbers are used again, for any file: so it is looked at after it was opened. Raises OSError.
    """
    opened = os.open(f"/proc/{pid}/fd/{number}", os.O_RDWR)
    if os.readlink(f"/proc/self/fd/{opened}") != f"/memfd:{_name(token, factor)} (deleted)":
        os.close(opened)
        raise FileNotFoundError("given back")
    return opened


def mapped(memory: mmap.mmap, mode: str, size: tuple[int, int]) -> Image.Image:
    """Memory as an image, not copied. The mode is L, RGB, RGBA or CMYK, as Pillow stores them: in
    one byte a pixel, or in four.

    `Image.frombuffer` has RGBX for the second, and four channels take a third longer to scale.
    """
    core: Any = Image.core  # type: ignore[attr-defined]  # what frombuffer calls
    image = Image.new(mode, (0, 0))._new(core.map_buffer(memory, size, "raw", 0, (mode, 0, 1)))
    image.readonly = 1
    return image


def _name(token: str, factor: int) -> str:
    return f"iiif-proxy-{token}-{factor}"


@dataclass(frozen=True, slots=True)
class Shape:
    """How the pixels lie: `mode` is L, RGB, RGBA or CMYK; factors ascend from 1.

    Factor 2 is left out: a tile of it is made from factor 1 as it is asked for (1.6 ms more), and
    without it a session costs 4.3 bytes a pixel instead of 5.3.
    """

    width: int
    height: int
    mode: str
    factors: tuple[int, ...]

    @property
    def channels(self) -> int:
        return 1 if self.mode == "L" else 4

    def size(self, factor: int) -> tuple[int, int]:
        return -(-self.width // factor), -(-self.height // factor)

    def bytes(self, factor: int) -> int:
        width, height = self.size(factor)
        return width * height * self.channels

    @property
    def total(self) -> int:
        return sum(self.bytes(factor) for factor in self.factors)


def shape_of(width: int, height: int, mode: str, least: int = 256) -> Shape:
    """Levels until the longer side is within `least`."""
    factors, factor = [1], 4
    while max(width, height) > least * factor // 2:
        factors.append(factor)
        factor *= 2
    return Shape(width, height, mode, tuple(factors))


class Levels:
    """One level a factor, each in anonymous memory of its own, and a header with the progress.

    The memory has no name in any file system: it is gone when the last process that maps it is,
    however that ends. Other processes of the same user open it by way of /proc (`address`).
    """

    def __init__(self, shape: Shape, token: str, descriptors: dict[int, int]) -> None:
        """`descriptors`: by factor; 0 is the header. They are owned from here on."""
        self.shape = shape
        self.token = token
        # Set while something more urgent wants the processor: coarse levels can wait.
        self.held_back = False
        self._descriptors = descriptors
        self._lock = threading.Lock()
        self._header = mmap.mmap(descriptors[0], HEADER)
        self._maps: dict[int, mmap.mmap] = {}
        self._images: dict[int, Image.Image] = {}
        for factor in shape.factors:
            if factor in descriptors:
                memory = mmap.mmap(descriptors[factor], shape.bytes(factor))
                self._maps[factor] = memory
                self._images[factor] = mapped(memory, shape.mode, shape.size(factor))

    @classmethod
    def create(cls, shape: Shape) -> "Levels":
        token, descriptors = token_hex(8), {}
        for factor in (0, *shape.factors):
            descriptors[factor] = os.memfd_create(_name(token, factor))
            os.ftruncate(descriptors[factor], shape.bytes(factor) if factor else HEADER)
        return cls(shape, token, descriptors)

    @classmethod
    def attach(cls, shape: Shape, token: str, pid: int, descriptors: dict[int, int]) -> "Levels":
        """Map what another process made, less what it has given back.

        Raises OSError when it cannot be reached.
        """
        opened: dict[int, int] = {}
        try:
            for factor, number in descriptors.items():
                try:
                    opened[factor] = open_memory(pid, number, token, factor)
                except OSError:
                    if factor == 0:
                        raise
            return cls(shape, token, opened)
        except BaseException:
            for number in opened.values():
                os.close(number)
            raise

    def address(self) -> dict[int, int]:
        """The descriptor of each factor's memory; of 0 the header's."""
        return dict(self._descriptors)

    def image(self, factor: int) -> Image.Image:
        """Raises LevelsLost for a level that was given back."""
        found = self._images.get(factor)
        if found is None:
            raise LevelsLost
        return found

    def memory(self, factor: int) -> mmap.mmap:
        """Raises LevelsLost for a level that was given back."""
        found = self._maps.get(factor)
        if found is None:
            raise LevelsLost
        return found

    def has(self, factor: int) -> bool:
        return factor in self._images

    def mark(self, y: int) -> int:
        """The fourth byte of a row's last pixel, finest level: 0 until a decoder wrote the row.

        Raises LevelsLost when it was given back.
        """
        return self.memory(1)[((y + 1) * self.shape.width - 1) * 4 + 3]

    @property
    def state(self) -> int:
        return int(struct.unpack_from("<q", self._header, 0)[0])

    @state.setter
    def state(self, state: int) -> None:
        struct.pack_into("<q", self._header, 0, state)

    def rows(self, factor: int) -> int:
        """How many rows of a level are there."""
        return int(struct.unpack_from("<q", self._header, 8 * (1 + factor.bit_length()))[0])

    def advance(self, factor: int, rows: int) -> None:
        struct.pack_into("<q", self._header, 8 * (1 + factor.bit_length()), rows)

    def wait(self, factor: int, rows: int, timeout: float, owned: Callable[[], bool]) -> None:
        """Until so many rows of a level are there.

        Raises NoImage, Busy after `timeout` seconds, and LevelsLost when nobody works on it.
        """
        end = time.monotonic() + timeout
        check = time.monotonic() + ALIVE_EVERY
        while self.rows(factor) < rows:
            now = time.monotonic()
            if self.state == FAILED:
                raise NoImage("What the origin sent is no image that can be decoded.")
            if self.state == CLOSED or (now > check and not owned()):
                raise LevelsLost
            if now > end:
                raise Busy("The image is not decoded yet.", headers={"Retry-After": "1"})
            check = now + ALIVE_EVERY if now > check else check
            time.sleep(POLL)

    def lent(self, factor: int) -> int:
        """A descriptor of a level's memory, which is the caller's to close. Raises LevelsLost."""
        with self._lock:  # Closed meanwhile, its number might be another file's.
            number = self._descriptors.get(factor)
            if number is None:
                raise LevelsLost
            return os.dup(number)

    def drop(self, factor: int) -> None:
        """Give back the memory of one level. (Whoever still holds its image keeps it alive.)"""
        self._images.pop(factor, None)
        self._maps.pop(factor, None)
        with self._lock:
            number = self._descriptors.pop(factor, None)
            if number is not None:
                os.close(number)

    def __del__(self) -> None:
        for number in self._descriptors.values():
            os.close(number)
