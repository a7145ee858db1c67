"""All sessions of this machine, within one bound."""

import base64
import contextlib
import fcntl
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from cachetools import LRUCache

from iiif_proxy.errors import Busy
from iiif_proxy.imaging.decode import fill
from iiif_proxy.imaging.levels import (
    CLOSED,
    POLL,
    SETTLED,
    Levels,
    LevelsLost,
    Shape,
    open_memory,
    shape_of,
)
from iiif_proxy.imaging.look import DEFAULT, Look
from iiif_proxy.imaging.session import Facts, Session
from iiif_proxy.imaging.tiff import Tiff

log = logging.getLogger(__name__)
TEND_EVERY = 1.0
TIFFS = 32
COUNTED = 4096
NICE = 5
MOST_SAID = 4 << 20


@dataclass(frozen=True, slots=True)
class Start:
    """What a session begins with: the size and mode to keep, and `decode`, which writes the finest
    level (`decode.fill`). `close` is called when all is done, or nothing came of it. `room` lets
    the decoding in.
    """

    size: tuple[int, int]
    mode: str
    facts: Facts
    decode: Callable[[Levels], None]
    close: Callable[[], None] = lambda: None
    room: Callable[[], AbstractContextManager[None]] = nullcontext


class Sessions:
    """Sessions by key (a source's fingerprint); `folder` is shared with the other processes.

    `budget` bounds the bytes of all of them on this machine: the least recently used ends. What
    does not fit alone is not opened (`fits`). Without a folder each process is on its own.
    """

    def __init__(self, folder: Path | None, budget: int, look: Look = DEFAULT) -> None:
        self._folder = folder if folder is not None and Path("/proc/self/fd").exists() else None
        self._budget = budget
        self._look = look
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}
        self._tender: threading.Thread | None = None
        self._tiffs: LRUCache[str, Tiff] = LRUCache(TIFFS)
        self._asked: LRUCache[str, int] = LRUCache(COUNTED)

    def tiff(self, key: str, start: Callable[[], Tiff]) -> Tiff:
        """An opened tiled TIFF: its directories are read once, its tiles when they are asked."""
        with self._lock:
            found = self._tiffs.get(key)
        if found is None:
            found = start()
            self.keep_tiff(key, found)
        return found

    def keep_tiff(self, key: str, tiff: Tiff) -> None:
        """For who asks for it next."""
        with self._lock:
            self._tiffs[key] = tiff

    def asked(self, key: str) -> int:
        """Count a part of a source that is not open; how many that makes."""
        with self._lock:
            self._asked[key] = self._asked.get(key, 0) + 1
            return self._asked[key]

    def fits(self, width: int, height: int) -> bool:
        return shape_of(width, height, "RGB").total <= self._budget

    def get(self, key: str) -> Session | None:
        """A session that this process knows already."""
        session = self._sessions.get(key)
        if session is not None and not session.alive:
            self.drop(key, session)
            return None
        return session

    def open(
        self, key: str, start: Callable[[], Start], timeout: float, anew: bool = False
    ) -> tuple[Session, bool]:
        """The session of a source, and whether it was begun by this call.

        With `anew` a neighbour's is not enough: it has given back what is needed.
        """
        end = time.monotonic() + timeout
        while True:
            with self._lock:
                session = self.get(key)
                begun = False
                if session is None:
                    session, begun = self._attach_or_begin(key, start, anew)
                    if session is not None:
                        self._sessions[key] = session
                        self._tend()
            if session is not None:
                return session, begun
            if time.monotonic() > end:
                raise Busy("The image is not decoded yet.", headers={"Retry-After": "1"})
            time.sleep(POLL)

    def drop(self, key: str, session: Session) -> None:
        if self._sessions.get(key) is session:
            self._sessions.pop(key, None)
        session.close()

    def bytes(self) -> int:
        """What this process's own sessions hold."""
        return sum(s.held_bytes() for s in list(self._sessions.values()) if s.mine)

    def close(self) -> None:
        """End all of this process's sessions."""
        for key, session in list(self._sessions.items()):
            self.drop(key, session)

    def _attach_or_begin(
        self, key: str, start: Callable[[], Start], anew: bool
    ) -> tuple[Session | None, bool]:
        """(None, False): a neighbour has just begun, and has not said where yet."""
        lock = None
        if self._folder is not None:
            with contextlib.suppress(OSError):
                self._folder.mkdir(parents=True, exist_ok=True)
                lock = os.open(self._folder / f"{key}.session", os.O_RDWR | os.O_CREAT, 0o600)
        if lock is not None and not _locked(lock):
            if anew:
                os.close(lock)
                return self._begin(start, None), True
            try:
                return self._attach(lock), False
            except LevelsLost:
                lock = None
            finally:
                if lock is not None:
                    os.close(lock)
        return self._begin(start, lock), True

    def _attach(self, lock: int) -> Session | None:
        """What the holder of the lock has written into it says where its memory is."""
        said = _said(lock)
        if said is None:
            return None
        try:
            shape = Shape(said["width"], said["height"], said["mode"], tuple(said["factors"]))
            address = {int(factor): number for factor, number in said["address"].items()}
            profile = base64.b64decode(said["profile"]) if said["profile"] else None
            levels = Levels.attach(shape, said["token"], said["pid"], address)
        except OSError as cause:
            log.warning("a neighbour's session cannot be shared: %s", cause)
            os.close(lock)
            raise LevelsLost from cause
        session = Session(
            levels, Facts(said["orientation"], profile), said["pid"], None, self._look
        )
        session.release()
        return session

    def _begin(self, start: Callable[[], Start], lock: int | None) -> Session:
        try:
            begin = start()
            shape = shape_of(*begin.size, begin.mode)
            self._make_room(shape.total)
            levels = Levels.create(shape)
            if lock is not None:
                os.ftruncate(lock, 0)
                os.pwrite(lock, _saying(levels, begin.facts), 0)
        except BaseException:
            if lock is not None:
                os.close(lock)
            raise
        linear = self._look.scaling.linear
        threading.Thread(target=_fill, args=(levels, begin, linear), daemon=True).start()
        return Session(levels, begin.facts, os.getpid(), lock, self._look)

    def _make_room(self, wanted: int) -> None:
        """End the least recently used: this process's first, then the neighbours'."""
        own = sorted(
            ((s.used, key, s) for key, s in self._sessions.items() if s.mine),
            key=lambda item: item[0],
        )
        neighbours = list(self._neighbours())
        total = sum(said["bytes"] for said in neighbours) + sum(s.held_bytes() for *_, s in own)
        for _, key, session in own:
            if total + wanted <= self._budget:
                return
            total -= session.held_bytes()
            self.drop(key, session)
        for said in neighbours:
            if total + wanted <= self._budget:
                return
            total -= said["bytes"]
            # Its owner sees it within a second (`_tend`) and lets go.
            with contextlib.suppress(OSError), _header_of(said) as header:
                header.write(CLOSED.to_bytes(8, "little"))

    def _neighbours(self) -> Iterator[dict[str, Any]]:
        """What other processes hold, the oldest first."""
        if self._folder is None:
            return
        found = []
        with contextlib.suppress(OSError):
            found = sorted(self._folder.glob("*.session"), key=lambda path: path.stat().st_mtime)
        for path in found:
            with contextlib.suppress(OSError):
                lock = os.open(path, os.O_RDWR)
                try:
                    if _locked(lock):
                        path.unlink()
                        continue
                    said = _said(lock)
                finally:
                    os.close(lock)
                if said is not None and said["pid"] != os.getpid():
                    with _header_of(said) as header:
                        state = int.from_bytes(header.read(8), "little")
                    said["bytes"] = said["settled"] if state == SETTLED else said["total"]
                    yield said

    def _tend(self) -> None:
        """Follow the states that others set, as long as there is a session."""
        if self._tender is None or not self._tender.is_alive():
            self._tender = threading.Thread(target=self._tending, daemon=True)
            self._tender.start()

    def _tending(self) -> None:
        while True:
            time.sleep(TEND_EVERY)
            for key, session in list(self._sessions.items()):
                session.release()
                if not session.alive:
                    self.drop(key, session)


def _fill(levels: Levels, begin: Start, linear: bool) -> None:
    # Behind requests that need the processor for less.
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
    try:
        with begin.room():
            fill(levels, begin.decode, linear)
    except (Busy, LevelsLost):
        # Who waits for it finds out by itself that there is no room, or no more.
        levels.state = CLOSED
    except Exception as cause:
        log.warning("a session ended: %s", cause)
    finally:
        begin.close()


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _saying(levels: Levels, facts: Facts) -> bytes:
    shape = levels.shape
    coarse = [factor for factor in shape.factors if max(shape.size(factor)) <= 3000]
    return json.dumps(
        {
            "pid": os.getpid(),
            "token": levels.token,
            "width": shape.width,
            "height": shape.height,
            "mode": shape.mode,
            "factors": shape.factors,
            "address": levels.address(),
            "orientation": facts.orientation,
            "profile": base64.b64encode(facts.profile or b"").decode(),
            "total": shape.total,
            "settled": sum(shape.bytes(factor) for factor in coarse),
        }
    ).encode()


def _header_of(said: dict[str, Any]) -> BinaryIO:
    descriptor = open_memory(said["pid"], said["address"]["0"], said["token"], 0)
    return open(descriptor, "r+b", buffering=0)


def _said(lock: int) -> dict[str, Any] | None:
    try:
        found = json.loads(os.pread(lock, MOST_SAID, 0))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
