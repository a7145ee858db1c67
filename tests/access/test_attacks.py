"""As a stranger would try it: other spellings, other ways, other methods, pages, caches."""

import itertools
import json
import random
from urllib.parse import quote

import pytest
from PIL import Image

from tests.access.conftest import Heard, Housing
from tests.http.collection import quarters, saved
from tests.servers import Origin, reply

MEMBERS = """
[[rules]]
identifiers = ["restricted/*", "secret.tif"]
public = { read = "nothing" }
"""
TELLING = {"etag", "last-modified", "cache-status", "link", "x-content-digest"}


def refused(heard: Heard) -> bool:
    names = {name.lower() for name, _ in heard.fields}
    return heard.status in {400, 403, 404} and not names & TELLING


def spellings(name: str, seed: int) -> set[str]:
    """Ways to write an identifier in a path: escapes, once and twice, slashes, cases, extras."""
    rng = random.Random(seed)
    found = {name, quote(name, safe=""), name.upper(), name.title()}
    for _ in range(40):
        text = "".join(f"%{ord(c):02{rng.choice('xX')}}" if rng.random() < 0.3 else c for c in name)
        found |= {text, text.replace("%", "%25"), text.replace("%", "%2525")}
    folder, _, file = name.rpartition("/")
    for slash in ("/", "//", "%2F", "%2f", "%2F%2F", "%5C", "\\", "%252F", "/%2F", ";a=b/", "%20/"):
        found.add(f"{folder}{slash}{file}")
    befores = ("", "/", "%2F", "%5C", "./", ".%5C")
    afters = ("", "/", "%3F", "%23x", ";v=1", ".", "%20", "%2F", "%00", "%0A")
    for before, after in itertools.product(befores, afters):
        found.add(f"{before}{quote(name, safe='')}{after}")
    return found


@pytest.mark.parametrize("name", ["restricted/b.png", "secret.tif"])
def test_spellings_of_what_is_restricted(house: Housing, name: str) -> None:
    """The origin takes every name for the picture, as careless ones do."""
    with Origin() as origin:
        origin.default = reply(
            fields=[("Content-Type", "image/png"), ("Cache-Control", "max-age=86400")],
            body=saved(quarters(300, 200)),
        )
        here = house(MEMBERS, source=f"{origin.url}/{{id}}")
        for spelling in sorted(spellings(name, 1)):
            for version in ("3/", "2/", ""):
                for tail in ("info.json", "full/75,50/0/default.jpg", "manifest.json"):
                    heard = here.ask(f"/iiif/{version}{spelling}/{tail}")
                    if heard.status == 404 and not version:
                        continue  # No IIIF address: passed through, to nothing here.
                    assert refused(heard), (spelling, tail, heard.status)
        assert not origin.requests
        assert here.ask("/iiif/3/restricted-not/info.json").status == 200
        assert here.stored() == set()


def test_no_way_around_by_methods_and_conditions(house: Housing) -> None:
    here = house(MEMBERS)
    target = "/iiif/3/restricted%2Fb.png/full/75,50/0/default.jpg"
    made = here.ask(target, "member")
    assert made.status == 200
    for method, fields in itertools.product(
        ("GET", "HEAD"),
        (
            {},
            {"HTTP_RANGE": "bytes=0-0"},
            {"HTTP_IF_NONE_MATCH": made.get("ETag")},
            {"HTTP_IF_NONE_MATCH": "*"},
            {"HTTP_IF_MODIFIED_SINCE": made.get("Last-Modified")},
            {"HTTP_IF_RANGE": made.get("ETag"), "HTTP_RANGE": "bytes=0-"},
            {"HTTP_X_CLASS": "member", "REMOTE_ADDR": "198.51.100.1"},
            {"HTTP_X_FORWARDED_FOR": "127.0.0.1", "REMOTE_ADDR": "198.51.100.1"},
            {"HTTP_X_ORIGINAL_URL": target},
            {"HTTP_X_HTTP_METHOD_OVERRIDE": "GET"},
            {"HTTP_REMOTE_USER": "admin"},
            {"HTTP_HOST": "localhost"},
            {"HTTP_CACHE_CONTROL": "only-if-cached"},
        ),
    ):
        assert refused(here.ask(target, method=method, **fields)), (method, fields)
    for method in ("POST", "PUT", "PURGE", "DELETE"):
        assert here.ask(target, method=method).status == 405
    options = here.ask(target, method="OPTIONS")
    assert options.status == 204
    assert not {name.lower() for name, _ in options.fields} & TELLING


def test_pages_of_a_file_go_by_its_name(house: Housing) -> None:
    first, second = quarters(300, 200), quarters(90, 250)
    here = house(
        '[[rules]]\nidentifiers = "two.tif"\npublic = { read = "nothing" }', page_separator=";page="
    )
    pages: list[Image.Image] = [second]
    first.save(here.folder / "images" / "two.tif", save_all=True, append_images=pages)
    first.save(here.folder / "images" / "open.tif", save_all=True, append_images=pages)
    for page, status in (("", 403), (";page=1", 403), (";page=2", 403), ("%3Bpage%3D2", 403)):
        assert here.ask(f"/iiif/3/two.tif{page}/info.json").status == status
        assert here.ask(f"/iiif/3/two.tif{page}/full/max/0/default.jpg").status == status
        assert here.ask(f"/iiif/3/two.tif{page}/info.json", "member").status == 200
    assert here.ask("/iiif/3/open.tif;page=2/info.json").status == 200


def test_limits_hold_however_they_are_asked(house: Housing) -> None:
    here = house(
        "[classes.public]\nmax_width = 100\nregions = false", upscaling="on", max_width="5000"
    )
    for size in ("max", "^max", "!5000,5000", "^!5000,5000", "100,", "pct:1", "^100,"):
        for region in ("full", "0,0,600,400", "pct:0,0,100,100"):
            heard = here.ask(f"/iiif/3/a.png/{region}/{size}/90/default.png")
            assert heard.status == 200, (region, size)
            assert max(heard.image.size) <= 100
    for region, size in (
        ("full", "101,"), ("full", "^101,"), ("full", ",101"), ("full", "pct:50"),
        ("full", "600,1"),
        ("square", "max"), ("0,0,599,400", "max"), ("1,1,50,50", "max"), ("pct:0,0,50,50", "max"),
    ):  # fmt: skip
        heard = here.ask(f"/iiif/3/a.png/{region}/{size}/0/default.jpg")
        assert heard.status == 403, (region, size, heard.status)
    assert here.ask("/iiif/2/a.png/full/full/0/default.jpg").status == 403
    assert json.loads(here.ask("/iiif/3/a.png/info.json").body)["maxWidth"] == 100
    manifest = json.loads(here.ask("/iiif/3/a.png/manifest.json").body)
    image = manifest["items"][0]["items"][0]["items"][0]["body"]
    assert (image["width"], image["height"]) == (100, 67)


def test_what_was_remembered_for_one_class_is_for_it_alone(house: Housing) -> None:
    """Answers are kept ready for each class: `max` of one is never that of another."""
    here = house("[classes.public]\nmax_width = 100\n[classes.member]\nmax_width = 200")
    target = "/iiif/3/a.png/full/max/0/default.jpg"
    for _ in range(3):
        for one, width in (("", 100), ("member", 200), ("privileged", 600)):
            assert here.ask(target, one).image.width == width
    tags = {here.ask(target, one).get("ETag") for one in ("", "member", "privileged")}
    assert len(tags) == 3


def test_recent_images_are_those_that_strangers_may_see(house: Housing) -> None:
    with Origin() as origin:
        origin.default = reply(
            fields=[("Content-Type", "image/png")], body=saved(quarters(300, 200))
        )
        here = house(MEMBERS, source=f"{origin.url}/{{id}}", recent="on")
        for name in ("restricted%2Fb.png", "open.png"):
            assert here.ask(f"/iiif/3/{name}/info.json", "member").status == 200
        page = here.ask("/iiif/-/").body
        assert b"open.png" in page
        assert b"restricted" not in page


def test_redirects_tell_nothing(house: Housing) -> None:
    here = house(MEMBERS, canonical_redirect="on")
    for target in ("full/pct:50/0/default.jpg", "square/max/0/color.jpg"):
        assert refused(here.ask(f"/iiif/3/restricted%2Fb.png/{target}"))
    lead = here.ask("/iiif/3/a.png/full/pct:50/0/default.jpg")
    assert lead.status == 303
    base = here.ask("/iiif/3/restricted%2Fnone")
    assert base.status == 303
    assert here.ask("/iiif/3/restricted%2Fb.png").status == 303
