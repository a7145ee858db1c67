"""The bound holds, the oldest goes first, and a write pays for ten stats whatever is stored."""

import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from iiif_proxy.stores import sweep
from iiif_proxy.stores.base import Key
from iiif_proxy.stores.disk import DiskStore
from tests.stores.conftest import ROOT, contents, name, on_disk, path_of, writing

KILLING = Path(__file__).with_name("killing.py")
KIB, MIB = 1 << 10, 1 << 20


def filled(store: DiskStore, count: int, size: int = 4000) -> list[Key]:
    keys = [Key("g", "v", f"{number}.jpg") for number in range(count)]
    for key in keys:
        store.put(key, writing(bytes([1]) * size)).close()
    return keys


def left(store: DiskStore, keys: list[Key]) -> set[Key]:
    return {key for key in keys if path_of(store, key).exists()}


@pytest.mark.parametrize("seed", range(3))
def test_the_least_recently_used_go_first_exactly(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    # 200 files of a block and 2 folders, in far less than a second; a bound that asks for 90 %.
    store = DiskStore(tmp_path / "s", 202 * 4096, background=False)
    keys = filled(store, 200)
    order = list(keys)
    for key in chance.choices(keys, k=400):
        contents(store.get(key))
        order.remove(key)
        order.append(key)
    store.put(Key("g", "v", "one-more.jpg"), writing(b"x")).close()
    # 203 blocks; 90 % of 202 are 181: the 22 oldest go.
    assert left(store, keys) == set(order[22:])


def test_sizes_count_as_blocks(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s", 100 * 4096, background=False)
    keys = filled(store, 300, size=1)
    assert 80 <= len(left(store, keys)) <= 98
    assert left(store, keys) == set(keys[-len(left(store, keys)) :])


def test_the_total_is_exact_while_nothing_goes_wrong(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s", MIB, background=False)
    chance = random.Random(7)
    for number in range(300):
        key = name(chance.randrange(90))
        store.put(key, writing(bytes(chance.randrange(1, 20_000)))).close()
        if number % 7 == 0:
            store.delete(name(chance.randrange(90)))
        if number % 50 == 0:
            store.purge(key.group)
        if number % 60 == 0:
            store.drop_versions(name(chance.randrange(90)).group, "v1")
    total = int((store.folder / ".state" / "total").read_text()[1:])
    assert total == store.stats().bytes <= MIB * 1.05


def test_an_object_above_the_bound_is_served_and_not_kept(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s", 100 * KIB, background=False)
    keys = filled(store, 10)
    big = Key("g", "v", "big")
    assert contents(store.put(big, writing(bytes(101 * KIB)))) == bytes(101 * KIB)
    assert store.get(big) is None
    assert left(store, keys) == set(keys), "nothing was evicted for it"


def test_a_large_object_gets_room(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s", 100 * 4096)
    keys = filled(store, 95)
    big = Key("g", "v", "big")
    store.put(big, writing(bytes(50 * 4096))).close()
    assert contents(store.get(big)) == bytes(50 * 4096)
    assert on_disk(store.folder) <= 1.1 * 100 * 4096
    assert left(store, keys) == set(keys[-len(left(store, keys)) :])


def test_an_entry_used_while_the_sweep_runs_is_spared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = DiskStore(tmp_path / "s", 100 * 4096, background=False)
    keys = filled(store, 90)
    evict = sweep._Sweep._evict

    def late_hit(self: Any, oldest: Any, ledger: Any) -> Any:
        contents(store.get(keys[0]))
        return evict(self, oldest, ledger)

    monkeypatch.setattr(sweep._Sweep, "_evict", late_hit)
    for number in range(12):
        store.put(Key("g", "v", f"new{number}"), writing(b"x")).close()
    assert keys[0] in left(store, keys)
    assert keys[1] not in left(store, keys)


def test_what_is_on_its_way_while_a_sweep_counts_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room that is taken and not yet filled must not be given to others."""
    store = DiskStore(tmp_path / "s", 1000 * 4096, background=False)
    filled(store, 3)
    setxattr = os.setxattr
    counted: list[int] = []

    def early(*args: Any) -> None:
        os.ftruncate(args[0], 0)
        counted.append(store.sweep().bytes)
        setxattr(*args)

    monkeypatch.setattr(os, "setxattr", early)
    store.put(Key("g", "v", "new"), writing(bytes(10 * 4096))).close()
    assert counted == [(2 + 3 + 10) * 4096]


class TestTidying:
    @pytest.fixture
    def store(self, tmp_path: Path) -> DiskStore:
        store = DiskStore(tmp_path / "s", MIB, background=False)
        filled(store, 3)
        return store

    def test_temporary_files_of_the_dead_go_by_age(
        self, store: DiskStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        orphan = store.folder / "g" / "v" / ".0123.tmp"
        orphan.write_bytes(bytes(50_000))
        os.utime(orphan, (1, 1))  # the time of the object: says nothing about its own age
        assert store.sweep().bytes == (3 + 13 + 2) * 4096, "it counts"
        assert orphan.exists()
        monkeypatch.setattr(sweep, "STALE", -1.0)
        store.sweep()
        assert not orphan.exists()
        assert store.stats().entries == 3

    def test_empty_folders_go(self, store: DiskStore) -> None:
        for key in (Key("g", "v", f"{number}.jpg") for number in range(3)):
            store.delete(key)
        (store.folder / "h" / "v1").mkdir(parents=True)
        store.sweep()
        store.sweep()
        assert [path.name for path in store.folder.iterdir()] == [".state"]
        assert store.sweep().bytes == 0

    def test_folders_of_what_was_evicted_go(self, tmp_path: Path) -> None:
        store = DiskStore(tmp_path / "t", 60 * 4096, background=False)
        for number in range(40):
            store.put(Key(f"g{number}", "v", "n"), writing(b"x")).close()
        groups = [path for path in store.folder.iterdir() if path.name.startswith("g")]
        assert len(groups) == store.stats().entries
        assert on_disk(store.folder) <= 1.1 * 60 * 4096 + 5 * 4096  # and the store's own folder

    def test_what_a_killed_purge_left_goes(self, store: DiskStore) -> None:
        trash = store.folder / ".trash" / "0123"
        trash.parent.mkdir()
        (store.folder / "g").rename(trash)
        store.sweep()
        assert not trash.exists()

    def test_a_lost_total_is_counted_anew(self, store: DiskStore) -> None:
        (store.folder / ".state" / "total").unlink()
        store.put(name(1), writing(b"x")).close()
        assert contents(store.get(name(1))) == b"x"
        total = (store.folder / ".state" / "total").read_text()
        assert total[0] == "="
        assert int(total[1:]) == store.stats().bytes

    @pytest.mark.parametrize("damage", [b"", b"nonsense", b"=      12", bytes(22)])
    def test_a_total_that_was_lost_while_full_comes_back_within_the_bound(
        self, tmp_path: Path, damage: bytes
    ) -> None:
        store = DiskStore(tmp_path / "full", 200 * 4096, background=False)
        filled(store, 198)
        (store.folder / ".state" / "total").write_bytes(damage)
        for number in range(40):
            store.put(Key("g", "v", f"new{number}"), writing(b"x")).close()
            assert on_disk(store.folder / "g") <= 1.1 * 200 * 4096
        assert path_of(store, Key("g", "v", "new39")).exists()


def test_what_cannot_be_removed_is_not_scanned_at_every_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = DiskStore(tmp_path / "s", 50 * 4096, background=False)
    filled(store, 45)
    monkeypatch.setattr(os, "unlink", lambda path: (_ for _ in ()).throw(OSError(1, "no")))
    sweeps: list[int] = []
    run = sweep._Sweep.run

    def counted(self: Any, *args: Any) -> Any:
        sweeps.append(1)
        return run(self, *args)

    monkeypatch.setattr(sweep._Sweep, "run", counted)
    for number in range(30):
        data = contents(store.put(Key("g", "v", f"new{number}"), writing(b"x")))
        assert data == b"x"
    assert len(sweeps) <= 2
    assert on_disk(store.folder / "g") <= 1.1 * 50 * 4096


class Counting:
    """os.scandir whose entries count their stats."""

    def __init__(self) -> None:
        self.stats = 0
        self.real = os.scandir

    def __call__(self, path: str) -> "Counting.Listing":
        return Counting.Listing(self, path)

    class Listing:
        def __init__(self, counting: "Counting", path: str) -> None:
            self.counting = counting
            self.found = counting.real(path)

        def __enter__(self) -> "Counting.Listing":
            return self

        def __exit__(self, *args: object) -> None:
            self.found.close()

        def __iter__(self) -> Iterator[Any]:
            for entry in self.found:
                yield Counting.Item(self.counting, entry)

    class Item:
        def __init__(self, counting: "Counting", entry: "os.DirEntry[str]") -> None:
            self.counting, self.entry = counting, entry
            self.name, self.path = entry.name, entry.path

        def stat(self, *, follow_symlinks: bool) -> os.stat_result:
            self.counting.stats += 1
            return self.entry.stat(follow_symlinks=follow_symlinks)

        def is_dir(self, *, follow_symlinks: bool) -> bool:
            return self.entry.is_dir(follow_symlinks=follow_symlinks)


def stats_per_write(folder: Path, entries: int, monkeypatch: pytest.MonkeyPatch) -> float:
    store = DiskStore(folder, entries * 4096, digest=False, background=False)
    filled(store, entries)
    counting = Counting()
    monkeypatch.setattr(os, "scandir", counting)
    for number in range(2 * entries):
        store.put(Key("g", "v", f"new{number}"), writing(b"x")).close()
    monkeypatch.undo()
    return counting.stats / (2 * entries)


def test_sweeping_costs_a_write_the_same_at_any_number_of_entries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = stats_per_write(tmp_path / "few", 100, monkeypatch)
    many = stats_per_write(tmp_path / "many", 1600, monkeypatch)
    assert 5 < many <= 11
    assert many <= few * 1.1


def test_background_sweeps_keep_the_bound_and_do_not_stop_writes(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s", 100 * 4096)
    worst = 0
    threads = [
        threading.Thread(
            target=lambda base=base: [  # type: ignore[misc]  # a default to bind it
                store.put(Key("g", "v", f"{base}-{number}"), writing(b"x")).close()
                for number in range(200)
            ]
        )
        for base in range(3)
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        worst = max(worst, on_disk(store.folder / "g"))
    for thread in threads:
        thread.join()
    assert worst <= 1.1 * 100 * 4096
    # What was written while the last sweep counted may stay until the next write.
    assert 60 * 4096 <= store.stats().bytes <= 1.1 * 100 * 4096


def test_killed_writers_leave_whole_entries_within_the_bound(tmp_path: Path) -> None:
    """Three writing processes, killed at random instants; a seed names the run."""
    command = [sys.executable, str(KILLING), str(tmp_path / "s"), str(4 * MIB), "11", "4.0"]
    run = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, cwd=ROOT)
    saw = json.loads(run.stdout)
    assert saw["kills"] >= 10, saw
    assert saw["entries"] >= 50, saw
    assert saw["hits"] >= 50, saw
    assert saw["wrong"] == 0, saw
    assert saw["peak"] <= 1.1 * 4 * MIB, saw
    store = DiskStore(tmp_path / "s", 4 * MIB)
    assert store.check().broken == 0
    store.sweep()
    total = int((store.folder / ".state" / "total").read_text()[1:])
    assert total == store.stats().bytes <= 4 * MIB
