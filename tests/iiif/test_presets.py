"""Named derivatives: how they are written, what they are for an image; each may be asked."""

from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from iiif_proxy.iiif import presets, urls
from iiif_proxy.iiif.model import Box, Features, ImageInfo, Limits
from iiif_proxy.iiif.plan import ImageRequest, resolve
from iiif_proxy.iiif.presets import PresetError, from_table, from_words, parse
from tests.iiif.test_properties import features_, few, images, limits_, pyramids

INFO = ImageInfo(3000, 2000, "JPEG")


def plan(text, info=INFO, limits=None, features=None):
    return parse("x", text).plan(info, limits or Limits(), features or Features())


@pytest.mark.parametrize(
    "text, box, size",
    [
        ("full/!200,200/0/default.jpg", (0, 0, 3000, 2000), (200, 133)),
        ("full/max/0/default.jpg", (0, 0, 3000, 2000), (3000, 2000)),
        ("full/full/0/default.jpg", (0, 0, 3000, 2000), (3000, 2000)),
        ("square/100,/0/default.jpg", (500, 0, 2000, 2000), (100, 100)),
        ("pct:50,50,50,50/,100/0/default.jpg", (1500, 1000, 1500, 1000), (150, 100)),
        # As IIIF has it: this shape, whatever the region's.
        ("full/100,100/0/default.jpg", (0, 0, 3000, 2000), (100, 100)),
        # Cropped to the shape, around the middle or a focus, never beyond the edges.
        ("full/100x100/0/default.jpg", (500, 0, 2000, 2000), (100, 100)),
        ("full/400×100/0/default.jpg", (0, 625, 3000, 750), (400, 100)),
        ("16x9/max/0/default.jpg", (0, 156, 3000, 1688), (3000, 1688)),
        ("16x9/160,/0/default.jpg", (0, 156, 3000, 1688), (160, 90)),
        ("focus:40,50/100x100/0/default.jpg", (200, 0, 2000, 2000), (100, 100)),
        ("focus:0.4,0.5/100x100/0/default.jpg", (200, 0, 2000, 2000), (100, 100)),
        ("focus:40,50/100,100/0/default.jpg", (200, 0, 2000, 2000), (100, 100)),
        ("focus:0,0/100x100/0/default.jpg", (0, 0, 2000, 2000), (100, 100)),
        ("focus:100,100/100x100/0/default.jpg", (1000, 0, 2000, 2000), (100, 100)),
        ("focus:1.0,1.0/100x50/0/default.jpg", (0, 500, 3000, 1500), (100, 50)),
        ("1000,0,1000,2000/100x100/0/default.jpg", (1000, 500, 1000, 1000), (100, 100)),
        # What an image does not have.
        ("full/4000,/0/default.jpg", (0, 0, 3000, 2000), (3000, 2000)),
        ("full/^4000,/0/default.jpg", (0, 0, 3000, 2000), (3000, 2000)),
        ("full/,4000/0/default.jpg", (0, 0, 3000, 2000), (3000, 2000)),
        ("full/!4000,4000/0/default.jpg", (0, 0, 3000, 2000), (3000, 2000)),
        ("full/^pct:200/0/default.jpg", (0, 0, 3000, 2000), (3000, 2000)),
        ("full/pct:0.001/0/default.jpg", (0, 0, 3000, 2000), (1, 1)),
        ("full/4000,4000/0/default.jpg", (0, 0, 3000, 2000), (2000, 2000)),
        ("full/4000x4000/0/default.jpg", (500, 0, 2000, 2000), (2000, 2000)),
        ("2900,0,500,100/max/0/default.jpg", (2900, 0, 100, 100), (100, 100)),
        ("5000,100,500,100/max/0/default.jpg", (2500, 100, 500, 100), (500, 100)),
        ("5000,5000,9000,100/max/0/default.jpg", (0, 1900, 3000, 100), (3000, 100)),
    ],
)  # fmt: skip
def test_what_a_preset_is(text, box, size):
    found = plan(text)
    assert (found.box, (found.width, found.height)) == (Box(*box), size)


def test_the_rest_of_a_preset():
    found = plan("full/max/!450/gray.png".replace("450", "45.50"))
    assert (found.mirror, found.degrees, found.quality, found.format) == (
        True, Decimal("45.5"), "gray", "png",
    )  # fmt: skip
    assert plan("full/max/0/gray.jpg", ImageInfo(3, 2, "PNG", gray=True)).quality == "default"


@pytest.mark.parametrize(
    "text, limits, size",
    [
        ("full/^6000,/0/default.jpg", Limits(5000), (5000, 3333)),
        ("full/^4500,/0/default.jpg", Limits(5000), (4500, 3000)),
        ("full/^4000x4000/0/default.jpg", Limits(5000), (4000, 4000)),
        ("full/^6000x6000/0/default.jpg", Limits(5000), (5000, 5000)),
        ("full/^6000,3000/0/default.jpg", Limits(5000), (5000, 2500)),
        ("full/^max/0/default.jpg", Limits(max_area=24_000_000), (6000, 4000)),
        ("full/^9000,/0/default.jpg", Limits(max_area=24_000_000), (6000, 4000)),
        ("full/4000,/0/default.jpg", Limits(5000), (3000, 2000)),
    ],
)
def test_enlarged_only_where_that_is_asked_and_allowed(text, limits, size):
    found = plan(text, limits=limits, features=Features(upscaling=True))
    assert (found.width, found.height) == size


def test_limits_make_it_smaller():
    for text in ("full/max", "full/2000,", "full/,1500", "full/!2000,2000", "full/pct:90"):
        found = plan(f"{text}/0/default.jpg", limits=Limits(600))
        assert (found.width, found.height) == (600, 400)
    found = plan("full/2000x2000/0/default.jpg", limits=Limits(600))
    assert (found.box.width, found.width, found.height) == (2000, 600, 600)
    found = plan("full/max/45/default.jpg", features=Features(max_pixels=1_000_000))
    assert found.width < 1000
    # A declared limit is one of the size before turning (5.3).
    assert plan("full/max/45/default.jpg", limits=Limits(600)).width == 600


regions = st.sampled_from(
    ["full", "square", "10,20,300,100", "pct:33.3,10,5,90", "5000,0,1,1", "3x1", "7x90",
     "focus:10,90", "focus:0.5,0.333"]
)  # fmt: skip
lengths = st.integers(1, 30_000) | st.integers(1, 20)
boxes = st.builds(lambda w, h, up: f"{up}{w}x{h}", lengths, lengths, st.sampled_from(["", "^"]))
others = st.builds(
    lambda form, w, h, up: up + form.format(w=w, h=h),
    st.sampled_from(["{w},", ",{h}", "{w},{h}", "!{w},{h}", "max", "pct:{w}", "pct:0.{h}"]),
    lengths,
    lengths,
    st.sampled_from(["", "^"]),
)


@few
@given(
    images | pyramids,
    limits_,
    features_,
    regions,
    boxes | others,
    st.sampled_from(["0", "90", "!180", "33"]),
    st.sampled_from(["jpg", "webp"]),
    st.sampled_from([2, 3]),
)
@example(ImageInfo(2609, 3424, "JPEG"), Limits(), Features(), "full", "71,", "0", "jpg", 2)
def test_every_preset_may_be_asked_of_every_image(
    info, limits, features, region, size, rotation, format, version
):
    """And its canonical address is the same derivative."""
    features = Features(
        formats=("jpg", "png", "webp"),
        upscaling=features.upscaling and limits != Limits(),
        tile_size=features.tile_size,
        max_pixels=features.max_pixels,
    )
    if region.startswith("focus:") and "x" not in size.replace("max", ""):
        size = "300x200"
    found = parse("x", f"{region}/{size}/{rotation}/default.{format}")
    plan = found.plan(info, limits, features)
    tail = urls.VERSIONS[version].canonical(plan, info, limits, features)
    request = urls.parse(f"/iiif/{version}/x/{tail}", "/iiif", 3)
    assert isinstance(request, ImageRequest)
    assert resolve(request, info, limits, features) == plan
    box = plan.box
    assert 0 <= box.x <= box.x + box.width <= info.width
    assert 0 <= box.y <= box.y + box.height <= info.height
    if found.shape is not None:
        # Never stretched: as nearly that shape as whole pixels can be.
        wide, high = found.shape
        assert abs(box.width * high - box.height * wide) <= max(wide, high) or 1 in (
            box.width, box.height,
        )  # fmt: skip


@pytest.mark.parametrize(
    "text, key, why",
    [
        ("full/max/default.jpg", "x", "region/size/rotation/quality.format"),
        ("full/max/0/default", "x", "region/size/rotation/quality.format"),
        ("all/max/0/default.jpg", "x.region", "must be full, square"),
        ("focus:50/10x10/0/default.jpg", "x.region", "focus:x,y"),
        ("focus:101,50/10x10/0/default.jpg", "x.region", "outside"),
        ("focus:50,50/10,/0/default.jpg", "x.size", "a focus needs a size such as 400x300"),
        ("1,1,0,5/max/0/default.jpg", "x.region", "empty"),
        ("full/big/0/default.jpg", "x.size", "400x300"),
        ("full/0,/0/default.jpg", "x.size", "less than one pixel"),
        ("full/10,0/0/default.jpg", "x.size", "less than one pixel"),
        ("full/0x10/0/default.jpg", "x.size", "400x300"),
        ("full/max/left/default.jpg", "x.rotation", "number from 0 to 360"),
        ("full/max/0/best.jpg", "x.quality", "default, color"),
        ("full/max/0/default.JPEG", "x.format", "such as jpg"),
    ],
)
def test_what_cannot_be_a_preset_says_where_and_why(text, key, why):
    with pytest.raises(PresetError) as caught:
        parse("x", text)
    assert caught.value.key == key
    assert why in caught.value.why


def test_a_table_of_presets():
    found = from_table(
        {
            "thumb": "full/!200,200/0/default.jpg",
            "card": {"label": "Card", "region": "focus:50,30", "size": "400x300", "rotation": 90},
        }
    )
    thumb, card = found
    assert (thumb.name, thumb.label, thumb.size) == ("thumb", "thumb", "!200,200")
    assert card.written == "focus:50,30/400x300/90/default.jpg"
    assert presets.described(card) == {
        "name": "card", "label": "Card", "region": "focus:50,30", "size": "400x300",
        "rotation": "90", "quality": "default", "format": "jpg",
    }  # fmt: skip
    assert found.get("card") is card
    assert found.get("cards") is None
    both = from_words({"card": "square/max/0/default.png", "a": "full/max/0/default.jpg"})
    assert [preset.name for preset in both.joined(found)] == ["card", "a", "thumb"]
    assert both.joined(found).get("card") is card


@pytest.mark.parametrize(
    "table, key",
    [
        ({"a b": "full/max/0/default.jpg"}, "presets.a b"),
        ({"a": 3}, "presets.a"),
        ({"a": "full/max"}, "presets.a"),
        ({"a": {"region": "full"}}, "presets.a.size"),
        ({"a": {"size": "max", "sise": "max"}}, "presets.a.sise"),
        ({"a": {"size": 300}}, "presets.a.size"),
        ({"a": {"size": "max", "rotation": True}}, "presets.a.rotation"),
        ({"a": {"size": "max", "region": "somewhere"}}, "presets.a.region"),
    ],
)
def test_a_fault_in_a_table_names_its_key(table, key):
    with pytest.raises(PresetError) as caught:
        from_table(table)
    assert caught.value.key == key
    assert str(caught.value).startswith(f"{key}: ")


def test_whether_a_plan_is_a_preset():
    found = from_words({"thumb": "full/!200,200/0/default.jpg"})
    for tail, is_one in (
        ("full/!200,200/0/default.jpg", True),
        ("full/200,133/0/color.jpg", True),
        ("0,0,3000,2000/200,/0/default.jpg", True),
        ("full/!201,201/0/default.jpg", False),
        ("full/!200,200/0/default.png", False),
        ("full/!200,200/0/gray.jpg", False),
    ):
        request = urls.parse(f"/iiif/3/x/{tail}", "/iiif", 3)
        assert isinstance(request, ImageRequest)
        plan = resolve(request, INFO, Limits(), Features())
        assert found.has(plan, INFO, Limits(), Features()) is is_one
    assert not presets.Presets().has(plan, INFO, Limits(), Features())


def test_what_this_installation_cannot_do():
    found = from_words({"a": "full/max/0/default.webp", "b": "full/max/3/default.jpg"})
    features = Features(rotation_arbitrary=False)
    assert [fault.key for fault in found.faults(features)] == ["a.format", "b.rotation"]
    assert not found.faults(Features(formats=("jpg", "png", "webp")))
