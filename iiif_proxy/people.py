"""From settings to what people see: health, pages, explanations. The rest of the parts list."""

from pathlib import Path
from urllib.parse import urlsplit

from iiif_proxy.explaining import Explainer
from iiif_proxy.health import Health
from iiif_proxy.service import ImageService
from iiif_proxy.settings import Settings
from iiif_proxy.web.own import Own
from iiif_proxy.web.peers import Peers
from iiif_proxy.wiring import features_of, records_size


def own_of(settings: Settings, peers: Peers, service: ImageService) -> Own:
    health = health_of(settings)
    return Own(
        settings.prefix,
        peers,
        settings.openseadragon_url,
        health=health.report,
        stores=health.stores,
        explain=Explainer(service, settings.prefix, settings.default_version).explain,
    )


def health_of(settings: Settings) -> Health:
    """What `/-/health?deep` looks at: every origin and folder that images come from, the cache."""
    origins = [settings.origin] if settings.origin else []
    folders = []
    for template in settings.source:
        scheme, _, rest = template.partition(":")
        if scheme == "file":
            folders.append(Path(rest.partition("{id}")[0].rpartition("/")[0] or "/"))
        elif scheme != "app":
            parts = urlsplit(template)
            base = f"{parts.scheme}://{parts.netloc}"
            if not any(known.startswith(base) for known in origins):
                origins.append(base)
    stores = {"derivatives": settings.cache_size, "sources": settings.source_cache_size}
    stores["records"] = records_size(settings)
    formats = features_of(settings).formats
    return Health(
        origins, folders, settings.cache_dir, stores, formats, timeout=settings.connect_timeout
    )
