"""Which path is what, identifiers in both directions: traps 22 to 25."""

import pytest

from iiif_proxy.errors import InvalidRequest
from iiif_proxy.iiif import urls
from iiif_proxy.iiif.plan import BaseRequest, ImageRequest, InfoRequest

IMAGE, INFO, BASE = ImageRequest, InfoRequest, BaseRequest
TAIL = "full/max/0/default.jpg"
KINDS = {ImageRequest: "image", InfoRequest: "info", BaseRequest: "base"}


def told(path, prefix="/iiif", default=3):
    """Kind, version, whether it was said, and identifier; None or 400."""
    try:
        request = urls.parse(path, prefix, default)
    except InvalidRequest as error:
        return error.status
    if request is None:
        return None
    return KINDS[type(request)], request.api.NUMBER, request.versioned, request.identifier


PATHS = [
    # Images
    (f"/3/x/{TAIL}", ("image", 3, True, "x")),
    ("/2/x/full/full/0/default.jpg", ("image", 2, True, "x")),
    (f"/x/{TAIL}", ("image", 3, False, "x")),
    (f"/3/a%2Fb.jpg/{TAIL}", ("image", 3, True, "a/b.jpg")),
    (f"/3/a/b.jpg/{TAIL}", ("image", 3, True, "a/b.jpg")),
    (f"/a/b.jpg/{TAIL}", ("image", 3, False, "a/b.jpg")),
    (f"/3/a/2/3/{TAIL}", ("image", 3, True, "a/2/3")),
    ("/3/x/pct:0,0,50,50/!9,9/!22.5/gray.png", ("image", 3, True, "x")),
    ("/3/x/0%2C0%2C9%2C9/%5E9%2C/%210/default%2Ejpg", ("image", 3, True, "x")),
    # A leading 2 or 3 is the version whenever something is left.
    (f"/3/3/{TAIL}", ("image", 3, True, "3")),
    (f"/2/3/{TAIL}", ("image", 2, True, "3")),
    (f"/3/{TAIL}", ("image", 3, False, "3")),
    (f"/2/{TAIL}", ("image", 3, False, "2")),
    (f"/4/{TAIL}", ("image", 3, False, "4")),
    (f"/4/x/{TAIL}", ("image", 3, False, "4/x")),
    ("/3/info.json", ("info", 3, False, "3")),
    ("/3/3/info.json", ("info", 3, True, "3")),
    ("/2/3/info.json", ("info", 2, True, "3")),
    ("/3", ("base", 3, False, "3")),
    ("/3/2", ("base", 3, True, "2")),
    # Malformed image requests are 400, not base URIs.
    ("/3/id/foo/max/0/default.jpg", 400),
    ("/3/id/full/foo/0/default.jpg", 400),
    ("/3/id/full/max/foo/default.jpg", 400),
    ("/3/id/full/max/0/foo.jpg", 400),
    ("/3/id/full/max/0/native.jpg", 400),
    ("/3/id/foo/foo/foo/default.jpg", 400),
    ("/3/id/full/max/0/default", 400),
    ("/3/id/full/max/0/default.", 400),
    ("/3/id/full/max/0/.jpg", 400),
    ("/3/id/-1,0,9,9/9,/foo/foo", 400),
    ("/3/id/full/max/0/", 400),
    ("/id/full/max/0/default", 400),
    ("/id/foo/max/0/default.jpg", 400),
    ("/3//full/max/0/default.jpg", 400),
    ("//full/max/0/default.jpg", 400),
    ("/3//info.json", 400),
    ("/3/full/max/0/default", 400),
    # Base URIs
    ("/3/foo", ("base", 3, True, "foo")),
    ("/3/foo/", ("base", 3, True, "foo")),
    ("/2/a%2Fb", ("base", 2, True, "a/b")),
    ("/3/a/b", ("base", 3, True, "a/b")),
    ("/3/books/vol1/page/7/scan.jpg", ("base", 3, True, "books/vol1/page/7/scan.jpg")),
    ("/3/photos/2020/05/17/img.jpg", ("base", 3, True, "photos/2020/05/17/img.jpg")),
    ("/3/foo/full/0/default.jpg", ("base", 3, True, "foo/full/0/default.jpg")),
    ("/foo", ("base", 3, False, "foo")),
    ("/a%2Fb", ("base", 3, False, "a/b")),
    # info.json
    ("/3/x/info.json", ("info", 3, True, "x")),
    ("/2/x/info.json", ("info", 2, True, "x")),
    ("/x/info.json", ("info", 3, False, "x")),
    ("/a/b/info.json", ("info", 3, False, "a/b")),
    ("/3/a/b/info.json", ("info", 3, True, "a/b")),
    ("/3/x/info%2Ejson", ("info", 3, True, "x")),
    ("/3/x%2Finfo.json/info.json", ("info", 3, True, "x/info.json")),
    ("/3/x/info.json/info.json", ("info", 3, True, "x/info.json")),
    ("/3/x/full/max/0/info.json", ("info", 3, True, "x/full/max/0")),
    # Not ours
    ("", None),
    ("/", None),
    ("/3/", None),
    ("/2//", None),
    ("/info.json", None),
    ("/foo/", None),
    ("/foo/bar", None),
    ("/books/vol1/page/7/scan.jpg", None),
    ("/full/max/0/default.jpg", None),
    ("/foo/%FF/%GG", None),
    ("/-", None),
    ("/-/health", None),
    ("/-/view/x", None),
    (f"/-/x/{TAIL}", None),
    ("/-/x/info.json", None),
]


@pytest.mark.parametrize("path, result", PATHS)
@pytest.mark.parametrize("prefix", ["/iiif", "/images/iiif"])
def test_paths(prefix, path, result):
    assert told(prefix + path, prefix) == result


@pytest.mark.parametrize("path, result", PATHS)
def test_paths_without_a_prefix(path, result):
    """The same, but no base URIs without a version: any page of the origin would be one."""
    if result and result != 400 and result[0] == "base" and not result[2]:
        result = None
    assert told(path, "") == result


@pytest.mark.parametrize("path", ["/", "/iii", "/iiifx/x", "/iiif", f"/other/x/{TAIL}", "", "*"])
def test_paths_outside_the_prefix(path):
    assert told(path) is None


def test_default_version():
    assert told("/iiif/x/info.json", default=2) == ("info", 2, False, "x")
    assert told("/iiif/x/full/full/0/default.jpg", default=2) == ("image", 2, False, "x")
    assert told("/iiif/x/full/full/0/default.jpg", default=3) == 400
    assert told("/iiif/3/x/info.json", default=2) == ("info", 3, True, "x")


IDENTIFIERS = [
    # in the path, decoded, encoded again (None: the same)
    ("a%2Fb.jpg", "a/b.jpg", None),
    ("a/b.jpg", "a/b.jpg", "a%2Fb.jpg"),
    ("a%2fb.jpg", "a/b.jpg", "a%2Fb.jpg"),
    ("100%25.jpg", "100%.jpg", None),
    ("a%252Fb", "a%2Fb", None),
    ("a%2525b", "a%25b", None),
    ("x+y.jpg", "x+y.jpg", None),
    ("x%2By.jpg", "x+y.jpg", "x+y.jpg"),
    ("a%2Db", "a-b", "a-b"),
    ("ark:%2F12025%2F654xz321", "ark:/12025/654xz321", None),
    ("ark%3A%2F12025%2F654xz321", "ark:/12025/654xz321", "ark:%2F12025%2F654xz321"),
    ("urn:foo:a123,456", "urn:foo:a123,456", None),
    (
        "urn:sici:1046-8188(199501)13:1%253C69:FTTHBI%253E2.0.TX;2-4",
        "urn:sici:1046-8188(199501)13:1%3C69:FTTHBI%3E2.0.TX;2-4",
        None,
    ),
    ("http:%2F%2Fexample.com%2F%3F54%23a", "http://example.com/?54#a", None),
    ("caf%C3%A9.jpg", "caf\u00e9.jpg", None),
    ("caf\u00c3\u00a9.jpg", "caf\u00e9.jpg", "caf%C3%A9.jpg"),  # raw bytes, as WSGI has them
    ("%F0%9F%96%BC", "\U0001f5bc", None),
    ("a%20b", "a b", None),
    ("a b", "a b", "a%20b"),
    ("%5Bfrob%5D", "[frob]", None),
    ("[frob]", "[frob]", "%5Bfrob%5D"),
    ("a%40b%3Fc%23d", "a@b?c#d", None),
    ("o'neil!$&()*;=~_.jpg", "o'neil!$&()*;=~_.jpg", None),
    ("%22%3C%3E%5C%5E%60%7B%7C%7D", '"<>\\^`{|}', None),
    ("a..b", "a..b", None),
    ("..a%2Fb..%2F...", "..a/b../...", None),
    ("a%2F%2Fb", "a//b", None),
    ("C:%5Cx%5Cy.tif", "C:\\x\\y.tif", None),
    (".hidden", ".hidden", None),
    ("x" * 4096, "x" * 4096, None),
]


@pytest.mark.parametrize("raw, decoded, encoded", IDENTIFIERS)
def test_identifiers(raw, decoded, encoded):
    assert urls.identifier(raw) == decoded
    assert urls.encode(decoded) == (raw if encoded is None else encoded)
    assert told(f"/iiif/3/{raw}/info.json") == ("info", 3, True, decoded)
    assert told(f"/iiif/3/{raw}/{TAIL}") == ("image", 3, True, decoded)
    assert told(f"/iiif/3/{raw}") == ("base", 3, True, decoded)


@pytest.mark.parametrize(
    "raw",
    [
        "..%2F..%2Fetc%2Fpasswd", "../../etc/passwd", "..", ".", "a/../b", "a%2F..", "%2E%2E",
        "a/./b", "a%2F.%2Fb", "..%5C..%5Cwindows", "a%5C..", "..%5Cb", "a%2F..%5Cb",
        "%00", "a%00.jpg", "%0A", "a%0D%0Ab", "%1F", "%7F", "%C2%85", "a\x00b", "a\tb",
        "%FF", "%C3", "%C3%28", "%ED%A0%80", "%C0%AF", "\u00ff", "\u0100",
        "%", "%G1", "a%2", "100%.jpg", "%%20", "%u0041", "x" * 4097, "%C3%A9" * 4097,
    ],
)  # fmt: skip
def test_identifiers_refused(raw):
    assert told(f"/iiif/3/{raw}/info.json") == 400
    assert told(f"/iiif/3/{raw}/{TAIL}") == 400
    assert told(f"/iiif/3/{raw}") == 400


def test_decoded_exactly_once():
    assert told("/iiif/3/%252E%252E%252Fx/info.json") == ("info", 3, True, "%2E%2E%2Fx")


URIS = [
    ("/iiif/3/a%2Fb.jpg/info.json", "/iiif/3/a%2Fb.jpg"),
    ("/iiif/3/a/b.jpg/info.json", "/iiif/3/a%2Fb.jpg"),
    ("/iiif/2/a%2Fb.jpg", "/iiif/2/a%2Fb.jpg"),
    ("/iiif/a%2Fb.jpg", "/iiif/a%2Fb.jpg"),
    ("/iiif/a/b.jpg/info.json", "/iiif/a%2Fb.jpg"),
    (f"/iiif/x/{TAIL}", "/iiif/x"),
    (f"/iiif/3/x/{TAIL}", "/iiif/3/x"),
    ("/iiif/3/foo/", "/iiif/3/foo"),
]


@pytest.mark.parametrize("path, uri", URIS)
@pytest.mark.parametrize("base", ["https://img.example.org", "http://x:8443/images"])
def test_uri(base, path, uri):
    request = urls.parse(path, "/iiif", 3)
    assert request is not None
    assert urls.uri(base, "/iiif", request) == base + uri


def test_uri_without_a_prefix():
    request = urls.parse("/3/x/info.json", "", 3)
    assert request is not None
    assert urls.uri("http://x", "", request) == "http://x/3/x"


TWO = 'application/ld+json;profile="http://iiif.io/api/image/2/context.json"'
THREE = 'application/ld+json;profile="http://iiif.io/api/image/3/context.json"'


@pytest.mark.parametrize(
    "accept, default, version",
    [
        (None, 3, 3),
        (None, 2, 2),
        ("*/*", 2, 2),
        ("application/ld+json", 2, 2),
        (TWO, 3, 2),
        (THREE, 2, 3),
        (f"{TWO}, {THREE}", 3, 2),
        (f"{TWO};q=0.5, {THREE}", 2, 3),
        (f"{TWO};q=0.5, {THREE};q=0.4", 3, 2),
        (f"{TWO};q=0", 3, 3),
        (f"{TWO}, */*;q=0.1", 3, 2),
        ("application/ld+json;profile=http://iiif.io/api/image/2/context.json", 3, 2),
        ('application/json; profile="http://iiif.io/api/image/2/context.json"', 3, 2),
        ('application/ld+json;profile="x http://iiif.io/api/image/2/context.json"', 3, 2),
        ('application/ld+json;profile="http://iiif.io/api/presentation/2/context.json"', 3, 3),
    ],
)
def test_version_by_profile(accept, default, version):
    assert urls.version_for(accept, default) == version
