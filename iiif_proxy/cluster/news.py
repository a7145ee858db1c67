"""What one machine tells all others: written down first, heard by each that was away too."""

import contextlib
import fcntl
import json
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from secrets import token_hex
from typing import Any

from iiif_proxy.cluster.link import PREFIX, Away, Link

log = logging.getLogger(__name__)

STREAM, NUMBER = PREFIX + "news", PREFIX + "news:number"
# News that Redis keeps, about: a machine that missed more forgets everything instead.
KEPT = 100_000
# Seconds: a listening call, and between two tries while Redis is away.
WAIT, AGAIN, UNSENT = 1.0, 1.0, 3.0
TOGETHER = 500
DIGITS = 20
# Numbered without a gap, so that who was away knows whether anything is missing. (A Redis that may
# evict any key can lose the number and keep the news: it goes on behind the last.)
TELL = """
local number = redis.call('INCR', KEYS[2])
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
last = last and tonumber(string.match(last[1], '^%d+')) or 0
if number <= last then
    number = last + 1
    redis.call('SET', KEYS[2], number)
end
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], number .. '-0', 'news', ARGV[2])
return number
"""


class News:
    """News of some kinds, each with what is done about it on every other machine.

    `folder` is what the processes of one machine share. In it stands which machine this is, how
    far it has heard, and what it could not tell yet.
    """

    def __init__(self, link: Link, folder: Path) -> None:
        self._link = link
        self._folder = folder
        self._unsent = folder / "unsent"
        self._unsent.mkdir(parents=True, exist_ok=True)
        self._machine = _machine(folder / "machine")
        self._heard: Mapping[str, Callable[[str], object]] = {}
        self._missed: Callable[[], object] = lambda: None
        self._lost: Callable[[], object] = lambda: None
        self._closed = False

    def listen(
        self,
        heard: Mapping[str, Callable[[str], object]],
        missed: Callable[[], object],
        lost: Callable[[], object],
    ) -> None:
        """From now on: `heard` by kind, for each of the news in order, once a machine; `missed`
        where this machine was away and nobody knows any more what was told, `lost` where Redis has
        forgotten what it was told, most of which will have been heard."""
        self._heard, self._missed, self._lost = heard, missed, lost
        self.after_fork()
        _all.add(self)

    def after_fork(self) -> None:
        """In a child: the thread is the parent's."""
        threading.Thread(
            target=_listening, args=(weakref.ref(self), self._link), daemon=True, name="news"
        ).start()

    def close(self) -> None:
        """Hear no more, a second from now at the latest."""
        self._closed = True

    def tell(self, kind: str, what: str) -> None:
        """To all other machines: at once, or when Redis answers again."""
        said = json.dumps({"kind": kind, "what": what, "by": self._machine})
        path = self._unsent / f"{time.time_ns():0{DIGITS}}-{token_hex(4)}"
        with contextlib.suppress(OSError):  # A full disk: then at once or not at all.
            fresh = path.with_name(f".{path.name}")
            fresh.write_text(said)
            fresh.rename(path)
        with contextlib.suppress(Away):
            self._send(said, path)

    def _send(self, said: str, path: Path) -> None:
        self._link.do(lambda redis: redis.eval(TELL, 2, STREAM, NUMBER, str(KEPT), said))
        path.unlink(missing_ok=True)

    # Hearing

    def send_rest(self) -> None:
        """What could not be told before; twice is no harm, so no lock is held. Raises Away."""
        now = time.time_ns()
        for name in sorted(os.listdir(self._unsent)):
            path = self._unsent / name
            # What is younger is being sent.
            if not name.startswith(".") and now - int(name[:DIGITS]) > UNSENT * 1e9:
                with contextlib.suppress(FileNotFoundError):
                    self._send(path.read_text(), path)

    def begin(self, redis: Any) -> int:
        """The number of what this machine heard last; 0 was before all. Raises Away."""
        with self._place() as place:
            before = place.number
        try:
            # Asked only now: what another process of this machine hears meanwhile is told after it.
            told = self._told(redis)
        except Away:
            if before is None:
                self._hear_all()
            raise
        with self._place() as place:
            if place.number is None:
                place.number = told  # A new machine has nothing to forget.
            elif place.number == before and before > told:
                log.warning("Redis has lost what it was told: news from before may be missing")
                self._lost()
                place.number = 0
            return place.number

    def _hear_all(self) -> None:
        """A new machine that cannot ask stores images, which others may purge before it can."""
        with self._place() as place:
            if place.number is None:
                place.number = 0

    def _told(self, redis: Any) -> int:
        """The number of the last news of all. Raises Away."""
        return int(redis(lambda client: client.get(NUMBER)) or 0)

    def hear(self, redis: Any, after: int) -> int:
        """Wait for news, do what they say, and the number of the last. Raises Away."""
        found = redis(
            lambda client: client.xread({STREAM: f"{after}-0"}, TOGETHER, int(WAIT * 1000))
        )
        if not found and self._told(redis) < after:
            # Emptied (FLUSHALL), or another in its place, without a break in the connection.
            return self.begin(redis)
        for name, fields in (found or [(STREAM, [])])[0][1]:
            number = int(name.partition("-")[0])
            with self._place() as place:
                # Nobody else of this machine hears meanwhile; what another did is done.
                if place.number is None or number > place.number:
                    self._do(number, place.number, fields)
                    place.number = number
            after = number
        return after

    def _do(self, number: int, before: int | None, fields: Mapping[str, str]) -> None:
        if number != (before or 0) + 1:
            log.warning("%d news were missed: everything is forgotten", number - (before or 0) - 1)
            self._missed()
        with contextlib.suppress(ValueError, KeyError, TypeError):
            said = json.loads(fields["news"])
            if said["by"] != self._machine and said["kind"] in self._heard:
                self._heed(said["kind"], said["what"])

    def _heed(self, kind: str, what: str) -> None:
        try:
            self._heard[kind](what)
        except Exception:  # One that fails does not hold up all others.
            log.exception("what another machine told could not be done: %s", kind)

    @contextlib.contextmanager
    def _place(self) -> Iterator["_Place"]:
        """How far this machine has heard, for one process at a time."""
        descriptor = os.open(self._folder / "heard", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            text = os.read(descriptor, DIGITS)
            place = _Place(int(text) if text else None)
            before = place.number
            yield place
            if place.number not in (before, None):
                # In one write of always the same length: it is never half there.
                os.pwrite(descriptor, f"{place.number:0{DIGITS}}".encode(), 0)
        finally:
            os.close(descriptor)


class _Place:
    def __init__(self, number: int | None) -> None:
        self.number = number


def _listening(of: "weakref.ref[News]", link: Link) -> None:
    """Until the News are closed, or nobody has them any more."""
    redis = link.listener(WAIT)
    after: int | None = None
    while (news := of()) is not None and not news._closed:
        try:
            news.send_rest()
            after = news.begin(redis) if after is None else news.hear(redis, after)
        except Away:
            after = None
        except Exception:
            log.exception("news could not be heard")
            after = None
        del news
        if after is None:
            time.sleep(AGAIN)


def _machine(path: Path) -> str:
    """Which machine this is: made up by the first process."""
    fresh = path.with_name(f".machine-{token_hex(8)}")
    with contextlib.suppress(FileExistsError):
        fresh.write_text(token_hex(8))
        os.link(fresh, path)
    fresh.unlink(missing_ok=True)
    return path.read_text()


_all: "weakref.WeakSet[News]" = weakref.WeakSet()


def _after_fork() -> None:
    for news in list(_all):
        news.after_fork()


os.register_at_fork(after_in_child=_after_fork)
