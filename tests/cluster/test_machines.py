"""Sidecars as on two machines, with a Redis between them: purges, one maker, rates, without it."""

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from tests.clients import Answer
from tests.objectstore import ObjectStore
from tests.redisserver import RedisServer
from tests.servers import Exchange, Origin, Served, ask, get, gunicorn, reply

APP = "iiif_proxy.wsgi:application"
PATIENCE = 60.0
Sidecar = Callable[..., Served]


def jpeg(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (2400, 2000), (shade, 0, 0)).save(file, "JPEG")
    return file.getvalue()


def image(served: Served, size: str = "200,") -> Answer:
    target = f"/iiif/3/a.jpg/full/{size}/0/default.jpg"
    return ask(served.port, get(target), timeout=PATIENCE)


def shade(answer: Answer) -> int:
    assert answer.status == 200, answer.body[:200]
    pixel = Image.open(io.BytesIO(answer.body)).getpixel((9, 9))
    assert isinstance(pixel, tuple)
    return int(pixel[0])


def until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def origin() -> Iterator[Origin]:
    """Its image does not say that it has changed: only a purge tells."""
    with Origin() as origin:
        shown(origin, 100)
        yield origin


def shown(origin: Origin, shade: int) -> None:
    fields = [("Content-Type", "image/jpeg"), ("Cache-Control", "max-age=86400")]
    origin.routes["/a.jpg"] = reply(fields=[*fields, ("ETag", f'"{shade}"')], body=jpeg(shade))


@pytest.fixture
def sidecar(origin: Origin, redis: RedisServer, tmp_path: Path) -> Iterator[Sidecar]:
    """`sidecar("one", name=value)`: that machine's, of two processes."""
    with contextlib.ExitStack() as stack:

        def serve(name: str, workers: int = 2, **more: str) -> Served:
            given = environ(origin, redis, tmp_path / name) | more
            served = stack.enter_context(gunicorn(APP, given, workers=workers))
            heard = tmp_path / name / "cluster" / "heard"
            until(lambda: heard.exists() and heard.read_text())
            return served

        yield serve


def environ(origin: Origin, redis: RedisServer, folder: Path) -> dict[str, str]:
    return {
        "IIIF_PROXY_ORIGIN": origin.url,
        "IIIF_PROXY_CACHE_DIR": str(folder),
        "IIIF_PROXY_REDIS": redis.url,
        "IIIF_PROXY_WRITE_AHEAD": "off",
    }


def purge(given: dict[str, str], what: str = "a.jpg") -> None:
    done = subprocess.run(
        [sys.executable, "-m", "iiif_proxy.cli", "purge", what],
        env={**os.environ, **given}, capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_purge_reaches_all_machines(
    sidecar: Sidecar, origin: Origin, redis: RedisServer, tmp_path: Path
) -> None:
    one, two = sidecar("one"), sidecar("two")
    for served in (one, one, two, two):
        assert shade(image(served)) == 100
    shown(origin, 200)
    assert shade(image(two)) == 100
    purge(environ(origin, redis, tmp_path / "one"))
    assert shade(image(one)) == 200
    until(lambda: shade(image(two)) == 200)
    # Whichever of its processes answers.
    assert {shade(image(two)) for _ in range(10)} == {200}

    shown(origin, 150)
    purge(environ(origin, redis, tmp_path / "one"), "--all")
    assert shade(image(one)) == 150
    until(lambda: shade(image(two)) == 150)
    shown(origin, 200)
    purge(environ(origin, redis, tmp_path / "two"), "--all")
    until(lambda: shade(image(one)) == shade(image(two)) == 200)

    # Redis is away, and so is the purge, until it is back.
    redis.kill()
    shown(origin, 50)
    purge(environ(origin, redis, tmp_path / "one"))
    assert shade(image(one)) == 50
    assert shade(image(two)) == 200
    health = ask(two.port, get("/iiif/-/health?deep"))
    assert health.status == 503
    assert json.loads(health.body)["checks"]["redis"]["ok"] is False
    assert ask(two.port, get("/iiif/-/health")).status == 200
    redis.start()
    until(lambda: shade(image(two)) == 50)


def metric(served: Served, name: str) -> float:
    said = ask(served.port, get("/iiif/-/metrics")).body.decode()
    found = re.search(rf"^{re.escape(name)} (\S+)$", said, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_one_machine_makes_it_for_both(
    sidecar: Sidecar, origin: Origin, objects: ObjectStore
) -> None:
    both = threading.Barrier(2)
    whole = origin.routes["/a.jpg"]
    assert isinstance(whole, bytes)

    def together(exchange: Exchange) -> None:
        # Both machines have begun; neither knows of the other.
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(5)
        exchange.write(whole)

    origin.routes["/a.jpg"] = together
    place = f"s3://ready/{time.monotonic_ns()}"
    more = {**objects.variables, "IIIF_PROXY_CACHE_URL": place}
    served = [sidecar("one", 1, **more), sidecar("two", 1, **more)]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda one: image(one, "2000,"), served))
    assert [shade(answer) for answer in answers] == [100, 100]
    assert answers[0].body == answers[1].body

    def told(one: Served, outcome: str) -> float:
        return metric(one, f'iiif_proxy_shared_cache_total{{outcome="{outcome}"}}')

    until(lambda: sum(told(one, "kept") for one in served) == 1)
    assert sorted(told(one, "kept") + told(one, "hit") for one in served) == [1, 1]
    assert sum(told(one, "hit") for one in served) == 1


def test_rates_are_counted_together(sidecar: Sidecar, redis: RedisServer) -> None:
    more = {"IIIF_PROXY_PUBLIC_RATE": "4/hour"}
    one, two = sidecar("one", **more), sidecar("two", **more)
    asked = [image(served, f"{100 + n},").status for n in range(3) for served in (one, two)]
    assert sorted(asked) == [200] * 4 + [429] * 2
    # Each counts by itself then, and nobody sees an error.
    redis.kill()
    asked = [image(served, f"{200 + n},").status for n in range(6) for served in (one, two)]
    assert set(asked) == {200, 429}
    assert asked.count(200) == 8
    assert image(one, "100,").status == 200
