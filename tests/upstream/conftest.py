"""Upstream behind gunicorn, before an origin that records; and Upstream called directly."""

import contextlib
import io
import json
from collections.abc import Callable, Iterator
from typing import Any
from wsgiref.validate import validator

import pytest

from iiif_proxy.upstream import Upstream
from tests.servers import Fields, Origin, Served, gunicorn

APPLICATION = "tests.upstream.application:application"


@pytest.fixture(scope="package")
def shared_origin() -> Iterator[Origin]:
    with Origin() as origin:
        yield origin


@pytest.fixture
def origin(shared_origin: Origin) -> Iterator[Origin]:
    """The origin behind `server`, its memory empty."""
    shared_origin.clear()
    yield shared_origin
    assert not shared_origin.failures


@pytest.fixture(scope="package")
def server(shared_origin: Origin) -> Iterator[Served]:
    with serving(base_url=shared_origin.url, read_timeout=0.5) as server:
        yield server


@contextlib.contextmanager
def serving(threads: int = 4, **keywords: Any) -> Iterator[Served]:
    environ = {"UPSTREAM": json.dumps(keywords)}
    # Untouched is untouched: gunicorn's own trust in a peer on loopback is not under test.
    options = ["--forwarded-allow-ips", "192.0.2.1"]
    with gunicorn(APPLICATION, environ, threads=threads, options=options) as server:
        yield server


Call = Callable[..., tuple[str, Fields, bytes]]


def call(app: Upstream, target: str = "/", **changes: Any) -> tuple[str, Fields, bytes]:
    """Upstream in this process, under wsgiref's validator."""
    path, _, query = target.partition("?")
    body = changes.pop("body", b"")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "RAW_URI": target,
        "SERVER_NAME": "visited.example",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "192.0.2.7",
        "HTTP_HOST": "visited.example",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    } | changes
    if body:
        environ.setdefault("CONTENT_LENGTH", str(len(body)))
    begun: list[Any] = []

    def start_response(status: str, fields: Fields, exc_info: Any = None) -> Callable[..., Any]:
        begun[:] = [status, fields]
        return lambda data: None

    answer = validator(app)(environ, start_response)
    try:
        received = b"".join(answer)
    finally:
        answer.close()  # type: ignore[attr-defined]  # the validator's always has one
    return begun[0], begun[1], received
