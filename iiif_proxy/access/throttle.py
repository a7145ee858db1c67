"""How often: rates of what is made, for each caller and for each class."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from limits import RateLimitItem, parse_many
from limits.errors import StorageError
from limits.storage import storage_from_string
from limits.strategies import MovingWindowRateLimiter

from iiif_proxy.access import ratefile as ratefile
from iiif_proxy.access.callers import Caller, network_of
from iiif_proxy.access.policy import Rules
from iiif_proxy.errors import TooManyRequests, Undecided

log = logging.getLogger(__name__)
Environ = dict[str, Any]
PAUSE = 5
REDIS = ("redis", "rediss", "unix")
# Seconds that a reader waits for counts.
TIMES: dict[str, Any] = {"socket_connect_timeout": 0.5, "socket_timeout": 1.0}
parsed = lru_cache(maxsize=256)(parse_many)


class Throttle:
    """`store` is the address of a storage as the library `limits` has it, or of a file.

    `address` finds a visitor's. While the storage does not answer it is counted in the one of
    `meanwhile`; without that nothing is made (`strict`), or without limits. Raises ValueError for
    a storage that cannot be used.
    """

    def __init__(
        self,
        store: str,
        address: Callable[[Environ], str],
        strict: bool,
        meanwhile: str | None = None,
    ) -> None:
        self._limiter = _limiter(store)
        self._meanwhile = None if meanwhile is None else _limiter(meanwhile)
        self._again = 0.0
        self._address = address
        self._strict = strict

    def take(self, rules: Rules, caller: Caller, environ: Environ) -> None:
        """Count one. Raises TooManyRequests, and Undecided where the storage fails."""
        if rules.rate is None and rules.rate_class is None:
            return
        items = list(self._items(rules, caller, environ))
        if self._meanwhile is not None and time.monotonic() < self._again:
            self._count(self._meanwhile, items)
            return
        try:
            self._count(self._limiter, items)
        except StorageError as cause:
            log.warning("the storage of rates does not answer: %s", cause.storage_error)
            if self._meanwhile is not None:
                self._again = time.monotonic() + PAUSE
                self._count(self._meanwhile, items)
            elif self._strict:
                raise Undecided(
                    "New images cannot be made at the moment; what is stored is answered.",
                    headers={"Retry-After": str(PAUSE)},
                ) from cause

    def _count(
        self, limiter: MovingWindowRateLimiter, items: list[tuple[RateLimitItem, str, str]]
    ) -> None:
        for item, *names in items:
            if not limiter.hit(item, *names):
                raise self._too_many(limiter, item, names)

    def _items(
        self, rules: Rules, caller: Caller, environ: Environ
    ) -> Iterator[tuple[RateLimitItem, str, str]]:
        if rules.rate is not None:
            name = caller.name or network_of(self._address(environ))
            for item in parsed(rules.rate):
                yield item, f"each {caller.one}", name
        if rules.rate_class is not None:
            for item in parsed(rules.rate_class):
                yield item, "all", caller.one

    @staticmethod
    def _too_many(
        limiter: MovingWindowRateLimiter, item: RateLimitItem, names: list[str]
    ) -> TooManyRequests:
        window = limiter.get_window_stats(item, *names)
        wait = max(1, math.ceil(window.reset_time - time.time()))
        seconds = item.get_expiry()
        whom = "you" if names[0] != "all" else "all visitors like you"
        return TooManyRequests(
            f"New images are made at a rate of {item.amount} in {seconds} seconds for {whom}.",
            headers={
                "Retry-After": str(wait),
                "RateLimit-Limit": str(item.amount),
                "RateLimit-Remaining": "0",
                "RateLimit-Reset": str(wait),
                "RateLimit-Policy": f'"images";q={item.amount};w={seconds}',
                "RateLimit": f'"images";r=0;t={wait}',
            },
        )


def _limiter(store: str) -> MovingWindowRateLimiter:
    try:
        options = TIMES if urlsplit(store).scheme in REDIS else {}
        storage = storage_from_string(store, wrap_exceptions=True, **options)
        return MovingWindowRateLimiter(storage)
    except Exception as cause:  # Whatever the client library of the storage has.
        raise ValueError(f"cannot be used ({cause})") from cause
