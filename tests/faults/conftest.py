"""A sidecar of two processes with short times, before an origin that does wrong."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import reply
from tests.faults.table import CONNECT, MOST_BYTES, READ, TOTAL
from tests.servers import Origin, Served, gunicorn


@pytest.fixture(scope="package")
def bad_origin() -> Iterator[Origin]:
    with Origin() as origin:
        origin.default = reply("404 Not Found")
        yield origin


@pytest.fixture(scope="package")
def sidecar(bad_origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("cache")
    settings = {
        "IIIF_PROXY_ORIGIN": bad_origin.url,
        "IIIF_PROXY_CACHE_DIR": str(folder),
        "IIIF_PROXY_CONNECT_TIMEOUT": f"{CONNECT}s",
        "IIIF_PROXY_READ_TIMEOUT": f"{READ}s",
        "IIIF_PROXY_SOURCE_TIMEOUT": f"{TOTAL}s",
        "IIIF_PROXY_SOURCE_MAX_BYTES": str(MOST_BYTES),
        "IIIF_PROXY_SOURCE_TTL": "0s",
        "IIIF_PROXY_UNKNOWN_TTL": "0s",
        "IIIF_PROXY_WRITE_AHEAD": "off",
    }
    with gunicorn("iiif_proxy.wsgi", settings, workers=2, threads=8) as served:
        yield served
