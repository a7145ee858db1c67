"""Decoding in processes of their own: a codec that crashes, or never ends, costs one request.

Of JPEG, and of the tiles of a TIFF, nothing comes here: JPEG is read in steps between which the
clock is looked at, and both are what zooming is made of. What this costs others:
`python -m bench.apart`.
"""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import iiif_proxy
from iiif_proxy.concurrency.recent import busy
from iiif_proxy.errors import Busy, NoImage, OriginFailed
from iiif_proxy.imaging.channel import Channel, Gone, Late
from iiif_proxy.imaging.jobs import JOBS
from iiif_proxy.imaging.reading import DEFAULT, NO_IMAGE, TOO_LONG, open_file
from iiif_proxy.metrics import DECODERS

log = logging.getLogger(__name__)
# A codec is stopped by the processor's time it took (`worker.py`); one that sleeps, or starves
# behind others, by so many times that on the clock.
STARVED = 5
# How many wait for the next; each holds 35 MB.
IDLE = 2
BEGINS = 60.0
# Seconds until it is tried again, where none could be begun.
PAUSE = 60.0
# Not by a codec: by the kernel, which had no memory left, or by who runs the machine. The image
# may be well; seconds until it is worth to ask again.
ENDED = (-signal.SIGKILL, -signal.SIGTERM)
PAUSE_AFTER = 5.0
# What codecs leak goes with the process.
JOBS_EACH = 200


class Jobs(Protocol):
    """Who does `JOBS`."""

    def run(self, job: str, path: str, *arguments: Any, memory: int | None = None) -> Any:
        """What `JOBS[job](path, *arguments)` gives, or raises; `memory` is its last argument."""


class Here:
    """Does them in this process."""

    def run(self, job: str, path: str, *arguments: Any, memory: int | None = None) -> Any:
        return JOBS[job](path, *arguments, *(() if memory is None else (memory,)))


HERE = Here()


class Apart:
    """Does them in other processes, at most `most` at once; `seconds` of a processor each.

    Processes are begun when they are needed (0.3 s) and used again. Where none can be begun it is
    all done here.
    """

    def __init__(
        self, seconds: float = DEFAULT.seconds, most: int = 4, patience: float = 20.0
    ) -> None:
        self._seconds = seconds
        self._most = most
        self._patience = patience
        self._anew()

    def _anew(self) -> None:
        self._owner = os.getpid()
        self._here_until = 0.0
        self._places = threading.BoundedSemaphore(self._most)
        self._idle: list[_Worker] = []
        self.close: Callable[[], object] = weakref.finalize(self, _close, self._idle)

    def run(self, job: str, path: str, *arguments: Any, memory: int | None = None) -> Any:
        """As `Jobs` has it. Raises Busy when no process is free in `patience` seconds; OriginFailed
        when one crashed over it or took too long; Busy when it was killed."""
        if self._owner != os.getpid():  # A fork: the parent's are not ours.
            for idle in self._idle:
                idle.disown()
            self._anew()
        if time.monotonic() < self._here_until:
            return HERE.run(job, path, *arguments, memory=memory)
        places = self._places
        if not places.acquire(timeout=self._patience):
            raise busy(self._patience)
        try:
            with open_file(path) as file:
                worker = self._worker()
                if worker is None:
                    return HERE.run(job, path, *arguments, memory=memory)
                given = [file.fileno(), *(() if memory is None else (memory,))]
                return self._ask(worker, (job, arguments), given)
        finally:
            places.release()

    def _ask(self, worker: "_Worker", order: tuple[str, Any], descriptors: list[int]) -> Any:
        try:
            found = worker.ask(order, descriptors)
        except Gone as cause:
            raise self._said(worker, cause) from cause
        except BaseException:
            worker.end()
            raise
        if len(self._idle) < IDLE and worker.jobs < JOBS_EACH:
            self._idle.append(worker)
        else:
            worker.end()
        if isinstance(found, Exception):
            raise found
        return found

    def _said(self, worker: "_Worker", cause: Gone) -> OriginFailed | Busy:
        code = worker.end()
        if isinstance(cause, Late) or code == -signal.SIGPROF:
            DECODERS.labels("overran").inc()
            return OriginFailed(TOO_LONG)
        DECODERS.labels("crashed").inc()
        if code in ENDED:
            log.warning("a decoder was ended: %s", signal.Signals(-code).name)
            return busy(PAUSE_AFTER)
        return NoImage(NO_IMAGE, f"the decoder ended: {code}")

    def _worker(self) -> "_Worker | None":
        while self._idle:
            try:
                worker = self._idle.pop()
            except IndexError:
                break
            if worker.alive:
                return worker
            worker.end()
        try:
            return _Worker(self._seconds)
        except (OSError, Gone) as cause:
            log.warning("no process to decode in could be begun, so it is done here: %s", cause)
            self._here_until = time.monotonic() + PAUSE
            return None


class _Worker:
    """One process. Not for two threads at once."""

    def __init__(self, seconds: float) -> None:
        """Raises OSError, or Gone if it is no Python of ours that begins."""
        ours, theirs = socket.socketpair()
        self.jobs = 0
        self._channel = Channel(ours)
        self._seconds = seconds
        with theirs:
            number = theirs.fileno()
            try:
                self._process = subprocess.Popen(
                    [_python(), "-m", "iiif_proxy.imaging.worker", str(number), str(seconds)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=[number],
                    # Ctrl-C is for whoever began this, and this ends when that does.
                    process_group=0,
                    env=os.environ | {"PYTHONPATH": os.pathsep.join(_places())},
                )
            except BaseException:
                self._channel.close()
                raise
        try:
            self._channel.receive(BEGINS)
        except BaseException:
            self.end()
            raise

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, order: tuple[str, Any], descriptors: list[int]) -> Any:
        end = time.monotonic() + STARVED * self._seconds
        self._channel.send(order, descriptors)
        self.jobs += 1
        return self._channel.receive(end - time.monotonic())[0]

    def end(self) -> int:
        """Its exit code; negative for the signal that ended it."""
        self._channel.close()
        try:
            return self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def disown(self) -> None:
        """In a process forked from its owner's."""
        self._channel.close()
        self._process.returncode = 0


def _close(idle: list[_Worker]) -> None:
    while idle:
        idle.pop().end()


def _python() -> str:
    """Under some servers `sys.executable` is the server."""
    if Path(sys.executable).name.startswith("python"):
        return sys.executable
    return str(Path(sys.prefix) / "bin" / "python3")


def _places() -> list[str]:
    """Where this process finds its modules, itself first."""
    return [str(Path(iiif_proxy.__file__).parents[1]), *filter(None, sys.path)]
