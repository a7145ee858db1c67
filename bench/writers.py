"""Several processes write into one full store: what a write costs, and whether the bound holds.

    python -m bench.writers [--most 1000000] [--writers 4] [--folder DIR]

Ten thousand entries, then ten times as many, up to `--most`: small files, so that what is swept is
as many as can be. The store is full from the start, and half as many entries again are written.
Printed are microseconds of a write (all of it, with its share of sweeping, and that of the slowest
hundredth), the ratio to the smallest store, and the most bytes on the disk (files in blocks,
folders, temporary files; walked all the time) and in the total that all processes keep, by the
bound.
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

LEAST = 10_000


def write(folder: str, bound: int, start: int, entries: int) -> tuple[float, float]:
    """Mean and the slowest hundredth, in microseconds; all, until its own sweeps have ended."""
    store = DiskStore(folder, bound)
    taken = []
    for number in range(start, start + entries):
        begun = time.perf_counter()
        store.put(key_of(number), write_one).close()
        taken.append(time.perf_counter() - begun)
    begun = time.perf_counter()
    while store._bound._sweeper is not None:
        time.sleep(0.01)
    mean = (sum(taken) + time.perf_counter() - begun) / entries
    return mean * 1e6, statistics.quantiles(taken, n=100)[98] * 1e6


def together(
    pool: Pool, writers: int, folder: str, bound: int, start: int, entries: int,
    meanwhile: Callable[[], object] = lambda: time.sleep(0.05),
) -> list[tuple[float, float]]:  # fmt: skip
    each = entries // writers
    jobs = [
        pool.apply_async(write, (folder, bound, start + number * each, each))
        for number in range(writers)
    ]
    while not all(job.ready() for job in jobs):
        meanwhile()
    return [job.get() for job in jobs]


def measured(pool: Pool, writers: int, folder: str, entries: int) -> tuple[float, ...]:
    """Mean, slowest, most on the disk and most in the total by the bound, number of looks."""
    together(pool, writers, folder, ROOM, 0, entries)
    bound = DiskStore(folder, ROOM).sweep().bytes
    disk, total = [bound], [bound]

    def look() -> None:
        disk.append(count(folder)[1])
        total.append(history.total(folder))

    wrote = together(pool, writers, folder, bound, 2 * entries, entries // 2, look)
    mean = statistics.mean(mean for mean, _ in wrote)
    return mean, max(slow for _, slow in wrote), max(disk) / bound, max(total) / bound, len(disk)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--most", type=int, default=100_000)
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument("--folder", type=Path, default=None, help="on the disk to be measured")
    asked = parser.parse_args()
    print("  entries  write us  x 10000   99th us   disk/bound  total/bound   looks")
    first = 0.0
    entries = LEAST
    with multiprocessing.get_context("spawn").Pool(asked.writers) as pool:
        while entries <= asked.most:
            folder = tempfile.mkdtemp(prefix="iiif-proxy-bench-", dir=asked.folder)
            try:
                mean, slow, disk, total, looks = measured(pool, asked.writers, folder, entries)
            finally:
                shutil.rmtree(folder)
            first = first or mean
            print(
                f"{entries:9} {mean:9.1f} {mean / first:8.2f} {slow:9.1f} {disk:12.3f}"
                f" {total:12.3f} {looks:7.0f}",
                flush=True,
            )
            entries *= 10


if __name__ == "__main__":
    main()
