"""The header first, the bytes as they come; and what is left when they do not."""

import gc
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from iiif_proxy.errors import Busy, OriginFailed, OriginTimeout, ProxyError
from iiif_proxy.sources import contents
from iiif_proxy.sources.arrival import SourceImage
from iiif_proxy.sources.contents import Contents
from iiif_proxy.stores.disk import DiskStore
from tests.servers import Exchange, Origin, reply
from tests.sources.conftest import (
    BLUE,
    LARGE,
    RED,
    Make,
    Other,
    Slowly,
    answer,
    content,
    descriptors,
    iter_read,
    left,
    sha256,
    until,
)
from tests.stores.conftest import Mount, mount

__all__ = ["mount"]


def pieces(body: bytes, *sizes: int, **fields: str) -> tuple[list[threading.Event], object]:
    """An answer that goes on to the next size when its event is set."""
    gates = [threading.Event() for _ in sizes]

    def handler(exchange: Exchange) -> None:
        whole = answer(body, **fields)
        start = whole.index(b"\r\n\r\n") + 4
        at = 0
        for gate, size in zip(gates, sizes, strict=True):
            exchange.write(whole[at : start + size])
            at = start + size
            gate.wait(10)
        exchange.write(whole[at:])

    return gates, handler


def test_the_first_kilobytes_are_enough_for_the_header(origin: Origin, make: Make) -> None:
    gates, handler = pieces(LARGE, 2500, ETag='"1"')
    origin.routes["/a.jpg"] = handler  # type: ignore[assignment]  # a handler
    cache = make()
    begun = time.monotonic()
    image = cache.open("a.jpg", {})
    assert time.monotonic() - begun < 5
    assert image.record.info is not None
    assert (image.record.info["width"], image.record.info["height"]) == (1200, 900)
    assert image.record.fingerprint
    gates[0].set()
    assert b"".join(iter_read(cache.content(image, {}))) == LARGE


def test_content_waits_for_all_and_reads_along(origin: Origin, make: Make) -> None:
    gates, handler = pieces(LARGE, 2500, 50_000, ETag='"1"')
    origin.routes["/a.jpg"] = handler  # type: ignore[assignment]  # a handler
    cache = make()
    image = cache.open("a.jpg", {})
    held = cache.content(image, {}, whole=False)
    assert held.read(2400, 1000) == LARGE[2400:2500]
    whole: list[bytes] = []
    waiter = threading.Thread(
        target=lambda: whole.append(Path(cache.content(image, {}).path).read_bytes())
    )
    waiter.start()
    reader = threading.Thread(target=lambda: whole.append(held.read(2500, 10)))
    reader.start()
    gates[0].set()
    reader.join(5)
    assert whole == [LARGE[2500:2510]]
    gates[1].set()
    waiter.join(5)
    assert whole[1] == LARGE
    # Whoever knows only the record gets the same bytes without another request.
    known = cache.open("a.jpg", {})
    assert known.held is None
    assert Path(cache.content(known, {}).path).read_bytes() == LARGE
    assert len(origin.requests) == 1


def test_another_process_that_asks_before_the_header_waits_for_that_alone(
    origin: Origin, make: Make
) -> None:
    gates, handler = pieces(LARGE, 100, 30_000, ETag='"1"')
    origin.routes["/a.jpg"] = handler  # type: ignore[assignment]  # a handler
    here, elsewhere = make(), make()
    seen: list[SourceImage] = []
    threads = [
        threading.Thread(target=lambda cache=cache: seen.append(cache.open("a.jpg", {})))
        for cache in (here, elsewhere)
    ]
    threads[0].start()
    until(lambda: origin.requests)
    threads[1].start()
    gates[0].set()
    for thread in threads:
        thread.join(10)
    assert len(seen) == 2, "the last gate is closed still"
    gates[1].set()
    assert b"".join(iter_read(elsewhere.content(seen[1], {}))) == LARGE
    assert len(origin.requests) == 1


def test_without_validators_the_fingerprint_waits_for_the_end(origin: Origin, make: Make) -> None:
    gates, handler = pieces(LARGE, 2500)
    origin.routes["/a.jpg"] = handler  # type: ignore[assignment]  # a handler
    here, impatient, elsewhere = make(), make(patience=0.3), make()
    image = here.open("a.jpg", {})
    assert image.record.fingerprint == ""
    assert image.record.info is not None
    with pytest.raises((Busy, OriginTimeout)):
        impatient.open("a.jpg", {})
    gates[0].set()
    record = here.open("a.jpg", {}, whole=True).record
    assert record.fingerprint
    assert elsewhere.open("a.jpg", {}).record.fingerprint == record.fingerprint
    assert len(origin.requests) == 1


def breaking(body: bytes, size: int, **fields: str) -> tuple[threading.Event, object]:
    """An answer that is reset after so many bytes of its body, when the event is set."""
    gate = threading.Event()

    def handler(exchange: Exchange) -> None:
        whole = answer(body, **fields)
        exchange.write(whole[: whole.index(b"\r\n\r\n") + 4 + size])
        gate.wait(10)
        time.sleep(0.05)  # What is not read yet would be lost with the connection.
        exchange.reset()

    return gate, handler


@pytest.mark.parametrize("validator", [{"ETag": '"1"'}, {}])
def test_nothing_is_left_of_a_body_that_breaks_off(
    origin: Origin, make: Make, tmp_path: Path, validator: dict[str, str]
) -> None:
    gate, breaks = breaking(LARGE, 2500, **validator)
    origin.routes["/a.jpg"] = breaks  # type: ignore[assignment]  # a handler
    here, elsewhere = make(), make()
    image = here.open("a.jpg", {})
    if validator:
        seen = elsewhere.open("a.jpg", {}).record
        assert elsewhere.current(seen)
    gate.set()
    with pytest.raises(OriginFailed):
        here.content(image, {})
    if validator:
        assert not elsewhere.current(seen), "not in the memory of other processes either"
    assert left(tmp_path) == []
    assert not list((tmp_path / "records").rglob("*.json"))
    assert not list((tmp_path / "sources").rglob("source"))
    origin.routes["/a.jpg"] = answer(BLUE, **validator)
    assert content(here, "a.jpg") == BLUE
    assert content(elsewhere, "a.jpg") == BLUE


def test_a_changed_source_that_breaks_off_is_not_the_old_one_again(
    origin: Origin, make: Make
) -> None:
    """The origin said that there is another image: staleness ends there."""
    origin.routes["/a.jpg"] = answer(RED, ETag='"1"')
    here, elsewhere = make(ttl=0.0), make(ttl=0.0)
    content(here, "a.jpg"), content(elsewhere, "a.jpg")
    for size in (100, 2500):  # before and after the header is known
        gate, breaks = breaking(LARGE, size, ETag='"2"')
        gate.set()
        origin.routes["/a.jpg"] = breaks  # type: ignore[assignment]  # a handler
        with pytest.raises(OriginFailed):
            content(here, "a.jpg")
        origin.routes["/a.jpg"] = answer(b"", "500 Oops")
        for cache in (here, elsewhere):
            with pytest.raises(OriginFailed):
                cache.open("a.jpg", {})
    origin.routes["/a.jpg"] = answer(BLUE, ETag='"2"')
    assert content(elsewhere, "a.jpg") == BLUE


def test_an_old_source_that_breaks_off_goes_on(origin: Origin, make: Make) -> None:
    """Without validators there is no word of another image."""
    origin.routes["/a.jpg"] = answer(RED)
    cache = make(ttl=0.0)
    first = cache.open("a.jpg", {}, whole=True).record.fingerprint
    gate, breaks = breaking(RED, 100)
    gate.set()
    origin.routes["/a.jpg"] = breaks  # type: ignore[assignment]  # a handler
    assert cache.open("a.jpg", {}).record.fingerprint == first


def test_an_early_no_is_early(origin: Origin, make: Make, tmp_path: Path) -> None:
    """HTML is not downloaded to the end to be refused."""
    gates, handler = pieces(b"<!doctype html>" * 99_999, 4000)
    origin.routes["/a.jpg"] = handler  # type: ignore[assignment]  # a handler
    begun = time.monotonic()
    with pytest.raises(OriginFailed):
        make().open("a.jpg", {})
    assert time.monotonic() - begun < 5
    assert left(tmp_path) == []
    gates[0].set()


def test_too_short_a_length_is_made_good(origin: Origin, make: Make) -> None:
    """Cut off, but whole as HTTP has it: who finds out says so, and it is fetched anew."""
    cut = LARGE[: len(LARGE) // 2]
    origin.routes["/a.jpg"] = reply(fields=[("ETag", '"1"')], body=cut)
    here, elsewhere = make(), make()
    image = here.open("a.jpg", {}, whole=True)
    assert content(elsewhere, "a.jpg") == cut
    origin.routes["/a.jpg"] = reply(fields=[("ETag", '"1"')], body=LARGE)
    here.reject(image.record)
    assert content(here, "a.jpg") == LARGE
    assert content(elsewhere, "a.jpg") == LARGE


# The disk


def full(origin: Origin) -> threading.Event:
    gates, handler = pieces(LARGE, 30_000, ETag='"1"')
    origin.routes["/a.jpg"] = handler  # type: ignore[assignment]  # a handler
    return gates[0]


def test_a_disk_that_fills_while_it_is_written(
    origin: Origin, make: Make, mount: Mount, caplog: pytest.LogCaptureFixture
) -> None:
    """Who reads along, by number or by path, goes on reading."""
    folder = mount("size=256k")
    gate = full(origin)
    cache = make(folder=folder)
    image = cache.open("a.jpg", {})
    held = cache.content(image, {}, whole=False)
    assert left(folder)
    with open(held.path, "rb") as before:
        gate.set()
        assert b"".join(iter_read(held)) == LARGE
        assert Path(held.path).read_bytes() == LARGE
        assert before.read(30_000) == LARGE[:30_000]
    assert left(folder) == []
    assert "goes to memory" in caplog.text
    # Not kept, so fetched again.
    assert content(cache, "a.jpg") == LARGE


def test_another_process_reads_along_when_the_disk_fills(
    origin: Origin, make: Make, mount: Mount
) -> None:
    folder = mount("size=256k")
    gate = full(origin)
    here, elsewhere = make(folder=folder), make(folder=folder)
    image = here.open("a.jpg", {})
    held = elsewhere.content(elsewhere.open("a.jpg", {}), {}, whole=False)
    assert held.read(0, 99) == LARGE[:99]
    gate.set()
    assert b"".join(iter_read(here.content(image, {}))) == LARGE
    assert b"".join(iter_read(held)) == LARGE


def test_a_full_disk_and_no_memory_for_it(
    origin: Origin, make: Make, mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "MEMORY", 300_000)
    folder = mount("size=256k")
    full(origin).set()
    with pytest.raises(Busy):
        content(make(folder=folder), "a.jpg")
    assert left(folder) == []


@pytest.mark.parametrize("call", ["open", "mkdir"])
def test_no_file_can_be_made(
    origin: Origin, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    origin.routes["/a.jpg"] = answer(LARGE, ETag='"1"')
    cache = make()
    real = getattr(os, call)

    def refuses(path: object, *args: object, **keywords: object) -> object:
        if str(path).startswith(str(tmp_path)):
            raise OSError(30, "Read-only file system")
        return real(path, *args, **keywords)

    monkeypatch.setattr(os, call, refuses)
    assert content(cache, "a.jpg") == LARGE


def test_where_nothing_may_be_stored_nothing_has_a_name(
    origin: Origin, make: Make, tmp_path: Path
) -> None:
    gates, handler = pieces(LARGE, 30_000, ETag='"1"', Cache_Control="no-store")
    origin.routes["/a.jpg"] = handler  # type: ignore[assignment]  # a handler
    cache = make()
    image = cache.open("a.jpg", {})
    assert not image.record.keep
    assert left(tmp_path) == []
    gates[0].set()
    assert b"".join(iter_read(cache.content(image, {}))) == LARGE
    assert len(origin.requests) == 1
    # The lock goes when its holder does, which may be now.
    files = [path for path in tmp_path.rglob("*") if path.is_file() and "locks" not in path.parts]
    assert not [path for path in files if "records" in path.parts and path.suffix == ".json"]
    assert not [path for path in files if path.read_bytes()[:100] == LARGE[:100]]


# Nothing else is left


def test_no_descriptor_is_left_without_the_collector(
    origin: Origin, make: Make, tmp_path: Path
) -> None:
    """A file is closed when the last who holds it lets it go, not when garbage is collected."""
    origin.routes["/whole.jpg"] = answer(LARGE, ETag='"1"')
    origin.routes["/short.jpg"] = lambda exchange: (
        exchange.write(answer(LARGE, ETag='"1"')[:90_000]),
        exchange.reset(),
    )
    here, elsewhere = make(), make(ttl=0.0)

    def all_of_it() -> None:
        for cache in (here, elsewhere):
            for name in ("whole.jpg", "short.jpg", "not-there.jpg"):
                try:
                    image = cache.open(name, {})
                    cache.content(image, {}, whole=False).read(0, 9)
                    cache.content(image, {}).read(0, 9)
                except ProxyError:
                    continue
            DiskStore(tmp_path / "sources", 10**8).purge_all()
            image = cache.open("whole.jpg", {})
            cache.content(image, {}).read(0, 9)

    gc.collect()
    gc.disable()
    try:
        all_of_it()
        until(lambda: "source" not in {thread.name for thread in threading.enumerate()})
        time.sleep(0.1)
        before = descriptors()
        for _ in range(5):
            all_of_it()
        until(lambda: descriptors() <= before)
    finally:
        gc.enable()


def test_a_dead_arrival_is_no_longer_growing(tmp_path: Path, origin: Origin, make: Make) -> None:
    """`growing` gives only what somebody is writing."""
    origin.routes["/a.jpg"] = answer(RED, ETag='"1"')
    record = make().open("a.jpg", {}, whole=True).record
    (tmp_path / "incoming" / record.bytes_id).write_bytes(b"half")
    store = DiskStore(tmp_path / "sources", 10**8)
    assert Contents(store, tmp_path / "incoming").growing(record, lambda: None) is None  # type: ignore[arg-type,return-value]  # not called


def test_a_process_reads_along_and_keeps_what_it_read(
    origin: Origin, make: Make, other: Callable[..., Other], tmp_path: Path
) -> None:
    origin.routes["/a.jpg"] = slowly = Slowly(LARGE, ETag='"1"')
    there, cache = other(), make()
    there.begin("content", "a.jpg")
    assert slowly.begun.wait(20)
    until(lambda: list((tmp_path / "records").rglob("*.json")))
    held = cache.content(cache.open("a.jpg", {}), {}, whole=False)
    assert held.read(0, 50) == LARGE[:50]
    slowly.go.set()
    held.complete()
    assert Path(held.path).read_bytes() == LARGE
    assert there.said()["sha256"] == sha256(LARGE)
    assert len(origin.requests) == 1


def test_waiting_has_a_limit_of_its_own(origin: Origin, make: Make) -> None:
    origin.routes["/a.jpg"] = slowly = Slowly(LARGE, ETag='"1"')
    cache = make(patience=0.2)
    image = cache.open("a.jpg", {})
    known = SourceImage(image.record)
    begun = time.monotonic()
    with pytest.raises(OriginTimeout):
        cache.content(known, {})
    assert time.monotonic() - begun < 5
    slowly.go.set()
    assert b"".join(iter_read(cache.content(image, {}))) == LARGE
