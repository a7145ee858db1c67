"""Several processes write into one full store: what a write costs, and whether the bound holds.

    python -m bench.writers [--least 10000] [--most 1000000] [--writers 4] [--folder DIR]

`--least` entries, then ten times as many, up to `--most`: small files, so that what is swept is
as many as can be. The store is full from the start, and half as many entries again are written.
Printed are microseconds of a processor that a write takes with its share of sweeping (what else
runs on the machine does not count), the ratio to the smallest store, microseconds by the clock and
those of the slowest hundredth, and the most bytes on the disk (files in blocks, folders, temporary
files; walked all the time) and in the total that all processes keep, by the bound.
A million takes some minutes and 4 GB of disk.
"""

import argparse
import multiprocessing
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from multiprocessing.pool import Pool
from pathlib import Path

from bench.stores import ROOM, key_of, write_one
from iiif_proxy.stores import history
from iiif_proxy.stores.disk import DiskStore
from iiif_proxy.stores.sweep import count


def write(folder: str, bound: int, start: int, entries: int) -> tuple[float, float, float]:
    """A processor's, the clock's, and the slowest hundredth, in microseconds of a write; all until
    its own sweeps have ended."""
    store = DiskStore(folder, bound)
    taken, spent = [], time.process_time()
    for number in range(start, start + entries):
        begun = time.perf_counter()
        store.put(key_of(number), write_one).close()
        taken.append(time.perf_counter() - begun)
    begun = time.perf_counter()
    while store._bound._sweeper is not None:
        time.sleep(0.01)
    mean = (sum(taken) + time.perf_counter() - begun) / entries
    spent = (time.process_time() - spent) / entries
    return spent * 1e6, mean * 1e6, statistics.quantiles(taken, n=100)[98] * 1e6


def together(
    pool: Pool, writers: int, folder: str, bound: int, start: int, entries: int,
    meanwhile: Callable[[], object] = lambda: time.sleep(0.05),
) -> list[tuple[float, float, float]]:  # fmt: skip
    each = entries // writers
    jobs = [
        pool.apply_async(write, (folder, bound, start + number * each, each))
        for number in range(writers)
    ]
    while not all(job.ready() for job in jobs):
        meanwhile()
    return [job.get() for job in jobs]


def measured(pool: Pool, writers: int, folder: str, entries: int) -> tuple[float, ...]:
    """As `write` has them; the most on the disk and in the total, by the bound; how many looks."""
    together(pool, writers, folder, ROOM, 0, entries)
    bound = DiskStore(folder, ROOM).sweep().bytes
    disk, total = [bound], [bound]

    def look() -> None:
        disk.append(count(folder)[1])
        total.append(history.total(folder))

    wrote = together(pool, writers, folder, bound, 2 * entries, entries // 2, look)
    spent, mean, slow = (statistics.mean(values) for values in zip(*wrote, strict=True))
    return spent, mean, slow, max(disk) / bound, max(total) / bound, len(disk)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--least", type=int, default=10_000)
    parser.add_argument("--most", type=int, default=100_000)
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument("--folder", type=Path, default=None, help="on the disk to be measured")
    asked = parser.parse_args()
    print("  entries    cpu us  x least  clock us   99th us   disk/bound  total/bound   looks")
    first = 0.0
    entries = asked.least
    with multiprocessing.get_context("spawn").Pool(asked.writers) as pool:
        while entries <= asked.most:
            folder = tempfile.mkdtemp(prefix="iiif-proxy-bench-", dir=asked.folder)
            try:
                spent, mean, slow, disk, total, looks = measured(
                    pool, asked.writers, folder, entries
                )
            finally:
                shutil.rmtree(folder)
            first = first or spent
            print(
                f"{entries:9} {spent:9.1f} {spent / first:8.2f} {mean:9.1f} {slow:9.1f}"
                f" {disk:12.3f} {total:12.3f} {looks:7.0f}",
                flush=True,
            )
            entries *= 10


if __name__ == "__main__":
    main()
