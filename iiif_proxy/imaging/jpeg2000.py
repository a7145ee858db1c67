"""What Pillow does not say of a JPEG 2000: its colour profile and how far it can be reduced."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

_SIZ, _COD, _SOT = 0xFF51, 0xFF52, 0xFF90
_MAX_PROFILE = 16 << 20
_CODESTREAM = b"\xff\x4f\xff\x51"
_ICC_METHODS = (2, 3)
# EnumCS of sRGB and of gray (ISO/IEC 15444-1, I.5.3.3).
_RGB_AND_GRAY = (16, 17)
# Of a component: 8 bits without a sign, one sample for each pixel.
_PLAIN = b"\x07\x01\x01"


@dataclass(frozen=True, slots=True)
class Facts:
    """`halvings`: how often the codec can halve the image while decoding; 0 if that is not sure.

    `plain`: samples of 8 bits are all there is to it, one of each component for each pixel.
    `boxed`: it is a JP2 file, not a bare codestream.
    """

    halvings: int = 0
    plain: bool = False
    icc_profile: bytes | None = None
    boxed: bool = True


def read_facts(file: IO[bytes]) -> Facts:
    """From the start of the file; what cannot be found stays at its default."""
    file.seek(0)
    if file.read(4) == _CODESTREAM:
        return Facts(*_coded(file, 0), boxed=False)
    profile: bytes | None = None
    shown = False
    for kind, start, size in boxes(file, 0, None):
        if kind == b"jp2h":
            profile, shown = _colours(file, start, size)
        elif kind == b"jp2c":
            halvings, plain = _coded(file, start)
            return Facts(halvings, plain and shown, profile)
    return Facts(0, False, profile)


def boxes(file: IO[bytes], at: int, end: int | None) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start of the content, its size) of the boxes from `at` on."""
    while end is None or at + 8 <= end:
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return
        size, kind, begin = int.from_bytes(head[:4], "big"), head[4:8], 8
        if size == 1:
            size, begin = int.from_bytes(head[8:16], "big"), 16
        if size == 0:  # the last box, to the end of the file
            yield kind, at + begin, 0
            return
        if size < begin or size >= 1 << 62:
            return
        yield kind, at + begin, size - begin
        at += size


def _colours(file: IO[bytes], at: int, size: int) -> tuple[bytes | None, bool]:
    """The ICC profile, and whether samples are colours as they are: no YCC, no palette."""
    profile, shown = None, True
    for kind, start, length in boxes(file, at, at + size):
        if kind == b"pclr":
            shown = False
        if kind == b"colr" and 3 < length < _MAX_PROFILE:
            file.seek(start)
            box = file.read(length)
            if box[0] not in _ICC_METHODS:
                shown = shown and int.from_bytes(box[3:7], "big") in _RGB_AND_GRAY
            elif profile is None:
                profile = box[3:]
    return profile, shown


def _coded(file: IO[bytes], at: int) -> tuple[int, bool]:
    """`halvings` and `plain`, from the main header of the codestream.

    Neither if the image does not lie at the origin of its grid: reduced pixels lie elsewhere then.
    """
    plain = False
    file.seek(at)
    if file.read(2) != _CODESTREAM[:2]:
        return 0, False
    while True:
        head = file.read(4)
        marker, size = int.from_bytes(head[:2], "big"), int.from_bytes(head[2:], "big")
        if len(head) < 4 or size < 2 or marker == _SOT:
            return 0, False
        body = file.read(size - 2)
        if marker == _SIZ:
            if any(body[10:18]):
                return 0, False
            plain = body[36:] == _PLAIN * int.from_bytes(body[34:36], "big")
        if marker == _COD:
            return (body[5] if len(body) > 5 and body[5] <= 32 else 0), plain
