"""Files that tell the truth about themselves, and that a static server can serve."""

import fcntl
import logging
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from iiif_proxy.stores.base import Key
from iiif_proxy.stores.disk import DiskStore
from tests.stores.conftest import ROOT, contents, name, path_of, writing

KEY = Key("1f3a", "77-ab", "0,0,512,512_512,512_0_default.jpg")
TIME = 1_600_000_000
DATA = os.urandom(40_000)


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    store = DiskStore(tmp_path / "store", 100 << 20, background=False)
    store.put(KEY, writing(DATA), TIME).close()
    return store


@pytest.fixture
def file(store: DiskStore) -> Path:
    return path_of(store, KEY)


class TestTheFile:
    def test_is_what_a_static_server_expects(self, store: DiskStore, file: Path) -> None:
        assert file == store.folder / KEY.group / KEY.version / KEY.name
        assert file.read_bytes() == DATA
        assert int(file.stat().st_mtime) == TIME

    def test_can_be_read_by_others(self, tmp_path: Path) -> None:
        before = os.umask(0o022)
        try:
            store = DiskStore(tmp_path / "open", 100 << 20)
            store.put(KEY, writing(DATA)).close()
        finally:
            os.umask(before)
        assert stat.S_IMODE(path_of(store, KEY).stat().st_mode) == 0o644
        assert stat.S_IMODE(path_of(store, KEY).parent.stat().st_mode) == 0o755

    def test_a_hit_moves_the_atime_only(self, store: DiskStore, file: Path) -> None:
        before = file.stat()
        contents(store.get(KEY))
        after = file.stat()
        assert after.st_atime_ns > before.st_atime_ns
        assert after.st_mtime_ns == before.st_mtime_ns

    def test_reading_does_not_move_the_atime_again(self, store: DiskStore, file: Path) -> None:
        with store.get(KEY) as entry:  # type: ignore[union-attr]  # it is there
            hit = file.stat().st_atime_ns
            entry.read()
            assert entry.file.read() == DATA
        assert file.stat().st_atime_ns == hit

    def test_a_look_is_no_use_of_it(self, store: DiskStore, file: Path) -> None:
        used = file.stat().st_atime_ns
        assert store.has(KEY)
        assert not store.has(name(1))
        assert file.stat().st_atime_ns == used

    def test_nothing_else_is_left(self, store: DiskStore, file: Path) -> None:
        assert list(file.parent.iterdir()) == [file]


class TestBroken:
    @pytest.mark.parametrize("length", [0, 1, 4096, 39_999, 40_001, 80_000])
    def test_another_length_is_not_served_and_made_again(
        self, store: DiskStore, file: Path, length: int
    ) -> None:
        # As after a power cut: the name and the times are there, the bytes are not.
        times = file.stat()
        os.truncate(file, length)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert not store.has(KEY)
        assert store.get(KEY) is None
        assert not file.exists(), "nor by a static server"
        store.put(KEY, writing(DATA), TIME).close()
        assert contents(store.get(KEY)) == DATA

    def test_other_bytes_are_found_by_check(self, store: DiskStore, file: Path) -> None:
        for number in range(5):
            store.put(name(number), writing(DATA + bytes([number]))).close()
        times = file.stat()
        with open(file, "r+b") as opened:
            opened.seek(20_000)
            opened.write(bytes(4096))
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
        check = store.check()
        assert (check.entries, check.broken) == (6, 1)
        assert store.get(KEY) is None
        assert store.check().entries == 5

    def test_without_digests_check_sees_lengths(self, tmp_path: Path) -> None:
        store = DiskStore(tmp_path / "plain", 100 << 20, digest=False)
        for number in range(3):
            store.put(name(number), writing(DATA)).close()
        os.truncate(path_of(store, name(0)), 10)
        check = store.check()
        assert (check.entries, check.broken, check.without_digest) == (3, 1, 2)

    def test_a_file_system_that_rounds_times_still_hits(
        self, store: DiskStore, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        utime = os.utime

        def whole_seconds(
            path: int | str, times: None = None, *, ns: tuple[int, int] | None = None
        ) -> None:
            assert ns is not None
            utime(path, ns=(ns[0], ns[1] // 10**9 * 10**9))

        monkeypatch.setattr(os, "utime", whole_seconds)
        store.put(KEY, writing(DATA), TIME).close()
        assert contents(store.get(KEY)) == DATA
        os.truncate(file, 0)
        assert store.get(KEY) is None

    @pytest.mark.parametrize("what", ["group", "version", "name"])
    def test_a_folder_for_a_file_and_a_file_for_a_folder(
        self, tmp_path: Path, what: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        store = DiskStore(tmp_path / "odd", 100 << 20)
        path = path_of(store, KEY)
        wrong = {"group": path.parent.parent, "version": path.parent, "name": path}[what]
        if what == "name":
            wrong.mkdir(parents=True)
            (wrong / "inside").touch()
        else:
            wrong.parent.mkdir(parents=True)
            wrong.touch()
        with caplog.at_level(logging.WARNING):
            assert store.get(KEY) is None
            assert contents(store.put(KEY, writing(DATA))) == DATA
        assert store.get(KEY) is None
        assert "the cache refuses" in caplog.text
        assert str(tmp_path) not in caplog.text
        # A sweep clears the way.
        store.sweep()
        store.put(KEY, writing(DATA)).close()
        assert contents(store.get(KEY)) == DATA


def test_what_belongs_to_another_user_is_a_hit(anybody: Path) -> None:
    """O_NOATIME and utime are for the owner only."""
    DiskStore(anybody / "store", 1 << 20).put(KEY, writing(DATA)).close()
    script = """
import os, sys
from iiif_proxy.stores.disk import DiskStore
from iiif_proxy.stores.base import Key
os.setgid(65534); os.setuid(65534)
with DiskStore(sys.argv[1] + "/store", 1 << 20).get(Key(*sys.argv[2:])) as entry:
    assert len(entry.read()) == 40_000
"""
    command = [sys.executable, "-c", script, str(anybody), KEY.group, KEY.version, KEY.name]
    subprocess.run(command, check=True, timeout=30, cwd=ROOT)


def test_a_start_reads_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **keywords: object) -> None:
        raise AssertionError("the disk was touched")

    for function in ("open", "scandir", "stat", "mkdir"):
        monkeypatch.setattr(os, function, fail)
    DiskStore(tmp_path / "store", 1 << 20)


def test_a_hit_is_open_fstat_utime(store: DiskStore, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for function in ("open", "stat", "lstat", "fstat", "utime", "scandir", "mkdir", "read"):
        real = getattr(os, function)

        def counted(*args: object, _f: str = function, _r: object = real, **kw: object) -> object:
            calls.append(_f)
            return _r(*args, **kw)  # type: ignore[operator]  # a function of os

        monkeypatch.setattr(os, function, counted)
    entry = store.get(KEY)
    monkeypatch.undo()
    assert contents(entry) == DATA
    assert calls == ["open", "fstat", "utime"]


def test_hits_do_not_wait_for_locks(store: DiskStore) -> None:
    with open(store.folder / ".state" / "total") as total, open(store.folder / "lock", "w") as all_:
        fcntl.flock(total, fcntl.LOCK_EX)
        fcntl.flock(all_, fcntl.LOCK_EX)
        begun = time.monotonic()
        assert contents(store.get(KEY)) == DATA
        assert time.monotonic() - begun < 10
