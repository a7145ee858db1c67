"""Files of a folder: never outside it, never what is no file, never an old one."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from iiif_proxy.errors import InvalidRequest, NotFound, OriginFailed, SourceChanged
from iiif_proxy.sources import file as file_room
from iiif_proxy.sources.file import FileSource
from tests.servers import ROOT, Origin
from tests.sources.conftest import BLUE, LARGE, RED, Make, answer, content


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.jpg").write_bytes(RED)
    (folder / "sub" / "b.jpg").write_bytes(BLUE)
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    return folder


def source_of(folder: Path) -> FileSource:
    return FileSource(f"file:{folder}/{{id}}")


@pytest.mark.parametrize("identifier", ["a.jpg", "sub/b.jpg", "sub//b.jpg", "/a.jpg", "link.jpg"])
def test_inside(pictures: Path, identifier: str) -> None:
    (pictures / "link.jpg").symlink_to("sub/b.jpg")
    found = source_of(pictures).ask(identifier, None, {})
    assert found is not None
    assert found.size in {len(RED), len(BLUE)}


@pytest.mark.parametrize(
    "identifier",
    [
        "out.jpg", "away/secret.jpg", "chain.jpg", "circle", "sub", "", "/", "missing.jpg",
        "a.jpg/x", "a.jpg\0", "\ud800", "x" * 300, "y/" * 3000, "/etc/passwd", "sub/",
        "%2e%2e/secret.jpg", "fifo", "socket", "null",
    ],
)  # fmt: skip
def test_not_there(pictures: Path, identifier: str) -> None:
    (pictures / "out.jpg").symlink_to(pictures.parent / "secret.jpg")
    (pictures / "away").symlink_to(pictures.parent)
    (pictures / "chain.jpg").symlink_to("out.jpg")
    (pictures / "circle").symlink_to("circle")
    (pictures / "null").symlink_to("/dev/null")
    os.mkfifo(pictures / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.getcwd()
        os.chdir(pictures)
        listening.bind("socket")
        os.chdir(here)
        assert source_of(pictures).ask(identifier, None, {}) is None


@pytest.mark.parametrize("identifier", ["..", "../secret.jpg", "sub/../../secret.jpg", "./a.jpg"])
def test_dots_are_refused(pictures: Path, identifier: str) -> None:
    with pytest.raises(InvalidRequest):
        source_of(pictures).ask(identifier, None, {})
    with pytest.raises(InvalidRequest):
        source_of(pictures).url(identifier, {})


def test_the_folder_is_what_stands_before_the_identifier(pictures: Path) -> None:
    inner = FileSource(f"file:{pictures}/sub/{{id}}.jpg")
    assert inner.ask("b", None, {}) is not None
    (pictures / "sub" / "up.jpg").symlink_to("../a.jpg")
    assert inner.ask("up", None, {}) is None
    assert source_of(pictures).ask("sub/up.jpg", None, {}) is not None


def test_a_folder_that_is_a_link_itself(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(pictures)
    assert source_of(tmp_path / "current").ask("a.jpg", None, {}) is not None


def test_a_pipe_in_the_place_of_a_file_does_not_block(pictures: Path, make: Make) -> None:
    """Between the look and the opening."""
    cache = make(source_of(pictures))
    image = cache.open("a.jpg", {})
    (pictures / "a.jpg").unlink()
    os.mkfifo(pictures / "a.jpg")
    begun = time.monotonic()
    with pytest.raises(SourceChanged):
        cache.content(image, {})
    with pytest.raises(NotFound):
        cache.open("a.jpg", {})
    assert time.monotonic() - begun < 10


def test_a_link_that_is_turned_elsewhere_meanwhile(pictures: Path, make: Make) -> None:
    """Hot or not: the record of the file before is not current, and nothing outside is read."""
    link = pictures / "now.jpg"
    link.symlink_to("a.jpg")
    cache = make(source_of(pictures))
    image = cache.open("now.jpg", {})
    assert cache.current(image.record)
    for target in ("sub/b.jpg", pictures.parent / "secret.jpg"):
        link.unlink()
        link.symlink_to(target)
        assert not cache.current(image.record)
        with pytest.raises(SourceChanged):
            cache.content(image, {})
    link.unlink()
    link.symlink_to("sub/b.jpg")
    assert content(cache, "now.jpg") == BLUE


def test_every_change_is_seen(pictures: Path, make: Make) -> None:
    """In place, at the same length, within one tick of the file system's clock."""
    cache = make(source_of(pictures))
    seen = set()
    for turn in range(20):
        (pictures / "a.jpg").write_bytes(RED[:-1] + bytes([turn]))
        image = cache.open("a.jpg", {})
        seen.add(image.record.fingerprint)
        assert content(cache, "a.jpg")[-1] == turn
    assert len(seen) == 20


def test_a_file_that_is_replaced_while_it_is_opened(
    pictures: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = make(source_of(pictures))
    real = file_room.opened
    turns: list[str] = []

    def replaced(path: str) -> int:
        turns.append(path)
        if len(turns) == 1:
            (pictures / "new").write_bytes(BLUE)
            (pictures / "new").replace(path)
        return real(path)

    monkeypatch.setattr("iiif_proxy.sources.cache.opened", replaced)
    assert content(cache, "a.jpg") == BLUE
    turns.clear()
    for name in ("new", "a.jpg"):
        (pictures / name).write_bytes(RED)

    def always(path: str) -> int:
        os.utime(path, ns=(0, len(turns)))
        turns.append(path)
        return real(path)

    monkeypatch.setattr("iiif_proxy.sources.cache.opened", always)
    with pytest.raises(OriginFailed, match="keeps changing"):
        cache.open("a.jpg", {})
    assert len(turns) == 3


def test_what_is_no_image_is_refused_until_it_is_one(pictures: Path, make: Make) -> None:
    cache = make(source_of(pictures))
    for bad in (b"", b"<html>", LARGE[:200]):
        (pictures / "c.jpg").write_bytes(bad)
        with pytest.raises(OriginFailed):
            cache.open("c.jpg", {})
    (pictures / "c.jpg").write_bytes(LARGE)
    assert content(cache, "c.jpg") == LARGE


@pytest.fixture
def anybodys() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="iiif-proxy-test-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


UNREADABLE = """
import os, sys
sys.path.insert(0, os.getcwd())
from iiif_proxy.errors import OriginFailed
from iiif_proxy.sources.file import FileSource, opened, unreadable
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
source = FileSource("file:" + sys.argv[1] + "/{id}")
try:
    source.ask("closed/a.jpg", None, {})
except OriginFailed as error:
    assert sys.argv[1] not in error.public
else:
    raise SystemExit("a closed folder")
found = source.ask("closed.jpg", None, {})
try:
    opened(found.path)
except OSError as error:
    assert sys.argv[1] not in unreadable(error).public
else:
    raise SystemExit("a closed file")
"""


def test_what_may_not_be_read(anybodys: Path) -> None:
    (anybodys / "closed").mkdir(mode=0)
    (anybodys / "closed.jpg").write_bytes(RED)
    (anybodys / "closed.jpg").chmod(0)
    command = [sys.executable, "-c", UNREADABLE, str(anybodys)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    (anybodys / "closed").chmod(0o755)
    assert done.returncode == 0, done.stderr


def test_folder_first_then_the_origin(origin: Origin, pictures: Path, make: Make) -> None:
    """A file that appears is taken from then on; one that goes leaves the place to the next."""
    from iiif_proxy.sources.http import HttpSource

    cache = make(source_of(pictures), HttpSource(f"{origin.url}/{{id}}"), unknown_ttl=60)
    origin.routes["/d.jpg"] = answer(BLUE, ETag='"1"')
    assert content(cache, "d.jpg") == BLUE
    (pictures / "d.jpg").write_bytes(RED)
    assert content(cache, "d.jpg") == RED
    (pictures / "d.jpg").unlink()
    assert content(cache, "d.jpg") == BLUE
    with pytest.raises(NotFound):
        cache.open("e.jpg", {})
    (pictures / "e.jpg").write_bytes(RED)
    assert content(cache, "e.jpg") == RED


def test_the_origin_first_then_a_folder(origin: Origin, pictures: Path, make: Make) -> None:
    from iiif_proxy.sources.http import HttpSource

    cache = make(HttpSource(f"{origin.url}/{{id}}"), source_of(pictures), unknown_ttl=0)
    assert content(cache, "a.jpg") == RED
    (pictures / "a.jpg").write_bytes(LARGE)
    assert content(cache, "a.jpg") == LARGE
    origin.routes["/a.jpg"] = answer(BLUE, ETag='"1"')
    assert content(cache, "a.jpg") == BLUE
    origin.routes["/b.jpg"] = answer(b"", "500 Oops")
    with pytest.raises(OriginFailed):
        cache.open("b.jpg", {})


def test_many_threads(pictures: Path, make: Make) -> None:
    cache = make(source_of(pictures))
    got: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: got.append(content(cache, "a.jpg"))) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [RED] * 20
