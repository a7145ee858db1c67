"""info.json, word by word: traps 4, 16, 23, 24 and section 5 of both versions."""

import json

import pytest

from iiif_proxy.iiif import v2, v3
from iiif_proxy.iiif.model import Extras, Features, ImageInfo, Limits

URI = "https://img.example.org/iiif/3/a%2Fb.jpg"
COLOR = ImageInfo(6000, 4000, "JPEG")
TILES = [{"width": 512, "height": 512, "scaleFactors": [1, 2, 4, 8, 16]}]
SIZES = [
    {"width": 375, "height": 250},
    {"width": 750, "height": 500},
    {"width": 1500, "height": 1000},
    {"width": 3000, "height": 2000},
]
SERVICE = {"@id": "https://example.org/login", "@type": "AuthCookieService1", "profile": "p"}
PART = {"id": "https://example.org/manifest", "type": "Manifest", "label": {"en": ["A"]}}


def test_plain_2():
    assert v2.document(COLOR, URI, Limits(), Features(), Extras()) == {
        "@context": "http://iiif.io/api/image/2/context.json",
        "@id": URI,
        "protocol": "http://iiif.io/api/image",
        "width": 6000,
        "height": 4000,
        "sizes": SIZES,
        "tiles": TILES,
        "profile": [
            "http://iiif.io/api/image/2/level2.json",
            {
                "qualities": ["color", "gray"],
                "supports": [
                    "canonicalLinkHeader",
                    "mirroring",
                    "profileLinkHeader",
                    "regionSquare",
                    "rotationArbitrary",
                ],
            },
        ],
    }


def test_plain_3():
    assert v3.document(COLOR, URI, Limits(), Features(), Extras()) == {
        "@context": "http://iiif.io/api/image/3/context.json",
        "id": URI,
        "type": "ImageService3",
        "protocol": "http://iiif.io/api/image",
        "profile": "level2",
        "width": 6000,
        "height": 4000,
        "sizes": SIZES,
        "tiles": TILES,
        "extraQualities": ["color", "gray", "bitonal"],
        "extraFeatures": [
            "canonicalLinkHeader",
            "mirroring",
            "profileLinkHeader",
            "rotationArbitrary",
        ],
    }


FULL_FEATURES = Features(
    formats=("jpg", "png", "webp", "gif", "tif"),
    upscaling=True,
    rotation_arbitrary=False,
    tile_size=1024,
    preferred_formats=("webp", "jpg", "jp2"),
)
FULL_LIMITS = Limits(3000, 2000, 4_000_000)
FULL_EXTRAS = Extras(
    rights="http://rightsstatements.org/vocab/InC/1.0/",
    license=["http://example.org/license"],
    attribution=[{"@value": "<b>Us</b>", "@language": "en"}],
    logo="http://example.org/logo.png",
    part_of=PART,
    see_also=[{"id": "https://example.org/x.xml", "type": "Dataset"}],
    service=SERVICE,
    context=("http://example.org/extension/context1.json",),
)


def test_everything_2():
    document = v2.document(COLOR, URI, FULL_LIMITS, FULL_FEATURES, FULL_EXTRAS)
    assert list(document)[:2] == ["@context", "@id"]
    assert document["@context"] == "http://iiif.io/api/image/2/context.json"
    assert document["profile"] == [
        "http://iiif.io/api/image/2/level2.json",
        {
            "formats": ["webp", "gif", "tif"],
            "qualities": ["color", "gray"],
            "supports": [
                "canonicalLinkHeader",
                "mirroring",
                "profileLinkHeader",
                "regionSquare",
                "sizeAboveFull",
            ],
            "maxWidth": 3000,
            "maxHeight": 2000,
            "maxArea": 4_000_000,
        },
    ]
    assert document["license"] == ["http://example.org/license"]
    assert document["attribution"] == [{"@value": "<b>Us</b>", "@language": "en"}]
    assert document["logo"] == "http://example.org/logo.png"
    assert document["service"] == SERVICE
    for name in ("rights", "partOf", "seeAlso", "id", "type", "maxWidth", "preferredFormats"):
        assert name not in document


def test_everything_3():
    document = v3.document(COLOR, URI, FULL_LIMITS, FULL_FEATURES, FULL_EXTRAS)
    assert list(document)[:3] == ["@context", "id", "type"]
    assert document["@context"] == [
        "http://example.org/extension/context1.json",
        "http://iiif.io/api/image/3/context.json",
    ]
    assert (document["maxWidth"], document["maxHeight"], document["maxArea"]) == (
        3000,
        2000,
        4_000_000,
    )
    assert document["tiles"] == [{"width": 1024, "height": 1024, "scaleFactors": [1, 2, 4, 8]}]
    assert document["sizes"] == [{"width": 750, "height": 500}, {"width": 1500, "height": 1000}]
    assert document["preferredFormats"] == ["webp", "jpg"]
    assert document["extraFormats"] == ["webp", "gif", "tif"]
    assert document["extraFeatures"] == [
        "canonicalLinkHeader",
        "mirroring",
        "profileLinkHeader",
        "sizeUpscaling",
    ]
    assert document["rights"] == "http://rightsstatements.org/vocab/InC/1.0/"
    assert document["partOf"] == [PART]
    assert document["seeAlso"] == [{"id": "https://example.org/x.xml", "type": "Dataset"}]
    assert document["service"] == [SERVICE]
    for name in ("attribution", "logo", "license", "@id", "@type", "qualities", "supports"):
        assert name not in document


def test_rights_stand_in_for_the_license_in_2():
    extras = Extras(rights="https://creativecommons.org/licenses/by/4.0/")
    document = v2.document(COLOR, URI, Limits(), Features(), extras)
    assert document["license"] == "https://creativecommons.org/licenses/by/4.0/"


def test_a_license_of_2_is_no_right_of_3():
    extras = Extras(license="http://example.org/license")
    assert "rights" not in v3.document(COLOR, URI, Limits(), Features(), extras)


@pytest.mark.parametrize(
    "gray, bilevel, two, three",
    [
        (False, False, ["color", "gray"], ["color", "gray", "bitonal"]),
        (True, False, ["gray"], ["gray", "bitonal"]),
        (True, True, None, ["bitonal"]),
    ],
)
def test_qualities_of_the_image_at_hand(gray, bilevel, two, three):
    info = ImageInfo(60, 40, "PNG", gray=gray, bilevel=bilevel)
    profile = v2.document(info, URI, Limits(), Features(), Extras())["profile"][1]
    assert profile.get("qualities") == two
    document = v3.document(info, URI, Limits(), Features(), Extras())
    assert document.get("extraQualities") == three


@pytest.mark.parametrize("api", [v2, v3])
def test_a_small_image_has_one_tile_and_no_sizes(api):
    document = api.document(ImageInfo(60, 40, "PNG"), URI, Limits(), Features(), Extras())
    assert document["tiles"] == [{"width": 512, "height": 512, "scaleFactors": [1]}]
    assert "sizes" not in document


@pytest.mark.parametrize("api", [v2, v3])
def test_documents_are_json(api):
    document = api.document(COLOR, URI, FULL_LIMITS, FULL_FEATURES, FULL_EXTRAS)
    assert json.loads(json.dumps(document)) == document


DEPRECATED = {"sizeAboveFull", "sizeByDistortedWh", "sizeByForcedWh", "sizeByWhListed"}


def test_no_names_of_2_in_3():
    for features in (Features(), FULL_FEATURES):
        document = v3.document(COLOR, URI, FULL_LIMITS, features, Extras())
        assert not DEPRECATED & set(document["extraFeatures"])


def test_links_are_http():
    """The profile URIs are names: https would be another name."""
    assert v2.PROFILE == "http://iiif.io/api/image/2/level2.json"
    assert v3.PROFILE == "http://iiif.io/api/image/3/level2.json"


PLAIN = "application/json"
LD = "application/ld+json"
LD3 = 'application/ld+json;profile="http://iiif.io/api/image/3/context.json"'
LD2 = 'application/ld+json;profile="http://iiif.io/api/image/2/context.json"'

ACCEPT = [
    # Accept, 2.1, 3.0
    (None, PLAIN, LD3),
    ("", PLAIN, LD3),
    ("*/*", PLAIN, LD3),
    ("application/*", PLAIN, LD3),
    ("application/json", PLAIN, PLAIN),
    ("Application/JSON", PLAIN, PLAIN),
    ("application/json; charset=utf-8", PLAIN, PLAIN),
    ("application/ld+json", LD, LD3),
    (LD3, LD, LD3),
    (LD2, LD, LD3),
    ("application/json;q=0.1, application/ld+json", LD, LD3),
    ("application/json;q=0.1, application/ld+json;q=0.09", PLAIN, PLAIN),
    ("application/json, application/ld+json;q=0.9", PLAIN, PLAIN),
    ("application/json;q=0.9,application/ld+json;q=1.0", LD, LD3),
    ("application/ld+json, application/json", PLAIN, LD3),
    ("application/json, application/ld+json", PLAIN, LD3),
    ("application/ld+json, */*;q=0.1", LD, LD3),
    ("application/ld+json, */*", LD, LD3),
    ("application/json, text/plain, */*", PLAIN, PLAIN),
    ("*/*, application/json;q=0", PLAIN, LD3),
    ("*/*, application/ld+json;q=0", PLAIN, PLAIN),
    ("application/json;q=0.5, */*;q=0.8", PLAIN, LD3),
    ("application/json;q=0, application/ld+json;q=0", PLAIN, LD3),
    ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", PLAIN, LD3),
    ("image/png", PLAIN, LD3),
    (f"{LD3};q=0.2, application/json;q=0.1", PLAIN, LD3),
    (f"{LD2}, application/json;q=0.5", LD, PLAIN),
    (f"{LD3}, application/json;q=0.5", PLAIN, LD3),
    ('application/ld+json;profile="a,b;q=0", application/json;q=0.1', PLAIN, PLAIN),
    ('application/ld+json; PROFILE="http://iiif.io/api/image/3/context.json x"; Q=0.5', LD, LD3),
    ("application/ld+json;q=nonsense", LD, LD3),
    (",;,;;, =/=;;q", PLAIN, LD3),
    ('application/ld+json;profile="unclosed', LD, LD3),
]


@pytest.mark.parametrize("accept, two, three", ACCEPT)
def test_content_type(accept, two, three):
    assert v2.content_type(accept) == two
    assert v3.content_type(accept) == three
