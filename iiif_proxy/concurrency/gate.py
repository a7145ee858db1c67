"""How much may be decoded at once: a queue in front of memory."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Protocol, Self

from iiif_proxy.concurrency.locks import KeyLocks
from iiif_proxy.concurrency.recent import Recent, busy


class Gate:
    """A budget of decoded pixels for this process, in two lanes.

    `budget`: pixels that may be decoded at once. Work of at most `cheap` pixels has a quarter of
    the budget to itself and never waits behind dearer work, which has the rest (`cheap=0`: one
    lane). In a lane it is first come, first served; who costs more than the lane is let in alone,
    and with `locks`, which the processes of a machine share, one at a time among them all.
    At most `longest` wait in each lane, or `longest_dear` in the dearer: who waits holds a thread.

    Work that holds a place must not ask for another in the same lane.
    """

    def __init__(
        self,
        budget: int,
        *,
        cheap: int = 4_000_000,
        longest: int = 100,
        longest_dear: int | None = None,
        locks: KeyLocks | None = None,
    ) -> None:
        reserved = budget // 4 if cheap else 0
        self._cheap = cheap
        self._locks = locks
        self._lanes = (_Lane(reserved, longest), _Lane(budget - reserved, longest_dear or longest))

    @contextmanager
    def enter(self, cost: int, timeout: float) -> Iterator[None]:
        """Hold `cost` pixels of the budget.

        Raises Busy with Retry-After when the queue is full or the turn has not come in `timeout`
        seconds.
        """
        lane = self._lanes[0 if cost <= self._cheap else 1]
        end = time.monotonic() + timeout
        lane.enter(cost, timeout)
        begun = time.monotonic()
        try:
            with self._alone(lane, cost, end):
                begun = time.monotonic()
                yield
        finally:
            lane.leave(cost, time.monotonic() - begun)

    def _alone(self, lane: "_Lane", cost: int, end: float) -> AbstractContextManager[None]:
        if self._locks is None or cost <= max(lane.budget, self._cheap):
            return nullcontext()
        return self._locks.hold("what exceeds the budget", end, lane.recent)

    @property
    def used(self) -> int:
        """Pixels that are let in now."""
        return sum(lane.used for lane in self._lanes)

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return sum(len(lane.queue) for lane in self._lanes)


class Gated(Protocol):
    """A Gate, or what stands before one."""

    def enter(self, cost: int, timeout: float) -> AbstractContextManager[None]: ...


class Place:
    """A gate for one piece of work, as a context manager around all of it.

    What it was let in for last it keeps to its end: pixels that were decoded are still there while
    they are turned and encoded. `extra` is what that takes beside, in pixels.
    """

    def __init__(self, gate: Gated, extra: int = 0) -> None:
        self._gate = gate
        self._extra = extra
        self._held = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    @contextmanager
    def enter(self, cost: int, timeout: float) -> Iterator[None]:
        """As Gate has it, but it is not left where this ends."""
        self._held.close()
        self._held.enter_context(self._gate.enter(cost + self._extra, timeout))
        yield


class _Turn:
    __slots__ = ("come", "cost")

    def __init__(self, cost: int) -> None:
        self.cost = cost
        self.come = threading.Event()


class _Lane:
    def __init__(self, budget: int, longest: int) -> None:
        self.budget = budget
        self._longest = longest
        self._lock = threading.Lock()
        self._running = 0
        self.recent = Recent()
        self.used = 0
        self.queue: deque[_Turn] = deque()

    def enter(self, cost: int, timeout: float) -> None:
        with self._lock:
            if not self.queue and self._fits(cost):
                self._admit(cost)
                return
            if len(self.queue) >= self._longest:
                raise busy(self._seconds_ahead())
            turn = _Turn(cost)
            self.queue.append(turn)
        try:
            turn.come.wait(timeout)
        except BaseException:
            with self._lock:
                self._give_up(turn)
            raise
        with self._lock:
            if turn.come.is_set():
                return
            self._give_up(turn)
            raise busy(self._seconds_ahead() or timeout)

    def _give_up(self, turn: _Turn) -> None:
        if turn.come.is_set():
            self._running -= 1
            self.used -= turn.cost
        else:
            self.queue.remove(turn)
        self._next()

    def leave(self, cost: int, seconds: float) -> None:
        with self._lock:
            self.recent.add(seconds, max(cost, 1))
            self._running -= 1
            self.used -= cost
            self._next()

    def _fits(self, cost: int) -> bool:
        return not self._running or self.used + cost <= self.budget

    def _admit(self, cost: int) -> None:
        self._running += 1
        self.used += cost

    def _next(self) -> None:
        while self.queue and self._fits(self.queue[0].cost):
            turn = self.queue.popleft()
            self._admit(turn.cost)
            turn.come.set()

    def _seconds_ahead(self) -> float:
        """How long what is here now will take: pixels, by seconds per pixel and how many abreast.

        0 while nothing is known, because nothing has been finished.
        """
        if not self.recent.cost:
            return 0.0
        pixels = self.used + sum(turn.cost for turn in self.queue)
        return pixels * self.recent.seconds / self.recent.cost / max(1, self._running)
