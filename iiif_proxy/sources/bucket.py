"""Sources in an object store: its signed URLs, asked for as every other URL is."""

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from cachetools import TTLCache

from iiif_proxy.errors import OriginFailed
from iiif_proxy.sources.base import (
    IN_PATH,
    REQUEST_ID,
    Answer,
    Conditions,
    Environ,
    refuse_dots,
)
from iiif_proxy.sources.http import Fetched, HttpSource

if TYPE_CHECKING:
    from obstore.store import AzureStore, GCSStore, S3Store

# Seconds. A URL is used for the first, and holds for the second: a read may begin late.
USED, HOLDS = 240, 900
# Bytes of a key: S3, Google and Azure take no more.
LONGEST = 1024
# What object stores make of these differs, and obstore takes none of them.
ODD = re.compile(r"[\x00-\x1f\x7f]|//|^/|/$")


class BucketSource(HttpSource):
    """`s3://bucket/folder/{id}`, `gs://…`, `az://container/…`: objects, whoever we are to them.

    obstore knows the endpoint and who we are, and signs (11 us by a key; a role of Google's or
    Azure's asks them first). Connections, deadlines, conditions, parts and circuits are those of
    HTTP; so is what the statuses mean. A URL that is signed is in no record and no log line.

    `connected(root)` makes the store of `s3://bucket`. Raises ImportError without obstore.
    """

    def __init__(
        self,
        template: str,
        connected: Callable[[str], Any],
        **options: Any,
    ) -> None:
        import obstore

        scheme, _, rest = template.partition("://")
        bucket, _, self._keys = rest.partition("/")
        self._root = f"{scheme}://{bucket}"
        self._obstore = obstore
        self._connected = connected
        # A URL that cannot be is a mistake of the start. Its host is known with the first
        # signature, which is not for the process that forks.
        self._store: AzureStore | GCSStore | S3Store = connected(self._root)
        super().__init__(template, **options)

    def _begin(self) -> None:
        self.host, self.port, self._place = "", 443, ("", None, None)
        self._trusted = frozenset()

    def after_fork(self) -> None:
        super().after_fork()
        self._signing = threading.Lock()
        self._signed: TTLCache[str, str] = TTLCache(10_000, USED)

    def url(self, identifier: str, environ: Environ) -> str:
        refuse_dots(identifier)
        return f"{self._root}/{quote(self._key(identifier), safe=IN_PATH)}"

    def ask(
        self, identifier: str, conditions: Conditions | None, environ: Environ
    ) -> Answer | None:
        refuse_dots(identifier)
        key = self._key(identifier)
        if not key or ODD.search(key) or len(key.encode()) > LONGEST:
            return None
        # What a visitor said of itself is not for the store: it knows our signature only.
        ours = {name: environ[name] for name in (REQUEST_ID,) if name in environ}
        return super().ask(identifier, conditions, ours)

    def fetch(self, url: str, headers: Mapping[str, str]) -> Fetched:
        got = super().fetch(self._sign(url), headers)
        return replace(got, url=url)

    def endpoint(self) -> str:
        """Where requests go: scheme, host and port. Raises OriginFailed where we are nobody."""
        parts = urlsplit(self._sign(f"{self._root}/iiif-proxy"))
        return f"{parts.scheme}://{parts.netloc}"

    def _key(self, identifier: str) -> str:
        return self._keys.replace("{id}", identifier)

    def _sign(self, url: str) -> str:
        with self._signing:
            signed = self._signed.get(url)
        if signed is not None:
            return signed
        key = unquote(url.removeprefix(self._root + "/"))
        try:
            made = self._obstore.sign(self._store, "GET", key, timedelta(seconds=HOLDS))
        except (self._obstore.exceptions.BaseError, OSError, ValueError, TypeError) as cause:
            raise OriginFailed(
                "The object store of this image does not know us.", f"{url}: {cause}"
            ) from cause
        with self._signing:
            if not self.host:
                self._reach(made)
            self._signed[url] = made
        return made

    def _told(self, text: str) -> str:
        return re.sub(r"\?\S*", "?…", text)
