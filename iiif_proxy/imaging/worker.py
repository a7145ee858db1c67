"""The process that decodes for others (`apart.py`): `python -m iiif_proxy.imaging.worker FD S`."""

import contextlib
import os
import signal
import socket
import sys
from typing import Any

from iiif_proxy.errors import NoImage
from iiif_proxy.imaging.channel import Channel, Gone
from iiif_proxy.imaging.jobs import JOBS
from iiif_proxy.imaging.memory import frugal
from iiif_proxy.imaging.reading import NO_IMAGE


def serve(channel: Channel, seconds: float) -> None:
    """Do jobs as they come, each within so many seconds of a processor; Gone when none will."""
    channel.send("ready")
    while True:
        (job, arguments), descriptors = channel.receive()
        # Not handled: it ends the process in the midst of whatever C code it is in.
        signal.setitimer(signal.ITIMER_PROF, seconds)
        answer = _done(job, arguments, descriptors)
        signal.setitimer(signal.ITIMER_PROF, 0)
        channel.send(answer)
        del answer


def _done(job: str, arguments: tuple[Any, ...], descriptors: list[int]) -> Any:
    """What it gives, or the exception that it raises."""
    source, *memory = descriptors
    try:
        return JOBS[job](f"/dev/fd/{source}", *arguments, *memory)
    except MemoryError as cause:
        return NoImage(NO_IMAGE, repr(cause))
    except Exception as cause:
        return cause
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def main(number: int, seconds: float) -> None:
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    frugal()
    with contextlib.suppress(Gone):
        serve(Channel(socket.socket(fileno=number)), seconds)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
