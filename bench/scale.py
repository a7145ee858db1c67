"""Several machines: what the cache of all costs, how often it hits, and how many machines it takes.

    python -m bench.scale [--only store|hits|need] [--machine 120 --cores 4 --expiry 90 ...]

`store`: milliseconds of each request to the shared cache, beside the disk alone (medians; a real
object store, SeaweedFS of the test extra, on loopback: one in another city adds its round trip to
each line that asks it). `hits`: how many files a bounded disk finds when images are asked for by
Zipf's rule, by the real store, by a simulation and by formula. `need`: from what a hit, a hit in
the store and a new image cost this machine's processor, the machines, room and money for 10^4 to
10^8 images and 10 to 10^5 requests a second.
"""

import argparse
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

from bench.capacity import DAY, IMAGES, Habits, Prices, figure, table
from bench.perimage import costs_of
from bench.zipf import Collection, formula, measured, simulated
from iiif_proxy.cluster import Leases, Link, News
from iiif_proxy.stores.base import Key, Store
from iiif_proxy.stores.bucket import Bucket
from iiif_proxy.stores.disk import DiskStore
from iiif_proxy.stores.shared import SharedStore
from tests.objectstore import ObjectStore
from tests.redisserver import RedisServer

TILE = 30_000
ROOM = 1 << 30
# Images, the share of their bytes that there is room for, Zipf's exponent.
CASES = ((2000, 0.05, 0.8), (2000, 0.2, 0.8), (2000, 0.2, 1.0), (2000, 0.5, 0.6))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--only", choices=["store", "hits", "need"])
    parser.add_argument("--number", type=int, default=300, help="requests of store")
    parser.add_argument("--images", type=int, default=3, help="that are made for need")
    for kind in (Prices, Habits):
        for one in fields(kind):
            parser.add_argument(f"--{one.name}", type=type(one.default), default=one.default)
    chosen = parser.parse_args()
    if chosen.only in {None, "store"}:
        of_store(chosen.number)
    if chosen.only in {None, "hits"}:
        of_hits()
    if chosen.only in {None, "need"}:
        given = vars(chosen)
        prices, habits = (
            kind(**{one.name: given[one.name] for one in fields(kind)}) for kind in (Prices, Habits)
        )
        of_need(chosen.images, prices, habits)


def of_hits() -> None:
    print("\n| images | room for | s | measured | simulated | formula |\n|---|---|---|---|---|---|")
    for number, share, exponent in CASES:
        these = Collection.of(number, 4 * number, exponent, share)
        with tempfile.TemporaryDirectory() as folder:
            real = measured(these, Path(folder))
        rule, che = simulated(these), formula(these, exponent)
        print(
            f"| {number} | {share:.0%} | {exponent} | {real:.1%} | {rule:.1%} ({rule - real:+.2%})"
            f" | {che:.1%} ({che - real:+.2%}) |"
        )


def of_need(images: int, prices: Prices, habits: Habits) -> None:
    with ObjectStore() as objects, objects.environ():
        costs = costs_of(images, 5)
    print(
        f"\nMeasured, milliseconds of a core: a hit {costs.hit * 1000:.2f}, a hit in the store"
        f" {costs.far * 1000:.2f}, an image of 12 megapixels with all its tiles"
        f" {costs.image * 1000:.0f}. {costs.files:.0f} objects, {costs.stored / 1e6:.2f} MB; a tile"
        f" has {costs.tile / 1000:.0f} kB."
        f"\nAll images at once, in days of one core: "
        + ", ".join(f"{figure(n)}: {n * costs.image / DAY:.3g}" for n in IMAGES)
        + f"\n{prices}\n{habits}\n"
    )
    print("\n".join(table(costs, prices, habits)))


def of_store(number: int) -> None:
    keys = [Key(f"{n:032x}", "1", "0,0,512,512_512,512_0_default.jpg") for n in range(number)]
    data = os.urandom(TILE)
    with tempfile.TemporaryDirectory() as folder, ObjectStore() as objects, objects.environ():

        def machine(name: str) -> SharedStore:
            near = DiskStore(Path(folder, name, "derivatives"), ROOM)
            return SharedStore(
                near, Bucket("s3://ready/bench"), Path(folder, name, "owed"), lambda key: {}
            )

        alone = DiskStore(Path(folder, "alone"), ROOM)
        one, two = machine("one"), machine("two")
        print("| | disk alone | with a bucket |\n|---|---|---|")
        line("miss: nobody has it", timed(alone, keys, look), timed(one, keys, look))
        made = timed(alone, keys, lambda store, key: keep(store, key, data))
        begun = time.perf_counter()
        shared = timed(one, keys, lambda store, key: keep(store, key, data))
        line("kept (the answer does not wait for the bucket)", made, shared)
        if not one.flush(60):
            raise SystemExit("The object store fell silent.")
        behind = number / (time.perf_counter() - begun)
        line("hit on the disk", timed(alone, keys, look), timed(one, keys, look))
        line("hit in the bucket, kept on the disk", None, timed(two, keys, look))
        begun = time.perf_counter()
        two.purge(keys[0].group)
        line("purge of one image", None, (time.perf_counter() - begun) * 1000)
        objects.kill()
        three = machine("three")
        line("miss while the bucket is away", None, timed(three, keys, look))
        print(f"\nWritten behind: {behind:.0f} images of {TILE // 1000} kB a second.")
        machines(Path(folder), number)


def machines(folder: Path, number: int) -> None:
    """What two machines tell each other by a Redis on loopback."""
    with RedisServer("redis-server") as redis:
        heard = threading.Event()
        one, two = (News(Link(redis.url), folder / name) for name in ("a", "b"))
        one.listen({}, lambda: None, lambda: None)
        two.listen({"purged": lambda what: heard.set()}, lambda: None, lambda: None)
        leases = Leases(Link(redis.url))
        took = []
        for n in range(number):
            heard.clear()
            begun = time.perf_counter()
            one.tell("purged", str(n))
            if heard.wait(10) and n:  # The first waits for the listener to begin.
                took.append((time.perf_counter() - begun) * 1000)
        leased = []
        for n in range(number):
            begun = time.perf_counter()
            leases.first(str(n), lambda: None, lambda: "made", 1.0)
            leased.append((time.perf_counter() - begun) * 1000)
        redis.kill()
        lost = time.perf_counter()
        leases.first("x", lambda: None, lambda: "made", 1.0)
        lost = (time.perf_counter() - lost) * 1000
        heard.clear()
        one.tell("purged", "later")
        redis.start()
        begun = time.perf_counter()
        heard.wait(30)
        back = time.perf_counter() - begun
        one.close()
        two.close()
    last = sorted(took)[int(0.99 * len(took))]
    print(f"A purge reaches the other machine: {statistics.median(took):.1f} ms, p99 {last:.1f}.")
    print(f"A lease taken and left: {statistics.median(leased):.2f} ms; Redis dies: {lost:.1f} ms.")
    print(f"A purge told while it was away arrives {back:.1f} s after it is back.")


def timed(store: Store, keys: Sequence[Key], ask: Callable[[Store, Key], None]) -> float:
    took = []
    for key in keys:
        begun = time.perf_counter()
        ask(store, key)
        took.append(time.perf_counter() - begun)
    return statistics.median(took) * 1000


def look(store: Store, key: Key) -> None:
    entry = store.get(key)
    if entry is not None:
        entry.close()


def keep(store: Store, key: Key, data: bytes) -> None:
    store.put(key, lambda file: file.write(data)).close()


def line(what: str, alone: float | None, shared: float) -> None:
    print(f"| {what} | {'' if alone is None else f'{alone:.3f}'} | {shared:.3f} |")


if __name__ == "__main__":
    main()
