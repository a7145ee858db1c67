"""A way to Redis that never holds up a reader."""

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from redis import Redis

log = logging.getLogger(__name__)
T = TypeVar("T")

# Seconds. Who asks waits for the first two at most, and nobody within the pause after a failure.
CONNECT_TIMEOUT, TIMEOUT, PAUSE = 0.5, 1.0, 5.0
# Before the names of all keys: of one database, one set of machines.
PREFIX = "iiif-proxy:"


class Away(Exception):
    """Redis does not answer, or did not a moment ago."""


class Link:
    """Redis at a URL (`redis://`, `rediss://`, `unix://`). Raises ImportError without the library,
    ValueError for another URL.

    After a failure nothing is sent for `pause` seconds; meanwhile `do` raises Away at once.
    """

    def __init__(self, url: str, *, pause: float = PAUSE) -> None:
        import redis

        self._failures = (redis.RedisError, OSError)
        self._pause = pause
        self._until = 0.0
        self.fault = ""
        self._make: Callable[[float], Redis] = lambda timeout: _client(url, timeout)
        self._client = self._make(TIMEOUT)

    @property
    def away(self) -> bool:
        return bool(self.fault)

    def do(self, call: "Callable[[Redis], T]") -> T:
        """What the call gives. Raises Away."""
        if self._until and time.monotonic() < self._until:
            raise Away(self.fault)
        return self._tried(call, self._client)

    def listener(self, wait: float) -> "Callable[[Callable[[Redis], T]], T]":
        """`do` by a connection of its own, for calls that wait so many seconds for an answer."""
        client = self._make(TIMEOUT + wait)
        return lambda call: self._tried(call, client)

    def _tried(self, call: "Callable[[Redis], T]", client: "Redis") -> T:
        try:
            found = call(client)
        except self._failures as cause:
            self._until = time.monotonic() + self._pause
            if not self.fault:
                log.warning("Redis does not answer, each machine goes on by itself: %s", cause)
            self.fault = type(cause).__name__
            raise Away(self.fault) from cause
        if self.fault:
            log.warning("Redis answers again")
            self.fault, self._until = "", 0.0
        return found


def _client(url: str, timeout: float) -> "Redis":
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return redis.Redis.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=CONNECT_TIMEOUT,
        # Once more: a kept connection may be one to a server that has begun anew since.
        retry=Retry(NoBackoff(), 1),
        decode_responses=True,
        protocol=2,  # Answers to XREAD are shaped by it.
    )
