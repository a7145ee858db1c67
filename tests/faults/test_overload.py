"""More than the memory allows at once: an honest no, and the rest goes on."""

import io
import threading
from collections.abc import Iterator

import pytest
from PIL import Image

from tests.clients import Answer, ask, get, reply
from tests.servers import Origin, Served, gunicorn

SIDE = 2600
HEALTH = get("/iiif/-/health")
INFO = get("/iiif/3/dear.png/info.json")
CACHED = get("/iiif/3/dear.png/full/90,/0/default.png")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    picture = Image.linear_gradient("L").resize((SIDE, SIDE)).convert("RGB")
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    with Origin() as origin:
        origin.routes["/dear.png"] = reply(
            fields=[("ETag", '"1"'), ("Cache-Control", "max-age=3600")], body=buffer.getvalue()
        )
        settings = {
            "IIIF_PROXY_ORIGIN": origin.url,
            "IIIF_PROXY_CACHE_DIR": str(tmp_path_factory.mktemp("overload")),
            "IIIF_PROXY_MEMORY": "64MiB",
            "IIIF_PROXY_WORKERS": "1",
            "IIIF_PROXY_THREADS": "16",
            "IIIF_PROXY_QUEUE_TIMEOUT": "2s",
            "IIIF_PROXY_WRITE_AHEAD": "off",
            "IIIF_PROXY_PREDICT": "off",
        }
        worker = ["--worker-class", "iiif_proxy.commands.worker.Worker"]
        with gunicorn("iiif_proxy.wsgi", settings, threads=16, options=worker) as served:
            yield served


def dear(angle: float) -> bytes:
    return get(f"/iiif/3/dear.png/full/max/{angle}/default.png")


def test_more_than_there_is_memory_for(served: Served) -> None:
    for request in (INFO, CACHED):
        assert ask(served.port, request, timeout=60).status == 200
    answers: list[Answer] = []

    def expensive(angle: float) -> None:
        answers.append(ask(served.port, dear(angle), timeout=300))

    crowd = [threading.Thread(target=expensive, args=(10 + n / 10,)) for n in range(60)]
    rounds = 0
    for visitor in crowd:
        visitor.start()
    while any(visitor.is_alive() for visitor in crowd):
        for request in (HEALTH, INFO, CACHED):
            assert ask(served.port, request, timeout=60).status == 200
        rounds += 1
    refused = [answer for answer in answers if answer.status != 200]
    assert rounds > 5
    assert len(answers) == len(crowd)
    assert 0 < len(refused) < len(crowd)
    for answer in refused:
        assert answer.status == 503, answer.body
        assert 1 <= int(answer.get("Retry-After") or 0) <= 120
        assert answer.get("Cache-Control") == "no-store"
    assert ask(served.port, dear(10), timeout=120).status == 200
