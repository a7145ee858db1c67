"""Logged in or not is for the origin to say, at an address of its own."""

import threading
from collections.abc import Iterator

import pytest

from iiif_proxy.access.session import BySession
from tests.access.conftest import House, Housing
from tests.access.conftest import house as house  # the fixture
from tests.clients import reply
from tests.http.collection import quarters, saved
from tests.servers import Exchange, Origin

POLICY = """
[[rules]]
identifiers = "restricted/*"
public = { read = "nothing" }

[auth]
login = "/login?next={return}"
check = "/account/me?short=1"
cookies = ["session"]
"""
IMAGE = "/iiif/3/restricted%2Fb.png/full/100,/0/default.jpg"
GOOD = "theme=dark; session=abc"


class Library:
    """An origin that knows one session."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.status = 200
        origin.routes["/account/me"] = self.me

    def me(self, exchange: Exchange) -> None:
        known = "session=abc" in exchange.request.all("Cookie")[0]
        status = f"{self.status if known else 401} x"
        # Closed, because nobody ends the proxy's pool here.
        exchange.close()
        exchange.write(reply(status, [("Connection", "close")], b"me"))


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin() as origin:
        yield origin
        assert not origin.failures


@pytest.fixture
def library(origin: Origin) -> Library:
    return Library(origin)


@pytest.fixture
def sidecar(house: Housing, library: Library) -> House:
    return house(POLICY, origin=library.origin.url)


def test_who_is_logged_in_at_the_origin_is_a_member(sidecar: House, library: Library) -> None:
    assert sidecar.ask(IMAGE).status == 403
    # Nobody is asked about whom it cannot know.
    assert sidecar.ask(IMAGE, HTTP_COOKIE="theme=dark").status == 403
    assert not library.origin.requests
    for _ in range(3):
        answer = sidecar.ask(IMAGE, HTTP_COOKIE=GOOD, HTTP_RANGE="bytes=0-1", HTTP_ACCEPT="x/y")
        assert answer.status == 200
        assert "Cookie" in answer.get("Vary")
        assert answer.get("Cache-Control").startswith("private")
    [asked] = library.origin.requests
    assert (asked.method, asked.target) == ("GET", "/account/me?short=1")
    assert asked.all("Cookie") == [GOOD]
    assert not asked.all("Range")
    assert sidecar.ask(IMAGE, HTTP_COOKIE="session=xyz").status == 403
    token = "/iiif/-/auth/token?messageId=m&origin=https://viewer.example"
    assert b"accessToken" in sidecar.ask(token, HTTP_COOKIE=GOOD).body
    assert b"missingAspect" in sidecar.ask(token, HTTP_COOKIE="session=xyz").body


def test_an_origin_that_fails_opens_nothing(sidecar: House, library: Library) -> None:
    library.status = 500
    answer = sidecar.ask(IMAGE, HTTP_COOKIE=GOOD)
    assert (answer.status, answer.get("Retry-After")) == (503, "5")
    assert sidecar.ask("/iiif/3/open%2Fc.png/info.json").status == 200
    token = "/iiif/-/auth/token?messageId=m&origin=https://viewer.example"
    assert b"unavailable" in sidecar.ask(token, HTTP_COOKIE=GOOD).body
    # It is not remembered, either.
    library.status = 200
    assert sidecar.ask(IMAGE, HTTP_COOKIE=GOOD).status == 200


def test_where_the_origin_decides_nobody_is_led_to_a_login(
    house: Housing, library: Library
) -> None:
    picture = reply(fields=[("Content-Type", "image/png")], body=saved(quarters(60, 40)))

    def image(exchange: Exchange) -> None:
        known = exchange.request.all("Cookie") == ["session=abc"]
        exchange.close()
        exchange.write(picture if known else reply("401 x", [("Connection", "close")]))

    library.origin.routes["/a.png"] = image
    policy = (
        '[classes.public]\norigin = true\n[classes.member]\norigin = true\n[auth]\nlogin = "/"\n'
    )
    sidecar = house(policy, origin=library.origin.url, source=library.origin.url + "/{id}")
    for target in ("3/a.png/info.json", "2/a.png/info.json", "3/a.png;reduced/info.json"):
        assert sidecar.ask(f"/iiif/{target}").status in {401, 403}
        answer = sidecar.ask(f"/iiif/{target}", HTTP_COOKIE="session=abc")
        assert answer.status == 200
        assert b"AuthProbeService2" not in answer.body
        assert answer.get("Cache-Control").startswith("private")
    assert b'"status": 401' in sidecar.ask("/iiif/-/auth/probe/a.png").body


def test_many_at_once_ask_once() -> None:
    asked, begun = [], threading.Event()

    def app(environ, start_response):  # type: ignore[no-untyped-def]
        asked.append(environ["PATH_INFO"])
        assert begun.wait(10)
        start_response("204 No Content", [])
        return []

    finder = BySession(app, "/me", "member")
    environ = {
        "REQUEST_METHOD": "GET", "SERVER_NAME": "x", "SERVER_PORT": "80", "HTTP_COOKIE": "a=b",
        "wsgi.url_scheme": "http",
    }  # fmt: skip
    found: list[object] = []
    threads = [
        threading.Thread(target=lambda: found.append(finder.find(dict(environ)))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    begun.set()
    for thread in threads:
        thread.join()
    assert asked == ["/me"]
    assert len(set(found)) == 1
    assert found[0] is not None
