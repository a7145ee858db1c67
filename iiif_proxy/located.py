"""What a request comes to, before any pixel is touched."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from iiif_proxy.iiif.model import ImageInfo, Plan
from iiif_proxy.stores.base import Key

if TYPE_CHECKING:
    from iiif_proxy.sources.arrival import SourceImage


@dataclass(frozen=True, slots=True)
class Located:
    """What a request comes to: one plan of one source at one state. No pixel was touched yet."""

    source: "SourceImage"
    info: ImageInfo
    plan: Plan
    key: Key
    etag: str
    media_type: str
    # Of the sources, from before this was located: see `SourceCache.current`.
    generation: int
    # By what other name a static server looks for it.
    also: str | None
    # Of the source, from 1.
    page: int = 1
    # Whether what is made may be stored: not what a caller may only have made in spare time.
    kept: bool = True
    # For whom it is made, where that may not stay for ever: a mark for stores/retention.py.
    owner: str | None = None

    def named(self, name: str) -> Key:
        """The key of something else that is made of this page."""
        if self.page > 1:
            name = f"page-{self.page}_{name}"
        return Key(self.key.group, self.key.version, name)

    @property
    def stored(self) -> bool:
        """Whether what is made of it goes into the store."""
        return self.kept and self.source.record.keep

    @property
    def modified(self) -> float | None:
        return self.source.record.modified
