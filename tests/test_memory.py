"""Whatever is asked of all processes at once: memory stays within its setting."""

import contextlib
import io
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from tests.clients import Answer
from tests.servers import Origin, Served, ask, get, gunicorn, reply

MB = 1 << 20
SIDE = 4000
MEMORY = 256 * MB
# Beyond the setting: what a decoder and an encoder hold of their own, and the allocator keeps.
CONSTANT = 96 * MB
CROWD = 8


def held(server: Served) -> int:
    """Bytes of all workers, and of what decodes for them; what several share counts once."""
    total = 0
    workers = server.workers()
    for pid in workers + [decoder for worker in workers for decoder in children(worker)]:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


def children(pid: int) -> list[int]:
    found: list[int] = []
    for place in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(word) for word in place.read_text().split()]
    return found


@contextlib.contextmanager
def watched(server: Served) -> Iterator[list[int]]:
    """Samples of `held` in the meantime."""
    seen, done = [held(server)], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            seen.append(held(server))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def picture(format: str, **options: object) -> bytes:
    ramp = Image.linear_gradient("L").resize((SIDE, SIDE))
    image = Image.merge("RGB", (ramp, ramp.transpose(Image.Transpose.ROTATE_90), ramp))
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Origin, Served]]:
    with Origin() as origin:
        settings = {
            "IIIF_PROXY_ORIGIN": origin.url,
            "IIIF_PROXY_CACHE_DIR": str(tmp_path),
            "IIIF_PROXY_MEMORY": str(MEMORY),
            "IIIF_PROXY_WORKERS": "2",
            "IIIF_PROXY_QUEUE_TIMEOUT": "60s",
        }
        with gunicorn("iiif_proxy.wsgi", settings, workers=2, threads=CROWD) as served:
            deadline = time.monotonic() + 60
            while len(served.workers()) < 2 and time.monotonic() < deadline:
                time.sleep(0.02)
            yield origin, served


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="Linux tells of memory")
@pytest.mark.parametrize(
    "format, options, ending",
    [
        ("JPEG", {"quality": 80}, "gray.jpg"),
        ("JPEG", {"quality": 80, "progressive": True}, "gray.jpg"),
        ("PNG", {"compress_level": 1}, "gray.jpg"),
        ("JPEG", {"quality": 80}, "default.webp"),
    ],
    ids=["jpeg", "progressive", "png", "to-webp"],
)
def test_a_crowd_asks_for_all_pixels(
    server: tuple[Origin, Served], format: str, options: dict[str, object], ending: str
) -> None:
    """Each holds 128 MB while it is made, in gray, so that no JPEG is copied as it is."""
    origin, served = server
    origin.routes["/a"] = reply(fields=[("ETag", '"1"')], body=picture(format, **options))
    assert ask(served.port, get("/iiif/3/a/info.json")).status == 200
    targets = [f"/iiif/3/a/{x},0,{SIDE - x},{SIDE}/max/90/{ending}" for x in range(CROWD)]

    def one(target: str) -> Answer:
        return ask(served.port, get(target), timeout=110)

    with watched(served) as seen, ThreadPoolExecutor(CROWD) as crowd:
        answers = list(crowd.map(one, targets))
    assert {answer.status for answer in answers} <= {200, 503}
    assert any(answer.status == 200 for answer in answers)
    assert all(answer.get("Retry-After") for answer in answers if answer.status == 503)
    assert max(seen) - seen[0] < MEMORY + CONSTANT, [size // MB for size in seen[::20]]
