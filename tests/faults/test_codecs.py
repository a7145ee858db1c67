"""A codec that crashes, or does not end, within a sidecar: it costs one request."""

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from tests.clients import Answer, ask, get
from tests.servers import Served, gunicorn

LARGE, SMALL = "large.png", "small.png"
SECONDS = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    noise = Image.effect_noise((3000, 3000), 90)
    Image.merge("RGB", [noise, noise, noise]).save(folder / LARGE, compress_level=1)
    Image.new("RGB", (80, 60), (255, 0, 0)).save(folder / SMALL)
    return folder


@pytest.fixture
def sidecar(folder: Path, tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """`sidecar(name=value)`: one process of a sidecar, with those settings."""
    with contextlib.ExitStack() as stack:

        def serve(**settings: str) -> Served:
            given = {"source": f"file:{folder}/{{id}}", "cache_dir": str(tmp_path)} | settings
            environ = {f"IIIF_PROXY_{name.upper()}": value for name, value in given.items()}
            return stack.enter_context(gunicorn("iiif_proxy.wsgi", environ, workers=1))

        yield serve


def image(served: Served, name: str, size: str = "max") -> Answer:
    target = f"/iiif/3/{name}/full/{size}/0/default.jpg"
    return ask(served.port, get(target, "Accept: text/plain"), timeout=SECONDS)


def metric(served: Served, name: str) -> float:
    said = ask(served.port, get("/iiif/-/metrics")).body.decode()
    found = re.search(rf"^{re.escape(name)} (\S+)$", said, re.MULTILINE)
    return float(found[1]) if found else 0.0


def decoders(served: Served) -> list[int]:
    """The processes that decode for the sidecar's own."""
    parents = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes()
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        parents[int(place.name)] = parent, b"iiif_proxy.imaging.worker" in words
    return [
        pid
        for pid, (parent, decodes) in parents.items()
        if decodes and parents.get(parent, (0, False))[0] == served.process.pid
    ]


def until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_crash(sidecar: Callable[..., Served]) -> None:
    served = sidecar()
    assert image(served, SMALL).status == 200
    (decoder,) = decoders(served)
    # Held, so that the request is sure to be in it.
    os.kill(decoder, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(image, served, LARGE, "100,")
        until(lambda: metric(served, "iiif_proxy_decoding_pixels") > 0)
        time.sleep(0.5)
        os.kill(decoder, signal.SIGSEGV)
        os.kill(decoder, signal.SIGCONT)
        answer = asked.result()
    assert answer.status == 502
    assert answer.body == b"What the origin sent is no image that can be decoded.\n"
    assert metric(served, 'iiif_proxy_decoders_lost_total{outcome="crashed"}') == 1
    assert ask(served.port, get("/iiif/-/health")).status == 200
    # The same image, at once: it was not the image's fault.
    assert image(served, LARGE, "100,").status == 200
    assert decoders(served) != [decoder]


def test_one_without_end(sidecar: Callable[..., Served]) -> None:
    served = sidecar(decode_timeout="20ms")
    for _ in range(2):
        answer = image(served, LARGE, "100,")
        assert answer.status == 502
        assert answer.body == b"The source image takes too long to decode for this server.\n"
    assert metric(served, 'iiif_proxy_decoders_lost_total{outcome="overran"}') == 2
    assert image(served, SMALL).status == 200
    assert metric(served, "iiif_proxy_decoding_pixels") == 0


def test_a_tile_of_one_without_end(sidecar: Callable[..., Served]) -> None:
    served = sidecar(decode_timeout="20ms")
    target = f"/iiif/3/{LARGE}/0,0,512,512/512,512/0/default.jpg"
    assert ask(served.port, get(target), timeout=SECONDS).status == 502
    assert image(served, SMALL).status == 200


def test_in_the_server_itself(sidecar: Callable[..., Served]) -> None:
    served = sidecar(decode_apart="off")
    assert image(served, LARGE, "100,").status == 200
    assert not decoders(served)
