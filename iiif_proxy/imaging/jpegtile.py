"""JPEG streams as TIFF keeps them: abbreviated, without tables, marks or a word about colour."""

from dataclasses import dataclass

from iiif_proxy.imaging.jpegbounds import Scans
from iiif_proxy.imaging.tifftags import broken

SOI, EOI = b"\xff\xd8", b"\xff\xd9"
# An APP0 that says: components are YCbCr (or gray), pixels are square.
_JFIF = b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
_SOF = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
# An APP14 that says: components are RGB.
_ADOBE_RGB = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"


@dataclass(frozen=True, slots=True)
class Frame:
    """What a stream says before its pixels: `sampling` is (horizontal, vertical) per component.

    `own_colour` is True if a JFIF or Adobe marker says how the colours are coded. `segments` are
    the tables and the frame as (marker, bytes); `scan` is where the first scan starts.
    """

    width: int
    height: int
    process: int
    bits: int
    sampling: tuple[tuple[int, int], ...]
    own_colour: bool
    segments: tuple[tuple[int, bytes], ...]
    scan: int


def parse_frame(stream: bytes) -> Frame:
    """The markers of a stream up to its first scan. OriginFailed if it is none."""
    if stream[:2] != SOI:
        raise broken("a tile that is no JPEG")
    at = 2
    frame: tuple[int, bytes] | None = None
    own_colour = False
    segments: list[tuple[int, bytes]] = []
    while at + 4 <= len(stream) and stream[at] == 0xFF:
        marker = stream[at + 1]
        if marker == 0xFF:  # fill bytes
            at += 1
            continue
        length = int.from_bytes(stream[at + 2 : at + 4], "big")
        if marker == 0xDA:
            break
        segment = stream[at : at + 2 + length]
        if marker in _SOF:
            if frame is not None:
                raise broken("a JPEG tile with two frames")
            frame = marker, segment
        own_colour |= marker == 0xE0 and segment[4:8] == b"JFIF"
        own_colour |= marker == 0xEE and segment[4:9] == b"Adobe"
        segments.append((marker, segment))
        at += 2 + length
    else:
        raise broken("a JPEG tile without pixels")
    if frame is None or len(frame[1]) < 10 or len(frame[1]) < 10 + 3 * frame[1][9]:
        raise broken("a JPEG tile without a frame")
    process, head = frame
    if process not in (0xC0, 0xC1) or stream[at + 4 : at + 5] != head[9:10]:
        _check_scans(stream, at)
    return Frame(
        width=int.from_bytes(head[7:9], "big"),
        height=int.from_bytes(head[5:7], "big"),
        process=process,
        bits=head[4],
        sampling=tuple((head[11 + 3 * i] >> 4, head[11 + 3 * i] & 15) for i in range(head[9])),
        own_colour=own_colour,
        segments=tuple(segments),
        scan=at,
    )


def _check_scans(stream: bytes, at: int) -> None:
    """OriginFailed for far too many scans, of which the first is there."""
    try:
        Scans(at + 2).see(0, stream)
    except SyntaxError as cause:
        raise broken(str(cause)) from cause


def complete(tables: bytes, stream: bytes) -> bytes:
    """The stream with its tables: what any JPEG decoder reads."""
    if stream[:2] != SOI:
        raise broken("a tile that is no JPEG")
    return SOI + tables + stream[2:] if tables else stream


def standalone(tables: bytes, stream: bytes, frame: Frame, rgb: bool) -> bytes:
    """The stream as a file of its own: with its tables, and a word about colour if it has none."""
    if frame.own_colour:
        return complete(tables, stream)
    return SOI + (_ADOBE_RGB if rgb else _JFIF) + tables + stream[2:]
