"""Disks of every kind."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from iiif_proxy.stores.base import Entry, Key, Write
from iiif_proxy.stores.disk import DiskStore

ROOT = Path(__file__).parents[2]
Mount = Callable[[str], Path]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """`mount("size=64k")`: a tmpfs with these options. Skipped where that is not allowed."""
    mounted: list[Path] = []

    def make(options: str) -> Path:
        folder = tmp_path / f"mount{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "iiif-proxy-test", str(folder)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("a tmpfs cannot be mounted here (root is needed)")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def anybody() -> Iterator[Path]:
    """A folder that other users reach (pytest's own are closed to them); needs root to be one."""
    if os.geteuid():
        pytest.skip("needs root, to be another user")
    folder = Path(tempfile.mkdtemp(prefix="iiif-proxy-test-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def writing(data: bytes) -> Write:
    return lambda file: file.write(data)


def contents(entry: Entry | None) -> bytes | None:
    if entry is None:
        return None
    with entry:
        return entry.read()


def name(number: int) -> Key:
    """Keys spread over a few groups and versions."""
    return Key(f"g{number % 7}", f"v{number % 3}", f"{number},0,512,512_default.jpg")


def path_of(store: DiskStore, key: Key) -> Path:
    return store.folder / key.group / key.version / key.name


def on_disk(folder: Path) -> int:
    """What du says, in bytes, of what is there when it looks; what is moved counts once."""
    found: dict[int, int] = {}
    for root, _, files in os.walk(folder):
        for file in (root, *(os.path.join(root, name) for name in files)):
            try:
                status = os.lstat(file)
            except OSError:
                continue
            found[status.st_ino] = status.st_blocks * 512
    return sum(found.values())
