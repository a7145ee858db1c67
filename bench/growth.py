"""How costs grow: with the source, with the files in the cache, with the clients."""

import shutil
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

from bench import bare
from bench.client import Client, drive
from bench.common import MILLI, TILE, Bench, opened, path_of, tiles
from bench.figures import seconds
from bench.plots import Curve
from bench.server import CONSTANT, sidecar
from bench.stores import fill
from iiif_proxy.iiif.model import Box
from iiif_proxy.stores.disk import DiskStore

ROOM = 1 << 50
QUIET = {"write_ahead": "off", "predict": "off"}


def sources(bench: Bench) -> Curve:
    """1 to 400 megapixels: info.json and the first tile of a new source, and tiles afterwards."""
    curve = Curve("Source size", "ms")
    with bench.sidecar(**QUIET) as (_, client):
        for megapixels, picture in sorted(bench.corpus.jpegs.items()):
            infos, opens, later, decodes = [], [], [], []
            for _ in range(3):
                base = bench.fresh(picture)
                begun = time.perf_counter()
                infos.append(client.get(base + "/info.json").seconds * MILLI)
                opened(client, base, picture)
                opens.append((time.perf_counter() - begun - 0.5) * MILLI)
                for tile in tiles(picture, (1,), 1)[:15]:
                    later.append(client.get(path_of(base, *tile)).seconds * MILLI)
                decodes.append(seconds(partial(bare.scaled_by_djpeg, picture.path, 8)) * MILLI)
            curve.rows.append(
                {
                    "megapixels": megapixels,
                    "info.json, new": statistics.median(infos),
                    "last tile, new": statistics.median(opens),
                    bare.djpeg_name(8): statistics.median(decodes),
                    "a tile later": statistics.median(later),
                }
            )
    return curve


def files(bench: Bench) -> Curve:
    """100 to 1 000 000 files in the cache: a hit, a miss, and the start of the sidecar."""
    curve = Curve("Files in the cache", "ms")
    picture = bench.corpus.jpegs[24]
    for count in (100, 1_000, 10_000, 100_000, 1_000_000):
        folder = Path(tempfile.mkdtemp(prefix="iiif-proxy-bench-"))
        try:
            fill(DiskStore(folder / "derivatives", ROOM), 0, count)
            begun = time.perf_counter()
            with sidecar(bench.origin.port, folder, cache_size=1 << 40, **QUIET) as server:
                started = time.perf_counter() - begun
                with Client(server.port) as client:
                    base = bench.fresh(picture)
                    opened(client, base, picture)
                    order = [path_of(base, *tile) for tile in tiles(picture, (1,), 1)[:40]]
                    misses = [client.get(path).seconds for path in order]
                    hits, nothing = [], []
                    for _ in range(25):
                        hits += [client.get(path).seconds for path in order]
                        nothing += [client.get(CONSTANT + "36000").seconds for _ in order]
            curve.rows.append(
                {
                    "files": count,
                    "start": started * MILLI,
                    "miss": statistics.median(misses) * MILLI,
                    "hit": statistics.median(hits) * MILLI,
                    "constant body": statistics.median(nothing) * MILLI,
                }
            )
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return curve


def clients(bench: Bench) -> Curve:
    """1 to 64 clients: hits and cold tiles a second, and what the slowest 5 % wait."""
    curve = Curve("Clients", "per second, ms")
    picture = bench.corpus.jpegs[100]
    with bench.sidecar(**QUIET) as (server, client):
        base = bench.fresh(picture)
        opened(client, base, picture)
        hit = path_of(base, Box(0, 0, TILE, TILE), TILE, TILE)
        client.get(hit)
        for count in (1, 2, 4, 8, 16, 32, 64):
            # A session of its own for each: its tiles are new again.
            base = bench.fresh(picture)
            opened(client, base, picture)
            order = [path_of(base, *tile) for tile in tiles(picture, (1,), count)]
            cold = drive(server.port, order[:250], count)
            stored = drive(server.port, [hit] * 4000, count)
            curve.rows.append(
                {
                    "clients": count,
                    "hits a second": stored.rate,
                    "cold tiles a second": cold.rate,
                    "hit p95 ms": stored.p95 * MILLI,
                    "cold tile p95 ms": cold.p95 * MILLI,
                }
            )
    return curve


CURVES = {"sources": sources, "files": files, "clients": clients}
