"""What machines tell each other through a real Redis, and what they do without it."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from iiif_proxy.cluster import Leases, Link, News, Silences
from iiif_proxy.cluster.news import NUMBER, STREAM, WAIT
from iiif_proxy.concurrency.circuit import SILENCES, Circuits
from iiif_proxy.errors import OriginTimeout
from tests.redisserver import RedisServer

PATIENCE = 60.0


def until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


class Machine:
    """One process of a machine: what it has heard."""

    def __init__(self, url: str, folder: Path) -> None:
        self.heard: list[str] = []
        self.missed = self.lost = 0
        self.link = Link(url, pause=0.05)
        self.news = News(self.link, folder)
        self.news.listen({"purged": self.heard.append}, self._miss, self._lose)

    def _lose(self) -> None:
        self.lost += 1

    def _miss(self) -> None:
        self.missed += 1

    def ended(self) -> None:
        """As if its process had: it hears no more."""
        self.news.close()
        time.sleep(WAIT + 0.5)


@pytest.fixture
def machine(redis: RedisServer, tmp_path: Path) -> Iterator[Callable[[str], Machine]]:
    """`machine(name)`: a process of the machine of that name, which listens."""

    machines = []

    def made(name: str) -> Machine:
        found = Machine(redis.url, tmp_path / name)
        heard = tmp_path / name / "heard"
        until(lambda: heard.exists() and heard.read_text())
        machines.append(found)
        return found

    yield made
    for one in machines:
        one.news.close()


def test_each_other_machine_hears_once(machine: Callable[[str], Machine]) -> None:
    one, other, third = machine("a"), machine("b"), machine("c")
    second = machine("b")  # Another process of it.
    said = [f"{n} ü%2F" for n in range(30)]
    for what in said:
        one.news.tell("purged", what)
    # A machine too busy to send at once may send twice.
    until(lambda: set(third.heard) == set(other.heard + second.heard) == set(said))
    until(lambda: len(other.heard) + len(second.heard) == len(third.heard))
    assert list(dict.fromkeys(third.heard)) == said
    assert one.heard == []
    assert other.missed == third.missed == 0


def test_told_while_redis_is_away(machine: Callable[[str], Machine], redis: RedisServer) -> None:
    one, other = machine("a"), machine("b")
    one.news.tell("purged", "before")
    until(lambda: set(other.heard) == {"before"})
    other.heard.clear()
    redis.kill()
    begun = time.monotonic()
    for n in range(20):
        one.news.tell("purged", str(n))
    assert time.monotonic() - begun < 15, "nobody waits long for it"
    until(lambda: one.link.away)  # An answer from before may be read only now.
    redis.start()
    until(lambda: set(map(str, range(20))) <= set(other.heard))
    assert set(other.heard) - {"before"} == set(map(str, range(20)))
    until(lambda: not one.link.away)
    assert (other.lost, other.missed) == (1, 0)


def test_a_machine_begins_while_redis_is_away(
    machine: Callable[[str], Machine], redis: RedisServer
) -> None:
    one = machine("a")
    redis.kill()
    new = machine("b")
    one.news.tell("purged", "meanwhile")
    redis.start()
    until(lambda: "meanwhile" in new.heard)


def test_who_was_away_makes_up_for_it(
    machine: Callable[[str], Machine], redis: RedisServer, tmp_path: Path
) -> None:
    one, gone = machine("a"), machine("b")
    one.news.tell("purged", "first")
    until(lambda: set(gone.heard) == {"first"})
    gone.ended()
    one.news.tell("purged", "second")
    again = machine("b")
    until(lambda: set(again.heard) == {"second"})
    assert again.missed == 0


def test_who_missed_some_forgets_everything(
    machine: Callable[[str], Machine], redis: RedisServer
) -> None:
    one, gone = machine("a"), machine("b")
    gone.ended()
    for n in range(5):
        one.news.tell("purged", str(n))
    one.link.do(lambda client: client.xtrim(STREAM, maxlen=2, approximate=False))
    again = machine("b")
    until(lambda: list(dict.fromkeys(again.heard)) == ["3", "4"])
    assert again.missed == 1


def test_redis_is_emptied_while_it_is_listened_to(
    machine: Callable[[str], Machine], redis: RedisServer
) -> None:
    one, other = machine("a"), machine("b")
    for n in range(5):
        one.news.tell("purged", str(n))
    until(lambda: len(other.heard) == 5)
    one.link.do(lambda client: client.flushall())
    one.news.tell("purged", "afterwards")
    until(lambda: other.heard[-1] == "afterwards")
    assert (other.lost, other.missed) == (1, 0)


def test_redis_loses_the_number_and_keeps_the_news(machine: Callable[[str], Machine]) -> None:
    one, other = machine("a"), machine("b")
    for n in range(5):
        one.news.tell("purged", str(n))
    until(lambda: len(other.heard) == 5)
    one.link.do(lambda client: client.delete(NUMBER))
    one.news.tell("purged", "afterwards")
    assert not one.link.away
    until(lambda: other.heard[-1] == "afterwards")


def test_another_process_hears_while_one_begins(
    machine: Callable[[str], Machine], tmp_path: Path
) -> None:
    one, other = machine("a"), machine("b")
    redis = other.link.listener(WAIT)
    heard = tmp_path / "b" / "heard"

    def overtaken(do: Callable[[Any], Any]) -> Any:
        """What Redis answered, a moment too late."""
        answer = redis(do)
        one.news.tell("purged", "meanwhile")
        until(lambda: int(heard.read_text()) > int(answer or 0))
        return answer

    assert other.news.begin(overtaken) >= 1
    assert (other.lost, other.missed) == (0, 0)


def test_one_that_fails_does_not_hold_up_the_rest(machine: Callable[[str], Machine]) -> None:
    one, other = machine("a"), machine("b")
    heard: list[str] = []

    def hear(what: str) -> None:
        if what == "bad":
            raise OSError("full")
        heard.append(what)

    other.news._heard = {"purged": hear}
    for what in ("bad", "good"):
        one.news.tell("purged", what)
    one.news.tell("unheard of", "x")
    one.link.do(lambda client: client.eval("return 1", 0))
    until(lambda: set(heard) == {"good"})


# Leases


class Place:
    """Where all machines find what was made, a while after it was."""

    def __init__(self) -> None:
        self.made = 0
        self.there: str | None = None

    def find(self) -> str | None:
        return self.there

    def make(self) -> str:
        self.made += 1
        time.sleep(0.3)
        threading.Timer(0.2, self._arrive).start()
        return "made"

    def _arrive(self) -> None:
        self.there = "found"


def test_one_machine_makes_it(redis: RedisServer) -> None:
    place, got = Place(), list[str]()

    def ask() -> None:
        leases = Leases(Link(redis.url))
        got.append(leases.first("x", place.find, place.make, PATIENCE))

    asking = [threading.Thread(target=ask) for _ in range(6)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert place.made == 1
    assert sorted(got) == ["found"] * 5 + ["made"]


def test_what_failed_is_tried_by_the_next(redis: RedisServer) -> None:
    leases = Leases(Link(redis.url))

    def fail() -> str:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        leases.first("x", lambda: None, fail, PATIENCE)
    begun = time.monotonic()
    assert leases.first("x", lambda: None, lambda: "made", PATIENCE) == "made"
    assert time.monotonic() - begun < 3


def holding(url: str, said: Any) -> None:
    def make() -> str:
        said.set()
        time.sleep(600)
        return ""

    Leases(Link(url), lasts=1.0).first("x", lambda: None, make, 1.0)


def test_a_dead_maker_loses_it(redis: RedisServer) -> None:
    context = multiprocessing.get_context("spawn")
    said = context.Event()
    maker = context.Process(target=holding, args=(redis.url, said))
    maker.start()
    assert said.wait(PATIENCE)
    time.sleep(1.5)  # Renewed meanwhile: it is still held.
    leases = Leases(Link(redis.url))
    assert leases._take("x", "another's") is not None
    assert maker.pid is not None
    os.kill(maker.pid, signal.SIGKILL)
    maker.join()
    assert leases.first("x", lambda: None, lambda: "made", PATIENCE) == "made"


def test_without_redis_everybody_makes_their_own(redis: RedisServer) -> None:
    redis.kill()
    link = Link(redis.url)
    assert Leases(link).first("x", lambda: None, lambda: "made", PATIENCE) == "made"
    begun = time.monotonic()
    for _ in range(100):
        assert Leases(link).first("x", lambda: None, lambda: "made", PATIENCE) == "made"
    assert time.monotonic() - begun < 5, "nobody asks it for some seconds"


def test_redis_dies_while_it_is_made(redis: RedisServer) -> None:
    leases = Leases(Link(redis.url))

    def make() -> str:
        redis.kill()
        return "made"

    assert leases.first("x", lambda: None, make, PATIENCE) == "made"


# Silent origins


@pytest.fixture
def circuits(redis: RedisServer) -> Callable[[], Circuits]:
    return lambda: Circuits(others=Silences(Link(redis.url, pause=0.05)))


def silence(circuits: Circuits) -> None:
    with pytest.raises(OriginTimeout), circuits.of("h", 1).turn():
        raise OriginTimeout("it does not answer")


def test_what_one_found_silent_others_learn_by_their_first_try(
    circuits: Callable[[], Circuits],
) -> None:
    one, other = circuits(), circuits()
    for _ in range(SILENCES):
        silence(one)
    assert one.of("h", 1).silent
    assert not other.of("h", 1).silent
    silence(other)
    assert other.of("h", 1).silent
    with one.of("h", 1).turn():
        pass
    third = circuits()
    silence(third)
    assert not third.of("h", 1).silent


def test_silences_without_redis(circuits: Callable[[], Circuits], redis: RedisServer) -> None:
    redis.kill()
    one = circuits()
    for _ in range(SILENCES):
        assert not one.of("h", 1).silent
        silence(one)
    assert one.of("h", 1).silent
