"""The header of a WebP: Pillow has none to read, it takes the whole file and a canvas at once."""

from dataclasses import dataclass
from typing import IO

# Of EXIF and XMP. Chunks are looked through so far: 64 MiB of empty ones took more than 25 s of
# processor time; an animation has one chunk per frame.
_MOST, _CHUNKS = 4 << 20, 20_000
_XMP, _EXIF, _ALPHA = 0x04, 0x08, 0x10


@dataclass(frozen=True, slots=True)
class Header:
    """Stored size; `alpha` as the header says; `exif` and `xmp` are b"" if there are none.

    Those stand behind the pixels: of a file that is cut off they are none, and too much was read
    for.
    """

    width: int
    height: int
    alpha: bool
    exif: bytes = b""
    xmp: bytes = b""


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
        return Header(width, height, False)
    if kind == b"VP8L" and head[20] == 0x2F:
        bits = _number(head, 21, 4)
        alpha = bool(bits >> 28 & 1)
        return Header((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, alpha)
    if kind == b"VP8X":
        flags = head[20]
        wanted = {b"EXIF": flags & _EXIF, b"XMP ": flags & _XMP}
        found = _behind(file, 20 + _number(head, 16, 4), {kind for kind in wanted if wanted[kind]})
        width, height = _number(head, 24, 3) + 1, _number(head, 27, 3) + 1
        exif, xmp = (found.get(kind, b"") for kind in wanted)
        return Header(width, height, bool(flags & _ALPHA), exif, xmp)
    raise SyntaxError("an unknown kind of WebP")


def _behind(file: IO[bytes], at: int, wanted: set[bytes]) -> dict[bytes, bytes]:
    """The content of the chunks from `at` on that are wanted, if they are among the first."""
    found: dict[bytes, bytes] = {}
    for _ in range(_CHUNKS):
        if len(found) == len(wanted):
            break
        file.seek(at + (at & 1))
        head = file.read(8)
        if len(head) < 8:
            break
        kind, size = head[:4], _number(head, 4, 4)
        begin = file.tell()
        if kind in wanted:
            found.setdefault(kind, file.read(min(size, _MOST)))
        at = begin + size
    return found


def _number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")
