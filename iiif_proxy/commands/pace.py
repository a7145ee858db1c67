"""How many images a second are begun, so that their origin survives it."""

import threading
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from cachetools import TTLCache
from limits import parse_many
from limits.storage import storage_from_string
from limits.strategies import MovingWindowRateLimiter

from iiif_proxy.settings import Settings

REMEMBERED = 100_000
LONGEST = 1.0


class Pace:
    """`rate` of images that are begun, for each of the origins; None: as fast as it goes.

    `store`: where it is counted, as the library limits has it; in Redis it holds for all workers.
    An image that was begun within `fresh` seconds in this process costs nothing: its source is
    in the cache.
    """

    def __init__(
        self,
        rate: str | None,
        origins: Sequence[str],
        store: str = "memory://",
        fresh: float = 600.0,
    ) -> None:
        self._rates = parse_many(rate) if rate else []
        self._origins = origins
        self._limiter = (
            MovingWindowRateLimiter(
                storage_from_string(store.replace("unix://", "redis+unix://", 1))
            )
            if rate
            else None
        )
        self._begun: TTLCache[str, bool] = TTLCache(REMEMBERED, fresh)
        self._lock = threading.Lock()

    def wait(self, image: str) -> None:
        """Until the image may be begun. Raises what the storage raises."""
        with self._lock:
            if self._limiter is None or image in self._begun:
                return
            self._begun[image] = True
        try:
            self._wait(self._limiter)
        except BaseException:
            with self._lock:
                self._begun.pop(image, None)
            raise

    def _wait(self, limiter: MovingWindowRateLimiter) -> None:
        for origin in self._origins:
            for rate in self._rates:
                while not limiter.hit(rate, "iiif-proxy", "warm", origin):
                    until = limiter.get_window_stats(rate, "iiif-proxy", "warm", origin)
                    time.sleep(min(LONGEST, max(0.01, until.reset_time - time.time())))


def origins(settings: Settings) -> list[str]:
    """The hosts that images are fetched from."""
    found = [settings.origin if one.startswith("app:") else one for one in settings.source]
    return sorted({urlsplit(one).netloc for one in found if one and "://" in one})
