"""Requests as values, and a request with its source resolved to one Plan: versions end here."""

from dataclasses import dataclass
from typing import Any, Protocol

from iiif_proxy.errors import InvalidRequest, NotSupported
from iiif_proxy.iiif.model import Extras, Features, ImageInfo, Limits, Plan, Scope
from iiif_proxy.iiif.params import Region, Rotation, Size, largest, region_text, rotation_text
from iiif_proxy.iiif.tiles import turned

# Section 4.5 of both versions: what is known but cannot be written here is 501, all else 400.
KNOWN_FORMATS = frozenset({"jpg", "tif", "png", "gif", "jp2", "pdf", "webp"})

# Longest side, measured with Pillow 13 by writing and reading back: libjpeg ends at 65500 and not
# at the format's 65535 (PDF holds a JPEG), and no AVIF beyond 32768 is read again by libavif.
LONGEST_SIDE = {"avif": 32768, "gif": 65535, "jpg": 65500, "pdf": 65500, "webp": 16383}


class Api(Protocol):
    """A version of the specification: a module with these names (v2, v3)."""

    NUMBER: int
    CONTEXT: str
    PROFILE: str

    def parse_size(self, text: str, /) -> Size: ...

    def parse_quality(self, text: str, /) -> str: ...

    def canonical(
        self, plan: Plan, info: ImageInfo, limits: Limits, features: Features, /
    ) -> str: ...

    def also_named(
        self, plan: Plan, info: ImageInfo, limits: Limits, features: Features, /
    ) -> str | None: ...

    def document(
        self,
        info: ImageInfo,
        uri: str,
        limits: Limits,
        features: Features,
        extras: Extras,
        scope: Scope = ...,
        /,
    ) -> dict[str, Any]: ...

    def content_type(self, accept: str | None, /) -> str: ...


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """An image asked for. `versioned`: the version stood in the URL, so it does in our URIs."""

    api: Api
    identifier: str
    region: Region
    size: Size
    rotation: Rotation
    quality: str
    format: str
    versioned: bool


@dataclass(frozen=True, slots=True)
class InfoRequest:
    """An info.json asked for."""

    api: Api
    identifier: str
    versioned: bool


@dataclass(frozen=True, slots=True)
class BaseRequest:
    """A base URI, to be sent to its info.json."""

    api: Api
    identifier: str
    versioned: bool


def resolve(request: ImageRequest, info: ImageInfo, limits: Limits, features: Features) -> Plan:
    """The one derivative that answers `request`; the same picture is the same Plan.

    Raises InvalidRequest, and NotSupported for what the specification knows and we do not do.
    """
    format = request.format
    if format not in features.formats:
        if format in KNOWN_FORMATS:
            raise NotSupported(f"This server cannot write {format}.")
        raise InvalidRequest("The format is unknown.")
    degrees = request.rotation.degrees
    right_angle = not degrees % 90
    if not right_angle and not features.rotation_arbitrary:
        raise InvalidRequest("The rotation must be a multiple of 90 here.")
    box = request.region.resolve(info)
    width, height = request.size.resolve(box, info, limits, features)
    out_width, out_height = turned(width, height, degrees) if degrees else (width, height)
    if out_width * out_height > features.max_pixels:
        raise InvalidRequest("The image would have more pixels than this server makes.")
    longest = LONGEST_SIDE.get(format)
    # Resampling at odd angles may add a pixel on each edge.
    if longest and max(out_width, out_height) > (longest if right_angle else longest - 2):
        raise InvalidRequest(f"No side of a {format} can be longer than {longest} pixels.")
    return Plan(
        box,
        width,
        height,
        request.rotation.mirror,
        degrees,
        quality_of(request.quality, info),
        format,
    )


def stored_name(plan: Plan, info: ImageInfo, limits: Limits) -> str:
    """A plan as a file name: numbers and fixed words, each plan of one image another.

    It is what a regular expression can make out of a canonical URL without knowing the image
    (deploy/nginx-static.conf does). So it is `max` wherever the size is the region's own, and
    what is the largest only because of the limits has a `~`: its URL says `max` too, and nobody
    can tell from that which of the two is meant.
    """
    box, size = plan.box, f"{plan.width},{plan.height}"
    if (plan.width, plan.height) == (box.width, box.height):
        size = "max"
    elif plan.width > box.width or plan.height > box.height:
        size = "^" + size
    elif (plan.width, plan.height) == largest(box, limits, False):
        size = "~" + size
    turn = rotation_text(plan.mirror, plan.degrees)
    return f"{region_text(box, info)}_{size}_{turn}_{plan.quality}.{plan.format}"


def quality_of(asked: str, info: ImageInfo) -> str:
    """What is the same image is `default`: color of colour, gray of gray.

    Gray is `color` only if that is asked for, and then comes in three channels. Not bitonal of
    bilevel: scaled down, black and white make gray, unless bitonal was asked for.
    """
    if asked == "color" and (info.gray or info.bilevel):
        return "color"
    if asked == "gray" and not info.gray and not info.bilevel:
        return "gray"
    return "bitonal" if asked == "bitonal" else "default"
