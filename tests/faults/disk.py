"""What the disk of the cache may do wrong: the second table of docs/faults.md."""

import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers import Served

# Root may write everywhere, except without these.
BOUND = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


def mortal() -> list[str]:
    """A command that runs another as one who may not write everywhere."""
    able = os.geteuid() == 0 and not subprocess.run([*BOUND, "true"], check=False).returncode
    return BOUND if able else []


# More than any source here, less than the derivatives that are asked for.
LARGEST = 64 << 10


@dataclass
class Place:
    """A sidecar and the folder of its cache."""

    served: Served
    cache: Path

    def limit(self, which: int, soft: int) -> dict[int, tuple[int, int]]:
        """Let all workers do so much at most; what they were allowed before."""
        before = {}
        for pid in self.served.workers():
            before[pid] = resource.prlimit(pid, which)
            resource.prlimit(pid, which, (soft, before[pid][1]))
        return before


Fault = Callable[[Place], Iterator[None]]


@dataclass(frozen=True, slots=True)
class DiskFault:
    """`does` is until it is left; `says`: what deep health finds then, if it can tell; `hits`:
    whether what was stored is still found; `keeps`: whether something new is kept; `mount`: its
    options, where it needs a file system of its own."""

    name: str
    does: Fault
    says: str | None
    hits: bool
    keeps: bool = False
    mount: str | None = None

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


def may_not_be_written(place: Place) -> Iterator[None]:
    folders = [place.cache, *(path for path in place.cache.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    yield
    for folder in folders:
        folder.chmod(0o755)


def is_closed(place: Place) -> Iterator[None]:
    place.cache.chmod(0)
    yield
    place.cache.chmod(0o755)


def is_read_only(place: Place) -> Iterator[None]:
    subprocess.run(["mount", "-o", "remount,ro", str(place.cache.parent)], check=True)
    yield
    subprocess.run(["mount", "-o", "remount,rw", str(place.cache.parent)], check=True)


def is_full(place: Place) -> Iterator[None]:
    ballast = place.cache.parent / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass
    yield
    ballast.unlink()


def takes_no_large_files(place: Place) -> Iterator[None]:
    before = place.limit(resource.RLIMIT_FSIZE, LARGEST)
    yield
    for pid, limits in before.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


def is_removed(place: Place) -> Iterator[None]:
    # Whoever writes meanwhile puts something into a folder that was just found empty.
    while place.cache.exists():
        shutil.rmtree(place.cache, ignore_errors=True)
    yield


def is_replaced(place: Place) -> Iterator[None]:
    place.cache.rename(place.cache.with_name("before"))
    place.cache.mkdir()
    yield


def is_a_file(place: Place) -> Iterator[None]:
    place.cache.rename(place.cache.with_name("before"))
    place.cache.write_bytes(b"in the way")
    yield
    place.cache.unlink()


def is_garbage(place: Place) -> Iterator[None]:
    """Every file is cut in half: what a power cut may leave."""
    for path in place.cache.rglob("*"):
        if path.is_file() and not path.is_symlink():
            os.truncate(path, path.stat().st_size // 2)
    yield


REFUSED = "The cache cannot be written ({})."
DISK_FAULTS: Sequence[DiskFault] = [
    DiskFault("may not be written", may_not_be_written, REFUSED.format("permission denied"), True),
    DiskFault("may not be entered", is_closed, REFUSED.format("permission denied"), False),
    DiskFault("is read-only", is_read_only, REFUSED.format("read-only file system"), True,
              mount="size=32m"),
    DiskFault("is full", is_full, "The disk of the cache is nearly full.", True,
              mount="size=32m"),
    DiskFault("takes no large files", takes_no_large_files, None, True),
    DiskFault("is removed", is_removed, None, False, keeps=True),
    DiskFault("is replaced by an empty one", is_replaced, None, False, keeps=True),
    DiskFault("is a file now", is_a_file, REFUSED.format("not a directory"), False),
    DiskFault("has lost half of every file", is_garbage, None, False, keeps=True),
]  # fmt: skip


@contextmanager
def suffering(fault: DiskFault, place: Place) -> Iterator[None]:
    does = fault.does(place)
    next(does)
    try:
        yield
    finally:
        next(does, None)
