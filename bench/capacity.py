"""What so many images and so many requests a second need: machines, room, money.

A visit is a run of requests for tiles of one image, images are visited by Zipf's rule, each has
its own machine (deploy/nginx-cluster.conf), and all tiles of an image are made at its first visit
(IIIF_PROXY_WRITE_AHEAD). What is neither on its machine's disk nor in the object store is made.
"""

import math
from dataclasses import dataclass

import numpy

from bench.zipf import LEFT, held, ranks

DAY = 86_400.0
MONTH = 30 * DAY
IMAGES = (10**4, 10**5, 10**6, 10**7, 10**8)
REQUESTS = (10, 100, 1_000, 10_000, 100_000)


@dataclass(frozen=True)
class Costs:
    """Measured. Processor seconds, bytes."""

    hit: float
    """A request for what the disk has."""
    far: float
    """A request for what the object store has; then it is on the disk."""
    image: float
    """One image fetched, decoded, and all its tiles made, kept and written to the store."""
    files: float
    """Objects of an image: its tiles, and a level."""
    stored: float
    """Bytes of them on a disk."""
    tile: float
    """Bytes of an answer."""


@dataclass(frozen=True)
class Prices:
    """Dollars, as large clouds asked in 2026, rounded; each is an option."""

    machine: float = 120.0
    """A month of one of `cores` and `disk` GB."""
    cores: int = 4
    disk: float = 200.0
    busy: float = 0.6
    """The share of the cores that may be busy on average."""
    gigabyte: float = 0.023
    """A month in the store."""
    puts: float = 5.0
    """A million."""
    gets: float = 0.4
    """A million."""
    egress: float = 0.02
    """A gigabyte to visitors."""


@dataclass(frozen=True)
class Habits:
    exponent: float = 0.8
    visit: int = 30
    """Requests."""
    expiry: float = 90.0
    """Days in the store, from its writing (its lifecycle rule)."""


@dataclass(frozen=True)
class Need:
    machines: int
    cores: float
    near: float
    """Shares of visits: found on the disk, in the store, and neither."""
    far: float
    made: float
    images_a_second: float
    stored: float
    """Bytes in the store."""
    running: float
    """Dollars a month, without egress."""
    egress: float


def need(images: int, requests: float, costs: Costs, prices: Prices, habits: Habits) -> Need:
    """The cheapest number of machines that do: more have more disk too, so the store is read less
    and fewer images are made."""
    shares, many = ranks(images, habits.exponent)
    rates = shares * requests / habits.visit
    all_of_it = images * costs.stored / room_of(1, prices)
    machines, best = 2, None
    while True:
        found = at(machines, rates, many, costs, prices, habits)
        if found.cores <= machines * prices.cores * prices.busy:
            if best is None or found.running < best.running:
                best = found
            if machines >= all_of_it or machines * prices.machine > best.running:
                return best
        machines = max(machines + 1, int(machines * 1.05))


def room_of(machines: int, prices: Prices) -> float:
    """Bytes on their disks, on average between a sweep and the next."""
    return machines * prices.disk * 1e9 * (1 + LEFT) / 2


def at(
    machines: int,
    rates: numpy.ndarray,
    many: numpy.ndarray,
    costs: Costs,
    prices: Prices,
    habits: Habits,
) -> Need:
    """`rates`: visits a second to each image; `many` images have each."""
    near = held(rates, many, room_of(machines, prices) / costs.stored)
    missed = rates * (1 - near)
    # Made whenever it is in neither, and then there until it expires.
    present = missed * habits.expiry * DAY
    present = present / (1 + present)
    visits = float((rates * many).sum())
    made = float((missed * (1 - present) * many).sum())
    far = float((missed * present * many).sum())
    requests = visits * habits.visit
    cores = costs.image * made + habits.visit * costs.far * far + costs.hit * requests
    stored = float((present * many).sum()) * costs.stored
    asked = habits.visit * far + 2 * costs.files * made
    return Need(
        machines,
        cores,
        1 - (made + far) / visits,
        far / visits,
        made / visits,
        made,
        stored,
        machines * prices.machine
        + stored / 1e9 * prices.gigabyte
        + MONTH / 1e6 * (costs.files * made * prices.puts + asked * prices.gets),
        MONTH * requests * costs.tile / 1e9 * prices.egress,
    )


def table(costs: Costs, prices: Prices, habits: Habits) -> list[str]:
    lines = [
        "| images | requests/s | machines | visits: on the disk, in the store, made | made/s"
        " | store | a month | and egress |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for images in IMAGES:
        for requests in REQUESTS:
            n = need(images, requests, costs, prices, habits)
            lines.append(
                f"| {figure(images)} | {figure(requests)} | {n.machines}"
                f" | {n.near:.1%}, {n.far:.1%}, {n.made:.1%} | {n.images_a_second:.3g}"
                f" | {size(n.stored)} | ${n.running:,.0f} | ${n.egress:,.0f} |"
            )
    return lines


def figure(number: float) -> str:
    return f"10^{round(math.log10(number))}"


def size(number: float) -> str:
    power = min(4, max(2, int(math.log10(max(number, 1)) / 3)))
    return f"{number / 1000**power:.3g} {' kMGT'[power]}B"
