"""A JPEG from marker to marker (ITU-T T.81, annex B): what is in it besides pixels, without those.

Nothing is decoded: what belongs to the picture is handed on byte for byte.
"""

import re
from collections.abc import Iterable, Iterator
from typing import IO

from iiif_proxy.imaging.jpegbounds import MOST_SCANS

_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
# Tables, and the frames that every decoder knows: baseline, extended, progressive; by Huffman.
_TABLES = {0xC4, 0xDB, 0xDD}
_FRAMES = {0xC0, 0xC1, 0xC2}
_JFIF, _ADOBE = b"JFIF\0", b"Adobe"
# Where a JFIF segment says what its resolution counts: 0, nothing; 1, an inch; 2, a centimetre.
_UNIT = 11
# In coded pixels FF is followed by 00, or by a restart marker.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_BLOCK = 256 * 1024
# Before the pixels; a profile may have 3 MB, a maker's note 10.
_MOST_SEGMENTS, _MOST_HEADER = 10_000, 64 << 20


class Unfit(Exception):
    """Never seen outside: this file must be decoded to be answered."""


def segment(marker: int, content: bytes) -> bytes:
    """One segment, with its marker and length. ValueError for more than 65533 bytes."""
    if len(content) > 65533:
        raise ValueError("a segment of a JPEG holds 65533 bytes")
    return bytes((0xFF, marker)) + (len(content) + 2).to_bytes(2, "big") + content


def picture(
    stream: IO[bytes], added: Iterable[bytes] = (), density: bytes = b""
) -> Iterator[bytes]:
    """A JPEG, from where the stream stands, without what is no picture: metadata, thumbnails,
    comments, profiles, what follows its end. `added` are segments to stand behind JFIF's header;
    `density` is such a header, for a file that has none, or one without a resolution.

    Kept are that header (its resolution, not its thumbnail) and Adobe's, which says what the
    colours are. Raises Unfit, also after the first blocks, for what is cut off, holds other than
    8 bits a sample, or is of an uncommon kind.
    """
    file = _Ahead(stream)
    if file.read(2) != bytes((0xFF, _SOI)):
        raise Unfit("no JPEG")
    yield bytes((0xFF, _SOI))
    waiting = list(added)
    framed, first, header, scans = False, True, 0, 0
    for _ in range(_MOST_SEGMENTS):
        marker, content = _segment(file)
        if marker == _EOI:
            break
        header += len(content)
        if header > _MOST_HEADER:
            raise Unfit("an endless header")
        kept = _kept(marker, content)
        jfif = marker == 0xE0 and bool(kept)
        if jfif and density and not kept[_UNIT]:
            kept = density
        if first and density and not jfif:
            yield density
        if waiting and not jfif:
            yield from waiting
            waiting = []
        first = False
        if kept:
            yield kept
        framed = framed or marker in _FRAMES
        if marker == _SOS:
            if not framed:
                raise Unfit("pixels before their frame")
            scans += 1
            if scans > MOST_SCANS:
                raise Unfit("far too many scans")
            yield from _coded(file)
    else:
        raise Unfit("far too many segments")
    if not framed:
        raise Unfit("no picture")
    yield bytes((0xFF, _EOI))


def _segment(file: "_Ahead") -> tuple[int, bytes]:
    lead = file.read(2)
    while len(lead) == 2 and lead == b"\xff\xff":  # fill bytes
        lead = b"\xff" + file.read(1)
    if len(lead) < 2 or lead[0] != 0xFF:
        raise Unfit("cut off, or no marker where one must be")
    marker = lead[1]
    if marker == _EOI:
        return marker, b""
    length = int.from_bytes(file.read(2), "big")
    content = file.read(max(0, length - 2))
    if length < 2 or len(content) < length - 2:
        raise Unfit("a segment that is cut off")
    return marker, content


def _kept(marker: int, content: bytes) -> bytes:
    """What of a segment goes on: all of it, a part, or nothing."""
    if marker in _TABLES or marker == _SOS:
        return segment(marker, content)
    if marker in _FRAMES:
        if len(content) < 6 or content[0] != 8 or not int.from_bytes(content[1:3], "big"):
            raise Unfit("no 8 bits a sample, or its height comes later")
        return segment(marker, content)
    if marker == 0xE0 and content.startswith(_JFIF) and len(content) >= 14:
        return segment(marker, content[:12] + b"\0\0")
    if marker == 0xEE and content.startswith(_ADOBE):
        return segment(marker, content)
    if 0xE0 <= marker <= 0xEF or marker == 0xFE:
        return b""
    raise Unfit(f"a segment {marker:02X}")


def _coded(file: "_Ahead") -> Iterator[bytes]:
    """The coded pixels of one scan; the file then stands at the marker behind them."""
    rest = b""
    while block := file.block():
        data = rest + block
        found = _MARKER.search(data)
        if found:
            yield data[: found.start()]
            file.unread(data[found.start() :])
            return
        # An FF at the end may be the beginning of a marker.
        keep = len(data) - 1 if data[-1] == 0xFF else len(data)
        yield data[:keep]
        rest = data[keep:]
    raise Unfit("cut off")


class _Ahead:
    """A stream, a pipe too, that takes back what was read too far."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._back = b""

    def read(self, size: int) -> bytes:
        """So many bytes; fewer only at the end."""
        while len(self._back) < size and (more := self._stream.read(_BLOCK)):
            self._back += more
        found, self._back = self._back[:size], self._back[size:]
        return found

    def block(self) -> bytes:
        """Some bytes; none at the end."""
        found, self._back = self._back, b""
        return found or self._stream.read(_BLOCK)

    def unread(self, data: bytes) -> None:
        self._back = data + self._back
