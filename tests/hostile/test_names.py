"""Names that are too long for a file system are unknown, not a failure of ours."""

import pytest

from iiif_proxy.proxy import IIIFProxy
from tests.clients import get
from tests.servers import ask, gunicorn


@pytest.mark.parametrize("length", [100, 300, 3000])
def test_an_overlong_static_name_is_unknown(length: int) -> None:
    seen: list[str] = []
    proxy = IIIFProxy(environ={}, origin="http://127.0.0.1:9", cache_dir="")
    target = "/iiif/-/static/" + "a" * length
    environ = {
        "REQUEST_METHOD": "GET",
        "RAW_URI": target,
        "PATH_INFO": target,
        "SCRIPT_NAME": "",
        "wsgi.url_scheme": "http",
        "SERVER_NAME": "visited.example",
        "SERVER_PORT": "80",
        "REMOTE_ADDR": "192.0.2.9",
    }
    b"".join(proxy(environ, lambda status, fields, fault=None: seen.append(status)))
    assert seen == ["404 Not Found"]


def test_and_so_under_gunicorn() -> None:
    settings = {"IIIF_PROXY_ORIGIN": "http://127.0.0.1:9", "IIIF_PROXY_CACHE_DIR": ""}
    with gunicorn("iiif_proxy.wsgi", settings) as server:
        assert ask(server.port, get("/iiif/-/static/" + "a" * 3000)).status == 404
        assert ask(server.port, get("/iiif/-/health")).status == 200
