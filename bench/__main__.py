"""Measurements as ratios: ours beside the bare work of the same machine, in turns, in one run.

    python -m bench [--long] [--only CASE ...] [--rounds N]

The short form takes about two minutes. `--long` adds a replayed visit and the growth curves (source
size, cached files, clients) as tables and plots. Everything lands in bench/results/ too:
results.json, results.md, *.svg; `--docs FOLDER` puts the plots there as well. docs/performance.md
says what each line means.
"""

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

from bench import cases, growth, upkeep
from bench.common import Bench
from bench.corpus import corpus
from bench.figures import Figure, save
from bench.replay import replay
from bench.server import origin

RESULTS = Path(__file__).parent / "results"
CASES = {
    "hits": cases.hits,
    "tiles": cases.cold_tiles,
    "thumbnails": cases.thumbnails,
    "first": cases.first_visit,
    "whole": cases.whole,
    "tiff": cases.pyramids,
    "settled": upkeep.settled,
    "crowd": upkeep.crowd,
    "memory": upkeep.memory,
    "passing": cases.passing,
    "replay": replay,
}
# With --long, or by name.
LONG = {"replay"}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--long", action="store_true", help="the growth curves as well")
    parser.add_argument("--only", nargs="+", choices=[*CASES, *growth.CURVES], metavar="CASE")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--docs", type=Path, help="a folder for copies of the plots")
    chosen = parser.parse_args()
    short = [name for name in CASES if name not in LONG]
    wanted = chosen.only or ([*CASES, *growth.CURVES] if chosen.long else short)
    RESULTS.mkdir(exist_ok=True)
    long = any(name in growth.CURVES for name in wanted)
    made = corpus(RESULTS, long)
    figures: list[Figure] = []
    curves: dict[str, list[dict[str, float]]] = {}
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f}: trust the ratios, not the milliseconds")
    with origin(made.folder) as behind:
        bench = Bench(made, behind, chosen.rounds)
        for name in wanted:
            begun = time.perf_counter()
            if name in CASES:
                found = CASES[name](bench)
                figures += found
                print(f"{name} ({time.perf_counter() - begun:.0f} s)")
                for figure in found:
                    print(figure.line(), flush=True)
            else:
                curve = growth.CURVES[name](bench)
                curves[curve.title] = curve.rows
                curve.show()
                plot = RESULTS / f"{name}.svg"
                plot.write_text(curve.svg())
                if chosen.docs:
                    chosen.docs.mkdir(parents=True, exist_ok=True)
                    shutil.copy(plot, chosen.docs)
    save(figures, curves, RESULTS)
    missed = sum(figure.met is False for figure in figures)
    goals = sum(figure.met is not None for figure in figures)
    print(f"{goals - missed} of {goals} goals met; load {os.getloadavg()[0]:.1f} at the end")
    return 0


if __name__ == "__main__":
    sys.exit(main())
