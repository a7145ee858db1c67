"""Which way to the pixels: chosen before any of them is touched."""

import functools
import io
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, BinaryIO, Protocol

from PIL import Image

from iiif_proxy.concurrency import Gated
from iiif_proxy.iiif.model import Box, ImageInfo, Plan
from iiif_proxy.imaging import jp2area, lossless
from iiif_proxy.imaging.apart import HERE, Jobs
from iiif_proxy.imaging.color import unchanged
from iiif_proxy.imaging.encode import EncodeOptions
from iiif_proxy.imaging.formats import opened
from iiif_proxy.imaging.levels import WHOLE, Levels, LevelsLost
from iiif_proxy.imaging.look import DEFAULT, Look
from iiif_proxy.imaging.openers import Jpeg2000
from iiif_proxy.imaging.orientation import orientation_of
from iiif_proxy.imaging.reader import Reader, probe
from iiif_proxy.imaging.reading import Reading, load
from iiif_proxy.imaging.session import Overview, Session
from iiif_proxy.imaging.sessions import Sessions, Start
from iiif_proxy.imaging.signatures import HEAD, sniff
from iiif_proxy.imaging.starts import COPIES, of_jpeg
from iiif_proxy.imaging.tiff import Page, Tiff
from iiif_proxy.imaging.words import said
from iiif_proxy.ranges import FileSource, Parts

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# Sources below this many pixels are decoded each time: it takes as long as a session's upkeep.
SESSION_LEAST = 1_000_000
# JPEG 2000 from here on takes longer than a second to decode (6 megapixels 0.76 s, then 40 ms a
# tile): if its parts can be decoded, each in 0.15 s, the first tile need not wait for the rest.
SESSION_SLOW = 8_000_000
TRIES = 3
# Small parts of one image that are decoded by themselves.
PARTS = 2
BLOCK = 64 * 1024
# By which the gate counts.
BYTES_A_PIXEL = 4
# Their headers too are read by large libraries, in C.
FRAIL = ("avif", "heif", "pdf", "raw")
# Drawn at any size: a session would only hold pixels that can be had sharper.
DRAWN = ("pdf",)


class _Open:
    """Lets everything in."""

    def enter(self, cost: int, timeout: float) -> AbstractContextManager[None]:
        return nullcontext()


OPEN = _Open()


class Content(Protocol):
    """The source's bytes: a path to open, and a way to read what is still arriving."""

    path: str

    def read(self, offset: int, size: int) -> bytes: ...


class Arriving(io.RawIOBase):
    """Content as a file: reading waits for what is on its way."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END:
            raise OSError("the end is not known yet")
        self._at = offset if whence == os.SEEK_SET else self._at + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        found = self._content.read(self._at, len(view))
        view[: len(found)] = found
        self._at += len(found)
        return len(found)


def describe(path: str, reading: Reading, whole: bool, jobs: Jobs = HERE) -> ImageInfo | None:
    """What the header says, upright; None while a growing file does not hold it yet.

    A tiled TIFF has its own tiling in it, and no limit of pixels: it is never decoded whole.
    Raises OriginFailed.
    """
    with open(path, "rb") as file:
        name = sniff(file.read(HEAD))
    if name == "tiff" and whole:
        info = Tiff.open(FileSource(path)).at(reading.page).info()
        if info.tile_width:
            return info
    if name in FRAIL and whole:
        found: ImageInfo = jobs.run("header", path, reading)
        return found
    return probe(path, reading, whole=whole)


def describe_parts(parts: Parts, key: str, sessions: Sessions) -> ImageInfo | None:
    """The same of a TIFF that is read by parts; None if it has no tiles, and is better fetched.

    It stays open for `Routes` of that key.
    """
    tiff = Tiff.open(parts, parts.head)
    info = tiff.info()
    if not info.tile_width:
        return None
    sessions.keep_tiff(key, tiff)
    return info


class Routes:
    """Regions of one source at one state.

    `content` gives its bytes, when they are needed: all of them (True), or what there is so far;
    `parts` gives them by parts, if the source is read so. `gate` is for decoding in the background.
    """

    def __init__(
        self,
        key: str,
        info: ImageInfo,
        content: Callable[[bool], Content],
        parts: Callable[[], Parts | None],
        sessions: Sessions,
        reading: Reading,
        look: Look = DEFAULT,
        gate: Gated = OPEN,
        jobs: Jobs = HERE,
    ) -> None:
        self._key = key
        self._gate = gate
        self._info = info
        self._content = content
        self._parts = parts
        self._sessions = sessions
        self._reading = reading
        # A page behind the first of a TIFF that is never fetched whole.
        self._further = reading.page > 1 and parts() is not None
        self._look = look
        self._jobs = jobs

    def session(self, box: Box, width: int, height: int) -> Session | None:
        """The open session that this would be read from."""
        found = self._sessions.get(self._key)
        return found if found is not None and found.covers(box, width, height) else None

    def price(self, box: Box, width: int, height: int) -> int:
        """The pixels to be decoded and answered before this is there; the file is not opened."""
        info = self._info
        few = info.tile_width or info.format in DRAWN
        if few or self.session(box, width, height) is not None:
            return width * height
        if (box.width, box.height) != (info.width, info.height):
            return info.width * info.height + width * height
        reader = Reader(os.devnull, info, reading=self._reading, look=self._look)
        return reader.cost(box, width, height)

    def wants_session(self, box: Box, width: int, height: int, tile: bool) -> bool:
        """Whether this is best read from a session, open or to be opened.

        Opened for a tile of a large image, and for a part at nearly its full size: the others will
        follow. A thumbnail, of a part too, never decodes it all; several parts of one image do.
        """
        info = self._info
        if self.session(box, width, height) is not None:
            return True
        if (
            info.tile_width
            or self._further
            or info.format in DRAWN
            or (box.width, box.height) == (info.width, info.height)
            or info.width * info.height < SESSION_LEAST
            or not self._sessions.fits(info.width, info.height)
            or (info.width * info.height >= SESSION_SLOW and self.by_parts)
        ):
            return False
        fine = box.width < 2 * width or box.height < 2 * height
        return tile or fine or self._sessions.asked(self._key) > PARTS

    @functools.cached_property
    def by_parts(self) -> bool:
        """Whether a part can be decoded without the rest."""
        info = self._info
        if info.format != "jp2" or self._reading.partial or not jp2area.installed():
            return bool(info.tile_width)
        held = self._content(True)  # may be all that keeps the path alive
        with opened(held.path, self._reading) as image:
            return isinstance(image, Jpeg2000) and image.by_parts

    def straight(
        self,
        plan: Plan,
        tile: bool,
        options: EncodeOptions,
        gate: Gated,
        timeout: float,
    ) -> Callable[[BinaryIO], bool] | None:
        """What writes the answer without decoding anything, if it comes to that (True).

        None if the source is no JPEG (nor a TIFF of such tiles), or must be decoded for what is
        asked. `tile`: it is one of those that info.json offers.
        """
        info = self._info
        if info.tile_width and lossless.as_it_is(plan):
            changed = self._look.sharpen or options.jpeg_progressive
            return None if changed else self._stored_tile(plan, options)
        if self._reading.page > 1 or not lossless.may_be(
            plan, info.format, tile, info.width * info.height
        ):
            return None
        held = self._content(True)
        with opened(held.path, self._reading) as image:
            if not unchanged(image, self._look):
                return None
            todo = lossless.work(image, orientation_of(image), plan, options.jpeg_progressive)
        if todo is None:
            return None
        words = said(plan, info, options.rights)

        def write(file: BinaryIO) -> bool:
            with gate.enter(todo.memory // BYTES_A_PIXEL, timeout):
                return lossless.run(todo, held.path, file, words)

        return write

    def _stored_tile(self, plan: Plan, options: EncodeOptions) -> Callable[[BinaryIO], bool] | None:
        data = self._page().stored(plan.box, plan.width, plan.height, self._look)
        if data is None:
            return None
        words = said(plan, self._info, options.rights)
        return lambda file: lossless.handed_on(data, file, words)

    def light(self, box: Box, width: int, height: int, gate: Gated, timeout: float) -> Image.Image:
        """Straight from the file, decoded no finer than needed, when the gate lets it in."""
        if self._info.tile_width or self._further:
            return self._tiles(box, width, height, gate, timeout)
        held = self._bytes()
        reader = Reader(
            lambda: self._file(held), self._info, reading=self._reading, look=self._look
        )
        by_parts = self._info.width * self._info.height >= SESSION_LEAST and self.by_parts
        with gate.enter(reader.cost(box, width, height, by_parts), timeout):
            if self._info.format == "jpeg":
                return reader.read(box, width, height)
            where = held.path, self._info, self._reading, self._look
            image: Image.Image = self._jobs.run("region", *where, box, width, height)
            return image

    def _tiles(self, box: Box, width: int, height: int, gate: Gated, timeout: float) -> Image.Image:
        """From a TIFF's own tiles, fetched and decoded no more than needed."""
        page = self._page()
        with gate.enter(page.price(box, width, height), timeout):
            return page.read(box, width, height, self._look)

    def _page(self) -> Page:
        def start() -> Tiff:
            parts = self._parts()
            if parts is not None:
                return Tiff.open(parts, parts.head)
            held = self._content(True)  # may be all that keeps the path alive
            return Tiff.open(FileSource(held.path))

        return self._sessions.tiff(self._key, start).at(self._reading.page)

    def tile(
        self, box: Box, width: int, height: int, timeout: float, gate: Gated = OPEN
    ) -> tuple[Image.Image | None, Session | None]:
        """By a session, and that session if this call began it; None: sessions keep failing.

        The gate is entered when the pixels are there: who waits for them holds no place.
        """
        began, anew = None, False

        def start() -> Start:
            return self._start(timeout)

        for _ in range(TRIES):
            session, begun = self._sessions.open(self._key, start, timeout, anew)
            began = session if begun else began
            if not session.covers(box, width, height):
                self._sessions.drop(self._key, session)
                anew = True
                continue
            try:
                self._preview(session, box, width, height)
                session.wait(box, width, height, timeout)
                with gate.enter(width * height, timeout):
                    return session.read(box, width, height, timeout), began
            except LevelsLost:
                self._sessions.drop(self._key, session)
        return None, None

    def _preview(self, session: Session, box: Box, width: int, height: int) -> None:
        """While all pixels are being decoded, the first who asks for little decodes little."""
        few = Overview.FACTOR * width <= box.width + Overview.FACTOR
        if session.levels.state >= WHOLE or not few or self._info.format != "jpeg":
            return
        if self._look.scaling.linear:
            return
        if session.mine and session.overview.begin():
            session.levels.held_back = True
            try:
                session.overview.offer(self._eighth(session))
            finally:
                session.levels.held_back = False

    def _eighth(self, session: Session) -> Image.Image:
        """The whole image at the coarsest scale that a JPEG decodes at."""
        size = session.levels.shape.size(Overview.FACTOR)
        with self._file(self._bytes()) as file:
            image = opened(file, self._reading)
            image.draft(None, size)
            load(image, self._reading)
        if image.size != size:
            raise LevelsLost
        return image

    def _bytes(self) -> Content:
        """All of the source's, or of a JPEG what is there so far: it is decoded as it comes."""
        return self._content(self._info.format != "jpeg")

    def _file(self, held: Content) -> BinaryIO:
        if self._info.format != "jpeg":
            return open(held.path, "rb")  # libtiff wants a real file
        return io.BufferedReader(Arriving(held), BLOCK)

    def _start(self, timeout: float) -> Start:
        size = self._info.width, self._info.height

        def room(copies: int) -> Callable[[], AbstractContextManager[None]]:
            return lambda: self._gate.enter(copies * size[0] * size[1], timeout)

        held = self._bytes()
        if self._info.format != "jpeg":
            how = self._reading, self._look
            size, mode, facts = self._jobs.run("facts", held.path, self._info, *how)

            def whole(levels: Levels) -> None:
                memory = levels.lent(1)
                try:
                    self._jobs.run("whole", held.path, *how, size, mode, memory=memory)
                finally:
                    os.close(memory)

            return Start(size, mode, facts, whole, room=room(COPIES))
        file = self._file(held)
        return of_jpeg(file, held.read, self._info, self._reading, self._look, room)
