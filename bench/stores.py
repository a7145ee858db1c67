"""What a hit and a write cost, and whether that grows with the number of entries.

    python bench/stores.py [--most 100000] [--folder DIR] [--rounds 5]

Prints microseconds for orientation and ratios to go by: a hit to the bare open + fstat + close of
the same file, a hit and a write to those in the smallest store; and the share of a write that is
sweeping.
A million entries: --most 1000000 (takes minutes; 4 GB of disk).
"""

import argparse
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from iiif_proxy.stores.base import Key
from iiif_proxy.stores.disk import DiskStore

GROUP = 128  # entries of one identifier: about what a 24-megapixel image has as tiles
ROOM = 1 << 50


def key_of(number: int) -> Key:
    return Key(f"{number // GROUP:032x}", "77-ab", f"{number},0,512,512_512,512_0_default.jpg")


def write_one(file: object) -> None:
    file.write(b"x")  # type: ignore[attr-defined]  # the store's file


def micros(work: Callable[[int], object], numbers: list[int]) -> float:
    begun = time.perf_counter()
    for number in numbers:
        work(number)
    return (time.perf_counter() - begun) / len(numbers) * 1e6


def fill(store: DiskStore, start: int, count: int) -> None:
    for number in range(start, start + count):
        store.put(key_of(number), write_one).close()


def hits(folder: Path, entries: int, rounds: int) -> tuple[float, float, float]:
    """Medians: a hit with its close, the bare system calls, and a miss."""
    store = DiskStore(folder, ROOM)

    def hit(number: int) -> None:
        entry = store.get(key_of(number))
        assert entry is not None
        entry.close()

    def bare(number: int) -> None:
        key = key_of(number)
        descriptor = os.open(f"{folder}/{key.group}/{key.version}/{key.name}", os.O_RDONLY)
        os.fstat(descriptor)
        os.close(descriptor)

    samples: list[list[float]] = [[], [], []]
    chance = random.Random(entries)
    for _ in range(rounds):
        numbers = chance.choices(range(entries), k=2000)
        for place, work in enumerate((hit, bare, lambda n: store.get(key_of(n + entries)))):
            samples[place].append(micros(work, numbers))
    hit_cost, bare_cost, miss_cost = (statistics.median(taken) for taken in samples)
    return hit_cost, bare_cost, miss_cost


def writes(folder: Path, entries: int) -> tuple[float, float, float]:
    """A write in a full store with its share of the sweeps, that share, and a sweep's seconds."""
    store = DiskStore(folder, DiskStore(folder, ROOM).sweep().bytes, background=False)
    spent: list[float] = []
    sweep = store._bound.sweep

    def timed(*args: Any, **keywords: Any) -> Any:
        begun = time.perf_counter()
        try:
            return sweep(*args, **keywords)
        finally:
            spent.append(time.perf_counter() - begun)

    store._bound.sweep = timed  # type: ignore[method-assign]  # only to look
    fill(store, entries, entries // 8 + 10)  # up to the first sweep
    spent.clear()
    start = 2 * entries + 1000
    numbers = list(range(start, start + max(200, entries // 3)))
    cost = micros(lambda n: store.put(key_of(n), write_one).close(), numbers)
    return cost, sum(spent) / len(numbers) * 1e6, statistics.mean(spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--most", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, default=None, help="on the disk to be measured")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    print("  entries    hit us  x bare  x 100   miss us   write us  x 100  sweep us   a sweep s")
    first: tuple[float, float] | None = None
    entries = 100
    while entries <= asked.most:
        folder = Path(tempfile.mkdtemp(prefix="iiif-proxy-bench-", dir=asked.folder))
        try:
            fill(DiskStore(folder, ROOM), 0, entries)
            hit, bare, miss = hits(folder, entries, asked.rounds)
            write, share, sweep = writes(folder, entries)
        finally:
            shutil.rmtree(folder)
        first = first or (hit, write)
        print(
            f"{entries:9} {hit:9.1f} {hit / bare:7.2f} {hit / first[0]:6.2f} {miss:9.1f}"
            f" {write:10.1f} {write / first[1]:6.2f} {share:9.1f} {sweep:11.3f}"
        )
        entries *= 10


if __name__ == "__main__":
    main()
