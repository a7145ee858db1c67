"""Identifiers in every spelling, base URIs, query strings: SPEC.md 22, 23, 25."""

import pytest

from tests.http.collection import NAMES
from tests.http.conftest import Proxy

BASE = "http://visited.example/iiif"
# as it is asked for, the identifier, as it stands in `id`
SPELLED = [
    ("a%2Fb.png", "a/b.png", "a%2Fb.png"),
    ("a%2fb.png", "a/b.png", "a%2Fb.png"),
    ("a/b.png", "a/b.png", "a%2Fb.png"),
    ("a/b/c/d/e.png", "a/b/c/d/e.png", "a%2Fb%2Fc%2Fd%2Fe.png"),
    ("a%252Fb.png", "a%2Fb.png", "a%252Fb.png"),
    ("a%2525b.png", "a%25b.png", "a%2525b.png"),
    ("100%25.png", "100%.png", "100%25.png"),
    ("x+y.png", "x+y.png", "x+y.png"),
    ("x%2By.png", "x+y.png", "x+y.png"),
    ("de%2Dad.png", "de-ad.png", "de-ad.png"),
    ("%7Etilde.png", "~tilde.png", "~tilde.png"),
    ("ark:%2F12025%2F654xz321", "ark:/12025/654xz321", "ark:%2F12025%2F654xz321"),
    ("ark%3A%2F12025%2F654xz321", "ark:/12025/654xz321", "ark:%2F12025%2F654xz321"),
    ("ark:/12025/654xz321", "ark:/12025/654xz321", "ark:%2F12025%2F654xz321"),
    ("caf%C3%A9.png", "café.png", "caf%C3%A9.png"),
    ("%E6%97%A5%E6%9C%AC.png", "日本.png", "%E6%97%A5%E6%9C%AC.png"),
    ("sp%20ace.png", "sp ace.png", "sp%20ace.png"),
    ("what%3F.png", "what?.png", "what%3F.png"),
    ("a%23b.png", "a#b.png", "a%23b.png"),
    ("a,b;c=d!e.png", "a,b;c=d!e.png", "a,b;c=d!e.png"),
    ("a%2Cb%3Bc%3Dd%21e.png", "a,b;c=d!e.png", "a,b;c=d!e.png"),
    ("%5Bx%5D%40y.png", "[x]@y.png", "%5Bx%5D%40y.png"),
    ("2", "2", "2"),
    ("3", "3", "3"),
    ("2%2Fa.png", "2/a.png", "2%2Fa.png"),
    ("x%2Finfo.json", "x/info.json", "x%2Finfo.json"),
    ("full%2Fmax%2F0%2Fdefault.jpg", "full/max/0/default.jpg", "full%2Fmax%2F0%2Fdefault.jpg"),
]


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("spelled, identifier, encoded", SPELLED)
def test_identifier(
    proxy: Proxy, version: int, spelled: str, identifier: str, encoded: str
) -> None:
    width = NAMES["/" + identifier]
    info = proxy.info(f"/{version}/{spelled}/info.json")
    assert info["width"] == width
    assert info["@id" if version == 2 else "id"] == f"{BASE}/{version}/{encoded}"
    answer = proxy.ask(f"/{version}/{spelled}/full/max/0/default.png")
    assert (answer.status, answer.get("Content-Type")) == (200, "image/png")
    assert f"<{BASE}/{version}/{encoded}/full/" in (answer.get("Link") or "")
    assert proxy.image(f"/{version}/{spelled}/full/max/0/default.png").width == width
    # The URI that we name is answered, and by the same image.
    again = proxy.ask(f"/{version}/{encoded}/full/max/0/default.png")
    assert (again.get("ETag"), again.body) == (answer.get("ETag"), answer.body)


@pytest.mark.parametrize("spelled, identifier, encoded", SPELLED)
def test_identifier_without_a_version(
    proxy: Proxy, spelled: str, identifier: str, encoded: str
) -> None:
    info = proxy.info(f"/{spelled}/info.json")
    assert (info["width"], info["id"]) == (NAMES["/" + identifier], f"{BASE}/{encoded}")


@pytest.mark.parametrize(
    "spelled",
    [
        "..%2F..%2Fetc%2Fpasswd", "%2E%2E%2Fa.png", "a%2F..%2Fa%2Fb.png", "..%5Ca.png", "%00",
        "a%00b.png", "%FF", "%C3%28.png", "%C0%AF", "%ED%A0%80", "%zz", "100%.png", "a%0Ab", "a%7F",
        ".", "..", "%2E",
    ],
)  # fmt: skip
@pytest.mark.parametrize("tail", ["/info.json", "/full/max/0/default.png"])
def test_identifier_that_no_source_sees(proxy: Proxy, spelled: str, tail: str) -> None:
    before = len(proxy.origin.requests)
    answer = proxy.ask(f"/3/{spelled}{tail}")
    assert answer.status in {400, 404}
    assert len(proxy.origin.requests) == before


@pytest.mark.parametrize(
    "spelled", ["a%2Fnothing", "nothing", "a/nothing", "%2F", "%2Fetc%2Fpasswd"]
)
def test_unknown_identifier(proxy: Proxy, spelled: str) -> None:
    for version in (2, 3):
        assert proxy.ask(f"/{version}/{spelled}/info.json").status == 404
        assert proxy.ask(f"/{version}/{spelled}/full/max/0/default.png").status == 404


@pytest.mark.parametrize("query", ["?", "?t=1", "?t=1&full/max", "??", "?/info.json", "?%zz"])
@pytest.mark.parametrize("version", ["/2", "/3", ""])
def test_query_changes_nothing(proxy: Proxy, version: str, query: str) -> None:
    plain = f"{version}/a%2Fb.png/full/max/0/default.png"
    first = proxy.ask(plain)
    asked = len(proxy.origin.requests)
    answer = proxy.ask(plain + query)
    assert (answer.status, answer.body) == (200, first.body)
    assert answer.get("ETag") == first.get("ETag")
    assert answer.get("Link") == first.get("Link")
    assert answer.get("Cache-Status") == "iiif-proxy; hit"
    info = f"{version}/a%2Fb.png/info.json"
    assert proxy.ask(info + query).body == proxy.ask(info).body
    assert len(proxy.origin.requests) == asked


@pytest.mark.parametrize(
    "target, location",
    [
        ("/3/a%2Fb", "/3/a%2Fb/info.json"),
        ("/2/a%2Fb", "/2/a%2Fb/info.json"),
        ("/3/a%2Fb/", "/3/a%2Fb/info.json"),
        ("/3/a/b", "/3/a%2Fb/info.json"),
        ("/2/a/b/c/d/e/f", "/2/a%2Fb%2Fc%2Fd%2Fe%2Ff/info.json"),
        ("/3/ark:%2F12025%2F654xz321", "/3/ark:%2F12025%2F654xz321/info.json"),
        ("/a.png", "/a.png/info.json"),
        ("/a%2Fb.png", "/a%2Fb.png/info.json"),
        ("/a.png?x=1", "/a.png/info.json"),
        ("/2", "/2/info.json"),
        ("/3", "/3/info.json"),
        ("/3/2", "/3/2/info.json"),
        ("/3/caf%C3%A9.png", "/3/caf%C3%A9.png/info.json"),
    ],
)
def test_base_uri(proxy: Proxy, target: str, location: str) -> None:
    """It needs no source: whether there is one is for info.json to say."""
    asked = len(proxy.origin.requests)
    for method in ("GET", "HEAD"):
        answer = proxy.ask(target, method=method)
        assert (answer.status, answer.get("Location")) == (303, BASE + location)
        assert answer.all("Access-Control-Allow-Origin") == ["*"]
    assert len(proxy.origin.requests) == asked
