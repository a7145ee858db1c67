"""An invented country: heights out of noise, rivers that reach the sea, roads that avoid slopes.

Standard library and Pillow only. The same seed gives the same country everywhere.
"""

import heapq
import random
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import hypot, inf
from typing import Any

from PIL import Image, ImageMath

SEED = 18
SEA = 100  # levels below this one are under water; a level is METRES high
METRES = 20
RELIEF = (2000, 1500)  # the field of heights
GRID = (320, 240)  # what rivers and roads are found on
OCTAVES = 10
Point = tuple[float, float]


def calculate(formula: Callable[[dict[str, Any]], Any], **values: Any) -> Image.Image:
    """What the formula makes of the values, images or numbers, each known by its name."""
    image = ImageMath.lambda_eval(formula, **values)
    assert isinstance(image, Image.Image)
    return image


def _noise(width: int, height: int, seed: int) -> Image.Image:
    values = random.Random(seed).randbytes(width * height)
    return Image.frombytes("L", (width, height), values).convert("F")


def _basin() -> Image.Image:
    """How much the sea is to win: 0 in the middle, more towards the frame."""
    width, height = 32, 24
    across = [abs(2 * (x + 0.5) / width - 1) ** 6 for x in range(width)]
    down = [abs(2 * (y + 0.5) / height - 1) ** 6 for y in range(height)]
    values = bytes(min(255, round(90 * (a + b))) for b in down for a in across)
    return Image.frombytes("L", (width, height), values).convert("F")


def heights() -> Image.Image:
    """Mode F, RELIEF large; 1.0 is one level."""
    total = calculate(
        lambda a: -a["basin"], basin=_basin().resize(RELIEF, Image.Resampling.BICUBIC)
    )
    for octave in range(OCTAVES):
        coarse = _noise(4 << octave, 3 << octave, SEED * 100 + octave)
        fine = coarse.resize(RELIEF, Image.Resampling.BICUBIC)
        total = calculate(
            lambda a: a["total"] + (a["fine"] - 127.5) * 0.53 ** a["octave"],
            total=total,
            fine=fine,
            octave=octave,
        )
    # Above the sea it rises steeper the higher it is: plains at the coast, mountains inland.
    return calculate(lambda a: SEA + a["t"] * 0.25 + a["t"] * abs(a["t"]) * 0.0030, t=total)


def woods(relief: Image.Image) -> Image.Image:
    """Mode F, RELIEF large: above 0 where trees grow; not at the beach, not in the heights."""
    fields = {
        name: _noise(columns, columns * 3 // 4, SEED * 100 + columns).resize(
            RELIEF, Image.Resampling.BICUBIC
        )
        for name, columns in (("a", 24), ("b", 96), ("c", 400))
    }
    return calculate(
        lambda a: a["a"] * 0.6 + a["b"] * 0.45 + a["c"] * 0.15
        - 165 - abs(a["h"] - SEA - 28) * 0.9,
        h=relief, **fields,
    )  # fmt: skip


@dataclass(frozen=True)
class Town:
    name: str
    x: float
    y: float
    size: int  # 3 the capital, 2 towns, 1 villages


class Country:
    """What lies on the terrain, in units of GRID cells; `height[y * columns + x]` in levels."""

    def __init__(self, relief: Image.Image) -> None:
        self.columns, self.rows = GRID
        small = relief.resize(GRID, Image.Resampling.BOX)
        self.height = list(array("f", small.tobytes()))
        self.downstream, order = self._drain()
        self.flow = [1.0] * len(self.height)
        for cell in reversed(order):  # what is flooded last lies highest
            if self.downstream[cell] >= 0:
                self.flow[self.downstream[cell]] += self.flow[cell]

    def around(self, cell: int) -> Iterator[tuple[int, float]]:
        """The neighbours of a cell, and how far they are."""
        x, y = cell % self.columns, cell // self.columns
        for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)):
            if 0 <= x + dx < self.columns and 0 <= y + dy < self.rows:
                yield cell + dx + dy * self.columns, 1.0 if dx * dy == 0 else 1.4142

    def _drain(self) -> tuple[list[int], list[int]]:
        """Priority flood from the sea: where the water of each cell goes, and the order."""
        height = self.height
        downstream = [-2] * len(height)
        queue = [(level, cell) for cell, level in enumerate(height) if level < SEA]
        for _, cell in queue:
            downstream[cell] = -1
        heapq.heapify(queue)
        order = []
        while queue:
            level, cell = heapq.heappop(queue)
            order.append(cell)
            for other, _ in self.around(cell):
                if downstream[other] == -2:
                    downstream[other] = cell
                    heapq.heappush(queue, (max(level, height[other]), other))
        return downstream, order

    def rivers(self, least: float = 90) -> list[tuple[list[Point], float, float]]:
        """Lines from source to mouth, each with the water at its two ends."""
        lines = []
        streams = [c for c, flow in enumerate(self.flow) if flow >= least and self.height[c] >= SEA]
        fed = {self.downstream[c] for c in streams}
        met: set[int] = set()
        sources = sorted((c for c in streams if c not in fed), key=lambda c: -self.height[c])
        for cell in sources:
            line = [cell]
            while self.height[cell] >= SEA and cell not in met:
                met.add(cell)
                cell = self.downstream[cell]
                line.append(cell)
            if len(line) > 4:
                way = smooth([self.aside(c) for c in line])
                lines.append((way, self.flow[line[0]], self.flow[line[-2]]))
        return lines

    def middle(self, cell: int) -> Point:
        return cell % self.columns + 0.5, cell // self.columns + 0.5

    def aside(self, cell: int) -> Point:
        """A place in the cell that is not its middle, so that lines are not drawn by a ruler."""
        x, y = self.middle(cell)
        return x + (cell * 7919 % 101 - 50) / 130, y + (cell * 6101 % 103 - 51) / 130

    def level(self, x: float, y: float) -> float:
        column = min(max(int(x), 0), self.columns - 1)
        return self.height[min(max(int(y), 0), self.rows - 1) * self.columns + column]

    def slope(self, cell: int) -> float:
        return max(abs(self.height[cell] - self.height[other]) for other, _ in self.around(cell))

    def towns(self, names: list[str]) -> list[Town]:
        """At flat places near much water, far from each other; the first name is the capital."""

        def worth(cell: int) -> float:
            near = max(self.flow[other] for other, _ in self.around(cell))
            return min(near, 900) / 60 - 3 * self.slope(cell) - abs(self.height[cell] - SEA - 4) / 3

        land = [
            cell
            for cell, level in enumerate(self.height)
            if level >= SEA + 1.5 and self._inside(cell, 14)
        ]
        land.sort(key=lambda cell: (-worth(cell), cell))
        chosen: list[Town] = []
        for cell in land:
            x, y = self.aside(cell)
            if all(hypot(x - town.x, y - town.y) > 22 for town in chosen):
                size = 3 if not chosen else 2 if len(chosen) < 8 else 1
                chosen.append(Town(names[len(chosen)], x, y, size))
                if len(chosen) == len(names):
                    break
        return chosen

    def _inside(self, cell: int, margin: int) -> bool:
        x, y = cell % self.columns, cell // self.columns
        return margin <= x < self.columns - margin and margin <= y < self.rows - margin

    def peaks(self, count: int, apart: float) -> list[tuple[float, float, float]]:
        """The highest points, (x, y, level)."""
        found: list[tuple[float, float, float]] = []
        for cell in sorted(range(len(self.height)), key=lambda c: -self.height[c]):
            level = self.height[cell]
            if level < SEA + 3 or len(found) == count:
                break
            x, y = self.middle(cell)
            if self._inside(cell, 6) and all(
                hypot(x - other[0], y - other[1]) > apart for other in found
            ):
                found.append((x, y, level))
        return found

    def roads(self, towns: list[Town]) -> list[tuple[list[Point], int]]:
        """Each town to the nearest that is on the net already; never through the sea."""
        lines = []
        net = {self._cell(towns[0])}
        for town in sorted(towns[1:], key=lambda t: hypot(t.x - towns[0].x, t.y - towns[0].y)):
            way = self._way(self._cell(town), net)
            if way:
                net.update(way)
                lines.append((smooth([self.aside(cell) for cell in way]), town.size))
        return lines

    def _cell(self, town: Town) -> int:
        return int(town.y) * self.columns + int(town.x)

    def _way(self, start: int, goals: set[int]) -> list[int]:
        """Dijkstra: steps cost their length and far more their slope."""
        height = self.height
        cost = {start: 0.0}
        came = {start: start}
        queue = [(0.0, start)]
        while queue:
            spent, cell = heapq.heappop(queue)
            if cell in goals:
                way = [cell]
                while way[-1] != start:
                    way.append(came[way[-1]])
                return way[::-1]
            if spent > cost[cell]:
                continue
            for other, length in self.around(cell):
                if height[other] < SEA + 0.3:
                    continue
                total = spent + length + 1.5 * abs(height[other] - height[cell])
                if total < cost.get(other, inf):
                    cost[other] = total
                    came[other] = cell
                    heapq.heappush(queue, (total, other))
        return []


def smooth(line: list[Point], times: int = 3) -> list[Point]:
    """Chaikin: corners cut, ends kept."""
    for _ in range(times):
        cut = [line[0]]
        for (ax, ay), (bx, by) in pairwise(line):
            cut.append((0.75 * ax + 0.25 * bx, 0.75 * ay + 0.25 * by))
            cut.append((0.25 * ax + 0.75 * bx, 0.25 * ay + 0.75 * by))
        cut.append(line[-1])
        line = cut
    return line
