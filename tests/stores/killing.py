"""Run by test_bound.py: writers that are killed at random instants, watched by their parent.

folder max_bytes seed seconds -> a line of JSON: kills, wrong and right reads, peak bytes on disk.
"""

import contextlib
import hashlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from iiif_proxy.stores.base import Key
from iiif_proxy.stores.disk import DiskStore
from tests.stores.conftest import on_disk

WRITERS = 3


def data_of(number: int) -> bytes:
    """What an object must be: 0.1 to 40 KB that follow from its number."""
    block = hashlib.sha256(str(number).encode()).digest()
    return block * (3 + block[0] * 5)


def key_of(number: int) -> Key:
    return Key(f"g{number % 20}", "v", f"{number}.bin")


def is_right(store: DiskStore, number: int) -> bool | None:
    entry = store.get(key_of(number))
    if entry is None:
        return None
    with entry:
        return entry.read() == data_of(number)


def write_for_ever(store: DiskStore, seed: int) -> None:
    chance = random.Random(seed)
    while True:
        number = chance.randrange(2000)
        if is_right(store, number) is False:
            os._exit(3)
        data = data_of(number)
        with store.put(key_of(number), lambda file, data=data: file.write(data), 1.6e9) as entry:
            if entry.read() != data:
                os._exit(3)
        if chance.random() < 0.02:
            store.purge(key_of(number).group)


def start(store: DiskStore, seed: int) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            write_for_ever(store, seed)
        finally:
            os._exit(4)
    return pid


@contextlib.contextmanager
def standing(pids: list[int]) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
        os.waitpid(pid, os.WUNTRACED)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def main() -> None:
    folder, max_bytes, seed, seconds = sys.argv[1:]
    chance = random.Random(int(seed))
    store = DiskStore(folder, int(max_bytes))
    pids = [start(store, chance.randrange(10**9)) for _ in range(WRITERS)]
    saw = {"kills": 0, "wrong": 0, "hits": 0, "entries": 0, "peak": 0}
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        time.sleep(chance.uniform(0.005, 0.12))
        # They stand still: what is written and removed while it is counted would count twice.
        with standing(pids):
            saw["peak"] = max(saw["peak"], on_disk(Path(folder)))
        victim = chance.randrange(WRITERS)
        os.kill(pids[victim], signal.SIGKILL)
        _, status = os.waitpid(pids[victim], 0)
        saw["wrong"] += os.WIFEXITED(status)
        saw["kills"] += 1
        pids[victim] = start(store, chance.randrange(10**9))
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        saw["wrong"] += os.WIFEXITED(status)
    saw["entries"] = store.stats().entries
    for number in range(2000):
        right = is_right(store, number)
        saw["wrong"] += right is False
        saw["hits"] += right is True
    print(json.dumps(saw))  # noqa: T201  # what the test reads


main()
