"""PEP 3333 to the letter: the standard library's validator and WebTest's, around and behind us."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.validate import validator

import pytest
import webtest
import webtest.lint

from iiif_proxy.proxy import IIIFProxy
from tests.http.collection import oriented, picture, quarters, saved

Environ = dict[str, Any]
TARGETS = [
    ("/iiif/3/quarters.png/full/max/0/default.png", 200),
    ("/iiif/2/quarters.png/full/30,/90/gray.jpg", 200),
    ("/iiif/3/large.png/full/max/0/default.tif", 200),
    ("/iiif/3/quarters.png/info.json", 200),
    ("/iiif/quarters.png/info.json", 200),
    ("/iiif/3/quarters.png", 303),
    ("/iiif/3/quarters.png/full/0,/0/default.png", 400),
    ("/iiif/3/nothing.png/info.json", 404),
    ("/iiif/3/text.txt/info.json", 502),
    ("/iiif/3/failing/info.json", 502),
    ("/iiif/-/health", 200),
    ("/iiif/-/metrics", 200),
    ("/iiif/-/nothing", 404),
    ("/iiif/not/ours/at/all", 200),
    ("/page", 200),
]


class Closing:
    """A body that knows whether it was closed."""

    open = 0

    def __init__(self, data: bytes) -> None:
        self._data = data
        Closing.open += 1

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self._data), 50_000):
            yield self._data[start : start + 50_000]

    def close(self) -> None:
        Closing.open -= 1


def site(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
    """An application with pictures, pages and a fault."""
    body = picture(environ["PATH_INFO"])
    if environ["PATH_INFO"] == "/failing":
        raise RuntimeError("an application's own mistake")
    if body is not None:
        fields = [("Content-Type", "image/png"), ("Content-Length", str(len(body)))]
        start_response("200 OK", fields)
        return Closing(body)
    if environ["PATH_INFO"].endswith((".png", ".jpg")):
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return Closing(b"no")
    start_response("200 OK", [("Content-Type", "text/plain"), ("Set-Cookie", "a=1")])
    return Closing(b"a page")


@pytest.fixture(params=["stored", "nothing stored"])
def folder(request: pytest.FixtureRequest, tmp_path: Any) -> str:
    return str(tmp_path) if request.param == "stored" else ""


LINTS = [webtest.lint.middleware, validator]


@pytest.mark.parametrize("lint", LINTS)
def test_lint(folder: str, lint: Callable[[Any], Any]) -> None:
    proxy = IIIFProxy(lint(site), environ={}, cache_dir=folder)
    app = webtest.TestApp(lint(proxy), lint=False)
    for target, status in TARGETS * 2:
        for method in ("GET", "HEAD", "OPTIONS"):
            answer = app.request(target, method=method, expect_errors=True)
            ours = "Access-Control-Allow-Origin" in answer.headers
            assert answer.status_int == (204 if method == "OPTIONS" and ours else status), target
            etag = answer.headers.get("ETag")
            if etag:
                again = app.get(target, headers={"If-None-Match": etag}, status=304)
                assert again.body == b""
    posted = app.post("/iiif/3/quarters.png/info.json", b"x", expect_errors=True)
    assert posted.status_int == 405
    assert app.post("/page", b"x").body == b"a page"
    assert Closing.open == 0


def test_what_the_application_sees_of_a_page() -> None:
    """The very environ and start_response that came: nothing in between."""
    seen: list[Any] = []

    def app(environ: Environ, start_response: Callable[..., Any]) -> list[bytes]:
        seen.extend([environ, start_response])
        return [b"the same"]

    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/page", "SCRIPT_NAME": "", "x": object()}
    before = dict(environ)

    def start_response(*_: Any) -> Any: ...

    answer = IIIFProxy(app, environ={}, cache_dir="")(environ, start_response)
    assert seen[0] is environ
    assert seen[1] is start_response
    assert environ == before
    assert answer == [b"the same"]


def test_what_the_application_sees_of_an_image() -> None:
    """A stranger's GET of the source, whatever the visitor asked and brought along."""
    seen: list[Environ] = []

    def app(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        seen.append(environ)
        data = saved(quarters(30, 20))
        start_response("200 OK", [("Content-Type", "image/png")])
        return [data]

    proxy = IIIFProxy(app, environ={}, cache_dir="", source="app:/media/{id}?size=full")
    client = webtest.TestApp(proxy)
    headers = {
        "Cookie": "a=b", "Authorization": "Basic eDp5", "Range": "bytes=0-1", "Accept": "text/html",
        "If-None-Match": '"x"', "Accept-Encoding": "br", "X-Mine": "in no key",
        "X-Forwarded-Proto": "https",
    }  # fmt: skip
    client.request(
        "/iiif/3/b%20c%2Fd.png/full/max/0/default.png?x=1",
        headers=headers,
        method="HEAD",
        environ={"REMOTE_USER": "me"},
    )
    environ = seen[0]
    assert (environ["REQUEST_METHOD"], environ["PATH_INFO"]) == ("GET", "/media/b c/d.png")
    assert environ["QUERY_STRING"] == "size=full"
    assert environ["HTTP_X_FORWARDED_PROTO"] == "https"
    gone = {
        "HTTP_COOKIE", "HTTP_AUTHORIZATION", "HTTP_RANGE", "HTTP_ACCEPT", "HTTP_IF_NONE_MATCH",
        "HTTP_ACCEPT_ENCODING", "HTTP_X_MINE", "REMOTE_USER",
    }  # fmt: skip
    assert not gone & environ.keys()


def test_hosts_are_told_apart(tmp_path: Any) -> None:
    """One application, two sites: an image of one is never answered on the other, hot or not."""

    def app(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = oriented(1) if environ["HTTP_HOST"] == "one.example" else saved(quarters(30, 20))
        start_response("200 OK", [("Content-Type", "image/png"), ("ETag", '"same"')])
        return [body]

    proxy = IIIFProxy(app, environ={}, cache_dir=tmp_path, base_url="https://both.example")
    client = webtest.TestApp(proxy)
    target = "/iiif/3/a/full/max/0/default.png"
    found = [
        client.get(target, headers={"Host": host}).body
        for host in ("one.example", "two.example", "one.example", "two.example")
    ]
    assert found[0] == found[2] != found[1] == found[3]
