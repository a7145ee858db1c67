"""What info.json declares, and that it can be asked: traps 14 and 15."""

import pytest

from iiif_proxy.iiif.model import Box, Features, ImageInfo, Limits
from iiif_proxy.iiif.tiles import (
    Tiling,
    ceil_div,
    half_up,
    is_tile,
    scale_factors,
    sizes,
    tile_boxes,
    tiling,
)

TILE_256 = Features(tile_size=256)


def image(width, height, **more):
    return ImageInfo(width, height, "TIFF", **more)


@pytest.mark.parametrize(
    "numerator, denominator, up, half",
    [(0, 3, 0, 0), (1, 3, 1, 0), (1, 2, 1, 1), (2, 3, 1, 1), (5, 2, 3, 3), (3, 3, 1, 1),
     (10**30 + 1, 2, 10**30 // 2 + 1, 10**30 // 2 + 1)],
)  # fmt: skip
def test_rounding(numerator, denominator, up, half):
    assert ceil_div(numerator, denominator) == up
    assert half_up(numerator, denominator) == half


@pytest.mark.parametrize(
    "width, height, tile, factors",
    [
        (2609, 3424, 256, (1, 2, 4, 8, 16)),
        (6000, 4000, 256, (1, 2, 4, 8, 16, 32)),
        (6000, 4000, 512, (1, 2, 4, 8, 16)),
        (256, 256, 256, (1,)),
        (257, 1, 256, (1, 2)),
        (512, 512, 256, (1, 2)),
        (513, 512, 256, (1, 2, 4)),
        (100, 80, 256, (1,)),
        (1, 1, 1, (1,)),
    ],
)
def test_scale_factors(width, height, tile, factors):
    assert scale_factors(image(width, height), tile) == factors


@pytest.mark.parametrize(
    "width, height, limits, found",
    [
        (2609, 3424, Limits(), ((164, 214), (327, 428), (653, 856), (1305, 1712))),
        (6000, 4000, Limits(max_width=1000), ((188, 125), (375, 250), (750, 500))),
        (6000, 4000, Limits(max_area=100_000), ((188, 125), (375, 250))),
        (6000, 4000, Limits(max_width=6000, max_height=249), ((188, 125),)),
        (100, 80, Limits(), ()),
        (1, 2000, Limits(), ((1, 250), (1, 500), (1, 1000))),
    ],
)
def test_sizes(width, height, limits, found):
    assert sizes(image(width, height), limits, TILE_256) == found


def test_sizes_and_tiles_within_the_private_cap():
    features = Features(tile_size=512, max_pixels=100_000)
    assert tiling(image(6000, 4000), Limits(), features).width == 316
    assert max(w * h for w, h in sizes(image(6000, 4000), Limits(), features)) <= 100_000


@pytest.mark.parametrize(
    "limits, side",
    [
        (Limits(), 512),
        (Limits(max_width=512), 512),
        (Limits(max_width=300), 300),
        (Limits(max_width=3000, max_height=200), 200),
        (Limits(max_area=10_000), 100),
        (Limits(max_area=10_001), 100),
        (Limits(max_width=50, max_area=10_000), 50),
        (Limits(max_width=1), 1),
    ],
)
def test_tiles_never_above_a_limit(limits, side):
    tiles = tiling(image(6000, 4000), limits, Features(tile_size=512))
    assert (tiles.width, tiles.height) == (side, side)
    assert 6000 / tiles.scale_factors[-1] <= side


def test_the_sources_own_tiles():
    info = image(6000, 4000, tile_width=240, tile_height=320, scale_factors=(1, 2, 4))
    assert tiling(info, Limits(), TILE_256) == Tiling(240, 320, (1, 2, 4))
    assert sizes(info, Limits(), TILE_256) == ((1500, 1000), (3000, 2000))
    # One that could not be asked is not declared.
    assert tiling(info, Limits(max_width=300), TILE_256) == Tiling(
        256, 256, (1, 2, 4, 8, 16, 32)
    )  # fmt: skip


def test_the_sources_own_tiles_without_a_pyramid():
    info = image(1000, 1000, tile_width=250)
    assert tiling(info, Limits(), TILE_256) == Tiling(250, 250, (1, 2, 4))


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(
    "image_, tile, factor, region, width, height",
    [
        ((2609, 3424), 256, 8, (2048, 0, 561, 2048), 71, 256),
        ((2609, 3424), 256, 8, (2048, 2048, 561, 1376), 71, 172),
        ((2609, 3424), 256, 8, (0, 2048, 2048, 1376), 256, 172),
        ((2609, 3424), 256, 16, (0, 0, 2609, 3424), 164, 214),
        ((3073, 3073), 512, 2, (3072, 0, 1, 1024), 1, 512),
        ((6000, 4000), 512, 1, (512, 1024, 512, 512), 512, 512),
    ],
)
def test_edge_tiles(asker, version, image_, tile, factor, region, width, height):
    ask = asker(*image_, features=Features(tile_size=tile))
    tiles = tiling(ask.info, Limits(), ask.features)
    assert (Box(*region), width, height) in list(tile_boxes(ask.info, tiles, factor))
    path = ",".join(map(str, region))
    assert ask.result(version, f"{path}/{width},{height}") == (width, height)
    assert ask.result(2, f"{path}/{width},") == (width, height)


def test_a_width_alone_means_the_tile_in_2_only(asker):
    ask = asker(2609, 3424, features=TILE_256)
    assert ask.result(2, "2048,0,561,2048/71,") == (71, 256)
    assert ask.result(3, "2048,0,561,2048/71,") == (71, 259)
    # Not the tile's width, not the tile's region: the exact aspect.
    assert ask.result(2, "2048,0,561,2048/70,") == (70, 256)
    assert ask.result(2, "2047,0,561,2048/71,") == (71, 259)
    assert ask.result(2, "2048,1,561,2048/71,") == (71, 259)
    assert ask.result(2, "2048,0,560,2048/70,") == (70, 256)
    # What reaches beyond the image is the same tile.
    assert ask.result(2, "2048,0,2048,2048/71,") == (71, 256)


def test_a_width_alone_means_the_declared_size_in_2_only(asker):
    """2.1 wants clients to ask for `sizes` by `w,` (5.2)."""
    ask = asker(2609, 3424, features=TILE_256)
    for width, height in sizes(ask.info, Limits(), TILE_256):
        for version in (2, 3):
            assert ask.result(version, f"full/{width},{height}") == (width, height)
        assert ask.result(2, f"full/{width},") == (width, height)
    assert ask.result(3, "full/327,") == (327, 429)


def test_is_tile():
    info, tiles = image(1000, 700), Tiling(256, 128, (1, 2, 4))
    assert is_tile(Box(768, 640, 232, 60), info, tiles, 1)
    assert is_tile(Box(512, 512, 488, 188), info, tiles, 2)
    assert not is_tile(Box(512, 512, 488, 188), info, tiles, 1)
    assert not is_tile(Box(0, 0, 255, 128), info, tiles, 1)
    for factor in tiles.scale_factors:
        boxes = [box for box, _, _ in tile_boxes(info, tiles, factor)]
        assert sum(box.width * box.height for box in boxes) == 1000 * 700
        assert all(is_tile(box, info, tiles, factor) for box in boxes)
