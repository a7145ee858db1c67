"""`iiif-proxy serve`: the sidecar, under gunicorn."""

import argparse
import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from iiif_proxy.settings import load

HELP = "start the sidecar; everything else comes from the environment (IIIF_PROXY_…)"
EXAMPLES = """\
  IIIF_PROXY_ORIGIN=http://127.0.0.1:9000 iiif-proxy serve
  iiif-proxy serve --bind 0.0.0.0:8182
  iiif-proxy serve --bind unix:/run/iiif-proxy/socket
"""
PREFIX = "iiif-proxy-metrics-"
YOUNG = 60.0
FOLDER = "PROMETHEUS_MULTIPROC_DIR"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--bind",
        default="127.0.0.1:8182",
        metavar="HOST:PORT",
        type=address,
        help="where to listen (default: %(default)s; also unix:PATH)",
    )


def address(text: str) -> str:
    """`HOST:PORT`, `[IPv6]:PORT` or `unix:PATH`, as gunicorn takes it."""
    host, colon, port = text.rpartition(":")
    if text.startswith("unix:") and port:
        return text
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or (":" in host and not bracketed) or not re.fullmatch(r"[0-9]{1,5}", port):
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:8182")
    if int(port) > 65535:
        raise argparse.ArgumentTypeError(f"there is no port {port}")
    return text


def run(given: argparse.Namespace) -> int:
    settings = load(os.environ)
    with counting_together():
        # Not before: prometheus_client looks for the folder when it is imported.
        from iiif_proxy.commands.server import Server
        from iiif_proxy.proxy import IIIFProxy
        from iiif_proxy.telling import to_stderr

        IIIFProxy(environ={**os.environ})  # every mistake stops the start here, before any fork
        to_stderr(settings.log_level, settings.log_format)
        Server(given.bind, settings).run()
    return 0


@contextlib.contextmanager
def counting_together() -> Iterator[None]:
    """A fresh folder where the processes count together: an old one has the numbers of old ones.

    In memory where there is such a place. In the folder that PROMETHEUS_MULTIPROC_DIR names, if
    it does.
    """
    named = os.environ.get(FOLDER)
    if named:
        os.makedirs(named, exist_ok=True)
    place = named or ("/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir())
    clear(place)
    folder = tempfile.mkdtemp(prefix=PREFIX, dir=place)
    lock = os.open(folder, os.O_RDONLY)  # Workers have it too; the kernel lets go for the dead.
    fcntl.flock(lock, fcntl.LOCK_SH)
    owner = os.getpid()
    os.environ[FOLDER] = folder
    try:
        yield
    finally:
        if os.getpid() == owner:  # Workers come by here too when they end.
            os.close(lock)
            os.environ.pop(FOLDER)
            if named:
                os.environ[FOLDER] = named
            shutil.rmtree(folder, ignore_errors=True)


def clear(place: str) -> None:
    """Remove what servers left there that were killed."""
    for folder in Path(place).glob(PREFIX + "*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_ctime < YOUNG:
                continue  # Perhaps made just now, and not locked yet.
            lock = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
