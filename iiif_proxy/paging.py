"""Pages of one source: `{id};page=2`, what each of them is, and how many there are."""

import dataclasses
import json
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cachetools import LRUCache

from iiif_proxy.iiif.model import ImageInfo
from iiif_proxy.imaging.apart import HERE, Jobs
from iiif_proxy.imaging.reading import Reading
from iiif_proxy.imaging.routes import describe
from iiif_proxy.imaging.tiff import Tiff
from iiif_proxy.ranges import ByteSource
from iiif_proxy.stores.base import Key, Store

REMEMBERED = 4096
_NUMBER = re.compile("[1-9][0-9]{0,5}")


class Paging:
    """`separator` stands between an identifier and the number of a page; None: pages are off.

    What is found out is kept beside the derivatives, and goes with them.
    """

    def __init__(
        self,
        separator: str | None,
        derivatives: Store,
        reading: Reading,
        jobs: Jobs = HERE,
    ) -> None:
        self._separator = separator
        self._derivatives = derivatives
        self._reading = reading
        self._jobs = jobs
        self._lock = threading.Lock()
        self._known: LRUCache[tuple[str, str], Any] = LRUCache(REMEMBERED)

    @property
    def on(self) -> bool:
        return self._separator is not None

    def split(self, identifier: str) -> tuple[str, int]:
        """The source's own identifier, and the page, from 1. What is no page is the identifier."""
        if self._separator is not None:
            name, found, number = identifier.rpartition(self._separator)
            if name and found and _NUMBER.fullmatch(number):
                return name, int(number)
        return identifier, 1

    def joined(self, identifier: str, page: int) -> str:
        """The identifier of a page; of the first it is the source's own."""
        return identifier if page == 1 else f"{identifier}{self._separator}{page}"

    def reading(self, page: int) -> Reading:
        return self._reading if page == 1 else replace(self._reading, page=page)

    def info(
        self,
        key: Key,
        page: int,
        parts: Callable[[], ByteSource | None],
        path: Callable[[], Any],
        keep: bool,
    ) -> ImageInfo:
        """Of one page. `parts` and `path` open the source by parts or whole (an object that has
        a `path` as long as it lives). NotFound for a page that it does not have."""

        def look() -> dict[str, Any]:
            by_parts = parts()
            if by_parts is not None:
                found: ImageInfo | None = Tiff.open(by_parts).at(page).info()
            else:
                held = path()
                found = describe(held.path, self.reading(page), True, self._jobs)
            assert found is not None
            return dataclasses.asdict(found)

        values = dict(self._once(replace(key, name=f"page-{page}.json"), look, keep))
        return ImageInfo(**{**values, "scale_factors": tuple(values["scale_factors"])})

    def count(
        self,
        key: Key,
        parts: Callable[[], ByteSource | None],
        path: Callable[[], Any],
        keep: bool,
    ) -> int:
        """How many pages there are; arguments as of `info`. Reads all directories of a TIFF."""

        def look() -> int:
            by_parts = parts()
            if by_parts is not None:
                return len(Tiff.open(by_parts).pages)
            held = path()
            return int(self._jobs.run("pages", held.path, self._reading))

        return int(self._once(replace(key, name="pages.json"), look, keep))

    def _once(self, key: Key, look: Callable[[], Any], keep: bool) -> Any:
        name = (f"{key.group}/{key.version}", key.name)
        with self._lock:
            if name in self._known:
                return self._known[name]
        entry = self._derivatives.get(key) if keep else None
        if entry is not None:
            with entry:
                found = json.loads(entry.read())
        else:
            found = look()
            if keep:
                raw = json.dumps(found).encode()
                self._derivatives.put(key, lambda file: file.write(raw)).close()
        with self._lock:
            self._known[name] = found
        return found
