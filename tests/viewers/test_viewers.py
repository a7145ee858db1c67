"""Viewers that institutions use, in a real browser: to full resolution, and what is on the screen
is the source: no tile is missing, misplaced, coarse or apart from its neighbour."""

import io
import math
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, FloatRect, Page, Request, Response

from iiif_proxy.web.own import STATIC
from tests.servers import Served
from tests.viewers.packages import PACKAGES, PLACE
from tests.viewers.pages import BY_INFO, BY_MANIFEST, Site

WIDTH, HEIGHT = 1400, 1100
CELL = 16
# What viewers say themselves, whatever is shown.
THEIRS = re.compile(r"React|favicon|GPU stall|WebGL|^Failed to load resource")
# A whole tile of the finest level, or the image itself.
FULL = re.compile(r"/coded\.png/(\d+,\d+,512,512/512,(512)?|full/(max|full))/0/")
SMALL = "a pixel is"
# What a turn of the wheel, or a key, magnifies by.
ZOOMS = {"clover": 1.1, "leaflet-iiif": 2.0}
Pixels = NDArray[np.float64]


def coded(x: Pixels, y: Pixels) -> Pixels:
    """The colour of a place: where it is in red and green, a chequer in blue."""
    chequer = ((x // CELL + y // CELL) % 2) * 76 + 90
    return np.stack([30 + x * 190 / WIDTH, 30 + y * 190 / HEIGHT, chequer], axis=-1)


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("coded")
    x, y = np.meshgrid(np.arange(WIDTH, dtype=float), np.arange(HEIGHT, dtype=float))
    Image.fromarray(coded(x, y).round().astype(np.uint8)).save(folder / "coded.png")
    return folder


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The viewers' own site: another origin than the images'."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def shown(
    browser: Browser, sidecar: Callable[[Path], Served], picture: Path, site: str
) -> Iterator[Callable[[str, int], tuple[Page, list[str], list[str]]]]:
    """`shown(viewer, version)`: the page, the tiles asked for, and complaints of any kind."""
    context = browser.new_context(viewport={"width": 900, "height": 700})
    base = sidecar(picture).url

    def show(name: str, version: int) -> tuple[Page, list[str], list[str]]:
        about = "info.json" if name in BY_INFO else "manifest.json"
        tiles: list[str] = []
        complaints: list[str] = []
        opened = context.new_page()

        def said(message: ConsoleMessage) -> None:
            if message.type == "error" and not THEIRS.search(message.text):
                complaints.append(message.text)

        def failed(request: Request) -> None:
            if base in request.url and "ERR_ABORTED" not in (request.failure or ""):
                complaints.append(f"{request.url}: {request.failure}")

        def answered(answer: Response) -> None:
            if base in answer.url and answer.status >= 400:
                complaints.append(f"{answer.status} {answer.url}")
            elif ".jpg" in answer.url:
                tiles.append(answer.url)

        opened.on("console", said)
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        opened.on("requestfailed", failed)
        opened.on("response", answered)
        about = f"{base}/iiif/{version}/coded.png/{about}"
        opened.goto(f"{site}/?{urlencode({'viewer': name, 'about': about})}")
        return opened, tiles, complaints

    yield show
    context.close()


def places(name: str) -> None:
    needed = {"leaflet-iiif": ("leaflet", "leaflet-iiif"), "openseadragon": ()}.get(name, (name,))
    there = all((PLACE / f"{one}-{PACKAGES[one].version}").is_dir() for one in needed)
    if not there or not (STATIC / "openseadragon" / "openseadragon.min.js").is_file():
        pytest.skip(f"{name} is not here (make openseadragon viewers)")


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("name", [*BY_INFO, *BY_MANIFEST])
def test_the_screen_is_the_source(
    shown: Callable[[str, int], tuple[Page, list[str], list[str]]], name: str, version: int
) -> None:
    places(name)
    opened, tiles, complaints = shown(name, version)
    field = opened.locator(".leaflet-container, .openseadragon-canvas").first
    field.wait_for(state="visible", timeout=40_000)
    box = field.bounding_box()
    assert box is not None
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    opened.mouse.move(*middle)
    clip = FloatRect(x=middle[0] - 130, y=middle[1] - 130, width=260, height=260)
    faults = ["it did not begin"]
    end = time.monotonic() + 60
    while time.monotonic() < end and faults[-2:] != ["", ""]:
        opened.wait_for_timeout(150)
        shot = np.asarray(Image.open(io.BytesIO(opened.screenshot(clip=clip))).convert("RGB"))
        faults.append(amiss(shot.astype(float)))
        # Not further before the last step has been seen to end.
        if faults[-1].startswith(SMALL) and faults[-1] == faults[-2]:
            step = float(faults[-1].split()[3])
            for _ in range(math.ceil(math.log(step) / math.log(ZOOMS.get(name, 1.2)))):
                if name == "clover":  # Where a wheel scrolls the page.
                    field.press("+")
                else:
                    opened.mouse.wheel(0, -120)
                    opened.wait_for_timeout(60)
    fault = faults[-1]
    assert not fault, (fault, tiles)
    assert any(FULL.search(tile) for tile in tiles)
    assert not complaints


def amiss(shot: Pixels) -> str:
    """What is wrong with a part of the screen; "" if it is the source, as large or larger."""
    columns, rows = np.meshgrid(np.arange(shot.shape[1]), np.arange(shot.shape[0]))
    across, left = np.polyfit(columns.ravel(), shot[..., 0].ravel(), 1)
    down, top = np.polyfit(rows.ravel(), shot[..., 1].ravel(), 1)
    x, y = ((across * columns + left) - 30) * WIDTH / 190, ((down * rows + top) - 30) * HEIGHT / 190
    step = across * WIDTH / 190
    if step > 1:
        return f"{SMALL} {step:.3f} of the source"
    if step < 0.2 or abs(step - down * HEIGHT / 190) > 0.05:
        return f"distorted: {step:.3f}"
    wanted = coded(x, y)
    apart = np.abs(shot - wanted)
    if apart[..., :2].max() > 14:
        return f"a place is {apart[..., :2].max():.0f} from its colour"
    inside = [np.abs(along % CELL - CELL / 2) < CELL / 2 - 4 for along in (x, y)]
    wrong = (apart[..., 2] > 30) & inside[0] & inside[1]
    return f"{wrong.mean():.1%} of the chequer" if wrong.mean() > 0.002 else ""


def test_what_is_amiss_is_seen() -> None:
    """The judge itself: a tile missing, coarse, or a pixel apart."""
    x, y = np.meshgrid(np.arange(260.0) + 500, np.arange(260.0) + 400)
    well = coded(x, y)
    assert amiss(well) == ""
    for spoil in (
        lambda s: s.__setitem__((slice(100, 130), slice(100, 130)), 255),
        lambda s: s.__setitem__((slice(0, 128), slice(0, 128), 2), 128),
        lambda s: s.__setitem__((slice(None), 77), 235),
        lambda s: s.__setitem__((slice(128, None), slice(128, None)), coded(x + 16, y)[128:, 128:]),
    ):
        spoiled = well.copy()
        spoil(spoiled)  # type: ignore[no-untyped-call]
        assert amiss(spoiled)
