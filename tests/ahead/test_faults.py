"""A source that arrives slowly, breaks off or is corrupt while tiles of it are being answered."""

import io
import json
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
import pytest
from PIL import Image

from tests.ahead.conftest import Make, Site, encoded, photograph, psnr, serving, until
from tests.servers import Exchange, Origin, ask, get, gunicorn, reply

SIZE = (2048, 3072)
SOURCE = encoded(photograph(SIZE))
TOP = "a.jpg/512,0,512,512/512,512/0/default.jpg"
BOTTOM = "a.jpg/512,2560,512,512/512,512/0/default.jpg"


class Half:
    """Two thirds of a file; what then happens when it is let go."""

    def __init__(self, then: Callable[[Exchange, bytes], object]) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()
        self._then = then

    def __call__(self, exchange: Exchange) -> None:
        exchange.read()
        whole = reply(fields=[("ETag", '"1"')], body=SOURCE)
        cut = len(whole) * 2 // 3
        exchange.write(whole[:cut])
        self.begun.set()
        assert self.go.wait(60)
        self._then(exchange, whole[cut:])


def area(image: Image.Image, y: int) -> Image.Image:
    return image.crop((512, y, 1024, y + 512))


def right(site: Site, target: str = TOP, y: int = 0) -> bool:
    return psnr(site.image(target), area(Image.open(io.BytesIO(SOURCE)), y)) > 32


def test_rows_are_answered_while_the_rest_is_coming(origin: Origin, make: Make) -> None:
    slow = origin.routes["/a.jpg"] = Half(Exchange.write)
    site = make(write_ahead="off")
    assert right(site), "the top, before the end has come"
    with ThreadPoolExecutor(1) as pool:
        bottom = pool.submit(site.image, BOTTOM)
        assert not slow.go.is_set()
        slow.go.set()
        assert psnr(bottom.result(), area(Image.open(io.BytesIO(SOURCE)), 2560)) > 32
    assert len(origin.requests) == 1


@pytest.mark.parametrize("how", ["reset", "closed"])
def test_a_source_that_breaks_off(origin: Origin, make: Make, how: str) -> None:
    """What was there is right, what was not is refused; the next try begins anew."""

    def end(exchange: Exchange, rest: bytes) -> None:
        exchange.reset() if how == "reset" else exchange.close()

    slow = origin.routes["/a.jpg"] = Half(end)
    site = make()
    assert right(site)
    with ThreadPoolExecutor(1) as pool:
        bottom = pool.submit(site.ask, BOTTOM)
        slow.go.set()
        assert bottom.result()[0] in {502, 504}
    until(lambda: not site.left())
    origin.routes["/a.jpg"] = serving(SOURCE, '"1"')
    assert right(site, BOTTOM, 2560)
    assert right(site)
    until(lambda: site.app.service._preparing._ahead.idle())
    until(lambda: not site.left())


def test_a_source_that_is_corrupt_at_its_end(origin: Origin, make: Make) -> None:
    """Whole by its length, cut off in truth: never a gray tile, never stored."""
    origin.routes["/a.jpg"] = serving(SOURCE[: len(SOURCE) // 2])
    site = make()
    for _ in range(2):
        status, _, body = site.ask(BOTTOM)
        assert status == 502, body[:100]
    assert not any("2560" in name for name in site.stored())
    origin.routes["/a.jpg"] = serving(SOURCE, '"2"')
    assert right(site, BOTTOM, 2560), "at once, when the origin has mended it"
    until(lambda: site.app.service._preparing._ahead.idle())
    assert right(site)
    until(lambda: not site.left())


def test_a_process_that_is_killed_while_it_decodes(origin: Origin, tmp_path: Path) -> None:
    """The others notice, and begin anew; nothing of the dead one is left."""
    slow = origin.routes["/a.jpg"] = Half(Exchange.write)
    environ = {"IIIF_PROXY_ORIGIN": origin.url, "IIIF_PROXY_CACHE_DIR": str(tmp_path)}
    app = "iiif_proxy.wsgi:application"
    with gunicorn(app, environ, workers=2) as served, ThreadPoolExecutor(4) as pool:

        def tile(target: str) -> numpy.ndarray:
            answer = ask(served.port, get("/iiif/3/" + target))
            assert answer.status == 200, answer.body[:200]
            return numpy.asarray(Image.open(io.BytesIO(answer.body)).convert("RGB"), float)

        tile(TOP)
        (session,) = tmp_path.glob("sessions/*.session")
        until(lambda: session.stat().st_size)
        owner = json.loads(session.read_text())["pid"]
        assert owner in served.workers()
        waiting = [pool.submit(tile, BOTTOM) for _ in range(3)]
        os.kill(owner, signal.SIGKILL)
        origin.routes["/a.jpg"] = serving(SOURCE)
        slow.go.set()
        due = numpy.asarray(area(Image.open(io.BytesIO(SOURCE)), 2560), float)
        for found in waiting:
            # Whose connection the dead one had is cut off; the others are answered.
            if found.exception() is None:
                assert numpy.abs(found.result() - due).mean() < 4
        assert numpy.abs(tile(BOTTOM) - due).mean() < 4
        assert numpy.abs(tile(TOP) - numpy.asarray(area(photograph(SIZE), 0), float)).mean() < 8
        until(lambda: len(served.workers()) == 2)
        assert "Traceback" not in served.log()
