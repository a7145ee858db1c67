"""What was made for some goes when it was not read for long; what was made for others stays."""

import os
import threading
import time
from pathlib import Path

import pytest

from iiif_proxy.stores import retention
from tests.access.conftest import House, Housing
from tests.ahead.conftest import encoded, photograph

POLICY = """
[classes.public]
retention = "30d"
[[rules]]
identifiers = "restricted/*"
public = { retention = "2d" }
"""
DAY = 86400


def aged(here: House, days: float) -> None:
    """As if nobody had read anything for so long."""
    for path in (here.folder / "cache" / "derivatives").glob("*/*/[!.]*"):
        status = path.stat()
        os.utime(path, ns=(int((time.time() - days * DAY) * 1e9), status.st_mtime_ns))


def sweep(here: House) -> int:
    keeper = here.proxy.service._retention
    assert keeper is not None
    return keeper.sweep()


def test_retention_by_class(house: Housing) -> None:
    here = house(POLICY)
    for width, one in ((100, ""), (101, "member"), (102, "")):
        assert here.ask(f"/iiif/3/a.png/full/{width},/0/default.jpg", one).status == 200
    assert here.ask("/iiif/3/restricted%2Fb.png/full/103,/0/default.jpg").status == 200
    # That a member reads what strangers had made, or they what a member has, changes nothing.
    for width, one in ((100, "member"), (101, "")):
        assert here.ask(f"/iiif/3/a.png/full/{width},/0/default.jpg", one).status == 200
    before = here.stored()
    assert sweep(here) == 0
    aged(here, 3)
    assert sweep(here) == 1
    assert before - here.stored() == {"full_103,69_0_default.jpg"}
    aged(here, 31)
    assert here.ask("/iiif/3/a.png/full/102,/0/default.jpg").status == 200  # Read just now.
    assert sweep(here) == 1
    assert here.stored() == {"full_101,67_0_default.jpg", "full_102,68_0_default.jpg"}
    aged(here, 1000)
    assert sweep(here) == 1
    assert here.stored() == {"full_101,67_0_default.jpg"}
    assert here.ask("/iiif/3/a.png/full/100,/0/default.jpg").status == 200


def test_tiles_that_are_written_ahead_have_the_same_end(house: Housing) -> None:
    here = house(POLICY, write_ahead="on", tile_size="512")
    (here.folder / "images" / "large.jpg").write_bytes(encoded(photograph()))
    assert here.ask("/iiif/3/large.jpg/0,0,512,512/512,512/0/default.jpg").status == 200

    def marked() -> list[str]:
        found = (here.folder / "cache" / "derivatives").glob("*/*/[!.]*")
        return [str(path) for path in found if retention.lifetime(str(path), {"public": 1.0})]

    deadline = time.monotonic() + 60
    while len(marked()) < 10 and time.monotonic() < deadline:
        threading.Event().wait(0.05)
    assert len(marked()) >= 10


def test_a_sweep_comes_by_itself_and_once(
    house: Housing, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here = house(POLICY)
    done = threading.Event()
    keeper = here.proxy.service._retention
    assert keeper is not None
    swept = keeper.sweep

    def sweeping() -> int:
        found = swept()
        done.set()
        return found

    monkeypatch.setattr(keeper, "sweep", sweeping)
    assert here.ask("/iiif/3/a.png/full/100,/0/default.jpg").status == 200
    assert done.wait(20)
    # Another process has just looked.
    again = house(POLICY)
    other = again.proxy.service._retention
    assert other is not None
    assert not other._due(3600)
    assert other._due(0)


def test_nothing_is_swept_without_a_retention(house: Housing) -> None:
    here = house("")
    assert here.ask("/iiif/3/a.png/full/100,/0/default.jpg").status == 200
    aged(here, 1000)
    assert sweep(here) == 0
    assert len(here.stored()) == 1


def test_marks(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.touch()
    for mark, seconds in ((b"public", 5.0), (b"public 7", 7.0), (b"other", None), (b"x y", None)):
        os.setxattr(path, retention.MARK, mark)
        assert retention.lifetime(str(path), {"public": 5.0}) == seconds
    assert retention.lifetime(str(tmp_path / "none"), {}) is None
