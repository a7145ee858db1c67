"""The parts of info.json that both versions have, as JSON values."""

from collections.abc import Collection
from typing import Any

from iiif_proxy.iiif.model import Box, Features, ImageInfo, Limits, Scope
from iiif_proxy.iiif.params import largest
from iiif_proxy.iiif.tiles import sizes, tiling

PROTOCOL = "http://iiif.io/api/image"
# What levels imply (the compliance documents). 3.0 has regionSquare in level 1, 2.1 in none.
LEVEL_FORMATS = ({"jpg"}, {"jpg"}, {"jpg", "png"})
_HTTP = frozenset({"baseUriRedirect", "cors", "jsonldMediaType"})
_SIZES_1 = frozenset({"sizeByW", "sizeByH"})
LEVEL_2 = frozenset({"regionByPct", "sizeByPct", "sizeByConfinedWh", "sizeByWh", "rotationBy90s"})
LEVEL_1 = frozenset({"regionByPx"}) | _SIZES_1 | _HTTP


def level_of(scope: Scope, features: Features) -> int:
    """The highest level all of which is offered: 0 without any regions or sizes."""
    if not (scope.regions and scope.sizes):
        return 0
    return 2 if scope.turns and "png" in features.formats else 1


def profile_of(profile: str, scope: Scope, features: Features) -> str:
    """The URI of the level, out of that of level 2."""
    return profile.replace("level2", f"level{level_of(scope, features)}")


def sizes_of(
    info: ImageInfo, limits: Limits, features: Features, scope: Scope
) -> list[dict[str, int]]:
    found = sizes(info, limits, features) if scope.listed is None else scope.listed
    if scope.sizes and not scope.regions:
        # Viewers have nothing but sizes then, and should have the best.
        whole = largest(Box(0, 0, info.width, info.height), limits, False)
        found = tuple(dict.fromkeys((*found, whole)))
    return [{"width": width, "height": height} for width, height in found]


def tiles_of(
    info: ImageInfo, limits: Limits, features: Features, scope: Scope
) -> list[dict[str, Any]]:
    if not scope.tiles:
        return []
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


def qualities_of(info: ImageInfo, implied: Collection[str], scope: Scope) -> list[str]:
    """Qualities beyond those implied: only such as this source can show."""
    if not scope.qualities:
        found = []
    elif info.bilevel:
        found = ["bitonal"]
    elif info.gray:
        found = ["gray", "bitonal"]
    else:
        found = ["color", "gray", "bitonal"]
    return [quality for quality in found if quality not in implied]


def formats_of(features: Features, scope: Scope) -> list[str]:
    """Formats beyond the level."""
    implied = LEVEL_FORMATS[level_of(scope, features)]
    return [format for format in features.formats if format not in implied]


def features_of(
    features: Features,
    scope: Scope,
    enlarging: str,
    level_1: frozenset[str],
) -> list[str]:
    """Feature names beyond the level; `enlarging` is what the version calls enlarging, `level_1`
    what it has in that level."""
    found = {"canonicalLinkHeader", "profileLinkHeader", *_HTTP}
    if scope.regions:
        found |= {"regionByPx", "regionByPct", "regionSquare"}
    if scope.sizes and not scope.regions:
        # Without those of width and height: OpenSeadragon takes them to mean tiles.
        found |= {"sizeByConfinedWh", "sizeByPct"}
    elif scope.sizes:
        found |= {"sizeByConfinedWh", "sizeByPct", "sizeByWh", *_SIZES_1}
        if features.upscaling:
            found.add(enlarging)
    if scope.turns:
        found |= {"mirroring", "rotationBy90s"}
        if features.rotation_arbitrary:
            found.add("rotationArbitrary")
    level = level_of(scope, features)
    implied = (frozenset(), level_1, level_1 | LEVEL_2)[level]
    return sorted(found - implied)


def present(values: dict[str, Any]) -> dict[str, Any]:
    """Without what is empty: an optional property that says nothing is left out."""
    return {name: value for name, value in values.items() if value not in (None, [], (), {}, "")}
