"""Why an address is answered as it is: how it was read, what refused it, what to write instead."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from iiif_proxy.access.control import Access, Open
from iiif_proxy.errors import InvalidRequest, ProxyError
from iiif_proxy.iiif import urls
from iiif_proxy.iiif.model import Box, ImageInfo
from iiif_proxy.iiif.params import Region, Rotation, largest
from iiif_proxy.iiif.plan import KNOWN_FORMATS, Api, BaseRequest, ImageRequest, InfoRequest
from iiif_proxy.service import ImageService

Environ = dict[str, Any]
Request = ImageRequest | InfoRequest | BaseRequest
# Words that are meant well, and what they are called here.
MEANT = {
    "native": "default", "grey": "gray", "colour": "color", "bw": "bitonal", "jpeg": "jpg",
    "tiff": "tif", "jpe": "jpg",
}  # fmt: skip
SECTIONS = {"region": "4.1", "size": "4.2", "rotation": "4.3", "quality": "4.4", "format": "4.5"}
PAGES = {
    2: "https://iiif.io/api/image/2.1/#{}",
    3: "https://iiif.io/api/image/3.0/#{}",
}


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an address: as it was written, what it means, or why it means nothing."""

    name: str
    written: str
    means: str
    fault: bool = False


@dataclass(slots=True)
class Explanation:
    """`status` is what the address is answered with; `instead` a path that would do."""

    path: str
    status: int = 200
    verdict: str = "This address is answered."
    rule: str | None = None
    rule_url: str | None = None
    instead: str | None = None
    parts: list[Part] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)

    def refused(self, error: ProxyError) -> None:
        self.status, self.verdict = error.status, error.public

    def against(self, name: str, api: Api) -> None:
        """The rule, by the name of the parameter."""
        self.rule = f"Image API {api.NUMBER}, section {SECTIONS[name]} ({name})"
        self.rule_url = PAGES[api.NUMBER].format(name)


class Explainer:
    """Explains paths below a prefix, by asking the service what it would do.

    `access`: who asks learns no more than the address itself would tell; without, everything.
    """

    def __init__(
        self,
        service: ImageService,
        prefix: str,
        default_version: int,
        access: Access | None = None,
    ) -> None:
        self._service = service
        self._access = access or Open(service.limits, service.features)
        self._prefix = prefix
        self._default = default_version

    def explain(self, path: str, environ: Environ) -> Explanation:
        """`path` still percent-encoded. The source is asked for, as for an info.json."""
        found = Explanation(path)
        try:
            request = urls.parse(path, self._prefix, self._default)
        except InvalidRequest as error:
            found.refused(error)
            self._by_parts(found)
            return found
        if request is None:
            found.verdict = "This is no IIIF address: it is passed through to the origin as it is."
            found.facts["Kind"] = "passed through"
            return found
        found.facts["Kind"] = KINDS[type(request)]
        found.facts["Version"] = f"{request.api.NUMBER}" + (
            "" if request.versioned else " (none in the address: the default)"
        )
        found.parts.append(Part("identifier", urls.encode(request.identifier), request.identifier))
        if isinstance(request, ImageRequest):
            self._by_parts(found, identifier=False)
        try:
            self._ask(found, request, environ)
        except ProxyError as error:
            found.refused(error)
        return found

    def _by_parts(self, found: Explanation, identifier: bool = True) -> None:
        """Each parameter by itself, so that all faults show; a path that has none of them."""
        segments = found.path[len(self._prefix) :].split("/")
        if len(segments) < 6:
            self._name(found, segments)
            return
        *before, region, size, rotation, last = segments
        number = int(before[1]) if before[1] in {"2", "3"} and len(before) > 2 else self._default
        api = urls.VERSIONS[number]
        quality, _, format = unquote(last).partition(".")
        if identifier:
            self._name(found, before)
        reads: list[tuple[str, str, Callable[[str], object]]] = [
            ("region", unquote(region), Region.parse),
            ("size", unquote(size), api.parse_size),
            ("rotation", unquote(rotation), Rotation.parse),
            ("quality", quality, api.parse_quality),
            ("format", format, self._format),
        ]
        better = []
        for name, written, read in reads:
            try:
                read(written)
                found.parts.append(Part(name, written, MEANINGS[name]))
                better.append(written)
            except ProxyError as error:
                found.parts.append(Part(name, written, error.public, fault=True))
                better.append(advice(name, written, api))
                if found.rule is None:
                    found.against(name, api)
        faulty = {part.name for part in found.parts if part.fault}
        if faulty and "identifier" not in faulty:
            head = "/".join([self._prefix.rstrip("/"), *before[1:]])
            found.instead = f"{head}/{'/'.join(better[:3])}/{better[3]}.{better[4]}"

    def _name(self, found: Explanation, segments: list[str]) -> None:
        names = segments[2:] if len(segments) > 2 and segments[1] in {"2", "3"} else segments[1:]
        raw = "/".join(names)
        try:
            found.parts.append(Part("identifier", raw, urls.identifier(raw)))
        except InvalidRequest as error:
            found.parts.append(Part("identifier", raw, error.public, fault=True))

    def _format(self, text: str) -> str:
        if text in self._service.features.formats:
            return text
        if text in KNOWN_FORMATS:
            raise InvalidRequest(f"This server cannot write {text}.")
        raise InvalidRequest("The format is unknown.")

    def _ask(self, found: Explanation, request: Request, environ: Environ) -> None:
        """What the source says, and what the request comes to."""
        grant = self._access.grant(request.identifier, environ)
        source, info = self._service.info(request.identifier, environ)
        found.facts["Image"] = f"{info.width} × {info.height}, {info.format}"
        found.facts["Source"] = public(source.record.url)
        if not isinstance(request, ImageRequest):
            if isinstance(request, BaseRequest):
                found.status, found.verdict = 303, "This address leads to its info.json."
            return
        try:
            located = self._service.locate(request, environ, grant.limits)
            stored = self._service.has(located)
            self._access.may(grant, located.plan, info, lambda: stored)
        except ProxyError as error:
            self._instead(found, request, info)
            raise error
        plan, box = located.plan, located.plan.box
        limits, features = self._service.limits, self._service.features
        found.facts["Canonical"] = request.api.canonical(plan, info, limits, features)
        found.facts["Region in pixels"] = f"{box.width} × {box.height} at {box.x}, {box.y}"
        found.facts["Result"] = f"{plan.width} × {plan.height} before turning, {plan.format}"
        found.facts["Price"] = f"up to {box.width * box.height:,} pixels to read".replace(",", " ")
        key = located.key
        found.facts["Cache key"] = f"{key.group}/{key.version}/{key.name}"
        entry = self._service.find(located)
        if entry is None:
            found.facts["Stored"] = "no: the next request makes it"
        else:
            found.facts["Stored"] = f"yes, {entry.size:,} bytes".replace(",", " ")
            entry.close()

    def _instead(self, found: Explanation, request: ImageRequest, info: ImageInfo) -> None:
        """The grammar is right, the image or a limit refused it: region first, then size."""
        head = "/".join(found.path.split("/")[:-4])
        region, size, rotation, last = found.path.split("/")[-4:]
        limits, features = self._service.limits, self._service.features
        try:
            box = request.region.resolve(info)
        except ProxyError:
            found.against("region", request.api)
            found.instead = f"{head}/full/{size}/{rotation}/{last}"
            return
        try:
            request.size.resolve(box, info, limits, features)
        except ProxyError:
            found.against("size", request.api)
            found.instead = f"{head}/{region}/{self._size(request, box)}/{rotation}/{last}"
            return
        if request.format not in features.formats:
            found.against("format", request.api)
            found.instead = f"{head}/{region}/{size}/{rotation}/{request.quality}.jpg"
        elif request.rotation.degrees % 90:
            found.against("rotation", request.api)
            found.instead = f"{head}/{region}/{size}/0/{last}"

    def _size(self, request: ImageRequest, box: Box) -> str:
        size, features = request.size, self._service.features
        larger = size.width > box.width or size.height > box.height
        if request.api.NUMBER == 3 and larger and features.upscaling and not size.enlarges:
            return f"^{size.width or ''},{size.height or ''}"
        width, height = largest(box, self._service.limits, False)
        if size.width and size.height:
            width, height = min(width, size.width), min(height, size.height)
            return f"!{width},{height}"
        return "max"


KINDS: dict[type, str] = {
    ImageRequest: "image", InfoRequest: "image information", BaseRequest: "base address",
}  # fmt: skip
MEANINGS = {
    "region": "which part of the image",
    "size": "to which size that part is scaled",
    "rotation": "degrees clockwise, mirrored first with !",
    "quality": "colours",
    "format": "file format",
}


def advice(name: str, written: str, api: Api) -> str:
    """What may have been meant; what always works, where that cannot be told."""
    text = written.strip().lower()
    text = MEANT.get(text, text)
    if name == "region":
        numbers = text.removeprefix("pct:").replace("-", "").split(",")
        text = ("pct:" if text.startswith("pct:") else "") + ",".join(numbers)
        return _first([text, ",".join(n.partition(".")[0] for n in numbers)], Region.parse, "full")
    if name == "size":
        plain = text.removeprefix("^")
        both = plain.replace("x", ",")
        tries = ["max" if plain == "full" else plain, both, f"{plain},", plain.replace(".", "")]
        return _first(tries, api.parse_size, "max")
    if name == "rotation":
        try:
            return f"{float(text.removeprefix('!')) % 360:g}"
        except ValueError:
            return "0"
    if name == "quality":
        return _first([text], api.parse_quality, "default")
    return text if text in KNOWN_FORMATS & {"jpg", "png", "tif", "gif", "webp"} else "jpg"


def _first(tries: list[str], read: Callable[[str], object], otherwise: str) -> str:
    for text in tries:
        try:
            read(text)
        except ProxyError:
            continue
        return text
    return otherwise


def public(url: str) -> str:
    """Where a source is, without what strangers need not know: host, folder, query."""
    parts = urlsplit(url)
    if parts.scheme in {"http", "https"}:
        return f"{parts.scheme}: {parts.path}"
    if parts.scheme == "app":
        return f"app: {parts.path}"
    return "file: " + parts.path.rpartition("/")[2]
