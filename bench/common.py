"""What the cases share: sources that nobody has asked for, and a sidecar for each case."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from urllib.parse import quote

from bench.client import Client
from bench.corpus import Corpus, Picture
from bench.server import RunningOrigin, Sidecar, sidecar
from iiif_proxy.iiif.model import Box

TILE = 512
OVERVIEW = "0,0,8192,8192/512,512/0/default.jpg"
MILLI = 1e3


@dataclass(slots=True)
class Bench:
    """What every case needs."""

    corpus: Corpus
    origin: RunningOrigin
    rounds: int
    _numbers: Iterator[int] = field(default_factory=count)

    def fresh(self, picture: Picture) -> str:
        """The base of a IIIF URL that nobody has asked for."""
        return "/iiif/3/" + quote(f"new{next(self._numbers)}/{picture.path.name}", safe="")

    @contextmanager
    def sidecar(self, **settings: object) -> Iterator[tuple[Sidecar, Client]]:
        """One with an empty cache, and a client of it."""
        with sidecar(self.origin.port, **settings) as running, Client(running.port) as client:
            yield running, client


def path_of(base: str, box: Box, width: int, height: int) -> str:
    return f"{base}/{box.x},{box.y},{box.width},{box.height}/{width},{height}/0/default.jpg"


def tiles(picture: Picture, factors: tuple[int, ...], seed: int) -> list[tuple[Box, int, int]]:
    """The whole tiles of some factors, shuffled."""
    found = []
    for factor in factors:
        side = TILE * factor
        for x in range(0, picture.width - side + 1, side):
            for y in range(0, picture.height - side + 1, side):
                found.append((Box(x, y, side, side), TILE, TILE))
    random.Random(seed).shuffle(found)
    return found


def opened(client: Client, base: str, picture: Picture) -> None:
    """Until the last row of the source is decoded, and each worker may know."""
    client.get(base + "/info.json")
    corner = Box(picture.width - TILE - 8, picture.height - TILE - 8, TILE, TILE)
    client.get(path_of(base, corner, TILE, TILE))
    time.sleep(0.5)
