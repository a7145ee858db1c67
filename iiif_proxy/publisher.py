"""What a static server may answer without us, and for how long."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from iiif_proxy.iiif.urls import encode
from iiif_proxy.stores.base import Store
from iiif_proxy.stores.published import Published

if TYPE_CHECKING:
    from iiif_proxy.sources.cache import SourceCache
    from iiif_proxy.sources.record import Record

# Seconds until publishing is tried again where it was refused, and where the record is not
# written down: mostly it is just about to be, while the source is still coming.
PAUSE, SOON = 10.0, 0.1
MOST = 50_000


@dataclass(frozen=True, slots=True)
class Shown:
    """What this process last did about an identifier: nothing is to be done before `until`."""

    version: str
    checked: float
    shown: bool
    until: float


class Publisher:
    """Publishes the versions of sources: fresh ones, for everybody, that we need not look at.

    `max_age` is what the static server says in Cache-Control: a source of a shorter life is not
    published. Without a `published` tree nothing ever is. `for_all`: whether everybody may have
    whatever is stored of an identifier; nothing else is published.
    """

    def __init__(
        self,
        published: Published | None,
        sources: "SourceCache",
        derivatives: Store,
        max_age: float,
        for_all: Callable[[str], bool] = lambda identifier: True,
    ) -> None:
        self._published = published
        self._sources = sources
        self._derivatives = derivatives
        self._max_age = max_age
        self._for_all = for_all
        self._known: dict[str, Shown] = {}

    def ruled(self, rules: str) -> None:
        """Other rules are in force: what was published under those before is gone."""
        if self._published is not None:
            self._published.ruled(rules)
            self._known.clear()

    def due(self, record: "Record") -> bool:
        """Whether `show` has something to do: all that a hit asks."""
        if self._published is None or record.path:
            return False
        known = self._known.get(record.identifier)
        return known is None or known.until <= time.time()

    def show(self, record: "Record", group: str, version: str, environ: dict[str, Any]) -> bool:
        """Publish this version if it may be, and no other from now on; whether it is published.

        To be called before anything of this version is answered: nobody then sees an older one.
        """
        if self._published is None or record.path:
            return False
        now = time.time()
        known = self._known.get(record.identifier)
        same = known is not None and known.version == version
        if known is not None and same and known.checked == record.checked and known.until > now:
            return known.shown
        encoded = encode(record.identifier)
        until, again = 0.0, now + PAUSE
        open_ = record.lifetime >= self._max_age and self._for_all(record.identifier)
        if open_ and self._sources.may_be_shown(record):
            if not same:
                self._derivatives.drop_broken(group, version)
            # Who purges waits meanwhile, and then takes these links away: made after a purge they
            # would be seen until the look below.
            with self._sources.unpurged():
                held = self._holds(record, environ)
                if held:
                    until = self._published.publish(encoded, group, version, record.fresh_until)
            # The order makes it safe: whoever sees a change writes that down, then unpublishes
            # (SourceCache); here links are made, then what is written is read.
            if not held or (until and not self._holds(record, environ)):
                self._published.unpublish(encoded)
                until, again = 0.0, now + SOON
        else:
            again = math.inf
            if not same:
                self._published.unpublish(encoded)
        if len(self._known) >= MOST:
            self._known.clear()
        shown = until > now
        again = until if shown else again
        self._known[record.identifier] = Shown(version, record.checked, shown, again)
        return shown

    def _holds(self, record: "Record", environ: dict[str, Any]) -> bool:
        return self._sources.holds(record, environ) and self._for_all(record.identifier)
