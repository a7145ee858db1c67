"""Sources in a folder of this machine."""

import os
import stat
from pathlib import Path

from iiif_proxy.errors import OriginFailed
from iiif_proxy.sources.base import Conditions, Environ, LocalFile, fill


class FileSource:
    """`file:/folder/{id}`: never outside its folder, wherever symbolic links point.

    The folder is the template's fixed part up to its last slash before `{id}`.
    """

    threaded = True

    def __init__(self, template: str) -> None:
        self.path = "/" + template.partition(":")[2].lstrip("/")
        self.folder = os.path.realpath(self.path.partition("{id}")[0].rpartition("/")[0] or "/")

    def url(self, identifier: str, environ: Environ) -> str:
        return "file:" + self.path.replace("{id}", identifier)

    def ask(
        self, identifier: str, conditions: Conditions | None, environ: Environ
    ) -> LocalFile | None:
        fill(self.path, identifier)
        if "\0" in identifier:
            return None
        try:
            path = os.path.realpath(self.path.replace("{id}", identifier), strict=True)
            if not Path(path).is_relative_to(self.folder):
                return None
            seen = os.stat(path)
        except PermissionError as cause:
            raise OriginFailed("The source of this image cannot be read.", str(cause)) from cause
        except (OSError, ValueError):
            return None
        if not stat.S_ISREG(seen.st_mode):
            return None
        return LocalFile(path, stamp_of(seen), seen.st_mtime, seen.st_size)


def stamp_of(seen: os.stat_result) -> str:
    """A text that changes whenever the file does."""
    return f"{seen.st_dev}-{seen.st_ino}-{seen.st_size}-{seen.st_mtime_ns}-{seen.st_ctime_ns}"
