"""What is printed: figures as ratios, taken in turns."""

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Figure:
    """Ours beside the bare work; `ratio` is what counts.

    `most` or `least` is the goal of PERFORMANCE.md for the ratio; None for what only informs.
    """

    case: str
    what: str
    ours: float
    unit: str
    bare: float | None
    against: str
    ratio: float
    most: float | None = None
    least: float | None = None

    @property
    def met(self) -> bool | None:
        if self.most is not None:
            return self.ratio <= self.most
        return None if self.least is None else self.ratio >= self.least

    @property
    def goal(self) -> str:
        if self.most is not None:
            return f"<= {self.most:g}"
        return "" if self.least is None else f">= {self.least:g}"

    @property
    def verdict(self) -> str:
        return {True: "met", False: "MISSED", None: ""}[self.met]

    def line(self) -> str:
        bare = "" if self.bare is None else f"{number(self.bare)} {self.unit} "
        return (
            f"  {self.what:50} {number(self.ours):>8} {self.unit:6} {self.ratio:7.2f} of "
            f"{bare + self.against:48} {self.goal:8} {self.verdict}"
        ).rstrip()


def number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def paired(
    case: str,
    what: str,
    ours: list[float],
    bare: list[float],
    unit: str,
    against: str,
    most: float | None = None,
    least: float | None = None,
) -> Figure:
    """Values that were taken in turns. The ratio is the median of those of the turns: a machine
    that slows down for a while slows down both."""
    ratio = statistics.median(a / b for a, b in zip(ours, bare, strict=True))
    return Figure(
        case,
        what,
        statistics.median(ours),
        unit,
        statistics.median(bare),
        against,
        ratio,
        most,
        least,
    )


def seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def save(figures: list[Figure], curves: dict[str, list[dict[str, float]]], folder: Path) -> None:
    """results.json, and results.md: the tables as documentation has them."""
    found = {"figures": [asdict(figure) for figure in figures], "curves": curves}
    (folder / "results.json").write_text(json.dumps(found, indent=1) + "\n")
    lines = [
        "| case | measured | ours | of | ratio | goal | |",
        "|---|---|---|---|---|---|---|",
    ]
    for figure in figures:
        bare = "" if figure.bare is None else f" ({number(figure.bare)} {figure.unit})"
        ratio = f"**{figure.ratio:.2f}**" if figure.met is not None else f"{figure.ratio:.2f}"
        lines.append(
            f"| {figure.case} | {figure.what} | {number(figure.ours)} {figure.unit} "
            f"| {figure.against}{bare} | {ratio} | {figure.goal} | {figure.verdict} |"
        )
    for name, rows in curves.items():
        columns = list(rows[0])
        lines += ["", f"### {name}", "", "| " + " | ".join(columns) + " |"]
        lines.append("|---" * len(columns) + "|")
        for row in rows:
            cells = [f"{row[c]:.0f}" if c == columns[0] else number(row[c]) for c in columns]
            lines.append("| " + " | ".join(cells) + " |")
    (folder / "results.md").write_text("\n".join(lines) + "\n")
