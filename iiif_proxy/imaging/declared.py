"""Colours that a file declares without an ICC profile: PNG chunks, AVIF's numbers, EXIF's word."""

import functools
from typing import IO, Any

from PIL import Image
from PIL.AvifImagePlugin import AvifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from iiif_proxy.imaging import icc
from iiif_proxy.imaging.icc import ADOBE_RGB, BT2020, DISPLAY_P3, SRGB, Curve, Primaries
from iiif_proxy.imaging.jpeg2000 import boxes

# Code points of ITU-T H.273, as cICP and nclx have them. (PQ and HLG are not here: what is made
# for brighter screens than any browser assumes cannot be shown right by a change of profile.)
_PRIMARIES = {1: SRGB, 9: BT2020, 12: DISPLAY_P3}
_CURVES = {
    1: icc.BT709_CURVE,
    4: Curve(2.2),
    5: Curve(2.8),
    6: icc.BT709_CURVE,
    8: Curve(1.0),
    13: icc.SRGB_CURVE,
    14: icc.BT709_CURVE,
    15: icc.BT709_CURVE,
}
# Everybody who wrote 0.45455 without a word about primaries meant sRGB; so does libpng take it.
_USUAL_GAMMA, _NEAR = 0.45455, 0.05
_MOST_CHUNKS = 1000
_MOST_BOXES = 64 << 10
_EXIF_IFD, _INTEROP_IFD, _COLOUR_SPACE, _INTEROP_INDEX = 0x8769, 0xA005, 0xA001, 0x0001


def profile_of(image: Image.Image) -> bytes | None:
    """The colour profile of an image whose header is read, embedded or declared; None: sRGB.

    PNG's order: cICP, iCCP, sRGB, cHRM and gAMA (PNG 3, 4.3). AVIF without ICC: its nclx. JPEG
    without ICC: Adobe RGB if its EXIF says so (DCF's optional colour space).
    """
    embedded = image.info.get("icc_profile")
    if isinstance(image, PngImageFile):
        return _coded(_cicp(image)) or embedded or _png(image)
    if embedded:
        return bytes(embedded)
    if "nclx" in image.info:  # HEIF
        return _coded(image.info["nclx"])
    if isinstance(image, AvifImageFile) and image.fp is not None:
        return _coded(_nclx(image.fp))
    if isinstance(image, JpegImageFile) and image.mode == "RGB":
        exif = image.info.get("exif")
        if isinstance(exif, bytes) and _says_adobe_rgb(exif):
            return _made(ADOBE_RGB, Curve(563 / 256))
    return None


@functools.lru_cache(64)
def _made(primaries: Primaries | None, curve: Curve) -> bytes | None:
    """`primaries` None: of gray. None for numbers that are nonsense."""
    try:
        return icc.gray(curve) if primaries is None else icc.rgb(primaries, curve)
    except ValueError:
        return None


def _coded(code: bytes) -> bytes | None:
    """Primaries, transfer, matrix (done by the decoder or 0), full range: H.273's numbers."""
    if len(code) < 2 or code[0] not in _PRIMARIES or code[1] not in _CURVES:
        return None
    return _made(_PRIMARIES[code[0]], _CURVES[code[1]])


def _png(image: PngImageFile) -> bytes | None:
    if "srgb" in image.info:
        return None
    gamma, places = image.info.get("gamma"), image.info.get("chromaticity")
    primaries = SRGB
    if isinstance(places, tuple) and len(places) == 8:
        white, red, green, blue = zip(places[0::2], places[1::2], strict=True)
        primaries = (red, green, blue, white)
    same = all(
        abs(a - b) < 0.005
        for one, two in zip(primaries, SRGB, strict=True)
        for a, b in zip(one, two, strict=True)
    )
    usual = not gamma or (same and abs(gamma / _USUAL_GAMMA - 1) < _NEAR)
    if usual and same:
        return None
    curve = Curve(1 / gamma) if gamma and not usual else icc.SRGB_CURVE
    gray = image.mode in ("1", "L", "LA") or image.mode.startswith("I")
    return _made(None if gray else primaries, curve)


def _cicp(image: PngImageFile) -> bytes:
    """The content of the chunk of that name, before the pixels; b"" if there is none."""
    file = image.fp
    if file is None:
        return b""
    at = file.tell()
    try:
        where = 8
        for _ in range(_MOST_CHUNKS):
            file.seek(where)
            head = file.read(8)
            size, kind = int.from_bytes(head[:4], "big"), head[4:]
            if len(head) < 8 or kind in (b"IDAT", b"IEND"):
                return b""
            if kind == b"cICP":
                return file.read(4) if size == 4 else b""
            where += 12 + size
        return b""
    finally:
        file.seek(at)


def _nclx(file: IO[bytes]) -> bytes:
    """Primaries and transfer of the first nclx among an AVIF's properties."""
    at = file.tell()
    try:
        for kind, start, size in boxes(file, 0, _MOST_BOXES):
            if kind == b"meta":
                return _nclx_within(file, start + 4, start + size)
        return b""
    finally:
        file.seek(at)


def _nclx_within(file: IO[bytes], at: int, end: int) -> bytes:
    for kind, start, size in boxes(file, at, end):
        if kind in (b"iprp", b"ipco"):
            return _nclx_within(file, start, start + size)
        if kind == b"colr" and size >= 10:
            file.seek(start)
            said = file.read(8)
            if said[:4] == b"nclx":
                return bytes((said[5], said[7]))
    return b""


def _says_adobe_rgb(exif: bytes) -> bool:
    """ColorSpace 2, or R03 as the index of interoperability (DCF 2.0, 4.5)."""
    while exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    orders: dict[bytes, Any] = {b"II*\0": "little", b"MM\0*": "big"}
    order = orders.get(exif[:4])
    if order is None:
        return False

    def number(at: int, size: int) -> int:
        return int.from_bytes(exif[at : at + size], order)

    def entry(directory: int, tag: int) -> int:
        """Where the value of a tag stands (or its offset); 0: nowhere."""
        for index in range(min(number(directory, 2), 512) if directory else 0):
            at = directory + 2 + 12 * index
            if number(at, 2) == tag and at + 12 <= len(exif):
                return at + 8
        return 0

    own = entry(number(4, 4), _EXIF_IFD)
    details = number(own, 4) if own else 0
    space = entry(details, _COLOUR_SPACE)
    if space and number(space, 2) == 2:
        return True
    inner = entry(details, _INTEROP_IFD)
    index = entry(number(inner, 4), _INTEROP_INDEX) if inner else 0
    return bool(index) and exif[index : index + 3] == b"R03"
