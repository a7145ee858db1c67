"""Odd images through the service: a status of the contract, bounded time, bounded memory."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.hostile import odd
from tests.servers import ROOT

# MB. Of the corpus nothing is decoded that is large (134 were seen; its zlib bombs have 256 MB
# each); a damaged file may say up to 20 megapixels.
MOST_OF_THE_CORPUS, MOST_OF_DAMAGED = 330, 700
MOST_SECONDS = 15


def judged(folder: Path, most: int, *options: str) -> list[tuple[str, str, int]]:
    """What the child said; that it lived, how long each took and its memory are asserted here."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile.judge", str(folder), *options],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, (done.stderr[-2000:], lines[-1:])
    slow = [line for line in lines if line[3] > MOST_SECONDS]
    assert not slow
    large = [line for line in lines if line[4] > most]
    assert not large, large[0]
    return [(name, target, status) for name, target, status, *_ in lines]


def test_a_corpus_of_odd_images(tmp_path: Path) -> None:
    kinds = {
        "bomb": odd.bombs(),
        "swollen": odd.swollen(),
        "stranger": odd.strangers(),
        "polyglot": odd.polyglots(),
        "cut": dict(odd.truncated()),
        "sound": odd.real(),
    }
    for kind, files in kinds.items():
        for name, data in files.items():
            (tmp_path / f"{kind}-{name}").write_bytes(data)
    said = judged(tmp_path, MOST_OF_THE_CORPUS, "--targets", "3")
    assert len(said) == 3 * sum(map(len, kinds.values()))
    wrong = []
    for name, target, status in said:
        kind = name.partition("-")[0]
        expected = {"sound": {200}, "stranger": {502}}.get(kind, {200, 400, 502})
        if kind == "bomb" and target != "info.json":
            expected = {502}
        if status not in expected:
            wrong.append((name, target, status))
    assert not wrong


@pytest.mark.parametrize("seed", [1])
def test_damaged_files_cost_an_answer(tmp_path: Path, seed: int) -> None:
    """The same for as long as you like: see tests/hostile/judge.py."""
    for name, data in odd.real().items():
        (tmp_path / name).write_bytes(data)
    said = judged(tmp_path, MOST_OF_DAMAGED, "--mutate", str(seed), "80", "--targets", "4")
    statuses = Counter(status for *_, status in said)
    assert set(statuses) <= {200, 400, 502}
    assert statuses[200] > 10
    assert statuses[502] > 10
