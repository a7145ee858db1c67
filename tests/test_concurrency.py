"""One maker for many, and a queue in front of memory: with threads, processes and kill -9."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from iiif_proxy.concurrency import Gate, Place, SingleFlight, locks
from iiif_proxy.concurrency.locks import KeyLocks
from iiif_proxy.concurrency.recent import Recent
from iiif_proxy.errors import Busy, NotFound, OriginFailed, SourceChanged
from iiif_proxy.stores.base import Entry, Key, NullStore

ROOT = Path(__file__).parents[1]
MANY = 30


def none() -> None:
    return None


def at_once(count: int, work: Callable[[int], object]) -> list[object]:
    """What `count` threads return or raise."""
    barrier = threading.Barrier(count)

    def one(number: int) -> object:
        barrier.wait()
        try:
            return work(number)
        except BaseException as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.001)


@pytest.fixture(params=["threads", "processes"])
def flights(request: pytest.FixtureRequest, tmp_path: Path) -> SingleFlight:
    return SingleFlight(tmp_path / "locks" if request.param == "processes" else None)


def waiting(flights: SingleFlight, key: str) -> int:
    flight = flights._flights.get(key)
    return flight.waiting if flight else 0


class TestSingleFlight:
    def test_finds_or_makes(self, flights: SingleFlight) -> None:
        assert flights.do("k", lambda: "found", lambda: "made", 1) == ("found", False)
        assert flights.do("k", none, lambda: "made", 1) == ("made", True)

    def test_many_who_want_the_same_make_it_once(self, flights: SingleFlight) -> None:
        stored: list[str] = []
        makes: list[int] = []

        def make() -> str:
            makes.append(1)
            until(lambda: waiting(flights, "k") == MANY - 1)
            stored.append("it")
            return "it"

        got = at_once(
            MANY, lambda _: flights.do("k", lambda: stored[0] if stored else None, make, 10)
        )
        assert len(makes) == 1
        assert sorted(got) == [("it", False)] * (MANY - 1) + [("it", True)]  # type: ignore[type-var]  # tuples

    def test_what_was_not_stored_is_shared(self, flights: SingleFlight) -> None:
        store = NullStore()
        makes: list[int] = []

        def make() -> Entry:
            makes.append(1)
            until(lambda: waiting(flights, "k") == MANY - 1)
            return store.put(Key("g", "v", "n"), lambda file: file.write(b"pixels"))

        def ask(_: int) -> bytes:
            entry, _made = flights.do("k", lambda: store.get(Key("g", "v", "n")), make, 10)
            with entry:
                return entry.file.read()

        before = len(os.listdir("/proc/self/fd"))
        assert at_once(MANY, ask) == [b"pixels"] * MANY
        assert len(makes) == 1
        # At the most: what tests before this one left open may be closed meanwhile.
        until(lambda: len(os.listdir("/proc/self/fd")) <= before)

    def test_what_cannot_be_shared_is_made_by_each_in_turn(self, flights: SingleFlight) -> None:
        running: list[int] = []

        def make() -> str:
            running.append(1)
            assert len(running) == 1
            time.sleep(0.001)
            running.pop()
            return "own"

        assert at_once(5, lambda _: flights.do("k", none, make, 10)) == [("own", True)] * 5

    @pytest.mark.parametrize(
        "error",
        [
            NotFound("No such image.", "cause", {"X": "y"}),
            Busy("Busy.", headers={"Retry-After": "7"}),
            SourceChanged(),
            ZeroDivisionError("a bug"),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_a_failure_is_everybodys_once(self, flights: SingleFlight, error: Exception) -> None:
        makes: list[int] = []

        def make() -> str:
            makes.append(1)
            until(lambda: waiting(flights, "k") == MANY - 1)
            raise error

        got = at_once(MANY, lambda _: flights.do("k", none, make, 10))
        assert len(makes) == 1
        assert {(type(one), str(one)) for one in got} == {(type(error), str(error))}
        assert len({id(one) for one in got}) == MANY, "an exception is raised in one thread only"
        if isinstance(error, Busy):
            assert all(one.headers == {"Retry-After": "7"} for one in got)  # type: ignore[attr-defined]  # Busy
        # And it is not remembered.
        assert flights.do("k", none, lambda: "made", 1) == ("made", True)

    def test_an_exception_nobody_can_copy(self, flights: SingleFlight) -> None:
        class Odd(Exception):
            def __init__(self, one: int, two: int) -> None:
                super().__init__("odd")

        def make() -> str:
            until(lambda: waiting(flights, "k") == 1)
            raise Odd(1, 2)

        got = at_once(2, lambda _: flights.do("k", none, make, 10))
        assert sorted(type(one).__name__ for one in got) == ["Odd", "ProxyError"]

    def test_a_maker_that_is_stopped_hands_over(self, flights: SingleFlight) -> None:
        makes: list[int] = []

        def make() -> str:
            makes.append(1)
            if len(makes) == 1:
                until(lambda: waiting(flights, "k") == 2)
                raise SystemExit
            return "made"

        got = at_once(3, lambda _: flights.do("k", none, make, 10))
        assert sum(isinstance(one, SystemExit) for one in got) == 1
        assert [one for one in got if not isinstance(one, SystemExit)] == [("made", True)] * 2

    def test_who_waits_too_long_is_told_when_to_come_again(self, flights: SingleFlight) -> None:
        go = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            maker = pool.submit(flights.do, "k", none, lambda: go.wait(10), 10)
            until(lambda: "k" in flights._flights)
            begun = time.monotonic()
            with pytest.raises(Busy) as caught:
                flights.do("k", none, lambda: True, 0.05)
            assert 0.04 < time.monotonic() - begun < 5
            assert 1 <= int(caught.value.headers["Retry-After"]) <= 120
            go.set()
            assert maker.result() == (True, True)
        assert flights._flights == {}

    def test_other_keys_do_not_wait(self, flights: SingleFlight) -> None:
        go = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            maker = pool.submit(flights.do, "slow", none, lambda: go.wait(10), 10)
            until(lambda: "slow" in flights._flights)
            for number in range(200):
                assert flights.do(f"k{number}", none, lambda: 1, 0) == (1, True)
            go.set()
            assert maker.result() == (True, True)

    def test_flights_nest(self, flights: SingleFlight) -> None:
        def nested(depth: int) -> int:
            if not depth:
                return 0
            return flights.do(f"level {depth}", none, lambda: nested(depth - 1) + 1, 5)[0]

        assert nested(200) == 200


class TestProcesses:
    """Two SingleFlights over one folder are to each other what two processes are."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return tmp_path / "locks"

    def test_the_other_process_finds_what_was_made(self, folder: Path) -> None:
        stored: list[str] = []
        here, there = SingleFlight(folder), SingleFlight(folder)
        holding = threading.Event()

        def slow() -> str:
            holding.set()
            time.sleep(0.05)
            stored.append("it")
            return "it"

        with ThreadPoolExecutor(1) as pool:
            made = pool.submit(here.do, "k", none, slow, 5)
            holding.wait()
            found = there.do("k", lambda: stored[0] if stored else None, lambda: "again", 5)
            assert (made.result(), found) == (("it", True), ("it", False))
        assert list(folder.iterdir()) == [], "no lock file is left"

    def test_its_patience_ends_too(self, folder: Path) -> None:
        here, there = SingleFlight(folder), SingleFlight(folder)
        with pytest.raises(Busy) as caught:
            here.do("k", none, lambda: there.do("k", none, lambda: 1, 0.03), 5)
        assert caught.value.headers["Retry-After"] == "1"
        # A turn that never came is not shared: who is more patient goes on waiting.
        go, holding = threading.Event(), threading.Event()

        def hold() -> bool:
            holding.set()
            return go.wait(10)

        with ThreadPoolExecutor(3) as pool:
            pool.submit(here.do, "k", none, hold, 10)
            assert holding.wait(10)
            hasty = pool.submit(there.do, "k", none, lambda: "hasty", 0.2)
            until(lambda: "k" in there._flights or hasty.done())
            patient = pool.submit(there.do, "k", none, lambda: "patient", 10)
            assert isinstance(hasty.exception(), Busy)
            go.set()
            assert patient.result() == ("patient", True)

    def test_a_lock_file_that_was_removed_locks_nothing(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Who waited for a file that its holder removed must not meet who made a new one."""
        first, waiter, third = (KeyLocks(folder) for _ in range(3))
        end = time.monotonic() + 60
        waits, got, go = threading.Event(), threading.Event(), threading.Event()
        wait = locks._wait

        def slowly(descriptor: int, *rest: Any) -> None:
            if threading.current_thread() is thread and not got.is_set():
                waits.set()
                wait(descriptor, *rest)
                got.set()
                assert go.wait(10)
            else:
                wait(descriptor, *rest)

        inside: list[str] = []

        def hold() -> None:
            with waiter.hold("k", end, Recent()):
                inside.append("waiter")

        monkeypatch.setattr(locks, "_wait", slowly)
        thread = threading.Thread(target=hold)
        with first.hold("k", end, Recent()):
            thread.start()
            assert waits.wait(10)
        assert got.wait(10)
        with third.hold("k", end, Recent()):
            go.set()
            time.sleep(0.05)
            assert inside == []
        thread.join()
        assert inside == ["waiter"]

    def test_the_lock_file_of_another_is_left(self, folder: Path) -> None:
        first, second, third = (KeyLocks(folder) for _ in range(3))
        end = time.monotonic() + 60
        with contextlib.ExitStack() as stack:
            with first.hold("k", end, Recent()):
                for lock in folder.iterdir():
                    lock.unlink()
                stack.enter_context(second.hold("k", end, Recent()))
            with pytest.raises(Busy), third.hold("k", time.monotonic(), Recent()):
                pass

    def test_locks_that_cannot_be_are_done_without(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        flights = SingleFlight(tmp_path / "file" / "locks")
        assert flights.do("k", none, lambda: "made", 1) == ("made", True)

    def test_the_folder_may_vanish(self, folder: Path) -> None:
        flights = SingleFlight(folder)

        def make() -> str:
            for lock in folder.iterdir():
                lock.unlink()
            folder.rmdir()
            return "made"

        assert flights.do("k", none, make, 1) == ("made", True)
        assert flights.do("k", none, lambda: "again", 1) == ("again", True)

    def test_locks_of_killed_makers_are_tidied(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(locks, "TIDY_EVERY", 3)
        folder.mkdir()
        for name in ("old", "held", "new"):
            (folder / name).touch()
        for name in ("old", "held"):
            os.utime(folder / name, (1, 1))
        import fcntl

        with open(folder / "held") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            flights = SingleFlight(folder)
            for number in range(3):
                flights.do(str(number), none, lambda: 1, 1)
            assert sorted(path.name for path in folder.iterdir()) == ["held", "new"]

    def test_nothing_is_made_twice_at_once_by_processes_and_threads(self, tmp_path: Path) -> None:
        script = """
import os, random, sys, threading, time
from pathlib import Path
from typing import Any
from iiif_proxy.concurrency import SingleFlight
folder = Path(sys.argv[1])
flights = SingleFlight(folder / "locks")
def ask(key):
    path = folder / key
    def make():
        with open(folder / "makes", "ab", buffering=0) as makes:
            makes.write(key.encode() + b"\\n")
        time.sleep(random.random() / 200)
        path.touch()
        return True
    flights.do(key, lambda: path.exists() or None, make, 20)
def work():
    keys = [f"key{n}" for n in range(40)]
    random.shuffle(keys)
    for key in keys:
        ask(key)
for _ in range(2):
    if os.fork() == 0:
        break
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
        command = [sys.executable, "-c", script, str(tmp_path)]
        subprocess.run(command, check=True, timeout=60, cwd=ROOT)
        # (The children may still be at it: each key is in the file before it is there.)
        until(lambda: not list((tmp_path / "locks").iterdir()))
        makes = (tmp_path / "makes").read_text().split()
        assert sorted(makes) == sorted(set(makes))
        assert len(makes) == 40

    def test_a_killed_maker_frees_its_key_at_any_instant(self, folder: Path) -> None:
        script = """
import sys, time
from pathlib import Path
from typing import Any
from iiif_proxy.concurrency import SingleFlight
flights = SingleFlight(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    flights.do("k", lambda: None, lambda: time.sleep(0.0005), 5)
"""
        chance = random.Random(5)
        flights = SingleFlight(folder)
        for _ in range(6):
            command = [sys.executable, "-c", script, str(folder)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as child:
                assert child.stdout is not None
                child.stdout.readline()
                time.sleep(chance.random() / 50)
                child.send_signal(signal.SIGKILL)
                child.wait()
            assert flights.do("k", none, lambda: "made", 1) == ("made", True)
        assert list(folder.iterdir()) == []

    def test_a_child_does_not_keep_the_lock_of_its_dead_parent(self, folder: Path) -> None:
        """A decoding process that was forked in mid-flight must not lock a key for ever."""
        script = """
import os, sys, time
from pathlib import Path
from typing import Any
from iiif_proxy.concurrency import SingleFlight
def make():
    pid = os.fork()
    if pid == 0:
        print(os.getpid(), flush=True)
        time.sleep(30)
        os._exit(0)
    time.sleep(30)
SingleFlight(Path(sys.argv[1])).do("k", lambda: None, make, 5)
"""
        command = [sys.executable, "-c", script, str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as parent:
            assert parent.stdout is not None
            child = int(parent.stdout.readline())
            try:
                flights = SingleFlight(folder)
                with pytest.raises(Busy):
                    flights.do("k", none, lambda: "made", 0.05)
                parent.kill()
                parent.wait()
                assert flights.do("k", none, lambda: "made", 1) == ("made", True)
            finally:
                os.kill(child, signal.SIGKILL)


class TestGate:
    def inside(self, gate: Gate, cost: int, timeout: float = 5) -> "Inside":
        return Inside(gate, cost, timeout)

    def test_no_more_than_the_budget_is_let_in(self) -> None:
        gate = Gate(100, cheap=0)
        chance = random.Random(3)
        costs = [chance.randrange(1, 60) for _ in range(60)]
        most: list[int] = []

        def work(number: int) -> None:
            for cost in costs[number::6]:
                with gate.enter(cost, 10):
                    most.append(gate.used)
                    time.sleep(0.0002)

        assert at_once(6, work) == [None] * 6
        assert 60 < max(most) <= 100
        assert (gate.used, gate.waiting) == (0, 0)

    def test_first_come_first_served(self) -> None:
        gate = Gate(10, cheap=0)
        order: list[int] = []
        first = self.inside(gate, 8)
        # A small one behind a large one does not overtake it.
        others = []
        for number, cost in enumerate([9, 2, 10, 2, 9]):
            others.append(self.inside(gate, cost).note(order, number))
            until(lambda n=number: gate.waiting == n + 1)  # type: ignore[misc]  # bound now
        first.leave()
        for number, other in enumerate(others):
            until(other.is_in)
            assert order[: number + 1] == list(range(number + 1))
            other.leave()
        assert order == [0, 1, 2, 3, 4]

    def test_what_is_above_the_budget_is_let_in_alone(self) -> None:
        gate = Gate(10, cheap=0)
        small = self.inside(gate, 1)
        huge = self.inside(gate, 1000)
        until(lambda: gate.waiting == 1)
        next_one = self.inside(gate, 1)
        until(lambda: gate.waiting == 2)
        small.leave()
        until(huge.is_in)
        assert gate.used == 1000
        assert gate.waiting == 1
        huge.leave()
        until(next_one.is_in)
        next_one.leave()

    def test_cheap_work_never_waits_behind_dear_work(self) -> None:
        gate = Gate(100, cheap=5)
        dear = [self.inside(gate, 75), self.inside(gate, 75), self.inside(gate, 500)]
        until(lambda: gate.waiting == 2)
        for _ in range(100):
            with gate.enter(5, 0):
                pass
        # Yet it has a bound of its own: a quarter.
        cheap = [self.inside(gate, 5) for _ in range(6)]
        until(lambda: gate.waiting == 3)
        assert gate.used == 75 + 25
        for one in (*cheap, *dear):
            until(one.is_in)
            one.leave()
        assert gate.used == 0

    def test_too_long_a_queue_is_refused_at_once(self) -> None:
        gate = Gate(10, cheap=0, longest=2)
        ones = [self.inside(gate, 10) for _ in range(3)]
        until(lambda: gate.waiting == 2)
        begun = time.monotonic()
        with pytest.raises(Busy) as caught, gate.enter(1, 10):
            pass
        assert time.monotonic() - begun < 10
        assert caught.value.headers["Retry-After"] == "1"
        for one in ones:
            until(one.is_in)
            one.leave()

    def test_who_gives_up_lets_the_next_one_in(self) -> None:
        gate = Gate(10, cheap=0)
        first = self.inside(gate, 5)
        hasty = self.inside(gate, 10, timeout=0.03)
        until(lambda: gate.waiting == 1)
        behind = self.inside(gate, 5)
        until(lambda: isinstance(hasty.error, Busy))
        until(behind.is_in)
        first.leave()
        behind.leave()
        assert (gate.used, gate.waiting) == (0, 0)

    def test_retry_after_is_what_the_queue_will_take(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = [1000.0]
        gate = Gate(100, cheap=0)
        monkeypatch.setattr(time, "monotonic", lambda: now[0])
        for _ in range(20):  # 10 pixels take 2 s.
            with gate.enter(10, 0):
                now[0] += 2.0
        # 100 pixels inside in two, 100 more in the queue: 200 pixels, 40 s of work, two abreast.
        inside = [self.inside(gate, 50), self.inside(gate, 50)]
        queue = self.inside(gate, 100, timeout=20)
        monkeypatch.undo()
        until(lambda: gate.waiting == 1)
        with pytest.raises(Busy) as caught, gate.enter(10, 0.01):
            pass
        assert caught.value.headers["Retry-After"] == "20"
        for one in (*inside, queue):
            until(one.is_in)
            one.leave()

    def test_before_anything_is_known_the_wait_itself_is_said(self) -> None:
        gate = Gate(10, cheap=0)
        with gate.enter(10, 0), pytest.raises(Busy) as caught, gate.enter(1, 0.02):
            pass
        assert caught.value.headers["Retry-After"] == "1"

    def test_an_error_inside_gives_the_budget_back(self) -> None:
        gate = Gate(10)
        with pytest.raises(OriginFailed), gate.enter(10, 0):
            raise OriginFailed("It failed.")
        assert gate.used == 0


class Inside:
    """A thread that enters a gate and stays until it is told to leave."""

    def __init__(self, gate: Gate, cost: int, timeout: float) -> None:
        self._gate, self._cost, self._timeout = gate, cost, timeout
        self._in, self._go = threading.Event(), threading.Event()
        self._order: tuple[list[int], int] | None = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        before = gate.used + gate.waiting
        self._thread.start()
        until(lambda: gate.used + gate.waiting != before or self.error is not None)

    def _run(self) -> None:
        try:
            with self._gate.enter(self._cost, self._timeout):
                if self._order:
                    self._order[0].append(self._order[1])
                self._in.set()
                self._go.wait(10)
        except BaseException as error:
            self.error = error

    def note(self, order: list[int], number: int) -> "Inside":
        self._order = (order, number)
        return self

    def is_in(self) -> bool:
        return self._in.is_set()

    def leave(self) -> None:
        self._go.set()
        self._thread.join()


# A place that is kept, and what exceeds the budget


def test_a_place_is_kept_to_the_end_of_the_work() -> None:
    gate = Gate(100, cheap=0)
    with Place(gate, extra=10) as place:
        with place.enter(50, 1):
            pass
        assert gate.used == 60
        with place.enter(20, 1):
            assert gate.used == 30, "the one before is given up first"
    assert gate.used == 0


def test_a_place_that_is_refused_holds_nothing() -> None:
    gate = Gate(100, cheap=0)
    with gate.enter(100, 1), Place(gate) as place, pytest.raises(Busy), place.enter(50, 0.01):
        pass
    assert gate.used == 0


def test_one_on_the_machine_may_exceed_the_budget(tmp_path: Path) -> None:
    """Two gates are two processes here: flock is by open file."""
    one, other = (Gate(100, cheap=0, locks=KeyLocks(tmp_path)) for _ in range(2))
    with one.enter(101, 1):
        with other.enter(100, 0.05):
            pass
        with pytest.raises(Busy) as refused, other.enter(101, 0.05):
            pass
        assert int(refused.value.headers["Retry-After"]) > 0
        assert other.used == 0
    with other.enter(101, 5):
        pass
