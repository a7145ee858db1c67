"""Addresses for templates: `iiif_proxy.urls_for(identifier)`."""

import os
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from iiif_proxy.access import reading
from iiif_proxy.access.reading import PolicyError
from iiif_proxy.iiif.model import Features
from iiif_proxy.iiif.presets import Preset, Presets
from iiif_proxy.iiif.urls import encode
from iiif_proxy.settings import SettingsError, load
from iiif_proxy.web.peers import Peers
from iiif_proxy.wiring import features_of, presets_of

# Smaller than this, any image can be written in any format.
DIRECT = 10_000
Environ = dict[str, Any]


class Urls(Mapping[str, str]):
    """Presets of one image by name; `id` is its base URI, `info`, `manifest` and `view` are others.

    No image is looked at for it, so it costs nothing in a list of hundreds. What any image answers
    as it is written is that address; for the rest it is `/-/preset/{name}/{id}`.
    """

    def __init__(
        self, own: str, version: int, identifier: str, presets: Presets, features: Features
    ) -> None:
        encoded = encode(identifier)
        self.id = f"{own}/{version}/{encoded}"
        self.info = f"{self.id}/info.json"
        self.manifest = f"{self.id}/manifest.json"
        self.view = f"{own}/-/view/{encoded}"
        self._presets = presets
        self._far = f"{own}/-/preset/{{}}/{encoded}"
        self._features = features

    def __getitem__(self, name: str) -> str:
        preset = self._presets.get(name)
        if preset is None:
            raise KeyError(name)
        if direct(preset, self._features):
            return f"{self.id}/{preset.written}"
        return self._far.format(name)

    def __iter__(self) -> Iterator[str]:
        return (preset.name for preset in self._presets)

    def __len__(self) -> int:
        return len(self._presets)


def direct(preset: Preset, features: Features) -> bool:
    """Whether every image answers the preset as it is written."""
    size = preset.scaled
    return (
        preset.region in {"full", "square"}
        and preset.shape is None
        and size.kind == "fit"
        and not size.enlarges
        and max(size.width, size.height) <= DIRECT
        and size.width * size.height <= features.max_pixels
        and not preset.turned.degrees % 90
    )


class Addresses:
    """Makes the addresses of one proxy."""

    def __init__(
        self,
        presets: Callable[[], Presets],
        features: Features,
        prefix: str,
        version: int,
        peers: Peers,
        base: str | None,
    ) -> None:
        self._presets = presets
        self._features = features
        self._prefix = prefix
        self._version = version
        self._peers = peers
        self._base = base or ""

    def of(self, identifier: str, environ: Environ | None = None) -> Urls:
        """`environ` is that of the request that is answered; without it addresses begin with the
        public base of the settings, or with a slash."""
        base = self._base if environ is None else self._peers.base(environ)
        own = base + self._prefix
        return Urls(own, self._version, identifier, self._presets(), self._features)


_used: list[Addresses] = []


def use(addresses: Addresses) -> None:
    """What `urls_for` speaks of from now on, in this process."""
    _used[:] = [addresses]


def urls_for(identifier: str, environ: Environ | None = None) -> Urls:
    return (_used[0] if _used else _of_the_environment()).of(identifier, environ)


@lru_cache(maxsize=1)
def _of_the_environment() -> Addresses:
    """Of a proxy in another process that has the same settings. Raises SettingsError."""
    settings = load(os.environ)
    presets = presets_of(settings)
    if settings.policy is not None:
        try:
            policy = reading.read(settings.policy, features_of(settings))
        except PolicyError as error:
            raise SettingsError(
                [f"IIIF_PROXY_POLICY: {fault}" for fault in error.faults]
            ) from error
        presets = presets.joined(policy.presets)
    peers = Peers(settings.trusted_proxies, settings.trusted_hops, settings.base_url)
    return Addresses(
        lambda: presets,
        features_of(settings),
        settings.prefix,
        settings.default_version,
        peers,
        settings.base_url,
    )
