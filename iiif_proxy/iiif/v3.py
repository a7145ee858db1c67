"""Image API 3.0: what only this version says."""

from typing import Any

from iiif_proxy.errors import NotSupported
from iiif_proxy.iiif.accept import Offer, choose
from iiif_proxy.iiif.describe import (
    LEVEL_1,
    PROTOCOL,
    features_of,
    formats_of,
    level_of,
    limits_of,
    present,
    qualities_of,
    sizes_of,
    tiles_of,
)
from iiif_proxy.iiif.model import EVERYTHING, Extras, Features, ImageInfo, Limits, Plan, Scope
from iiif_proxy.iiif.params import ALL, NONE, Size, largest, region_text, rotation_text
from iiif_proxy.iiif.params import parse_quality as parse_quality

NUMBER = 3
CONTEXT = "http://iiif.io/api/image/3/context.json"
PROFILE = "http://iiif.io/api/image/3/level2.json"

_SENTENCE = "The size must be max, w, ,h w,h !w,h or pct:n, with ^ before it to enlarge."
_IMPLIED_QUALITIES = frozenset({"default"})
_LEVEL_1 = LEVEL_1 | {"regionSquare", "sizeByWh"}
_OFFERS = (
    Offer(f'application/ld+json;profile="{CONTEXT}"', "application/ld+json", CONTEXT),
    Offer("application/json", "application/json"),
)


def parse_size(text: str) -> Size:
    """Section 4.2: only what follows `^` may enlarge; no `full`."""
    caret = text.startswith("^")
    return Size.parse(
        text[1:] if caret else text,
        _SENTENCE,
        enlarging=ALL if caret else NONE,
        refusal=NotSupported,
    )


def canonical(plan: Plan, info: ImageInfo, limits: Limits, features: Features) -> str:
    """Section 4.8: region/size/rotation/quality.format."""
    box = plan.box
    asked = (plan.width, plan.height)
    enlarged = plan.width > box.width or plan.height > box.height
    if asked == largest(box, limits, enlarged):
        size = "^max" if enlarged else "max"
    else:
        size = f"{'^' if enlarged else ''}{plan.width},{plan.height}"
    rotation = rotation_text(plan.mirror, plan.degrees)
    return f"{region_text(box, info)}/{size}/{rotation}/{plan.quality}.{plan.format}"


def also_named(plan: Plan, info: ImageInfo, limits: Limits, features: Features) -> str | None:
    """None: what is canonical in this version is found by `stored_name`."""
    return None


def document(
    info: ImageInfo,
    uri: str,
    limits: Limits,
    features: Features,
    extras: Extras,
    scope: Scope = EVERYTHING,
) -> dict[str, Any]:
    """Section 5: info.json of the image with base URI `uri`."""
    return present(
        {
            "@context": [*extras.context, CONTEXT] if extras.context else CONTEXT,
            "id": uri,
            "type": "ImageService3",
            "protocol": PROTOCOL,
            "profile": f"level{level_of(scope, features)}",
            "width": info.width,
            "height": info.height,
            **limits_of(limits),
            "sizes": sizes_of(info, limits, features, scope),
            "tiles": tiles_of(info, limits, features, scope),
            "preferredFormats": [f for f in features.preferred_formats if f in features.formats],
            "rights": extras.rights,
            "extraQualities": qualities_of(info, _IMPLIED_QUALITIES, scope),
            "extraFormats": formats_of(features, scope),
            "extraFeatures": features_of(features, scope, "sizeUpscaling", _LEVEL_1),
            "partOf": _listed(extras.part_of),
            "seeAlso": _listed(extras.see_also),
            "service": _listed(extras.service),
        }
    )


def content_type(accept: str | None) -> str:
    """Section 5.1: JSON-LD with the profile, unless plain JSON is liked better."""
    return choose(accept, _OFFERS)


def _listed(value: Any) -> Any:
    """Linking properties MUST be arrays (5.8)."""
    return [value] if isinstance(value, dict) else value
