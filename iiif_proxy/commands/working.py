"""Many images, several at once, with a line that says how far it is."""

import logging
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from iiif_proxy.commands.inside import complain, derived, nobody
from iiif_proxy.errors import Busy, NoImage, OriginFailed, OriginTimeout, ProxyError
from iiif_proxy.iiif import urls
from iiif_proxy.iiif.model import ImageInfo
from iiif_proxy.iiif.plan import ImageRequest
from iiif_proxy.iiif.tiles import sizes, tile_boxes, tiling
from iiif_proxy.proxy import IIIFProxy

# What a task did: made it, or found it there already; and its bytes.
Made = tuple[bool, int]
# What is to be done: an image, or (None: not known yet) one of its paths.
Todo = tuple[str, str | None]
PAUSE = 10.0
# Another time these may go well: after so many tries, with at most so many seconds between.
PASSING = (Busy, OriginFailed, OriginTimeout, OSError)
TRIES = 5
LONGEST = 30
SECOND = 1.0
log = logging.getLogger(__name__)


class Warming:
    """Tasks are paths of image requests, coarse to fine: a broken-off run is of most use so."""

    def __init__(
        self,
        proxy: IIIFProxy,
        version: int,
        format: str,
        only: list[str] | None,
        tiles: bool,
        presets: bool,
    ) -> None:
        self._proxy = proxy
        self._version = version
        self._format = format
        self._only = only
        self._tiles = tiles
        self._presets = presets

    def tasks(self, identifier: str) -> Sequence[str]:
        """Raises ProxyError."""
        service = self._proxy.service
        only = [self._path(identifier, "full", size) for size in self._only or ()]
        if only and not self._presets:
            return only
        _, info = service.info(identifier, nobody())
        if self._presets:
            return list(dict.fromkeys([*only, *self._of_presets(identifier, info)]))
        found = sizes(info, service.limits, service.features)
        paths = [self._path(identifier, "full", f"{w},{h}") for w, h in found]
        tiles = tiling(info, service.limits, service.features)
        for factor in reversed(tiles.scale_factors) if self._tiles else ():
            for box, width, height in tile_boxes(info, tiles, factor):
                whole = (box.width, box.height) == (info.width, info.height)
                region = "full" if whole else f"{box.x},{box.y},{box.width},{box.height}"
                size = f"{width},{height}" if self._version == 3 else f"{width},"
                paths.append(self._path(identifier, region, size))
        return list(dict.fromkeys(paths))

    def _of_presets(self, identifier: str, info: ImageInfo) -> Sequence[str]:
        service, api = self._proxy.service, urls.VERSIONS[self._version]
        plans = self._proxy.presets.plans(info, service.limits, service.features)
        head = self._head(identifier)
        return [
            f"{head}/{api.canonical(plan, info, service.limits, service.features)}"
            for plan in plans.values()
        ]

    def _head(self, identifier: str) -> str:
        return f"{self._proxy.settings.prefix}/{self._version}/{urls.encode(identifier)}"

    def _path(self, identifier: str, region: str, size: str) -> str:
        return f"{self._head(identifier)}/{region}/{size}/0/default.{self._format}"

    def make(self, path: str) -> Made:
        """Raises ProxyError."""
        return made(self._proxy, path)


def made(proxy: IIIFProxy, path: str) -> Made:
    """An image by the path of its request. Raises ProxyError."""
    request = urls.parse(path, proxy.settings.prefix, proxy.settings.default_version)
    assert isinstance(request, ImageRequest)
    _, derivative = derived(proxy, request)
    with derivative.entry as entry:
        return not derivative.hit, entry.size


class Progress:
    """On a terminal one line that is written over, else a line now and then."""

    def __init__(self, images: int, quiet: bool = False) -> None:
        self.made = self.skipped = self.failed = self.bytes = 0
        # By identifier: why, and of how many.
        self.lost: dict[str, dict[str, int]] = {}
        self._images = images
        self._begun_images = self._tasks = 0
        self._lock = threading.Lock()
        self._quiet = quiet
        self._begun = time.monotonic()
        self._terminal = sys.stderr.isatty()
        self._next = self._begun + (0 if self._terminal else PAUSE)

    def image(self, tasks: int) -> None:
        with self._lock:
            self._begun_images += 1
            self._tasks += tasks

    def done(self, made: Made) -> None:
        with self._lock:
            self.made += made[0]
            self.skipped += not made[0]
            self.bytes += made[1] if made[0] else 0
            self._show()

    def fault(self, what: str, error: BaseException | str, image: str) -> None:
        """Of an image `what` cannot be made."""
        with self._lock:
            self.failed += 1
            why = error if isinstance(error, str) else reason(error)
            reasons = self.lost.setdefault(image, {})
            reasons[why] = reasons.get(why, 0) + 1
            if self._terminal:
                sys.stderr.write("\r\x1b[K")
            complain(f"{what}: {error}")

    def line(self) -> str:
        seconds = max(time.monotonic() - self._begun, 0.001)
        finished = self.made + self.skipped + self.failed
        parts = [f"image {self._begun_images} of {self._images}", f"{self.made} made"]
        parts += [f"{self.skipped} there already"] if self.skipped else []
        parts += [f"{self.failed} failed"] if self.failed else []
        parts.append(f"{finished / seconds:.1f}/s")
        if self._begun_images and finished:
            # Images that were not begun are taken to be like those that were.
            whole = self._tasks / self._begun_images * self._images
            left = max(0.0, whole - finished) * seconds / finished
            parts.append(f"{clock(left)} left")
        return " · ".join(parts)

    def _show(self) -> None:
        now = time.monotonic()
        if self._quiet or now < self._next:
            return
        self._next = now + (0.2 if self._terminal else PAUSE)
        sys.stderr.write(f"\r\x1b[K{self.line()}" if self._terminal else self.line() + "\n")
        sys.stderr.flush()

    def end(self) -> None:
        if self._terminal and not self._quiet:
            sys.stderr.write("\r\x1b[K")
        if not self._quiet:
            seconds = time.monotonic() - self._begun
            print(
                f"{self.made} made ({self.bytes} bytes), {self.skipped} there already, "
                f"{self.failed} failed, in {clock(seconds)}"
            )

    def letters(self) -> Iterator[str]:
        """What was not made: a comment with the reason, then the identifier, as `--from` reads."""
        for image, reasons in self.lost.items():
            for why, count in reasons.items():
                yield f"# {image}: {' '.join(why.split())} ({count})"
            yield image


def passing(error: Exception) -> bool:
    """Whether the same may go well another time."""
    return isinstance(error, PASSING) and not isinstance(error, NoImage)


def told(error: Exception) -> Exception:
    """What is said of it. A fault of ours is told to the log, and costs that image only."""
    if isinstance(error, ProxyError | OSError):
        return error
    log.error("an image could not be made", exc_info=error)
    return ProxyError("Something went wrong here: the log has it.", repr(error))


def reason(error: BaseException) -> str:
    """One sentence."""
    return error.public if isinstance(error, ProxyError) else str(error)


def clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def each(
    names: Sequence[str],
    tasks: Callable[[str], Sequence[str]],
    make: Callable[[str], Made],
    progress: Progress,
    jobs: int,
) -> None:
    """Run the tasks of all names, `jobs` at a time; an interrupt ends it after those under way.

    What may go well another time is tried again after all others, `TRIES` times.
    """
    left: list[Todo] = [(name, None) for name in names]
    for tried in range(TRIES + 1):
        if tried:
            complain(f"{len(left)} may go well another time: they are tried again.")
            time.sleep(min(LONGEST, SECOND * 2 ** (tried - 1)))
        left = _round(left, tasks, make, progress, jobs, last=tried == TRIES)
        if not left:
            return


def _round(
    todo: Sequence[Todo],
    tasks: Callable[[str], Sequence[str]],
    make: Callable[[str], Made],
    progress: Progress,
    jobs: int,
    last: bool,
) -> list[Todo]:
    """Those of `todo` that failed and may go well another time."""
    waiting: queue.Queue[tuple[str, str] | None] = queue.Queue(jobs * 4)
    stopped = threading.Event()
    again: list[Todo] = []

    def failed(name: str, task: str | None, error: Exception) -> None:
        if passing(error) and not last:
            again.append((name, task))
            return
        if task is None:
            progress.image(1)
        progress.fault(task or name, told(error), name)

    def work() -> None:
        while (task := waiting.get()) is not None:
            if stopped.is_set():
                continue
            try:
                progress.done(make(task[1]))
            except Exception as error:  # A thread that ended would keep all others waiting.
                failed(*task, error)

    def feed() -> Iterator[tuple[str, str]]:
        for name, task in todo:
            if task is not None:
                yield name, task
                continue
            try:
                found = tasks(name)
            except Exception as error:
                failed(name, None, error)
                continue
            progress.image(len(found))
            yield from ((name, task) for task in found)

    threads = [threading.Thread(target=work) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    try:
        for one in feed():
            waiting.put(one)
    except BaseException:
        stopped.set()
        raise
    finally:
        for _ in threads:
            waiting.put(None)
        for thread in threads:
            thread.join()
    return again
