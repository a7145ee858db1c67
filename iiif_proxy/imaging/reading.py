"""How files are read: settings, limits, and what broken data become."""

import contextlib
import os
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from PIL import Image, ImageFile

from iiif_proxy.errors import NoImage, OriginFailed, ProxyError, for_want

Path = str | os.PathLike[str]

MAX_PIXELS = 500_000_000
NO_IMAGE = "What the origin sent is no image that can be decoded."
TOO_LONG = "The source image takes too long to decode for this server."
NO_PAGE = "The source image has no such page."
# What Pillow's codecs have been seen to throw at broken data.
FAULTS = (
    OSError, ValueError, SyntaxError, EOFError, KeyError, IndexError, TypeError, AttributeError,
    ArithmeticError, RuntimeError, MemoryError, Warning, struct.error, zlib.error,
    Image.DecompressionBombError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reading:
    """What is too large, which page (from 1), how many pixels an inch of a PDF has, whether what
    decodes of broken data will do (`partial`), and how many seconds a processor may decode it."""

    max_pixels: int | None = None
    page: int = 1
    dpi: int = 150
    partial: bool = False
    seconds: float = 120.0


DEFAULT = Reading()


class Clock:
    """How long this thread has been kept busy: waiting for bytes, or for its turn, is free."""

    def __init__(self, seconds: float = DEFAULT.seconds) -> None:
        self._end = time.thread_time() + seconds

    def check(self) -> None:
        """Raises OriginFailed when the time is over."""
        if time.thread_time() > self._end:
            raise OriginFailed(TOO_LONG)


def open_file(path: Path) -> IO[bytes]:
    try:
        return open(path, "rb")
    except OSError as cause:
        said = OriginFailed("The source image cannot be read.", str(cause))
        raise for_want(cause) or said from cause


def limit(width: int, height: int, max_pixels: int | None) -> None:
    """OriginFailed for more pixels than that."""
    if max_pixels is not None and width * height > max_pixels:
        raise OriginFailed("The source image is too large for this server.", f"{width}x{height}")


@contextlib.contextmanager
def decoding() -> Iterator[None]:
    """Whatever a codec throws at broken data becomes OriginFailed."""
    try:
        yield
    except ProxyError:
        raise
    except Exception as cause:
        # No image is condemned because there was no descriptor to read it by.
        raise for_want(cause) or NoImage(NO_IMAGE, repr(cause)) from cause


def load(image: Image.Image, reading: Reading) -> None:
    """Decode. OriginFailed for broken data, unless what decodes of them will do."""
    with decoding():
        try:
            image.load()
        except FAULTS:
            if not reading.partial or image._im is None:
                raise
            if isinstance(image, ImageFile.ImageFile):
                image.tile = []
