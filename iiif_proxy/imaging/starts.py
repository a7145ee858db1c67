"""How a session begins: its size, its mode, and what decodes its finest level."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import BinaryIO

from iiif_proxy.iiif.model import ImageInfo
from iiif_proxy.imaging.color import prepared
from iiif_proxy.imaging.decode import Feed, streamed, streams
from iiif_proxy.imaging.formats import opened
from iiif_proxy.imaging.jobs import kept_as
from iiif_proxy.imaging.levels import Levels
from iiif_proxy.imaging.look import Look
from iiif_proxy.imaging.orientation import orientation_of
from iiif_proxy.imaging.reading import Reading, load
from iiif_proxy.imaging.session import Facts
from iiif_proxy.imaging.sessions import Start

# How often what cannot be streamed holds all its pixels beside the levels, of 4 bytes each.
COPIES = 2


def of_jpeg(
    file: BinaryIO,
    feed: Feed,
    info: ImageInfo,
    reading: Reading,
    look: Look,
    room: Callable[[int], Callable[[], AbstractContextManager[None]]],
) -> Start:
    """In this process, as its bytes come (`feed`). `file` is closed at the end; `room` lets in
    what holds so many copies of the pixels beside the levels."""
    try:
        image = opened(file, reading)
        convert, profile, stored = prepared(image, look)
    except BaseException:
        file.close()
        raise
    mode = kept_as(stored, info)
    facts = Facts(orientation_of(image), profile)
    if streams(image, mode):
        # Of a progressive JPEG libjpeg keeps the coefficients, 3 to 6 bytes a pixel.
        copies = 1 if info.progressive else 0
        decode = streamed(image, feed, reading.partial, reading.seconds)
        return Start(image.size, mode, facts, decode, file.close, room(copies))

    def put(levels: Levels) -> None:
        load(image, reading)
        pixels = convert(image)
        pixels = pixels if pixels.mode == mode else pixels.convert(mode)
        levels.image(1).im.paste(pixels.im, (0, 0, *image.size))

    return Start(image.size, mode, facts, put, file.close, room(COPIES))
