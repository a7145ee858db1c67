"""Paths to requests and back (sections 2, 3 and 9 of both versions)."""

import re
from urllib.parse import quote, unquote, unquote_to_bytes

from iiif_proxy.errors import InvalidRequest
from iiif_proxy.iiif import v2, v3
from iiif_proxy.iiif.accept import ranges
from iiif_proxy.iiif.params import Region, Rotation
from iiif_proxy.iiif.plan import Api, BaseRequest, ImageRequest, InfoRequest

VERSIONS: dict[int, Api] = {2: v2, 3: v3}

_LEADING = {str(number): api for number, api in VERSIONS.items()}
_BY_CONTEXT = {api.CONTEXT: number for number, api in VERSIONS.items()}

MANIFEST = "/manifest.json"
LONGEST_IDENTIFIER = 4096
# What a path segment may hold as it is (RFC 3986, 3.3) and browsers leave alone, less `@`, which
# the specification encodes (section 9).
_PLAIN = "!$&'()*+,;=:~"
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")

# How the parameters look from afar, right or wrong: this only tells image requests from base
# URIs of identifiers with slashes. `native` and `grey` are the words of version 1.
_QUALITY_WORDS = frozenset({"default", "color", "gray", "bitonal", "native", "grey"})
_REGION_LIKE = re.compile(r"full|square|(?:pct:)?[-+0-9.]*(?:,[-+0-9.]*){2,4}")
_SIZE_LIKE = re.compile(r"\^?(?:full|max|pct:[-+0-9.]*|!?[-+0-9.]*,\^?[-+0-9.]*)")
_ROTATION_LIKE = re.compile(r"!?[-+]?[0-9]+(?:\.[0-9]*)?")


def parse(
    raw_path: str, prefix: str, default_version: int
) -> ImageRequest | InfoRequest | BaseRequest | None:
    """What a path asks for; None if it is none of ours and passes through.

    `raw_path` is still percent-encoded, without a query. `prefix` is "" or begins with a slash
    and ends without. Under the empty prefix base URIs need a version: any page of the origin
    would be one. Raises InvalidRequest for a request that is ours but malformed.
    """
    if not raw_path.startswith(prefix):
        return None
    before, *segments = raw_path[len(prefix) :].split("/")
    if before or not segments or segments[0] == "-":
        return None
    tail = _tail(segments)
    names = segments[: len(segments) - tail]
    versioned = len(names) > 1 and names[0] in _LEADING
    api = _LEADING[names.pop(0)] if versioned else VERSIONS[default_version]
    if tail == 4:
        region, size, rotation, last = map(_decoded, segments[-4:])
        quality, _, format = last.partition(".")
        if not format:
            raise InvalidRequest("The address must end with a quality, a point and a format.")
        return ImageRequest(
            api,
            identifier("/".join(names)),
            Region.parse(region),
            api.parse_size(size),
            Rotation.parse(rotation),
            api.parse_quality(quality),
            format,
            versioned,
        )
    if tail == 1:
        return InfoRequest(api, identifier("/".join(names)), versioned)
    if versioned and not names[-1]:
        names.pop()
    if not any(names):
        return None
    if not versioned and (not prefix or len(names) > 1 or _is_info(names[0])):
        return None
    return BaseRequest(api, identifier("/".join(names)), versioned)


def parse_manifest(raw_path: str, prefix: str) -> InfoRequest | None:
    """The image whose manifest a path asks for. Only with a version: an origin may well have
    manifests of its own below the prefix. Raises InvalidRequest."""
    if not raw_path.endswith(MANIFEST):
        return None
    found = parse(raw_path.removesuffix(MANIFEST) + "/info.json", prefix, 3)
    return found if isinstance(found, InfoRequest) and found.versioned else None


def identifier(raw: str) -> str:
    """An identifier from its place in a path, decoded exactly once.

    Raises InvalidRequest for what no source should ever see: control characters, `..`.
    """
    text = raw
    if "%" in raw or not raw.isascii():
        if _BROKEN_ESCAPE.search(raw):
            raise InvalidRequest("The identifier has an incomplete escape.")
        try:
            # WSGI hands bytes over as Latin-1.
            text = unquote_to_bytes(raw.encode("latin-1", "strict")).decode()
        except UnicodeError:
            raise InvalidRequest("The identifier is not UTF-8.") from None
    if not text:
        raise InvalidRequest("The identifier is missing.")
    if len(text) > LONGEST_IDENTIFIER:
        raise InvalidRequest("The identifier is too long.")
    if _CONTROL.search(text):
        raise InvalidRequest("The identifier has a control character.")
    if "." in text and ("." in text.split("/") or ".." in text.replace("\\", "/").split("/")):
        raise InvalidRequest("The identifier must not climb folders.")
    return text


def encode(identifier: str) -> str:
    """An identifier as one path segment; `identifier(encode(x))` is x (section 9)."""
    return quote(identifier, safe=_PLAIN)


def uri(base: str, prefix: str, request: ImageRequest | InfoRequest | BaseRequest) -> str:
    """The base URI of the image, with the version where the request had it. `base` as by peers."""
    version = f"/{request.api.NUMBER}" if request.versioned else ""
    return f"{base}{prefix}{version}/{encode(request.identifier)}"


def version_for(accept: str | None, default: int) -> int:
    """The version of an unversioned info.json: by the `profile` liked best in Accept."""
    best, version = 0.0, default
    for item in ranges(accept) if accept else ():
        for profile in item.profiles:
            if item.q > best and profile in _BY_CONTEXT:
                best, version = item.q, _BY_CONTEXT[profile]
    return version


def _tail(segments: list[str]) -> int:
    """How many segments at the end are not the identifier: 4 of an image, 1 of info.json, or 0."""
    count = len(segments)
    if count > 1 and _is_info(segments[-1]):
        return 1
    if count < 5:
        return 0
    # A lone 2 or 3 before the parameters is an identifier only if nothing else could be meant.
    least = 4 if count == 5 and segments[0] in _LEADING else 2
    return 4 if _likeness(segments[-4:]) >= least else 0


def _is_info(segment: str) -> bool:
    return _decoded(segment) == "info.json"


def _likeness(parameters: list[str]) -> int:
    """How many of four segments look like region, size, rotation and quality."""
    region, size, rotation, last = map(_decoded, parameters)
    word, dot, _ = last.partition(".")
    known = word in _QUALITY_WORDS
    like = (_REGION_LIKE.fullmatch(region), _SIZE_LIKE.fullmatch(size))
    shaped = sum(map(bool, like)) + bool(_ROTATION_LIKE.fullmatch(rotation)) + known
    # A quality with a format is unmistakable alone.
    return max(shaped, 2) if known and dot else shaped


def _decoded(segment: str) -> str:
    """A parameter; what is not UTF-8 fits no grammar afterwards."""
    return unquote(segment) if "%" in segment else segment
