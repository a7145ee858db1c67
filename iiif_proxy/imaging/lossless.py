"""JPEG to JPEG without decoding: turned by jpegtran, or the source's own bytes.

No generation is lost, and it is faster (docs/performance.md). What cannot be done so is None or
False here, and is decoded as everything else.
"""

import functools
import io
import logging
import shutil
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import IO, BinaryIO, Self

from PIL import Image

from iiif_proxy.iiif.model import Plan
from iiif_proxy.imaging import jpegwalk
from iiif_proxy.imaging.jpegtile import parse_frame
from iiif_proxy.imaging.orientation import TURNS, Stored
from iiif_proxy.imaging.render import MOVES
from iiif_proxy.imaging.words import SILENT, Words, resolution, segments

log = logging.getLogger(__name__)
Move = Image.Transpose | None
# A part of an image is cut without decoding if it is a good part of it, or the image is small:
# jpegtran reads all of it each time (100 megapixels in 0.6 s, 4 in 30 ms), a session once.
SMALL, GOOD_PART = 4_000_000, 4
# Of jpegtran: a block of 64 coefficients, and all else.
_BLOCK, _OVERHEAD = 128, 8 << 20
# What this takes is decoded instead (178 megapixels of 4:2:0), and what takes longer: seconds.
_MOST, LONGEST = 1 << 30, 60.0
# Scans of a progressive file; encoders make ten. Each costs the whole image (a "bomb").
_SCANS = "100"
# (identifier, samples across, samples down, table) of each component, as Pillow has them
Layers = Sequence[tuple[int, int, int, int]]

_T = Image.Transpose
_MATRICES: dict[Move, tuple[int, int, int, int]] = {
    None: (1, 0, 0, 1),
    _T.FLIP_LEFT_RIGHT: (-1, 0, 0, 1),
    _T.FLIP_TOP_BOTTOM: (1, 0, 0, -1),
    _T.ROTATE_180: (-1, 0, 0, -1),
    _T.TRANSPOSE: (0, 1, 1, 0),
    _T.TRANSVERSE: (0, -1, -1, 0),
    _T.ROTATE_270: (0, -1, 1, 0),
    _T.ROTATE_90: (0, 1, -1, 0),
}
_SWITCHES: dict[Move, tuple[str, ...]] = {
    _T.FLIP_LEFT_RIGHT: ("-flip", "horizontal"),
    _T.FLIP_TOP_BOTTOM: ("-flip", "vertical"),
    _T.ROTATE_180: ("-rotate", "180"),
    _T.TRANSPOSE: ("-transpose",),
    _T.TRANSVERSE: ("-transverse",),
    # Pillow turns the other way round.
    _T.ROTATE_270: ("-rotate", "90"),
    _T.ROTATE_90: ("-rotate", "270"),
}
# Which sides must be whole blocks, so that none is cut off (jtransform_perfect_transform).
_WHOLE_WIDTH = {_T.FLIP_LEFT_RIGHT, _T.ROTATE_90, _T.ROTATE_180, _T.TRANSVERSE}
_WHOLE_HEIGHT = {_T.FLIP_TOP_BOTTOM, _T.ROTATE_270, _T.ROTATE_180, _T.TRANSVERSE}


@functools.cache
def jpegtran() -> str | None:
    """Where the program is; looked for once."""
    return shutil.which("jpegtran")


def both(first: Move, then: Move) -> Move:
    """Two moves of pixels as one."""
    a, b, c, d = _MATRICES[then]
    e, f, g, h = _MATRICES[first]
    product = (a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h)
    return next(move for move, matrix in _MATRICES.items() if matrix == product)


def as_it_is(plan: Plan) -> bool:
    """Whether a JPEG of just this region at this size is the answer."""
    plain = plan.format == "jpg" and plan.quality == "default"
    return plain and not plan.mirror and not plan.degrees


def may_be(plan: Plan, info_format: str, tile: bool, area: int) -> bool:
    """Whether a plan of an image of that many pixels could be answered so, by what it says."""
    box = plan.box
    if (
        info_format != "jpeg"
        or plan.format != "jpg"
        or plan.quality != "default"
        or (plan.width, plan.height) != (box.width, box.height)
        or plan.degrees % 90
    ):
        return False
    part = box.width * box.height
    if part == area:
        return True
    turned = plan.mirror or bool(plan.degrees)
    return (turned or not tile) and (area <= SMALL or part * GOOD_PART >= area)


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be done to a file: `commands` one behind the other; none: its own bytes do.

    `memory`: the bytes that all of them need. `plain`: it is gray or YCbCr, as JFIF has it, and
    nothing else is said.
    """

    commands: tuple[tuple[str, ...], ...]
    memory: int
    plain: bool


def work(image: Image.Image, orientation: int, plan: Plan, progressive: bool) -> Work | None:
    """For a JPEG whose header is read and whose colours stay as they are; None: decode it."""
    layers: Layers = getattr(image, "layer", [])
    if image.mode not in ("L", "RGB") or not layers or getattr(image, "bits", 8) != 8:
        return None
    plain = "adobe" not in image.info and [layer[0] for layer in layers] in ([1], [1, 2, 3])
    stored = Stored(orientation, *image.size)
    box = stored.box(plan.box)
    move = both(TURNS.get(orientation), MOVES.get((plan.mirror, int(plan.degrees))))
    whole = (box.width, box.height) == image.size
    # What is progressive stays so; what is not becomes so if that is set.
    again = progressive and not image.info.get("progressive")
    if move is None and whole and not again:
        return Work((), 0, plain)
    across, down = _unit(layers)
    cut_off = (move in _WHOLE_WIDTH and box.width % across) or (
        move in _WHOLE_HEIGHT and box.height % down
    )
    program = jpegtran()
    if program is None or box.x % across or box.y % down or cut_off:
        return None
    ways: list[tuple[str, ...]] = []
    if not whole:
        ways.append(("-crop", f"{box.width}x{box.height}+{box.x}+{box.y}"))
    if move is not None:
        # For itself: what is cut first may be turned where the whole image may not.
        ways.append(("-perfect", *_SWITCHES[move]))
    if progressive:
        ways = ways or [()]
        ways[-1] = ("-progressive", *ways[-1])
    memory = _memory(layers, *image.size)
    if memory > _MOST:
        return None
    always = (program, "-copy", "none", "-maxmemory", str(memory // 1024), "-maxscans", _SCANS)
    return Work(tuple((*always, *way) for way in ways), memory * len(ways), plain)


def _unit(layers: Layers) -> tuple[int, int]:
    """Width and height of the smallest unit that can be moved, in pixels."""
    if len(layers) == 1:
        return 8, 8
    return 8 * max(layer[1] for layer in layers), 8 * max(layer[2] for layer in layers)


def _memory(layers: Layers, width: int, height: int) -> int:
    """Bytes that jpegtran needs: all coefficients, as they are and as they are moved."""
    across, down = _unit(layers)
    units = -(-width // across) * -(-height // down)
    blocks = 1 if len(layers) == 1 else sum(layer[1] * layer[2] for layer in layers)
    return 2 * units * blocks * _BLOCK + _OVERHEAD


def run(
    todo: Work,
    path: str,
    target: BinaryIO,
    words: Words = SILENT,
    seconds: float = LONGEST,
) -> bool:
    """Write the answer to `target`, or leave that as it was: False.

    `words` are added. Whatever is started is gone afterwards, after
    `seconds` by force.
    """
    begun = target.tell()
    density = resolution(words.dpi) if todo.plain and words.dpi >= 1 else b""
    try:
        # Unbuffered: another process goes on where this one's descriptor stands.
        with (
            open(path, "rb", buffering=0) as source,
            _Pipeline(todo.commands, source, seconds) as pipeline,
        ):
            for block in jpegwalk.picture(pipeline.output, segments(words), density):
                target.write(block)
            pipeline.finish()
    except (jpegwalk.Unfit, OSError) as fault:
        log.info("a JPEG is decoded after all: %s", fault)
        target.seek(begun)
        target.truncate()
        return False
    return True


def handed_on(data: bytes, target: BinaryIO, words: Words) -> bool:
    """Write a JPEG that is in memory, without what is no picture, with `words`; or leave `target`
    as it was: False."""
    begun = target.tell()
    # What Adobe's marker says of colours, JFIF's would deny.
    plain = all(marker != 0xEE for marker, _ in parse_frame(data).segments)
    density = resolution(words.dpi) if plain and words.dpi >= 1 else b""
    try:
        for block in jpegwalk.picture(io.BytesIO(data), segments(words), density):
            target.write(block)
    except jpegwalk.Unfit as fault:
        log.info("a JPEG is decoded after all: %s", fault)
        target.seek(begun)
        target.truncate()
        return False
    return True


class _Pipeline:
    """Programs in a row, the first reads `source`; `output` is what the last one writes.

    (It is the source itself without any program.)
    """

    def __init__(
        self, commands: Sequence[Sequence[str]], source: IO[bytes], seconds: float
    ) -> None:
        self.output: IO[bytes] = source
        self._running: list[subprocess.Popen[bytes]] = []
        self._watch = threading.Timer(seconds, self._kill)
        self._watch.daemon = True
        try:
            for command in commands:
                before = self.output
                process = subprocess.Popen(
                    command,
                    stdin=before,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env={"PATH": "/nonexistent"},
                )
                self._running.append(process)
                assert process.stdout is not None
                self.output = process.stdout
                if before is not source:
                    before.close()
            if commands:
                self._watch.start()
        except BaseException:
            self.close()
            raise

    def finish(self) -> None:
        """Wait for the end. Raises Unfit if it was no good one: jpegtran warns by 2."""
        for process in self._running:
            if process.wait():
                raise jpegwalk.Unfit(f"jpegtran ended with {process.returncode}")

    def close(self) -> None:
        self._watch.cancel()
        self._kill()
        for process in self._running:
            if process.stdout is not None:
                process.stdout.close()
            process.wait()

    def _kill(self) -> None:
        for process in self._running:
            process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
