"""Which origins do not answer, as all machines have found."""

import contextlib

from iiif_proxy.cluster.link import PREFIX, Away, Link

# Seconds after which somebody must have found it so again.
LASTS = 60


class Silences:
    """By `host:port`. While Redis is away nobody knows of others."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def silent(self, host: str) -> bool:
        """Whether any machine has found it so lately."""
        with contextlib.suppress(Away):
            return bool(self._link.do(lambda redis: redis.exists(_key(host))))
        return False

    def tell(self, host: str, silent: bool) -> None:
        with contextlib.suppress(Away):
            if silent:
                self._link.do(lambda redis: redis.set(_key(host), "silent", ex=LASTS))
            else:
                self._link.do(lambda redis: redis.delete(_key(host)))


def _key(host: str) -> str:
    return f"{PREFIX}silent:{host}"
