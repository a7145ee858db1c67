"""Curves as small SVG files, with nothing but text."""

import math
from dataclasses import dataclass, field

WIDTH, HEIGHT = 560, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 150, 34, 44
COLOURS = ("#0b6e99", "#c2410c", "#4d7c0f", "#7c3aed", "#be185d")


@dataclass(slots=True)
class Curve:
    """Rows of a table: the first column is x, the others are lines. Both axes are logarithmic."""

    title: str
    unit: str
    rows: list[dict[str, float]] = field(default_factory=list)

    def show(self) -> None:
        print(f"{self.title} [{self.unit}]")
        columns = list(self.rows[0])
        print("  " + "".join(f"{name:>22}" for name in columns))
        for row in self.rows:
            print("  " + "".join(f"{row[name]:22.4g}" for name in columns), flush=True)

    def svg(self) -> str:
        across, *names = list(self.rows[0])
        xs = [row[across] for row in self.rows]
        ys = [row[name] for row in self.rows for name in names if row[name] > 0]
        x0, x1 = math.log10(min(xs)), math.log10(max(xs))
        y0, y1 = math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys)))

        def x(value: float) -> float:
            part = (math.log10(value) - x0) / ((x1 - x0) or 1)
            return LEFT + part * (WIDTH - LEFT - RIGHT)

        def y(value: float) -> float:
            part = (math.log10(value) - y0) / ((y1 - y0) or 1)
            return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)

        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            'font-family="sans-serif" font-size="12">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
            _text(LEFT, 20, f"{self.title} [{self.unit}]", bold=True),
        ]
        for power in range(y0, y1 + 1):
            at = y(10.0**power)
            parts.append(_line(LEFT, at, WIDTH - RIGHT, at, "#ddd"))
            parts.append(_text(LEFT - 6, at + 4, f"{10.0**power:g}", anchor="end"))
        for value in xs:
            parts.append(_line(x(value), TOP, x(value), HEIGHT - BOTTOM, "#eee"))
            parts.append(_text(x(value), HEIGHT - BOTTOM + 16, f"{value:g}", anchor="middle"))
        parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, across, anchor="middle"))
        ends = sorted(
            (y(self.rows[-1][name]), name, COLOURS[place % len(COLOURS)])
            for place, name in enumerate(names)
        )
        floor = 0.0
        for at, name, colour in ends:
            points = " ".join(
                f"{x(row[across]):.1f},{y(row[name]):.1f}" for row in self.rows if row[name] > 0
            )
            parts.append(
                f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
            )
            # Names that would lie on each other stand below each other.
            floor = max(at + 4, floor + 15)
            parts.append(_text(WIDTH - RIGHT + 8, floor, name, colour=colour))
        return "\n".join([*parts, "</svg>"]) + "\n"


def _line(x0: float, y0: float, x1: float, y1: float, colour: str) -> str:
    return f'<path d="M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}" stroke="{colour}"/>'


def _text(
    x: float, y: float, text: str, anchor: str = "start", colour: str = "#333", bold: bool = False
) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    weight = ' font-weight="bold"' if bold else ""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} fill="{colour}"{weight}>{text}</text>'
