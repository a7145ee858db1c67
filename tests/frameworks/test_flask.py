"""Flask, wrapped as the README says, under waitress; and mounted below another application."""

from pathlib import Path
from typing import Any

import flask
import pytest
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from tests.frameworks.conftest import request, snippet, waiting
from tests.http.collection import opened, quarters, saved


@pytest.fixture
def site(cached: Path, picture: Path) -> flask.Flask:
    """The README's three lines, with pages added to the app that they make."""
    wrapping = snippet("Flask")
    assert "app = Flask(__name__)\n" in wrapping
    names: dict[str, Any] = {
        "Flask": lambda name: flask.Flask(
            name, static_folder=str(picture), static_url_path="/static"
        ),
        "__name__": "site",
    }
    exec(wrapping, names)
    app: flask.Flask = names["app"]
    app.secret_key = "x"

    @app.route("/")
    def page() -> str:
        flask.session["seen"] = 1
        return f"{flask.request.url} {flask.request.script_root}"

    @app.route("/form", methods=["POST"])
    def form() -> str:
        return "got " + flask.request.form["name"]

    @app.route("/upload", methods=["POST"])
    def upload() -> str:
        return str(sum(len(chunk) for chunk in iter(lambda: flask.request.stream.read(999), b"")))

    return app


def test_images_of_the_site_are_iiif(site: flask.Flask) -> None:
    with waiting(site) as port:
        for name in ("a.png", "b%20c%2Fd.png"):
            for _ in range(2):
                answer = request(port, f"/iiif/3/{name}/full/30,/0/default.png")
                assert answer.status == 200
                assert opened(answer.body).size == (30, 20)
            assert answer.get("Cache-Status") == "iiif-proxy; hit"
        info = request(port, "/iiif/3/b%20c%2Fd.png/info.json")
        assert b'"http://site.example/iiif/3/b%20c%2Fd.png"' in info.body
        head = request(port, "/iiif/3/a.png/full/30,/0/default.png", method="HEAD")
        assert (head.status, head.body) == (200, b"")
        assert request(port, "/iiif/3/nothing.png/info.json").status == 404
        assert request(port, "/iiif/3/a.png/info.json", method="POST").status == 405


def test_pages_are_as_they_were(site: flask.Flask) -> None:
    with waiting(site) as port:
        page = request(port, "/?x=%2F")
        assert page.body == b"http://site.example/?x=/ "
        assert page.all("Set-Cookie")
        assert not page.all("Access-Control-Allow-Origin")
        assert request(port, "/static/a.png").body == saved(quarters(300, 200))
        form = "Content-Type: application/x-www-form-urlencoded"
        assert request(port, "/form", form, method="POST", body=b"name=x").body == b"got x"
        data = b"\0\xff" * 100_000
        assert request(port, "/upload", method="POST", body=data).body == b"200000"
        assert request(port, "/iiif/not/an/image").status == 404
        assert b"<!doctype html>" in request(port, "/iiif/not/an/image").body


def test_mounted_below_another_application(site: flask.Flask) -> None:
    """SCRIPT_NAME: the public address has it, the path below it decides."""

    def elsewhere(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"elsewhere"]

    with waiting(DispatcherMiddleware(elsewhere, {"/a b/site": site})) as port:
        base = "/a%20b/site"
        info = request(port, f"{base}/iiif/3/b%20c%2Fd.png/info.json")
        assert info.status == 200
        assert b'"http://site.example/a%20b/site/iiif/3/b%20c%2Fd.png"' in info.body
        image = request(port, f"{base}/iiif/3/a.png/full/30,/0/default.png")
        assert opened(image.body).size == (30, 20)
        assert "<http://site.example/a%20b/site/iiif/3/a.png/full/" in (image.get("Link") or "")
        assert request(port, "/iiif/3/a.png/info.json").body == b"elsewhere"
        assert request(port, f"{base}/").body.endswith(b"/a b/site")


def test_keywords_are_settings(picture: Path) -> None:
    from iiif_proxy.proxy import IIIFProxy
    from iiif_proxy.settings import SettingsError

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise AssertionError("nobody asked for it")

    proxy = IIIFProxy(
        app, environ={}, source=f"file:{picture}/{{id}}", cache_dir="", prefix="/i", tile_size=256
    )
    with waiting(proxy) as port:
        assert b'"width": 256' in request(port, "/i/3/a.png/info.json").body
        assert request(port, "/i/3/..%2Fa.png/info.json").status == 400
    with pytest.raises(SettingsError, match="did you mean tile_size"):
        IIIFProxy(app, environ={}, tilesize=256)
