"""What requests and images cost a sidecar's processor, with an object store behind its disk."""

import tempfile
import time
from pathlib import Path

import obstore
from obstore.store import S3Store

from bench.capacity import Costs
from bench.client import Client
from bench.common import path_of
from bench.server import Sidecar, origin, sidecar
from iiif_proxy.iiif.model import Features, ImageInfo, Limits
from iiif_proxy.iiif.tiles import tile_boxes, tiling
from iiif_proxy.keeping import NAME as KEPT_LEVEL
from iiif_proxy.stores.sweep import cost
from tests.ahead.conftest import encoded, photograph

SIZE = 4000, 3000
PLACE = "s3://ready/perimage"
PATIENCE = 120.0


def costs_of(images: int, turns: int) -> Costs:
    """Of `images` JPEG of 12 megapixels (a drawn photograph), each tile asked for `turns` times."""
    info = ImageInfo(*SIZE, "jpeg")
    shape = tiling(info, Limits(), Features())
    tails = [
        path_of("", box, width, height)
        for factor in shape.scale_factors
        for box, width, height in tile_boxes(info, shape, factor)
    ]
    store = S3Store.from_url(PLACE, client_options={"allow_http": True})
    with tempfile.TemporaryDirectory() as folder, origin(Path(folder)) as behind:
        Path(folder, "a.jpg").write_bytes(encoded(photograph(SIZE)))
        bases = [f"/iiif/3/{n}%2Fa.jpg" for n in range(images)]
        settings: dict[str, object] = {"workers": 1, "cache_url": PLACE, "cache_size": "2GiB"}
        with sidecar(behind.port, **settings) as making, Client(making.port) as client:
            before = making.cpu()
            for n, base in enumerate(bases, 1):
                client.get(base + tails[0])
                kept = awaited(store, n, len(tails))
            image = (making.cpu() - before) / images
            hit = each(making, client, [base + tail for base in bases for tail in tails] * turns)
        settings |= {"write_ahead": "off", "predict": "off"}
        with sidecar(behind.port, **settings) as other, Client(other.port) as client:
            for base in bases:
                client.get(base + "/info.json")
            far = each(other, client, [base + tail for base in bases for tail in tails])
    tiles = [size for name, size in kept if not name.endswith(KEPT_LEVEL)]
    stored = sum(cost(size) for _, size in kept)
    return Costs(hit, far, image, len(kept) / images, stored / images, sum(tiles) / len(tiles))


def each(server: Sidecar, client: Client, paths: list[str]) -> float:
    before = server.cpu()
    for path in paths:
        if not client.get(path).hit:
            raise SystemExit(f"{path} was not there")
    return (server.cpu() - before) / len(paths)


def awaited(store: S3Store, images: int, tiles: int) -> list[tuple[str, int]]:
    """Names and sizes of what is in the store, once all tiles of so many images are, and of each
    the level that other sizes come from."""
    end = time.monotonic() + PATIENCE
    found: list[tuple[str, int]] = []
    while time.monotonic() < end:
        found = [(item["path"], item["size"]) for some in obstore.list(store) for item in some]
        levels = sum(name.endswith(KEPT_LEVEL) for name, _ in found)
        if levels >= images and len(found) - levels >= images * tiles:
            return found
        time.sleep(0.1)
    raise SystemExit(f"{len(found)} of {images * tiles} tiles were written in {PATIENCE:.0f} s")
