"""Archives of the npm registry, each pinned by the SHA-512 that npm names `dist.integrity`.

By `npm pack` where npm is, else from the registry's own address. Nothing else of npm is used: no
dependencies, no scripts.
"""

import base64
import hashlib
import os
import shutil
import subprocess
import tarfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

SECONDS = 120
REGISTRY = os.environ.get("NPM_CONFIG_REGISTRY") or "https://registry.npmjs.org"


class NotFetched(Exception):
    """One sentence on why."""


@dataclass(frozen=True, slots=True)
class Package:
    name: str
    version: str
    integrity: str

    @property
    def archive(self) -> str:
        """The file name that `npm pack` gives it."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"

    @property
    def url(self) -> str:
        base = self.name.rpartition("/")[2]
        return f"{REGISTRY.rstrip('/')}/{self.name}/-/{base}-{self.version}.tgz"


def fetched(package: Package, folder: Path) -> Path:
    """The archive in `folder`, checked. Raises NotFetched."""
    archive = folder / package.archive
    folder.mkdir(parents=True, exist_ok=True)
    if not archive.is_file():
        npm = shutil.which("npm")
        if npm is None or not packed(npm, package, folder):
            downloaded(package, archive)
    checked(archive, package.integrity)
    return archive


def packed(npm: str, package: Package, folder: Path) -> bool:
    command = [npm, "pack", f"{package.name}@{package.version}", "--silent"]
    try:
        subprocess.run(
            [*command, "--pack-destination", str(folder)],
            check=True, capture_output=True, timeout=SECONDS, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return False
    return (folder / package.archive).is_file()


def downloaded(package: Package, archive: Path) -> None:
    fresh = archive.with_suffix(f".{os.getpid()}")
    try:
        with urllib.request.urlopen(package.url, timeout=SECONDS) as answer:
            fresh.write_bytes(answer.read())
    except (OSError, urllib.error.URLError) as error:
        raise NotFetched(f"{package.name} could not be had from {REGISTRY}") from error
    os.replace(fresh, archive)


def checked(archive: Path, integrity: str) -> None:
    if not archive.is_file():
        raise NotFetched(f"{archive.name} is not there")
    digest = hashlib.sha512(archive.read_bytes()).digest()
    if base64.b64encode(digest).decode() != integrity:
        archive.unlink()
        raise NotFetched(f"{archive.name} is not the archive whose SHA-512 is pinned")


def member(archive: Path, name: str) -> bytes:
    with tarfile.open(archive) as opened:
        found = opened.extractfile(name)
        assert found is not None, name
        return found.read()


def unpacked(package: Package, archives: Path, place: Path) -> None:
    """All of a package below `place`, which appears when it is whole."""
    if place.is_dir():
        return
    archive = fetched(package, archives)
    fresh = place.with_name(f"{place.name}.{os.getpid()}")
    with tarfile.open(archive) as opened:
        opened.extractall(fresh, filter="data")
    top = next(child for child in fresh.iterdir() if child.is_dir())
    try:
        top.rename(place)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
