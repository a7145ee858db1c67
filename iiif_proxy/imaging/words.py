"""What a picture says of itself that goes on with it: how large it is, whose it is.

Read are EXIF, IPTC and XMP; nothing else of them is ever handed on, least of all where it was
taken. Written are EXIF and XMP (in a TIFF its tags).
"""

import io
import math
import re
import struct
from dataclasses import dataclass, replace
from html import escape
from typing import Any
from xml.etree import ElementTree

from PIL import Image

from iiif_proxy.errors import ProxyError
from iiif_proxy.iiif.model import ImageInfo, Plan
from iiif_proxy.imaging.jpegwalk import segment
from iiif_proxy.imaging.tifftags import Directory, Structure
from iiif_proxy.ranges import BlockCache, OfFile

ARTIST, COPYRIGHT = 0x013B, 0x8298
_RESOLUTION, _UNIT, _INCH, _CENTIMETRE = 282, 296, 2, 3
_ASCII = 2
_MOST_TEXT, _MOST_XMP = 1000, 1 << 20
# May be read by HTTP Range, each time that a header is read.
_MOST_TIFF = 1 << 16
# IPTC IIM 4.2: by-line and copyright notice of the application record.
_IPTC, _BY_LINE, _NOTICE = 0x0404, 80, 116
_TIFF_XMP, _TIFF_IPTC = 700, 33723
_LI = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}li"
_DC = "{http://purl.org/dc/elements/1.1/}"
_DPI = (1.0, 30000.0)


@dataclass(frozen=True, slots=True)
class Words:
    """`dpi`: pixels an inch, 0 if nobody knows; "" where nothing is said."""

    dpi: float = 0.0
    creator: str = ""
    rights: str = ""


SILENT = Words()


def said(plan: Plan, info: ImageInfo, rights: bool) -> Words:
    """For a derivative: its pixels are larger or smaller; the names only if they are wanted."""
    dpi = info.dpi * plan.width / plan.box.width
    return Words(dpi, info.creator if rights else "", info.rights if rights else "")


def heard(image: Image.Image) -> Words:
    """Of an image whose header is read."""
    info = image.info
    tags: Any = getattr(image, "tag_v2", None)
    dpi = _sane(info.get("dpi"))
    if tags is not None:
        # Pillow takes all text for Latin-1.
        names = (
            _text(str(tags.get(tag, "")).encode("latin-1", "replace"))
            for tag in (ARTIST, COPYRIGHT)
        )
        return _first(
            dpi, tuple(names), _of_iptc(tags.get(_TIFF_IPTC)), _of_xmp(tags.get(_TIFF_XMP))
        )
    photoshop = info.get("photoshop")
    iptc = photoshop.get(_IPTC) if isinstance(photoshop, dict) else None
    found = of_blocks(info.get("exif") or info.get("names"), info.get("xmp"), iptc)
    return replace(found, dpi=dpi) if dpi else found


def of_blocks(exif: Any, xmp: Any, iptc: Any = None) -> Words:
    """Of the blocks that a file has, as bytes; EXIF goes before IPTC, that before XMP."""
    found = _of_exif(exif)
    return _first(found.dpi, (found.creator, found.rights), _of_iptc(iptc), _of_xmp(xmp))


def of_tiff(directory: Directory) -> Words:
    """Of a page's own tags."""
    iptc, xmp = (directory.data(tag, _MOST_TIFF) for tag in (_TIFF_IPTC, _TIFF_XMP))
    found = _of_tags(directory)
    return _first(found.dpi, (found.creator, found.rights), _of_iptc(iptc), _of_xmp(xmp))


def _first(dpi: float, *said: tuple[str, ...]) -> Words:
    creator, rights = (next(filter(None, names), "") for names in zip(*said, strict=True))
    return Words(dpi, creator, rights)


def _sane(dpi: Any) -> float:
    try:
        value = float(dpi[0])
    except (TypeError, ValueError, IndexError, ZeroDivisionError):
        return 0.0
    return round(value, 3) if math.isfinite(value) and _DPI[0] < value <= _DPI[1] else 0.0


def _of_exif(exif: Any) -> Words:
    """(Pillow's own reader warns at every damaged tag.)"""
    if not isinstance(exif, bytes):
        return SILENT
    while exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    try:
        structure = Structure(BlockCache(OfFile(io.BytesIO(exif))))
        return _of_tags(structure.directory(structure.first))
    except ProxyError:
        return SILENT


def _of_tags(directory: Directory) -> Words:
    """Damaged ones say nothing, and harm nothing."""
    artist, notice = (directory.data(tag, 1 << 16) for tag in (ARTIST, COPYRIGHT))
    try:
        dpi = _dpi_of(directory)
    except ProxyError:
        dpi = 0.0
    return Words(dpi, _text(artist), _text(notice))


def _dpi_of(directory: Directory) -> float:
    value = directory.data(_RESOLUTION, 8) or b""
    order: Any = "little" if directory.order == "<" else "big"
    top, bottom = (int.from_bytes(value[at : at + 4], order) for at in (0, 4))
    unit = directory.number(_UNIT, _INCH)
    if not bottom or unit not in (_INCH, _CENTIMETRE):
        return 0.0
    return _sane((top / bottom * (2.54 if unit == _CENTIMETRE else 1),))


def _of_iptc(data: Any) -> tuple[str, str]:
    found: dict[int, str] = {}
    at = 0
    while isinstance(data, bytes) and at + 5 <= len(data) and data[at] == 0x1C:
        size = int.from_bytes(data[at + 3 : at + 5], "big")
        if data[at + 1] == 2 and size < 0x8000:
            found.setdefault(data[at + 2], _text(data[at + 5 : at + 5 + size]))
        at += 5 + size
    return found.get(_BY_LINE, ""), found.get(_NOTICE, "")


def _of_xmp(xmp: Any) -> tuple[str, str]:
    if not isinstance(xmp, bytes) or len(xmp) > _MOST_XMP or b"<!" in xmp or b"\0" in xmp:
        return "", ""
    start, end = xmp.find(b"<"), xmp.rfind(b">")
    try:
        root = ElementTree.fromstring(xmp[start : end + 1])
    except (ElementTree.ParseError, ValueError):
        return "", ""

    def parts(name: str) -> str:
        found = (item.text for tag in root.iter(_DC + name) for item in tag.iter(_LI))
        return _text("; ".join(dict.fromkeys(text.strip() for text in found if text)))

    return parts("creator"), parts("rights")


def _text(value: bytes | str | None) -> str:
    if isinstance(value, bytes):
        cut = value.split(b"\0")[0]
        try:
            value = cut.decode()
        except UnicodeDecodeError:
            value = cut.decode("latin-1")
    text = re.sub(r"[\x00-\x1f\x7f-\x9f\ufffe\uffff\ud800-\udfff]+", " ", value or "")
    return text.strip()[:_MOST_TEXT]


def exif(words: Words) -> bytes:
    """An EXIF block of the names, with its mark; b"" if there are none."""
    entries = [(ARTIST, words.creator), (COPYRIGHT, words.rights)]
    fields = [(tag, text.encode() + b"\0") for tag, text in entries if text]
    if not fields:
        return b""
    head, body = b"", b""
    behind = 8 + 2 + 12 * len(fields) + 4
    for tag, data in fields:
        here = len(data) <= 4
        place = data.ljust(4, b"\0") if here else struct.pack("<I", behind + len(body))
        head += struct.pack("<HHI", tag, _ASCII, len(data)) + place
        body += b"" if here else data + bytes(len(data) % 2)
    count = struct.pack("<H", len(fields))
    return b"Exif\0\0II*\0\x08\0\0\0" + count + head + bytes(4) + body


def xmp(words: Words) -> bytes:
    """A packet of the names; b"" if there are none."""
    creator = (
        f"<dc:creator><rdf:Seq><rdf:li>{escape(words.creator)}</rdf:li></rdf:Seq></dc:creator>"
    )
    rights = (
        '<dc:rights><rdf:Alt><rdf:li xml:lang="x-default">'
        f"{escape(words.rights)}</rdf:li></rdf:Alt></dc:rights>"
    )
    said = (creator if words.creator else "") + (rights if words.rights else "")
    if not said:
        return b""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f"{said}</rdf:Description></rdf:RDF></x:xmpmeta>"
        '<?xpacket end="r"?>'
    ).encode()


def segments(words: Words) -> list[bytes]:
    """For `jpegwalk.picture`: a JPEG's own, of the names."""
    mark = b"http://ns.adobe.com/xap/1.0/\0"
    found = [exif(words), mark + xmp(words)] if words.creator or words.rights else []
    return [segment(0xE1, content) for content in found]


def resolution(dpi: float) -> bytes:
    """A JFIF header of a JPEG that says how large the picture is."""
    value = round(dpi).to_bytes(2, "big")
    return segment(0xE0, b"JFIF\0\x01\x01\x01" + value + value + b"\0\0")
