"""Who asks, for what, whether it is there, under which policy: status, cacheability, stored."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.access.conftest import HEIGHT, MEMBER, PRIVILEGED, STRANGER, WIDTH, Housing

POLICIES = {
    "none": None,
    "declared": '[classes.public]\ncreate = "declared"',
    "unstored": '[classes.public]\ncreate = "declared"\noutside = "unstored"',
    "existing": '[classes.public]\nread = "existing"\n[classes.member]\ncreate = "declared"',
    "members": '[classes.public]\nread = "nothing"',
    "small": '[classes.public]\nmax_width = 150\nformats = ["jpg"]\nrotation_arbitrary = false',
    "thumbs": "[classes.public]\nmax_width = 150\nregions = false",
}
TILE = "/iiif/3/a.png/128,128,128,128/128,128/0/default.jpg"
SIZE = "/iiif/3/a.png/full/75,50/0/default.jpg"
WHOLE = "/iiif/3/a.png/full/max/0/default.jpg"
FREE = "/iiif/3/a.png/10,10,133,122/100,/0/gray.jpg"
LARGE = "/iiif/3/a.png/full/400,/0/default.jpg"
PNG = "/iiif/3/a.png/full/150,100/0/default.png"
TURNED = "/iiif/3/a.png/full/150,100/45/default.jpg"
REQUESTS = {
    "tile": TILE, "size": SIZE, "whole": WHOLE, "free": FREE, "large": LARGE, "png": PNG,
    "turned": TURNED,
}  # fmt: skip
# By policy and class: what is answered otherwise than 200 and stored. "-" is 200 and not stored;
# * stands for every request that is not named.
REFUSED: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "none": {},
    "declared": {STRANGER: {"free": 403, "large": 403, "png": 403, "turned": 403}},
    "unstored": {STRANGER: {"free": "-", "large": "-", "png": "-", "turned": "-"}},
    "existing": {
        STRANGER: {"*": 403},
        MEMBER: {"free": 403, "large": 403, "png": 403, "turned": 403},
    },
    "members": {STRANGER: {"*": 403}},
    "small": {STRANGER: {"large": 403, "png": 403, "turned": 403}},
    "thumbs": {STRANGER: {"tile": 403, "free": 403, "large": 403}},
}
# What may not be had by strangers even if it is stored.
CLOSED = {
    "members": set(REQUESTS),
    "small": {"large", "png", "turned"},
    "thumbs": {"tile", "free", "large"},
}


def expected(policy: str, one: str, kind: str) -> Any:
    found = REFUSED[policy].get(one, {})
    return found.get(kind, found.get("*", 200))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("one", [STRANGER, MEMBER, PRIVILEGED])
def test_what_is_not_there_yet(house: Housing, policy: str, one: str) -> None:
    here = house(POLICIES[policy])
    for kind, target in REQUESTS.items():
        before = here.stored()
        wanted = expected(policy, one, kind)
        for method in ("HEAD", "GET"):
            heard = here.ask(target, one, method)
            assert heard.status == (200 if wanted == "-" else wanted), (kind, method, heard.body)
        made = here.stored() - before
        assert len(made) == (wanted == 200), (kind, made)
        if heard.status == 403:
            assert_tells_nothing(heard.fields)
            assert here.ask(target, one, HTTP_IF_NONE_MATCH="*").status == 403
        if wanted == "-":
            assert heard.get("Cache-Status") == "iiif-proxy; fwd=miss"


@pytest.mark.parametrize("policy", POLICIES)
def test_what_is_there(house: Housing, policy: str) -> None:
    """Made by who is privileged; whoever may read has it then, and caches may give it to all."""
    here = house(POLICIES[policy])
    for kind, target in REQUESTS.items():
        made = here.ask(target, PRIVILEGED)
        assert made.status == 200
        closed = kind in CLOSED.get(policy, set())
        differs = policy in {"small", "thumbs"} and kind == "whole"
        open_to_all = not closed and not differs
        assert ("public" in made.get("Cache-Control")) is open_to_all, (kind, made.fields)
        for _ in range(2):
            for one in (STRANGER, MEMBER, PRIVILEGED):
                heard = here.ask(target, one)
                if one == STRANGER and closed:
                    assert heard.status == 403, kind
                    assert_tells_nothing(heard.fields)
                    etag = made.get("ETag")
                    assert here.ask(target, one, HTTP_IF_NONE_MATCH=etag).status == 403
                    continue
                if one == STRANGER and differs:
                    assert heard.image.width == 150
                    assert "private" in heard.get("Cache-Control")
                    assert heard.get("Vary")
                    continue
                assert (heard.status, heard.body) == (200, made.body), (kind, one)
                assert heard.get("Cache-Control") == made.get("Cache-Control")
                tag = {"HTTP_IF_NONE_MATCH": made.get("ETag")}
                assert here.ask(target, one, **tag).status == 304
    assert here.published() == set()  # Files of this machine never are.


def assert_tells_nothing(fields: list[tuple[str, str]]) -> None:
    names = {name.lower() for name, _ in fields}
    assert not names & {"etag", "last-modified", "cache-status", "link"}
    assert dict(fields)["Cache-Control"] in {"no-cache", "no-store"}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("one", [STRANGER, MEMBER])
@pytest.mark.parametrize("version", [2, 3])
def test_info_declares_what_may_be_asked(
    house: Housing, policy: str, one: str, version: int
) -> None:
    here = house(POLICIES[policy])
    base = f"/iiif/{version}/a.png"
    heard = here.ask(f"{base}/info.json", one)
    if policy == "members" and one == STRANGER:
        assert heard.status == 403
        assert here.ask(f"{base}/manifest.json", one).status == 403
        return
    alike = policy in {"none", "unstored"}
    assert ("private" in heard.get("Cache-Control")) is not alike
    assert ("Cookie" in heard.get("Vary")) is not alike
    info = json.loads(heard.body)
    level, more = told(info, version)
    assert f"level{level}" in heard.get("Link")
    wanted = {
        "declared": 0 if one == STRANGER else 2,
        "existing": 0,
        "small": 1 if one == STRANGER else 2,
        "thumbs": 0 if one == STRANGER else 2,
    }.get(policy, 2)
    assert level == wanted
    limits = more if version == 2 else info
    limited = policy in {"small", "thumbs"} and one == STRANGER
    assert limits.get("maxWidth") == (150 if limited else None)
    # Every address that it declares is answered.
    refused = 0
    for address in declared(info, version):
        refused += here.ask(f"{base}/{address}", one).status != 200
    assert refused == 0
    if policy == "thumbs" and one == STRANGER:
        assert "tiles" not in info
    if policy != "existing":
        canvas = json.loads(here.ask(f"{base}/manifest.json", one).body)["items"][0]
        body = canvas["items"][0]["items"][0]["body"]
        for image in (body, canvas["thumbnail"][0]):
            answer = here.ask(image["id"].removeprefix("http://here.example"), one)
            assert answer.image.size == (image["width"], image["height"])
    if one == STRANGER and level < 2:
        arbitrary = "rotationArbitrary" in more.get("supports", more.get("extraFeatures", []))
        turned = here.ask(f"{base}/full/100,/12/default.jpg", one).status
        assert (turned == 200) is arbitrary


def told(info: dict[str, Any], version: int) -> tuple[int, dict[str, Any]]:
    if version == 3:
        return int(info["profile"][-1]), info
    uri, *more = info["profile"]
    return int(uri[-6]), (more or [{}])[0]


def declared(info: dict[str, Any], version: int) -> list[str]:
    found = [
        f"full/{size['width']},{size['height']}/0/default.jpg" for size in info.get("sizes", [])
    ]
    for tiles in info.get("tiles", []):
        side = tiles["width"]
        for factor in tiles["scaleFactors"]:
            for x in range(0, WIDTH, side * factor):
                for y in range(0, HEIGHT, side * factor):
                    width = min(side * factor, WIDTH - x)
                    height = min(side * factor, HEIGHT - y)
                    size = f"{-(-width // factor)},"
                    if version == 3:
                        size += f"{-(-height // factor)}"
                    found.append(f"{x},{y},{width},{height}/{size}/0/default.jpg")
    return found


def test_the_sentence_says_what_would_be_allowed(house: Housing) -> None:
    here = house(POLICIES["declared"])
    said = here.ask(LARGE).body.decode()
    assert "full/600,400/0/default.jpg" in said
    assert here.ask("/iiif/3/a.png/full/600,400/0/default.jpg").status == 200
    said = here.ask("/iiif/3/a.png/full/!125,125/0/default.jpg").body.decode()
    assert "full/150,100/0/default.jpg" in said


def test_short_forms(house: Housing) -> None:
    here = house(public_create="declared")
    assert [here.ask(REQUESTS[kind]).status for kind in ("tile", "free")] == [200, 403]
    assert here.ask(FREE, PRIVILEGED).status == 200
    assert here.ask(FREE).status == 200
    assert here.ask(FREE.replace("100,", "101,"), "unheard-of").status == 403


def test_where_nobody_can_be_told_from_a_stranger_all_is_alike(house: Housing) -> None:
    """The open web: caches in between may keep everything, info.json too."""
    here = house(public_create="declared", class_header="")
    for target in ("/iiif/3/a.png/info.json", SIZE):
        heard = here.ask(target, PRIVILEGED)
        assert heard.status == 200
        assert heard.get("Cache-Control").startswith("public, max-age=")
    assert json.loads(here.ask("/iiif/3/a.png/info.json").body)["profile"] == "level0"
    assert here.ask(FREE, PRIVILEGED).status == 403


def test_spellings_of_one_image_are_one_decision(house: Housing) -> None:
    here = house(POLICIES["declared"])
    for target, status in {
        "/iiif/3/a.png/128,128,128,128/128,128/0/default.jpg": 200,
        "/iiif/3/a.png/128,128,128,128/max/0/default.jpg": 200,
        "/iiif/3/a%2Epng/128%2C128,128,128/!128,128/0/color.jpg": 200,
        "/iiif/2/a.png/128,128,128,128/128,/360/default.jpg": 200,
        "/iiif/a.png/128,128,128,128/pct:100/0.0/default.jpg": 200,
        "/iiif/3/a.png/full/pct:25/0/default.jpg": 200,
        "/iiif/3/a.png/pct:0,0,100,100/^150,100/0/default.jpg": 200,
        "/iiif/3/a.png/0,0,9999,9999/150,/0/default.jpg": 200,
        "/iiif/3/a.png/full/151,/0/default.jpg": 403,
        "/iiif/2/a.png/full/151,/0/default.jpg": 403,
        "/iiif/a.png/full/151,/0/default.jpg": 403,
        "/iiif/3/a.png/full/%31%35%31,/0/default.jpg": 403,
        "/iiif/3/a.png/square/max/0/default.jpg": 403,
        "/iiif/3/a.png/full/150,100/!0/default.jpg": 403,
        "/iiif/3/a.png/full/150,100/0/default.jpg?x=1": 200,
        "/iiif/3/a.png/full/151,200/0/default.jpg?x=1": 403,
    }.items():
        assert here.ask(target).status == status, target
    assert len(here.stored()) <= 4


PRESETS = """
    [classes.public]
    create = "presets"
    max_width = 300
    [presets]
    thumb = "full/!100,100/0/default.jpg"
    card = { size = "120x120", format = "webp", region = "focus:0.5,0.3" }
    banner = "full/500,/90/gray.png"
"""


def test_presets_may_be_made_where_nothing_else_may(house: Housing) -> None:
    here = house(PRESETS)
    found = json.loads(here.ask("/iiif/-/presets/a.png").body)["presets"]
    assert [one["name"] for one in found] == ["thumb", "card", "banner"]
    for one in found:
        lead = here.ask(f"/iiif/-/preset/{one['name']}/a.png")
        assert lead.status == 302
        heard = here.ask(lead.get("Location").removeprefix("http://here.example"))
        assert heard.status == 200, one
        assert heard.image.size == (one["width"], one["height"])
    # However it is written; but nothing beside.
    assert here.ask("/iiif/3/a.png/full/!100,100/0/default.jpg").status == 200
    assert here.ask("/iiif/2/a.png/full/100,/0/default.jpg").status == 200
    for target in (SIZE, TILE, FREE, "/iiif/3/a.png/full/101,/0/default.jpg"):
        heard = here.ask(target)
        assert heard.status == 403
        assert "presets" in heard.body.decode()


def test_pages_and_documents_of_what_is_restricted(house: Housing) -> None:
    """None of them says more than the image's own address would."""
    here = house(PRESETS + '[[rules]]\nidentifiers = "restricted/*"\npublic = {read = "nothing"}')
    name = "restricted%2Fb.png"
    here.ask(f"/iiif/3/{name}/full/max/0/default.jpg", MEMBER)
    for target in (
        f"3/{name}/info.json", f"2/{name}/info.json", f"{name}/info.json",
        f"3/{name}/manifest.json", f"-/presets/{name}", f"-/preset/thumb/{name}",
        "3/restricted/b.png/info.json", "3//restricted/b.png/info.json",
        "3/restricted%2F%2Fb.png/info.json", "3/restricted%252Fb.png/info.json",
    ):  # fmt: skip
        for method in ("GET", "HEAD"):
            heard = here.ask(f"/iiif/{target}", method=method)
            assert heard.status == 403, target
            assert_tells_nothing(heard.fields)
    open_ = here.ask("/iiif/-/view/a.png").body
    closed = here.ask(f"/iiif/-/view/{name}").body
    assert b"150" in open_ or b"100" in open_
    assert b"restricted" in closed
    assert b"preset/" not in closed
    assert b"full/100,67" not in closed
    member = here.ask(f"/iiif/-/explain/3/{name}/full/max/0/default.jpg", MEMBER).body
    assert b"600" in member
    stranger = here.ask(f"/iiif/-/explain/3/{name}/full/max/0/default.jpg").body
    assert b"403" in stranger
    assert b"600" not in stranger
    # An error's page explains the address; not what is behind it.
    page = here.ask(f"/iiif/3/{name}/full/9999,/0/default.jpg", HTTP_ACCEPT="text/html")
    assert page.status == 403
    assert b"600" not in page.body
    # Unknown ones are as closed as those that are there.
    assert here.ask("/iiif/3/restricted%2Fnone.png/info.json").status == 403


def test_explanations_tell_what_is_allowed(house: Housing) -> None:
    here = house(POLICIES["declared"])
    found = json.loads(
        here.ask(
            "/iiif/-/explain/3/a.png/full/400,/0/default.jpg", HTTP_ACCEPT="application/json"
        ).body
    )
    assert found["status"] == 403
    assert "full/600,400" in found["verdict"]


def test_info_of_what_exists_only(house: Housing) -> None:
    here = house('[classes.public]\nread = "existing"')
    for version in (2, 3):
        info = json.loads(here.ask(f"/iiif/{version}/a.png/info.json").body)
        assert "tiles" not in info
        assert "sizes" not in info
    assert here.ask(SIZE, PRIVILEGED).status == 200
    info = json.loads(here.ask("/iiif/3/a.png/info.json").body)
    assert info["sizes"] == [{"width": 75, "height": 50}]
    assert "tiles" not in info
    for address in declared(json.loads(here.ask("/iiif/3/a.png/info.json", MEMBER).body), 3):
        assert here.ask(f"/iiif/3/a.png/{address}", PRIVILEGED).status == 200
    heard = here.ask("/iiif/3/a.png/info.json")
    assert heard.get("Cache-Control") == "private, no-cache"
    info = json.loads(heard.body)
    assert len(info["tiles"]) == 1
    assert {here.ask(f"/iiif/3/a.png/{address}").status for address in declared(info, 3)} == {200}
