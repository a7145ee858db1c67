"""The tree itself, and who decides what is in it; no server."""

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from iiif_proxy.publisher import SOON, Publisher
from iiif_proxy.sources.cache import SourceCache
from iiif_proxy.sources.record import Record
from iiif_proxy.stores import published as published_module
from iiif_proxy.stores.base import Key
from iiif_proxy.stores.disk import DiskStore
from iiif_proxy.stores.published import AHEAD, MARGIN, STEP, Published

HOUR = 3600.0
NOW = 1_700_000_050.0


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(NOW)
    monkeypatch.setattr(published_module, "time", clock)
    monkeypatch.setattr("iiif_proxy.publisher.time", clock)
    return clock


@pytest.fixture
def tree(tmp_path: Path) -> Callable[..., Published]:
    return lambda rules="r": Published(tmp_path / "published", tmp_path / "derivatives", rules)


def links(tmp_path: Path) -> dict[str, dict[str, str]]:
    """All links by slot, with the version each leads to."""
    return {
        slot.name: {link.name: os.readlink(link) for link in slot.iterdir()}
        for slot in sorted((tmp_path / "published").iterdir())
        if slot.name.isdigit()
    }


def seen(tmp_path: Path, now: float, encoded: str) -> str | None:
    """Where nginx's request of that time would end."""
    slot = tmp_path / "published" / str(int(now))[:-2] / encoded
    return slot.resolve().name if slot.is_symlink() else None


class TestPublished:
    def test_links_lead_to_the_version_for_some_minutes(
        self, tmp_path: Path, tree: Callable[..., Published], clock: Clock
    ) -> None:
        until = tree().publish("a%2Fb", "group", "version", NOW + HOUR)
        assert until in {1_700_000_000 + STEP * number for number in range(2, AHEAD + 2)}
        version = tmp_path / "derivatives" / "group" / "version"
        version.mkdir(parents=True)
        for at in (NOW, NOW + 49.9, NOW + 50, until - 0.001):
            assert seen(tmp_path, at, "a%2Fb") == "version"
            slot = tmp_path / "published" / str(int(at) // STEP) / "a%2Fb"
            assert slot.samefile(version)
        assert seen(tmp_path, until, "a%2Fb") is None

    @pytest.mark.parametrize("left", [0, 1, 50, 50.9, 51, 52, 150.9, 151, 300, 551, 9999])
    def test_never_later_than_a_second_before_freshness_ends(
        self, tmp_path: Path, tree: Callable[..., Published], clock: Clock, left: float
    ) -> None:
        until = tree().publish("x", "g", "v", NOW + left)
        # Freshness in hand is used, but for the started ten seconds and the margin.
        least = min(left - STEP, 1.5 * STEP)
        assert until == 0.0 or NOW + least - MARGIN <= until <= NOW + left - MARGIN
        assert (until == 0.0) == (left < 51)
        for half in range(2 * STEP * (AHEAD + 2)):
            at = NOW + half / 2
            assert (seen(tmp_path, at, "x") == "v") == (at < until)

    def test_another_version_replaces_it_everywhere(
        self, tmp_path: Path, tree: Callable[..., Published], clock: Clock
    ) -> None:
        published = tree()
        published.publish("x", "g", "old", NOW + HOUR)
        # Fresh for a shorter time: nothing old may come up afterwards.
        until = published.publish("x", "g", "new", NOW + 60)
        for second in range(STEP * (AHEAD + 2)):
            assert seen(tmp_path, NOW + second, "x") == ("new" if NOW + second < until else None)

    def test_unpublish(self, tmp_path: Path, tree: Callable[..., Published], clock: Clock) -> None:
        published = tree()
        published.publish("x", "g", "v", NOW + HOUR)
        published.publish("y", "g", "v", NOW + HOUR)
        published.unpublish("x")
        published.unpublish("x")
        published.unpublish("unknown")
        assert {name for slot in links(tmp_path).values() for name in slot} == {"y"}

    @pytest.mark.parametrize(
        "encoded", ["", ".", "..", ".x", "..%2Fx", "x" * 256, "a/b", "../x", "%C3%A4" * 43]
    )
    def test_what_is_no_file_name_is_not_published(
        self, tmp_path: Path, tree: Callable[..., Published], clock: Clock, encoded: str
    ) -> None:
        assert tree().publish(encoded, "g", "v", NOW + HOUR) == 0.0
        tree().unpublish(encoded)
        assert links(tmp_path) == {}

    def test_the_longest_name_and_odd_ones(
        self, tmp_path: Path, tree: Callable[..., Published], clock: Clock
    ) -> None:
        for encoded in ("x" * 255, "-", "~", "%2e%2e", "a.b", "2", "%25", "$HOME"):
            assert tree().publish(encoded, "g", "v", NOW + HOUR)
            assert seen(tmp_path, NOW, encoded) == "v"

    def test_the_past_is_removed_a_little_at_a_time(
        self, tmp_path: Path, tree: Callable[..., Published], clock: Clock
    ) -> None:
        published = tree()
        for number in range(40):
            published.publish(f"x{number}", "g", "v", clock.now + HOUR)
        for _ in range(60):
            clock.now += STEP
            published.publish("y", "g", "v", clock.now + HOUR)
        assert len(links(tmp_path)) <= AHEAD + 3

    def test_a_restart_under_the_same_rules_keeps_the_links(
        self, tmp_path: Path, tree: Callable[..., Published], clock: Clock
    ) -> None:
        tree("r").publish("x", "g", "v", NOW + HOUR)
        tree("r")
        assert seen(tmp_path, NOW, "x") == "v"

    def test_other_rules_end_what_was_published_at_once(
        self, tmp_path: Path, tree: Callable[..., Published], clock: Clock
    ) -> None:
        old = tree("old")
        old.publish("x", "g", "v", NOW + HOUR)
        new = tree("new")
        assert seen(tmp_path, NOW, "x") is None
        assert old.publish("x", "g", "v", NOW + HOUR) == 0.0, "a process of the former life"
        assert links(tmp_path).get(str(int(NOW) // STEP), {}) == {}
        assert new.publish("x", "g", "w", NOW + HOUR)
        assert seen(tmp_path, NOW, "x") == "w"
        for number in range(10):
            new.publish(f"y{number}", "g", "w", NOW + HOUR)
        assert not list((tmp_path / "published").glob(".old-*"))

    def test_rules_that_change_while_links_are_made(
        self,
        tmp_path: Path,
        tree: Callable[..., Published],
        clock: Clock,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        old = tree("old")
        link = Published._link

        def interrupted(self: Published, *given: str) -> None:
            monkeypatch.setattr(Published, "_link", link)
            tree("new")
            link(self, *given)

        monkeypatch.setattr(Published, "_link", interrupted)
        assert old.publish("x", "g", "v", NOW + HOUR) == 0.0
        assert seen(tmp_path, NOW, "x") is None

    def test_a_folder_that_is_taken_away_comes_again(
        self, tmp_path: Path, tree: Callable[..., Published], clock: Clock
    ) -> None:
        published = tree()
        published.publish("x", "g", "v", NOW + HOUR)
        shutil.rmtree(tmp_path / "published")
        assert published.publish("x", "g", "v", NOW + HOUR)
        assert seen(tmp_path, NOW, "x") == "v"

    def test_a_disk_that_refuses(self, tmp_path: Path, clock: Clock) -> None:
        (tmp_path / "file").touch()
        published = Published(tmp_path / "file" / "published", tmp_path / "derivatives", "r")
        assert published.publish("x", "g", "v", NOW + HOUR) == 0.0
        published.unpublish("x")

    def test_half_a_publishing_is_none(
        self,
        tmp_path: Path,
        tree: Callable[..., Published],
        clock: Clock,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        published = tree()
        published.publish("x", "g", "old", NOW + HOUR)
        calls = iter([None])
        link = Published._link

        def refusing(self: Published, *given: str) -> None:
            if next(calls, "full") == "full":
                raise OSError(28, "no space")
            link(self, *given)

        monkeypatch.setattr(Published, "_link", refusing)
        assert published.publish("x", "g", "new", NOW + HOUR) == 0.0
        assert all(
            seen(tmp_path, NOW + second, "x") is None for second in range(STEP * (AHEAD + 2))
        )

    def test_where_letters_have_no_case_nothing_is_published(
        self, tmp_path: Path, tree: Callable[..., Published], clock: Clock
    ) -> None:
        published = tree()
        # What a file system without case would show.
        (tmp_path / "published" / ".RULES").symlink_to("r")
        assert published.publish("x", "g", "v", NOW + HOUR) == 0.0


def record(**changes: Any) -> Record:
    values: dict[str, Any] = {
        "identifier": "a/b", "url": "http://o/a/b", "template": 0, "fingerprint": "f",
        "bytes_id": "b", "size": 1, "etag": '"e"', "last_modified": None, "modified": None,
        "checked": NOW, "lifetime": HOUR, "strict": False, "keep": True,
    }  # fmt: skip
    return Record(**values | changes)


class Sources:
    """What a publisher asks of the sources."""

    def __init__(self) -> None:
        self.held: Record | None = record()
        self.purging = threading.Lock()
        self.asked = 0

    def may_be_shown(self, record: Record) -> bool:
        return record.keep and not record.failing_since

    def holds(self, record: Record, environ: object) -> bool:
        self.asked += 1
        return record == self.held

    @contextlib.contextmanager
    def unpurged(self) -> Iterator[None]:
        with self.purging:
            yield

    def purge(self, published: Published) -> None:
        with self.purging:
            self.held = None
        published.unpublish("a%2Fb")


class TestPublisher:
    @pytest.fixture
    def sources(self) -> Sources:
        return Sources()

    @pytest.fixture
    def store(self, tmp_path: Path) -> DiskStore:
        return DiskStore(tmp_path / "derivatives", 1 << 30)

    @pytest.fixture
    def publisher(
        self, tree: Callable[..., Published], sources: Sources, store: DiskStore, clock: Clock
    ) -> Publisher:
        return Publisher(tree(), cast(SourceCache, sources), store, HOUR)

    def test_it_is_due_when_the_links_end(
        self, tmp_path: Path, publisher: Publisher, sources: Sources, clock: Clock
    ) -> None:
        assert publisher.due(record())
        assert publisher.show(record(), "g", "v", {})
        assert seen(tmp_path, NOW, "a%2Fb") == "v"
        while seen(tmp_path, clock.now, "a%2Fb"):
            assert not publisher.due(record())
            assert publisher.show(record(), "g", "v", {})
            clock.now += 1
        assert clock.now >= NOW + 1.5 * STEP
        assert sources.asked == 2, "nothing was done meanwhile"
        assert publisher.due(record())

    @pytest.mark.parametrize(
        "changes", [{"lifetime": HOUR - 1}, {"keep": False}, {"failing_since": 1.0}]
    )
    def test_what_may_not_be_shown_is_not_and_costs_nothing(
        self, tmp_path: Path, publisher: Publisher, clock: Clock, changes: dict[str, Any]
    ) -> None:
        publisher.show(record(), "g", "v", {})
        assert not publisher.show(record(**changes), "g", "w", {})
        assert seen(tmp_path, NOW, "a%2Fb") is None
        clock.now += 1e6
        assert not publisher.due(record(**changes))

    def test_a_file_of_this_machine_is_none_of_its_business(
        self, tmp_path: Path, publisher: Publisher
    ) -> None:
        local = record(path="/x", stamp="s")
        assert not publisher.due(local)
        assert not publisher.show(local, "g", "v", {})
        assert links(tmp_path) == {}

    @pytest.mark.parametrize("held", [None, record(checked=NOW + 1), record(fingerprint="g")])
    def test_what_was_purged_or_changed_meanwhile_does_not_come_back(
        self,
        tmp_path: Path,
        publisher: Publisher,
        sources: Sources,
        clock: Clock,
        held: Record | None,
    ) -> None:
        sources.held = held
        assert not publisher.show(record(), "g", "v", {})
        assert seen(tmp_path, NOW, "a%2Fb") is None
        assert not publisher.due(record()), "not tried at every request"
        clock.now += SOON
        assert publisher.due(record())

    def test_who_purges_leaves_no_link_to_be_seen(
        self,
        tmp_path: Path,
        publisher: Publisher,
        sources: Sources,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """A static server shows a link at once, though it be taken away soon."""
        publish = Published.publish
        seen_after: list[str | None] = []
        threads = []

        def slowly(self: Published, *given: Any) -> float:
            def purge() -> None:
                sources.purge(self)
                seen_after.append(seen(tmp_path, NOW, "a%2Fb"))

            threads.append(threading.Thread(target=purge))
            threads[0].start()
            threads[0].join(0.2)
            until = publish(self, *given)
            seen_after.append(seen(tmp_path, NOW, "a%2Fb"))
            return until

        monkeypatch.setattr(Published, "publish", slowly)
        publisher.show(record(), "g", "v", {})
        threads[0].join()
        assert seen_after == ["v", None]
        monkeypatch.setattr(Published, "publish", lambda *given: pytest.fail("what was purged"))
        assert not publisher.show(record(), "g", "w", {})

    def test_a_record_that_was_renewed_is_published_again(
        self, tmp_path: Path, publisher: Publisher, sources: Sources, clock: Clock
    ) -> None:
        publisher.show(record(), "g", "v", {})
        Published.unpublish(publisher._published, "a%2Fb")  # type: ignore[arg-type]  # another process
        sources.held = record(checked=NOW + 1)
        assert publisher.show(sources.held, "g", "v", {})
        assert seen(tmp_path, NOW, "a%2Fb") == "v"

    def test_what_a_power_cut_left_is_not_shown(
        self, publisher: Publisher, store: DiskStore, clock: Clock
    ) -> None:
        key = Key("g", "v", "name.jpg")
        store.put(key, lambda file: file.write(b"whole")).close()
        path = store.folder / "g" / "v" / "name.jpg"
        status = path.stat()
        path.write_bytes(b"who")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        publisher.show(record(), "g", "v", {})
        assert not path.exists()

    def test_without_a_tree_nothing_is_ever_due(self, sources: Sources, store: DiskStore) -> None:
        publisher = Publisher(None, cast(SourceCache, sources), store, HOUR)
        assert not publisher.due(record())
        assert not publisher.show(record(), "g", "v", {})


def test_a_due_is_a_look_into_a_dict(tmp_path: Path) -> None:
    """What every hit pays: no system call."""
    publisher = Publisher(
        Published(tmp_path / "published", tmp_path / "derivatives", "r"),
        cast(SourceCache, Sources()),
        DiskStore(tmp_path / "derivatives", 1 << 30),
        HOUR,
    )
    held = record(checked=time.time())
    publisher._sources.held = held  # type: ignore[attr-defined]  # it is a Sources
    publisher.show(held, "g", "v", {})
    begun = time.thread_time()
    for _ in range(1000):
        assert not publisher.due(held)
    assert time.thread_time() - begun < 0.1


def test_a_link_leaves_the_total_right(tmp_path: Path) -> None:
    """The bound counts a second name as the sweep does, before and after."""
    store = DiskStore(tmp_path / "s", 1 << 30, background=False)
    keys = [Key("g", f"v{number}", "name.jpg") for number in range(3)]
    for key in keys:
        store.put(key, lambda file: file.write(b"x" * 5000)).close()
        assert store.link(key, "2_name.jpg")
        assert store.link(key, "2_name.jpg")
    store.delete(keys[0])
    store.purge("unknown")

    def total() -> int:
        return int((tmp_path / "s" / ".state" / "total").read_bytes()[1:])

    counted = total()
    assert counted == store.stats().bytes
    store.sweep()
    assert total() == counted
