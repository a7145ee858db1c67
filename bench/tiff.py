"""Tiles of a pyramidal TIFF against the bare work: decoding those very tiles, and encoding.

    python bench/tiff.py [megapixels]

Needs tifffile and imagecodecs to write its own corpus. Cases of one group alternate within each
round; the figures are medians, the ratios are what counts.
"""

import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from iiif_proxy.iiif.model import Box
from iiif_proxy.imaging import jpegtile, tiffcanvas
from iiif_proxy.imaging.tiff import Tiff
from iiif_proxy.imaging.tiffviews import exact, nearest
from iiif_proxy.ranges import ByteSource, FileSource, Span

ROUNDS, REPEAT = 15, 8


class Counted:
    """A source that counts round trips and bytes."""

    def __init__(self, source: ByteSource) -> None:
        self.source = source
        self.trips = self.bytes = self.spans = 0

    @property
    def size(self) -> int | None:
        return self.source.size

    def read(self, offset: int, size: int) -> bytes:
        return self.read_many([(offset, size)])[0]

    def read_many(self, spans: list[Span]) -> list[bytes]:
        found = self.source.read_many(spans)
        self.trips += 1
        self.spans += len(spans)
        self.bytes += sum(map(len, found))
        return found

    def take(self) -> str:
        text = f"{self.trips} trips, {self.spans} spans, {self.bytes // 1024} KB"
        self.trips = self.bytes = self.spans = 0
        return text


def photograph(width: int, height: int) -> np.ndarray:
    """Slopes, edges and grain; compresses like a photograph (0.2 bytes a pixel at q 85)."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    grain = rng.normal(0, 6, (1024, 1024, 3)).astype(np.float32)
    image = np.empty((height, width, 3), np.uint8)
    for i in range(3):
        plane = 128 + 70 * np.sin(x / (90 + 40 * i)) * np.cos(y / (130 - 20 * i))
        plane += 25 * (((x + (i + 1) * y) // 37) % 7 == 0)
        noise = np.tile(grain[:, :, i], (-(-height // 1024), -(-width // 1024)))
        image[:, :, i] = np.clip(plane + noise[:height, :width], 0, 255)
    return image


def write_pyramid(path: Path, image: np.ndarray, tile: int, **how: Any) -> None:
    """Levels in the chain, directories between the pixels: what libvips writes."""
    with tifffile.TiffWriter(path) as writer:
        first = True
        while first or max(image.shape) > tile:
            if not first:
                image = np.asarray(Image.fromarray(image).reduce(2))
            writer.write(
                image,
                tile=(tile, tile),
                metadata=None,
                photometric="rgb",
                subfiletype=0 if first else 1,
                **{**how, "compressionargs": dict(how.get("compressionargs", {}))},
            )
            first = False


def alternate(cases: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median milliseconds of each case, all cases taking turns."""
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(ROUNDS):
        for name, case in cases.items():
            start = time.perf_counter()
            for _ in range(REPEAT):
                case()
            times[name].append((time.perf_counter() - start) / REPEAT * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def encode(image: Image.Image) -> None:
    image.save(io.BytesIO(), "JPEG", quality=80)


def bare(tiff: Tiff, box: Box, width: int, height: int) -> Callable[[], object]:
    """What cannot be spared: Pillow opens the request's JPEG tiles, scales, encodes."""
    page = tiff.page
    aligned = exact(page._views, box, width, height)
    view = aligned or nearest(page._views, box, width, height)
    rect, part = tiffcanvas.cover(view, box, width, height)
    rows, columns = tiffcanvas.tiles_of(view, rect)
    spans = [tile[0] for tile in view.level.locate(rows, columns)]
    tiles = [
        jpegtile.complete(view.level.tables, data) for data in tiffcanvas.stored(page._cache, spans)
    ]
    pixels = tiffcanvas.paint(page._cache, view, rect)
    answer = page.read(box, width, height)

    def work() -> None:
        for tile in tiles:
            Image.open(io.BytesIO(tile)).load()
        if aligned:
            encode(answer)
        else:
            encode(pixels.resize((width, height), Image.Resampling.LANCZOS, part))

    return work


def line(name: str, ours: float, limit: float, goal: str) -> None:
    print(f"{name:44} {ours:7.2f} ms {limit:7.2f} ms {ours / limit:6.2f}x   {goal}")


def main() -> None:
    pixels = float(sys.argv[1]) if len(sys.argv) > 1 else 24
    width, height = round((pixels * 1.5e6) ** 0.5), round((pixels * 1e6 / 1.5) ** 0.5)
    temporary = tempfile.TemporaryDirectory(prefix="bench-tiff-")
    folder = Path(temporary.name)
    image = photograph(width, height)
    jpeg = {"compression": "jpeg", "compressionargs": {"level": 85}}
    print(f"{width} x {height}, median of {ROUNDS} rounds of {REPEAT}")
    print(f"{'':44} {'ours':>10} {'limit':>10}")
    for tile in (256, 512):
        path = folder / f"jpeg-{tile}.tif"
        write_pyramid(path, image, tile, **jpeg)
        tiff = Tiff.open(FileSource(path))
        box = Box(width // 2 // 1024 * 1024, height // 2 // 1024 * 1024, 512, 512)
        found = alternate(
            {
                "ours": lambda tiff=tiff, box=box: encode(tiff.read(box, 512, 512)),
                "bare": bare(tiff, box, 512, 512),
            }
        )
        name = f"512 tile from JPEG tiles of {tile}, read + encode"
        line(name, found["ours"], found["bare"], "goal <= 1.3x of decode + encode, 2.0 ms")
    tiff = Tiff.open(FileSource(folder / "jpeg-256.tif"))
    whole = Box(0, 0, width, height)
    thumb = 400, round(400 * height / width)
    two = 2000, round(2000 * height / width)
    found = alternate(
        {
            "thumb": lambda: encode(tiff.read(whole, *thumb)),
            "thumb bare": bare(tiff, whole, *thumb),
            "2000": lambda: encode(tiff.read(whole, *two)),
            "2000 bare": bare(tiff, whole, *two),
            "open": lambda: Tiff.open(FileSource(folder / "jpeg-256.tif")),
        }
    )
    line("!400,400, read + encode", found["thumb"], found["thumb bare"], "")
    line("2000, read + encode", found["2000"], found["2000 bare"], "goal <= 1.2x")
    print(f"{'open (local)':44} {found['open']:7.2f} ms")

    print("\nround trips of a source that is far away")
    far = Counted(FileSource(folder / "jpeg-256.tif"))
    size = far.size or 0
    tiff = Tiff.open(far)
    print(f"{'open (info.json)':44} {far.take()} of {size // 1024} KB   goal <= 4 trips")
    factor = tiff.info().scale_factors[-1]
    tiff.read(whole, -(-width // factor), -(-height // factor))
    print(f"{'first overview':44} {far.take()}")
    tiff.read(Box(1024, 1024, 512, 512), 512, 512)
    print(f"{'first deep tile':44} {far.take()}   goal 1 trip, 1-2 spans")
    tiff.read(Box(2048, 1024, 512, 512), 512, 512)
    print(f"{'next deep tile':44} {far.take()}   goal 1 trip, 1-2 spans")
    tiff.read(whole, *thumb)
    print(f"{'!400,400':44} {far.take()}")

    print("\nlossless 512 tiles (limit: Pillow's TIFF plugin on a file of only that tile)")
    for name, compression in (("deflate", "zlib"), ("LZW", "lzw"), ("none", None)):
        part = image[:2048, :2048]
        path = folder / f"{name}.tif"
        predictor = compression is not None
        write_pyramid(path, part, 512, compression=compression, predictor=predictor)
        tiff = Tiff.open(FileSource(path))
        alone = io.BytesIO()
        tifffile.imwrite(
            alone,
            part[512:1024, 512:1024],
            tile=(512, 512),
            compression=compression,
            predictor=predictor,
            photometric="rgb",
        )

        def plugin(data: bytes = alone.getvalue()) -> None:
            Image.open(io.BytesIO(data)).load()

        found = alternate(
            {"ours": lambda tiff=tiff: tiff.read(Box(512, 512, 512, 512), 512, 512), "bare": plugin}
        )
        line(f"512 tile, {name}", found["ours"], found["bare"], "")
    temporary.cleanup()


if __name__ == "__main__":
    main()
