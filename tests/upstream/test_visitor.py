"""Who asked: X-Forwarded-*, Via, Host; and the fields that are of one hop."""

from collections.abc import Iterator
from typing import Any

import pytest

from iiif_proxy.errors import InvalidRequest, NotSupported
from iiif_proxy.upstream import Upstream
from tests.servers import Origin, Served, ask, get, reply
from tests.upstream.conftest import call, serving

PEER = "192.0.2.7"
SAID = {
    "HTTP_X_FORWARDED_FOR": "198.51.100.1, 198.51.100.2",
    "HTTP_X_FORWARDED_PROTO": "https",
    "HTTP_X_FORWARDED_HOST": "public.example",
    "HTTP_X_FORWARDED_PORT": "444",
    "HTTP_X_FORWARDED_PREFIX": "/p",
    "HTTP_X_REAL_IP": "198.51.100.1",
    "HTTP_FORWARDED": "for=198.51.100.1",
}
WITNESSES = [
    "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port",
    "X-Forwarded-Prefix", "X-Real-Ip", "Forwarded",
]  # fmt: skip
OWN = [[PEER], ["http"], ["visited.example"], [], [], [], []]


def witnesses(origin: Origin, changes: dict[str, str], **keywords: Any) -> list[list[str]]:
    app = Upstream(origin.url, **keywords)
    call(app, "/", **changes)
    app.close()
    return [origin.requests[-1].all(name) for name in WITNESSES]


def test_strangers_are_not_believed(origin: Origin) -> None:
    assert witnesses(origin, SAID) == OWN
    assert witnesses(origin, SAID, trusted=lambda address: address == "192.0.2.8") == OWN
    assert witnesses(origin, {}) == OWN


def test_trusted_peers_are_believed_and_added_to(origin: Origin) -> None:
    expected = [[value] for value in SAID.values()]
    expected[0] = [SAID["HTTP_X_FORWARDED_FOR"] + ", " + PEER]
    assert witnesses(origin, SAID, trusted=lambda address: address == PEER) == expected
    assert witnesses(origin, {}, trusted=lambda address: True) == OWN


def test_a_peer_without_an_address_adds_none(origin: Origin) -> None:
    assert witnesses(origin, {"REMOTE_ADDR": ""})[0] == []


@pytest.mark.parametrize("index, flag", [(0, "for"), (1, "proto"), (2, "host")])
def test_each_has_its_flag(origin: Origin, index: int, flag: str) -> None:
    off = {f"forwarded_{flag}": False}
    expected = [value if at != index else [] for at, value in enumerate(OWN)]
    assert witnesses(origin, {}, **off) == expected
    assert witnesses(origin, SAID, **off) == expected
    trusting = witnesses(origin, SAID, trusted=lambda address: True, **off)
    assert trusting[index] == [list(SAID.values())[index]]


@pytest.mark.parametrize(
    "via, came, expected",
    [
        ("iiif-proxy", None, ["1.1 iiif-proxy"]),
        ("me", "1.0 fred", ["1.0 fred, 1.1 me"]),
        (None, "1.0 fred", ["1.0 fred"]),
        (None, None, []),
    ],
)
def test_via(origin: Origin, via: str | None, came: str | None, expected: list[str]) -> None:
    app = Upstream(origin.url, via=via)
    call(app, "/", **({"HTTP_VIA": came} if came else {}))
    app.close()
    assert origin.requests[-1].all("Via") == expected


def test_host_is_the_origins_unless_preserved(origin: Origin) -> None:
    for preserve, expected in [(False, f"127.0.0.1:{origin.port}"), (True, "visited.example")]:
        app = Upstream(origin.url, preserve_host=preserve)
        call(app)
        app.close()
        assert origin.requests[-1].all("Host") == [expected]
        assert origin.requests[-1].all("X-Forwarded-Host") == ["visited.example"]


@pytest.fixture(scope="module")
def trusting(shared_origin: Origin) -> Iterator[Served]:
    with serving(base_url=shared_origin.url, trusted=["127.0.0.1"]) as server:
        yield server


def test_under_gunicorn(origin: Origin, server: Served, trusting: Served) -> None:
    wire = get("/", "X-Forwarded-For: 198.51.100.1", "X_Forwarded_For: 198.51.100.9")
    for served, expected in [(server, "127.0.0.1"), (trusting, "198.51.100.1, 127.0.0.1")]:
        assert ask(served.port, wire).status == 200
        assert origin.requests[-1].all("X-Forwarded-For") == [expected]


# One hop


def test_hop_by_hop_fields_of_a_request_end_here(origin: Origin, server: Served) -> None:
    wire = (
        b"GET / HTTP/1.1\r\nHost: visited.example\r\nConnection: close, X-Named ,keep-alive\r\n"
        b"Connection: x-also\r\nX-Named: 1\r\nX-ALSO: 1\r\nX-Stays: 1\r\nKeep-Alive: 5\r\n"
        b"TE: trailers\r\nTrailer: X-T\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a\r\n"
        b"Proxy-Connection: close\r\nProxy-Authorization: Basic eDp5\r\nHTTP2-Settings: a\r\n\r\n"
    )
    assert ask(server.port, wire).status == 200
    names = {name.lower() for name, _ in origin.requests[0].fields}
    assert names == {
        "host", "x-stays", "sec-websocket-key", "via",
        "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host",
    }  # fmt: skip


def test_connection_cannot_remove_what_we_say(origin: Origin, server: Served) -> None:
    named = "Connection: close, Host, Via, X-Forwarded-For, Content-Length, X-Forwarded-Proto"
    wire = get("/", named, "Content-Length: 3", method="PUT").replace(
        b"Connection: close\r\n", b"", 1
    )
    assert ask(server.port, wire + b"abc").status == 200
    request = origin.requests[0]
    assert request.body == b"abc"
    assert request.all("X-Forwarded-For") == ["127.0.0.1"]
    assert request.all("X-Forwarded-Proto") == ["http"]
    assert request.all("Via") == ["1.1 iiif-proxy"]
    assert request.all("Host") == [f"127.0.0.1:{origin.port}"]


def test_upgrade_is_passed_on_as_a_plain_request(origin: Origin, server: Served) -> None:
    wire = get("/chat", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
    wire = wire.replace(b"Connection: close", b"Connection: Upgrade")
    answer = ask(server.port, wire)
    assert (answer.status, answer.body) == (200, b"default")
    assert origin.requests[0].all("Upgrade") == origin.requests[0].all("Connection") == []


def test_hop_by_hop_fields_of_an_answer_end_here(origin: Origin, server: Served) -> None:
    origin.default = reply(
        fields=[
            ("Connection", "X-Named"), ("connection", "close"), ("X-Named", "1"), ("X-Stays", "1"),
            ("Keep-Alive", "timeout=5"), ("Trailer", "X-T"), ("Upgrade", "h2c"), ("TE", "x"),
            ("Proxy-Authenticate", "Basic"), ("Proxy-Connection", "close"),
        ]
    )  # fmt: skip
    answer = ask(server.port, get("/"))
    own = {"server", "date", "connection"}
    assert {name.lower() for name, _ in answer.fields} - own == {"x-stays", "content-length"}


# Whatever a lax server lets through


@pytest.mark.parametrize(
    "changes",
    [
        {"REQUEST_METHOD": "GET / HTTP/1.1\r\nX: y\r\n\r\nGET"},
        {"REQUEST_METHOD": ""},
        {"RAW_URI": "/a b"},
        {"RAW_URI": "/a\r\nX: y"},
        {"RAW_URI": "a"},
        {"HTTP_X_A": "a\r\nX: y"},
        {"HTTP_X_A": "a\nX: y"},
        {"HTTP_X_A": "a\0"},
        {"HTTP_X_A": "\u20ac"},
        {"HTTP_HOST": "a\r\nX: y"},
        {"CONTENT_TYPE": "a\r\nX: y"},
        {"CONTENT_LENGTH": "+3"},
        {"CONTENT_LENGTH": "3, 3"},
        {"CONTENT_LENGTH": "\u0663"},
        {"HTTP_TRANSFER_ENCODING": "chunked"},  # by a server that does not say where it ends
    ],
)
def test_what_cannot_be_said_in_http_is_refused(origin: Origin, changes: dict[str, str]) -> None:
    app = Upstream(origin.url)
    environ = {
        "REQUEST_METHOD": "GET", "PATH_INFO": changes.get("RAW_URI", "/"), "RAW_URI": "/",
    } | changes  # fmt: skip
    with pytest.raises(InvalidRequest):
        app(environ, lambda status, fields: None)
    assert origin.requests == []


def test_names_that_are_no_names_are_dropped(origin: Origin) -> None:
    app = Upstream(origin.url)
    names = ["HTTP_X A", "HTTP_X:A\r\n", "HTTP_", "HTTP_CONTENT_LENGTH", "HTTP_CONTENT_TYPE"]
    environ = {"REQUEST_METHOD": "GET", "HTTP_HOST": "a", "REMOTE_ADDR": PEER}
    list(app(environ | dict.fromkeys(names, "7"), lambda status, fields: None))
    app.close()
    assert {name.lower() for name, _ in origin.requests[0].fields} == {
        "host", "via", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host",
    }  # fmt: skip


def test_tunnels_are_not_opened(origin: Origin, server: Served) -> None:
    assert ask(server.port, get("visited.example:443", method="CONNECT")).status == 501
    with pytest.raises(NotSupported):
        Upstream(origin.url)({"REQUEST_METHOD": "CONNECT"}, lambda status, fields: None)
    assert origin.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a", "a:80", "//a", "http://", "http://u:p@a", "http://a?b", "http://a#b",
        "http://a b/", "http://a/b c", "http://a:port", "http://a/\u20ac", "",
    ],
)  # fmt: skip
def test_base_url_that_is_none(url: str) -> None:
    with pytest.raises(ValueError):
        Upstream(url)
