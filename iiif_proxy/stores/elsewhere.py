"""Where a browser gets an image itself that is in the object store: a signed URL, or a CDN's."""

import math
import threading
from dataclasses import dataclass
from urllib.parse import quote

from cachetools import TTLCache

from iiif_proxy.stores.base import Key
from iiif_proxy.stores.bucket import Away
from iiif_proxy.stores.shared import SharedStore, name_of

# Seconds. One signature is shown for the first, so that browsers know the URL again, and holds for
# the second; an answer that names it may be kept for what is left.
SHOWN, HOLDS = 1800, 3600


@dataclass(frozen=True, slots=True)
class Address:
    """`seconds`: for how long it holds at least."""

    url: str
    seconds: float


class Elsewhere:
    """`base`: the CDN's address of the bucket's prefix; None: URLs are signed (S3, GCS, Azure).

    What this machine's disk has is nowhere else: answering it is cheaper than asking the store.
    """

    def __init__(self, store: SharedStore, base: str | None) -> None:
        self._store = store
        self._base = base
        self._lock = threading.Lock()
        self._signed: TTLCache[str, str] = TTLCache(10_000, SHOWN)

    def __call__(self, key: Key) -> Address | None:
        """None where it is on the disk, not in the store, or that does not answer."""
        if not self._store.only_far(key):
            return None
        name = name_of(key)
        if self._base is not None:
            return Address(f"{self._base}/{quote(name)}", math.inf)
        with self._lock:
            url = self._signed.get(name)
        if url is None:
            try:
                url = self._store.bucket.signed(name, HOLDS)
            except Away:
                return None
            with self._lock:
                self._signed[name] = url
        return Address(url, HOLDS - SHOWN)
