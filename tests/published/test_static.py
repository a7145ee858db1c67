"""nginx by the shipped file: what it answers itself, how, and what it leaves to the sidecar."""

import subprocess
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path

import pytest

from tests.clients import ask, get
from tests.published.site import BLUE, GREEN, SHIPPED, Site, colour_of, jpeg, main_conf, near
from tests.servers import Exchange

TAIL = "0,0,256,256/128,128/0/default.jpg"
OF_ITSELF = {"Server", "Date", "Connection", "Accept-Ranges", "ETag", "Last-Modified"}


def test_the_shipped_file_is_sound(need: Callable[[str], str], tmp_path: Path) -> None:
    (tmp_path / "site.conf").write_text(SHIPPED.read_text())
    found = subprocess.run(
        [need("nginx"), "-t", "-c", main_conf(tmp_path)], capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr
    assert "warn" not in found.stderr


@pytest.mark.parametrize(
    "name",
    [
        "plain.jpg",
        "a%2Fb.jpg",
        "scans%2F1900%2Fmap%20of%20x.jpg",
        "M%C3%BCnchen.jpg",
        "%E5%9C%B0%E5%9B%B3.jpg",
        "100%25.jpg",
        "a%252Fb.jpg",
        "ark:12025~654,xz!(1)+$&'*;=.jpg",
        "x_y_full_max_0_default.jpg",
        "2_x",
        "%5Bx%5D%7Bid%7D.jpg",
        "%3Fa=b&c%23d.jpg",
        "$iiif_id",
        "a%40b",
        "x" * 255,
        "2",
        "-x",
    ],
)
def test_identifiers(site: Site, name: str) -> None:
    def any_path(exchange: Exchange) -> None:
        exchange.read()
        target = exchange.request.target
        site.images[target.partition("?")[0]] = jpeg(GREEN)
        site.answer(exchange)

    site.origin.default = any_path
    try:
        target = f"/iiif/3/{name}/{TAIL}"
        first = site.ask(target)
        assert near(colour_of(first), GREEN)
        again = site.by_nginx(target)
        assert again is not None
        assert again.body == first.body
        assert again.get("Link") == first.get("Link")
        # Another spelling of the same is answered too, by Python.
        other = target.replace("%2F", "%2f").replace("x", "%78", 1)
        if other != target:
            assert near(colour_of(site.ask(other)), GREEN)
    finally:
        site.origin.default = site.answer


@pytest.mark.parametrize(
    "target",
    [
        "/iiif/3/..%2Fx/" + TAIL,
        "/iiif/3/%2E%2E/" + TAIL,
        "/iiif/3/%2e/" + TAIL,
        "/iiif/3/a%2F..%2Fb/" + TAIL,
        "/iiif/3/.hidden/" + TAIL,
        "/iiif/3/" + "x" * 256 + "/" + TAIL,
        "/iiif/3/a/b/c/" + TAIL,
        "/iiif/-/published/170000000/x/full_max_0_default.jpg",
        "/iiif/-/published/",
    ],
)
def test_what_nginx_never_serves(site: Site, target: str) -> None:
    for path in ("/.hidden", "/" + "x" * 256, "/a/b/c"):
        site.images[path] = jpeg(GREEN)
    first, second = site.ask(target), site.ask(target)
    assert [first.status, first.body] == [second.status, second.body]
    assert second.get("Accept-Ranges") is None, "by Python"


VERSIONS = [
    # What a viewer asks; the version is that of the URL.
    "3/{}/0,0,256,256/128,128/0/default.jpg",
    "3/{}/0,0,256,256/256,256/0/default.jpg",
    "3/{}/256,0,256,256/max/0/default.jpg",
    "3/{}/full/150,100/0/default.jpg",
    "3/{}/full/max/0/default.jpg",
    "3/{}/full/max/!90/gray.png",
    "3/{}/full/max/22.5/default.webp",
    "2/{}/0,0,256,256/128,/0/default.jpg",
    "2/{}/0,0,256,256/256,/0/default.jpg",
    "2/{}/512,0,88,256/44,/0/default.jpg",
    "2/{}/full/150,/0/default.jpg",
    "2/{}/full/full/0/default.jpg",
    "2/{}/full/max/0/default.jpg",
    "2/{}/full/full/0/bitonal.gif",
]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("target", VERSIONS)
def test_headers_are_those_of_python(site: Site, target: str, method: str) -> None:
    modified = formatdate(1_600_000_000, usegmt=True)
    site.headers = [("Last-Modified", modified)]
    site.images["/head.jpg"] = jpeg(BLUE)
    target = "/iiif/" + target.format("head.jpg")
    assert site.ask(target).status == 200
    found, due = site.by_nginx(target, method=method), site.direct(target, method=method)
    assert found is not None
    assert (found.status, found.body) == (200, due.body)
    for name, value in due.fields:
        if name not in OF_ITSELF:
            assert found.all(name) == [value]
    assert found.all("Last-Modified") == due.all("Last-Modified") == [modified]
    assert len(found.all("ETag")) == 1
    assert {name for name, _ in found.fields} - {name for name, _ in due.fields} <= OF_ITSELF


@pytest.mark.parametrize(
    "target",
    [
        "3/{}/full/!100,100/0/default.jpg",
        "3/{}/full/150,/0/default.jpg",
        "3/{}/full/,100/0/default.jpg",
        "3/{}/full/pct:50/0/default.jpg",
        "3/{}/square/100,100/0/default.jpg",
        "3/{}/pct:0,0,50,50/100,67/0/default.jpg",
        "3/{}/0,0,600,400/150,100/0/default.jpg",
        "3/{}/0,0,999,999/150,100/0/default.jpg",
        "3/{}/full/150,100/0/color.jpg",
        "3/{}/full/150,100/360/default.jpg",
        "3/{}/full/150,100/0.0/default.jpg",
        "3/{}/full/0150,100/0/default.jpg",
        "3/{}/full/150,100/0/default.tif",
        "3/{}/full/150,100/0/default.jpg?",
        "3/{}/full/150,100/0/default.jpg?v=1",
        "3/{}/full/150%2C100/0/default.jpg",
        "{}/full/150,100/0/default.jpg",
        "2/{}/full/!100,100/0/default.jpg",
        "2/{}/0,0,256,256/100,17/0/default.jpg",
        "2/{}/full/150,100/0/default.jpg",
        "2/{}/full/,100/0/default.jpg",
        "3/{}/info.json",
    ],
)
def test_other_spellings_are_pythons_and_stay_so(site: Site, target: str) -> None:
    site.images["/other.jpg"] = jpeg(BLUE)
    target = "/iiif/" + target.format("other.jpg")
    for _ in range(2):
        assert site.ask(target).status == 200
        assert site.ask("/iiif/3/other.jpg/full/150,100/0/default.jpg").status == 200
        assert site.by_nginx(target) is None


@pytest.mark.parametrize(
    "target, status",
    [
        ("3/{}/full/^150,100/0/default.jpg", 200),
        ("3/{}/full/full/0/default.jpg", 400),
        ("2/{}/full/^150,/0/default.jpg", 400),
        ("3/{}/full/600,400/0/default.jpg", 200),
        ("3/{}/full/601,400/0/default.jpg", 400),
        ("3/{}/600,0,10,10/10,10/0/default.jpg", 400),
    ],
)
def test_what_is_refused_stays_refused(site: Site, target: str, status: int) -> None:
    site.images["/refused.jpg"] = jpeg(BLUE)
    for size in ("150,100", "max"):
        assert site.ask(f"/iiif/3/refused.jpg/full/{size}/0/default.jpg").status == 200
    assert site.ask("/iiif/" + target.format("refused.jpg")).status == status


def test_methods_bodies_and_the_rest_of_the_site_pass_through(site: Site) -> None:
    site.images["/m.jpg"] = jpeg(BLUE)
    target = "/iiif/3/m.jpg/full/150,100/0/default.jpg"
    assert site.ask(target).status == 200
    assert site.by_nginx(target) is not None
    preflight = site.ask(target, "Access-Control-Request-Headers: X-A", method="OPTIONS")
    assert (preflight.status, preflight.get("Access-Control-Allow-Headers")) == (204, "X-A")
    assert site.ask(target, method="DELETE").status == 405
    posted = ask(site.nginx, get(target, "Content-Length: 3", method="POST") + b"abc")
    assert posted.status == 405
    for path in ("/a%2Fb", "/a//b", "/a/../b", "/a/%2E%2E/b?x=%2F&&", "/iiif/a//%2Fb", "/%C3%A4"):
        site.ask(path)
        due = "/b" if "/../" in path else path
        assert site.origin.requests[-1].target in {path, due}


def test_conditions(site: Site) -> None:
    site.images["/c.jpg"] = jpeg(BLUE)
    site.headers = [("Last-Modified", formatdate(1_600_000_000, usegmt=True))]
    target = "/iiif/3/c.jpg/full/150,100/0/default.jpg"
    of_python = str(site.ask(target).get("ETag"))
    found = site.by_nginx(target)
    assert found is not None
    of_nginx, modified = str(found.get("ETag")), str(found.get("Last-Modified"))
    # Python's own: Python's business, and answered as such.
    answer = site.ask(target, f"If-None-Match: {of_python}")
    assert (answer.status, answer.get("ETag")) == (304, of_python)
    # nginx's own.
    for lines in (
        [f"If-None-Match: {of_nginx}"],
        [f"If-Modified-Since: {modified}"],
        [f"If-None-Match: {of_nginx}", f"If-Modified-Since: {modified}"],
    ):
        unchanged = site.by_nginx(target, *lines)
        assert unchanged is not None
        assert (unchanged.status, unchanged.body) == (304, b"")
        for name in ("Link", "Cache-Control", "Access-Control-Allow-Origin"):
            assert unchanged.get(name) == found.get(name)
    assert site.ask(target, 'If-None-Match: "1-1"').status == 200
    part = site.ask(target, "Range: bytes=10-19")
    assert (part.status, part.body) == (206, found.body[10:20])
