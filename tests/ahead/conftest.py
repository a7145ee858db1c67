"""A proxy in this process before an origin on a socket: what it makes before it is asked."""

import io
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image

from iiif_proxy.iiif.model import Features, ImageInfo, Limits
from iiif_proxy.iiif.tiles import tile_boxes, tiling
from iiif_proxy.proxy import IIIFProxy
from tests.servers import Exchange, Origin, reply

SIZE = (1800, 1300)


def photograph(size: tuple[int, int] = SIZE, seed: int = 1) -> Image.Image:
    """Smooth shapes and a little grain: neither flat nor noise."""
    width, height = size
    rng = numpy.random.default_rng(seed)
    coarse = rng.integers(0, 255, (height // 60 + 2, width // 60 + 2, 3), numpy.uint8)
    smooth = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
    grain = rng.integers(-8, 8, (height, width, 1))
    return Image.fromarray((numpy.asarray(smooth) + grain).clip(0, 255).astype(numpy.uint8))


def encoded(image: Image.Image, name: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, name, **({"quality": 92} if name == "JPEG" else {}), **options)
    return file.getvalue()


def psnr(ours: Image.Image, theirs: Image.Image) -> float:
    assert ours.size == theirs.size
    difference = numpy.asarray(ours.convert("RGB"), float) - numpy.asarray(
        theirs.convert("RGB"), float
    )
    return float(10 * numpy.log10(255**2 / max(numpy.mean(difference**2), 1e-9)))


@dataclass
class Site:
    app: IIIFProxy
    cache: Path
    origin: Origin

    def ask(self, target: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers, body."""
        path = "/iiif/3/" + target
        environ = {
            "REQUEST_METHOD": "GET",
            "RAW_URI": path,
            "PATH_INFO": path,
            "SCRIPT_NAME": "",
            "QUERY_STRING": "",
            "HTTP_HOST": "here.example",
            "SERVER_NAME": "here",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(),
            "wsgi.errors": io.StringIO(),
        }
        said: dict[str, Any] = {}

        def start(status: str, headers: list[tuple[str, str]], _: Any = None) -> None:
            said.update(status=int(status[:3]), headers=dict(headers))

        body = self.app(environ, start)  # type: ignore[arg-type]  # a plain dict
        try:
            data = b"".join(body)
        finally:
            getattr(body, "close", lambda: None)()
        return said["status"], said["headers"], data

    def image(self, target: str) -> Image.Image:
        status, _, body = self.ask(target)
        assert status == 200, (status, body[:200])
        image = Image.open(io.BytesIO(body))
        image.load()
        return image

    def hit(self, target: str) -> bool:
        status, headers, body = self.ask(target)
        assert status == 200, (status, body[:200])
        return "; hit" in headers["Cache-Status"]

    def stored(self) -> set[str]:
        """The names of the derivatives that are stored."""
        return {path.name for path in (self.cache / "derivatives").glob("[!.]*/*/*")}

    def left(self) -> list[str]:
        """What must be nowhere when nothing is under way: drafts, bodies on their way."""
        drafts = [path for path in self.cache.rglob("*") if "tmp" in path.name]
        return [str(path) for path in [*drafts, *self.cache.glob("incoming/*")] if path.is_file()]


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin() as made:
        made.default = reply(404)
        yield made
        assert not made.failures


Make = Callable[..., Site]


@pytest.fixture
def make(origin: Origin, tmp_path: Path) -> Iterator[Make]:
    with ExitStack() as stack:

        def made(cache: Path | None = None, **settings: Any) -> Site:
            folder = cache or tmp_path / f"cache{len(list(tmp_path.iterdir()))}"
            app = IIIFProxy(environ={}, source=f"{origin.url}/{{id}}", cache_dir=folder, **settings)
            stack.callback(app.service._sessions.close)
            stack.callback(until, app.service._preparing._ahead.idle)
            return Site(app, folder, origin)

        yield made


def targets(size: tuple[int, int], name: str, side: int = 512) -> dict[str, tuple[int, Any]]:
    """Every canonical tile as a target; its factor and box."""
    info = ImageInfo(*size, format="jpeg")
    tiles = tiling(info, Limits(), Features())
    assert tiles.width == side
    return {
        f"{name}/{box.x},{box.y},{box.width},{box.height}/{width},{height}/0/default.jpg": (
            factor,
            box,
        )
        for factor in tiles.scale_factors
        for box, width, height in tile_boxes(info, tiles, factor)
    }


def serving(data: bytes, tag: str = '"1"', **more: str) -> Callable[[Exchange], None]:
    """A handler that gives a file whole, or by parts if `Accept_Ranges` is among the fields."""
    fields = [("ETag", tag), *((name.replace("_", "-"), value) for name, value in more.items())]

    def handler(exchange: Exchange) -> None:
        exchange.read()
        asked = exchange.request.all("Range")
        if not asked or "Accept_Ranges" not in more:
            return exchange.write(reply(fields=fields, body=data))
        start, end = map(int, asked[0].removeprefix("bytes=").split("-"))
        end = min(end, len(data) - 1)
        said = ("Content-Range", f"bytes {start}-{end}/{len(data)}")
        return exchange.write(reply("206 Part", [*fields, said], data[start : end + 1]))

    return handler


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
