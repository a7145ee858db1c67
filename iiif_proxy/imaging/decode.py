"""Decoding into shared memory: rows show while the rest is still being decoded or sent."""

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from PIL import Image

from iiif_proxy.errors import Busy, NoImage
from iiif_proxy.imaging import light
from iiif_proxy.imaging.jpegbounds import bounded
from iiif_proxy.imaging.levels import CLOSED, FAILED, POLL, WHOLE, Levels, LevelsLost
from iiif_proxy.imaging.memory import populate
from iiif_proxy.imaging.reading import DEFAULT, NO_IMAGE, Clock

# Given an offset: the bytes that are there from it on, at most so many; b"" at the end.
Feed = Callable[[int, int], bytes]
# About 35 ms of decoding: how often progress shows.
STEP = 1 << 20
ROWS_TOGETHER = 32
# Bytes: how far pages are made ahead of the decoder, and so many at once.
AHEAD, PAGES = 64 << 20, 4 << 20


def fill(levels: Levels, decode: Callable[[Levels], None], linear: bool = False) -> None:
    """Have the finest level decoded, and make all others from it meanwhile.

    `decode` writes all rows of it (`streamed`, or in one go); `linear`: coarser levels average
    light (`light.py`). Marks the levels WHOLE, or FAILED when the data do not hold what the header
    says; then raises NoImage.
    """
    shrinker = threading.Thread(target=_shrinking, args=(levels, linear), daemon=True)
    shrinker.start()
    try:
        decode(levels)
        levels.advance(1, levels.shape.height)
        shrinker.join()
        levels.state = WHOLE
    except (Busy, LevelsLost):
        levels.state = CLOSED
        raise
    except Exception as cause:
        levels.state = FAILED
        raise NoImage(NO_IMAGE, repr(cause)) from cause


def streams(opened: Image.Image, mode: str) -> bool:
    """Whether the decoder can write straight into the level and leave its mark in each row.

    It can for JPEG in colour: Pillow stores RGB as four bytes and sets the fourth.
    """
    tile = getattr(opened, "tile", [])
    return mode == opened.mode == "RGB" and len(tile) == 1 and tile[0][0] == "jpeg"


def streamed(
    opened: Image.Image, feed: Feed, partial: bool = False, seconds: float = DEFAULT.seconds
) -> Callable[[Levels], None]:
    """Rows show as they are decoded, of an opened image (header read, pixels not) that `streams`.

    `partial`: what decodes of broken data will do. `seconds`: of a processor, at most.
    """

    def decode(levels: Levels) -> None:
        with _paved(levels):
            complete = _decode_rows(levels, opened, feed, Clock(seconds))
        if not complete and not partial:
            raise NoImage(NO_IMAGE, "broken off")

    return decode


def _decode_rows(levels: Levels, opened: Image.Image, feed: Feed, clock: Clock) -> bool:
    """Pillow's own decoder, given a core image that is mapped memory: no copy, and bit-identical.

    Whether all rows came.

    This is what ImageFile.Parser does, with our memory in place of its own. It rests on Pillow's
    internals (`_getdecoder`, `setimage`): tests/imaging/test_sessions.py says when they change.
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
        clock.check()
        if levels.state == CLOSED:
            raise LevelsLost
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


@contextlib.contextmanager
def _paved(levels: Levels) -> Iterator[None]:
    """Pages are made beside the decoder, which would wait for each: 4 KiB take 1.8 us of the 5 in
    which they are decoded, so all of 100 megapixels 0.18 s."""
    over = threading.Event()
    paver = threading.Thread(target=_pave, args=(levels, over), daemon=True)
    with contextlib.suppress(RuntimeError):  # No thread is to be had: it takes longer.
        paver.start()
    try:
        yield
    finally:
        over.set()
        if paver.ident is not None:
            paver.join()


def _pave(levels: Levels, over: threading.Event) -> None:
    with contextlib.suppress(LevelsLost):
        memory = levels.memory(1)
        done, size = 0, len(memory)
        while done < size and not over.is_set():
            written = levels.rows(1) * size // levels.shape.height
            done = max(done, written // PAGES * PAGES)
            if done >= written + AHEAD:
                over.wait(POLL)
            elif populate(memory, done, min(PAGES, size - done)):
                done += PAGES
            else:
                return


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


def _shrinking(levels: Levels, linear: bool) -> None:
    with contextlib.suppress(LevelsLost):
        _shrink(levels, linear)


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
