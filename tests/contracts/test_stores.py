"""What every Store promises, whether it keeps anything or not."""

import io
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from iiif_proxy.stores import draft
from iiif_proxy.stores.base import Entry, Key, NullStore, Store, Write
from iiif_proxy.stores.disk import DiskStore

KEY = Key("1f3a", "77-ab", "0,0,512,512_512,512_!22.5_default.jpg")
TIME = 1_600_000_000
MIB = 1 << 20


def refusing(folder: Path) -> Store:
    folder.write_bytes(b"a file where the folder should be")
    return DiskStore(folder, 8 * MIB)


# How to make each, and whether it keeps what it is given.
STORES: dict[str, tuple[Callable[[Path], Store], bool]] = {
    "null": (lambda folder: NullStore(), False),
    "disk": (lambda folder: DiskStore(folder, 800 * MIB), True),
    "disk-fsync": (lambda folder: DiskStore(folder, 800 * MIB, fsync=True), True),
    "disk-no-digest": (lambda folder: DiskStore(folder, 800 * MIB, digest=False), True),
    "disk-too-small": (lambda folder: DiskStore(folder, 1), False),
    "disk-refusing": (refusing, False),
}


@pytest.fixture(params=STORES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def keeps(kind: str) -> bool:
    return STORES[kind][1]


@pytest.fixture
def store(kind: str, tmp_path: Path) -> Store:
    return STORES[kind][0](tmp_path / "store")


def writing(data: bytes) -> Write:
    return lambda file: file.write(data)


def contents(entry: Entry | None) -> bytes | None:
    if entry is None:
        return None
    with entry:
        assert entry.size == len(entry.read())
        return entry.read()


def expected(keeps: bool, data: bytes) -> bytes | None:
    return data if keeps else None


class TestPut:
    @pytest.mark.parametrize("size", [1, 4096, 70_000])
    def test_gives_back_and_keeps_what_was_written(
        self, store: Store, keeps: bool, size: int
    ) -> None:
        data = os.urandom(size)
        with store.put(KEY, writing(data), TIME) as entry:
            assert (entry.size, entry.mtime, entry.read()) == (size, TIME, data)
        found = store.get(KEY)
        assert found is None or found.mtime == TIME
        assert contents(found) == expected(keeps, data)

    def test_replaces(self, store: Store, keeps: bool) -> None:
        store.put(KEY, writing(b"old")).close()
        before = store.get(KEY)
        store.put(KEY, writing(b"newer")).close()
        assert contents(store.get(KEY)) == expected(keeps, b"newer")
        assert contents(before) == expected(keeps, b"old"), "who reads the old one goes on"

    def test_nothing_written_is_answered_but_not_kept(self, store: Store) -> None:
        assert contents(store.put(KEY, lambda file: None)) == b""
        assert store.get(KEY) is None

    def test_an_error_of_the_writer_comes_out_and_leaves_nothing(
        self, store: Store, tmp_path: Path
    ) -> None:
        def fails(file: object) -> None:
            file.write(b"half")  # type: ignore[attr-defined]  # the writer's file
            raise OSError(28, "the writer's own")

        with pytest.raises(OSError, match="the writer's own"):
            store.put(KEY, fails)
        assert store.get(KEY) is None
        assert [p for p in tmp_path.rglob("*") if "1f3a" in str(p)] == []
        assert store.stats().entries == 0

    def test_the_writer_is_called_once(self, store: Store) -> None:
        calls: list[object] = []
        store.put(KEY, lambda file: (calls.append(file), file.write(b"x"))).close()
        assert len(calls) == 1

    def test_the_file_can_be_sought_read_and_written_through_its_descriptor(
        self, store: Store, keeps: bool
    ) -> None:
        def write(file: io.BufferedRandom) -> None:
            file.write(b"12345678")
            file.seek(4)
            assert file.read() == b"5678"
            file.seek(2)
            file.write(b"xy")
            file.flush()
            os.pwrite(file.fileno(), b"Z", 0)
            file.seek(0, os.SEEK_END)
            assert file.tell() == 8

        # (BytesIO, which stands in under EMFILE, has no descriptor: encoders know that.)
        store.put(KEY, write).close()  # type: ignore[arg-type]  # narrower on purpose
        assert contents(store.get(KEY)) == expected(keeps, b"Z2xy5678")

    @pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "JPEG2000"])
    def test_pillow_writes_to_it(self, store: Store, image_format: str) -> None:
        pixels = Image.effect_noise((96, 64), 60)
        due = io.BytesIO()
        pixels.save(due, image_format)
        entry = store.put(KEY, lambda file: pixels.save(file, image_format))
        assert contents(entry) == due.getvalue()

    def test_a_large_object_does_not_stay_in_memory(
        self, store: Store, keeps: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(draft, "SPILL", 100_000)
        blocks = [bytes([number]) * 30_000 for number in range(10)]

        def write(file: io.BufferedRandom) -> None:
            for block in blocks:
                file.write(block)
            file.seek(3)
            file.write(b"!")

        data = b"".join(blocks)
        data = data[:3] + b"!" + data[4:]
        assert contents(store.put(KEY, write)) == data  # type: ignore[arg-type]  # narrower
        assert contents(store.get(KEY)) == expected(keeps, data)

    @pytest.mark.parametrize("mtime", [-5.0, 1e30, float("nan"), float("inf"), None])
    def test_times_that_cannot_be_are_kept_within_reason(
        self, store: Store, mtime: float | None
    ) -> None:
        with store.put(KEY, writing(b"x"), mtime) as entry:
            assert 0 <= entry.mtime <= time.time()

    def test_a_name_too_long_for_a_file_is_answered(self, store: Store) -> None:
        key = Key("g", "v", "n" * 300 + ".jpg")
        assert contents(store.put(key, writing(b"data"))) == b"data"
        assert store.get(key) is None
        store.delete(key)


class TestEntry:
    def test_file_reads_from_the_start_and_closes(self, store: Store) -> None:
        entry = store.put(KEY, writing(b"abcdef"))
        file = entry.file
        assert (file.read(2), file.read()) == (b"ab", b"cdef")
        assert entry.read() == b"abcdef"
        file.close()
        entry.close()
        entry.close()

    def test_a_descriptor_for_sendfile(self, store: Store) -> None:
        with store.put(KEY, writing(b"abcdef")) as entry:
            assert os.lseek(entry.fileno(), 0, os.SEEK_CUR) == 0
            assert os.read(entry.fileno(), 10) == b"abcdef"

    def test_shares_live_on_their_own(self, store: Store) -> None:
        entry = store.put(KEY, writing(b"abcdef"), TIME)
        first, second = entry.share(), entry.share()
        assert first.file.read(3) == b"abc"
        entry.close()
        assert second.file.read(2) == b"ab"
        first.close()
        store.purge_all()
        with second, second.share() as third:
            assert (third.read(), third.size, third.mtime) == (b"abcdef", 6, TIME)

    def test_reading_goes_on_after_the_entry_is_forgotten(self, store: Store) -> None:
        data = os.urandom(9000)
        entry = store.put(KEY, writing(data))
        store.delete(KEY)
        store.purge_all()
        assert contents(entry) == data

    def test_a_forgotten_entry_is_reported(self, store: Store) -> None:
        entry = store.put(KEY, writing(b"x"))
        with pytest.warns(ResourceWarning):
            del entry


class TestForgetting:
    @pytest.fixture
    def keys(self, store: Store) -> list[Key]:
        keys = [
            Key(group, version, f"{name}.png")
            for group in ("a", "b")
            for version in ("v1", "v2", "v3")
            for name in ("x", "y")
        ]
        for key in keys:
            store.put(key, writing(key.name.encode())).close()
        return keys

    def left(self, store: Store, keys: list[Key]) -> list[Key]:
        return [key for key in keys if contents(store.get(key)) is not None]

    def test_delete(self, store: Store, keys: list[Key], keeps: bool) -> None:
        store.delete(keys[0])
        store.delete(keys[0])
        assert self.left(store, keys) == (keys[1:] if keeps else [])

    def test_purge(self, store: Store, keys: list[Key], keeps: bool) -> None:
        assert store.purge("a") == (6 if keeps else 0)
        assert store.purge("a") == store.purge("unknown") == 0
        assert self.left(store, keys) == (keys[6:] if keeps else [])

    def test_purge_all(self, store: Store, keys: list[Key], keeps: bool) -> None:
        assert store.purge_all() == (12 if keeps else 0)
        assert self.left(store, keys) == []
        store.put(keys[0], writing(b"again")).close()
        assert contents(store.get(keys[0])) == expected(keeps, b"again")

    def test_drop_versions(self, store: Store, keys: list[Key], keeps: bool) -> None:
        assert store.drop_versions("a", "v2") == (4 if keeps else 0)
        assert store.drop_versions("b", "v1", "v3") == (2 if keeps else 0)
        assert store.drop_versions("c", "v1") == 0
        kept = [key for key in keys if key.version == ("v2" if key.group == "a" else "v1")]
        kept += [key for key in keys if key.group == "b" and key.version == "v3"]
        assert self.left(store, keys) == (kept if keeps else [])

    def test_stats(self, store: Store, keys: list[Key], keeps: bool) -> None:
        stats = store.stats()
        assert stats.entries == (12 if keeps else 0)
        # 12 files and 8 folders of a block each.
        assert stats.bytes == (20 * 4096 if keeps else 0)

    @pytest.mark.parametrize("group", ["..", ".", "", "a/b", ".state", "a\0", "/etc"])
    def test_nothing_but_a_group_can_be_purged(self, store: Store, group: str) -> None:
        with pytest.raises(ValueError):
            store.purge(group)
        with pytest.raises(ValueError):
            store.drop_versions(group, "v")


class TestLink:
    def test_a_second_name_finds_the_same(self, store: Store, keeps: bool) -> None:
        store.put(KEY, writing(b"picture"), TIME).close()
        assert store.link(KEY, "2_other.jpg") is keeps
        assert store.link(KEY, "2_other.jpg") is keeps, "it is there"
        again = store.get(Key(KEY.group, KEY.version, "2_other.jpg"))
        assert again is None or again.mtime == TIME
        assert contents(again) == expected(keeps, b"picture")

    def test_it_lives_on_its_own(self, store: Store, keeps: bool) -> None:
        other = Key(KEY.group, KEY.version, "other")
        store.put(KEY, writing(b"picture")).close()
        store.link(KEY, "other")
        store.delete(KEY)
        assert contents(store.get(other)) == expected(keeps, b"picture")
        store.put(KEY, writing(b"another")).close()
        assert contents(store.get(other)) == expected(keeps, b"picture")
        assert store.purge(KEY.group) == (2 if keeps else 0)
        assert store.get(other) is None

    def test_it_counts(self, store: Store, keeps: bool) -> None:
        store.put(KEY, writing(b"picture")).close()
        before = store.stats()
        store.link(KEY, "other")
        after = store.stats()
        assert after.entries - before.entries == keeps
        assert after.bytes - before.bytes == 4096 * keeps

    def test_nothing_has_no_second_name(self, store: Store) -> None:
        assert not store.link(KEY, "other")
        assert store.stats().entries == 0

    @pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "a\0"])
    def test_nothing_but_a_name_is_one(self, store: Store, name: str) -> None:
        store.put(KEY, writing(b"picture")).close()
        with pytest.raises(ValueError):
            store.link(KEY, name)


class TestDropBroken:
    def test_what_is_whole_stays(self, store: Store, keeps: bool) -> None:
        store.put(KEY, writing(b"picture")).close()
        store.link(KEY, "other")
        assert store.drop_broken(KEY.group, KEY.version) == 0
        assert store.drop_broken(KEY.group, "unknown") == 0
        assert contents(store.get(KEY)) == expected(keeps, b"picture")

    def test_what_lost_its_end_goes_by_all_its_names(
        self, store: Store, keeps: bool, tmp_path: Path
    ) -> None:
        whole = Key(KEY.group, KEY.version, "whole")
        store.put(whole, writing(b"w" * 5000)).close()
        store.put(KEY, writing(b"x" * 5000)).close()
        store.link(KEY, "other")
        for file in tmp_path.rglob(KEY.name):
            os.truncate(file, 4096)
        # As a power cut does it: the date is older than the loss.
        for file in tmp_path.rglob(KEY.name):
            os.utime(file, ns=(0, TIME * 10**9 + 5000))
        assert store.drop_broken(KEY.group, KEY.version) == (2 if keeps else 0)
        assert store.get(KEY) is None
        assert contents(store.get(whole)) == expected(keeps, b"w" * 5000)
        assert store.stats().bytes == (4 * 4096 if keeps else 0)


class TestAdopt:
    def test_a_whole_file_is_taken_over(self, store: Store, keeps: bool, tmp_path: Path) -> None:
        file = tmp_path / "incoming"
        file.write_bytes(b"whole")
        assert store.adopt(KEY, file, TIME) is keeps
        assert contents(store.get(KEY)) == expected(keeps, b"whole")
        assert file.exists() is not keeps

    def test_what_cannot_be_adopted_is_not(self, store: Store, tmp_path: Path) -> None:
        (tmp_path / "empty").touch()
        assert not store.adopt(KEY, tmp_path / "missing")
        assert not store.adopt(KEY, tmp_path / "empty")
        assert store.get(KEY) is None


@pytest.mark.parametrize(
    "part",
    ["", ".", "..", ".hidden", "a/b", "/a", "a\\b", "a\0", "a b", "a\n", "é", "a%2F", "a*", "a:b"],
)
def test_a_key_is_safe_as_three_file_names(part: str) -> None:
    for parts in ((part, "v", "n"), ("g", part, "n"), ("g", "v", part)):
        with pytest.raises(ValueError):
            Key(*parts)


def test_a_key_is_a_value() -> None:
    assert Key("a", "b", "c") == Key("a", "b", "c")
    assert len({Key("a", "b", "c"), Key("a", "b", "c")}) == 1
    with pytest.raises(AttributeError):
        KEY.name = "x"  # type: ignore[misc]  # frozen: that is the test
