"""What many want at once is made once."""

import contextlib
import copy
import os
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar, runtime_checkable

from iiif_proxy.concurrency.locks import KeyLocks
from iiif_proxy.concurrency.recent import Recent, busy
from iiif_proxy.errors import ProxyError

T = TypeVar("T")


@runtime_checkable
class Shareable(Protocol):
    """A value that several may use and close on their own (an `Entry`)."""

    def share(self) -> Self: ...

    def close(self) -> None: ...


class _Flight:
    """One making of one key in this process; `event` is set when it has landed."""

    __slots__ = ("error", "event", "value", "waiting")

    def __init__(self) -> None:
        self.event = threading.Event()
        self.waiting = 0
        self.value: Any = None
        self.error: Exception | None = None


class SingleFlight:
    """Let one make what many want, across threads and (with a `folder`) processes.

    Threads of one process wait for each other; one of them competes with the other processes for
    the lock of the key (`locks`). Different keys never wait for each other, so flights may be
    nested as long as the keys themselves have an order (a derivative's may start a source's).

    Who waited in the same process gets, in this order: the exception of the maker (a copy: a
    failing source meets no herd, and a poisonous image is decoded once for all of them), what
    `find` finds, a share of the maker's value if it is Shareable (nothing was stored), or else a
    turn of its own.

    If the disk refuses locks, each process makes its own.
    """

    def __init__(self, folder: Path | None) -> None:
        self._locks = None if folder is None else KeyLocks(folder)
        self._lock = threading.Lock()
        self._flights: dict[str, _Flight] = {}
        self._took = Recent()
        _all.add(self)

    def do(
        self, key: str, find: Callable[[], T | None], make: Callable[[], T], timeout: float
    ) -> tuple[T, bool]:
        """What `find` finds or else `make` makes, and whether it was made by this call.

        `find` is asked again when it is this caller's turn, and now and then until then: a maker
        may have shown what is wanted before it is done. Raises what they raise, and Busy after
        `timeout` seconds of waiting (the making itself is not limited).
        """
        end = time.monotonic() + timeout
        while True:
            with self._lock:
                flight = self._flights.get(key)
                mine = flight is None
                if flight is None:
                    flight = self._flights[key] = _Flight()
                else:
                    flight.waiting += 1
            if mine:
                return self._lead(key, flight, find, make, end)
            value = self._follow(flight, find, end)
            if value is not None:
                return value, False

    def _lead(
        self,
        key: str,
        flight: _Flight,
        find: Callable[[], T | None],
        make: Callable[[], T],
        end: float,
    ) -> tuple[T, bool]:
        try:
            with self._alone(key, end, find) as early:
                try:
                    found = find() if early is None else early
                    if found is not None:
                        return found, False
                    begun = time.monotonic()
                    value = make()
                    self._took.add(time.monotonic() - begun)
                except Exception as error:
                    self._land(key, flight, error=error)
                    raise
                self._land(key, flight, value)
                return value, True
        finally:
            self._land(key, flight)

    def _alone(
        self, key: str, end: float, find: Callable[[], T | None]
    ) -> contextlib.AbstractContextManager[T | None]:
        if self._locks is None:
            return contextlib.nullcontext()
        return self._locks.hold(key, end, self._took, find)

    def _land(
        self, key: str, flight: _Flight, value: object = None, error: Exception | None = None
    ) -> None:
        """From here on nobody joins. The first call counts."""
        with self._lock:
            if flight.event.is_set():
                return
            if self._flights.get(key) is flight:
                del self._flights[key]
            # A copy: the frames of the original hold this flight, and all that was made so far.
            flight.error = None if error is None else again(error)
            if flight.waiting and isinstance(value, Shareable):
                # Shared now: the maker's caller may close its own before they wake up.
                with contextlib.suppress(OSError):
                    flight.value = value.share()
            flight.event.set()

    def _follow(self, flight: _Flight, find: Callable[[], T | None], end: float) -> T | None:
        """What the maker's success or failure means to one who waited; None: start over."""
        try:
            if not flight.event.wait(max(0.0, end - time.monotonic())):
                raise busy(self._took.seconds)
            if flight.error is not None:
                raise again(flight.error)
            value = find()
            if value is None and flight.value is not None:
                with contextlib.suppress(OSError):
                    return flight.value.share()  # type: ignore[no-any-return]  # a share of a T
            return value
        finally:
            with self._lock:
                flight.waiting -= 1
                last = None if flight.waiting else flight.value
                if last is not None:
                    flight.value = None
            if last is not None:
                last.close()

    def after_fork(self) -> None:
        """In a child: the flights under way are the parent's."""
        self._lock = threading.Lock()
        self._flights = {}


def again(error: Exception) -> Exception:
    """A copy: one exception object must not be raised in several threads."""
    if isinstance(error, ProxyError):
        return type(error)(error.public, error.cause, dict(error.headers))
    try:
        return copy.copy(error)
    except Exception:
        return ProxyError("The server could not answer this request.", repr(error))


_all: "weakref.WeakSet[SingleFlight]" = weakref.WeakSet()


def _after_fork() -> None:
    for flights in list(_all):
        flights.after_fork()


os.register_at_fork(after_in_child=_after_fork)
