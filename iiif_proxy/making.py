"""From a located request to pixels, by the cheapest way, and into a file."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

from iiif_proxy.concurrency import Gated
from iiif_proxy.iiif.model import Box, Features, Limits, Plan
from iiif_proxy.iiif.tiles import tile_factor, tiling
from iiif_proxy.imaging.apart import Jobs
from iiif_proxy.imaging.encode import EncodeOptions, encode
from iiif_proxy.imaging.look import Look
from iiif_proxy.imaging.pixels import profile_in
from iiif_proxy.imaging.reading import Reading
from iiif_proxy.imaging.render import render
from iiif_proxy.imaging.routes import Routes
from iiif_proxy.imaging.sessions import Sessions
from iiif_proxy.imaging.sharpen import sharpened
from iiif_proxy.imaging.words import said
from iiif_proxy.keeping import KeptLevels, whole
from iiif_proxy.located import Located
from iiif_proxy.preparing import Preparing
from iiif_proxy.telling import stage

if TYPE_CHECKING:
    from PIL.Image import Image

    from iiif_proxy.imaging.watermark import Watermark
    from iiif_proxy.sources.cache import SourceCache

Environ = dict[str, Any]


class Maker:
    """Makes what is not stored. `gate` is for work that nobody waits for; `reading` says how a
    page is read, `patience` how long to wait for a turn (seconds)."""

    def __init__(
        self,
        sources: "SourceCache",
        sessions: Sessions,
        kept: KeptLevels,
        preparing: Preparing,
        working: "Working",
        gate: Gated,
        *,
        features: Features,
        limits: Limits,
        options: EncodeOptions,
        look: Look,
        reading: Callable[[int], Reading],
        jobs: Jobs,
        patience: float,
    ) -> None:
        self._sources = sources
        self._sessions = sessions
        self._kept = kept
        self._preparing = preparing
        self._working = working
        self._gate = gate
        self._features = features
        self._limits = limits
        self._options = options
        self._look = look
        self._reading = reading
        self._jobs = jobs
        self._patience = patience

    def writer(self, located: Located, environ: Environ, gate: Gated) -> Callable[[BinaryIO], None]:
        """Make the pixels now; what is returned encodes them into a file.

        Of a JPEG that need not be decoded, it is all done in writing.
        """
        work = self._work(located, environ, gate)
        straight = self._straight(work)
        if straight is None:
            return self._by_pixels(work)

        def write(file: BinaryIO) -> None:
            with self._working, stage("encode"):
                done = straight(file)
            if not done:
                self._by_pixels(work)(file)
            elif located.info.tile_width:
                self._answered(work)

        return write

    def _work(self, located: Located, environ: Environ, gate: Gated) -> "Work":
        return Work(located, environ, gate, self.is_tile(located), self.routes(located, environ))

    def _straight(self, work: "Work") -> Callable[[BinaryIO], bool] | None:
        if not self._options.jpeg_lossless or self._mark(work) is not None:
            return None
        plan, options = work.located.plan, self._options
        return work.routes.straight(plan, work.tile, options, work.gate, self._patience)

    def _answered(self, work: "Work") -> None:
        """Something was read straight from the file, or is just as it lies there."""
        located, routes = work.located, work.routes

        def read(box: Box, width: int, height: int) -> "Image":
            return routes.light(box, width, height, self._gate, self._patience)

        def straight(plan: Plan) -> Callable[[BinaryIO], bool] | None:
            other = replace(located, plan=plan)
            return self._straight(self._work(other, work.environ, self._gate))

        self._preparing.answered(located, read, routes.by_parts, straight)

    def _by_pixels(self, work: "Work") -> Callable[[BinaryIO], None]:
        plan, info = work.located.plan, work.located.info
        with self._working:
            with stage("decode"):
                read, percent = partial(self._read, work), self._look.sharpen
                found = sharpened(read, info, plan.box, plan.width, plan.height, percent)
            with stage("transform"):
                pixels = render(found, plan, self._look, self._mark(work))

        def write(file: BinaryIO) -> None:
            with self._working, stage("encode"):
                words = said(plan, info, self._options.rights)
                encode(pixels, plan.format, file, self._options, profile_in(pixels), words)

        return write

    def _mark(self, work: "Work") -> "Watermark | None":
        """What is laid on this answer, if anything is."""
        mark = self._look.mark
        if mark is None or not mark.on(work.located.plan, work.located.info, work.tile):
            return None
        return mark

    def _read(self, work: "Work", box: Box, width: int, height: int) -> "Image":
        """By the cheapest way: an open session, a kept level, a light decode, a new session."""
        located, routes, gate, patience = work.located, work.routes, work.gate, self._patience
        if routes.wants_session(box, width, height, work.tile):
            image, begun = routes.tile(box, width, height, patience, gate)
            if begun is not None and work.tile:
                self._preparing.opened(located, begun)
            if image is not None:
                if work.tile:
                    self._preparing.cut(located, routes)
                return image
        kept = self._kept.read(located)
        if kept is not None:
            return kept

        level = self._preparing.level(located)
        if level is not None:
            # What its reading comes to anyway: a second one in the background is spared.
            image = routes.light(whole(located.info), level.width, level.height, gate, patience)
            self._preparing.found_level(located, image)
            return self._kept.scaled(image, width, height)
        image = routes.light(box, width, height, gate, patience)
        self._answered(work)
        return image

    def is_tile(self, located: Located) -> bool:
        plan, info = located.plan, located.info
        tiles = tiling(info, self._limits, self._features)
        return tile_factor(plan.box, plan.width, plan.height, info, tiles) is not None

    def routes(self, located: Located, environ: Environ) -> Routes:
        """The ways to its source's pixels."""
        return Routes(
            # With the settings: other processes here may have others.
            located.named(located.key.version).name,
            located.info,
            lambda whole: self._sources.content(located.source, environ, whole),
            lambda: self._sources.ranges(located.source.record, environ),
            self._sessions,
            self._reading(located.page),
            self._look,
            self._gate,
            self._jobs,
        )


@dataclass(frozen=True, slots=True)
class Work:
    """One derivative to be made, and what is found out about it once. `gate`: of who waits."""

    located: Located
    environ: Environ
    gate: Gated
    tile: bool
    routes: Routes


class Working:
    """How many are being made, as a context manager."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self.count += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.count -= 1
