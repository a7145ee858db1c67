"""Odd images through the service, in a process of its own: `python -m tests.hostile.judge FOLDER`.

A line of JSON for each question: file, target, status, seconds of processor time, peak RSS in MB
so far. With `--mutate SEED COUNT` the files of the folder are damaged first, COUNT times in all,
for as long as you like; what took over 4 s, a 500 or a crash stays behind in the folder.
"""

import argparse
import json
import logging
import random
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

from iiif_proxy.proxy import IIIFProxy
from tests.hostile.odd import mutated
from tests.hostile.test_grammar import asked, nothing_else

TARGETS = [
    "info.json", "full/max/0/default.jpg", "0,0,64,64/64,64/0/default.png",
    "pct:10,10,50,50/!90,90/45/gray.webp", "full/200,/0/default.jpg",
]  # fmt: skip
MEMORY = 6 << 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mutate", type=int, nargs=2, metavar=("SEED", "COUNT"))
    parser.add_argument("--targets", type=int, default=len(TARGETS))
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as cache:
        proxy = IIIFProxy(
            nothing_else,
            environ={},
            source=f"file:{given.folder}/{{id}}",
            cache_dir=cache,
            source_max_pixels=20_000_000,
        )
        for name in files(given.folder, given.mutate):
            worst = 0.0
            statuses = set()
            for target in TARGETS[: given.targets]:
                begun = time.process_time()
                status, _ = asked(proxy, f"/iiif/3/{name}/{target}")
                took = time.process_time() - begun
                worst = max(worst, took)
                statuses.add(status)
                peak = highest()
                line = [name, target, status, round(took, 2), peak]
                sys.stdout.write(json.dumps(line) + "\n")
                sys.stdout.flush()
            if given.mutate and worst < 4 and 500 not in statuses:
                (given.folder / name).unlink()


def files(folder: Path, mutate: list[int] | None) -> Iterator[str]:
    names = sorted(path.name for path in folder.iterdir())
    if mutate is None:
        yield from names
        return
    seed, count = mutate
    rng = random.Random(seed)
    for number in range(count):
        kind = rng.choice(names)
        name = f"{seed}-{number}.{kind}"
        (folder / name).write_bytes(mutated((folder / kind).read_bytes(), rng))
        yield name


def highest() -> int:
    """The most memory this program had, in MB. (ru_maxrss has that of the parent before exec.)"""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) >> 10


if __name__ == "__main__":
    main()
