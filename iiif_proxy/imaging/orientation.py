"""EXIF orientation: read without warnings, applied to boxes before and to pixels after decoding."""

from typing import Any

from PIL import Image

from iiif_proxy.iiif.model import Box

TAG = 0x0112
UPRIGHT = 1
_T = Image.Transpose
# Orientation -> how the stored pixels are turned to be upright.
TURNS = {
    2: _T.FLIP_LEFT_RIGHT,
    3: _T.ROTATE_180,
    4: _T.FLIP_TOP_BOTTOM,
    5: _T.TRANSPOSE,
    6: _T.ROTATE_270,
    7: _T.TRANSVERSE,
    8: _T.ROTATE_90,
}
_ENTRY = 12
_SHORT, _LONG = 3, 4


def orientation_of(image: Image.Image) -> int:
    """1 to 8, of an image whose header is read; 1 where nothing valid is said.

    XMP does not count (no browser looks there), nor does a PNG's eXIf behind its pixels. Pillow
    reports `irot` and `imir` of an AVIF as its EXIF orientation, instead of EXIF's own word.
    """
    tags: Any = getattr(image, "tag_v2", None)
    if tags is not None:
        said = tags.get(TAG, UPRIGHT)
        return said if said in TURNS else UPRIGHT
    exif = image.info.get("exif")
    return orientation_in(exif) if isinstance(exif, bytes) else UPRIGHT


def orientation_in(exif: bytes) -> int:
    """Orientation in an EXIF block: of its first directory only, and 1 if anything is odd.

    (Pillow's own reader warns on every damaged tag, into the log of whoever runs this.)
    """
    while exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    if exif[:4] not in (b"II*\0", b"MM\0*"):
        return UPRIGHT

    def number(at: int, size: int) -> int:
        return int.from_bytes(exif[at : at + size], "little" if exif[:1] == b"I" else "big")

    start = number(4, 4)
    for index in range(number(start, 2)):
        at = start + 2 + index * _ENTRY
        if at + _ENTRY > len(exif):
            break
        if number(at, 2) == TAG:
            kind = number(at + 2, 2)
            said = number(at + 8, 4 if kind == _LONG else 2)
            return said if kind in (_SHORT, _LONG) and said in TURNS else UPRIGHT
    return UPRIGHT


class Stored:
    """The geometry between upright and stored pixels; `width` and `height` are the stored ones."""

    def __init__(self, orientation: int, width: int, height: int) -> None:
        self.orientation, self.width, self.height = orientation, width, height

    @property
    def upright(self) -> tuple[int, int]:
        """The size of the upright image."""
        return self.size(self.width, self.height)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """An upright size as stored, or the other way round."""
        return (height, width) if self.orientation > 4 else (width, height)

    def box(self, box: Box) -> Box:
        """A region of the upright image in stored pixels."""
        x, y, w, h = box.x, box.y, box.width, box.height
        if self.orientation > 4:
            x, y, w, h = y, x, h, w
        # After the swap every turn is a mirror of x, of y, of both or of none.
        if self.orientation in (2, 3, 7, 8):
            x = self.width - x - w
        if self.orientation in (3, 4, 6, 7):
            y = self.height - y - h
        return Box(x, y, w, h)


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """Stored pixels, turned upright."""
    turn = TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)
