"""What is known, for how long, and what the origin's word changes: here and in other processes."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from iiif_proxy.errors import (
    NotAllowed,
    NotAuthenticated,
    NotFound,
    OriginFailed,
    OriginTimeout,
    ProxyError,
    SourceChanged,
)
from iiif_proxy.sources.arrival import Arrival, SourceImage
from iiif_proxy.sources.http import HttpSource
from iiif_proxy.stores.disk import DiskStore
from tests.servers import ROOT, Exchange, Origin, reply
from tests.sources.conftest import (
    BLUE,
    LARGE,
    OLD,
    RED,
    Make,
    Other,
    Slowly,
    answer,
    content,
    hurried,
    left,
    until,
)
from tests.stores.conftest import Mount, mount

__all__ = ["mount"]
DAY = "Wed, 15 Nov 2023 22:13:20 GMT"


def no_bytes(folder: Path) -> None:
    DiskStore(folder / "sources", 10**8).purge_all()


# Freshness


def test_a_304_without_a_word_keeps_what_was_said(origin: Origin, make: Make) -> None:
    origin.routes["/a.jpg"] = answer(RED, ETag='"1"', Cache_Control="max-age=1, must-revalidate")
    cache = make(ttl=99.0)
    cache.open("a.jpg", {}, whole=True)
    time.sleep(1.05)
    origin.routes["/a.jpg"] = answer(b"", "304 Not Modified")
    record = cache.open("a.jpg", {}).record
    assert record.lifetime == 1
    assert record.strict


def test_after_a_failure_the_lifetime_is_the_old_one_again(origin: Origin, make: Make) -> None:
    origin.routes["/a.jpg"] = answer(RED, ETag='"1"', Cache_Control="max-age=0")
    cache = make(failing_pause=0.0)
    cache.open("a.jpg", {}, whole=True)
    origin.routes["/a.jpg"] = answer(b"", "304 Not Modified", Cache_Control="max-age=60, x")
    assert cache.open("a.jpg", {}).record.lifetime == 60
    origin.routes["/b.jpg"] = answer(RED, ETag='"1"', Cache_Control="max-age=1")
    cache.open("b.jpg", {}, whole=True)
    time.sleep(1.05)
    origin.routes["/b.jpg"] = answer(b"", "500 Oops")
    failing = cache.open("b.jpg", {}).record
    assert (failing.lifetime, failing.stated) == (0, 1)
    origin.routes["/b.jpg"] = answer(b"", "304 Not Modified")
    well = cache.open("b.jpg", {}).record
    assert (well.lifetime, well.failing_since) == (1, 0)


@pytest.mark.parametrize(
    "fields",
    [
        {"ETag": '"1"', "Last-Modified": OLD},
        {"ETag": 'W/"1"'},
        {"ETag": "unquoted"},
        {"Last-Modified": OLD},
        {},
    ],
)
def test_the_same_after_a_200(origin: Origin, make: Make, fields: dict[str, str]) -> None:
    """Origins that know no conditions: the image is the same, so are its derivatives."""
    origin.routes["/a.jpg"] = reply(fields=fields.items(), body=RED)
    cache = make(ttl=0.0)
    assert len({cache.open("a.jpg", {}, whole=True).record.fingerprint for _ in range(3)}) == 1
    assert len(origin.requests) == 3


def test_the_same_etag_with_another_date_is_the_same(origin: Origin, make: Make) -> None:
    cache = make(ttl=0.0)
    seen = set()
    for date in (OLD, DAY):
        origin.routes["/a.jpg"] = answer(RED, ETag='"1"', Last_Modified=date)
        seen.add(cache.open("a.jpg", {}, whole=True).record.fingerprint)
    assert len(seen) == 1


@pytest.mark.parametrize(
    "before, after",
    [
        ({"ETag": '"1"'}, {"ETag": '"2"'}),
        ({"Last-Modified": OLD}, {"Last-Modified": DAY}),
        ({}, {}),
        ({"ETag": '"1"'}, {}),
        ({}, {"ETag": '"1"'}),
        ({"ETag": '"1", "2"'}, {"ETag": '"1", "2"'}),
    ],
)
def test_another_image(
    origin: Origin, make: Make, before: dict[str, str], after: dict[str, str]
) -> None:
    here, elsewhere = make(ttl=0.0), make(ttl=0.0)
    origin.routes["/a.jpg"] = reply(fields=before.items(), body=RED)
    first = here.open("a.jpg", {}, whole=True).record
    assert content(elsewhere, "a.jpg") == RED
    origin.routes["/a.jpg"] = reply(fields=after.items(), body=BLUE)
    second = here.open("a.jpg", {}, whole=True).record
    assert second.fingerprint != first.fingerprint
    assert content(elsewhere, "a.jpg") == content(here, "a.jpg") == BLUE


def test_two_etags_are_none(origin: Origin, make: Make) -> None:
    origin.routes["/a.jpg"] = reply(fields=[("ETag", '"1"'), ("ETag", '"2"')], body=RED)
    cache = make(ttl=0.0)
    for _ in range(2):
        assert cache.open("a.jpg", {}, whole=True).record.etag is None
    assert not origin.requests[1].all("If-None-Match")


@pytest.mark.parametrize(
    "etag", ['"a"\r\n "b"', '"' + "x" * 2000 + '"', '"\xff\xe9"', "a b", '"a', "", '"\t"']
)
def test_odd_etags_do_no_harm(origin: Origin, make: Make, etag: str) -> None:
    origin.routes["/a.jpg"] = reply(fields=[("ETag", etag)], body=RED)
    cache = make(ttl=0.0)
    assert content(cache, "a.jpg") == content(cache, "a.jpg") == RED
    sent = origin.requests[1].all("If-None-Match")
    assert sent == ([etag] if "\xff" in etag else [])


def test_a_date_is_young_by_the_origins_own_clock(origin: Origin, make: Make) -> None:
    """Its clock may be wrong, also by days."""
    cache = make(ttl=0.0)
    young = [("Date", OLD), ("Last-Modified", OLD)]
    origin.routes["/a.jpg"] = reply(fields=young, body=RED)
    first = cache.open("a.jpg", {}, whole=True).record
    origin.routes["/a.jpg"] = reply(fields=young, body=RED[:-9] + bytes(7) + RED[-2:])
    assert cache.open("a.jpg", {}, whole=True).record.fingerprint != first.fingerprint
    assert not origin.requests[1].all("If-Modified-Since")


def test_a_304_that_was_not_asked_for(origin: Origin, make: Make) -> None:
    origin.routes["/a.jpg"] = answer(b"", "304 Not Modified")
    with pytest.raises(OriginFailed):
        make().open("a.jpg", {})
    origin.routes["/b.jpg"] = answer(RED)
    cache = make(ttl=0.0, stale_if_error=0.0)
    cache.open("b.jpg", {}, whole=True)
    origin.routes["/b.jpg"] = answer(b"", "304 Not Modified")
    with pytest.raises(OriginFailed):
        cache.open("b.jpg", {})


DATES = """
import os, sys
sys.path.insert(0, os.getcwd())
from iiif_proxy.sources.freshness import http_date
for text in ("Tue, 14 Nov 2023 22:13:20 GMT", "Tuesday, 14-Nov-23 22:13:20 GMT",
             "Tue Nov 14 22:13:20 2023", "Tue, 14 Nov 2023 22:13:20 -0000",
             "Tue, 14 Nov 2023 23:13:20 +0100", "Tue, 14 Nov 2023 22:13:20"):
    assert http_date(text) == 1_700_000_000, text
"""


def test_dates_are_not_of_this_machines_zone() -> None:
    environ = os.environ | {"TZ": "Asia/Tokyo"}
    subprocess.run([sys.executable, "-c", DATES], cwd=ROOT, env=environ, check=True)


# Kept or not


@pytest.mark.parametrize("said", ["no-store", "private"])
def test_what_may_not_be_stored_any_more_is_dropped(
    origin: Origin, make: Make, tmp_path: Path, said: str
) -> None:
    origin.routes["/a.jpg"] = answer(RED, ETag='"1"')
    here, elsewhere = make(ttl=0.0), make(ttl=0.0)
    content(here, "a.jpg"), content(elsewhere, "a.jpg")
    origin.routes["/a.jpg"] = answer(b"", "304 Not Modified", Cache_Control=said)
    assert not here.open("a.jpg", {}).record.keep
    assert not list((tmp_path / "records").rglob("*.json"))
    origin.routes["/a.jpg"] = answer(BLUE, ETag='"1"', Cache_Control=said)
    assert content(elsewhere, "a.jpg") == BLUE
    assert left(tmp_path) == []


# Changed while it was fresh


def test_lost_bytes_that_are_others_by_now_are_news_for_all(
    origin: Origin, make: Make, other: Callable[..., Other], tmp_path: Path
) -> None:
    """Nobody goes on answering from the record, although it was fresh for an hour."""
    origin.routes["/a.jpg"] = answer(RED, ETag='"1"')
    here, elsewhere, there = make(), make(), other()
    generation = elsewhere.generation()
    first = elsewhere.open("a.jpg", {}, whole=True).record
    assert there.do("open", "a.jpg")["fingerprint"] == first.fingerprint
    assert elsewhere.current(first, generation)
    known = here.open("a.jpg", {})
    no_bytes(tmp_path)
    origin.routes["/a.jpg"] = answer(BLUE, ETag='"2"')
    with pytest.raises(SourceChanged):
        here.content(known, {})
    assert not elsewhere.current(first, generation)
    second = elsewhere.open("a.jpg", {}).record
    assert second.fingerprint != first.fingerprint
    assert there.do("open", "a.jpg")["fingerprint"] == second.fingerprint
    assert not elsewhere.current(first, generation), "also after it has been looked at"
    assert len(origin.requests) == 2


@pytest.mark.parametrize("validator", [{"ETag": '"1"'}, {}])
def test_lost_bytes_that_are_the_same_go_on(
    origin: Origin, make: Make, tmp_path: Path, validator: dict[str, str]
) -> None:
    origin.routes["/a.jpg"] = answer(LARGE, **validator)
    cache = make()
    first = cache.open("a.jpg", {}, whole=True).record
    no_bytes(tmp_path)
    for whole in (False, True):
        known = cache.open("a.jpg", {})
        assert cache.content(known, {}, whole=whole).read(0, 99) == LARGE[:99]
    assert cache.open("a.jpg", {}).record.fingerprint == first.fingerprint


def test_lost_bytes_and_an_origin_that_fails(origin: Origin, make: Make, tmp_path: Path) -> None:
    """What is known is still known: derivatives go on being found."""
    origin.routes["/a.jpg"] = answer(RED, ETag='"1"')
    cache = make()
    known = cache.open("a.jpg", {}, whole=True).record
    no_bytes(tmp_path)
    origin.routes["/a.jpg"] = answer(b"", "500 Oops")
    with pytest.raises(OriginFailed):
        cache.content(cache.open("a.jpg", {}), {})
    assert cache.open("a.jpg", {}).record == known
    origin.routes["/a.jpg"] = answer(b"", "404 Not Found")
    with pytest.raises(NotFound):
        cache.content(cache.open("a.jpg", {}), {})
    with pytest.raises(NotFound):
        cache.open("a.jpg", {})


def test_a_purge_is_for_all(
    origin: Origin, make: Make, other: Callable[..., Other], tmp_path: Path
) -> None:
    origin.routes["/a.jpg"] = answer(RED)
    origin.routes["/b.jpg"] = answer(RED)
    unshown: list[str] = []
    here, elsewhere, there = make(unshow=unshown.append), make(), other()
    generation = elsewhere.generation()
    records = {name: elsewhere.open(name, {}, whole=True).record for name in ("a.jpg", "b.jpg")}
    there.do("open", "a.jpg")
    here.forget("a.jpg")
    assert unshown == ["a.jpg"]
    origin.routes["/a.jpg"] = answer(BLUE)
    # b first: that it is looked at again must not make a's record good.
    elsewhere.open("b.jpg", {})
    assert not elsewhere.current(records["a.jpg"], generation)
    assert (
        elsewhere.open("a.jpg", {}, whole=True).record.fingerprint != records["a.jpg"].fingerprint
    )
    assert content(elsewhere, "a.jpg") == BLUE
    said = there.do("open", "a.jpg")["fingerprint"]
    assert said == elsewhere.open("a.jpg", {}).record.fingerprint
    assert elsewhere.open("b.jpg", {}).record.checked == records["b.jpg"].checked
    assert len(origin.requests) == 3


class Asked(Slowly):
    """An answer that is made when it is asked for, and sent when it is let go."""

    def __init__(self, made: bytes) -> None:
        super().__init__(b"")
        self._made = made

    def __call__(self, exchange: Exchange) -> None:
        self.begun.set()
        self.go.wait(10)
        exchange.write(self._made)


@pytest.mark.parametrize("folder", [True, False])
@pytest.mark.parametrize(
    "old",
    [
        answer(RED, ETag='"1"'),
        answer(RED),
        answer(b"", "304 Not Modified", ETag='"1"'),
        answer(b"", "404 Not Found"),
        answer(b"", "500 Oops"),
    ],
    ids=["named", "nameless", "confirmed", "missing", "failing"],
)
def test_what_was_asked_before_a_purge_is_not_known_after_it(
    origin: Origin, make: Make, tmp_path: Path, folder: bool, old: bytes
) -> None:
    """Whether it is in flight in this process or in another, and whoever joins."""
    patient = {"read_timeout": 10.0, "total_timeout": 20.0, "connect_timeout": 10.0}
    source = HttpSource(f"{origin.url}/{{id}}", **patient)
    here = make(source, folder=tmp_path if folder else None, patience=20)
    elsewhere = make(source, patience=20) if folder else here
    known = old.startswith((b"HTTP/1.1 304", b"HTTP/1.1 500"))
    if known:
        origin.routes["/a.jpg"] = answer(RED, ETag='"1"', Cache_Control="no-cache")
        here.open("a.jpg", {}, whole=True)
    slow = origin.routes["/a.jpg"] = Asked(old)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(here.open, "a.jpg", {}, whole=True)
        assert slow.begun.wait(10)
        origin.routes["/a.jpg"] = answer(BLUE, ETag='"2"')
        elsewhere.forget("a.jpg")
        joined = pool.submit(here.open, "a.jpg", {}, whole=True)
        other = pool.submit(elsewhere.open, "a.jpg", {}, whole=True)
        slow.go.set()
        first.exception()
        fingerprint = joined.result().record.fingerprint
        assert other.result().record.fingerprint == fingerprint
    for cache in (here, elsewhere):
        assert content(cache, "a.jpg") == BLUE
        assert cache.open("a.jpg", {}).record.fingerprint == fingerprint
    assert left(tmp_path) == []


def test_every_ring_is_heard(make: Make) -> None:
    """Also several within one tick of the file system's clock."""
    cache = make()
    seen = [cache.generation()]
    for turn in range(20):
        cache.forget(f"{turn}")
        seen.append(cache.generation())
    assert len(set(seen)) == 21


# Unknown


def test_the_unknown_are_bounded_and_cost_nothing_on_the_disk(
    origin: Origin, make: Make, tmp_path: Path
) -> None:
    cache = make(unknown_ttl=30.0)
    before = cache.generation()
    for turn in range(20):
        with pytest.raises(NotFound):
            cache.open(f"{turn}.jpg", {})
    assert cache.generation() == before, "nobody's memory is cleared for it"
    assert not list((tmp_path / "records").rglob("*.json"))
    assert not list((tmp_path / "sources").rglob("*"))


def test_an_unknown_one_that_appears_is_found_by_whoever_asks_anew(
    origin: Origin, make: Make
) -> None:
    here, elsewhere = make(unknown_ttl=0.3), make()
    with pytest.raises(NotFound):
        here.open("a.jpg", {})
    origin.routes["/a.jpg"] = answer(RED)
    assert content(elsewhere, "a.jpg") == RED
    time.sleep(0.35)
    assert content(here, "a.jpg") == RED
    assert len(origin.requests) == 2


# Stale if the origin fails


def dead(exchange: Exchange) -> None:
    exchange.reset()


FAILS: dict[str, bytes | Callable[[Exchange], object]] = {
    "500": answer(b"", "500 Oops"),
    "503": answer(b"", "503 Later"),
    "429": answer(b"", "429 Slower"),
    "resets": dead,
    "never answers": lambda exchange: time.sleep(0.6),
    "no HTTP": lambda exchange: (exchange.write(b"\0" * 99), exchange.close()),
}


@pytest.mark.parametrize("fails", FAILS)
def test_stale_goes_on(origin: Origin, make: Make, fails: str) -> None:
    origin.routes["/a.jpg"] = answer(RED, ETag='"1"')
    cache = make(hurried(origin), ttl=0.0)
    first = cache.open("a.jpg", {}, whole=True).record
    origin.routes["/a.jpg"] = FAILS[fails]
    stale = cache.open("a.jpg", {}).record
    assert stale.fingerprint == first.fingerprint
    assert stale.failing_since == first.fresh_until
    assert not cache.may_be_shown(stale)
    asked = len(origin.requests)
    assert cache.open("a.jpg", {}).record == stale
    assert len(origin.requests) == asked, "not asked again in the pause"


def test_stale_ends(origin: Origin, make: Make) -> None:
    """The bound is not pushed on by asking."""
    origin.routes["/a.jpg"] = answer(RED, ETag='"1"')
    cache = make(ttl=0.0, stale_if_error=0.5, failing_pause=0.02)
    first = cache.open("a.jpg", {}, whole=True).record
    origin.routes["/a.jpg"] = answer(b"", "500 Oops")
    while time.time() < first.fresh_until + 0.3:
        assert cache.open("a.jpg", {}).record.failing_since == first.fresh_until
        time.sleep(0.03)
    time.sleep(0.3)
    with pytest.raises(OriginFailed):
        cache.open("a.jpg", {})
    # And well at once.
    origin.routes["/a.jpg"] = answer(b"", "304 Not Modified")
    well = cache.open("a.jpg", {}).record
    assert well.fingerprint == first.fingerprint
    assert not well.failing_since


def patient(origin: Origin) -> HttpSource:
    return HttpSource(f"{origin.url}/{{id}}", read_timeout=20, total_timeout=30)


def test_an_origin_that_takes_its_time(origin: Origin, make: Make) -> None:
    """What is stale is shown after a moment; its answer is for whoever comes after it."""
    origin.routes["/a.jpg"] = answer(RED, ETag='"1"')
    cache = make(patient(origin), ttl=0.0, stale_after=0.05)
    first = cache.open("a.jpg", {}, whole=True).record
    go = threading.Event()
    blue = answer(BLUE, ETag='"2"')
    origin.routes["/a.jpg"] = lambda exchange: (go.wait(20), exchange.write(blue))
    stale = cache.open("a.jpg", {}).record
    assert stale.fingerprint == first.fingerprint
    assert stale.failing_since == first.fresh_until
    asked = len(origin.requests)
    assert cache.open("a.jpg", {}).record == stale
    assert len(origin.requests) == asked, "nobody else waits in the pause"
    go.set()
    until(lambda: cache.open("a.jpg", {}).record.fingerprint != first.fingerprint)
    assert content(cache, "a.jpg") == BLUE


def meanwhile(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """It happens just when the patience of the next who asks for what is stale is over."""

    def wait(arrival: Arrival, whole: bool, timeout: float) -> SourceImage:
        monkeypatch.undo()
        happens()
        raise OriginTimeout("Just now.")

    monkeypatch.setattr(Arrival, "wait", wait)


def test_what_is_stale_does_not_replace_what_is_newer(
    origin: Origin, make: Make, other: Callable[..., Other], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process has the answer when patience is over here."""
    origin.routes["/a.jpg"] = answer(RED, ETag='"1"')
    here, there = make(ttl=0.5, unknown_ttl=0), other()
    first = here.open("a.jpg", {}, whole=True).record
    time.sleep(0.55)
    go = threading.Event()
    blue = answer(BLUE, ETag='"2"')

    def answered_by_another() -> None:
        record = replace(first, fingerprint="newer", checked=time.time(), lifetime=99.0)
        # As a fetch there keeps it: what it held has ended, so nobody is rung for.
        make()._known.keep(record, make()._known.now())

    origin.routes["/a.jpg"] = lambda exchange: (go.wait(20), exchange.write(blue))
    meanwhile(monkeypatch, answered_by_another)
    try:
        assert here.open("a.jpg", {}).record.fingerprint == "newer"
        assert there.do("open", "a.jpg")["fingerprint"] == "newer"
    finally:
        go.set()


def test_what_is_shown_meanwhile_ends_everywhere_with_the_answer(
    origin: Origin, make: Make
) -> None:
    """Also where the one who got the answer never showed what is stale."""
    origin.routes["/a.jpg"] = answer(RED, ETag='"1"')
    here, elsewhere = make(ttl=0.0), make(patient(origin), ttl=0.0, stale_after=0.05)
    first = here.open("a.jpg", {}, whole=True).record
    slow = origin.routes["/a.jpg"] = Asked(answer(BLUE, ETag='"2"', Cache_Control="max-age=99"))
    patience = make(patient(origin), ttl=0.0)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(patience.open, "a.jpg", {}, whole=True)
        assert slow.begun.wait(10)
        stale = elsewhere.open("a.jpg", {}).record
        assert stale.fingerprint == first.fingerprint
        assert stale.failing_since
        slow.go.set()
        newer = asked.result().record
    assert newer.fingerprint != first.fingerprint
    assert elsewhere.open("a.jpg", {}).record.fingerprint == newer.fingerprint


@pytest.mark.parametrize("folder", [True, False])
def test_what_was_purged_is_not_shown_again(
    origin: Origin, make: Make, folder: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Patience for the answer is over just after the purge."""
    origin.routes["/a.jpg"] = answer(RED, ETag='"1"')
    cache = make(ttl=0.0, folder=tmp_path if folder else None)
    first = cache.open("a.jpg", {}, whole=True).record
    origin.routes["/a.jpg"] = answer(b"", "500 Oops")
    meanwhile(monkeypatch, lambda: cache.forget("a.jpg"))
    asked_before = cache.open("a.jpg", {}).record
    assert asked_before.fingerprint == first.fingerprint
    with pytest.raises(OriginFailed):
        cache.open("a.jpg", {})


def test_what_came_after_its_purge_is_not_shown_stale(origin: Origin, make: Make) -> None:
    cache = make(patient(origin))
    slow = origin.routes["/a.jpg"] = Asked(answer(RED, ETag='"1"'))
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(cache.open, "a.jpg", {}, whole=True)
        assert slow.begun.wait(10)
        cache.forget("a.jpg")
        slow.go.set()
        record = asked.result().record
    origin.routes["/a.jpg"] = answer(b"", "500 Oops")
    with pytest.raises(OriginFailed):
        cache.open("a.jpg", {})
    # If the origin says that it is the same it is good again.
    origin.routes["/a.jpg"] = answer(b"", "304 Not Modified")
    again = cache.open("a.jpg", {}).record
    assert (again.fingerprint, again.failing_since) == (record.fingerprint, 0)


def test_an_origin_that_answers_soon_is_waited_for(origin: Origin, make: Make) -> None:
    origin.routes["/a.jpg"] = answer(RED, ETag='"1"')
    cache = make(ttl=0.0, stale_after=30.0)
    cache.open("a.jpg", {}, whole=True)
    origin.routes["/a.jpg"] = answer(BLUE, ETag='"2"')
    assert content(cache, "a.jpg") == BLUE


def test_what_must_be_asked_for_is_not_shown_stale(origin: Origin, make: Make) -> None:
    strict = {"ETag": '"1"', "Cache_Control": "max-age=0, must-revalidate"}
    origin.routes["/a.jpg"] = answer(RED, **strict)
    cache = make(patient(origin), stale_after=0.01)
    cache.open("a.jpg", {}, whole=True)
    blue = answer(BLUE, ETag='"2"')
    origin.routes["/a.jpg"] = lambda exchange: (time.sleep(0.2), exchange.write(blue))
    assert content(cache, "a.jpg") == BLUE


def test_an_origin_that_is_not_there(origin: Origin, make: Make) -> None:
    with Origin() as gone:
        gone.routes["/a.jpg"] = answer(RED, ETag='"1"')
        source = HttpSource(f"{gone.url}/{{id}}", connect_timeout=0.3)
        cache = make(source, ttl=0.0)
        first = cache.open("a.jpg", {}, whole=True).record
    assert cache.open("a.jpg", {}).record.fingerprint == first.fingerprint
    with pytest.raises(OriginFailed):
        cache.open("b.jpg", {})


def test_well_again_within_the_pause(origin: Origin, make: Make) -> None:
    origin.routes["/a.jpg"] = answer(RED, ETag='"1"')
    cache = make(ttl=0.0, failing_pause=0.3)
    first = cache.open("a.jpg", {}, whole=True).record
    origin.routes["/a.jpg"] = answer(b"", "500 Oops")
    cache.open("a.jpg", {})
    origin.routes["/a.jpg"] = answer(BLUE, ETag='"2"')
    assert cache.open("a.jpg", {}).record.fingerprint == first.fingerprint
    time.sleep(0.35)
    assert content(cache, "a.jpg") == BLUE


def test_a_failure_is_known_to_other_processes(origin: Origin, make: Make) -> None:
    """They do not wait for a dead origin one after the other."""
    origin.routes["/a.jpg"] = answer(RED, ETag='"1"')
    here, elsewhere = make(ttl=0.0), make(ttl=0.0)
    content(here, "a.jpg"), content(elsewhere, "a.jpg")
    origin.routes["/a.jpg"] = answer(b"", "500 Oops")
    here.open("a.jpg", {})
    asked = len(origin.requests)
    assert elsewhere.open("a.jpg", {}).record.failing_since
    assert len(origin.requests) == asked


@pytest.mark.parametrize(
    "status, error",
    [
        ("404 No", NotFound), ("410 Gone", NotFound), ("403 No", NotAllowed),
        ("401 Who", NotAuthenticated),
    ],
)  # fmt: skip
def test_the_origins_no_is_never_overridden(
    origin: Origin, make: Make, status: str, error: type[ProxyError]
) -> None:
    """Nor forgotten when the origin fails afterwards; nor in another process."""
    origin.routes["/a.jpg"] = answer(RED, ETag='"1"')
    unshown: list[str] = []
    here, elsewhere = make(ttl=0.0, unknown_ttl=0, unshow=unshown.append), make(ttl=0.0)
    content(here, "a.jpg"), content(elsewhere, "a.jpg")
    unshown.clear()
    origin.routes["/a.jpg"] = answer(b"", status)
    with pytest.raises(error):
        here.open("a.jpg", {})
    assert unshown == ["a.jpg"]
    origin.routes["/a.jpg"] = answer(b"", "500 Oops")
    for cache in (here, elsewhere):
        with pytest.raises(OriginFailed):
            cache.open("a.jpg", {})
    origin.routes["/a.jpg"] = answer(RED, ETag='"1"')
    assert content(elsewhere, "a.jpg") == RED


# A disk that refuses


def test_what_is_known_in_memory_is_newer_than_a_disk_that_refuses(
    origin: Origin, make: Make, mount: Mount
) -> None:
    """Read-only since: the old record on it must not come back when the origin fails."""
    folder = mount("size=4m")
    origin.routes["/a.jpg"] = answer(RED, ETag='"1"')
    cache = make(folder=folder, ttl=0.0, failing_pause=0.0)
    first = cache.open("a.jpg", {}, whole=True).record
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    origin.routes["/a.jpg"] = answer(BLUE, ETag='"2"')
    second = cache.open("a.jpg", {}, whole=True).record
    assert second.fingerprint != first.fingerprint
    origin.routes["/a.jpg"] = answer(b"", "500 Oops")
    for _ in range(2):
        assert cache.open("a.jpg", {}).record.fingerprint == second.fingerprint
    origin.routes["/a.jpg"] = answer(BLUE, ETag='"2"')
    assert content(cache, "a.jpg") == BLUE


def test_records_that_are_none(origin: Origin, make: Make, tmp_path: Path) -> None:
    origin.routes["/a.jpg"] = answer(RED, ETag='"1"')
    content(make(), "a.jpg")
    (path,) = (tmp_path / "records").rglob("*.json")
    for bad in (b"{}", b"null", b"[]", b"\xff", b"{", b'{"identifier": "a.jpg"}'):
        path.write_bytes(bad)
        assert content(make(), "a.jpg") == RED


# Parts that are promised and not given


def test_parts_that_are_promised_and_not_given(origin: Origin, make: Make) -> None:
    """Its directory is in the first bytes, so this shows only later: then it is fetched whole."""
    import io

    import numpy
    import tifffile

    buffer = io.BytesIO()
    pixels = numpy.random.default_rng(2).integers(0, 255, (1536, 1536, 3), numpy.uint8)
    tifffile.imwrite(buffer, pixels, tile=(256, 256), photometric="rgb")
    data = buffer.getvalue()
    origin.routes["/a.tif"] = reply(fields=[("ETag", '"1"'), ("Accept-Ranges", "bytes")], body=data)
    cache = make()
    image = cache.open("a.tif", {})
    parts = cache.ranges(image.record, {})
    if parts is not None:
        with pytest.raises(SourceChanged):
            parts.read(len(data) - 10, 10)
    again = cache.open("a.tif", {})
    assert cache.ranges(again.record, {}) is None
    assert cache.content(again, {}).read(0, len(data))[:99] == data[:99]
    if parts is not None:
        assert again.record.fingerprint != image.record.fingerprint, "its tiles are read otherwise"
