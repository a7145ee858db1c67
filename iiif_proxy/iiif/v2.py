"""Image API 2.1.1: what only this version says."""

from typing import Any

from iiif_proxy.errors import InvalidRequest
from iiif_proxy.iiif.accept import Offer, choose
from iiif_proxy.iiif.describe import (
    LEVEL_1,
    PROTOCOL,
    features_of,
    formats_of,
    level_of,
    limits_of,
    present,
    profile_of,
    qualities_of,
    sizes_of,
    tiles_of,
)
from iiif_proxy.iiif.model import EVERYTHING, Extras, Features, ImageInfo, Limits, Plan, Scope
from iiif_proxy.iiif.params import (
    EXPLICIT,
    Size,
    height_of,
    region_text,
    rotation_text,
)
from iiif_proxy.iiif.params import parse_quality as parse_quality

NUMBER = 2
CONTEXT = "http://iiif.io/api/image/2/context.json"
PROFILE = "http://iiif.io/api/image/2/level2.json"

_SENTENCE = "The size must be full, max, w, ,h w,h !w,h or pct:n."
_IMPLIED_QUALITIES = (
    frozenset({"default"}),
    frozenset({"default"}),
    frozenset({"default", "bitonal"}),
)
_LEVEL_1 = LEVEL_1 | {"sizeByPct"}
_FULL = Size("full")
# "If the client explicitly wants the JSON-LD content-type, then it MUST specify this" (5.1).
_OFFERS = (
    Offer("application/json", "application/json"),
    Offer("application/ld+json", "application/ld+json", CONTEXT, explicit=True),
)


def parse_size(text: str) -> Size:
    """Section 4.2: `full` too, no `^`; explicit sizes may enlarge where the server does."""
    if text == "full":
        return _FULL
    return Size.parse(text, _SENTENCE, enlarging=EXPLICIT, refusal=InvalidRequest, declared=True)


def canonical(plan: Plan, info: ImageInfo, limits: Limits, features: Features) -> str:
    """Section 4.7: region/size/rotation/quality.format."""
    box = plan.box
    if (plan.width, plan.height) == (box.width, box.height):
        size = "full"
    elif plan.height == height_of(box, plan.width, info, limits, features):
        size = f"{plan.width},"
    else:
        size = f"{plan.width},{plan.height}"
    rotation = rotation_text(plan.mirror, plan.degrees)
    return f"{region_text(box, info)}/{size}/{rotation}/{plan.quality}.{plan.format}"


def also_named(plan: Plan, info: ImageInfo, limits: Limits, features: Features) -> str | None:
    """The name by which a static server finds this version's `w,`: its height is not in the URL.

    In 3.0 `w,` may mean another height, and is not looked for.
    """
    address = canonical(plan, info, limits, features)
    return address.replace("/", "_") if ",/" in address else None


def document(
    info: ImageInfo,
    uri: str,
    limits: Limits,
    features: Features,
    extras: Extras,
    scope: Scope = EVERYTHING,
) -> dict[str, Any]:
    """Section 5: info.json of the image with base URI `uri`."""
    implied = _IMPLIED_QUALITIES[level_of(scope, features)]
    profile = {
        "formats": formats_of(features, scope),
        "qualities": qualities_of(info, implied, scope),
        "supports": features_of(features, scope, "sizeAboveFull", _LEVEL_1),
        **limits_of(limits),
    }
    return present(
        {
            "@context": CONTEXT,
            "@id": uri,
            "protocol": PROTOCOL,
            "width": info.width,
            "height": info.height,
            "sizes": sizes_of(info, limits, features, scope),
            "tiles": tiles_of(info, limits, features, scope),
            "profile": [profile_of(PROFILE, scope, features), present(profile)],
            "attribution": extras.attribution,
            "license": extras.license or extras.rights,
            "logo": extras.logo,
            "service": extras.service,
        }
    )


def content_type(accept: str | None) -> str:
    """Section 5.1: plain JSON, unless JSON-LD is asked for by name."""
    return choose(accept, _OFFERS)
