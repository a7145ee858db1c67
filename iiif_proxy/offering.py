"""Presets as addresses: `/-/presets`, `/-/preset/{name}/{id}`, what pages and info.json say."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from iiif_proxy.errors import NotFound, ProxyError
from iiif_proxy.iiif import urls
from iiif_proxy.iiif.model import Extras, ImageInfo, Plan
from iiif_proxy.iiif.plan import ImageRequest
from iiif_proxy.iiif.presets import Presets, described
from iiif_proxy.iiif.tiles import turned
from iiif_proxy.imaging.encode import FORMATS
from iiif_proxy.web import answers
from iiif_proxy.web.headers import Headers
from iiif_proxy.web.pages.presets import Shown

if TYPE_CHECKING:
    from iiif_proxy.access.control import Access
    from iiif_proxy.access.grant import Grant
    from iiif_proxy.service import ImageService
    from iiif_proxy.web.peers import Peers

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Answer = Callable[[ImageRequest, Environ, StartResponse], Iterable[bytes]]
Caching = Callable[[Any, "Grant", bool], Headers]
JSON = ("Content-Type", "application/json")


class Offering:
    """The presets of each image, as who asks may have them. `version` is that of the addresses;
    `caching` says from a source's record how an answer may be kept; `image` answers with an image
    instead of a redirect.
    """

    def __init__(
        self,
        presets: Callable[[], Presets],
        service: "ImageService",
        peers: "Peers",
        prefix: str,
        version: int,
        *,
        access: "Access",
        caching: Caching,
        image: Answer | None,
        place: str = "off",
    ) -> None:
        self._presets = presets
        self._service = service
        self._peers = peers
        self._prefix = prefix
        self._version = version
        self._access = access
        self._caching = caching
        self._image = image
        self._place = place

    # Below /-/

    def list(self, rest: str, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """`/-/presets`: all of them; `/-/presets/{id}`: what they are for one image."""
        own = f"{self._peers.base(environ)}{self._prefix}/-"
        if rest:
            name = urls.identifier(rest)
            grant = self._access.grant(name, environ)
            source, info = self._service.info(name, environ)
            uri = self._uri(environ, name)
            found = [document(shown) for shown in self.shown(name, info, environ, grant)]
            content = {"id": uri, "identifier": name, "presets": found}
            fields = [JSON, *self._caching(source.record, grant, grant.alike)]
        else:
            content = {
                "presets": [
                    {**described(preset), "url": f"{own}/preset/{preset.name}/{{id}}"}
                    for preset in self._presets()
                ]
            }
            fields = [JSON, ("Cache-Control", "no-cache")]
        return answers.document(environ, start_response, content, fields)

    def one(self, rest: str, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """`/-/preset/{name}/{id}`: 302 to the canonical address, or the image itself.

        302 and not 301 or 303: the image may have another size tomorrow, and a HEAD stays one.
        """
        name, _, raw = rest.partition("/")
        preset = self._presets().get(name)
        if preset is None:
            known = ", ".join(preset.name for preset in self._presets())
            there = f"there are {known}" if known else "none is set"
            raise NotFound(f"There is no preset of this name; {there}.")
        identifier = urls.identifier(raw)
        grant = self._access.grant(identifier, environ)
        source, info = self._service.info(identifier, environ)
        plan = preset.plan(info, grant.limits, self._service.features)
        tail = self._tail(plan, info, self._version)
        if self._image is not None:
            path = f"{self._prefix}/{self._version}/{urls.encode(identifier)}/{tail}"
            request = urls.parse(path, self._prefix, self._version)
            assert isinstance(request, ImageRequest)
            return self._image(request, environ, start_response)
        location = f"{self._uri(environ, identifier)}/{tail}"
        fields = self._caching(source.record, grant, grant.alike)
        return answers.found(location, fields, environ, start_response)

    # For others

    def shown(
        self,
        identifier: str,
        info: ImageInfo,
        environ: Environ,
        grant: "Grant",
        version: int | None = None,
    ) -> Sequence[Shown]:
        """The presets of an image that is known."""
        version = version or self._version
        base = self._uri(environ, identifier, version)
        own = f"{self._peers.base(environ)}{self._prefix}/-"
        encoded = urls.encode(identifier)
        plans = self._presets().plans(info, grant.limits, self._service.features)
        found = {}
        for preset in self._presets():
            plan = plans[preset.name]
            width, height = turned(plan.width, plan.height, plan.degrees)
            found[preset.name] = Shown(
                preset.name,
                preset.label,
                f"{base}/{self._tail(plan, info, version)}",
                f"{own}/preset/{preset.name}/{encoded}",
                FORMATS[plan.format].media_type,
                width,
                height,
            )
        same: dict[Any, set[tuple[int, str]]] = {}
        for name, plan in plans.items():
            one = found[name]
            same.setdefault(picture(plan), set()).add((one.width, one.url))
        return [
            dataclasses.replace(
                one, set=[(url, width) for width, url in sorted(same[picture(plans[name])])]
            )
            for name, one in found.items()
        ]

    def looked_up(self, encoded: str, environ: Environ) -> Sequence[Shown]:
        """Of an image by its place in a path; none for what is no image here."""
        if not self._presets():
            return []
        try:
            identifier = urls.identifier(encoded)
            grant = self._access.grant(identifier, environ)
            info = self._service.info(identifier, environ)[1]
            return self.shown(identifier, info, environ, grant)
        except ProxyError:
            return []

    def within(
        self,
        extras: Extras,
        identifier: str,
        info: ImageInfo,
        version: int,
        environ: Environ,
        grant: "Grant",
    ) -> Extras:
        """What info.json says besides, with the presets where the settings want them."""
        if self._place == "off" or not self._presets():
            return extras
        found = self.shown(identifier, info, environ, grant, version)
        if self._place == "seeAlso":
            return dataclasses.replace(
                extras, see_also=[*listed(extras.see_also), *map(see_also, found)]
            )
        own = f"{self._peers.base(environ)}{self._prefix}/-"
        service = service_of(f"{own}/presets/{urls.encode(identifier)}", found, version)
        return dataclasses.replace(extras, service=[*listed(extras.service), service])

    def _tail(self, plan: Plan, info: ImageInfo, version: int) -> str:
        service = self._service
        return urls.VERSIONS[version].canonical(plan, info, service.limits, service.features)

    def _uri(self, environ: Environ, identifier: str, version: int | None = None) -> str:
        base = self._peers.base(environ)
        return f"{base}{self._prefix}/{version or self._version}/{urls.encode(identifier)}"


def picture(plan: Plan) -> Any:
    """What two plans have in common that differ in nothing but size."""
    box, width, height = plan.box, plan.width, plan.height
    # Of the region's own shape, but for the rounding of a side; else by itself.
    plain = abs(width * box.height - height * box.width) <= max(box.width, box.height)
    shape = None if plain else (width, height)
    return box, shape, plan.mirror, plan.degrees, plan.quality, plan.format


def document(shown: Shown) -> dict[str, Any]:
    return {
        "name": shown.name,
        "label": shown.label,
        "url": shown.url,
        "preset": shown.address,
        "mediaType": shown.media_type,
        "width": shown.width,
        "height": shown.height,
        "html": shown.tag,
        "markdown": shown.markdown,
    }


def see_also(shown: Shown) -> dict[str, Any]:
    """Section 5.8 of 3.0."""
    return {
        "id": shown.url,
        "type": "Image",
        "format": shown.media_type,
        "label": {"none": [shown.label]},
    }


def service_of(address: str, presets: Sequence[Shown], version: int) -> dict[str, Any]:
    """A service of neither specification: its properties are its own."""
    profile = address.rpartition("/")[0]
    found = [
        {
            "name": shown.name,
            "label": shown.label,
            "url": shown.url,
            "mediaType": shown.media_type,
            "width": shown.width,
            "height": shown.height,
        }
        for shown in presets
    ]
    if version == 2:
        return {
            "@context": {"@vocab": f"{profile}#"},
            "@id": address,
            "profile": profile,
            "presets": found,
        }
    return {"id": address, "type": "Service", "profile": profile, "presets": found}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
