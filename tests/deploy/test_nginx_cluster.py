"""Visitor -> nginx, by the file that is shipped -> three sidecars -> an origin."""

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import pytest

from iiif_proxy import cli
from iiif_proxy.iiif.urls import encode
from iiif_proxy.sources.record import hashed
from tests.clients import Answer, ask, get
from tests.deploy.conftest import DEPLOY
from tests.http import collection
from tests.objectstore import free_ports
from tests.published.site import main_conf
from tests.servers import Origin, Served, gunicorn

# Identifiers with everything that has to survive a way through nginx, and plain ones.
IMAGES = [path.removeprefix("/") for path in collection.NAMES] + [
    f"{n}x40.png" for n in range(60, 80)
]
TAIL = "full/8,/0/default.jpg"
LARGE = "2400x1800.jpg"


@dataclass
class Cluster:
    port: int
    origin: Origin
    caches: list[Path]
    sidecars: list[Served] = field(default_factory=list)

    def ask(self, target: str) -> Answer:
        return ask(self.port, get(target))

    def pixels(self, name: str, tail: str = TAIL) -> Answer:
        return self.ask(f"/iiif/3/{encode(name)}/{tail}")

    def fetched(self) -> Counter[str]:
        """How often the origin was asked for each image."""
        return Counter(
            unquote(request.target).removeprefix("/") for request in self.origin.requests
        )

    def homes(self, name: str) -> list[int]:
        """The sidecars that keep something of an image."""
        group = hashed(name)
        return [
            n for n, cache in enumerate(self.caches) if list(cache.glob(f"derivatives/**/{group}"))
        ]


def shipped(folder: Path, port: int, ports: list[int]) -> None:
    text = (DEPLOY / "nginx-cluster.conf").read_text()
    changes = {"listen 80;": f"listen 127.0.0.1:{port};", "fail_timeout=5s": "fail_timeout=1s"}
    changes |= {f"10.0.0.{n}:8182": f"127.0.0.1:{ports[n - 1]}" for n in (1, 2, 3)}
    for before, after in changes.items():
        assert before in text
        text = text.replace(before, after)
    (folder / "site.conf").write_text(text)


@pytest.fixture(scope="module")
def cluster(
    need: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    folder, (port,) = tmp_path_factory.mktemp("n"), free_ports(1)
    caches = [folder / name for name in ("one", "two", "three")]
    with Origin() as origin, contextlib.ExitStack() as stack:
        origin.default = collection.serve
        found = Cluster(port, origin, caches)
        for cache in caches:
            variables = {
                "IIIF_PROXY_ORIGIN": origin.url,
                "IIIF_PROXY_CACHE_DIR": str(cache),
                "IIIF_PROXY_WRITE_AHEAD": "off",
                "IIIF_PROXY_PREDICT": "off",
            }
            found.sidecars.append(
                stack.enter_context(gunicorn("iiif_proxy.wsgi:application", variables))
            )
        shipped(folder, port, [sidecar.port for sidecar in found.sidecars])
        nginx = subprocess.Popen([need("nginx"), "-c", main_conf(folder)])
        stack.callback(nginx.wait, 10)
        stack.callback(nginx.terminate)
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError):
                if found.ask("/iiif/-/health").status == 200:
                    break
            assert nginx.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield found
        log = (folder / "error.log").read_text()
        assert not re.search(r"\[(?:crit|alert|emerg)\]", log), log


def wait(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def kill(sidecar: Served) -> None:
    os.killpg(sidecar.process.pid, signal.SIGKILL)
    sidecar.process.wait()


def everywhere(name: str) -> list[str]:
    """All the ways to ask for one image."""
    encoded = encode(name)
    lower = encoded.replace("%2F", "%2f")
    return [
        f"/iiif/{front}{identifier}/{tail}"
        for identifier in dict.fromkeys((encoded, lower))
        for front in ("2/", "3/")
        for tail in ("info.json", TAIL, "0,0,8,8/8,/!90/gray.png", "manifest.json")
    ] + [f"/iiif/-/view/{encoded}"]


def test_identifiers_arrive_unharmed(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.main(["check", f"http://127.0.0.1:{cluster.port}/iiif"])
    assert code == 0, capsys.readouterr().out
    assert cluster.ask("/iiif/-/metrics").status == 403


def test_all_of_an_image_goes_to_one_sidecar(cluster: Cluster) -> None:
    for name in IMAGES:
        for target in everywhere(name):
            assert cluster.ask(target).status == 200, target
    assert cluster.ask("/iiif/3/a/b.png/info.json").status == 200, "slashes as they are"
    assert {name: cluster.fetched()[name] for name in IMAGES} == dict.fromkeys(IMAGES, 1)
    homes = [cluster.homes(name) for name in IMAGES]
    assert all(len(found) == 1 for found in homes)
    assert {home for (home,) in homes} == {0, 1, 2}, "each has its share"


def test_a_pyramid_is_built_once(cluster: Cluster) -> None:
    tiles = [f"{x},{y},512,512/256,/0/default.jpg" for x in range(0, 2400, 512) for y in (0, 1024)]
    got: list[int] = []

    def look(version: int) -> None:
        for tile in tiles:
            got.append(cluster.ask(f"/iiif/{version}/{LARGE}/{tile}").status)

    threads = [threading.Thread(target=look, args=(2 + n % 2,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(got) == {200: 4 * len(tiles)}
    assert cluster.fetched()[LARGE] == 1
    assert len(cluster.homes(LARGE)) == 1


def test_one_that_is_killed_is_missed_by_nobody(cluster: Cluster) -> None:
    """The last of this file: nothing brings the sidecar back."""
    for name in IMAGES:
        assert cluster.pixels(name).status == 200
    before = {name: cluster.homes(name) for name in IMAGES}
    over, seen = threading.Event(), []

    def read(first: int) -> None:
        turn = first
        while not over.is_set():
            name = IMAGES[turn % len(IMAGES)]
            # What is stored, and what must be made.
            for tail in (TAIL, f"full/8,/{turn % 359}/default.png"):
                seen.append(cluster.pixels(name, tail).status)
            turn += 1

    readers = [threading.Thread(target=read, args=(n * 10,)) for n in range(3)]
    for reader in readers:
        reader.start()
    wait(lambda: len(seen) > 20)
    lost = 1
    kill(cluster.sidecars[lost])
    after = len(seen)
    wait(lambda: len(seen) > after + 4 * len(IMAGES))
    over.set()
    for reader in readers:
        reader.join()
    assert Counter(seen) == {200: len(seen)}
    for name in IMAGES:
        assert cluster.pixels(name).status == 200
        # Only its own images went elsewhere, each to one.
        moved = [home for home in cluster.homes(name) if home not in before[name]]
        assert len(moved) == (before[name] == [lost]), name
        assert cluster.fetched()[name] == 1 + len(moved)
