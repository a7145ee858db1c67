"""Every fault of the cache's folder, under a sidecar that goes on serving."""

import contextlib
import json
import random
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import ask, get
from tests.faults.disk import DISK_FAULTS, DiskFault, Place, mortal, suffering
from tests.faults.pictures import SIZE, asked, hit, right, serve
from tests.servers import Origin, gunicorn
from tests.stores.conftest import Mount, mount

__all__ = ["mount"]
# Its noise takes more than a limited process may write.
TWICE = (SIZE[0] * 2, SIZE[1] * 2)
LARGE = f"full/^{TWICE[0]},{TWICE[1]}/0/default.tif"

SIZES = {
    "full/max/0/default.png": SIZE,
    "full/240,/0/default.jpg": (240, 180),
    "full/max/90/default.tif": (SIZE[1], SIZE[0]),
    LARGE: TWICE,
}


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with Origin() as origin:
        origin.default = serve
        yield origin


@contextlib.contextmanager
def place_at(cache: Path, origin: Origin, workers: int = 1) -> Iterator[Place]:
    settings = {
        "IIIF_PROXY_ORIGIN": origin.url,
        "IIIF_PROXY_CACHE_DIR": str(cache),
        "IIIF_PROXY_FORMATS": "jpg,png,tif",
        "IIIF_PROXY_UPSCALING": "on",
        "IIIF_PROXY_MAX_WIDTH": "2000",
        "IIIF_PROXY_WRITE_AHEAD": "off",
        "IIIF_PROXY_PREDICT": "off",
    }
    with gunicorn(
        "iiif_proxy.wsgi",
        settings,
        workers=workers,
        options=["--worker-class", "iiif_proxy.commands.worker.Worker"],
        before=mortal(),
    ) as served:
        yield Place(served, cache)


def findings(place: Place) -> dict[str, str]:
    """What deep health finds wrong, in sentences."""
    answer = ask(place.served.port, get("/iiif/-/health?deep"), timeout=60)
    checks = json.loads(answer.body)["checks"]
    wrong = {name: check["says"] for name, check in checks.items() if not check["ok"]}
    assert answer.status == (503 if wrong else 200)
    return wrong


@pytest.mark.parametrize("fault", DISK_FAULTS, ids=str)
def test_a_fault_of_the_cache(
    tmp_path: Path, request: pytest.FixtureRequest, origin: Origin, fault: DiskFault
) -> None:
    above = tmp_path
    if fault.mount:
        mounted: Mount = request.getfixturevalue("mount")
        above = mounted(fault.mount)
    with place_at(above / "cache", origin) as place:
        served = place.served
        for name in ("known.png", "other.png"):
            assert right(asked(served, name), name)
        with suffering(fault, place):
            for number, name in enumerate(["known.png", "unseen.png", "another.png"]):
                assert right(asked(served, name), name)
                for _ in range(2):
                    large = asked(served, name, LARGE)
                    assert right(large, name, TWICE)
                assert hit(large) is fault.keeps, large.head
                size = (90 + number, 67 + number)
                small = f"full/{size[0]},{size[1]}/0/default.jpg"
                assert right(asked(served, name, small), name, size)
                assert asked(served, name, "info.json").status == 200
            known = asked(served, "other.png")
            assert right(known, "other.png")
            assert hit(known) or not fault.hits
            wrong = findings(place)
            assert fault.says is None or fault.says in wrong.values(), wrong
            assert ask(served.port, get("/iiif/-/health")).status == 200
        # Over: it keeps again what it makes, and nothing is left of what it could not.
        for name in ("known.png", "unseen.png", "later.png"):
            assert right(asked(served, name, LARGE), name, TWICE)
            again = asked(served, name, LARGE)
            assert right(again, name, TWICE)
            assert hit(again), again.head
        assert not list(above.rglob("*.tmp"))
        assert list(place.cache.rglob("*.tif"))
        assert "Traceback" not in served.log(), served.log()
        assert served.process.poll() is None


def test_a_folder_that_goes_again_and_again(tmp_path: Path, origin: Origin) -> None:
    """Removed, replaced and purged in mid-request: every answer is whole and right."""
    wrong: list[object] = []
    answers = 0

    def visit(seed: int) -> None:
        nonlocal answers
        chance = random.Random(seed)
        try:
            while not over.is_set():
                name = f"going-{chance.randrange(6)}.png"
                rest, size = chance.choice([*SIZES.items()])
                assert right(asked(place.served, name, rest), name, size)
                answers += 1
        except BaseException as error:
            wrong.append(error)

    over = threading.Event()
    chance = random.Random(7)
    with place_at(tmp_path / "cache", origin, workers=2) as place:
        visitors = [threading.Thread(target=visit, args=(seed,)) for seed in range(4)]
        for visitor in visitors:
            visitor.start()
        end = time.monotonic() + 120
        while answers < 60 and not wrong and time.monotonic() < end:
            time.sleep(chance.uniform(0.001, 0.05))
            fate = chance.choice(["removed", "replaced", "emptied"])
            if fate == "removed":
                shutil.rmtree(place.cache, ignore_errors=True)
            elif fate == "replaced":
                with contextlib.suppress(OSError):
                    place.cache.rename(tmp_path / f"old-{time.monotonic_ns()}")
            else:
                for folder in list(place.cache.glob("*")):
                    shutil.rmtree(folder, ignore_errors=True)
        over.set()
        for visitor in visitors:
            visitor.join()
        assert wrong == []
        assert answers >= 60
        assert right(asked(place.served, "going-1.png"), "going-1.png")
        assert hit(asked(place.served, "going-1.png"))
        assert "Traceback" not in place.served.log(), place.served.log()
