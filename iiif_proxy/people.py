"""From settings to what people see: health, pages, explanations. The rest of the parts list."""

import heapq
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from iiif_proxy.access.control import Access
from iiif_proxy.cluster import Away as Nobody
from iiif_proxy.cluster import Link
from iiif_proxy.explaining import Explainer
from iiif_proxy.health import Health
from iiif_proxy.iiif.urls import encode
from iiif_proxy.offering import Offering
from iiif_proxy.service import ImageService
from iiif_proxy.settings import Settings
from iiif_proxy.sharing import bucket_of, link_of
from iiif_proxy.stores.bucket import Away, Bucket
from iiif_proxy.values import BUCKETS
from iiif_proxy.web.own import Links, Own, Room
from iiif_proxy.web.pages.presets import menu
from iiif_proxy.web.peers import Peers
from iiif_proxy.wiring import bucket_source_of, features_of, records_size


def own_of(
    settings: Settings,
    peers: Peers,
    service: ImageService,
    offering: Offering,
    access: Access,
    auth: Room,
) -> Own:
    health = health_of(settings, access.health)
    return Own(
        settings.prefix,
        peers,
        Links(
            settings.openseadragon_url,
            settings.viewers,
            settings.annotations,
            settings.base_url,
            settings.frame_ancestors,
        ),
        health=health.report,
        codecs=health.codecs.facts,
        stores=health.stores,
        explain=Explainer(service, settings.prefix, settings.default_version, access).explain,
        recent=lambda: (
            [name for name in recent(settings.cache_dir) if access.is_open(name)]
            if settings.recent
            else []
        ),
        presets=lambda encoded, environ: menu(offering.looked_up(encoded, environ)),
        rooms={"presets": offering.list, "preset": offering.one, "auth": auth},
    )


def annotations_of(settings: Settings, identifier: str) -> str | None:
    """The URL of an image's annotation page."""
    found = settings.annotations
    return found.replace("{id}", encode(identifier)) if found else None


def recent(cache: Path | None, most: int = 24) -> list[str]:
    """Identifiers whose source was looked at last, newest first: their records are the newest."""
    if cache is None:
        return []
    try:
        with os.scandir(cache / "records") as found:
            folders = [(e.stat().st_mtime_ns, e.path) for e in found if e.name[0] != "."]
    except OSError:
        return []
    names: dict[str, None] = {}
    for _, folder in heapq.nlargest(most, folders):
        for path in Path(folder).glob("record/*.json"):
            with suppress(OSError, ValueError, KeyError, TypeError):
                names[str(json.loads(path.read_bytes())["identifier"])] = None
    return list(names)


def health_of(settings: Settings, policy: Callable[[], str | None] = lambda: None) -> Health:
    """What `/-/health?deep` looks at: every origin and folder that images come from, the cache."""
    origins: list[str | Callable[[], str]] = [settings.origin] if settings.origin else []
    folders = []
    buckets: dict[str, str] = {}
    for template in settings.source:
        scheme, _, rest = template.partition(":")
        if scheme == "file":
            folders.append(Path(rest.partition("{id}")[0].rpartition("/")[0] or "/"))
        elif scheme in BUCKETS:
            buckets.setdefault("/".join(template.split("/", 3)[:3]), template)
        elif scheme != "app":
            parts = urlsplit(template)
            base = f"{parts.scheme}://{parts.netloc}"
            if not any(isinstance(known, str) and known.startswith(base) for known in origins):
                origins.append(base)
    origins += [bucket_source_of(template).endpoint for template in buckets.values()]
    stores = {"derivatives": settings.cache_size, "sources": settings.source_cache_size}
    stores["records"] = records_size(settings)
    formats = features_of(settings).formats
    link = link_of(settings)
    return Health(
        origins,
        folders,
        settings.cache_dir,
        stores,
        formats,
        timeout=settings.connect_timeout,
        policy=policy if settings.policy else None,
        shared=asked(bucket_of(settings.cache_url)) if settings.cache_url else None,
        redis=answering(link) if link else None,
    )


def answering(link: Link) -> Callable[[], str | None]:
    def look() -> str | None:
        try:
            link.do(lambda redis: redis.ping())
        except Nobody as away:
            return str(away)
        return None

    return look


def asked(bucket: Bucket) -> Callable[[], str | None]:
    def look() -> str | None:
        try:
            bucket.look()
        except Away as away:
            return str(away)
        return None

    return look
