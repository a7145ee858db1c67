"""A real object store behind the disks of several machines."""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import obstore
import pytest
from obstore.store import from_url

from iiif_proxy.stores.base import Key
from iiif_proxy.stores.bucket import Away, Bucket
from iiif_proxy.stores.shared import SharedStore
from tests.objectstore import ObjectStore

KEY = Key("1f3a", "77-ab", "0,0,512,512_512,512_!22.5_default.jpg")
OTHER = Key("1f3a", "78-ab", "full_max_0_default.jpg")
TIME = 1_600_000_000
Machine = Callable[[str], SharedStore]


def kept(store: SharedStore, key: Key, data: bytes) -> None:
    store.put(key, lambda file: file.write(data), TIME).close()


def found(store: SharedStore, key: Key) -> bytes | None:
    entry = store.get(key)
    if entry is None:
        return None
    with entry:
        return entry.read()


def in_time(look: Callable[[], object]) -> bool:
    deadline = time.monotonic() + 30
    while not look():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


class TestTwoMachines:
    def test_what_one_makes_the_other_has(self, machine: Machine, told: list[str]) -> None:
        one, two = machine("one"), machine("two")
        assert found(two, KEY) is None
        kept(one, KEY, b"pixels" * 5000)
        assert one.flush(30)
        entry = two.get(KEY)
        assert entry is not None
        with entry:
            assert (entry.read(), entry.mtime) == (b"pixels" * 5000, TIME)
        near = two.near.get(KEY)
        assert near is not None, "it was read through to the disk"
        near.close()
        assert told == ["miss", "kept", "hit"]

    def test_objects_carry_what_a_browser_wants(self, machine: Machine, url: str) -> None:
        one = machine("one")
        kept(one, KEY, b"pixels")
        assert one.flush(30)
        store = from_url(url, client_options={"allow_http": True})
        there = obstore.get(store, f"{KEY.group}/{KEY.version}/{KEY.name}")
        assert there.attributes["Content-Type"] == "image/jpeg"
        assert there.attributes["Cache-Control"] == "max-age=60"
        assert there.meta["e_tag"]
        assert bytes(there.bytes()) == b"pixels"

    def test_the_first_stays(self, machine: Machine, told: list[str]) -> None:
        one, two, three = machine("one"), machine("two"), machine("three")
        kept(one, KEY, b"first")
        assert one.flush(30)
        kept(two, KEY, b"second")
        assert two.flush(30)
        assert told == ["kept", "present"]
        assert found(three, KEY) == b"first"

    def test_a_purge_reaches_the_bucket(self, machine: Machine) -> None:
        one, two = machine("one"), machine("two")
        for key in (KEY, OTHER):
            kept(one, key, b"pixels")
        kept(one, other := Key("2222", "1", "full_max_0_default.jpg"), b"another")
        assert one.flush(30)
        assert one.purge(KEY.group) == 2
        assert (found(two, KEY), found(two, OTHER)) == (None, None)
        assert found(two, other) == b"another"
        assert one.purge_all() == 1
        assert found(machine("three"), other) is None

    def test_a_version_is_dropped_everywhere(self, machine: Machine) -> None:
        one, two = machine("one"), machine("two")
        for key in (KEY, OTHER):
            kept(one, key, b"pixels")
        assert one.flush(30)
        assert one.drop_versions(KEY.group, OTHER.version) == 1
        assert (found(two, KEY), found(two, OTHER)) == (None, b"pixels")

    def test_a_child_does_not_hang(self, machine: Machine) -> None:
        """As obstore does after a fork if it was used before: there the disk is all there is."""
        one = machine("one")
        kept(one, KEY, b"pixels")
        assert one.flush(30)
        one.near.purge_all()
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                kept(one, OTHER, b"of the child")
                good = found(one, KEY) is None and found(one, OTHER) == b"of the child"
                os._exit(0 if good and not one.flush(30) else 1)
            os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
        assert found(one, KEY) == b"pixels"


class TestAway:
    """The object store is killed, and comes back with what it had."""

    @pytest.fixture
    def own(self) -> ObjectStore:
        return ObjectStore()

    def test_killed_and_back(self, own: ObjectStore, tmp_path: Path) -> None:
        from iiif_proxy.stores.disk import DiskStore

        def machine(name: str) -> SharedStore:
            near = DiskStore(tmp_path / name / "derivatives", 64 << 20)
            bucket = Bucket("s3://tests/away", pause=0.05)
            return SharedStore(near, bucket, tmp_path / name / "owed", lambda key: {})

        with own, own.environ():
            one, two, three = machine("one"), machine("two"), machine("three")
            kept(one, KEY, b"before")
            assert one.flush(30)
            own.kill()
            assert found(one, KEY) == b"before"
            assert found(two, KEY) is None
            assert two.bucket.away
            with pytest.raises(Away):
                two.bucket.look()
            kept(one, other := Key("2222", "1", "full_max_0_default.jpg"), b"meanwhile")
            assert found(one, other) == b"meanwhile"
            assert not one.flush(30)
            assert two.purge(KEY.group) == 0
            own.start()
            assert in_time(lambda: one.flush(30)), "what waited is written"
            assert in_time(lambda: not list((tmp_path / "two" / "owed").iterdir()))
            assert found(three, KEY) is None, "the purge was made up for"
            assert found(three, other) == b"meanwhile"
            assert not three.bucket.away
            three.bucket.look()

    def test_what_another_process_owed_is_paid(self, machine: Machine, tmp_path: Path) -> None:
        one, two = machine("one"), machine("two")
        kept(one, KEY, b"pixels")
        assert one.flush(30)
        owed = tmp_path / "two" / "owed"
        owed.mkdir(parents=True)
        (owed / KEY.group).touch()
        kept(two, Key("2222", "1", "full_max_0_default.jpg"), b"another")
        assert in_time(lambda: not list(owed.iterdir()))
        assert found(two, KEY) is None

    def test_one_waits_for_all(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nobody listens: after the first failure nothing is sent until the pause is over."""
        monkeypatch.setenv("AWS_ENDPOINT", "http://127.0.0.1:1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
        bucket = Bucket("s3://tests/none", pause=3600)
        with pytest.raises(Away):
            bucket.get("a/b/c")
        begun = time.monotonic()
        for _ in range(1000):
            with pytest.raises(Away):
                bucket.get("a/b/c")
        assert time.monotonic() - begun < 5
