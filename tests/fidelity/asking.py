"""The whole proxy, asked for images of files in a folder; and libvips, asked for the same."""

import io
from pathlib import Path
from typing import Any

import numpy
from PIL import Image
from webob import Request

from iiif_proxy.proxy import IIIFProxy
from tests.fidelity.measure import Pixels


def nothing(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("404 Not Found", [("Content-Length", "0")])
    return []


class Asked:
    """`app` is an IIIFProxy in front of `folder`, without a cache."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.app = IIIFProxy(
            nothing, source=f"file:{folder}/{{id}}", **{"cache_dir": "", **settings}
        )

    def put(self, name: str, data: bytes) -> None:
        (self.folder / name).write_bytes(data)

    def bytes(self, target: str) -> bytes:
        answer = Request.blank(f"/iiif/3/{target}").get_response(self.app)
        assert answer.status_code == 200, (answer.status, answer.text[:200])
        return answer.body

    def image(self, target: str) -> Image.Image:
        found = Image.open(io.BytesIO(self.bytes(target)))
        found.load()
        return found

    def pixels(self, target: str) -> Pixels:
        """Numbers (h, w, channels) of an image answered, palettes and two colours resolved."""
        found = self.image(target)
        if found.mode == "P":
            found = found.convert("RGBA" if found.has_transparency_data else "RGB")
        if found.mode == "1":
            found = found.convert("L")
        return numpy.asarray(found)


def by_libvips(data: bytes, width: int, height: int) -> Pixels | None:
    """The image at that size as libvips' own thumbnailer makes it, in sRGB; None: it cannot."""
    import pyvips

    try:
        made = pyvips.Image.thumbnail_buffer(
            data, width, height=height, size="force", export_profile="srgb", intent="relative"
        )
        pixels = numpy.asarray(made.cast("uchar").numpy())
        return pixels if pixels.ndim == 2 else pixels[..., :4]
    except pyvips.Error:
        return None
