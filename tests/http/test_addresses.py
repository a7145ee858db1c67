"""Under which address the public knows us: SPEC.md 23. `id`, Link and Location all say the same."""

import json

import pytest

from tests.http.conftest import Proxy, Serving, links

NAME = "a%2Fb.png"


def bases(proxy: Proxy, *lines: str, host: str = "inside:8182", prefix: str = "/iiif") -> str:
    """What stands before `{prefix}/3/a%2Fb.png` everywhere."""
    tail = f"/3/{NAME}"
    info = proxy.ask(f"{tail}/info.json", *lines, host=host)
    image = proxy.ask(f"{tail}/full/max/0/default.png", *lines, host=host)
    moved = proxy.ask(tail, *lines, host=host)
    found = {
        json.loads(info.body)["id"],
        links(image)["canonical"].removesuffix("/full/max/0/default.png"),
        (moved.get("Location") or "").removesuffix("/info.json"),
    }
    assert len(found) == 1, found
    base: str = found.pop()
    assert base.endswith(prefix + tail)
    return base.removesuffix(prefix + tail)


@pytest.mark.parametrize(
    "headers, base",
    [
        ({}, "http://inside:8182"),
        (
            {"Proto": "https", "Host": "img.example.org", "Port": "443"},
            "https://img.example.org",
        ),
        (
            {"Proto": "https", "Host": "img.example.org", "Port": "8443"},
            "https://img.example.org:8443",
        ),
        ({"Proto": "https", "Host": "img.example.org:8443"}, "https://img.example.org:8443"),
        ({"Proto": "https", "Host": "img.example.org:443"}, "https://img.example.org"),
        ({"Proto": "http", "Host": "img.example.org", "Port": "80"}, "http://img.example.org"),
        ({"Host": "img.example.org"}, "http://img.example.org"),
        ({"Proto": "https,http", "Host": "img.example.org, inside"}, "https://img.example.org"),
        ({"Host": "img.example.org", "Prefix": "/images/"}, "http://img.example.org/images"),
        ({"Host": "img.example.org", "Prefix": "/images"}, "http://img.example.org/images"),
        ({"Host": "img.example.org", "Prefix": "/a/b"}, "http://img.example.org/a/b"),
        ({"Host": "img.example.org", "Prefix": "/"}, "http://img.example.org"),
        ({"Host": "[2001:db8::1]:81"}, "http://[2001:db8::1]:81"),
        # What is none of it.
        ({"Proto": "gopher"}, "http://inside:8182"),
        ({"Proto": "javascript:alert(1)//"}, "http://inside:8182"),
        ({"Host": 'x"><script>'}, "http://inside:8182"),
        ({"Host": "user@img.example.org"}, "http://inside:8182"),
        ({"Port": "none"}, "http://inside:8182"),
        ({"Prefix": 'https://evil.example/"'}, "http://inside:8182"),
        ({"Prefix": "//evil.example"}, "http://inside:8182"),
    ],
)
def test_forwarded(proxy: Proxy, headers: dict[str, str], base: str) -> None:
    lines = [f"X-Forwarded-{name}: {value}" for name, value in headers.items()]
    assert bases(proxy, *lines) == base


def test_untrusted_peer_changes_nothing(serving: Serving) -> None:
    proxy = serving(trusted_proxies="192.0.2.0/24 2001:db8::/32")
    lines = [
        "X-Forwarded-Proto: https", "X-Forwarded-Host: img.example.org",
        "X-Forwarded-Port: 8443", "X-Forwarded-Prefix: /images",
    ]  # fmt: skip
    assert bases(proxy, *lines) == "http://inside:8182"


def test_base_url_ends_all_guessing(serving: Serving) -> None:
    proxy = serving(base_url="https://img.example.org/pictures/")
    lines = ["X-Forwarded-Proto: http", "X-Forwarded-Host: other.example.org"]
    assert bases(proxy, *lines, host="whoever") == "https://img.example.org/pictures"


@pytest.mark.parametrize("host", ["visited.example", "visited.example:80", "VISITED.example:81"])
def test_host(proxy: Proxy, host: str) -> None:
    assert bases(proxy, host=host) == f"http://{host.removesuffix(':80')}"


def test_answers_of_one_host_are_not_for_another(proxy: Proxy) -> None:
    target = "/3/quarters.png/full/30,/0/default.png"
    for host in ("one.example", "two.example", "one.example"):
        answer = proxy.ask(target, host=host)
        assert links(answer)["canonical"].startswith(f"http://{host}/iiif/3/")
    for proto in ("http", "https", "http"):
        answer = proxy.ask(target, f"X-Forwarded-Proto: {proto}", host="one.example")
        assert links(answer)["canonical"].startswith(f"{proto}://one.example/iiif/3/")


@pytest.mark.parametrize("prefix", ["/a/b-c", ""])
def test_another_prefix(serving: Serving, prefix: str) -> None:
    proxy = serving(prefix=prefix)
    assert bases(proxy, prefix=prefix) == "http://inside:8182"
    assert proxy.ask("/-/health").status == 200
