"""What a visit costs beside its answers: work ahead, crowds, memory, disk."""

import os
import random
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.client import Client, drive
from bench.common import MILLI, OVERVIEW, TILE, Bench, opened, path_of, tiles
from bench.corpus import Picture
from bench.figures import Figure
from bench.server import Sidecar
from iiif_proxy.iiif.model import Box

PATIENCE = 90.0
STILL = 4.0
MB = 1e6


def visit(client: Client, base: str) -> None:
    """What a viewer asks first."""
    client.get(base + "/info.json")
    client.get(f"{base}/{OVERVIEW}")
    client.get(path_of(base, Box(4096, 4096, TILE, TILE), TILE, TILE))


def settled(bench: Bench) -> list[Figure]:
    """After a visit of a 100 MP JPEG: all tiles written. And hits of another image meanwhile."""
    picture = bench.corpus.jpegs[100]
    with bench.sidecar() as (server, client):
        slowed = hits_meanwhile(bench, server, client, picture)
        before, spent = stored(server.cache), server.cpu()
        base = bench.fresh(picture)
        begun = time.monotonic()
        visit(client, base)
        took = wait_still(server) - begun
        spent = server.cpu() - spent
        after = stored(server.cache)
        wanted = random.Random(8).sample(tiles(picture, (1, 2, 4, 8), 8), 100)
        share = sum(client.get(path_of(base, *tile)).hit for tile in wanted) / len(wanted)
    files, written, total = (b - a for a, b in zip(before, after, strict=True))
    size = picture.bytes
    what = f"tiles and level written: {files} files"
    return [
        Figure("settled", "share of 100 tiles found", share, "", None, "all", share, least=0.99),
        Figure("settled", "until all is written", took, "s", None, "a second", took),
        Figure(
            "settled", "processor time of it all", spent, "s", None, "2 s", spent / 2, most=1
        ),
        Figure("settled", what, written / MB, "MB", size / MB, "the source", written / size),
        Figure(
            "settled", "written to the disk in all",
            total / MB, "MB", size / MB, "the source", total / size, most=2,
        ),
        slowed,
    ]  # fmt: skip


def hits_meanwhile(bench: Bench, server: Sidecar, client: Client, picture: Picture) -> Figure:
    """Hits of a small image while a large one is opened."""
    other = path_of(bench.fresh(bench.corpus.jpegs[24]), Box(0, 0, TILE, TILE), TILE, TILE)
    client.get(other)
    wait_still(server)
    drive(server.port, [other] * 100, 2)
    idle = drive(server.port, [other] * 1200, 2).p50 * MILLI
    visiting = threading.Thread(target=visit, args=(client, bench.fresh(picture)))
    visiting.start()
    meanwhile = []
    while visiting.is_alive():
        meanwhile += drive(server.port, [other] * 40, 2).seconds
    during = statistics.median(meanwhile) * MILLI
    wait_still(server)
    what = "hits while 100 MP are opened, p50"
    return Figure("settled", what, during, "ms", idle, "idle", during / idle, most=2)


def stored(cache: Path) -> tuple[int, int, int]:
    """Derivatives, their bytes, and the bytes of everything."""
    files = own = total = 0
    for folder, _, names in os.walk(cache):
        for name in names:
            try:
                size = os.stat(os.path.join(folder, name)).st_size
            except OSError:
                continue
            total += size
            if folder.startswith(str(cache / "derivatives")) and not name.startswith("."):
                files += 1
                own += size
    return files, own, total


def wait_still(server: Sidecar) -> float:
    """When the last derivative came, after none has come for a while."""
    last, since = stored(server.cache)[0], time.monotonic()
    end = since + PATIENCE
    while time.monotonic() < min(end, since + STILL):
        time.sleep(0.25)
        count = stored(server.cache)[0]
        if count != last:
            last, since = count, time.monotonic()
    return since


def crowd(bench: Bench) -> list[Figure]:
    """Eight clients at once on one unseen 100 MP JPEG."""
    picture = bench.corpus.jpegs[100]
    spent: dict[int, float] = {}
    downloads = 0
    for clients in (1, 8):
        with bench.sidecar(write_ahead="off", predict="off") as (server, _):
            base = bench.fresh(picture)
            before, cpu = bench.origin.count()[1], server.cpu()
            paths = [path_of(base, *tile) for tile in tiles(picture, (1,), 9)[:8]]
            drive(server.port, paths, clients)
            time.sleep(0.5)
            spent[clients] = server.cpu() - cpu
            downloads = bench.origin.count()[1] - before
    loaded = downloads / picture.bytes
    return [
        Figure(
            "crowd", "8 clients, one unseen source: downloads",
            loaded, "", 1, "one", loaded, most=1.01,
        ),
        Figure(
            "crowd", "8 clients, one unseen source: processor",
            spent[8], "s", spent[1], "1 client, the same 8 tiles", spent[8] / spent[1], most=1.3,
        ),
    ]  # fmt: skip


@contextmanager
def watched(server: Sidecar) -> Iterator[list[int]]:
    """The most that all workers together hold, looked at all the time: [bytes]."""
    most = [0]
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.02):
            most[0] = max(most[0], server.proportional())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield most
    finally:
        done.set()
        thread.join()


def memory(bench: Bench) -> list[Figure]:
    """Peaks: one worker that makes a thumbnail, two that share a session."""
    picture = bench.corpus.jpegs[100]
    quiet = {"write_ahead": "off", "predict": "off"}
    with bench.sidecar(workers=1, **quiet) as (server, client):
        client.get(bench.fresh(bench.corpus.jpegs[24]) + "/info.json")
        server.forget_peak()
        client.get(bench.fresh(picture) + "/full/!400,400/0/default.jpg")
        light = server.peak()
    with bench.sidecar(workers=2, **quiet) as (server, client):
        base = bench.fresh(picture)
        with watched(server) as most:
            opened(client, base, picture)
            paths = [path_of(base, *tile) for tile in tiles(picture, (1, 2, 4), 2)[:60]]
            drive(server.port, paths, 4)
        session = most[0]
    return [
        Figure(
            "memory", "light miss of 100 MP, peak of the worker",
            light / MB, "MB", 80, "80 MB", light / 80 / MB, most=1,
        ),
        session_figure(picture, session),
    ]  # fmt: skip


def session_figure(picture: Picture, session: int) -> Figure:
    limit = 4 * picture.pixels + 60 * MB
    what = "session of 100 MP, 2 workers together"
    against = "4 B a pixel + 60 MB"
    return Figure("memory", what, session / MB, "MB", limit / MB, against, session / limit, most=1)
