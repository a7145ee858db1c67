"""Whatever the disk does, the request in hand is answered, and nothing wrong is ever served."""

import errno
import logging
import os
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from iiif_proxy.stores import draft
from iiif_proxy.stores.base import Key
from iiif_proxy.stores.disk import DiskStore
from tests.stores.conftest import ROOT, Mount, contents, name, writing

KEY = Key("1f3a", "77-ab", "0,0,512,512_512,512_0_default.jpg")
DATA = os.urandom(50_000)
MIB = 1 << 20


def total_of(store: DiskStore) -> int:
    return int((store.folder / ".state" / "total").read_text()[1:])


def nothing_lies(store: DiskStore, keys: list[Key], data: bytes) -> int:
    """Every entry is right or absent; how many there are."""
    found = [contents(store.get(key)) for key in keys]
    assert all(one in {None, data} for one in found)
    return len([one for one in found if one is not None])


def test_a_full_disk(mount: Mount) -> None:
    folder = mount("size=300k")
    store = DiskStore(folder / "store", 100 * MIB)
    keys = [name(number) for number in range(12)]
    for key in keys:
        assert contents(store.put(key, writing(DATA))) == DATA
    assert 3 <= nothing_lies(store, keys, DATA) <= 5
    assert not list(folder.rglob("*.tmp"))
    assert total_of(store) >= store.stats().bytes
    store.purge_all()
    store.put(keys[0], writing(DATA)).close()
    assert contents(store.get(keys[0])) == DATA, "with room again, it keeps again"


def test_a_disk_that_fills_while_a_large_object_is_written(
    mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draft, "SPILL", 100_000)
    store = DiskStore(mount("size=300k") / "store", 100 * MIB)
    blocks = [os.urandom(33_333) for _ in range(20)]

    def write(file: object) -> None:
        for block in blocks:
            file.write(block)  # type: ignore[attr-defined]  # the store's file

    assert contents(store.put(KEY, write)) == b"".join(blocks)
    assert store.get(KEY) is None
    store.put(KEY, writing(DATA)).close()
    assert contents(store.get(KEY)) == DATA


def test_no_inodes_left(mount: Mount) -> None:
    store = DiskStore(mount("size=10m,nr_inodes=12") / "store", 100 * MIB)
    keys = [name(number) for number in range(12)]
    for key in keys:
        assert contents(store.put(key, writing(DATA))) == DATA
    assert 1 <= nothing_lies(store, keys, DATA) < 12


def test_a_read_only_disk_still_hits(mount: Mount) -> None:
    folder = mount("size=1m")
    store = DiskStore(folder / "store", 100 * MIB)
    store.put(KEY, writing(DATA)).close()
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    assert contents(store.get(KEY)) == DATA
    assert contents(store.put(name(1), writing(DATA))) == DATA
    assert store.get(name(1)) is None
    # What cannot be removed stays; nobody says otherwise.
    store.delete(KEY)
    assert store.purge(KEY.group) == 0
    assert store.drop_versions(KEY.group) == 0
    assert store.sweep().evicted == 0
    assert contents(store.get(KEY)) == DATA
    subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
    store.delete(KEY)
    assert store.get(KEY) is None


# Without a mount: at each call of the system in turn.
@pytest.mark.parametrize(
    "code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.EACCES]
)
@pytest.mark.parametrize("call", ["open", "mkdir", "rename", "utime", "pwrite", "fsync"])
def test_every_step_may_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    store = DiskStore(tmp_path / "store", 100 * MIB, fsync=True)

    def fails(*args: object, **keywords: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, fails)
    assert contents(store.put(KEY, writing(DATA), 1.6e9)) == DATA
    monkeypatch.undo()
    assert store.get(KEY) is None
    assert store.stats().entries == 0
    assert not list(tmp_path.rglob("*.tmp"))
    store.put(KEY, writing(DATA)).close()
    assert contents(store.get(KEY)) == DATA
    assert store.sweep().bytes == store.stats().bytes == total_of(store)


@pytest.mark.parametrize("taken", [0, 1, 4096, 49_999])
def test_a_write_that_is_cut_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: int
) -> None:
    """A part is taken, then ENOSPC: as file systems do."""
    store = DiskStore(tmp_path / "store", 100 * MIB)
    write = os.write
    device = os.stat(tmp_path).st_dev

    def short(descriptor: int, data: bytes) -> int:
        if os.fstat(descriptor).st_dev != device:
            return write(descriptor, data)
        there = os.lseek(descriptor, 0, os.SEEK_CUR)
        if there >= taken:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[: taken - there])

    monkeypatch.setattr(os, "write", short)
    assert contents(store.put(KEY, writing(DATA))) == DATA
    monkeypatch.undo()
    assert store.get(KEY) is None
    assert not list(tmp_path.rglob("*.tmp"))
    assert total_of(store) == store.stats().bytes


def test_no_descriptors_left(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "store", 100 * MIB)
    store.put(name(1), writing(DATA)).close()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        entry = store.put(KEY, writing(DATA))
        hit = store.get(name(1))
        shared = entry.share()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert contents(entry) == contents(shared) == DATA
    assert hit is None
    assert contents(store.get(name(1))) == DATA, "and it was not taken for broken"


def test_a_folder_that_may_not_be_written(anybody: Path) -> None:
    """As another user, since root may everything."""
    script = """
import os, sys
from iiif_proxy.stores.base import Key
from iiif_proxy.stores.disk import DiskStore
os.setgid(65534); os.setuid(65534)
for folder in ("closed", "closed/below", "readable", "readable/below"):
    store = DiskStore(sys.argv[1] + "/" + folder, 1 << 20)
    with store.put(Key("g", "v", "n"), lambda file: file.write(b"data")) as entry:
        assert entry.read() == b"data"
    assert store.get(Key("g", "v", "n")) is None
    assert store.sweep().evicted == store.purge_all() == 0
"""
    (anybody / "closed").mkdir(mode=0o700)
    (anybody / "readable").mkdir(mode=0o755)
    command = [sys.executable, "-c", script, str(anybody)]
    subprocess.run(command, check=True, timeout=30, capture_output=True, cwd=ROOT)
    assert list((anybody / "readable").iterdir()) == []


@pytest.mark.parametrize("rebuilt", [False, True])
def test_the_folder_is_removed_while_it_runs(tmp_path: Path, rebuilt: bool) -> None:
    store = DiskStore(tmp_path / "store", MIB)
    open_one = store.put(KEY, writing(DATA))
    hit = store.get(KEY)
    shutil.rmtree(store.folder)
    if rebuilt:
        store.folder.mkdir()
    assert store.get(KEY) is None
    assert contents(open_one) == contents(hit) == DATA
    store.delete(KEY)
    assert store.purge(KEY.group) == store.purge_all() == store.stats().entries == 0
    store.put(KEY, writing(DATA)).close()
    assert contents(store.get(KEY)) == DATA
    assert total_of(store) == store.stats().bytes


@pytest.mark.parametrize("call", ["setxattr", "utime", "rename"])
def test_a_purge_overtakes_a_put(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    store = DiskStore(tmp_path / "store", 100 * MIB)
    store.put(name(1), writing(DATA)).close()
    real: Callable[..., object] = getattr(os, call)
    purged: list[int] = []

    def overtaken(*args: object, **keywords: object) -> object:
        if not purged:
            purged.append(1)
            store.purge(KEY.group)
        return real(*args, **keywords)

    monkeypatch.setattr(os, call, overtaken)
    assert contents(store.put(KEY, writing(DATA))) == DATA
    monkeypatch.undo()
    assert purged
    assert nothing_lies(store, [KEY], DATA) == store.stats().entries - 1
    assert not list(tmp_path.rglob("*.tmp"))
    assert total_of(store) == store.stats().bytes
    store.put(KEY, writing(DATA)).close()
    assert contents(store.get(KEY)) == DATA


def test_an_empty_folder_is_swept_between_making_and_using_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = DiskStore(tmp_path / "store", 100 * MIB)
    store.put(name(1), writing(DATA)).close()
    mkdir = os.mkdir
    times: list[str] = []

    def swept(path: str, *args: int) -> None:
        mkdir(path, *args)
        times.append(path)
        if len(times) <= 2:
            store.sweep()

    monkeypatch.setattr(os, "mkdir", swept)
    store.put(KEY, writing(DATA)).close()
    monkeypatch.undo()
    assert contents(store.get(KEY)) == DATA


def test_purging_while_serving(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "store", 100 * MIB)
    keys = [name(number) for number in range(20)]
    wrong: list[object] = []
    done = threading.Event()

    def serve(offset: int) -> None:
        try:
            for number in range(400):
                key = keys[(number * offset) % 20]
                found = contents(store.get(key)) or contents(store.put(key, writing(DATA)))
                if found != DATA:
                    wrong.append(found)
        except BaseException as error:
            wrong.append(error)

    def purge() -> None:
        try:
            while not done.is_set():
                store.purge("g1")
                store.drop_versions("g2", "v1")
                store.purge_all()
                store.sweep()
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=serve, args=(offset,)) for offset in (1, 3)]
    purger = threading.Thread(target=purge)
    for thread in (*threads, purger):
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    purger.join()
    assert wrong == []
    store.purge_all()
    assert store.stats().entries == 0
    assert not list(store.folder.glob(".trash/*"))


def test_fsync_comes_before_the_name_and_the_folders_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fsync, rename = os.fsync, os.rename

    def flushed(descriptor: int) -> None:
        calls.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def renamed(old: str, new: str) -> None:
        calls.append("rename")
        rename(old, new)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "rename", renamed)
    DiskStore(tmp_path / "plain", MIB).put(KEY, writing(DATA)).close()
    assert calls == ["rename"]
    calls.clear()
    DiskStore(tmp_path / "store", MIB, fsync=True).put(KEY, writing(DATA)).close()
    assert calls[0].endswith(".tmp")
    assert calls[1:] == ["rename", KEY.version, KEY.group, "store"]


def test_it_says_once_a_minute_that_the_disk_refuses(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "store").touch()
    store = DiskStore(tmp_path / "store", MIB)
    with caplog.at_level(logging.WARNING):
        for number in range(5):
            store.put(name(number), writing(DATA)).close()
        assert len(caplog.records) == 1
        monkeypatch.setattr(store._bound, "_warned", store._bound._warned - 61)
        store.put(KEY, writing(DATA)).close()
    assert len(caplog.records) == 2
