"""The bare work: what cannot be spared, done by Pillow (or djpeg) and nothing around it."""

import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool
from pathlib import Path

from PIL import Image

from iiif_proxy.iiif.model import Box
from iiif_proxy.imaging.tiff import Tiff
from iiif_proxy.ranges import FileSource

QUALITY = 80
LANCZOS = Image.Resampling.LANCZOS
DJPEG = shutil.which("djpeg")


def encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY, subsampling="4:2:0")
    return buffer.getvalue()


def drafted(path: Path, width: int, height: int) -> Image.Image:
    """Decoded at the coarsest scale that has at least that many pixels."""
    image = Image.open(path)
    image.draft(None, (width, height))
    image.load()
    return image


def thumbnail(path: Path) -> bytes:
    """!400,400: draft, Lanczos, encode."""
    width, height = Image.open(path).size
    scale = 400 / max(width, height)
    size = round(width * scale), round(height * scale)
    return encoded(drafted(path, *size).resize(size, LANCZOS))


def whole_at(path: Path, width: int) -> bytes:
    """`width,` of a source never seen: draft, Lanczos in two threads, encode."""
    full = Image.open(path).size
    size = width, round(width * full[1] / full[0])
    return encoded(in_bands(drafted(path, *size), *size))


def in_bands(image: Image.Image, width: int, height: int) -> Image.Image:
    """Lanczos of the upper and lower half in two threads."""
    middle = height // 2
    edge = image.height * middle / height

    def lower() -> Image.Image:
        return image.resize((width, height - middle), LANCZOS, (0, edge, image.width, image.height))

    both = Image.new("RGB", (width, height))
    with ThreadPoolExecutor(1) as beside:
        later = beside.submit(lower)
        both.paste(image.resize((width, middle), LANCZOS, (0, 0, image.width, edge)))
        both.paste(later.result(), (0, middle))
    return both


def cut_out(path: Path, factors: tuple[int, ...]) -> Callable[[Box, int, int], bytes]:
    """Tiles on the grid of a factor from pixels in memory, all levels at hand: crop, encode."""
    finest = Image.open(path).convert("RGB")
    levels = {factor: finest.reduce(factor) if factor > 1 else finest for factor in factors}

    def work(box: Box, width: int, height: int) -> bytes:
        factor = -(-box.width // width)
        x, y = box.x // factor, box.y // factor
        return encoded(levels[factor].crop((x, y, x + width, y + height)))

    return work


def scaled_by_djpeg(path: Path, eighths: int) -> None:
    """`djpeg -scale N/8`, a process and all; Pillow's decoder where it is not installed."""
    if DJPEG is None:
        size = Image.open(path).size
        drafted(path, size[0] * eighths // 8, size[1] * eighths // 8)
        return
    command = [DJPEG, "-scale", f"{eighths}/8", "-outfile", os.devnull, str(path)]
    subprocess.run(command, check=True)


def djpeg_name(eighths: int) -> str:
    return f"djpeg -scale {eighths}/8" if DJPEG else f"Pillow's draft at {eighths}/8"


def tiff_tile(path: Path) -> Callable[[Box, int, int], bytes]:
    """Decode of the JPEG tiles under a box of the finest level, one after the other; encode."""
    page = Tiff.open(FileSource(path)).page

    def work(box: Box, width: int, height: int) -> bytes:
        canvas = Image.new("RGB", (width, height))
        for at, data in stored_tiles(page, box):
            canvas.paste(Image.open(io.BytesIO(data)), at)
        return encoded(canvas)

    return work


def stored_tiles(page: object, box: Box) -> list[tuple[tuple[int, int], bytes]]:
    """The file's own tiles under a box on its grid, as JPEG files, and where they belong."""
    from iiif_proxy.imaging import jpegtile, tiffcanvas
    from iiif_proxy.imaging.tiffviews import exact

    view = exact(page._views, box, box.width, box.height)  # type: ignore[attr-defined]
    assert view is not None
    level = view.level
    rect, _ = tiffcanvas.cover(view, box, box.width, box.height)
    rows, columns = tiffcanvas.tiles_of(view, rect)
    spans = [tile[0] for tile in level.locate(rows, columns)]
    data = tiffcanvas.stored(page._cache, spans)  # type: ignore[attr-defined]
    places = [
        (column * level.tile_width - box.x, row * level.tile_height - box.y)
        for row in rows
        for column in columns
    ]
    return [
        (at, jpegtile.complete(level.tables, tile)) for at, tile in zip(places, data, strict=True)
    ]


def processes(work: Callable[[Path], object], path: Path, count: int, times: int) -> float:
    """How many a second that many processes do together: what this machine has to give now."""
    code = (
        f"import sys, pathlib; from bench.bare import {work.__name__} as work\n"
        f"path = pathlib.Path(sys.argv[1]); work(path); print(flush=True); sys.stdin.readline()\n"
        f"for _ in range({times}): work(path)"
    )
    command = [sys.executable, "-c", code, str(path)]
    pipe = subprocess.PIPE
    started = [subprocess.Popen(command, stdin=pipe, stdout=pipe) for _ in range(count)]
    with ThreadPool(count) as pool:
        pool.map(lambda process: process.stdout.readline(), started)
        begun = time.perf_counter()
        pool.map(lambda process: process.communicate(b"\n"), started)
        return count * times / (time.perf_counter() - begun)
