"""The visitor's own credentials go to the origin, whose answer is the verdict."""

from collections.abc import Iterator

import pytest

from iiif_proxy.access import watch
from iiif_proxy.settings import SettingsError
from tests.access.conftest import Heard, House, Housing
from tests.http.collection import quarters, saved
from tests.servers import Exchange, Origin, reply

POLICY = """
[origin]
ask = "{}"
remember = "{}"
[classes.public]
origin = true
"""
SIZE = "/iiif/3/a.png/full/75,50/0/default.jpg"
ALICE, BOB = {"HTTP_COOKIE": "session=alice"}, {"HTTP_COOKIE": "session=bob"}
PICTURE = saved(quarters(300, 200))


@pytest.fixture
def origin() -> Iterator[Origin]:
    """Has pictures for alice and for who has a password; others are led to a login, or refused."""

    def picture(exchange: Exchange) -> None:
        request = exchange.request
        cookie, given = request.all("Cookie"), request.all("Authorization")
        fields = [("Content-Type", "image/png"), ("ETag", '"1"'), ("Cache-Control", "private")]
        if cookie == ["session=alice"] or given == ["Basic eA=="]:
            exchange.write(reply(200, fields, b"" if request.method == "HEAD" else PICTURE))
        elif cookie == ["session=eve"]:
            exchange.write(reply("302 Found", [("Location", "/login")]))
        elif cookie == ["session=mallory"]:
            # A body after HEAD too, as careless applications do.
            exchange.write(reply(200, [("Content-Type", "text/html")], b"<form>"))
        elif cookie:
            exchange.write(reply("403 Forbidden"))
        else:
            exchange.write(reply("401 X", [("WWW-Authenticate", 'Basic realm="archive"')]))

    with Origin() as origin:
        origin.routes["/a.png"] = picture
        origin.routes["/none.png"] = reply("404 Not Found")
        yield origin
        assert not origin.failures


def build(house: Housing, origin: Origin, ask: str = "head", remember: str = "1h") -> House:
    return house(POLICY.format(ask, remember), source=f"{origin.url}/{{id}}")


def later(here: House) -> None:
    """When what is remembered of verdicts has ended."""
    here.proxy.access._asking[1]._said.clear()  # type: ignore[attr-defined]


def assert_private(heard: Heard) -> None:
    assert heard.status == 200
    assert heard.get("Cache-Control").startswith("private")
    assert "Cookie" in heard.get("Vary")
    assert "Authorization" in heard.get("Vary")


@pytest.mark.parametrize("ask", ["head", "get"])
def test_the_origin_decides_for_each_visitor(house: Housing, origin: Origin, ask: str) -> None:
    here = build(house, origin, ask)
    for target in (SIZE, "/iiif/3/a.png/info.json", "/iiif/3/a.png/manifest.json"):
        for _ in range(2):
            assert_private(here.ask(target, **ALICE))
            assert_private(here.ask(target, HTTP_AUTHORIZATION="Basic eA=="))
            for cookie in ("bob", "eve", "mallory"):
                heard = here.ask(target, HTTP_COOKIE=f"session={cookie}")
                assert heard.status == 403
                assert not heard.get("ETag") + heard.get("Cache-Status")
            heard = here.ask(target)
            assert heard.status == 401
            assert heard.get("WWW-Authenticate") == 'Basic realm="archive"'
            etag = {"HTTP_IF_NONE_MATCH": here.ask(target, **ALICE).get("ETag")}
            assert here.ask(target, **ALICE, **etag).status == 304
            assert here.ask(target, **BOB, **etag).status == 403
    assert here.ask(SIZE.replace("a.png", "none.png"), **ALICE).status == 404
    assert here.published() == set()
    # A verdict for each: alice, her password, bob, eve, mallory, nobody; and alice's of none.png.
    asked = [r for r in origin.requests if r.method == "HEAD" or r.all("Range") == ["bytes=0-0"]]
    assert len(asked) == 7
    # The picture came once, by credentials that the origin had allowed it.
    [fetch] = [r for r in origin.requests if r not in asked]
    assert fetch.all("Cookie") == ["session=alice"]


def test_a_verdict_is_for_one_image(house: Housing, origin: Origin) -> None:
    here = build(house, origin)
    origin.routes["/b.png"] = reply("403 Forbidden")
    assert here.ask(SIZE, **ALICE).status == 200
    assert here.ask(SIZE.replace("a.png", "b.png"), **ALICE).status == 403


def test_a_verdict_ends(house: Housing, origin: Origin) -> None:
    here = build(house, origin)
    assert here.ask(SIZE, **ALICE).status == 200
    picture = origin.routes["/a.png"]
    origin.routes["/a.png"] = reply("403 Forbidden")
    assert here.ask(SIZE, **ALICE).status == 200
    later(here)
    assert here.ask(SIZE, **ALICE).status == 403
    origin.routes["/a.png"] = picture
    later(here)
    assert here.ask(SIZE, **ALICE).status == 200


@pytest.mark.parametrize("failing", ["500", "503", "gone"])
def test_an_origin_that_does_not_say_is_no_open_door(
    house: Housing, origin: Origin, failing: str
) -> None:
    here = build(house, origin)
    assert here.ask(SIZE, **ALICE).status == 200
    if failing == "gone":
        origin.routes["/a.png"] = lambda exchange: exchange.reset()
    else:
        origin.routes["/a.png"] = reply(f"{failing} X")
    later(here)
    for fields in (ALICE, BOB, {}):
        heard = here.ask(SIZE, **fields)
        assert heard.status == 503
        assert heard.get("Retry-After")
        assert str(origin.port).encode() not in heard.body
    assert here.ask("/iiif/3/a.png/info.json", **ALICE).status == 503


def test_pages_say_no_more(house: Housing, origin: Origin) -> None:
    here = build(house, origin)
    assert here.ask(SIZE, **ALICE).status == 200
    explained = "/iiif/-/explain/3/a.png/full/75,50/0/default.jpg"
    assert b"300" in here.ask(explained, **ALICE).body
    assert b"300" not in here.ask(explained, **BOB).body


def test_credentials_do_not_follow_redirects(house: Housing, origin: Origin) -> None:
    """To another host, which the settings allow for images."""
    with Origin() as other:
        other.default = reply(fields=[("Content-Type", "image/png")], body=PICTURE)

        def lead(exchange: Exchange) -> None:
            if exchange.request.method == "HEAD":
                exchange.write(reply(200, [("Content-Type", "image/png")]))
            else:
                exchange.write(reply("302 Found", [("Location", f"{other.url}/x")]))

        origin.routes["/a.png"] = lead
        here = house(
            POLICY.format("head", "1h"),
            source=f"{origin.url}/{{id}}",
            redirect_hosts=f"127.0.0.1:{other.port}",
        )
        assert here.ask(SIZE, **ALICE).status == 200
        assert [r.all("Cookie") for r in other.requests] == [[]]


def test_another_class_may_be_free_of_it(house: Housing, origin: Origin) -> None:
    here = build(house, origin)
    assert here.ask(SIZE, **ALICE).status == 200
    assert here.ask(SIZE, "privileged").status == 200
    assert_private(here.ask(SIZE, "privileged"))


def test_files_cannot_be_asked(house: Housing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PAUSE", 0.0)
    with pytest.raises(SettingsError, match="can be asked"):
        house(POLICY.format("head", "1h"))
    with pytest.raises(SettingsError, match=r"line 3: origin\.ask"):
        house(POLICY.format("post", "1h"))
