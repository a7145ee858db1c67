"""What several machines share, as the settings say: a store, Redis, a queue."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from iiif_proxy.cluster import Link, Silences
from iiif_proxy.concurrency import Circuits
from iiif_proxy.imaging.encode import FORMATS
from iiif_proxy.metrics import SHARED
from iiif_proxy.service import etag_of
from iiif_proxy.settings import Settings, SettingsError
from iiif_proxy.stores.base import Key, Store
from iiif_proxy.stores.bucket import Bucket
from iiif_proxy.stores.elsewhere import Elsewhere
from iiif_proxy.stores.shared import SharedStore
from iiif_proxy.telling import not_asked, origin_silent

log = logging.getLogger(__name__)
B = TypeVar("B")


def circuits_of(link: Link | None) -> Circuits:
    return Circuits(not_asked, origin_silent, Silences(link) if link else None)


def link_of(settings: Settings) -> Link | None:
    """The way to what machines share beside the bucket."""
    if settings.redis is None:
        return None
    try:
        return Link(settings.redis)
    except ImportError:
        fault = "needs more than is installed here: pip install 'iiif-proxy[cluster]'"
    except ValueError as cause:
        fault = f"does not do: {cause}"
    raise SettingsError([f"IIIF_PROXY_REDIS: {fault}"])


def requests_of(settings: Settings) -> Callable[[str], bool] | None:
    """Gives workers a request by its path, where they and this machine share what they make.

    (True if it is given.) Raises SettingsError.
    """
    if settings.expensive == "wait" or settings.broker is None or settings.cache_url is None:
        return None
    try:
        from iiif_proxy.engine import Requests, Unsent
    except ImportError:
        fault = "needs more than is installed here: pip install 'iiif-proxy[bulk]'"
        raise SettingsError([f"IIIF_PROXY_BROKER: {fault}"]) from None
    requests = Requests(settings.broker)

    def give(path: str) -> bool:
        try:
            requests.send(path)
        except Unsent as cause:
            log.warning("the queue does not answer, so it is made here: %s", cause)
            return False
        return True

    return give


def elsewhere_of(settings: Settings, derivatives: Store) -> Elsewhere | None:
    """Where visitors are sent for images, if at all."""
    said = settings.cache_redirect
    if said is None or not isinstance(derivatives, SharedStore):
        return None
    return Elsewhere(derivatives, None if said == "presign" else said)


def shared(settings: Settings, folder: Path | None, near: Store) -> Store:
    """The derivative store with the one of all machines behind it, if there is one."""
    if settings.cache_url is None:
        return near
    if folder is None:
        raise SettingsError(["IIIF_PROXY_CACHE_URL: needs IIIF_PROXY_CACHE_DIR as its near tier"])

    def attributes(key: Key) -> dict[str, str]:
        kind = FORMATS.get(key.name.rpartition(".")[2])
        return {
            "Content-Type": kind.media_type if kind else "application/octet-stream",
            "Cache-Control": f"max-age={int(settings.max_age)}",
            "etag": etag_of(key).strip('"'),
        }

    return SharedStore(
        near,
        bucket_of(settings.cache_url),
        folder / "owed",
        attributes,
        lambda outcome: SHARED.labels(outcome).inc(),
    )


def bucket_of(url: str) -> Bucket:
    return of_bucket("IIIF_PROXY_CACHE_URL", lambda: Bucket(url))


def of_bucket(variable: str, make: Callable[[], B]) -> B:
    """What obstore has a hand in. Raises SettingsError."""
    try:
        return make()
    except ImportError:
        fault = "needs more than is installed here: pip install 'iiif-proxy[s3]'"
    except Exception as cause:  # obstore's own, which need not be installed.
        fault = f"does not do: {cause}"
    raise SettingsError([f"{variable}: {fault}"])
