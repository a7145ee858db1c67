"""No queue in front of an origin that does not answer."""

import logging
import os
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from cachetools import LRUCache

from iiif_proxy.errors import OriginFailed, OriginTimeout

log = logging.getLogger(__name__)

# So many in a row that were not answered, and one asks for all.
SILENCES = 3
# What fails sooner holds nobody up: it is no silence.
SLOW = 1.0
HOSTS = 1000


class Others(Protocol):
    """What other machines have found out."""

    def silent(self, host: str) -> bool: ...

    def tell(self, host: str, silent: bool) -> None: ...


class Circuit:
    """One origin, as far as this process has heard of it.

    After `SILENCES` requests in a row that nobody answered in time, one at a time goes on asking;
    who comes meanwhile is refused at once (OriginTimeout) and holds no thread. There is no clock
    in it: the first answer, whatever it says, lets everybody in, and whoever asks alone is never
    refused. `refused` is called for each refusal, `changed` when it falls silent or answers again.
    One silence is enough where `others` have found it silent.
    """

    def __init__(
        self,
        host: str,
        refused: Callable[[], None] = lambda: None,
        changed: Callable[[bool], None] = lambda silent: None,
        others: Others | None = None,
    ) -> None:
        self.host = host
        self._refused, self._changed = refused, changed
        self._others = others
        self._silences = 0
        self._asking: int | None = None  # The process that does.
        self._lock = threading.Lock()

    @property
    def silent(self) -> bool:
        return self._silences >= SILENCES

    def turn(self) -> "Turn":
        """A request to the origin, as a context manager around it until its answer begins.

        Raises OriginTimeout with Retry-After.
        """
        # Without the lock where all is well: a turn too many does no harm.
        if self._silences < SILENCES:
            return Turn(self, False)
        with self._lock:
            if self._asking == os.getpid():
                self._refused()
                raise OriginTimeout(
                    "The origin has not answered for a while.",
                    self.host,
                    {"Retry-After": "5"},
                )
            self._asking = os.getpid()
        return Turn(self, True)

    def ended(self, alone: bool, silence: bool, answered: bool) -> None:
        if answered and not self._silences:
            return
        known = self._others is not None and silence and self._others.silent(self.host)
        with self._lock:
            before = self.silent
            if answered:
                self._silences = 0
            elif silence:
                self._silences = max(self._silences + 1, SILENCES if known else 0)
            if alone:
                self._asking = None
            now = self.silent
        if now != before:
            said = "does not answer: one request at a time asks it" if now else "answers again"
            log.warning("origin %s %s", self.host, said)
            self._changed(now)
            if self._others is not None:
                self._others.tell(self.host, now)


class Turn:
    """What became of one request."""

    __slots__ = ("_alone", "_begun", "_circuit")

    def __init__(self, circuit: Circuit, alone: bool) -> None:
        self._circuit, self._alone = circuit, alone

    def __enter__(self) -> None:
        self._begun = time.monotonic()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        slow = time.monotonic() - self._begun >= SLOW
        silence = isinstance(error, OriginTimeout) or (isinstance(error, OriginFailed) and slow)
        self._circuit.ended(self._alone, silence, error is None)


class Circuits:
    """Those of all hosts that this process asks, by `host:port`."""

    def __init__(
        self,
        refused: Callable[[], None] = lambda: None,
        changed: Callable[[bool], None] = lambda silent: None,
        others: Others | None = None,
    ) -> None:
        self._all: LRUCache[str, Circuit] = LRUCache(HOSTS)
        self._told = (refused, changed, others)
        self._lock = threading.Lock()

    def of(self, host: str, port: int) -> Circuit:
        name = f"{host}:{port}"
        with self._lock:
            found = self._all.get(name)
            if found is None:
                found = self._all[name] = Circuit(name, *self._told)
        return found
