"""The header of a WebP: Pillow has none to read, it takes the whole file and a canvas at once."""

from dataclasses import dataclass
from typing import IO

_EXIF, _ALPHA = 0x08, 0x10


@dataclass(frozen=True, slots=True)
class Header:
    """Stored size; `alpha` as the header says; `exif` is the EXIF block, b"" if there is none.

    `complete` is False when the file ends before its EXIF block, which stands behind the pixels.
    """

    width: int
    height: int
    alpha: bool
    exif: bytes
    complete: bool


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
        return Header(width, height, False, b"", True)
    if kind == b"VP8L" and head[20] == 0x2F:
        bits = _number(head, 21, 4)
        alpha = bool(bits >> 28 & 1)
        return Header((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, alpha, b"", True)
    if kind == b"VP8X":
        flags = head[20]
        exif: bytes | None = b""
        if flags & _EXIF:
            exif = _find_exif(file, 20 + _number(head, 16, 4))
        width, height = _number(head, 24, 3) + 1, _number(head, 27, 3) + 1
        return Header(width, height, bool(flags & _ALPHA), exif or b"", exif is not None)
    raise SyntaxError("an unknown kind of WebP")


def _find_exif(file: IO[bytes], at: int) -> bytes | None:
    """The content of the EXIF chunk among those from `at` on; None if the file ends before it."""
    while True:
        file.seek(at + (at & 1))
        head = file.read(8)
        if len(head) < 8:
            return None
        size = _number(head, 4, 4)
        if head[:4] == b"EXIF":
            exif = file.read(size)
            return exif if len(exif) == size else None
        at = file.tell() + size


def _number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")
