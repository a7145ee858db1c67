"""Who asks for what: few images often, most hardly ever; and what a bounded cache makes of that.

The image of rank r is asked for r^-s as often as the first (Zipf). Three ways to the share of
visits that find their image on the disk: by formula, by a simulation of the disk's rule, and by the
real store.
"""

import os
import random
from bisect import bisect
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy

from iiif_proxy.stores.base import Key
from iiif_proxy.stores.disk import DiskStore
from iiif_proxy.stores.sweep import FOLDER, cost

# What a sweep leaves of the bound (stores/bound.py).
LEFT = 0.9
EXACT, BINS = 1_000, 2_000


def ranks(number: int, exponent: float) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Shares of single images, and how many images have each: exact for the first thousand, then
    in bins of ranks, so that a hundred million cost no more than a thousand."""
    exact = min(number, EXACT)
    edges = numpy.unique(numpy.geomspace(exact, number, BINS).round()) if number > exact else []
    middles = numpy.sqrt((numpy.array(edges[:-1]) + 1) * numpy.array(edges[1:]))
    rank = numpy.concatenate([numpy.arange(1, exact + 1), middles])
    many = numpy.concatenate([numpy.ones(exact), numpy.diff(edges)])
    shares = rank**-exponent
    return shares / (shares * many).sum(), many


def held(rates: numpy.ndarray, many: numpy.ndarray, room: float) -> numpy.ndarray:
    """The chance that each image is in a cache for `room` images that keeps what was asked last.

    Che's approximation (2002): an image stays for a time that is the same for all, which is as
    long as fills the room.
    """
    if room >= many.sum():
        return numpy.ones_like(rates)
    low, high = 0.0, 1.0 / rates.min()
    while ((1 - numpy.exp(-rates * high)) * many).sum() < room:
        high *= 2
    for _ in range(100):
        time = (low + high) / 2
        if ((1 - numpy.exp(-rates * time)) * many).sum() < room:
            low = time
        else:
            high = time
    return 1 - numpy.exp(-rates * high)


@dataclass(frozen=True)
class Collection:
    """Bytes of the files of each image, and the order in which images are visited."""

    sizes: Sequence[Sequence[int]]
    visits: Sequence[int]
    bound: int

    @classmethod
    def of(
        cls, number: int, visits: int, exponent: float, share: float, seed: int = 8
    ) -> "Collection":
        """`share`: of all its bytes there is room for so many. Files as tiles are: 1 to 60 kB."""
        rng = random.Random(seed)
        sizes = [[rng.randint(1_000, 60_000) for _ in range(4)] for _ in range(number)]
        until = list(accumulate((rank + 1) ** -exponent for rank in range(number)))
        order = list(range(number))
        rng.shuffle(order)  # A small image is as likely to be loved as a large one.
        asked = [order[bisect(until, rng.random() * until[-1])] for _ in range(visits)]
        return cls(sizes, asked, int(share * sum(map(on_disk, sizes))))

    @property
    def warm(self) -> int:
        """Visits from which on is counted: the first half fills the cache."""
        return len(self.visits) // 2


def on_disk(files: Sequence[int]) -> int:
    return sum(map(cost, files)) + 2 * FOLDER


def simulated(these: Collection) -> float:
    """The share of files found, by the rule alone: least recently used first, a tenth at a time."""
    kept: OrderedDict[tuple[int, int], int] = OrderedDict()
    left: dict[int, int] = {}
    used = hits = asked = 0
    for turn, image in enumerate(these.visits):
        for file, size in enumerate(these.sizes[image]):
            key = image, file
            counts = turn >= these.warm
            asked += counts
            if key in kept:
                kept.move_to_end(key)
                hits += counts
                continue
            kept[key] = cost(size)
            if image not in left:
                used += 2 * FOLDER
            left[image] = left.get(image, 0) + 1
            used += cost(size)
            if used > these.bound:
                while used > LEFT * these.bound:
                    (old, _), freed = kept.popitem(last=False)
                    used -= freed
                    left[old] -= 1
                    if not left[old]:
                        del left[old]
                        used -= 2 * FOLDER
    return hits / asked


def formula(these: Collection, exponent: float) -> float:
    """The same by Che's approximation, with the room that there is on average."""
    number = len(these.sizes)
    rates, many = ranks(number, exponent)
    mean = sum(map(on_disk, these.sizes)) / number
    room = these.bound * (1 + LEFT) / 2 / mean
    return float((held(rates, many, room) * rates * many).sum())


def measured(these: Collection, folder: Path) -> float:
    """The same by the store itself, on this disk."""
    store = DiskStore(folder, these.bound, background=False)
    data = os.urandom(60_000)
    hits = asked = 0
    for turn, image in enumerate(these.visits):
        for file, size in enumerate(these.sizes[image]):
            key = Key(f"{image:032x}", "1", f"{file}.jpg")
            entry = store.get(key)
            asked += turn >= these.warm
            hits += turn >= these.warm and entry is not None
            if entry is None:
                entry = store.put(key, lambda out, size=size: out.write(data[:size]))
            entry.close()
    return hits / asked
