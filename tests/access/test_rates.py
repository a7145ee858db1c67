"""Rates: of what is made, never of what is stored; by address, key and class; shared."""

import concurrent.futures
import re
from pathlib import Path

import pytest

from iiif_proxy.access import keys
from iiif_proxy.access.ratefile import RateFile
from iiif_proxy.settings import SettingsError
from tests.access.conftest import Heard, House, Housing
from tests.http.collection import quarters, saved
from tests.servers import ask, get, gunicorn

POLICY = '[classes.public]\nrate = "3/hour"\n'
KEY = "k-0e8b1d5d"


def size(width: int) -> str:
    return f"/iiif/3/a.png/full/{width},/0/default.jpg"


def made(here: House, first: int, count: int, one: str = "", **fields: str) -> list[int]:
    return [here.ask(size(first + n), one, **fields).status for n in range(count)]


def test_misses_count_and_hits_do_not(house: Housing) -> None:
    here = house(POLICY)
    assert made(here, 100, 3) == [200] * 3
    for _ in range(2):
        heard = here.ask(size(103))
        assert_too_many(heard, 3, 3600)
    # What is stored is answered all the same, by every way.
    assert made(here, 100, 3) * 2 == [200] * 6
    assert here.ask("/iiif/3/a.png/info.json").status == 200
    assert made(here, 104, 2, "member") == [200, 200]
    assert here.ask(size(104)).status == 200
    assert here.ask(size(9999)).status == 400
    # Nobody else's counts: an address is one, of IPv6 a network.
    assert made(here, 110, 4, REMOTE_ADDR="203.0.113.7") == [200, 200, 200, 429]
    assert made(here, 120, 2, REMOTE_ADDR="2001:db8::1") == [200, 200]
    assert made(here, 122, 2, REMOTE_ADDR="2001:db8::2") == [200, 429]
    assert made(here, 130, 1, REMOTE_ADDR="2001:db8:0:1::1") == [200]


def assert_too_many(heard: Heard, amount: int, seconds: int) -> None:
    assert heard.status == 429
    wait = int(heard.get("Retry-After"))
    assert 0 < wait <= seconds
    assert heard.get("RateLimit-Limit") == str(amount)
    assert heard.get("RateLimit-Remaining") == "0"
    assert heard.get("RateLimit-Reset") == str(wait)
    assert heard.get("RateLimit-Policy") == f'"images";q={amount};w={seconds}'
    assert heard.get("RateLimit") == f'"images";r=0;t={wait}'
    assert re.search(rb"rate of \d+ in \d+ seconds", heard.body)


def test_the_address_is_what_trusted_proxies_say(house: Housing) -> None:
    here = house(POLICY)
    forwarded = {"HTTP_X_FORWARDED_FOR": "198.51.100.1, 203.0.113.1"}
    assert made(here, 100, 4, **forwarded) == [200, 200, 200, 429]
    # Another beginning of the chain is no other visitor.
    forwarded = {"HTTP_X_FORWARDED_FOR": "198.51.100.2, 203.0.113.1"}
    assert made(here, 110, 1, **forwarded) == [429]
    forwarded["HTTP_X_FORWARDED_FOR"] = "203.0.113.2"
    assert made(here, 120, 1, **forwarded) == [200]
    # A stranger's own word is none.
    assert made(here, 130, 4, REMOTE_ADDR="192.0.2.9", **forwarded) == [200, 200, 200, 429]


def test_by_key_and_by_class(house: Housing, tmp_path: Path) -> None:
    lines = [f"{n} member sha256:{keys.digest_of(KEY + n)}" for n in ("one", "two")]
    (tmp_path / "keys").write_text("\n".join(lines))
    here = house(
        '[keys]\nfile = "keys"\n'
        '[classes.member]\nrate = "2/hour; 100 per day"\nrate_class = "3/day"'
    )
    one, two = {"HTTP_X_API_KEY": f"{KEY}one"}, {"HTTP_X_API_KEY": f"{KEY}two"}
    assert made(here, 100, 3, REMOTE_ADDR="192.0.2.1", **one) == [200, 200, 429]
    assert made(here, 110, 1, REMOTE_ADDR="192.0.2.2", **one) == [429]
    heard = [here.ask(size(120 + n), **two) for n in range(2)]
    assert [h.status for h in heard] == [200, 429]
    assert b"all visitors like you" in heard[1].body
    assert made(here, 130, 5) == [200] * 5


def test_the_short_form_and_what_is_refused(house: Housing) -> None:
    here = house(public_rate="2/minute", public_create="declared")
    # What may not be made costs nothing.
    assert made(here, 101, 4) == [403] * 4
    for width in (75, 150):
        assert here.ask(f"/iiif/3/a.png/full/{width},{width * 2 // 3}/0/default.jpg").status == 200
    assert_too_many(here.ask("/iiif/3/a.png/full/max/0/default.jpg"), 2, 60)


def test_all_processes_count_together(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(saved(quarters(300, 200)))
    environ = {
        "IIIF_PROXY_SOURCE": f"file:{tmp_path}/{{id}}",
        "IIIF_PROXY_CACHE_DIR": str(tmp_path / "cache"),
        "IIIF_PROXY_PUBLIC_RATE": "10/hour",
        "IIIF_PROXY_WRITE_AHEAD": "off",
    }
    with gunicorn("iiif_proxy.wsgi", environ, workers=3) as served:

        def one(width: int) -> int:
            return ask(served.port, get(size(width))).status

        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            found = list(pool.map(one, range(100, 130)))
    assert sorted(found) == [200] * 10 + [429] * 20


@pytest.mark.parametrize("failing, status", [("refuse", 503), ("allow", 200)])
def test_a_storage_that_does_not_answer(
    house: Housing, tmp_path: Path, failing: str, status: int
) -> None:
    """Closed for what is new, open for what is stored."""
    here = house(POLICY)
    assert made(here, 100, 1) == [200]
    (tmp_path / "file").touch()
    here = house(POLICY, rate_store=f"file://{tmp_path}/file/x", rate_failing=failing)
    assert made(here, 100, 1) == [200]
    heard = here.ask(size(101))
    assert heard.status == status
    assert here.ask(size(101), "member").status == 200
    if status == 503:
        assert heard.get("Retry-After")
        assert str(tmp_path).encode() not in heard.body


def test_a_storage_that_is_none_stops_the_start(house: Housing) -> None:
    with pytest.raises(SettingsError, match="IIIF_PROXY_RATE_STORE: cannot be used"):
        house(POLICY, rate_store="nonsense://here")


def test_counts_end(tmp_path: Path) -> None:
    store = RateFile(f"file://{tmp_path}/rates")
    assert [store.acquire_entry("a", 2, 100) for _ in range(3)] == [True, True, False]
    assert store.get_moving_window("a", 2, 100)[1] == 2
    assert store.get_moving_window("a", 2, 0)[1] == 0
    assert store.acquire_entry("a", 1, 0)
    store.clear("a")
    assert store.acquire_entry("a", 1, 100)
    assert store.incr("b", 100) == 1
    assert (store.get("b"), store.check(), store.reset()) == (1, True, 2)
