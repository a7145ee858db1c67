"""The decision: rules and a plan in, allowed or a sentence out. Nothing is looked at here."""

from collections.abc import Callable, Collection
from dataclasses import replace
from decimal import Decimal
from enum import Enum

from iiif_proxy.access.policy import Rules
from iiif_proxy.errors import NotAllowed
from iiif_proxy.iiif.model import Box, Features, ImageInfo, Limits, Plan, Scope
from iiif_proxy.iiif.params import largest
from iiif_proxy.iiif.tiles import bounds, sizes, tile_boxes, tile_factor, tiling


class Verdict(Enum):
    """What may happen: it is there, it may be made and kept, or made and not kept."""

    STORED = "stored"
    MAKE = "make"
    UNSTORED = "unstored"


def decide(
    rules: Rules,
    plan: Plan,
    info: ImageInfo,
    limits: Limits,
    features: Features,
    exists: bool,
    named: Collection[Plan] = (),
) -> Verdict:
    """`limits` and `features` are the caller's own, `named` the plans of the presets.

    Raises NotAllowed with a sentence that says what would be allowed.
    """
    forbid(rules, plan, info, named)
    if exists:
        return Verdict.STORED
    if rules.read == "existing":
        raise NotAllowed("This image is not stored yet, and only what is stored may be had.")
    if may_make(rules, plan, info, limits, features, named):
        return Verdict.MAKE
    if rules.outside == "unstored" and rules.read == "any":
        return Verdict.UNSTORED
    raise NotAllowed(_instead(rules, plan, info, limits, features))


def forbid(
    rules: Rules,
    plan: Plan,
    info: ImageInfo,
    named: Collection[Plan] = (),
) -> None:
    """What the class may not have even if it is stored. Raises NotAllowed."""
    if rules.read == "nothing":
        raise NotAllowed("This image is not open to you.")
    if plan in named:
        return
    if rules.formats is not None and plan.format not in rules.formats:
        raise NotAllowed(f"The format must be one of {', '.join(rules.formats)} for you.")
    if plan.degrees % 90 and not rules.rotation_arbitrary:
        raise NotAllowed("The rotation must be a multiple of 90 for you.")
    if not rules.regions and not whole(plan, info):
        raise NotAllowed("Only the whole image is open to you, the region must be full.")


def may_make(
    rules: Rules,
    plan: Plan,
    info: ImageInfo,
    limits: Limits,
    features: Features,
    named: Collection[Plan] = (),
) -> bool:
    """Whether what is not stored may be made and kept for the class."""
    if rules.makes == "any":
        return True
    if rules.makes == "none":
        return False
    if plan in named:
        return True
    if plan.format not in (rules.formats or ("jpg",)):
        return False
    return rules.makes == "declared" and declared(plan, info, limits, features)


def declared(plan: Plan, info: ImageInfo, limits: Limits, features: Features) -> bool:
    """Whether info.json of the caller declares it: a tile, a size, or the whole image."""
    if plan.mirror or plan.degrees or plan.quality != "default":
        return False
    size = plan.width, plan.height
    if whole(plan, info) and (
        size in sizes(info, limits, features) or size == largest(plan.box, limits, False)
    ):
        return True
    tiles = tiling(info, limits, features)
    return tile_factor(plan.box, plan.width, plan.height, info, tiles) is not None


def whole(plan: Plan, info: ImageInfo) -> bool:
    return (plan.box.width, plan.box.height) == (info.width, info.height)


def _instead(rules: Rules, plan: Plan, info: ImageInfo, limits: Limits, features: Features) -> str:
    if rules.makes == "none":
        return "This image is not stored yet, and you may not have it made."
    if rules.makes == "presets":
        return "This image is not stored yet; you may have presets made, see /-/presets."
    width, height = nearest(plan, info, limits, features)
    format = plan.format if plan.format in (rules.formats or ()) else "jpg"
    return (
        "Only the tiles and sizes that info.json declares may be made for you:"
        f" the nearest size allowed is full/{width},{height}/0/default.{format}."
    )


def nearest(plan: Plan, info: ImageInfo, limits: Limits, features: Features) -> tuple[int, int]:
    """The smallest declared size of the whole image that is as large as asked, or the largest."""
    everything = largest(Box(0, 0, info.width, info.height), limits, False)
    offered = sorted({*sizes(info, limits, features), everything})
    return next((size for size in offered if size[0] >= plan.width), offered[-1])


def limits_for(rules: Rules, limits: Limits) -> Limits:
    """The installation's limits and the class's: the lower of each."""
    own = bounds(Limits(rules.max_width, rules.max_height, rules.max_area))
    pairs = zip(own, bounds(limits), strict=True)
    width, height, area = (
        min((value for value in pair if value is not None), default=None) for pair in pairs
    )
    return Limits(width, None if height == width else height, area)


def features_for(rules: Rules, features: Features) -> Features:
    """What info.json says of formats and rotation: of a class that may not make anything, jpg."""
    formats = rules.formats or (features.formats if free(rules) else ("jpg",))
    return replace(
        features,
        formats=tuple(format for format in features.formats if format in formats),
        rotation_arbitrary=features.rotation_arbitrary and rules.rotation_arbitrary,
    )


def free(rules: Rules) -> bool:
    """Whether every request of the specification is answered, kept or not."""
    return rules.makes == "any" or (rules.outside == "unstored" and rules.read == "any")


def scope_for(
    rules: Rules,
    stored: tuple[tuple[int, int], ...] = (),
    tiles: bool = False,
) -> Scope:
    """What info.json declares. Where nothing may be made but presets: `stored` are the sizes that
    may be had, `tiles` whether tiles may be."""
    if free(rules):
        return Scope(regions=rules.regions, tiles=rules.regions)
    declared = rules.makes == "declared"
    return Scope(
        regions=False,
        sizes=False,
        turns=False,
        qualities=False,
        tiles=rules.regions and (declared or tiles),
        listed=None if declared else stored,
    )


def stored_scope(
    rules: Rules,
    info: ImageInfo,
    limits: Limits,
    features: Features,
    has: Callable[[Plan], bool],
    named: Collection[Plan],
) -> Scope:
    """What info.json declares where presets may be made at most, by what is stored (`has`): sizes,
    and tiles if the coarsest and the corners of the finest are there."""
    box = Box(0, 0, info.width, info.height)
    offered = {*sizes(info, limits, features), largest(box, limits, False)}
    found = {size for size in offered if has(plain(box, *size))}
    if rules.makes == "presets":
        found |= {
            (one.width, one.height) for one in named if one == plain(box, one.width, one.height)
        }
    tiles = tiling(info, limits, features)
    finest, coarsest = tiles.scale_factors[0], tiles.scale_factors[-1]
    corners = [tile for tile in tile_boxes(info, tiles, finest) if at_corner(tile[0], info)]
    wanted = [next(tile_boxes(info, tiles, coarsest)), *corners]
    there = rules.regions and all(has(plain(*tile)) for tile in wanted)
    return scope_for(rules, tuple(sorted(found)), there)


def plain(box: Box, width: int, height: int) -> Plan:
    return Plan(box, width, height, False, Decimal(0), "default", "jpg")


def at_corner(box: Box, info: ImageInfo) -> bool:
    across = box.x == 0 or box.x + box.width == info.width
    return across and (box.y == 0 or box.y + box.height == info.height)
