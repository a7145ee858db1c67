"""Directories of a TIFF that is read by parts: loaded once, known to every process."""

import io
import os

import numpy
import pytest
import tifffile

from iiif_proxy.imaging.tiff import Tiff
from iiif_proxy.ranges import FileSource, Span
from iiif_proxy.sources.remembered import MOST, Noting, Remembered
from tests.servers import Exchange, Origin
from tests.sources.conftest import Make, until
from tests.sources.test_ranges import File

DATA = os.urandom(200_000)


class Counted:
    """A ByteSource over DATA that says what it was asked."""

    size = len(DATA)

    def __init__(self) -> None:
        self.asked: list[Span] = []

    def read(self, offset: int, size: int) -> bytes:
        return self.read_many([(offset, size)])[0]

    def read_many(self, spans: list[Span]) -> list[bytes]:
        self.asked += spans
        return [DATA[offset : offset + size] for offset, size in spans]


def test_what_was_noted_is_answered_once_and_the_rest_is_asked() -> None:
    first = Counted()
    noting = Noting(first, DATA[:50])
    assert noting.read(1000, 100) == DATA[1000:1100]
    assert noting.read_many([(5000, 10), (6000, 10)]) == [DATA[5000:5010], DATA[6000:6010]]
    second = Counted()
    parts = Remembered.of(second, noting.end())
    assert (parts.size, parts.head) == (len(DATA), DATA[:50])
    spans = [(6000, 10), (7, 7), (1000, 90), (5000, 11)]
    assert parts.read_many(spans) == [DATA[at : at + size] for at, size in spans]
    assert second.asked == [(7, 7), (5000, 11)]
    assert parts.read(1000, 90) == DATA[1000:1090]
    assert second.asked[2:] == [(1000, 90)], "its reader keeps it: here it is given up"


def test_notes_are_bounded() -> None:
    noting = Noting(Counted(), b"")
    for _ in range(MOST // 100_000 + 3):
        noting.read(0, 100_000)
    assert len(noting.end()) <= MOST + 1000


@pytest.mark.parametrize("noted", [b"", b"[", b"[[0, 5]]\nabc", b"[[0, 5]]\nabcdefgh", b"[1]\nabc"])
def test_damaged_notes_are_refused(noted: bytes) -> None:
    with pytest.raises(ValueError):
        Remembered.of(Counted(), noted)


def pyramid() -> bytes:
    buffer = io.BytesIO()
    rng = numpy.random.default_rng(1)
    with tifffile.TiffWriter(buffer) as file:
        for side in (2048, 1024, 512):
            pixels = rng.integers(0, 255, (side, side, 3), numpy.uint8)
            file.write(pixels, tile=(256, 256), photometric="rgb", subfiletype=int(side < 2048))
    return buffer.getvalue()


@pytest.mark.parametrize("damage", [False, True])
def test_directories_are_loaded_once(origin: Origin, make: Make, damage: bool) -> None:
    data = pyramid()
    file = File(data, ETag='"1"')
    asked: list[str] = []

    def counted(exchange: Exchange) -> None:
        asked.append(exchange.request.target)
        file(exchange)

    origin.routes["/a.tif"] = counted
    here, elsewhere = make(), make()
    here.open("a.tif", {}, whole=True)
    record = elsewhere.open("a.tif", {}).record
    contents = elsewhere._contents
    until(lambda: contents.noted(record) is not None)
    if damage:
        contents.note(record, b"[1]\n")
        until(lambda: contents.noted(record) == b"[1]\n")
    before = len(asked)
    parts = elsewhere.ranges(record, {})
    assert parts is not None
    path = f"/proc/self/fd/{_memory(data)}"
    assert Tiff.open(parts, parts.head).info() == Tiff.open(FileSource(path)).info()
    assert (len(asked) > before) == damage


def _memory(data: bytes) -> int:
    descriptor = os.memfd_create("tiff")
    os.write(descriptor, data)
    return descriptor
