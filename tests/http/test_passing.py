"""What passes through and what does not; tests/upstream says that what passes is untouched."""

from pathlib import Path

import pytest

from tests.http.collection import quarters, saved
from tests.http.conftest import HOST, Proxy, Serving
from tests.servers import Answer, Origin, ask, get, reply

ODD = reply(
    "299 Strange",
    [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Content-Encoding", "gzip"), ("X-Odd", "\xe9")],
    b"\x1f\x8b not really \0\xff",
)
PASSES = [
    "//", "//a", "//iiifx", "//iiifx/3/a.png/info.json", "//IIIF/3/a.png/info.json",
    "//x/iiif/3/a.png/info.json", "////iiif/3/a.png/info.json", "//%69iif/3/a.png/info.json",
    "//iiif", "//iiif/", "//iiif?x", "//iiif/3/", "//iiif/2/", "//iiif/-", "//iiif//",
    "//iiif/a/b", "//iiif/a/b/", "//iiif/a/b/c/d", "//iiif/a.png/", "//iiif/info.json",
    "//3/a.png/info.json", "//a.png/full/max/0/default.jpg", "//-/health", "//iiif/../iiif/x/y",
    "//iiif/a/b/c/d/e?full/max/0/default.jpg", "//iiif/4/a.png", "//iiif/03/a.png",
]  # fmt: skip
OURS = [
    ("//iiif/3/a.png/info.json", 404),
    ("//iiif/a.png/info.json", 404),
    ("//iiif/4/a.png/info.json", 404),
    ("//iiif/3/a.png/full/max/0/default.jpg", 404),
    ("//iiif/3/a.png/full/max/0/nonsense.jpg", 400),
    ("//iiif/3/a.png/full/max/0/default.xyz", 404),
    ("//iiif/3/a.png/no/max/0/default.jpg", 400),
    ("//iiif/3/%00/info.json", 400),
    ("//iiif/3/a.png", 303),
    ("//iiif/3/a/b", 303),
    ("//iiif/a.png", 303),
    ("//iiif/-/nothing", 404),
    ("//iiif/-/", 200),
]
# gunicorn's own; Via and X-Forwarded-* are upstream's business.
SERVERS = {"Date", "Server", "Connection", "Transfer-Encoding"}


def content(answer: Answer) -> tuple[object, ...]:
    fields = [field for field in answer.fields if field[0] not in SERVERS]
    return answer.status, answer.reason, fields, answer.body


@pytest.fixture
def odd(origin: Origin) -> Origin:
    """The origin, answering all but pictures in a way that nobody else would."""
    for target in PASSES:
        origin.routes[target[1:].partition("?")[0]] = ODD
    return origin


@pytest.mark.parametrize("target", PASSES)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "PROPFIND", "DELETE"])
def test_passes(proxy: Proxy, odd: Origin, target: str, method: str) -> None:
    lines = ["Cookie: a=b", "Content-Length: 0"]
    passed = proxy.ask(target, *lines, method=method)
    request = odd.requests[-1]
    assert (request.method, request.target) == (method, target[1:])
    assert request.all("Cookie") == ["a=b"]
    head = [f"{method} {target[1:]} HTTP/1.1", f"Host: {HOST}", "Connection: close", *lines]
    direct = ask(odd.port, "\r\n".join([*head, "", ""]).encode())
    assert content(passed) == content(direct)
    assert passed.status == 299


@pytest.mark.parametrize("target, status", OURS)
def test_does_not_pass(proxy: Proxy, target: str, status: int) -> None:
    """No request to the origin but for the source, and that as a stranger would."""
    before = len(proxy.origin.requests)
    answer = proxy.ask(target, "Cookie: a=b", "Authorization: Basic eDp5", "Range: bytes=0-1")
    assert answer.status == status
    assert answer.all("Access-Control-Allow-Origin") == ["*"]
    for request in proxy.origin.requests[before:]:
        assert request.target != target[1:]
        for name in ("Cookie", "Authorization", "Range"):
            assert not request.all(name)


def test_bodies_pass_below_the_prefix(proxy: Proxy, odd: Origin) -> None:
    data = b"x=%2F&y=\xff"
    head = get("/iiif/a/b", f"Content-Length: {len(data)}", method="POST")
    answer = ask(proxy.served.port, head + data)
    assert (answer.status, odd.requests[-1].body) == (299, data)


def test_picture_itself_passes(proxy: Proxy) -> None:
    passed = proxy.ask("//quarters.png", "Range: bytes=0-9")
    assert passed.status == 200
    assert proxy.origin.requests[-1].all("Range") == ["bytes=0-9"]
    assert passed.get("Cache-Control") is None
    assert not passed.all("Access-Control-Allow-Origin")


@pytest.mark.parametrize(
    "target, ours",
    [
        ("//3/300x200.png/info.json", True),
        ("//300x200.png/info.json", True),
        ("//300x200.png/full/max/0/default.png", True),
        ("//2/300x200.png", True),
        ("//-/health", True),
        ("//", False),
        ("//300x200.png", False),
        ("//index.html", False),
        ("//a/b/c/d/e/f", False),
        ("//3", False),
    ],
)
def test_empty_prefix_leaves_the_pages_of_the_origin(
    serving: Serving, target: str, ours: bool
) -> None:
    """Without a version a base URI would be any page: none is."""
    answer = serving(prefix="").ask("/" + target if target == "//" else target)
    assert bool(answer.all("Access-Control-Allow-Origin")) == ours


def test_without_an_origin_nothing_is_behind(serving: Serving, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(saved(quarters(30, 20)))
    proxy = serving(origin="", source=f"file:{tmp_path}/{{id}}")
    assert proxy.info("/3/a.png/info.json")["width"] == 30
    answer = proxy.ask("//a.png")
    assert (answer.status, answer.body) == (404, b"Nothing is here.\n")
