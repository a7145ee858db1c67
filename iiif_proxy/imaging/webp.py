"""The header of a WebP: Pillow has none to read, it takes the whole file and a canvas at once."""

from dataclasses import dataclass
from typing import IO

_EXIF, _ALPHA = 0x08, 0x10
# Chunks looked through for EXIF, and the most that is read of it. 64 MiB of empty chunks took more
# than 25 s of processor time; an animation has one chunk per frame.
_CHUNKS = 20_000
_LONGEST_EXIF = 1 << 20


@dataclass(frozen=True, slots=True)
class Header:
    """Stored size; `alpha` as the header says; `exif` is the EXIF block, b"" if there is none.

    That stands behind the pixels: of a file that is cut off it is none, and too much was read for.
    """

    width: int
    height: int
    alpha: bool
    exif: bytes


def read_header(file: IO[bytes]) -> Header:
    """From the start of the file. SyntaxError if it is no WebP; EOFError if it ends too early."""
    head = file.read(30)
    kind = head[12:16]
    if len(head) < (25 if kind == b"VP8L" else 30):
        raise EOFError("the header is cut off")
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        raise SyntaxError("no WebP")
    if kind == b"VP8 " and head[23:26] == b"\x9d\x01\x2a":
        width, height = _number(head, 26, 2) & 0x3FFF, _number(head, 28, 2) & 0x3FFF
        return Header(width, height, False, b"")
    if kind == b"VP8L" and head[20] == 0x2F:
        bits = _number(head, 21, 4)
        alpha = bool(bits >> 28 & 1)
        return Header((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, alpha, b"")
    if kind == b"VP8X":
        flags = head[20]
        exif = _find_exif(file, 20 + _number(head, 16, 4)) if flags & _EXIF else b""
        width, height = _number(head, 24, 3) + 1, _number(head, 27, 3) + 1
        return Header(width, height, bool(flags & _ALPHA), exif)
    raise SyntaxError("an unknown kind of WebP")


def _find_exif(file: IO[bytes], at: int) -> bytes:
    """The content of the EXIF chunk among those from `at` on; b"" if it is not among the first."""
    for _ in range(_CHUNKS):
        file.seek(at + (at & 1))
        head = file.read(8)
        if len(head) < 8:
            return b""
        size = _number(head, 4, 4)
        if head[:4] == b"EXIF":
            return file.read(min(size, _LONGEST_EXIF))
        at = file.tell() + size
    return b""


def _number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")
