"""Put OpenSeadragon (BSD-3-Clause) into the package: its script and its licence, nothing else.

By the clients that are here: `npm pack`, or else pip, from the source archive of openslide-python,
which carries the same release unminified. What arrives counts only if its SHA-512 is the one below.
`python tools/fetch_openseadragon.py [--optional] [--from FILE]`; FILE is npm's .tgz, fetched by
hand. Exit code 1 if it is not there afterwards, unless --optional: then the view page shows a
plain picture.
"""

import argparse
import base64
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VERSION = "6.1.1"
PLACE = Path(__file__).parent.parent / "iiif_proxy" / "web" / "static" / "openseadragon"
SCRIPT = PLACE / "openseadragon.min.js"
SECONDS = 120

# npm view openseadragon@6.1.1 dist.integrity
NPM_INTEGRITY = (
    "g4iKe2q8B642SaBT3+x4ZF3/8b1TxPPydyjmtrOLgDrlYWMKd9ZXM+1Cb/xa9DVySkvs/7l6HR1nHKfD5F3Tsw=="
)
NPM_FILES = {
    "package/build/openseadragon/openseadragon.min.js": "openseadragon.min.js",
    "package/LICENSE.txt": "LICENSE.txt",
}
PYPI_ARCHIVE = "openslide-python==1.4.7"
PYPI_SHA256 = "730fed798de683b00c8ef4d956f3d429cc02f2c449eb0d58944e1769ba7983cc"
PYPI_INTEGRITY = (
    "dn6DBU1F/h1AmcIhzmTs25AWEfTcZ++05MXRPgzcrlYVRjB85eJkUBhsxvPRgoEmTlhnPXeFtGZDIZ3rUBzduw=="
)
PYPI_FILES = {
    "openslide_python-1.4.7/examples/deepzoom/static/openseadragon.js": "openseadragon.min.js",
    "openslide_python-1.4.7/examples/deepzoom/licenses/LICENSE.openseadragon": "LICENSE.txt",
}


class NotFetched(Exception):
    """One sentence on why."""


def is_there() -> bool:
    if not SCRIPT.is_file() or not (PLACE / "LICENSE.txt").is_file():
        return False
    with SCRIPT.open(encoding="utf-8") as file:
        return file.readline().strip() == f"//! openseadragon {VERSION}"


def run(command: list[str]) -> None:
    try:
        subprocess.run(
            command, check=True, capture_output=True, timeout=SECONDS, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise NotFetched(f"`{Path(command[0]).name}` could not fetch it") from error


def by_npm(folder: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise NotFetched("npm is not here")
    run([npm, "pack", f"openseadragon@{VERSION}", "--silent", "--pack-destination", str(folder)])
    return folder / f"openseadragon-{VERSION}.tgz"


def by_pip(folder: Path) -> Path:
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{PYPI_ARCHIVE} --hash=sha256:{PYPI_SHA256}\n", encoding="ascii")
    if importlib.util.find_spec("pip"):
        pip = [sys.executable, "-m", "pip"]
    elif uv := shutil.which("uv"):
        pip = [uv, "tool", "run", "pip"]
    else:
        raise NotFetched("neither npm nor pip is here")
    options = ["--quiet", "--no-deps", "--no-binary=openslide-python", "--require-hashes"]
    run([*pip, "download", *options, "--dest", str(folder), "--requirement", str(wanted)])
    return folder / "openslide_python-1.4.7.tar.gz"


def unpack(archive: Path, integrity: str, files: dict[str, str]) -> None:
    """The named members of the archive, all or nothing."""
    if not archive.is_file():
        raise NotFetched(f"{archive.name} is not there")
    digest = hashlib.sha512(archive.read_bytes()).digest()
    if base64.b64encode(digest).decode() != integrity:
        raise NotFetched(f"{archive.name} is not the archive whose SHA-512 is pinned")
    PLACE.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive) as opened:
        for member, name in files.items():
            found = opened.extractfile(member)
            assert found is not None, member
            with tempfile.NamedTemporaryFile(dir=PLACE, delete=False) as file:
                file.write(found.read())
            os.chmod(file.name, 0o644)
            os.replace(file.name, PLACE / name)


def fetch() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            unpack(by_npm(folder), NPM_INTEGRITY, NPM_FILES)
        except NotFetched:
            unpack(by_pip(folder), PYPI_INTEGRITY, PYPI_FILES)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Put OpenSeadragon into the package.")
    parser.add_argument("--optional", action="store_true", help="do without it if need be")
    parser.add_argument("--from", dest="archive", type=Path, help=f"openseadragon-{VERSION}.tgz")
    given = parser.parse_args(arguments)
    if is_there():
        return 0
    try:
        if given.archive:
            unpack(given.archive, NPM_INTEGRITY, NPM_FILES)
        else:
            fetch()
    except NotFetched as error:
        print(f"OpenSeadragon {VERSION} is not here: {error}.", file=sys.stderr)
        if given.optional:
            print("The view page will show a picture that does not zoom.", file=sys.stderr)
            return 0
        print(
            f"Is the network there? By hand: python {Path(__file__).name}"
            f" --from openseadragon-{VERSION}.tgz",
            file=sys.stderr,
        )
        return 1
    print(f"OpenSeadragon {VERSION} is in {PLACE.relative_to(PLACE.parents[3])}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
