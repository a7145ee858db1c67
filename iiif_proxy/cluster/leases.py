"""One machine makes what several want at once; the others wait for it, if it is alive."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from secrets import token_hex
from typing import TypeVar

from iiif_proxy.cluster.link import PREFIX, Away, Link

T = TypeVar("T")

# Seconds: a lease whose holder died is free after the first; it is renewed thrice in that time.
LASTS = 6.0
# What was made takes a moment to where all machines find it.
MADE, ON_ITS_WAY = "made", 3.0
POLL, LONGEST = 0.05, 0.5
TAKE = """
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return false end
return redis.call('GET', KEYS[1])
"""
RENEW = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
"""
LEAVE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return end
if ARGV[2] == '0' then redis.call('DEL', KEYS[1])
else redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[2]) end
"""


class Leases:
    """Single flight among machines. While Redis is away everybody makes their own."""

    def __init__(self, link: Link, lasts: float = LASTS) -> None:
        self._link = link
        self._lasts = lasts

    def first(
        self, name: str, find: Callable[[], T | None], make: Callable[[], T], timeout: float
    ) -> T:
        """What `make` makes, or what `find` finds once another machine has made it.

        Whoever has waited for `timeout` seconds makes it as well.
        """
        end = time.monotonic() + timeout
        token, waited, pause = token_hex(8), False, POLL
        try:
            while (other := self._take(name, token)) is not None:
                # Asked for only when it may be there: another's store is not ours to poll.
                found = find() if other == MADE else None
                if found is not None:
                    return found
                if time.monotonic() > end:
                    return make()
                waited = True
                time.sleep(pause)
                pause = min(2 * pause, LONGEST) if other == MADE else POLL
        except Away:
            return make()
        with self._held(name, token) as done:
            # Who had it may have failed, died, or been quicker than our next look.
            found = find() if waited else None
            if found is None:
                found = make()
                done()
            return found

    def _take(self, name: str, token: str) -> str | None:
        """None: it is ours; else whose it is, or MADE. Raises Away."""
        milliseconds = str(int(self._lasts * 1000))
        found = self._link.do(lambda redis: redis.eval(TAKE, 1, _key(name), token, milliseconds))
        return None if found is None else str(found)

    @contextlib.contextmanager
    def _held(self, name: str, token: str) -> Iterator[Callable[[], None]]:
        """Renewed until this is left; what is called says that it was made."""
        over = threading.Event()
        made = [False]

        def renew() -> None:
            milliseconds = str(int(self._lasts * 1000))
            while not over.wait(self._lasts / 3):
                with contextlib.suppress(Away):
                    self._link.do(
                        lambda redis: redis.eval(RENEW, 1, _key(name), token, milliseconds)
                    )

        def done() -> None:
            made[0] = True

        threading.Thread(target=renew, daemon=True, name="lease").start()
        try:
            yield done
        finally:
            over.set()
            stays = str(int(ON_ITS_WAY * 1000)) if made[0] else "0"
            with contextlib.suppress(Away):
                self._link.do(lambda redis: redis.eval(LEAVE, 1, _key(name), token, stays, MADE))


def _key(name: str) -> str:
    return f"{PREFIX}lease:{name}"
