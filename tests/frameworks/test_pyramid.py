"""Pyramid from a PasteDeploy file with the README's filter, under waitress."""

import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paste.deploy import loadapp
from pyramid.config import Configurator
from pyramid.csrf import get_csrf_token
from pyramid.request import Request
from pyramid.response import Response
from pyramid.session import SignedCookieSessionFactory

from tests.frameworks.conftest import request, snippet, waiting
from tests.http.collection import opened, quarters, saved


def page(request: Request) -> Response:
    return Response(f"{request.url} token={get_csrf_token(request)}")


def form(request: Request) -> Response:
    return Response("got " + request.params["name"])


def main(global_config: dict[str, str], **settings: str) -> Any:
    """`paste.app_factory` of the site."""
    with Configurator(settings=settings) as config:
        config.set_session_factory(SignedCookieSessionFactory("x"))
        config.set_default_csrf_options(require_csrf=True)
        config.add_route("page", "/")
        config.add_route("form", "/form")
        config.add_view(page, route_name="page")
        config.add_view(form, route_name="form", request_method="POST")
        config.add_static_view("images", settings["pictures"])
        return config.make_wsgi_app()


@pytest.fixture
def site(
    tmp_path: Path, cached: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[int]:
    module = types.ModuleType("pyramid_site")
    module.main = main  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyramid_site", module)
    own = f"[app:myapp]\npaste.app_factory = pyramid_site:main\npictures = {picture}\n\n"
    file = tmp_path / "site.ini"
    file.write_text(own + snippet("Pyramid"))
    with waiting(loadapp(f"config:{file}")) as port:
        yield port


def test_images_of_the_site_are_iiif(site: int, cached: Path) -> None:
    for name, size in (("a.png", (300, 200)), ("b%20c%2Fd.png", (60, 40))):
        for _ in range(2):
            answer = request(site, f"/iiif/3/{name}/full/max/0/default.png")
            assert answer.status == 200
        assert opened(answer.body).size == size
        assert answer.get("Cache-Status") == "iiif-proxy; hit"
    assert list(cached.glob("derivatives/*/*/*.png"))
    assert request(site, "/iiif/2/a.png/info.json").status == 200
    assert request(site, "/iiif/3/nothing.png/info.json").status == 404


def test_pages_and_forms_are_as_they_were(site: int) -> None:
    answer = request(site, "/?x=1")
    assert answer.body.startswith(b"http://site.example/?x=1 token=")
    assert request(site, "/images/a.png").body == saved(quarters(300, 200))
    token = (re.search(rb"token=(\w+)", answer.body) or [b"", b""])[1].decode()
    cookie = "Cookie: " + "; ".join(v.partition(";")[0] for v in answer.all("Set-Cookie"))
    line = "Content-Type: application/x-www-form-urlencoded"
    body = f"name=x&csrf_token={token}".encode()
    assert request(site, "/form", line, cookie, method="POST", body=body).body == b"got x"
    assert request(site, "/form", line, cookie, method="POST", body=b"name=x").status == 400
    assert request(site, "/iiif/not/an/image").status == 404
