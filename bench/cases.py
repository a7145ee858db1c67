"""Answers: each kind of request, beside the bare work that it comes to."""

import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from bench import bare, passthrough
from bench.client import Client, drive
from bench.common import MILLI, OVERVIEW, TILE, Bench, opened, path_of, tiles
from bench.corpus import Picture
from bench.figures import Figure, paired, seconds
from bench.server import CONSTANT, Sidecar
from iiif_proxy.iiif.model import Box
from iiif_proxy.imaging.tiff import Tiff
from iiif_proxy.proxy import IIIFProxy
from iiif_proxy.ranges import FileSource


def hits(bench: Bench) -> list[Figure]:
    """A stored tile through gunicorn, and the same worker sending as many zeros."""
    picture = bench.corpus.jpegs[24]
    with bench.sidecar(write_ahead="off", predict="off") as (server, client):
        base = bench.fresh(picture)
        wanted = [f"/1024,1024,512,512/{side},{side}/0/default.jpg" for side in range(256, 513, 32)]
        sizes = {tail: len(client.get(base + tail).body) for tail in wanted}
        tail = min(sizes, key=lambda name: abs(sizes[name] - 20_000))
        path, nothing = base + tail, CONSTANT + str(sizes[tail])
        ours, constant, together, alike = [], [], [], []
        for _ in range(bench.rounds * 3):
            for found, asked in ((ours, path), (constant, nothing)):
                client.get(asked)
                found.append(
                    statistics.median(client.get(asked).seconds for _ in range(150)) * MILLI
                )
            for found, asked in ((together, path), (alike, nothing)):
                found.append(drive(server.port, [asked] * 600, 4).rate)
        assert client.get(path).hit
    named = f"a constant body of {sizes[tail] / 1000:.0f} KB"
    return [
        paired("hit", "p50, 1 client", ours, constant, "ms", named, most=1.15),
        paired("hit", "hits/s, 4 clients", together, alike, "/s", named),
        inside(bench, picture, tail),
    ]


def inside(bench: Bench, picture: Picture, tail: str) -> Figure:
    """Processor time of a hit in the application alone, no server around it."""
    folder = tempfile.mkdtemp(prefix="iiif-proxy-bench-")
    try:
        source = f"http://127.0.0.1:{bench.origin.port}/{{id}}"
        app = IIIFProxy(environ={}, cache_dir=folder, source=source, predict="off")
        path = bench.fresh(picture) + tail
        environ = {
            "REQUEST_METHOD": "GET", "RAW_URI": path, "PATH_INFO": path, "QUERY_STRING": "",
            "SCRIPT_NAME": "", "SERVER_NAME": "a", "SERVER_PORT": "80", "HTTP_HOST": "a",
            "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1", "wsgi.url_scheme": "http",
        }  # fmt: skip

        def start_response(*_: object) -> None:
            pass

        def micros(work: Callable[[], object]) -> float:
            begun = time.thread_time()
            for _ in range(2000):
                work()
            return (time.thread_time() - begun) / 2000 * 1e6

        def hit() -> int:
            return sum(map(len, app(dict(environ), start_response)))

        size = hit()
        taken = [micros(hit) for _ in range(bench.rounds * 3)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    ours = statistics.median(taken)
    against = f"25 us of processor time ({size / 1000:.0f} KB)"
    return Figure("hit", "inside the application", ours, "us", None, against, ours / 25, most=1)


def cold_tiles(bench: Bench) -> list[Figure]:
    """Tiles of an opened 100 MP JPEG that were not written ahead."""
    picture = bench.corpus.jpegs[100]
    factors = (1, 2, 4, 8)
    work = bare.cut_out(picture.path, factors)
    order = tiles(picture, factors, 3)
    with bench.sidecar(write_ahead="off", predict="off") as (server, client):
        base = bench.fresh(picture)
        opened(client, base, picture)
        result = tile_figures(bench, server, client, base, order, work, "100 MP JPEG", 1.15)
        few, many = [], []
        sources = [(bench.corpus.jpegs[24], few), (picture, many)]
        bases = [bench.fresh(source) for source, _ in sources]
        for other, (source, _) in zip(bases, sources, strict=True):
            opened(client, other, source)
        for number in range(60):
            for other, (source, found) in zip(bases, sources, strict=True):
                tile = tiles(source, (1,), 4)[number]
                found.append(client.get(path_of(other, *tile)).seconds * MILLI)
    result.append(paired("tile", "of 100 MP", many, few, "ms", "the same of 24 MP", most=1.2))
    return result


def tile_figures(
    bench: Bench,
    server: Sidecar,
    client: Client,
    base: str,
    order: list[tuple[Box, int, int]],
    work: Callable[[Box, int, int], bytes],
    what: str,
    most: float,
) -> list[Figure]:
    """One client against the bare work plus the server's own time; then four against one."""
    left = iter(order)
    ours, limit, one, four = [], [], [], []
    for _ in range(15 * bench.rounds):
        tile = next(left)
        answer = client.get(path_of(base, *tile))
        assert not answer.hit
        size = len(answer.body)
        ours.append(answer.seconds * MILLI)
        constant = client.get(f"{CONSTANT}{size // 1000 * 1000}").seconds
        limit.append((seconds(lambda tile=tile: work(*tile)) + constant) * MILLI)
    for _ in range(bench.rounds):
        for found, clients in ((one, 1), (four, 4)):
            part = [path_of(base, *tile) for tile, _ in zip(left, range(20), strict=False)]
            found.append(drive(server.port, part, clients).rate)
    return [
        paired("tile", f"{what}, 1 client", ours, limit, "ms", "crop + encode + constant", most),
        paired("tile", f"{what}, 4 clients", four, one, "/s", "1 client", least=1.6),
    ]


def thumbnails(bench: Bench) -> list[Figure]:
    """!400,400 of new 24 MP JPEGs, over HTTP."""
    picture = bench.corpus.jpegs[24]
    tail = "/full/!400,400/0/default.jpg"
    ours, limit, one, four, machine = [], [], [], [], []
    with bench.sidecar() as (server, client):
        client.get(bench.fresh(picture) + tail)
        for _ in range(3 * bench.rounds):
            ours.append(client.get(bench.fresh(picture) + tail).seconds * MILLI)
            limit.append(seconds(lambda: bare.thumbnail(picture.path)) * MILLI)
        for _ in range(bench.rounds):
            for found, clients in ((one, 1), (four, 4)):
                part = [bench.fresh(picture) + tail for _ in range(8)]
                found.append(drive(server.port, part, clients).rate)
        for found, processes in ((machine, 1), (machine, 2)):
            found.append(bare.processes(bare.thumbnail, picture.path, processes, 8))
    scale = f"1 client (2 bare processes: {machine[1] / machine[0]:.2f} of 1)"
    return [
        paired("thumbnail", "24 MP, new", ours, limit, "ms", "draft + resize + encode", most=1.1),
        paired("thumbnail", "24 MP, new, 4 clients", four, one, "/s", scale, least=1.8),
    ]


def first_visit(bench: Bench) -> list[Figure]:
    """An unseen 100 MP JPEG: info.json, an overview tile, a deep tile."""
    picture = bench.corpus.jpegs[100]
    infos, trips, firsts, coarse, deeps, fine = [], [], [], [], [], []
    with bench.sidecar(write_ahead="off", predict="off") as (_, client):
        client.get(bench.fresh(bench.corpus.jpegs[24]) + "/info.json")
        origin = Client(bench.origin.port)
        for number in range(max(3, bench.rounds)):
            base = bench.fresh(picture)
            deep = Box(TILE * number, TILE * (15 - 3 * (number % 5)), TILE, TILE)
            infos.append(client.get(base + "/info.json").seconds * MILLI)
            firsts.append(client.get(f"{base}/{OVERVIEW}").seconds * MILLI)
            deeps.append(client.get(path_of(base, deep, TILE, TILE)).seconds * MILLI)
            trips.append(origin.get("/-count").seconds * MILLI + 2)
            coarse.append(seconds(lambda: bare.scaled_by_djpeg(picture.path, 1)) * MILLI)
            fine.append(seconds(lambda: bare.scaled_by_djpeg(picture.path, 8)) * MILLI)
            time.sleep(1)
        origin.close()
    both = [a + b for a, b in zip(firsts, deeps, strict=True)]
    trip = "an origin's round trip + 2 ms"
    return [
        paired("first visit", "info.json", infos, trips, "ms", trip, most=1),
        paired("first visit", "overview", firsts, coarse, "ms", bare.djpeg_name(1), most=1.15),
        paired("first visit", "overview + deep tile", both, fine, "ms", bare.djpeg_name(8)),
    ]


def whole(bench: Bench) -> list[Figure]:
    """full/2000, of a new and of a known 100 MP JPEG."""
    picture = bench.corpus.jpegs[100]
    level = bare.drafted(picture.path, 3000, 2100)
    new, limit, known, least = [], [], [], []
    with bench.sidecar() as (_, client):
        seen = bench.fresh(picture)
        client.get(seen + "/full/1200,/0/default.jpg")
        time.sleep(3)
        for number in range(max(3, bench.rounds)):
            width = 2000 - number
            height = round(width * picture.height / picture.width)
            tail = f"/full/{width},/0/default.jpg"
            known.append(client.get(seen + tail).seconds * MILLI)
            least.append(
                seconds(lambda size=(width, height): bare.encoded(bare.in_bands(level, *size)))
                * MILLI
            )
            new.append(client.get(bench.fresh(picture) + tail).seconds * MILLI)
            limit.append(seconds(lambda: bare.scaled_by_djpeg(picture.path, 2)) * MILLI)
    two = "resize in 2 bands + encode"
    return [
        paired("2000 px", "100 MP, new", new, limit, "ms", bare.djpeg_name(2), most=1.3),
        paired("2000 px", "100 MP, viewed before", known, least, "ms", two, most=1.2),
    ]


def pyramids(bench: Bench) -> list[Figure]:
    """A tiled pyramidal TIFF of 100 MP: tiles, and what the origin is asked for."""
    picture = bench.corpus.tiff
    work = bare.tiff_tile(picture.path)
    with bench.sidecar(write_ahead="off", predict="off") as (server, client):
        before = bench.origin.count()
        base = bench.fresh(picture)
        first = client.get(base + "/info.json").seconds
        factor = max(Tiff.open(FileSource(picture.path)).info().scale_factors)
        overview = Box(0, 0, picture.width, picture.height)
        size = -(-picture.width // factor), -(-picture.height // factor)
        first += client.get(path_of(base, overview, *size)).seconds
        first += client.get(path_of(base, Box(2048, 2048, TILE, TILE), TILE, TILE)).seconds
        after = bench.origin.count()
        order = [tile for tile in tiles(picture, (1,), 6) if tile[0].x != 2048]
        found = tile_figures(bench, server, client, base, order, work, "100 MP TIFF", 1.3)
    asked, loaded = after[0] - before[0], (after[1] - before[1]) / picture.bytes
    return [
        *found,
        Figure(
            "first visit", "TIFF: origin's answers for the three", asked, "", None,
            "8 round trips", asked / 8, most=1,
        ),
        Figure(
            "first visit", f"TIFF: bytes loaded for them ({first * MILLI:.0f} ms)",
            loaded * picture.bytes / 1e6, "MB", picture.bytes / 1e6, "the file", loaded,
        ),
    ]  # fmt: skip


def passing(bench: Bench) -> list[Figure]:
    """What is not IIIF: through Upstream, and through bare http.client in the same worker."""
    command = [sys.executable, "-m", "bench.passthrough", "--serve-origin"]
    result = []
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
        stack.callback(process.terminate)
        assert process.stdout is not None
        port = int(process.stdout.readline())
        servers = [
            stack.enter_context(passthrough.gunicorn(name, port)) for name in ("upstream", "bare")
        ]
        direct = passthrough.Server("direct", port, os.getpid())
        stack.callback(direct.close)
        servers.append(direct)
        for path, name, requests, most in (
            ("/1k", "1 KB", 300, 1.25),
            ("/1m", "1 MB", 40, None),
            ("/200m", "200 MB", 1, None),
        ):
            taken: list[list[float]] = [[], [], []]
            for _ in range(bench.rounds):
                for server, found in zip(servers, taken, strict=True):
                    each = [server.get(path) for _ in range(requests)]
                    found.append(statistics.median(each) * MILLI)
            ours, plain, without = taken
            what = "bare http.client"
            result.append(paired("pass-through", name, ours, plain, "ms", what, most=most))
            goal = 1.4 if name == "200 MB" else None
            result.append(
                paired("pass-through", name, ours, without, "ms", "no proxy at all", most=goal)
            )
    return result
