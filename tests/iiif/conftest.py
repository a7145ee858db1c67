"""Asking by URL: what every table here does with its rows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from iiif_proxy.errors import ProxyError
from iiif_proxy.iiif import urls
from iiif_proxy.iiif.model import Features, ImageInfo, Limits, Plan
from iiif_proxy.iiif.plan import ImageRequest, resolve

ALL_FORMATS = ("jpg", "png", "gif", "tif", "webp", "avif")
EVERY_FORMAT = Features(formats=ALL_FORMATS)
UNLIMITED = Limits()


@dataclass(frozen=True)
class Asker:
    """`/{version}/x/{tail}` against a source; a tail of two segments gets `/0/default.jpg`."""

    width: int = 300
    height: int = 200
    limits: Limits = UNLIMITED
    features: Features = EVERY_FORMAT
    gray: bool = False
    bilevel: bool = False

    @property
    def info(self) -> ImageInfo:
        return ImageInfo(self.width, self.height, "JPEG", gray=self.gray, bilevel=self.bilevel)

    def request(self, version: int, tail: str) -> ImageRequest:
        if tail.count("/") == 1:
            tail += "/0/default.jpg"
        request = urls.parse(f"/iiif/{version}/x/{tail}", "/iiif", 3)
        assert isinstance(request, ImageRequest)
        return request

    def plan(self, version: int, tail: str) -> Plan:
        return resolve(self.request(version, tail), self.info, self.limits, self.features)

    def status(self, version: int, tail: str) -> int:
        result = self.result(version, tail)
        return result if isinstance(result, int) else 200

    def result(self, version: int, tail: str) -> tuple[int, int] | int:
        """The size of the scaled region, or the status of the refusal."""
        try:
            plan = self.plan(version, tail)
        except ProxyError as error:
            return error.status
        return plan.width, plan.height

    def canonical(self, version: int, tail: str) -> str:
        api = urls.VERSIONS[version]
        return api.canonical(self.plan(version, tail), self.info, self.limits, self.features)


@pytest.fixture(scope="session")
def asker() -> Callable[..., Asker]:
    def make(width: int = 300, height: int = 200, **keywords: Any) -> Asker:
        upscaling = keywords.pop("upscaling", False)
        if upscaling:
            keywords["features"] = Features(formats=ALL_FORMATS, upscaling=True)
        return Asker(width, height, **keywords)

    return make
