"""One level of each large source that was viewed: other sizes of the whole come from it."""

import contextlib
import os
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from iiif_proxy.iiif.model import Box, ImageInfo
from iiif_proxy.imaging.encode import EncodeOptions, encode
from iiif_proxy.imaging.levels import LevelsLost
from iiif_proxy.imaging.look import Look
from iiif_proxy.imaging.pixels import profile_in
from iiif_proxy.imaging.reader import Reader
from iiif_proxy.imaging.reading import DEFAULT as READING
from iiif_proxy.imaging.resample import resample
from iiif_proxy.imaging.session import KEPT_SIDE
from iiif_proxy.imaging.sessions import Sessions, Start
from iiif_proxy.imaging.starts import of_jpeg
from iiif_proxy.located import Located
from iiif_proxy.stores.base import Entry, Key, Store

if TYPE_CHECKING:
    from PIL.Image import Image

    Read = Callable[[Box, int, int], Image]

NAME = "level.jpg"
AS = EncodeOptions(jpeg_quality=95, jpeg_subsampling="4:4:4")
# From this side on an answer is a view and no thumbnail.
VIEW = 1024


class KeptLevels:
    """In the store as a nearly lossless JPEG, and in memory (a session of its own) once a view is
    read from it: that is half of the time of a view.

    `patience` is how long its pixels are waited for, in seconds.
    """

    def __init__(self, derivatives: Store, sessions: Sessions, look: Look, patience: float) -> None:
        self._derivatives = derivatives
        self._sessions = sessions
        self._look = look
        self._patience = patience
        # Of levels that are about to be stored; whoever stores them has them as long.
        self._found: WeakValueDictionary[Key, Image] = WeakValueDictionary()

    def read(self, located: Located) -> "Image | None":
        """The whole image at a plan's size, if a level fine enough was kept of its source."""
        info, plan = located.info, located.plan
        level = level_of(info)
        if level is None or plan.box != whole(info):
            return None
        if plan.width > level.width or plan.height > level.height:
            return None
        found = self._found.get(located.named(NAME))
        if found is not None:
            return self.scaled(found, plan.width, plan.height)
        entry = self._derivatives.get(located.named(NAME))
        if entry is None:
            return None
        with entry:
            if max(plan.width, plan.height) >= VIEW:
                with contextlib.suppress(LevelsLost):
                    return self._from_memory(located, level, entry)
            reader = Reader(f"/dev/fd/{entry.fileno()}", level, look=self._look)
            return reader.read(whole(level), plan.width, plan.height)

    def found(self, located: Located, pixels: "Image") -> None:
        """The level's pixels, which are about to be kept."""
        self._found[located.named(NAME)] = pixels

    def scaled(self, pixels: "Image", width: int, height: int) -> "Image":
        """The whole image from its level."""
        return resample(pixels, (0, 0, *pixels.size), width, height, scaling=self._look.scaling)

    def keep(self, located: Located, read: "Read") -> Key | None:
        """Make and store it; None: there is nothing to be gained by it."""
        level = level_of(located.info)
        if level is None:
            return None
        pixels = read(whole(located.info), level.width, level.height)
        key = located.named(NAME)
        self._derivatives.put(
            key, lambda file: encode(pixels, "jpg", file, AS, profile_in(pixels))
        ).close()
        return key

    def has(self, located: Located) -> bool:
        entry = self._derivatives.get(located.named(NAME))
        if entry is not None:
            entry.close()
        return entry is not None

    def _from_memory(self, located: Located, level: ImageInfo, entry: Entry) -> "Image":
        """Raises LevelsLost."""
        if not self._sessions.fits(level.width, level.height):
            raise LevelsLost

        def start() -> Start:
            # Of its own: the decoding goes on if whoever began it does not wait for it.
            file = open(os.dup(entry.fileno()), "rb")  # noqa: SIM115  # Start closes it

            def feed(offset: int, size: int) -> bytes:
                return os.pread(file.fileno(), size, offset)

            return of_jpeg(file, feed, level, READING, self._look, lambda _: nullcontext)

        plan, name = located.plan, located.named(f"{located.key.version}-level").name
        session, _ = self._sessions.open(name, start, self._patience)
        return session.read(whole(level), plan.width, plan.height, self._patience)


def whole(info: ImageInfo) -> Box:
    return Box(0, 0, info.width, info.height)


def level_of(info: ImageInfo) -> ImageInfo | None:
    """At the first power of two that brings the longer side within what is kept; None of what is
    small, or has transparent parts."""
    factor = 1
    while max(info.width, info.height) > KEPT_SIDE * factor:
        factor *= 2
    if factor == 1 or info.alpha:
        return None
    width, height = -(-info.width // factor), -(-info.height // factor)
    return ImageInfo(width, height, "jpeg", gray=info.gray)
