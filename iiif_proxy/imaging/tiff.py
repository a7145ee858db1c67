"""Tiled and pyramidal TIFF: any region at any size from the tiles it needs, never a whole page."""

import itertools
import threading
from collections.abc import Iterator
from dataclasses import asdict, replace

from PIL import Image

from iiif_proxy.errors import NotFound, NotSupported
from iiif_proxy.iiif.model import Box, ImageInfo
from iiif_proxy.iiif.tiles import scale_factors
from iiif_proxy.imaging import tiffcanvas, tiffcodec, tifftile
from iiif_proxy.imaging.color import MAX_PROFILE, as_stored, coarse, finished
from iiif_proxy.imaging.look import DEFAULT, Look
from iiif_proxy.imaging.orientation import Stored, upright
from iiif_proxy.imaging.reading import NO_PAGE
from iiif_proxy.imaging.tifflevel import (
    ICC_PROFILE,
    ORIENTATION,
    Level,
)
from iiif_proxy.imaging.tiffpages import pages_of
from iiif_proxy.imaging.tifftags import Directory, Structure, broken
from iiif_proxy.imaging.tiffviews import View, exact, nearest, views_of
from iiif_proxy.imaging.words import of_tiff
from iiif_proxy.ranges import BlockCache, ByteSource

# Tiles that viewers are told to ask for have sides in this range.
TILE_SIDES = (64, 2048)


class Page:
    """One image of a file with its resolutions. Safe to share among threads.

    `levels` are finest first, `index` is the place among all directories. `supported` is
    False for what this installation cannot decode: `info` is right then too, `read`
    raises NotSupported.
    """

    def __init__(self, directory: Directory, levels: tuple[Level, ...], index: int = 0) -> None:
        self.levels = levels
        self.index = index
        self._directory = directory
        self._cache = directory.cache
        orientation = directory.number(ORIENTATION, 1)
        self.orientation = orientation if 1 <= orientation <= 8 else 1
        mode = tiffcodec.mode_of(levels[0])
        self.supported = mode is not None
        usable = [level for level in levels if mode and tiffcodec.mode_of(level) == mode]
        self._views = views_of(usable)
        self._profile: bytes | None = None

    @property
    def icc_profile(self) -> bytes | None:
        """The embedded colour profile; None if there is none or it is absurdly large."""
        # No cached_property: before Python 3.12 it locks all instances while one of them reads.
        if self._profile is None:
            self._profile = self._directory.data(ICC_PROFILE, MAX_PROFILE) or b""
        return self._profile or None

    def info(self) -> ImageInfo:
        """Size of the upright image, and the tiles to ask for: the file's own, at factors of two.

        Factors that are no level of the file are answered from the next finer one. The tiling is
        left out (0 and ()) where asking for the file's tiles gains nothing: strips, tiles that are
        too small or too large to travel, a stored grid that is not the upright image's grid.
        """
        first = self.levels[0]
        gray = first.photometric in (0, 1)
        stored = Stored(self.orientation, first.width, first.height)
        width, height = stored.upright
        info = ImageInfo(
            width,
            height,
            format="tiff",
            gray=gray,
            bilevel=gray and first.bits == 1 and first.samples == 1,
            alpha=first.alpha,
            **asdict(of_tiff(self._directory)),
        )
        tile = (first.tile_width, first.tile_height)
        sane = TILE_SIDES[0] <= min(tile) and max(tile) <= TILE_SIDES[1]
        if not (self.supported and first.tiled and sane and self.orientation in (1, 5)):
            return info
        if first.bits > 8 and self.icc_profile and coarse(self.icc_profile, "L" if gray else "RGB"):
            return info  # tiles would be brought to 8 bits before their profile counts
        width, height = stored.size(*tile)
        factors = scale_factors(info, min(tile))
        return replace(info, tile_width=width, tile_height=height, scale_factors=factors)

    def read(self, box: Box, width: int, height: int, look: Look = DEFAULT) -> Image.Image:
        """That region of the upright image at `width` x `height`: L, LA, RGB or RGBA.

        It is sRGB, unless `look` keeps profiles (`color.finished`). What is whole pixels of a
        stored level (an aligned tile) is not resampled; anything else is scaled from the nearest
        level that is at least as large. OriginFailed if the bytes are not what the directory
        says, NotSupported if nothing here decodes them.
        """
        region, width, height = self._as_stored(box, width, height)
        view = exact(self._checked_views(), region, width, height)
        if view is not None:
            pixels = tiffcanvas.whole(
                self._cache, view, region, width, height, linear=look.scaling.linear
            )
        else:
            view = nearest(self._views, region, width, height)
            pixels = tiffcanvas.resampled(self._cache, view, region, width, height, look.scaling)
        return finished(upright(pixels, self.orientation), self.icc_profile, look)

    def stored(self, box: Box, width: int, height: int, look: Look = DEFAULT) -> bytes | None:
        """The JPEG file that one of the stored tiles is, if that is just what is asked for, and
        its colours are shown as they are. None: `read` it. Raises what fetching it raises."""
        if self.orientation != 1 or not self._views:
            return None
        view = exact(self._views, box, width, height)
        if view is None or view.shrink != 1:
            return None
        if not as_stored(self.icc_profile, "L" if view.level.samples == 1 else "RGB", look):
            return None
        return tifftile.whole(self._cache, view, box, width, height)

    def price(self, box: Box, width: int, height: int) -> int:
        """How many pixels `read` would decode, for a budget; nothing is fetched."""
        region, width, height = self._as_stored(box, width, height)
        views = self._checked_views()
        view = exact(views, region, width, height) or nearest(views, region, width, height)
        return tiffcanvas.price(view, region, width, height)

    def _checked_views(self) -> tuple[View, ...]:
        if not self._views:
            raise NotSupported("This kind of TIFF cannot be decoded here.")
        return self._views

    def _as_stored(self, box: Box, width: int, height: int) -> tuple[Box, int, int]:
        first = self.levels[0]
        stored = Stored(self.orientation, first.width, first.height)
        return stored.box(box), *stored.size(width, height)


class Tiff:
    """An opened file: its first page, and the others when they are asked for."""

    def __init__(self, pages: Iterator[Page]) -> None:
        self._rest = pages
        self._lock = threading.Lock()
        first = next(pages, None)
        if first is None:
            raise broken("no directory")
        self._found = [first]
        self.page = first
        self.levels = self.page.levels
        self.supported = self.page.supported

    @classmethod
    def open(cls, source: ByteSource, head: bytes = b"") -> "Tiff":
        """Read the header and the directories of the first page and its levels.

        `head` is what the caller already has of the start of the file. A pyramid costs one read
        for each level that is larger than half a megabyte and one for the rest. OriginFailed if
        it is no TIFF, or a damaged one.
        """
        structure = Structure(BlockCache(source, head=head))
        return cls(Page(*found) for found in pages_of(structure))

    @property
    def pages(self) -> tuple[Page, ...]:
        """All pages, in the file's order; levels, masks and thumbnails of pages are none."""
        with self._lock:
            self._found += self._rest
        return tuple(self._found)

    def at(self, number: int) -> Page:
        """The page of that number, from 1; no further directory is read. NotFound if it is none."""
        with self._lock:
            self._found += itertools.islice(self._rest, max(0, number - len(self._found)))
            if not 1 <= number <= len(self._found):
                raise NotFound(NO_PAGE)
            return self._found[number - 1]

    @property
    def icc_profile(self) -> bytes | None:
        return self.page.icc_profile

    def info(self) -> ImageInfo:
        return self.page.info()

    def read(self, box: Box, width: int, height: int, look: Look = DEFAULT) -> Image.Image:
        """See Page.read."""
        return self.page.read(box, width, height, look)
