"""Sources in a folder of this machine."""

import errno
import os
import stat
import time
from pathlib import Path

from iiif_proxy.errors import OriginFailed
from iiif_proxy.sources.base import Conditions, Environ, LocalFile, refuse_dots

# File systems take a change's time from a clock that ticks every 1 to 10 ms: a file that was
# changed within this time may change again without a new stamp.
TICK = 0.01
NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}


class FileSource:
    """`file:/folder/{id}`: never outside its folder, wherever symbolic links point.

    The folder is the template's fixed part up to its last slash before `{id}`.
    """

    threaded = True

    def __init__(self, template: str) -> None:
        self.path = "/" + template.partition(":")[2].lstrip("/")
        self.folder = os.path.realpath(self.path.partition("{id}")[0].rpartition("/")[0] or "/")

    def url(self, identifier: str, environ: Environ) -> str:
        refuse_dots(identifier)
        return "file:" + self._path(identifier)

    def ask(
        self, identifier: str, conditions: Conditions | None, environ: Environ
    ) -> LocalFile | None:
        refuse_dots(identifier)
        path = self._path(identifier)
        try:
            real = os.path.realpath(path, strict=True)
            seen = os.stat(real)
            if 0 <= time.time() - seen.st_ctime < TICK:
                time.sleep(TICK)
                seen = os.stat(real)
        except ValueError:  # NUL, or no text of this file system
            return None
        except OSError as cause:
            if cause.errno in NOT_THERE:
                return None
            raise unreadable(cause) from cause
        if not stat.S_ISREG(seen.st_mode) or not Path(real).is_relative_to(self.folder):
            return None
        # With links in it: where one is turned elsewhere, the path leads to another stamp. Whoever
        # opens it compares, so nobody is led outside either.
        return LocalFile(path, stamp_of(seen), seen.st_mtime, seen.st_size)

    def _path(self, identifier: str) -> str:
        return self.path.replace("{id}", identifier)


def opened(path: str) -> int:
    """A descriptor. Never waits: in a file's place there may be a pipe by now. Raises OSError."""
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)


def unreadable(cause: OSError) -> OriginFailed:
    return OriginFailed("The source of this image cannot be read.", str(cause))


def stamp_of(seen: os.stat_result) -> str:
    """A text that changes whenever the file does."""
    return f"{seen.st_dev}-{seen.st_ino}-{seen.st_size}-{seen.st_mtime_ns}-{seen.st_ctime_ns}"


def stamp_at(path: str) -> str:
    """The stamp of what is there now, "" if nothing is."""
    try:
        return stamp_of(os.stat(path))
    except OSError:
        return ""
