"""What a file is, by its first bytes."""

import re

# So many bytes tell every format here.
HEAD = 64

# The first column are beginnings; what is written small can be opened (formats.py says by whom).
_SIGNATURES = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    # Cameras' own kinds that call themselves TIFF, before that.
    (b"IIRO", "raw"),
    (b"IIRS", "raw"),
    (b"MMOR", "raw"),
    (b"IIU\0", "raw"),
    (b"FUJIFILMCCD-RAW", "raw"),
    (b"FOVb", "raw"),
    (b"\0MRM", "raw"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "jp2"),
    (b"\xff\x4f\xff\x51", "jp2"),
    (b"BM", "bmp"),
    *((b"P" + kind.encode(), "ppm") for kind in "123456f"),
    (b"%PDF-", "pdf"),
    (b"8BPS\0\x01", "psd"),
    (b"DDS ", "dds"),
    (b"SIMPLE  =", "fits"),
    (b"\x59\xa6\x6a\x95", "sun"),
    (b"\x01\xda", "sgi"),
    (b"DanM", "msp"),
    (b"LinS", "msp"),
    (b"qoif", "qoi"),
    (b"/* XPM */", "xpm"),
    (b"\0\0\x01\0", "ico"),
    # Known by name only, for the sentence that refuses them.
    (b"8BPS\0\x02", "large Photoshop (PSB)"),
    (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "PostScript"),
    (b"\xd7\xcd\xc6\x9a", "Windows metafile"),
    (b"\x01\0\0\0", "Windows metafile"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"AT&TFORM", "DjVu"),
    (b"<svg", "SVG"),
    (b"<?xml", "SVG or other XML"),
    (b"<!DOCTYPE html", "HTML"),
    (b"<html", "HTML"),
)
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}
_PCX = re.compile(rb"\x0a[\0\x02\x03\x05]\x01[\x01\x02\x04\x08]", re.DOTALL)
_XBM = re.compile(rb"\s*#define[ \t]+\S+_width[ \t]")
# Without any mark: kind of colour map, kind of picture, depth and flags must fit each other.
_TGA = re.compile(
    rb".(?:\0[\x02\x03\x0a\x0b].{5}|\x01[\x01\x09].{4}[\x10\x18\x20]).{4}"
    rb"(?!\0\0).{2}(?!\0\0).{2}[\x08\x0f\x10\x18\x20][\0-\x3f]",
    re.DOTALL,
)


def sniff(head: bytes) -> str | None:
    """The short name of the format that a file with these first bytes has; None: unknown."""
    for signature, name in _SIGNATURES:
        if head.startswith(signature):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:8] == b"ftyp":
        return _isobmff(head)
    for pattern, name in ((_PCX, "pcx"), (_XBM, "xbm"), (_TGA, "tga")):
        if pattern.match(head):
            return name
    return None


def _isobmff(head: bytes) -> str | None:
    size = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, size - 3, 4))}
    if brands & _AVIF_BRANDS:
        return "avif"
    if brands & _HEIF_BRANDS:
        return "heif"
    return "raw" if b"crx " in brands else None
