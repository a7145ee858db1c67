"""What is done to a source file in one go: here, or in a process of its own (`apart.py`).

Arguments and results can be sent to another process.
"""

from collections.abc import Callable
from mmap import mmap
from typing import Any

from PIL import Image

from iiif_proxy.iiif.model import Box, ImageInfo
from iiif_proxy.imaging.color import prepared
from iiif_proxy.imaging.formats import count_pages, opened
from iiif_proxy.imaging.levels import mapped
from iiif_proxy.imaging.look import Look
from iiif_proxy.imaging.orientation import orientation_of
from iiif_proxy.imaging.reader import Reader, probe
from iiif_proxy.imaging.reading import Reading, load
from iiif_proxy.imaging.session import Facts

# What can be kept as it is stored (`color.LAST`); everything else is brought to sRGB first.
AS_STORED = {"L": "L", "RGB": "RGB", "RGBX": "RGB", "RGBA": "RGBA", "CMYK": "CMYK"}


def header(path: str, reading: Reading) -> ImageInfo:
    """As `probe`, of a whole file."""
    return probe(path, reading)


def pages(path: str, reading: Reading) -> int:
    """As `count_pages`."""
    return count_pages(path, reading)


def region(
    path: str, info: ImageInfo, reading: Reading, look: Look, box: Box, width: int, height: int
) -> Image.Image:
    """As `Reader.read`."""
    return Reader(path, info, reading=reading, look=look).read(box, width, height)


def kept_as(stored: str, info: ImageInfo) -> str:
    """The mode of a session's levels, for what `color.prepared` says can be kept."""
    return AS_STORED.get(stored, "RGBA" if info.alpha else "L" if info.gray else "RGB")


def facts(
    path: str, info: ImageInfo, reading: Reading, look: Look
) -> tuple[tuple[int, int], str, Facts]:
    """What a session is to keep: its size as stored, its mode, and what its pixels still need."""
    with opened(path, reading) as image:
        _, profile, stored = prepared(image, look)
        return image.size, kept_as(stored, info), Facts(orientation_of(image), profile)


def whole(
    path: str, reading: Reading, look: Look, size: tuple[int, int], mode: str, memory: int
) -> None:
    """All pixels as they are stored, into memory (a descriptor) as `facts` said."""
    with opened(path, reading) as image:
        convert, _, _ = prepared(image, look)
        load(image, reading)
        pixels = convert(image)
        pixels = pixels if pixels.mode == mode else pixels.convert(mode)
        mapped(mmap(memory, 0), mode, size).im.paste(pixels.im, (0, 0, *size))


JOBS: dict[str, Callable[..., Any]] = {
    job.__name__: job for job in (header, pages, region, facts, whole)
}
