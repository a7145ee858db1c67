"""After the first tile of a large source all others are written; quality of every way to a tile."""

import io
import threading
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image, ImageOps

from iiif_proxy.iiif.model import Box
from iiif_proxy.imaging.routes import Routes
from iiif_proxy.keeping import NAME as KEPT_LEVEL
from iiif_proxy.keeping import KeptLevels
from tests.ahead.conftest import (
    SIZE,
    Make,
    Site,
    encoded,
    photograph,
    psnr,
    serving,
    targets,
    until,
)
from tests.imaging import profiles
from tests.servers import Origin, reply
from tests.stores.conftest import Mount, mount

__all__ = ["mount"]
SOURCE = encoded(photograph())
ADOBE_RGB = profiles.rgb()
ALL = targets(SIZE, "a.jpg")
FIRST = next(iter(ALL))


def written(site: Site, first: str = FIRST) -> None:
    """Ask for one tile and wait until all are there."""
    assert site.ask(first)[0] == 200
    until(lambda: len(site.stored() - {KEPT_LEVEL}) >= len(ALL))


def test_all_tiles_are_written(origin: Origin, make: Make) -> None:
    origin.routes["/a.jpg"] = serving(SOURCE)
    site = make()
    written(site)
    until(lambda: not site.left())
    origin.routes["/a.jpg"] = reply(500)
    assert all(site.hit(target) for target in ALL)
    assert len(origin.requests) == 1
    # Other sizes come from what is left of the session; the source is not asked again.
    assert site.image("a.jpg/full/700,/0/default.jpg").size == (700, 506)
    assert len(origin.requests) == 1


def test_whoever_makes_a_tile_makes_the_same_bytes(origin: Origin, make: Make) -> None:
    origin.routes["/a.jpg"] = serving(SOURCE)
    ahead, asked = make(), make(write_ahead="off", predict="off")
    written(ahead)
    for target in ALL:
        assert not asked.hit(target)
        assert ahead.ask(target)[2] == asked.ask(target)[2], target


@pytest.mark.parametrize("way", ["session", "light"])
def test_no_shortcut_can_be_seen(origin: Origin, make: Make, way: str) -> None:
    """Every tile beside the same area of all pixels, by Lanczos: far below the JPEG's own loss."""
    origin.routes["/a.png"] = serving(encoded(photograph(), "PNG"))
    origin.routes["/a.jpg"] = serving(SOURCE)
    # A session that does not fit the memory is not opened.
    more = {"memory": "1MiB"} if way == "light" else {}
    site = make(write_ahead="off", **more)
    whole = Image.open(io.BytesIO(SOURCE)).convert("RGB")
    for target, (factor, box) in ALL.items():
        ours = site.image(target.replace("default.jpg", "default.png"))
        edges = (box.x, box.y, box.x + box.width, box.y + box.height)
        theirs = whole.resize(ours.size, Image.Resampling.LANCZOS, edges)
        assert psnr(ours, theirs) > (39 if factor > 1 else 60), target
        assert ssim(ours, theirs) > 0.983, target


@pytest.mark.parametrize("way", ["session", "light"])
def test_tiles_join(origin: Origin, make: Make, way: str) -> None:
    """The step across each seam is that of the whole image at that scale."""
    origin.routes["/a.jpg"] = serving(SOURCE)
    site = make(write_ahead="off", **({"memory": "1MiB"} if way == "light" else {}))
    whole = Image.open(io.BytesIO(SOURCE)).convert("RGB")
    for factor in (1, 2):
        size = -(-SIZE[0] // factor), -(-SIZE[1] // factor)
        joined = numpy.zeros((size[1], size[0], 3))
        for target, (found, box) in ALL.items():
            if found == factor:
                tile = site.image(target.replace("default.jpg", "default.png"))
                x, y = box.x // factor, box.y // factor
                joined[y : y + tile.height, x : x + tile.width] = numpy.asarray(tile.convert("RGB"))
        due = numpy.asarray(whole.resize(size, Image.Resampling.LANCZOS), float)
        for x in range(512, size[0], 512):
            off = numpy.abs((joined[:, x] - joined[:, x - 1]) - (due[:, x] - due[:, x - 1]))
            assert off.mean() < 2.0, (way, factor, x)


def ssim(ours: Image.Image, theirs: Image.Image) -> float:
    """Wang et al. 2004, of luminance, in windows of 8 x 8."""
    a, b = (numpy.asarray(image.convert("L"), float) for image in (ours, theirs))
    height, width = (side - side % 8 for side in a.shape)
    if not height or not width:
        return 1.0

    def blocks(plane: numpy.ndarray) -> numpy.ndarray:
        cut = plane[:height, :width].reshape(height // 8, 8, width // 8, 8)
        return cut.transpose(0, 2, 1, 3).reshape(-1, 64)

    x, y = blocks(a), blocks(b)
    mx, my = x.mean(1), y.mean(1)
    covariance = ((x - mx[:, None]) * (y - my[:, None])).mean(1)
    one, two = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    top = (2 * mx * my + one) * (2 * covariance + two)
    return float((top / ((mx**2 + my**2 + one) * (x.var(1) + y.var(1) + two))).mean())


def test_what_is_not_asked_never_fills_the_cache(origin: Origin, make: Make) -> None:
    origin.routes["/a.jpg"] = serving(SOURCE)
    site = make(cache_size="2MiB")
    assert site.ask(FIRST)[0] == 200
    assert site.ask(FIRST)[1]["Cache-Status"].startswith("iiif-proxy; hit")
    assert len(site.stored()) == 1


def test_what_may_not_be_kept_is_not_written(origin: Origin, make: Make) -> None:
    origin.routes["/a.jpg"] = serving(SOURCE, Cache_Control="no-store")
    site = make()
    for target in list(ALL)[:3]:
        assert site.image(target).size[0] > 0
    assert site.stored() == set()
    until(lambda: not site.left())


def test_a_disk_that_fills_while_tiles_are_written(
    origin: Origin, make: Make, mount: Mount
) -> None:
    """Every answer is right all the same, and nothing broken is left."""
    origin.routes["/a.jpg"] = serving(SOURCE)
    room = 200 * 1024 + len(SOURCE)
    site = make(cache=mount(f"size={room // 1024}k"), cache_size="10GiB")
    whole = Image.open(io.BytesIO(SOURCE)).convert("RGB")
    for target, (factor, box) in ALL.items():
        if factor == 1:
            cut = whole.crop((box.x, box.y, box.x + box.width, box.y + box.height))
            assert psnr(site.image(target), cut) > 32, target
    until(lambda: site.app.service._preparing._ahead.idle())
    assert len(site.stored() - {KEPT_LEVEL}) < len(ALL), "it was full"
    for path in (site.cache / "derivatives").glob("[!.]*/*/*.jpg"):
        Image.open(path).load()
    until(lambda: not site.left())


def test_a_source_that_changes_meanwhile(origin: Origin, make: Make) -> None:
    """What is asked after it has changed is of the new one, whatever is being written."""
    origin.routes["/a.jpg"] = serving(SOURCE, Cache_Control="no-cache")
    site = make()
    assert site.ask(FIRST)[0] == 200
    other = photograph(seed=2)
    origin.routes["/a.jpg"] = serving(encoded(other), '"2"', Cache_Control="no-cache")
    for target, (factor, box) in ALL.items():
        if factor == 1:
            cut = other.crop((box.x, box.y, box.x + box.width, box.y + box.height))
            assert psnr(site.image(target), cut) > 32, target
    until(lambda: site.app.service._preparing._ahead.idle())
    for target in ALL:
        before = site.ask(target)[2]
        assert before == site.ask(target)[2]
    until(lambda: not site.left())


def test_a_kept_level_is_as_good(origin: Origin, make: Make, tmp_path: Path) -> None:
    """After a view of the whole, other sizes come from one level."""
    size = (6400, 4800)
    image = photograph(size)
    origin.routes["/large.jpg"] = serving(encoded(image))
    site = make()
    site.image("large.jpg/full/1200,/0/default.jpg")
    until(lambda: KEPT_LEVEL in site.stored())
    origin.routes["/large.jpg"] = reply(500)
    for folder in (site.cache / "sources").glob("[!.]*"):
        folder.rename(tmp_path / folder.name)  # its bytes are not needed
    for width in (1100, 1500, 400):
        ours = site.image(f"large.jpg/full/{width},/0/default.png")
        assert psnr(ours, image.resize(ours.size, Image.Resampling.LANCZOS)) > 38, width
    sessions = site.app.service._sessions._sessions
    assert [name for name in sessions if name.endswith("-level")], "it stays in memory"


@pytest.mark.parametrize("turn", [1, 6])
def test_a_view_is_made_from_the_level_that_it_leaves(
    origin: Origin, make: Make, monkeypatch: pytest.MonkeyPatch, turn: int
) -> None:
    """What a large view decodes is what is kept of it: nothing is decoded twice."""
    read: list[tuple[int, int]] = []
    light = Routes.light

    def counting(self: Routes, box: Box, width: int, height: int, *rest: Any) -> Image.Image:
        read.append((width, height))
        return light(self, box, width, height, *rest)

    monkeypatch.setattr(Routes, "light", counting)
    exif = Image.Exif()
    exif[0x0112] = turn
    image = photograph((6400, 4800))
    origin.routes["/large.jpg"] = serving(encoded(image, exif=exif))
    site = make()
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(encoded(image, exif=exif))))
    level = upright.reduce(4).size
    ours = site.image("large.jpg/full/1150,/0/default.png")
    assert psnr(ours, upright.resize(ours.size, Image.Resampling.LANCZOS)) > 38
    until(lambda: KEPT_LEVEL in site.stored())
    assert read == [level]
    again = site.image("large.jpg/full/1151,/0/default.png")
    assert psnr(again, upright.resize(again.size, Image.Resampling.LANCZOS)) > 38
    assert read == [level]


def test_the_next_view_need_not_wait_until_the_level_is_stored(
    origin: Origin, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And both have the source's own colours, where these are kept."""
    keep, stored, ready = KeptLevels.keep, threading.Event(), threading.Event()
    read: list[tuple[int, int]] = []
    light = Routes.light

    def counting(self: Routes, box: Box, width: int, height: int, *rest: Any) -> Image.Image:
        read.append((width, height))
        return light(self, box, width, height, *rest)

    def late(self: KeptLevels, *rest: Any) -> Any:
        ready.set()
        assert stored.wait(60)
        return keep(self, *rest)

    monkeypatch.setattr(Routes, "light", counting)
    monkeypatch.setattr(KeptLevels, "keep", late)
    image = photograph((6400, 4800))
    origin.routes["/large.jpg"] = serving(encoded(image, icc_profile=ADOBE_RGB))
    site = make(color_profile="keep")
    for width in (1150, 1151):
        ours = site.image(f"large.jpg/full/{width},/0/default.jpg")
        assert ours.info.get("icc_profile") == ADOBE_RGB
        assert psnr(ours, image.resize(ours.size, Image.Resampling.LANCZOS)) > 35
        assert ready.wait(60)
    assert len(read) == 1
    stored.set()
    until(lambda: KEPT_LEVEL in site.stored())
