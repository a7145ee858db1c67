"""The proxy on a socket, as a sidecar and as middleware, before a folder of one picture."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.ahead.conftest import encoded, photograph
from tests.servers import Origin, Served, ask, get, gunicorn, reply

# CONTRACT.md's, and what gunicorn says of what is no request.
CONTRACT = {200, 204, 303, 304, 400, 401, 403, 404, 405, 429, 501, 502, 503, 504}
GUNICORN = {400, 403, 414, 417, 431, 501, 505}


class Place(NamedTuple):
    served: Served
    origin: Origin
    folder: Path

    def lives(self) -> None:
        answer = ask(self.served.port, get("/iiif/3/one.png/full/20,/0/default.jpg"))
        assert answer.status == 200
        assert answer.body[:2] == b"\xff\xd8"


@pytest.fixture(scope="package")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    folder.joinpath("one.png").write_bytes(encoded(photograph((60, 40)), "PNG"))
    folder.parent.joinpath("secret.png").write_bytes(encoded(photograph((10, 10)), "PNG"))
    return folder


@pytest.fixture(scope="package", params=["sidecar", "middleware"])
def place(
    request: pytest.FixtureRequest, pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    with Origin() as origin:
        origin.default = reply(body=b"the origin's")
        settings = {
            "IIIF_PROXY_SOURCE": f"file:{pictures}/{{id}}",
            "IIIF_PROXY_CACHE_DIR": str(tmp_path_factory.mktemp("cache")),
        }
        name = "tests.hostile.application"
        if request.param == "sidecar":
            name = "iiif_proxy.wsgi"
            settings["IIIF_PROXY_ORIGIN"] = origin.url
        with gunicorn(name, settings) as served:
            yield Place(served, origin, pictures)
