"""`iiif_proxy.urls_for` in real templates, by the how-to's snippets as they stand there."""

import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import iiif_proxy
from iiif_proxy.proxy import IIIFProxy
from tests.frameworks.conftest import request
from tests.http.collection import opened, quarters, saved
from tests.servers import ROOT, gunicorn

PRESETS = "thumb=full/!200,200/0/default.jpg card=focus:100,0/40x40/0/default.png"
HOW_TO = (ROOT / "docs" / "how-to.md").read_text("utf-8")


def code(begins: str) -> str:
    """The indented block of the how-to after the text that ends so."""
    found = re.search(rf"{re.escape(begins)}\n\n((?:    [^\n]*\n|\n)+)", HOW_TO)
    assert found is not None
    return textwrap.dedent(found[1])


def template(begins: str) -> str:
    """The template in the text after the snippet."""
    found = re.search(rf"in a template `([^`]*{re.escape(begins)}[^`]*)`", HOW_TO)
    assert found is not None
    return found[1]


DJANGO = """
from django.conf import settings
from django.shortcuts import render
from django.urls import path
from django.views.static import serve

settings.configure(
    SECRET_KEY="x", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, INSTALLED_APPS=["yourapp"],
    TEMPLATES=[{
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [PICTURES],
        "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
    }],
)
urlpatterns = [
    path("page", lambda request: render(request, "page.html", {"picture": {"name": "b c/d.png"}})),
    path("<path:path>", serve, {"document_root": PICTURES}),
]
from django.core.wsgi import get_wsgi_application
from iiif_proxy.proxy import IIIFProxy
application = IIIFProxy(get_wsgi_application(), source="app:/{id}")
"""
FLASK = """
from flask import Flask, render_template_string
from iiif_proxy.proxy import IIIFProxy
app = Flask(__name__, static_folder=PICTURES, static_url_path="/static")
@app.route("/page")
def page():
    return render_template_string(TEMPLATE, picture={"name": "b c/d.png"})
SNIPPET
app.wsgi_app = IIIFProxy(app.wsgi_app, source="app:/static/{id}")
application = app
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    (folder / "b c").mkdir()
    (folder / "b c" / "d.png").write_bytes(saved(quarters(60, 40)))
    return folder


@pytest.fixture(params=["django", "flask"])
def site(request: pytest.FixtureRequest, folder: Path, tmp_path: Path) -> Iterator[int]:
    if request.param == "django":
        tags = folder / "yourapp" / "templatetags"
        tags.mkdir(parents=True, exist_ok=True)
        for package in (tags.parent, tags):
            (package / "__init__.py").touch()
        (tags / "iiif.py").write_text(code("`yourapp/templatetags/iiif.py`:"))
        (folder / "page.html").write_text(template("% load"))
        text = DJANGO
    else:
        text = FLASK.replace("SNIPPET", code("here with Flask:"))
        text = text.replace("TEMPLATE", repr(template("| iiif")))
    (folder / f"with_{request.param}.py").write_text(text.replace("PICTURES", repr(str(folder))))
    environ = {
        "IIIF_PROXY_CACHE_DIR": str(tmp_path / "cache"),
        "IIIF_PROXY_PRESETS": PRESETS,
        "PYTHONPATH": str(ROOT),
    }
    options = ["--chdir", str(folder)]
    with gunicorn(f"with_{request.param}", environ, options=options) as served:
        yield served.port


def test_a_page_with_a_preset(site: int) -> None:
    page = request(site, "/page").body.decode()
    found = re.fullmatch(r'<img src="(?:http://site\.example)?(/[^"]*)" alt="">', page)
    assert found is not None, page
    assert found[1] == "/iiif/-/preset/card/b%20c%2Fd.png"
    answer = request(site, found[1])
    assert answer.status == 302
    image = request(site, (answer.get("Location") or "").removeprefix("http://site.example"))
    assert opened(image.body).size == (40, 40)


def test_addresses() -> None:
    proxy = IIIFProxy(
        environ={}, cache_dir="", source="file:/x/{id}", presets=PRESETS, default_version=2
    )
    for found in (iiif_proxy.urls_for("a/b.jpg"), proxy.urls_for("a/b.jpg")):
        assert dict(found) == {
            "thumb": "/iiif/2/a%2Fb.jpg/full/!200,200/0/default.jpg",
            "card": "/iiif/-/preset/card/a%2Fb.jpg",
        }
        assert found.id == "/iiif/2/a%2Fb.jpg"
        assert found.info == "/iiif/2/a%2Fb.jpg/info.json"
        assert found.manifest == "/iiif/2/a%2Fb.jpg/manifest.json"
        assert found.view == "/iiif/-/view/a%2Fb.jpg"
        assert len(found) == 2
        assert "none" not in found
    with pytest.raises(KeyError):
        proxy.urls_for("a")["none"]
    environ = {
        "wsgi.url_scheme": "https", "HTTP_HOST": "x.example", "SCRIPT_NAME": "", "REMOTE_ADDR": "",
    }  # fmt: skip
    assert proxy.urls_for("a", environ)["thumb"].startswith("https://x.example/iiif/2/a/full/")


@pytest.mark.parametrize(
    "preset, is_direct",
    [
        ("full/!200,200/0/default.jpg", True),
        ("square/!200,100/!90/gray.png", True),
        ("full/^!200,200/0/default.jpg", False),
        ("full/200,/0/default.jpg", False),
        ("full/max/0/default.jpg", False),
        ("full/!200,200/5/default.jpg", False),
        ("0,0,10,10/!200,200/0/default.jpg", False),
        ("full/!20000,20000/0/default.jpg", False),
    ],
)
def test_only_what_any_image_answers_is_direct(preset: str, is_direct: bool) -> None:
    proxy = IIIFProxy(environ={}, cache_dir="", source="file:/x/{id}", presets=f"x={preset}")
    found = proxy.urls_for("a")["x"]
    assert found == (f"/iiif/3/a/{preset}" if is_direct else "/iiif/-/preset/x/a")


def test_presets_as_a_keyword() -> None:
    presets = {"a": "full/!9,9/0/default.jpg", "b": "16x9/90,/0/default.png"}
    proxy = IIIFProxy(environ={}, cache_dir="", source="file:/x/{id}", presets=presets)
    assert [(one.name, one.written) for one in proxy.presets] == list(presets.items())


def test_without_a_proxy_in_this_process(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('[presets]\nlarge = "full/900,/0/default.jpg"\n')
    environ = {
        "IIIF_PROXY_PRESETS": PRESETS,
        "IIIF_PROXY_BASE_URL": "https://images.example",
        "IIIF_PROXY_ORIGIN": "http://127.0.0.1:1",
        "IIIF_PROXY_POLICY": str(policy),
        "PYTHONPATH": str(ROOT),
    }
    script = "import iiif_proxy; print(*iiif_proxy.urls_for('a').values())"
    found = subprocess.run(
        [sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=True
    )
    base = "https://images.example/iiif"
    assert found.stdout.split() == [
        f"{base}/3/a/full/!200,200/0/default.jpg",
        f"{base}/-/preset/card/a",
        f"{base}/-/preset/large/a",
    ]
