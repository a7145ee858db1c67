"""Django, wrapped as the README says, under gunicorn: pages, forms, sessions as they were."""

import re
from collections.abc import Iterator

import pytest

from tests.frameworks.conftest import request, snippet
from tests.http.collection import opened, quarters, saved
from tests.servers import ROOT, gunicorn

SITE = """
from django.conf import settings
from django.http import HttpResponse, HttpResponseForbidden, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.urls import path
from django.views.static import serve

settings.configure(
    SECRET_KEY="x", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, DEBUG=False, USE_TZ=True,
    MIDDLEWARE=[
        "django.middleware.common.CommonMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
    ],
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    APPEND_SLASH=False,
)


def page(request):
    request.session["seen"] = True
    return HttpResponse(f"path={request.path} host={request.get_host()} token={get_token(request)}")


def form(request):
    return HttpResponse(f"got {request.POST['name']}")


def private(request, name):
    if "sessionid" not in request.COOKIES:
        return HttpResponseForbidden("Log in.")
    return serve(request, name, document_root=PICTURES)


def stream(request):
    return StreamingHttpResponse(iter([b"a", b"b", b"c"]))


urlpatterns = [
    path("", page),
    path("form", form),
    path("stream", stream),
    path("media/private/<path:name>", private),
    path("media/<path:path>", serve, {"document_root": PICTURES}),
]
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("django")
    pictures = folder / "pictures"
    (pictures / "b c").mkdir(parents=True)
    (pictures / "a.png").write_bytes(saved(quarters(300, 200)))
    (pictures / "b c" / "d.png").write_bytes(saved(quarters(60, 40)))
    site = SITE.replace("PICTURES", repr(str(pictures)))
    (folder / "wrapped.py").write_text(site + snippet("Django"))
    environ = {"IIIF_PROXY_CACHE_DIR": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    with gunicorn("wrapped", environ, options=["--chdir", str(folder)]) as served:
        yield served.port


def test_images_of_the_site_are_iiif(site: int) -> None:
    for name, size in (
        ("a.png", (300, 200)),
        ("b%20c%2Fd.png", (60, 40)),
        ("b%20c/d.png", (60, 40)),
    ):
        answer = request(site, f"/iiif/3/{name}/full/max/0/default.png")
        assert (answer.status, answer.get("Cache-Status")) in {
            (200, "iiif-proxy; fwd=miss"), (200, "iiif-proxy; hit"),
        }  # fmt: skip
        assert opened(answer.body).size == size
    assert request(site, "/iiif/2/a.png/info.json").status == 200
    assert request(site, "/iiif/3/nothing.png/info.json").status == 404


def test_pages_are_as_they_were(site: int) -> None:
    answer = request(site, "/?x=1")
    assert answer.body.startswith(b"path=/ host=site.example token=")
    assert len(answer.all("Set-Cookie")) == 2
    assert not answer.all("Access-Control-Allow-Origin")
    assert request(site, "/media/a.png").body == saved(quarters(300, 200))
    assert request(site, "/stream").body == b"abc"
    assert request(site, "/nothing").status == 404
    assert request(site, "/iiif/not/an/image").status == 404
    assert b"iiif-proxy" not in request(site, "/iiif/not/an/image").body


def test_csrf_is_django_s_business(site: int) -> None:
    page = request(site, "/")
    token = (re.search(rb"token=(\w+)", page.body) or [b"", b""])[1].decode()
    cookies = "; ".join(value.partition(";")[0] for value in page.all("Set-Cookie"))
    body = f"name=%C3%A9&csrfmiddlewaretoken={token}".encode()
    lines = ["Content-Type: application/x-www-form-urlencoded", f"Cookie: {cookies}"]
    good = request(site, "/form", *lines, method="POST", body=body)
    assert (good.status, good.body.decode()) == (200, "got é")
    assert request(site, "/form", *lines[:1], method="POST", body=body).status == 403


def test_private_images_stay_private(site: int) -> None:
    """Asked as a stranger, whoever asks: what is made is kept for everybody."""
    cookies = [v.partition(";")[0] for v in request(site, "/").all("Set-Cookie")]
    line = "Cookie: " + "; ".join(cookies)
    assert request(site, "/media/private/a.png", line).status == 200
    for target in (
        "/iiif/3/private%2Fa.png/info.json",
        "/iiif/3/private%2Fa.png/full/max/0/default.png",
    ):
        assert request(site, target, line).status == 403
