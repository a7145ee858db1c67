"""What must hold for every image: declared is askable, canonical is stable, text never breaks."""

import json
import math
from fractions import Fraction

from hypothesis import example, given, settings
from hypothesis import strategies as st

from iiif_proxy.errors import InvalidRequest, NotSupported
from iiif_proxy.iiif import urls, v2, v3
from iiif_proxy.iiif.accept import choose, ranges
from iiif_proxy.iiif.model import Extras, Features, ImageInfo, Limits
from iiif_proxy.iiif.params import Region, Rotation, parse_quality
from iiif_proxy.iiif.plan import ImageRequest, resolve
from iiif_proxy.iiif.tiles import fit, sizes, tiling, within

# Enough to meet the corners, small enough for every run; the generation is derandomised so that
# a failure is found by who caused it.
few = settings(max_examples=150, deadline=None, derandomize=True, database=None)

sides = st.integers(1, 20_000) | st.integers(1, 12)
images = st.builds(ImageInfo, sides, sides, st.just("JPEG"))
pyramids = st.builds(
    ImageInfo,
    sides,
    sides,
    st.just("TIFF"),
    tile_width=st.integers(16, 2048),
    tile_height=st.integers(16, 2048),
    scale_factors=st.sampled_from([(), (1,), (1, 2, 4), (1, 2, 4, 8, 16), (1, 3, 9)]),
)
optional = st.none() | st.integers(1, 25_000)
limits_ = st.one_of(
    st.just(Limits()),
    st.builds(Limits, optional, st.none(), st.none() | st.integers(1, 10**9)),
    st.builds(Limits, st.integers(1, 25_000), optional, st.none() | st.integers(1, 10**9)),
)
features_ = st.builds(
    Features,
    tile_size=st.sampled_from([64, 255, 256, 512, 1000]),
    upscaling=st.booleans(),
    max_pixels=st.sampled_from([400_000_000, 90_000]),
)


def plan_of(version, tail, info, limits, features):
    request = urls.parse(f"/iiif/{version}/x/{tail}/0/default.jpg", "/iiif", 3)
    assert isinstance(request, ImageRequest)
    return resolve(request, info, limits, features)


def size_of(version, tail, info, limits, features):
    plan = plan_of(version, tail, info, limits, features)
    return plan.width, plan.height


@few
@given(images | pyramids, limits_, features_)
@example(ImageInfo(2609, 3424, "JPEG"), Limits(), Features(tile_size=256))
def test_declared_sizes_are_answered_exactly(info, limits, features):
    document = v3.document(info, "http://x/y", limits, features, Extras())
    assert document["tiles"][0]["scaleFactors"]
    for size in document.get("sizes", []):
        width, height = size["width"], size["height"]
        assert within(width, height, limits)
        for version in (2, 3):
            found = size_of(version, f"full/{width},{height}", info, limits, features)
            assert found == (width, height)


@few
@given(images | pyramids, limits_, features_)
@example(ImageInfo(2609, 3424, "JPEG"), Limits(), Features(tile_size=256))
@example(ImageInfo(1, 2000, "JPEG"), Limits(), Features(tile_size=256))
def test_declared_sizes_by_width_alone_in_2(info, limits, features):
    seen = set()
    for width, height in reversed(sizes(info, limits, features)):
        # Slivers have one width at several scale factors: the finest is meant.
        if width not in seen and width < info.width:
            assert size_of(2, f"full/{width},", info, limits, features) == (width, height)
        seen.add(width)


def openseadragon(document):
    """Tile requests of each level and the sizes OpenSeadragon lays them out by.

    As `iiiftilesource.js` computes them, in floats.
    """
    width, height, tiles = document["width"], document["height"], document["tiles"][0]
    for factor in tiles["scaleFactors"]:
        scale = 1 / factor
        level_width, level_height = math.ceil(width * scale), math.ceil(height * scale)
        step_x, step_y = round(tiles["width"] / scale), round(tiles["height"] / scale)
        for y in sorted({0, (math.ceil(height / step_y) - 1)}):
            for x in sorted({0, math.ceil(width / step_x) - 1}):
                left, top = x * step_x, y * step_y
                region = (left, top, min(step_x, width - left), min(step_y, height - top))
                size = (
                    min(tiles["width"], level_width - x * tiles["width"]),
                    min(tiles["height"], level_height - y * tiles["height"]),
                )
                yield factor, region, size


@few
@given(images | pyramids, limits_, features_)
@example(ImageInfo(2609, 3424, "JPEG"), Limits(), Features(tile_size=256))
@example(ImageInfo(3073, 3073, "JPEG"), Limits(), Features(tile_size=512))
@example(ImageInfo(6000, 4000, "JPEG"), Limits(max_area=10_000), Features(tile_size=512))
def test_what_a_viewer_asks_is_answered_exactly(info, limits, features):
    document = v3.document(info, "http://x/y", limits, features, Extras())
    # Slivers have one width at several scale factors: 2.1's `w,` then means the finest.
    full = (0, 0, info.width, info.height)
    finest = {}
    if within(*full[2:], limits) and info.width * info.height <= features.max_pixels:
        finest[full, info.width] = info.height
    for width, height in reversed(sizes(info, limits, features)):
        finest.setdefault((full, width), height)
    for factor, region, size in openseadragon(document):
        # 1/3 is no float: viewers only do powers of two exactly.
        if factor & (factor - 1):
            continue
        path = ",".join(map(str, region))
        for tail in [path, "full"] if region == full else [path]:
            found = size_of(3, f"{tail}/{size[0]},{size[1]}", info, limits, features)
            assert found == size
            height = max(finest.setdefault((region, size[0]), size[1]), size[1])
            found = size_of(2, f"{tail}/{size[0]},", info, limits, features)
            assert found == (size[0], height)


regions = st.one_of(
    st.sampled_from(["full", "square"]),
    st.tuples(sides, sides, sides, sides).map(lambda v: "{},{},{},{}".format(*v)),
    st.tuples(*[st.decimals(0, 110, places=3)] * 4).map(lambda v: "pct:{},{},{},{}".format(*v)),
)
sizes_ = st.one_of(
    st.sampled_from(["max", "full", "^max"]),
    st.tuples(st.sampled_from(["", "!", "^", "^!"]), sides, sides).map(
        lambda v: "{}{},{}".format(*v)
    ),
    st.tuples(st.sampled_from(["", "^"]), sides).map(lambda v: "{}{},".format(*v)),
    st.tuples(st.sampled_from(["", "^"]), sides).map(lambda v: "{},{}".format(*v)),
    st.tuples(st.sampled_from(["", "^"]), st.decimals(0, 250, places=2)).map(
        lambda v: "{}pct:{}".format(*v)
    ),
)  # fmt: skip


@settings(few, max_examples=600)
@given(images, limits_, features_, st.sampled_from([2, 3]), regions, sizes_)
def test_canonical_is_the_same_picture_and_its_own_canonical(
    info, limits, features, version, region, size
):
    try:
        plan = plan_of(version, f"{region}/{size}", info, limits, features)
    except (InvalidRequest, NotSupported):
        return
    assert within(plan.width, plan.height, limits)
    assert 0 <= plan.box.x < plan.box.x + plan.box.width <= info.width
    assert 0 <= plan.box.y < plan.box.y + plan.box.height <= info.height
    for number, api in urls.VERSIONS.items():
        canonical = api.canonical(plan, info, limits, features)
        again = urls.parse(f"/iiif/{number}/x/{canonical}", "/iiif", 3)
        assert isinstance(again, ImageRequest)
        assert resolve(again, info, limits, features) == plan
        assert api.canonical(plan, info, limits, features) == canonical


@few
@given(sides, sides, sides, sides)
def test_fit_is_exact_on_the_limiting_side(width, height, in_width, in_height):
    found = fit(width, height, in_width, in_height, None)
    scale = min(Fraction(in_width, width), Fraction(in_height, height))
    for side, got, limit in zip((width, height), found, (in_width, in_height), strict=True):
        assert 1 <= got <= limit
        assert got == max(1, math.floor(side * scale + Fraction(1, 2)))


@few
@given(sides, sides, st.integers(1, 10**9))
def test_fit_in_an_area_floors_both_sides(width, height, area):
    found = fit(width, height, width, height, area)
    assert found[0] * found[1] <= area
    if width * height <= area:
        assert found == (width, height)
        return
    exact = math.isqrt(area * width // height), math.isqrt(area * height // width)
    if min(exact) > 0:
        assert found == exact


@settings(few, max_examples=400)
@given(images, regions)
def test_percentages_round_half_up(info, region):
    if not region.startswith("pct:"):
        return
    x, y, width, height = (
        math.floor(Fraction(value) * side / 100 + Fraction(1, 2))
        for value, side in zip(region[4:].split(","), (info.width, info.height) * 2, strict=True)
    )
    try:
        box = Region.parse(region).resolve(info)
    except InvalidRequest:
        assert width == 0 or height == 0 or x >= info.width or y >= info.height
    else:
        assert (box.x, box.y) == (x, y)
        assert box.width == min(width, info.width - x)
        assert box.height == min(height, info.height - y)


ODD = st.text(
    st.sampled_from("0123456789.,:!^%+-_e/ \u0661\u00e9\x00pctfulmaxsqregiondbw") | st.characters(),
    max_size=30,
)


@settings(few, max_examples=600)
@given(ODD)
def test_no_text_breaks_a_parser(text):
    parsers = [Region.parse, v2.parse_size, v3.parse_size, Rotation.parse, parse_quality]
    for parse in parsers:
        try:
            value = parse(text)
        except InvalidRequest:
            continue
        else:
            assert value is not None
            assert text.isascii()


@settings(few, max_examples=600)
@given(
    st.lists(ODD | st.sampled_from(["2", "3", "-", "full", "max", "0", "default.jpg", "info.json"]))
)
def test_no_path_breaks_the_sorting(segments):
    for prefix in ("/iiif", ""):
        for path in (prefix + "/" + "/".join(segments), "/".join(segments)):
            try:
                request = urls.parse(path, prefix, 3)
            except InvalidRequest:
                continue
            if request is not None:
                assert not {".", ".."} & set(request.identifier.split("/"))


segments_ = st.text(min_size=1, max_size=40).filter(
    lambda text: (
        not {".", ".."} & set(text.replace("\\", "/").split("/"))
        and not any(ord(c) < 32 or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000 for c in text)
    )
)


@settings(few, max_examples=300)
@example("info.json", "/2", "/iiif")
@given(segments_, st.sampled_from(["/2", "/3"]), st.sampled_from(["/iiif", ""]))
def test_identifiers_go_round(identifier, version, prefix):
    encoded = urls.encode(identifier)
    assert encoded.isascii()
    assert not set(encoded) & set('/?#[]@ "<>\\^`{|}')
    # The base URI of an identifier `info.json` would be the info.json of `2`.
    bare = [""] if identifier != "info.json" else []
    for tail in ["/info.json", "/full/max/0/default.jpg", *bare]:
        request = urls.parse(f"{prefix}{version}/{encoded}{tail}", prefix, 3)
        assert request is not None
        assert request.identifier == identifier
        assert urls.uri("http://x", prefix, request) == f"http://x{prefix}{version}/{encoded}"


@few
@given(st.text(st.sampled_from('aq/*+;,="\\ .01profile') | st.characters(), max_size=60))
def test_no_accept_header_breaks(header):
    for item in ranges(header):
        assert 0 <= item.q <= 1
    for api in urls.VERSIONS.values():
        assert "json" in api.content_type(header)
        assert urls.version_for(header, api.NUMBER) in urls.VERSIONS
    assert choose(header, v3._OFFERS) == v3.content_type(header)


@few
@given(images | pyramids, limits_, features_)
def test_documents_declare_within_limits(info, limits, features):
    tiles = tiling(info, limits, features)
    assert within(tiles.width, tiles.height, limits)
    for api in (v2, v3):
        document = api.document(info, "http://x/y", limits, features, Extras())
        assert json.loads(json.dumps(document)) == document
        listed = [(size["width"], size["height"]) for size in document.get("sizes", [])]
        assert listed == sorted(set(listed))
