"""info.json of both versions: SPEC.md 14, 16, 17, 21, 24."""

import itertools
import json
from typing import Any

import pytest

from tests.http.conftest import Proxy, Serving

CONTEXT_2 = "http://iiif.io/api/image/2/context.json"
CONTEXT_3 = "http://iiif.io/api/image/3/context.json"
LD_3 = f'application/ld+json;profile="{CONTEXT_3}"'
SMALL = "300x200.png"

TILES = [{"width": 512, "height": 512, "scaleFactors": [1, 2, 4, 8]}]
SIZES = [
    {"width": 327, "height": 428},
    {"width": 653, "height": 856},
    {"width": 1305, "height": 1712},
]
EXTRA_FORMATS = ["tif", "gif", "webp", "avif", "jp2", "pdf"]
FEATURES = ["canonicalLinkHeader", "mirroring", "profileLinkHeader", "rotationArbitrary"]
TWO: dict[str, Any] = {
    "@context": CONTEXT_2,
    "@id": "http://visited.example/iiif/2/2609x3424.jpg",
    "protocol": "http://iiif.io/api/image",
    "width": 2609,
    "height": 3424,
    "sizes": SIZES,
    "tiles": TILES,
    "profile": [
        "http://iiif.io/api/image/2/level2.json",
        {
            "formats": EXTRA_FORMATS,
            "qualities": ["color", "gray"],
            "supports": sorted([*FEATURES, "regionSquare"]),
        },
    ],
}
THREE: dict[str, Any] = {
    "@context": CONTEXT_3,
    "id": "http://visited.example/iiif/3/2609x3424.jpg",
    "type": "ImageService3",
    "protocol": "http://iiif.io/api/image",
    "profile": "level2",
    "width": 2609,
    "height": 3424,
    "sizes": SIZES,
    "tiles": TILES,
    "extraQualities": ["color", "gray", "bitonal"],
    "extraFormats": EXTRA_FORMATS,
    "extraFeatures": FEATURES,
}


def in_any_order(document: dict[str, Any]) -> dict[str, Any]:
    """Formats have no order of their own."""
    found: dict[str, Any] = json.loads(json.dumps(document))
    for holder in (found, *[part for part in found.get("profile", []) if isinstance(part, dict)]):
        for name in ("formats", "extraFormats"):
            if name in holder:
                holder[name] = sorted(holder[name])
    return found


@pytest.mark.parametrize("version, expected", [(2, TWO), (3, THREE)])
def test_whole_document(proxy: Proxy, version: int, expected: dict[str, Any]) -> None:
    found = proxy.info(f"/{version}/2609x3424.jpg/info.json")
    assert in_any_order(found) == in_any_order(expected)


def test_headers(proxy: Proxy) -> None:
    for version in (2, 3):
        answer = proxy.ask(f"/{version}/{SMALL}/info.json")
        assert answer.get("Vary") == "Accept"
        assert answer.get("Link") == (
            f'<http://iiif.io/api/image/{version}/level2.json>;rel="profile"'
        )
        assert answer.all("Access-Control-Allow-Origin") == ["*"]
        assert answer.get("X-Content-Type-Options") == "nosniff"


@pytest.mark.parametrize(
    "accept, two, three",
    [
        (None, "application/json", LD_3),
        ("*/*", "application/json", LD_3),
        ("application/json", "application/json", "application/json"),
        ("application/ld+json", "application/ld+json", LD_3),
        (LD_3, "application/ld+json", LD_3),
        ("application/json;q=0.1, application/ld+json", "application/ld+json", LD_3),
        ("application/ld+json;q=0.1, application/json", "application/json", "application/json"),
        ("application/json, */*;q=0.1", "application/json", "application/json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "application/json", LD_3),
        ("text/html", "application/json", LD_3),
        ("application/*", "application/json", LD_3),
        (";;q=,,", "application/json", LD_3),
    ],
)
def test_media_type(proxy: Proxy, accept: str | None, two: str, three: str) -> None:
    lines = [] if accept is None else [f"Accept: {accept}"]
    for version, expected in ((2, two), (3, three)):
        answer = proxy.ask(f"/{version}/{SMALL}/info.json", *lines)
        assert (answer.status, answer.get("Content-Type")) == (200, expected)
        assert json.loads(answer.body)["width"] == 300


@pytest.mark.parametrize(
    "accept, version",
    [
        ("*/*", None),
        ("application/json", None),
        (f'application/ld+json;profile="{CONTEXT_2}"', 2),
        (f'application/ld+json;profile="{CONTEXT_3}"', 3),
        (f'application/ld+json;profile="{CONTEXT_2}";q=0.5, {LD_3}', 3),
        (f'application/ld+json;profile="{CONTEXT_2}", {LD_3};q=0.5', 2),
        ('application/ld+json;profile="http://iiif.io/api/presentation/3/context.json"', None),
    ],
)
def test_unversioned(proxy: Proxy, serving: Serving, accept: str, version: int | None) -> None:
    for server, default in ((proxy, 3), (serving(default_version=2), 2)):
        found = server.info(f"/{SMALL}/info.json", f"Accept: {accept}")
        expected = version or default
        assert found["@context"] == (CONTEXT_2 if expected == 2 else CONTEXT_3)
        name = "@id" if expected == 2 else "id"
        assert found[name] == f"http://visited.example/iiif/{SMALL}"


@pytest.mark.parametrize(
    "source, two, three",
    [
        (SMALL, ["color", "gray"], ["color", "gray", "bitonal"]),
        ("gray.png", ["gray"], ["gray", "bitonal"]),
        ("bilevel.png", None, ["bitonal"]),
    ],
)
def test_qualities_are_those_of_the_source(
    proxy: Proxy, source: str, two: list[str] | None, three: list[str]
) -> None:
    assert proxy.info(f"/2/{source}/info.json")["profile"][1].get("qualities") == two
    assert proxy.info(f"/3/{source}/info.json")["extraQualities"] == three


PUBLISHED = {
    "rights": "http://creativecommons.org/licenses/by/4.0/",
    "attribution": "The <b>library</b>",
    "logo": "https://example.org/logo/{id}.png",
    "part_of": '{"id": "https://example.org/book/{id}", "type": "Manifest"}',
    "see_also": '[{"id": "https://example.org/{id}.xml", "type": "Dataset"}]',
    "service": '{"@id": "https://example.org/auth", "profile": "x"}',
    "preferred_formats": "webp png",
    "default_version": 3,
}


def test_what_the_publisher_adds(serving: Serving) -> None:
    proxy = serving(**PUBLISHED)
    two, three = (proxy.info(f"/{version}/a%2Fb.png/info.json") for version in (2, 3))
    assert two["license"] == three["rights"] == "http://creativecommons.org/licenses/by/4.0/"
    assert two["attribution"] == "The <b>library</b>"
    assert two["logo"] == "https://example.org/logo/a%2Fb.png.png"
    assert two["service"]["@id"] == "https://example.org/auth"
    assert three["partOf"] == [{"id": "https://example.org/book/a%2Fb.png", "type": "Manifest"}]
    assert three["seeAlso"] == [{"id": "https://example.org/a%2Fb.png.xml", "type": "Dataset"}]
    assert three["service"] == [{"@id": "https://example.org/auth", "profile": "x"}]
    assert three["preferredFormats"] == ["webp", "png"]
    assert not {"attribution", "logo", "license"} & three.keys()
    assert not {"rights", "partOf", "seeAlso", "preferredFormats"} & two.keys()


def test_limits_and_enlarging_are_declared(serving: Serving) -> None:
    proxy = serving(upscaling="on", max_width=1000)
    two, three = (proxy.info(f"/{version}/6000x4000.jpg/info.json") for version in (2, 3))
    assert two["profile"][1]["maxWidth"] == three["maxWidth"] == 1000
    assert "maxWidth" not in two
    assert "sizeAboveFull" in two["profile"][1]["supports"]
    assert "sizeUpscaling" in three["extraFeatures"]
    assert "sizeAboveFull" not in three["extraFeatures"]
    assert (
        two["sizes"]
        == three["sizes"]
        == [{"width": 375, "height": 250}, {"width": 750, "height": 500}]
    )


@pytest.mark.parametrize("source", ["2609x3424.jpg", "1000x3.png", "3073x3073.jpg", SMALL])
def test_declared_sizes_and_tiles_are_answered_exactly(proxy: Proxy, source: str) -> None:
    """SPEC 14 and 15: every size, and the last tile of every scale factor; `w,` in 2.1."""
    info = proxy.info(f"/3/{source}/info.json")
    asked = [("full", size["width"], size["height"]) for size in info.get("sizes", [])]
    for tile, factor in itertools.product(info["tiles"], info["tiles"][0]["scaleFactors"]):
        step = tile["width"] * factor
        x, y = (side - 1 - (side - 1) % step for side in (info["width"], info["height"]))
        width, height = info["width"] - x, info["height"] - y
        asked.append((f"{x},{y},{width},{height}", -(-width // factor), -(-height // factor)))
    for region, width, height in asked:
        for version, size in ((3, f"{width},{height}"), (2, f"{width},")):
            target = f"/{version}/{source}/{region}/{size}/0/default.jpg"
            assert proxy.image(target).size == (width, height), target
