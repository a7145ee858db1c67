"""A long day in minutes: everything at once, for as long as wanted, and what it left behind.

    python -m bench.soak [--minutes 10] [--clients 8]

A sidecar of two processes before an origin that fails now and then. Visitors ask for tiles, new
sizes, whole images of 24 megapixels, broken sources, and go away in the middle; others read a large
answer at 16 KB a second until they are tired of it. Printed are the
requests and errors by kind, how long health and tiles took, the peak of memory beside
IIIF_PROXY_MEMORY, descriptors, threads and bytes on the disk over time, and how many answers had
wrong pixels (every image has a colour of its own; one in four is decoded and looked at).
"""

import argparse
import collections
import contextlib
import http.server
import io
import os
import random
import re
import socket
import threading
import time
from pathlib import Path

from PIL import Image

from bench.client import Client, Failed
from bench.server import Sidecar, sidecar

MB = 1 << 20
MEMORY, STORE = 512 * MB, 64 * MB
SIZE, LARGE = (1600, 1200), (6000, 4000)
PICTURES, TILE = 48, 256
# Of a JPEG's colour, and of sixteen colours there is room between.
NEAR = 6
FAULTS = ("reset", "stall", "cut", "html", "500")


def colour(number: int) -> tuple[int, int, int]:
    return number * 5 % 256, 255 - number * 5 % 256, number * 37 % 256


def picture(number: int, size: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour(number)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


class Origin(http.server.BaseHTTPRequestHandler):
    """`ok-N`, `large-N`: pictures; `bad-N`: a fault of N."""

    protocol_version = "HTTP/1.1"
    pictures: dict[str, bytes]

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        kind, _, rest = name.partition("-")
        body = self.pictures["ok-1"] if kind == "bad" else self.pictures.get(name)
        if body is None:
            self.send_error(404)
            return
        fault = FAULTS[int(rest) % len(FAULTS)] if kind == "bad" else ""
        if fault == "500":
            self.send_error(500)
            return
        if fault == "html":
            body = b"<!doctype html>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{name}"')
        # Stale soon: much of the day is asking again.
        self.send_header("Cache-Control", "max-age=5")
        self.end_headers()
        with contextlib.suppress(OSError):
            if fault in {"cut", "reset", "stall"}:
                self.wfile.write(body[: len(body) // 2])
                time.sleep(3 if fault == "stall" else 0)
                self.close_connection = True
            else:
                self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Seen:
    """What all visitors met."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.by_kind: collections.Counter[tuple[str, str]] = collections.Counter()
        self.times: dict[str, list[float]] = collections.defaultdict(list)
        self.wrong: list[str] = []

    def note(self, kind: str, outcome: str, seconds: float) -> None:
        with self.lock:
            self.by_kind[kind, outcome] += 1
            if outcome == "200":
                self.times[kind].append(seconds)


def path_of(rng: random.Random) -> tuple[str, int, str]:
    """A kind of request, the number of its picture, and its path."""
    kind = rng.choices(["tile", "size", "whole", "bad", "gone"], weights=[60, 22, 2, 10, 6], k=1)[0]
    number = rng.randrange(PICTURES)
    base = f"/iiif/3/ok-{number}"
    if kind == "tile":
        x, y = (rng.randrange(side // TILE) * TILE for side in SIZE)
        return kind, number, f"{base}/{x},{y},{TILE},{TILE}/{TILE},{TILE}/0/default.jpg"
    if kind == "whole":
        x = rng.randrange(1000)
        return kind, number % 4, f"/iiif/3/large-{number % 4}/{x},0,5000,4000/max/0/default.webp"
    if kind == "bad":
        return kind, number, f"/iiif/3/bad-{rng.randrange(10**6)}/full/max/0/default.jpg"
    return kind, number, f"{base}/full/{rng.randrange(40, 1600)},/0/default.jpg"


def visit(port: int, seed: int, until: float, seen: Seen) -> None:
    rng = random.Random(seed)
    client = Client(port)
    while time.monotonic() < until:
        kind, number, path = path_of(rng)
        begun = time.perf_counter()
        if kind == "gone":
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as s:
                s.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
                time.sleep(rng.random() / 50)
            seen.note(kind, "left", 0.0)
            continue
        try:
            answer = client.get(path)
        except Failed as fault:
            seen.note(kind, outcome(fault), 0.0)
            client.close()
            continue
        except OSError as fault:
            seen.note(kind, type(fault).__name__, 0.0)
            client.close()
            continue
        seen.note(kind, "200", time.perf_counter() - begun)
        if kind == "bad" or rng.random() < 0.25:
            look(kind, number, path, answer.body, seen)
    client.close()


def read_slowly(port: int, seed: int, until: float, seen: Seen) -> None:
    """Few buffers, few bytes at a time, and gone before the end, or not closed after it."""
    rng = random.Random(seed)
    while time.monotonic() < until:
        path = f"/iiif/3/large-{rng.randrange(4)}/full/max/0/default.jpg"
        begun = time.perf_counter()
        with contextlib.suppress(OSError), socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.settimeout(60)
            s.connect(("127.0.0.1", port))
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
            end = min(until, time.monotonic() + rng.uniform(2, 20))
            while time.monotonic() < end:
                s.recv(4096)
                time.sleep(0.25)
        seen.note("slow", "left", time.perf_counter() - begun)


def outcome(fault: Exception) -> str:
    status = re.search(r"HTTP/1.1 ([0-9]{3})", str(fault))
    return status[1] if status else type(fault).__name__


def look(kind: str, number: int, path: str, body: bytes, seen: Seen) -> None:
    if kind == "bad":
        seen.wrong.append(f"{path} was answered")
        return
    try:
        image = Image.open(io.BytesIO(body)).convert("RGB")
        found = image.getpixel((image.width // 2, image.height // 2))
        assert isinstance(found, tuple)
        right = all(abs(a - b) <= NEAR for a, b in zip(found, colour(number), strict=True))
    except OSError:
        right = False
    if not right:
        seen.wrong.append(path)


def health(port: int, until: float, seen: Seen) -> None:
    while time.monotonic() < until:
        begun = time.perf_counter()
        try:
            with Client(port) as client:
                client.get("/iiif/-/health")
            seen.note("health", "200", time.perf_counter() - begun)
        except (Failed, OSError) as fault:
            seen.note("health", outcome(fault), 0.0)
        time.sleep(0.05)


def sample(running: Sidecar) -> dict[str, float]:
    descriptors = threads = 0
    for pid in running.everybody():
        with contextlib.suppress(OSError):
            descriptors += len(os.listdir(f"/proc/{pid}/fd"))
            threads += len(os.listdir(f"/proc/{pid}/task"))
    stored = temporary = 0
    for path in Path(running.cache, "derivatives").rglob("*"):
        with contextlib.suppress(OSError):
            stored += path.stat().st_size if path.is_file() else 0
            temporary += path.suffix == ".tmp" or path.name.startswith("tmp")
    temporary += len(list(Path(running.cache, "incoming").glob("*")))
    temporary += len(list(Path(running.cache, "locks").glob("*")))
    return {
        "memory": running.proportional() / MB,
        "descriptors": descriptors,
        "threads": threads,
        "stored": stored / MB,
        "temporary": temporary,
    }


def share(times: list[float], part: float) -> str:
    times.sort()
    return f"{times[min(len(times) - 1, int(part * len(times)))] * 1000:.1f} ms" if times else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--clients", type=int, default=8)
    chosen = parser.parse_args()
    Origin.pictures = {f"ok-{n}": picture(n, SIZE) for n in range(PICTURES)}
    Origin.pictures |= {f"large-{n}": picture(n, LARGE) for n in range(4)}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Origin)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    seen = Seen()
    port = server.server_address[1]
    with sidecar(port, memory=MEMORY, cache_size=STORE, read_timeout="1s", workers=2) as running:
        idle = sample(running)
        until = time.monotonic() + chosen.minutes * 60
        visitors = [
            threading.Thread(target=visit, args=(running.port, seed, until, seen))
            for seed in range(chosen.clients)
        ]
        visitors += [
            threading.Thread(target=read_slowly, args=(running.port, seed, until, seen))
            for seed in range(chosen.clients)
        ]
        visitors.append(threading.Thread(target=health, args=(running.port, until, seen)))
        for visitor in visitors:
            visitor.start()
        samples: list[dict[str, float]] = []
        every = max(1.0, chosen.minutes * 60 / 300)
        while time.monotonic() < until:
            time.sleep(every)
            samples.append(sample(running))
        for visitor in visitors:
            visitor.join()
        time.sleep(5)
        after = sample(running)
    server.shutdown()
    print("   s" + "".join(f"{name:>13}" for name in idle))
    step = max(1, len(samples) // 20)
    shown = [(index * every + every, row) for index, row in enumerate(samples)][::step]
    for second, row in [(0.0, idle), *shown, (chosen.minutes * 60 + 5, after)]:
        print(f"{second:4.0f}" + "".join(f"{row[name]:13.0f}" for name in idle))
    print("\nrequests")
    for (kind, outcome), count in sorted(seen.by_kind.items()):
        print(f"  {kind:8}{outcome:42}{count:8}")
    for kind in ("health", "tile", "size", "whole"):
        times = seen.times[kind]
        print(f"  {kind:8}p50 {share(times, 0.5)}, p99 {share(times, 0.99)}")
    peak = max(row["memory"] for row in samples)
    most = max(row["stored"] for row in samples)
    print(f"memory, peak of all workers: {peak:.0f} MB, {peak * MB / MEMORY:.2f} of its setting")
    print(f"stored, most: {most:.0f} MB, {most * MB / STORE:.2f} of its bound")
    print(f"wrong: {len(seen.wrong)} {seen.wrong[:3]}")


if __name__ == "__main__":
    main()
