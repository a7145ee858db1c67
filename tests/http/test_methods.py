"""Methods, preflight, and what every answer carries: SPEC.md 25."""

import pytest

from tests.http.conftest import Proxy

IMAGE = "/3/300x200.png/full/90,/0/default.png"
ADDRESSES = {
    "image": IMAGE,
    "image of 2.1": "/2/300x200.png/full/90,/0/default.png",
    "info": "/3/300x200.png/info.json",
    "info of 2.1": "/2/300x200.png/info.json",
    "unversioned info": "/300x200.png/info.json",
    "base": "/3/300x200.png",
    "bad request": "/3/300x200.png/full/0,/0/default.png",
    "bad format": "/3/300x200.png/full/max/0/default.xyz",
    "not here": "/3/nothing/info.json",
    "no image": "/3/text.txt/info.json",
    "bad identifier": "/3/%00/info.json",
    "health": "/-/health",
    "nothing of ours": "/-/nothing",
}


@pytest.mark.parametrize("name", ADDRESSES)
def test_head_is_get_without_a_body(proxy: Proxy, name: str) -> None:
    proxy.ask(ADDRESSES[name])
    whole, head = (proxy.ask(ADDRESSES[name], method=method) for method in ("GET", "HEAD"))
    assert whole.status == head.status
    assert [f for f in whole.fields if f[0] != "Date"] == [f for f in head.fields if f[0] != "Date"]
    assert whole.get("Content-Length") == str(len(whole.body))
    assert whole.body
    assert head.body == b""


@pytest.mark.parametrize("name", ADDRESSES)
@pytest.mark.parametrize(
    "method", ["POST", "PUT", "DELETE", "PATCH", "PROPFIND", "TRACE", "BREW", "get"]
)
def test_other_methods(proxy: Proxy, name: str, method: str) -> None:
    answer = proxy.ask(ADDRESSES[name], "Content-Length: 0", method=method)
    if method == "get" and answer.status == 400:
        return  # gunicorn's own answer
    assert (answer.status, answer.get("Allow")) == (405, "GET, HEAD, OPTIONS")
    assert answer.all("Access-Control-Allow-Origin") == ["*"]
    assert answer.body == b"This address answers GET, HEAD, OPTIONS only.\n"


@pytest.mark.parametrize("name", ADDRESSES)
def test_preflight(proxy: Proxy, name: str) -> None:
    asked = len(proxy.origin.requests)
    answer = proxy.ask(
        ADDRESSES[name],
        "Origin: https://viewer.example.org",
        "Access-Control-Request-Method: GET",
        "Access-Control-Request-Headers: authorization,x-requested-with",
        method="OPTIONS",
    )
    assert (answer.status, answer.body) == (204, b"")
    assert answer.all("Access-Control-Allow-Origin") == ["*"]
    assert answer.get("Access-Control-Allow-Methods") == "GET, HEAD, OPTIONS"
    assert answer.get("Access-Control-Allow-Headers") == "authorization,x-requested-with"
    assert answer.get("Allow") == "GET, HEAD, OPTIONS"
    assert not answer.all("Content-Type")
    assert len(proxy.origin.requests) == asked


def test_preflight_that_asks_for_nonsense(proxy: Proxy) -> None:
    line = 'Access-Control-Request-Headers: a"b<script>\x7f'
    answer = proxy.ask(IMAGE, line, method="OPTIONS")
    assert answer.status in {204, 400}
    assert not answer.all("Access-Control-Allow-Headers")


@pytest.mark.parametrize("name", ADDRESSES)
@pytest.mark.parametrize("line", ["X-Nothing: 1", "Origin: https://viewer.example.org"])
def test_what_every_answer_carries(proxy: Proxy, name: str, line: str) -> None:
    answer = proxy.ask(ADDRESSES[name], line)
    assert answer.all("Access-Control-Allow-Origin") == ["*"]
    assert "Link" in (answer.get("Access-Control-Expose-Headers") or "")
    assert answer.all("X-Content-Type-Options") == ["nosniff"]
    assert answer.all("Content-Type")
    assert not answer.all("Set-Cookie")
    names = [name for name, _ in answer.fields]
    assert len(names) == len(set(names))


def test_not_modified_carries_it_too(proxy: Proxy) -> None:
    answer = proxy.ask(IMAGE, "If-None-Match: *")
    assert (answer.status, answer.all("Access-Control-Allow-Origin")) == (304, ["*"])
    assert answer.all("X-Content-Type-Options") == ["nosniff"]


def test_image_headers(proxy: Proxy) -> None:
    answer = proxy.ask(IMAGE)
    assert {name for name, _ in answer.fields} == {
        "Server", "Date", "Connection", "Access-Control-Allow-Origin",
        "Access-Control-Expose-Headers", "Content-Type", "Content-Length", "ETag",
        "Last-Modified", "Cache-Control", "Link", "Cache-Status", "X-Content-Type-Options",
    }  # fmt: skip


def test_large_image_is_whole(proxy: Proxy) -> None:
    """Above one piece it is streamed from the file, by sendfile where the server can."""
    first, second = (proxy.ask("/3/large.png/full/max/0/default.tif") for _ in range(2))
    assert first.whole
    assert len(first.body) > 1 << 20
    assert first.body == second.body
    assert first.get("Content-Length") == str(len(first.body))
    head = proxy.ask("/3/large.png/full/max/0/default.tif", method="HEAD")
    assert head.get("Content-Length") == str(len(first.body))
