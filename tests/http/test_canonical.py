"""The Link header: SPEC.md 2, 4, 13; canonical URIs answer the same image under the same ETag."""

import pytest

from tests.http.conftest import Proxy, Serving, canonical, links

BIG = "6000x4000.jpg"
SMALL = "300x200.png"
TABLE = [
    # source, request, canonical of 2.1, canonical of 3.0; without a rotation 0/default.jpg
    (BIG, "full/pct:50/0/color.jpg", "full/3000,", "full/3000,2000"),
    (BIG, "0,0,6000,4000/6000,4000", "full/full", "full/max"),
    (BIG, "square/max", "1000,0,4000,4000/full", "1000,0,4000,4000/max"),
    (BIG, "full/!300,300", "full/300,", "full/300,200"),
    (BIG, "full/1000,667", "full/1000,", "full/1000,667"),
    (BIG, "full/500,500", "full/500,500", "full/500,500"),
    (BIG, "0,0,1000,1000/500,", "0,0,1000,1000/500,", "0,0,1000,1000/500,500"),
    (SMALL, "125,15,200,200/max", "125,15,175,185/full", "125,15,175,185/max"),
    (SMALL, "0,0,9999,9999/max", "full/full", "full/max"),
    (SMALL, "pct:41.6,7.5,66.6,100/max", "125,15,175,185/full", "125,15,175,185/max"),
    ("301x200.png", "square/max", "50,0,200,200/full", "50,0,200,200/max"),
    ("200x301.png", "square/max", "0,50,200,200/full", "0,50,200,200/max"),
    ("200x200.png", "square/max", "full/full", "full/max"),
    (SMALL, "full/max/90.0/default.png", "full/full/90/default.png", "full/max/90/default.png"),
    (SMALL, "full/max/22.50/gray.png", "full/full/22.5/gray.png", "full/max/22.5/gray.png"),
    (SMALL, "full/max/360/color.jpg", "full/full", "full/max"),
    (SMALL, "full/max/!0.0/default.png", "full/full/!0/default.png", "full/max/!0/default.png"),
    (SMALL, "full/max/.5/default.png", "full/full/0.5/default.png", "full/max/0.5/default.png"),
    ("gray.png", "full/max/0/gray.jpg", "full/full", "full/max"),
]
LIMITED = [
    # settings, source, request (without ^ in 2.1), canonical of 2.1, canonical of 3.0
    ({"max_width": 3000}, BIG, "full/max", "full/3000,", "full/max"),
    ({"max_width": 1000, "upscaling": "on"}, SMALL, "full/^600,", "full/600,", "full/^600,400"),
    ({"max_width": 1000, "upscaling": "on"}, SMALL, "full/^1000,", "full/1000,", "full/^max"),
    ({"max_width": 1000, "upscaling": "on"}, SMALL, "full/^150,", "full/150,", "full/150,100"),
]


def whole(tail: str) -> str:
    return tail if tail.count("/") == 3 else tail + "/0/default.jpg"


@pytest.mark.parametrize("source, request_, two, three", TABLE)
def test_canonical(proxy: Proxy, source: str, request_: str, two: str, three: str) -> None:
    for version, expected in ((2, two), (3, three)):
        base = f"/{version}/{source}"
        answer = proxy.ask(f"{base}/{whole(request_)}")
        assert canonical(answer) == whole(expected)
        again = proxy.ask(f"{base}/{whole(expected)}")
        assert canonical(again) == whole(expected)
        assert again.get("ETag") == answer.get("ETag")
        assert again.body == answer.body
        assert again.get("Cache-Status") == "iiif-proxy; hit"


@pytest.mark.parametrize("settings, source, request_, two, three", LIMITED)
def test_canonical_within_limits(
    serving: Serving, settings: dict[str, object], source: str, request_: str, two: str, three: str
) -> None:
    proxy = serving(**settings)
    for version, request, expected in ((2, request_.replace("^", ""), two), (3, request_, three)):
        answer = proxy.ask(f"/{version}/{source}/{whole(request)}")
        assert (answer.status, canonical(answer)) == (200, whole(expected))


def test_links_name_the_public_base(proxy: Proxy) -> None:
    for version in (2, 3):
        answer = proxy.ask(f"/{version}/{SMALL}/full/max/0/default.png", host="img.example.org")
        size = "full" if version == 2 else "max"
        base = f"http://img.example.org/iiif/{version}/{SMALL}"
        assert links(answer) == {
            "canonical": f"{base}/full/{size}/0/default.png",
            "profile": f"http://iiif.io/api/image/{version}/level2.json",
        }


def test_unversioned_stays_unversioned(proxy: Proxy, serving: Serving) -> None:
    target = f"/{SMALL}/full/max/0/default.png"
    assert links(proxy.ask(target))["canonical"].endswith(f"/iiif/{SMALL}/full/max/0/default.png")
    second = links(serving(default_version=2).ask(target))
    assert second["canonical"].endswith(f"/iiif/{SMALL}/full/full/0/default.png")
    assert second["profile"] == "http://iiif.io/api/image/2/level2.json"


@pytest.mark.parametrize(
    "request_, location",
    [
        (f"/3/{SMALL}/full/pct:100/0/default.png", f"/3/{SMALL}/full/max/0/default.png"),
        (f"/3/{SMALL}/full/max/0/color.png", f"/3/{SMALL}/full/max/0/default.png"),
        (f"/3/{SMALL}/full/max/90.0/gray.png", f"/3/{SMALL}/full/max/90/gray.png"),
        (f"/2/{SMALL}/full/max/0/default.png", f"/2/{SMALL}/full/full/0/default.png"),
        (f"/3/{SMALL}/full/%5E600,/0/default.png", f"/3/{SMALL}/full/^600,400/0/default.png"),
        (f"/{SMALL}/square/max/0/default.png?x=1", f"/{SMALL}/50,0,200,200/max/0/default.png"),
        ("/3/%3300x200.png/full/max/0/default.png", f"/3/{SMALL}/full/max/0/default.png"),
    ],
)
def test_redirect_to_the_canonical_uri(serving: Serving, request_: str, location: str) -> None:
    proxy = serving(canonical_redirect="on", upscaling="on", max_width=1000)
    answer = proxy.ask(request_)
    assert (answer.status, answer.get("Location")) == (
        303,
        f"http://visited.example/iiif{location}",
    )
    assert answer.get("Access-Control-Allow-Origin") == "*"
    # Browsers encode the caret of a Location: that must not lead round in a circle.
    for same in (location, location.replace("^", "%5E"), location.replace("^", "%5e")):
        assert proxy.ask(same).status == 200


def test_no_redirect_unless_it_is_switched_on(proxy: Proxy) -> None:
    assert proxy.ask(f"/3/{SMALL}/full/pct:100/0/color.png").status == 200
