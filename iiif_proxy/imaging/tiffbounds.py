"""Tiles of a TIFF in formats that say for themselves how large they are: not larger than said."""

import struct
from collections.abc import Iterable
from typing import IO

# Aperio's and the registered numbers of JPEG 2000; LERC (Esri).
JPEG2000 = frozenset({33003, 33004, 33005, 34712})
LERC = 34887
CODECS = JPEG2000 | {LERC}
_HEAD = 256


def sane(file: IO[bytes], compression: int, tile: tuple[int, int], places: Iterable[int]) -> bool:
    """Whether every tile (`places`: where they begin; 0 is an empty one) is as large as `tile`
    (width, height) at most, or as good as: what lies outside of the image may be there or not."""
    for place in places:
        if not place:
            continue
        file.seek(place)
        size = _size(file.read(_HEAD), compression)
        if size is None or size[0] > tile[0] or size[1] > tile[1]:
            return False
    return True


def _size(head: bytes, compression: int) -> tuple[int, int] | None:
    """Width and height; None if that cannot be told."""
    try:
        if compression == LERC:
            rows, columns = struct.unpack_from("<II", head, 14)
            return (columns, rows) if head.startswith(b"Lerc2 ") else None
        at = head.index(b"\xff\x4f\xff\x51")
        right, bottom, left, top = struct.unpack_from(">4I", head, at + 8)
        return right - left, bottom - top
    except (ValueError, struct.error):
        return None
