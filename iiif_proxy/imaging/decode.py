"""Decoding into shared memory: rows show while the rest is still being decoded or sent."""

import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

from PIL import Image

from iiif_proxy.errors import NoImage
from iiif_proxy.imaging import light
from iiif_proxy.imaging.jpegbounds import bounded
from iiif_proxy.imaging.levels import CLOSED, FAILED, POLL, WHOLE, Levels
from iiif_proxy.imaging.reading import NO_IMAGE

# Given an offset: the bytes that are there from it on, at most so many; b"" at the end.
Feed = Callable[[int, int], bytes]
# About 35 ms of decoding: how often progress shows.
STEP = 1 << 20
ROWS_TOGETHER = 32


def fill(
    levels: Levels,
    opened: Image.Image,
    feed: Feed,
    convert: Callable[[Image.Image], Image.Image],
    linear: bool = False,
    partial: bool = False,
) -> None:
    """Decode an opened image (header read, pixels not) into `levels`, all factors.

    `convert` loads it and gives the mode of the levels, where rows cannot be shown as they come.
    `linear`: coarser levels average light (`light.py`).
    `partial`: what decodes of broken data will do.
    Marks the levels WHOLE, or FAILED when the data do not hold what the header says; then raises
    NoImage.
    """
    shrinker = threading.Thread(target=_shrink, args=(levels, linear), daemon=True)
    shrinker.start()
    try:
        if progressive(opened, levels):
            done = _decode_rows(levels, opened, feed)
            if not done and not partial:
                raise NoImage(NO_IMAGE, "broken off")
        else:
            levels.image(1).im.paste(convert(opened).im, (0, 0, *opened.size))
        levels.advance(1, levels.shape.height)
        shrinker.join()
        levels.state = WHOLE
    except Exception as cause:
        levels.state = FAILED
        raise NoImage(NO_IMAGE, repr(cause)) from cause


def progressive(opened: Image.Image, levels: Levels) -> bool:
    """Whether the decoder can write straight into the level and leave its mark in each row.

    It can for JPEG in colour: Pillow stores RGB as four bytes and sets the fourth.
    """
    tile = getattr(opened, "tile", [])
    return (
        levels.shape.mode == "RGBX"
        and opened.mode == "RGB"
        and len(tile) == 1
        and tile[0][0] == "jpeg"
    )


def copies(opened: Image.Image, levels: Levels) -> int:
    """How often decoding holds all pixels beside `levels`, of 4 bytes each.

    Of a progressive JPEG libjpeg keeps the coefficients, 3 to 6 bytes a pixel.
    """
    if progressive(opened, levels):
        return 1 if "progressive" in opened.info else 0
    return 2


def _decode_rows(levels: Levels, opened: Image.Image, feed: Feed) -> bool:
    """Pillow's own decoder, given a core image that is mapped memory: no copy, and bit-identical.

    Whether all rows came.

    This is what ImageFile.Parser does, with our memory in place of its own. It rests on Pillow's
    internals (`_getdecoder`, `setimage`): tests/imaging/test_decode.py says when they change.
    """
    codec, extents, offset, arguments = opened.tile[0]  # type: ignore[attr-defined]
    arguments = arguments if isinstance(arguments, tuple) else (arguments,)
    decoder: Any = Image._getdecoder(
        "RGB",
        codec,
        arguments,
        opened.decoderconfig,  # type: ignore[attr-defined]
    )
    decoder.setimage(levels.image(1).im, extents)
    rest, rows, status = b"", 0, 0
    scans = bounded(opened)
    while True:
        chunk = feed(offset, STEP)
        if scans:
            scans.see(offset, chunk)
        offset += len(chunk)
        if not chunk:
            break
        used, status = decoder.decode(rest + chunk)
        if used < 0:
            rest = b""
            break
        rest = (rest + chunk)[used:]
        rows = _ready(levels, rows)
        levels.advance(1, rows)
    decoder.cleanup()
    return status >= 0 and _ready(levels, rows) >= levels.shape.height


def _ready(levels: Levels, known: int) -> int:
    """The rows written so far: they are written in order, so the first unmarked one is the end."""
    low, high = known, levels.shape.height
    while low < high:
        middle = (low + high) // 2
        if levels.mark(middle):
            low = middle + 1
        else:
            high = middle
    return low


def _shrink(levels: Levels, linear: bool) -> None:
    """Follow the decoder: every level from the one above it, a band of rows at a time."""
    factors = levels.shape.factors
    while any(levels.rows(factor) < levels.shape.size(factor)[1] for factor in factors[1:]):
        if levels.state in {FAILED, CLOSED}:
            return
        moved = [
            not levels.held_back and _shrink_band(levels, *pair, linear)
            for pair in itertools.pairwise(factors)
        ]
        if not any(moved):
            time.sleep(POLL)


def _shrink_band(levels: Levels, above: int, factor: int, linear: bool) -> bool:
    """Bring one level as far as the one above allows; False when there was nothing to do."""
    ratio = factor // above
    width, height = levels.shape.size(above)
    done = levels.rows(factor)
    ready = levels.rows(above)
    target = -(-height // ratio) if ready == height else ready // ratio
    if ready < height:
        target -= target % ROWS_TOGETHER
    if target <= done:
        return False
    box = (0, done * ratio, width, min(target * ratio, height))
    image = levels.image(above)
    band = light.reduced(image, ratio, box) if linear else image.reduce(ratio, box)
    levels.image(factor).im.paste(band.im, (0, done, band.width, done + band.height))
    levels.advance(factor, target)
    return True
