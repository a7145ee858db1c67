"""The parts of info.json that both versions have, as JSON values."""

from collections.abc import Collection
from typing import Any

from iiif_proxy.iiif.model import Features, ImageInfo, Limits
from iiif_proxy.iiif.tiles import sizes, tiling

PROTOCOL = "http://iiif.io/api/image"
# Level 2 of both versions implies these two.
LEVEL2_FORMATS = frozenset({"jpg", "png"})


def sizes_of(info: ImageInfo, limits: Limits, features: Features) -> list[dict[str, int]]:
    return [{"width": width, "height": height} for width, height in sizes(info, limits, features)]


def tiles_of(info: ImageInfo, limits: Limits, features: Features) -> list[dict[str, Any]]:
    tiles = tiling(info, limits, features)
    return [
        {
            "width": tiles.width,
            "height": tiles.height,
            "scaleFactors": list(tiles.scale_factors),
        }
    ]


def limits_of(limits: Limits) -> dict[str, int]:
    found = {
        "maxWidth": limits.max_width,
        "maxHeight": limits.max_height,
        "maxArea": limits.max_area,
    }
    return {name: value for name, value in found.items() if value is not None}


def qualities_of(info: ImageInfo, implied: Collection[str]) -> list[str]:
    """Qualities beyond those implied: only such as this source can show."""
    if info.bilevel:
        found = ["bitonal"]
    elif info.gray:
        found = ["gray", "bitonal"]
    else:
        found = ["color", "gray", "bitonal"]
    return [quality for quality in found if quality not in implied]


def formats_of(features: Features) -> list[str]:
    """Formats beyond level 2."""
    return [format for format in features.formats if format not in LEVEL2_FORMATS]


def features_of(features: Features, enlarging: str, *more: str) -> list[str]:
    """Feature names beyond level 2; `enlarging` is what the version calls enlarging."""
    found = {"canonicalLinkHeader", "mirroring", "profileLinkHeader", *more}
    if features.rotation_arbitrary:
        found.add("rotationArbitrary")
    if features.upscaling:
        found.add(enlarging)
    return sorted(found)


def present(values: dict[str, Any]) -> dict[str, Any]:
    """Without what is empty: an optional property that says nothing is left out."""
    return {name: value for name, value in values.items() if value not in (None, [], (), {}, "")}
