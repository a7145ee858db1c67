"""kill -9 of all processes at random instants, and another start with the same folder."""

import hashlib
import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest

from iiif_proxy.sources import contents
from iiif_proxy.stores import sweep
from iiif_proxy.stores.disk import DiskStore
from tests.faults.pictures import SIZE, asked, hit, right, serve
from tests.faults.test_disk import place_at
from tests.servers import Origin, Served

SEED, ROUNDS, VISITORS = 4, 4, 4
RESTS = {
    "full/max/0/default.png": SIZE,
    "full/240,/0/default.jpg": (240, 180),
    "full/max/0/default.tif": SIZE,
    "full/^960,/0/default.png": (960, 720),
}


class Seen:
    """What visitors got: every whole answer of one address is the same bytes, and right."""

    def __init__(self) -> None:
        self.sums: dict[tuple[str, str], bytes] = {}
        self.whole = self.cut = 0
        self.wrong: list[object] = []
        self.lock = threading.Lock()

    def go(self, served: Served, seed: float, names: list[str], over: threading.Event) -> None:
        rng = random.Random(seed)
        while not over.is_set():
            self.visit(served, rng.choice(names), rng.choice(list(RESTS)))

    def visit(self, served: Served, name: str, rest: str) -> None:
        try:
            answer = asked(served, name, rest)
        except OSError:
            self.cut += 1
            return
        if not answer.whole:
            self.cut += 1
            return
        try:
            found = hashlib.sha256(answer.body).digest()
            with self.lock:
                known = self.sums.setdefault((name, rest), found)
                self.whole += 1
            assert known == found
            assert right(answer, name, RESTS[rest])
        except Exception as error:
            self.wrong.append((name, rest, answer.status, error))


def test_killed_at_random_instants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance, seen = random.Random(SEED), Seen()
    cache = tmp_path / "cache"
    with Origin() as origin:
        origin.default = serve
        names: list[str] = []
        for round in range(ROUNDS):
            # Old ones are found again, and there is always something to be made.
            names += [f"{round}-{number}.png" for number in range(3)]
            with place_at(cache, origin, workers=2) as place:
                over = threading.Event()

                visitors = [
                    threading.Thread(
                        target=seen.go, args=(place.served, chance.random(), list(names), over)
                    )
                    for _ in range(VISITORS)
                ]
                for visitor in visitors:
                    visitor.start()
                time.sleep(chance.uniform(0.02, 0.4))
                os.killpg(place.served.process.pid, signal.SIGKILL)
                place.served.process.wait()
                over.set()
                for visitor in visitors:
                    visitor.join()
        assert seen.cut
        with place_at(cache, origin, workers=2) as place:
            leave(cache)
            for name in [*names, "new.png"]:
                for rest in RESTS:
                    seen.visit(place.served, name, rest)
                    assert hit(asked(place.served, name, rest))
            deadline = time.monotonic() + 60
            while list(cache.glob("incoming/*")) and time.monotonic() < deadline:
                time.sleep(0.01)
    assert seen.wrong == []
    assert list(cache.glob("incoming/*")) == []
    # What a sweep finds ten minutes later.
    monkeypatch.setattr(sweep, "STALE", -1.0)
    for folder in cache.iterdir():
        if (folder / ".state").is_dir():
            store = DiskStore(folder, 1 << 30)
            store.sweep()
            assert store.check().broken == 0
    assert list(cache.rglob("*.tmp")) == []


def leave(cache: Path) -> None:
    """A download and a write that were cut long ago, whether or not a kill left any."""
    (cache / "incoming").mkdir(exist_ok=True)
    (cache / "incoming" / "0123456789abcdef").write_bytes(b"half of")
    group = cache / "derivatives" / "a" / "b"
    group.mkdir(parents=True)
    (group / sweep.temporary_name(4096)).write_bytes(b"half of")
    for path in cache.glob("incoming/*"):
        old = time.time() - contents.TIDY_AGE - 1
        os.utime(path, (old, old))
