"""What takes long and is asked for by a visitor, made by workers on other machines."""

from pathlib import Path

import pytest

from iiif_proxy.engine import Requests, Unsent
from tests.bulk.conftest import Bulk
from tests.clients import Answer, ask, get
from tests.objectstore import ObjectStore
from tests.redisserver import RedisServer
from tests.servers import Served, gunicorn

TARGET = "/iiif/3/large.png/full/1000,/0/default.jpg"


def image(served: Served) -> Answer:
    return ask(served.port, get(TARGET), timeout=60)


def test_a_worker_makes_it_and_the_server_finds_it(bulk: Bulk, tmp_path: Path) -> None:
    with ObjectStore() as objects:
        shared = {
            **objects.variables,
            "IIIF_PROXY_CACHE_URL": f"s3://ready/{tmp_path.name}",
            "IIIF_PROXY_EXPENSIVE": "later",
            "IIIF_PROXY_EXPENSIVE_PIXELS": "1000000",
        }
        own = {"IIIF_PROXY_CACHE_DIR": str(tmp_path / "server")}
        app = "iiif_proxy.wsgi:application"
        with gunicorn(app, bulk.environ(**shared, **own)) as served:
            first = image(served)
            assert first.status == 503
            assert first.get("Cache-Control") == "no-store"
            assert image(served).status == 503, "nobody works yet, and the server waits for them"
            bulk.worker(**shared)
            bulk.until(lambda: image(served).status == 200)
        # The worker's own disk has it: it was made there.
        assert len(bulk.images()) == 1
        assert list(bulk.images().values()) == [found(tmp_path / "server")]


def found(cache: Path) -> bytes:
    (path,) = (cache / "derivatives").rglob("*1000,847*.jpg")
    return path.read_bytes()


def test_a_broker_that_freezes_holds_up_nobody(redis: RedisServer) -> None:
    requests = Requests(redis.url)
    requests.send("/iiif/3/a/full/max/0/default.jpg")
    requests._link.do = lambda call: None  # type: ignore[method-assign]  # It froze just afterwards.
    with redis.frozen(), pytest.raises(Unsent):
        requests.send("/iiif/3/b/full/max/0/default.jpg")


def test_without_a_broker_the_server_makes_it(bulk: Bulk, tmp_path: Path) -> None:
    with ObjectStore() as objects:
        shared = {
            **objects.variables,
            "IIIF_PROXY_CACHE_URL": f"s3://ready/{tmp_path.name}",
            "IIIF_PROXY_EXPENSIVE": "later",
            "IIIF_PROXY_EXPENSIVE_PIXELS": "1000000",
        }
        bulk.redis.kill()
        with gunicorn("iiif_proxy.wsgi:application", bulk.environ(**shared)) as served:
            assert image(served).status == 503
            bulk.until(lambda: image(served).status == 200)
