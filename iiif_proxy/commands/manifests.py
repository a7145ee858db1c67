"""The images of ours in IIIF manifests and collections, of both Presentation versions."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from iiif_proxy.commands.inside import complain
from iiif_proxy.commands.options import Mistake
from iiif_proxy.errors import InvalidRequest
from iiif_proxy.iiif import urls
from iiif_proxy.values import is_url

MOST_BYTES = 64 << 20
MOST = 100_000
SERVICES = ("ImageService", "iiif:ImageService")


class Reading:
    """`foreign` are image services that are not below our prefix; `failed` counts documents."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._seen: set[str] = set()
        self.foreign: set[str] = set()
        self.failed = 0

    def identifiers(self, address: str) -> list[str]:
        """Of a URL or a file, in their order. Raises Mistake where it cannot be read at all."""
        found: dict[str, None] = {}
        try:
            for service in self._services(fetched(address), 0):
                name = self._identifier(service)
                if name is None:
                    self.foreign.add(service)
                else:
                    found[name] = None
        except (OSError, ValueError) as fault:
            raise Mistake(f"{address}: {fault}") from fault
        return list(found)

    def _identifier(self, service: str) -> str | None:
        """What stands after our prefix, wherever the public front puts that."""
        path = urlsplit(service).path
        at = path.find(self._prefix + "/")
        if at < 0:
            return None
        names = path[at + len(self._prefix) + 1 :].split("/")
        if len(names) > 1 and names[0] in {"2", "3"}:
            names = names[1:]
        try:
            return urls.identifier("/".join(names))
        except InvalidRequest:
            return None

    def _services(self, node: Any, depth: int) -> Iterator[str]:
        if isinstance(node, list):
            for part in node:
                yield from self._services(part, depth)
            return
        if not isinstance(node, dict):
            return
        kind = str(node.get("type") or node.get("@type") or "")
        name = node.get("id") or node.get("@id")
        about = f"{node.get('profile', '')} {node.get('@context', '')}"
        if isinstance(name, str) and (kind.startswith(SERVICES) or "/api/image/" in about):
            yield name.rstrip("/")
            return
        named = isinstance(name, str) and depth and kind.endswith(("Manifest", "Collection"))
        if named and not any(node.get(key) for key in ("items", "sequences", "manifests")):
            yield from self._linked(str(name))
            return
        for key, part in node.items():
            if key not in {"thumbnail", "logo", "provider", "seeAlso", "rendering"}:
                yield from self._services(part, depth + 1)

    def _linked(self, address: str) -> Iterator[str]:
        """A document that this one only names: one that cannot be read is left out, and told."""
        if address in self._seen or len(self._seen) >= MOST or not is_url(address):
            return
        self._seen.add(address)
        try:
            yield from self._services(fetched(address), 0)
        except (OSError, ValueError) as fault:
            self.failed += 1
            complain(f"{address}: {fault}")


def fetched(address: str) -> Any:
    """Raises OSError, ValueError."""
    if urlsplit(address).scheme in {"http", "https"}:
        request = Request(address, headers={"Accept": "application/ld+json, application/json"})
        with urlopen(request, timeout=30) as answer:
            raw = answer.read(MOST_BYTES + 1)
    else:
        raw = Path(address).read_bytes()
    if len(raw) > MOST_BYTES:
        raise ValueError("is larger than a manifest should be")
    return json.loads(raw)
