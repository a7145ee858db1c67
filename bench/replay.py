"""A visit replayed as OpenSeadragon would ask for it: how many tiles were found ready.

A window of 1280 x 800 looks at a 100 MP image: all of it, in four steps into one corner, along it,
out, into another. At each stop the viewer asks for the tiles it does not have yet, coarse levels
first, four at a time, then the visitor looks for a moment.
"""

import contextlib
import math
import queue
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from bench.client import Client
from bench.common import Bench, path_of
from bench.corpus import Picture
from bench.figures import Figure
from bench.server import Sidecar
from iiif_proxy.iiif.model import Features, ImageInfo, Limits
from iiif_proxy.iiif.tiles import Tiling, tile_boxes, tiling
from iiif_proxy.imaging.reading import Reading
from iiif_proxy.imaging.routes import describe

WINDOW = 1280, 800
# (x, y) of the middle as shares of the image, and how many image pixels one screen pixel shows.
STOPS = (
    (0.5, 0.5, 10.5),
    *((0.3 + 0.02 * step, 0.3, 5.2 / 2**step) for step in range(4)),
    *((0.36 + 0.08 * step, 0.3 + 0.02 * step, 0.65) for step in range(1, 5)),
    (0.6, 0.5, 2.6),
    (0.75, 0.7, 1.3),
    *((0.75, 0.7 + 0.05 * step, 0.65) for step in range(4)),
)
AT_ONCE = 4
# Seconds that a visitor looks before moving on.
PAUSE = 0.7


def asked(picture: Picture, info: ImageInfo, tiles: Tiling) -> Iterator[list[str]]:
    """The tails of what a viewer asks for at each stop; what it has it does not ask again."""
    seen: set[tuple[int, int, int]] = set()
    for x, y, scale in STOPS:
        left, top = (x * picture.width - WINDOW[0] * scale / 2, y * picture.height - 400 * scale)
        right, bottom = left + WINDOW[0] * scale, top + WINDOW[1] * scale
        # The level that has a pixel for each of the screen's, and those that are shown meanwhile.
        finest = 2 ** max(0, math.floor(math.log2(scale)))
        found = []
        for factor in sorted(tiles.scale_factors, reverse=True):
            if factor < finest:
                continue
            for box, width, height in tile_boxes(info, tiles, factor):
                inside = (
                    box.x < right
                    and box.x + box.width > left
                    and box.y < bottom
                    and box.y + box.height > top
                )
                if inside and (factor, box.x, box.y) not in seen:
                    seen.add((factor, box.x, box.y))
                    found.append(path_of("", box, width, height))
        yield found


def visit(server: Sidecar, base: str, stops: list[list[str]]) -> tuple[float, float]:
    """The share of tiles found ready, and the median seconds until a stop is complete."""
    hits: list[bool] = []
    waits = []
    for tails in filter(None, stops):
        begun = time.perf_counter()
        hits += shown(server, [base + tail for tail in tails])
        waits.append(time.perf_counter() - begun)
        time.sleep(PAUSE)
    return sum(hits) / len(hits), statistics.median(waits)


def shown(server: Sidecar, paths: list[str]) -> list[bool]:
    """Ask for the tiles of one stop, as many at once as a browser does; which were ready."""
    clients = queue.SimpleQueue[Client]()

    def get(path: str) -> bool:
        client = clients.get()
        try:
            return client.get(path).hit
        finally:
            clients.put(client)

    with contextlib.ExitStack() as stack:
        for _ in range(AT_ONCE):
            clients.put(stack.enter_context(Client(server.port)))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(get, paths))


def replay(bench: Bench) -> list[Figure]:
    figures = []
    for what, picture, settings in (
        ("100 MP JPEG, nothing ahead", bench.corpus.jpegs[100], ("off", "off")),
        ("100 MP JPEG, prediction", bench.corpus.jpegs[100], ("off", "on")),
        ("100 MP JPEG, all tiles ahead", bench.corpus.jpegs[100], ("on", "on")),
        ("100 MP TIFF by Range, nothing ahead", bench.corpus.tiff, ("off", "off")),
        ("100 MP TIFF by Range, prediction", bench.corpus.tiff, ("off", "on")),
    ):
        info = describe(str(picture.path), Reading(), True)
        assert info is not None
        stops = list(asked(picture, info, tiling(info, Limits(), Features())))
        ahead, predict = settings
        with bench.sidecar(write_ahead=ahead, predict=predict) as (server, client):
            base = bench.fresh(picture)
            client.get(base + "/info.json")
            share, wait = visit(server, base, stops)
        count = sum(map(len, stops))
        figures.append(
            Figure(
                "replay", f"{what}: found ready ({1000 * wait:.0f} ms a stop)",
                share, "", None, f"all {count} tiles", share,
            )
        )  # fmt: skip
    return figures
