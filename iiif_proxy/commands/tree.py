"""A static IIIF tree: folders whose names are the segments of addresses."""

import json
import os
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import quote

from iiif_proxy.commands.inside import derived, nobody
from iiif_proxy.commands.working import Made
from iiif_proxy.errors import InvalidRequest
from iiif_proxy.iiif import urls
from iiif_proxy.iiif.model import Features, ImageInfo
from iiif_proxy.iiif.plan import ImageRequest
from iiif_proxy.iiif.tiles import sizes, tile_boxes, tiling
from iiif_proxy.proxy import IIIFProxy
from iiif_proxy.wiring import extras_of

STATE = ".fingerprint"
LONGEST = 255
# Only these survive of an info.json at level 0.
KEPT = (
    "@context", "id", "@id", "type", "protocol", "profile", "width", "height", "sizes", "tiles",
    "rights", "license", "attribution", "logo", "partOf", "seeAlso", "service",
)  # fmt: skip


class Tree:
    """`info.json` of an image comes last, so that nobody finds half a pyramid."""

    def __init__(self, proxy: IIIFProxy, folder: Path, base: str, version: int) -> None:
        self._proxy = proxy
        self._folder = folder
        self._base = base
        self._version = version
        self._same: set[str] = set()
        self._documents: list[tuple[Path, dict[str, Any], str]] = []

    def tasks(self, identifier: str) -> list[str]:
        """Paths below the folder, of every file but the info.json. Raises ProxyError."""
        service = self._proxy.service
        source, info = service.info(identifier, nobody())
        place = self._place(identifier)
        found = sizes(info, service.limits, service.features)
        addresses = [f"full/{self._size(w, h)}" for w, h in found]
        addresses.append("full/" + ("max" if self._version == 3 else "full"))
        tiles = tiling(info, service.limits, service.features)
        for factor in tiles.scale_factors:
            for box, width, height in tile_boxes(info, tiles, factor):
                if (box.width, box.height) == (info.width, info.height):
                    addresses.append(f"full/{self._size(width, height)}")
                # Some viewers write the numbers where others write `full`.
                region = f"{box.x},{box.y},{box.width},{box.height}"
                addresses.append(f"{region}/{self._size(width, height)}")
        state = source.record.fingerprint or source.record.bytes_id
        if _text(place / STATE) == state:
            self._same.add(identifier)
        place.mkdir(parents=True, exist_ok=True)
        (place / "info.json").unlink(missing_ok=True)
        self._documents.append((place, self._document(identifier, info), state))
        return [f"{identifier}\0{address}/0/default.jpg" for address in dict.fromkeys(addresses)]

    def make(self, task: str) -> Made:
        """Raises ProxyError, OSError."""
        identifier, _, address = task.partition("\0")
        path = self._place(identifier) / address
        if identifier in self._same and path.is_file():
            return False, path.stat().st_size
        settings = self._proxy.settings
        head = f"{settings.prefix}/{self._version}/{urls.encode(identifier)}"
        request = urls.parse(f"{head}/{address}", settings.prefix, settings.default_version)
        assert isinstance(request, ImageRequest)
        _, derivative = derived(self._proxy, request)
        with derivative.entry as entry:
            written(path, entry.read())
            return True, entry.size

    def finish(self) -> None:
        for place, document, state in self._documents:
            written(place / STATE, state.encode())
            body = json.dumps(document, ensure_ascii=False, indent=1).encode()
            written(place / "info.json", body)

    def _size(self, width: int, height: int) -> str:
        return f"{width},{height}" if self._version == 3 else f"{width},"

    def _place(self, identifier: str) -> Path:
        """Slashes are folders: a file server decodes %2F before it looks. Raises InvalidRequest."""
        parts = [part for part in identifier.split("/") if part]
        hidden = any(part.startswith(".") or "\\" in part or "\0" in part for part in parts)
        if not parts or hidden or any(len(os.fsencode(part)) > LONGEST for part in parts):
            raise InvalidRequest(f"{identifier!r} cannot be a folder's name.")
        return self._folder.joinpath(*parts)

    def _document(self, identifier: str, info: ImageInfo) -> dict[str, Any]:
        service = self._proxy.service
        parts = [part for part in identifier.split("/") if part]
        uri = f"{self._base}/{quote('/'.join(parts), safe='/!$&()*+,;=:~@')}"
        only = Features(
            formats=("jpg",),
            rotation_arbitrary=False,
            tile_size=service.features.tile_size,
            max_pixels=service.features.max_pixels,
        )
        whole = urls.VERSIONS[self._version].document(
            info, uri, service.limits, only, extras_of(self._proxy.settings)(identifier)
        )
        kept = {name: whole[name] for name in KEPT if name in whole}
        level = "http://iiif.io/api/image/2/level0.json"
        kept["profile"] = "level0" if self._version == 3 else [level]
        return kept


def written(path: Path, data: bytes) -> None:
    """Whole or not at all. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{token_hex(6)}.tmp")
    try:
        fresh.write_bytes(data)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def _text(path: Path) -> str | None:
    try:
        return path.read_text("utf-8")
    except OSError:
        return None
