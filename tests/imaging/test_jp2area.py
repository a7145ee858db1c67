"""Parts of JPEG 2000 are the parts of the whole, to the bit, and the rest is not decoded."""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image

from iiif_proxy.errors import OriginFailed
from iiif_proxy.iiif.model import Box
from iiif_proxy.imaging import jp2area
from iiif_proxy.imaging import routes as ways
from iiif_proxy.imaging.formats import opened
from iiif_proxy.imaging.openers import Jpeg2000
from iiif_proxy.imaging.reader import Reader, probe
from iiif_proxy.imaging.reading import Reading
from iiif_proxy.imaging.routes import Routes
from iiif_proxy.imaging.sessions import Sessions
from iiif_proxy.ranges import FileSource
from tests.imaging import profiles
from tests.imaging.drawn import image, numbers, photo, psnr, saved, stored

SOURCE = photo(307, 203, noise=2)
WIDTH, HEIGHT = 307, 203
BOXES = [
    (Box(0, 0, 64, 64), (64, 64)),
    (Box(128, 64, 64, 64), (32, 32)),
    (Box(256, 192, 51, 11), (26, 6)),
    (Box(256, 128, 51, 64), (13, 16)),
    (Box(51, 103, 100, 50), (39, 16)),
    (Box(300, 200, 7, 3), (7, 3)),
    (Box(30, 40, 25, 25), (60, 60)),
]
LOSSY: dict[str, Any] = {"irreversible": True, "quality_mode": "dB", "quality_layers": [40]}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "RGB": ("RGB", {}),
    "lossy": ("RGB", {**LOSSY, "mct": 1}),
    "tiles": ("RGB", {"tile_size": (100, 75)}),
    "codestream": ("RGB", {"no_jp2": True}),
    "gray": ("L", {}),
    "gray alpha": ("LA", {}),
    "alpha": ("RGBA", {"tile_size": (128, 128)}),
    "one resolution": ("RGB", {"num_resolutions": 1}),
}


def picture(mode: str) -> Image.Image:
    found = image(SOURCE)
    if "A" in mode:
        found.putalpha(image(photo(WIDTH, HEIGHT, seed=3)).convert("L"))
    return found.convert(mode)


def written(folder: Path, kind: str) -> Path:
    mode, options = KINDS[kind]
    return stored(folder, saved(picture(mode), "JPEG2000", **options))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int, int]]:
    """The areas that were decoded."""
    areas = []
    decoded = jp2area.decoded

    def seen(path: str, mode: str, boxed: bool, area: Any, halvings: int) -> Image.Image:
        areas.append(area)
        return decoded(path, mode, boxed, area, halvings)

    monkeypatch.setattr(jp2area, "decoded", seen)
    return areas


def test_the_library_is_here() -> None:
    assert jp2area.library() is not None


@pytest.mark.parametrize("kind", KINDS)
def test_parts_are_those_of_the_whole(
    tmp_path: Path, kind: str, asked: list[tuple[int, int, int, int]]
) -> None:
    path = written(tmp_path, kind)
    info = probe(path)
    for number, (box, size) in enumerate(BOXES, 1):
        part = Reader(path, info).read(box, *size)
        assert len(asked) == number
        left, top, right, bottom = asked[-1]
        assert (right - left) * (bottom - top) < WIDTH * HEIGHT / 2
        # A file in memory has no name to open it by: all of it is decoded.
        whole = Reader(lambda: io.BytesIO(path.read_bytes()), info).read(box, *size)
        assert len(asked) == number
        assert part.mode == whole.mode
        assert numpy.abs(numbers(part) - numbers(whole)).max() <= (size != (box.width, box.height))


def test_all_of_it_is_decoded_for_most_of_it(
    tmp_path: Path, asked: list[tuple[int, int, int, int]]
) -> None:
    path = written(tmp_path, "RGB")
    Reader(path, probe(path)).read(Box(5, 5, 250, 195), 250, 195)
    assert not asked


def test_profiles_count(tmp_path: Path, asked: list[tuple[int, int, int, int]]) -> None:
    plain = saved(image(SOURCE), "JPEG2000")
    at = plain.index(b"colr") - 4
    profile = profiles.rgb()
    box = (11 + len(profile)).to_bytes(4, "big") + b"colr\2\0\0" + profile
    data = bytearray(plain[:at] + box + plain[at + 15 :])
    header = plain.index(b"jp2h") - 4
    length = int.from_bytes(data[header : header + 4], "big") + len(box) - 15
    data[header : header + 4] = length.to_bytes(4, "big")
    path = stored(tmp_path, bytes(data))
    info = probe(path)
    part = Reader(path, info).read(Box(100, 50, 64, 64), 64, 64)
    assert len(asked) == 1
    whole = Reader(path, info).read(Box(0, 0, WIDTH, HEIGHT), WIDTH, HEIGHT)
    assert len(asked) == 1
    assert numpy.abs(numbers(part) - numbers(whole)[50:114, 100:164]).max() <= 1
    assert numpy.abs(numbers(part) - SOURCE[50:114, 100:164]).max() > 8


def in_ycc(data: bytes) -> bytes:
    """The same samples, said to be YCC."""
    at = data.index(b"colr") + 7
    return data[:at] + (18).to_bytes(4, "big") + data[at + 4 :]


@pytest.mark.parametrize("ycc", [False, True])
def test_what_is_not_plain_is_left_to_pillow(tmp_path: Path, ycc: bool) -> None:
    """Samples of 16 bits, or colours that are YCC."""
    import imagecodecs

    deep = imagecodecs.jpeg2k_encode(SOURCE.astype(numpy.uint16) * 257, level=0)
    data = in_ycc(saved(image(SOURCE), "JPEG2000")) if ycc else deep
    with opened(stored(tmp_path, data)) as found:
        assert isinstance(found, Jpeg2000)
        assert not found.by_parts


@pytest.mark.parametrize("kind", ["RGB", "tiles"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
def test_what_is_cut_off_is_refused(tmp_path: Path, kind: str, share: float) -> None:
    path = written(tmp_path, kind)
    info = probe(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(OriginFailed):
        Reader(path, info).read(Box(240, 130, 64, 64), 64, 64)


def test_damage_is_refused_or_an_image(tmp_path: Path) -> None:
    path = written(tmp_path, "tiles")
    info, data = probe(path), path.read_bytes()
    rng = numpy.random.default_rng(6)
    for _ in range(30):
        torn = bytearray(data)
        for at in rng.integers(80, len(data), 3):
            torn[at] = rng.integers(0, 256)
        path.write_bytes(bytes(torn))
        try:
            assert Reader(path, info).read(Box(150, 100, 64, 64), 64, 64).size == (64, 64)
        except OriginFailed:
            continue


class Held:
    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.read = FileSource(path).read


def test_a_large_one_needs_no_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its parts can be read; else it is decoded once for all tiles."""
    large = photo(1010, 1000, noise=0)
    data = saved(
        image(large), "JPEG2000", irreversible=True, quality_mode="dB", quality_layers=[50]
    )
    sessions = Sessions(tmp_path / "sessions", 1 << 30)
    box = Box(512, 512, 498, 488)
    costs = []

    def routes(path: Path) -> Routes:
        info = probe(path)
        return Routes("x", info, lambda _: Held(path), lambda: None, sessions, Reading())

    class Gate:
        @contextlib.contextmanager
        def enter(self, cost: int, timeout: float) -> Iterator[None]:
            costs.append(cost)
            yield

    plain = routes(stored(tmp_path, data))
    assert plain.wants_session(box, 498, 488, True)
    monkeypatch.setattr(ways, "SESSION_SLOW", 1_000_000)
    assert not plain.wants_session(box, 498, 488, True)
    assert psnr(plain.light(box, 498, 488, Gate(), 9), large[512:, 512:]) > 45
    assert costs[0] < 1010 * 1000
    assert routes(stored(tmp_path, in_ycc(data), "ycc")).wants_session(box, 498, 488, True)
