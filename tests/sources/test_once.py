"""One fetch for all who want the same: threads, processes, and processes that are killed."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from iiif_proxy.errors import NotFound, OriginFailed, SourceChanged
from iiif_proxy.sources.cache import SourceCache
from tests.servers import Exchange, Origin
from tests.sources.conftest import (
    BLUE,
    LARGE,
    RED,
    Make,
    Other,
    Slowly,
    answer,
    content,
    iter_read,
    left,
    sha256,
    together,
    until,
)


def slow(
    data: bytes, seconds: float = 0.3, begun: threading.Event | None = None
) -> Callable[[Exchange], None]:
    """An answer after so long, and not before those who shall share it have begun."""

    def handler(exchange: Exchange) -> None:
        if begun is not None:
            begun.wait(20)
        time.sleep(seconds)
        exchange.write(data)

    return handler


def test_fifty_threads(origin: Origin, make: Make) -> None:
    begun = threading.Event()
    origin.routes["/a.jpg"] = slow(answer(RED), begun=begun)
    cache = make()
    assert together(lambda: content(cache, "a.jpg"), 50, begun) == [RED] * 50
    assert len(origin.requests) == 1


def test_fifty_threads_that_want_the_header_and_then_the_rest(origin: Origin, make: Make) -> None:
    origin.routes["/a.jpg"] = slowly = Slowly(LARGE, ETag='"1"')
    cache = make()

    def work() -> bytes:
        image = cache.open("a.jpg", {})
        assert image.record.info is not None
        slowly.go.set()
        return b"".join(iter_read(cache.content(image, {})))

    assert together(work, 50) == [LARGE] * 50
    assert len(origin.requests) == 1


@pytest.mark.parametrize("status, error", [("500 Oops", OriginFailed), ("404 No", NotFound)])
def test_failure_is_shared(origin: Origin, make: Make, status: str, error: type[Exception]) -> None:
    begun = threading.Event()
    origin.routes["/a.jpg"] = slow(answer(b"", status), begun=begun)
    cache = make()
    got = together(lambda: cache.open("a.jpg", {}), 50, begun)
    assert {type(one) for one in got} == {error}
    assert len({id(one) for one in got}) == 50, "each has an exception of its own"
    assert len(origin.requests) == 1
    origin.routes["/b.jpg"] = answer(RED)
    assert content(cache, "b.jpg") == RED


def test_revalidation_is_shared(origin: Origin, make: Make) -> None:
    origin.routes["/a.jpg"] = answer(RED, ETag='"1"')
    cache = make(ttl=0.0)
    content(cache, "a.jpg")
    origin.requests.clear()
    begun = threading.Event()
    origin.routes["/a.jpg"] = slow(answer(b"", "304 Not Modified", ETag='"1"'), begun=begun)
    fingerprints = {image.record.fingerprint for image in together(
        lambda: cache.open("a.jpg", {}), 20, begun
    )}  # fmt: skip
    assert len(fingerprints) == 1
    assert len(origin.requests) == 1


def test_different_sources_do_not_wait_for_each_other(origin: Origin, make: Make) -> None:
    origin.routes["/slow.jpg"] = slowly = Slowly(LARGE)
    origin.routes["/a.jpg"] = answer(RED)
    cache = make()
    waiting = threading.Thread(target=content, args=(cache, "slow.jpg"))
    waiting.start()
    slowly.begun.wait(20)
    assert content(cache, "a.jpg") == RED
    assert waiting.is_alive()
    slowly.go.set()
    waiting.join()


def test_two_processes(origin: Origin, make: Make, other: Callable[..., Other]) -> None:
    origin.routes["/a.jpg"] = slow(answer(LARGE, ETag='"1"'), 1.0)
    there, cache = other(), make()
    there.begin("content", "a.jpg")
    assert content(cache, "a.jpg") == LARGE
    assert there.said()["sha256"] == sha256(LARGE)
    assert len(origin.requests) == 1


def test_two_processes_revalidate_once(
    origin: Origin, make: Make, other: Callable[..., Other]
) -> None:
    origin.routes["/a.jpg"] = answer(RED, ETag='"1"', Cache_Control="max-age=0")
    there, cache = other(), make()
    first = cache.open("a.jpg", {}, whole=True).record.fingerprint
    origin.requests.clear()
    origin.routes["/a.jpg"] = slow(answer(b"", "304 No", Cache_Control="max-age=60"), 1.0)
    there.begin("open", "a.jpg")
    assert cache.open("a.jpg", {}).record.fingerprint == first
    assert there.said()["fingerprint"] == first
    assert len(origin.requests) == 1


def test_a_waiter_takes_over_from_a_process_that_is_killed(
    origin: Origin, make: Make, other: Callable[..., Other], tmp_path: Path
) -> None:
    """Before the header: nothing is known, the lock of the dead is free."""
    origin.routes["/a.jpg"] = stuck = Slowly(b"")
    there, cache = other(), make(patience=10.0)
    there.begin("content", "a.jpg")
    assert stuck.begun.wait(20)
    got: list[bytes] = []
    waiter = threading.Thread(target=lambda: got.append(content(cache, "a.jpg")))
    waiter.start()
    time.sleep(0.05)
    assert not got
    origin.routes["/a.jpg"] = answer(RED)
    there.kill()
    waiter.join(20)
    assert got == [RED]
    stuck.go.set()


def test_a_reader_takes_over_from_a_process_that_is_killed(
    origin: Origin, make: Make, other: Callable[..., Other], tmp_path: Path
) -> None:
    """After the header: half of the bytes were read along, the other half is fetched here."""
    origin.routes["/a.jpg"] = stuck = Slowly(LARGE, ETag='"1"')
    there, cache = other(), make()
    there.begin("content", "a.jpg")
    assert stuck.begun.wait(20)
    until(lambda: list((tmp_path / "records").rglob("*.json")))
    image = cache.open("a.jpg", {})
    held = cache.content(image, {}, whole=False)
    assert held.read(0, 1000) == LARGE[:1000]
    assert len(origin.requests) == 1
    origin.routes["/a.jpg"] = answer(LARGE, ETag='"1"')
    there.kill()
    assert b"".join(iter_read(held)) == LARGE
    assert Path(held.path).read_bytes() == LARGE
    assert len(origin.requests) == 2
    stuck.go.set()
    # What the dead left behind is not taken for an arrival, nor for the image.
    assert content(make(), "a.jpg") == LARGE


def test_what_the_dead_left_is_not_waited_for(
    origin: Origin, make: Make, other: Callable[..., Other], tmp_path: Path
) -> None:
    origin.routes["/a.jpg"] = stuck = Slowly(LARGE, ETag='"1"')
    there = other()
    there.begin("content", "a.jpg")
    assert stuck.begun.wait(20)
    until(lambda: list((tmp_path / "records").rglob("*.json")))
    there.kill()
    assert left(tmp_path), "a part of it is still there"
    origin.routes["/a.jpg"] = answer(LARGE, ETag='"1"')
    cache = make()
    held = cache.content(cache.open("a.jpg", {}), {}, whole=False)
    assert b"".join(iter_read(held)) == LARGE
    stuck.go.set()


def test_another_image_by_then_is_said_so(
    origin: Origin, make: Make, other: Callable[..., Other], tmp_path: Path
) -> None:
    origin.routes["/a.jpg"] = stuck = Slowly(LARGE, ETag='"1"')
    there, cache = other(), make()
    there.begin("content", "a.jpg")
    assert stuck.begun.wait(20)
    until(lambda: list((tmp_path / "records").rglob("*.json")))
    held = cache.content(cache.open("a.jpg", {}), {}, whole=False)
    origin.routes["/a.jpg"] = answer(BLUE, ETag='"2"')
    there.kill()
    with pytest.raises(SourceChanged):
        list(iter_read(held))
    assert content(cache, "a.jpg") == BLUE
    stuck.go.set()


def test_leftovers_of_the_dead_are_removed(origin: Origin, make: Make, tmp_path: Path) -> None:
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    for name, age in (("old", 3600), ("new", 1)):
        (incoming / name).write_bytes(b"half")
        os.utime(incoming / name, (time.time() - age,) * 2)
    origin.routes["/a.jpg"] = answer(RED)
    content(make(), "a.jpg")
    until(lambda: left(tmp_path) == ["new"])


def test_a_child_does_not_wait_for_fetches_of_its_parent(origin: Origin, make: Make) -> None:
    """Forked in the middle of one: the thread that makes it is not in the child."""
    origin.routes["/a.jpg"] = slowly = Slowly(LARGE, ETag='"1"')
    cache: SourceCache = make(folder=None, patience=3.0)
    waiting = threading.Thread(target=content, args=(cache, "a.jpg"))
    waiting.start()
    assert slowly.begun.wait(20)
    origin.routes["/b.jpg"] = answer(RED)
    origin.routes["/a.jpg"] = answer(LARGE, ETag='"1"')
    child = os.fork()
    if not child:
        code = 1
        try:
            found = content(cache, "b.jpg"), content(cache, "a.jpg")
            code = 0 if found == (RED, LARGE) else 2
        finally:
            os._exit(code)
    time.sleep(0.2)
    slowly.go.set()  # the lock is the parent's until it has its own
    status = os.waitpid(child, 0)[1]
    waiting.join()
    assert os.waitstatus_to_exitcode(status) == 0
