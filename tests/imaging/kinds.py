"""Files of every kind, made here: by Pillow where it writes them, else byte by byte."""

import io
import struct
from typing import Any

import numpy
import pillow_heif
import tifffile
from PIL import Image

from tests.imaging.drawn import Pixels, photo, saved

SOURCE = photo(96, 64, noise=0)


def bilevel(format: str, pixels: Pixels) -> bytes:
    return saved(
        Image.fromarray(pixels).convert("L").convert("1", dither=Image.Dither.NONE), format
    )


def psd(pixels: Pixels) -> bytes:
    """Photoshop's flattened picture, without layers."""
    height, width, _ = pixels.shape
    head = struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, height, width, 8, 3)
    return head + bytes(12) + b"\0\0" + pixels.transpose(2, 0, 1).tobytes()


def sun(pixels: Pixels) -> bytes:
    height, width, _ = pixels.shape
    head = struct.pack(">8I", 0x59A66A95, width, height, 24, pixels.size, 1, 0, 0)
    return head + pixels[..., ::-1].tobytes()


def fits(pixels: Pixels, name: str = "SIMPLE") -> bytes:
    """Gray, as astronomers have it: from below."""
    height, width = pixels.shape
    cards = [f"{name:8}= T", "BITPIX  = 8", "NAXIS   = 2"]
    cards += [f"NAXIS1  = {width}", f"NAXIS2  = {height}", "END"]
    head = "".join(card.ljust(80) for card in cards).ljust(2880).encode()
    data = pixels[::-1].tobytes()
    return head + data + bytes(-len(data) % 2880)


def xpm(pixels: Pixels) -> bytes:
    """Of 16 colours."""
    image = Image.fromarray(pixels).quantize(16, dither=Image.Dither.NONE)
    colours = image.getpalette()[:48]  # type: ignore[index]
    rows = numpy.asarray(image)
    lines = [f'"{image.width} {image.height} 16 1"']
    for i in range(16):
        r, g, b = [*colours[3 * i : 3 * i + 3], 0, 0, 0][:3]
        lines.append(f'"{chr(97 + i)} c #{r:02x}{g:02x}{b:02x}"')
    lines += ['"' + "".join(chr(97 + n) for n in row) + '"' for row in rows]
    return ("/* XPM */\nstatic char *x[] = {\n" + ",\n".join(lines) + "};\n").encode()


def heif(*pictures: Pixels, exif: bytes | None = None) -> bytes:
    """HEVC in HEIF; the first is the primary one. Orientation in EXIF becomes `irot` and `imir`
    as well."""
    found = pillow_heif.HeifFile()
    for pixels in pictures:
        added = found.add_from_pillow(Image.fromarray(pixels))
        if exif:
            added.info["exif"] = exif
    buffer = io.BytesIO()
    found.save(buffer, quality=95, chroma=444)
    return buffer.getvalue()


def dng(pixels: Pixels) -> bytes:
    """A negative of a camera whose filters are the primaries of sRGB, each pixel through one."""
    linear = numpy.where(
        pixels <= 10, pixels / 255 / 12.92, ((pixels / 255 + 0.055) / 1.055) ** 2.4
    )
    seen = numpy.zeros(pixels.shape[:2])
    for y, x, band in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        seen[y::2, x::2] = linear[y::2, x::2, band]
    matrix = (3.2406, -1.5372, -0.4986, -0.9689, 1.8758, 0.0415, 0.0557, -0.2040, 1.0570)
    extra: list[tuple[Any, ...]] = [
        (50706, "B", 4, (1, 4, 0, 0), True),
        (50707, "B", 4, (1, 1, 0, 0), True),
        (50708, "s", 0, "Test Camera", True),
        (33421, "H", 2, (2, 2), True),
        (33422, "B", 4, (0, 1, 1, 2), True),
        (50721, "2i", 9, tuple(n for v in matrix for n in (round(v * 10000), 10000)), True),
        (50728, "2I", 3, (1, 1) * 3, True),
        (50778, "H", 1, 21, True),
        (271, "s", 0, "Test", True),
        (272, "s", 0, "Camera", True),
    ]
    buffer = io.BytesIO()
    values = (seen * 65535).astype(numpy.uint16)
    tifffile.imwrite(buffer, values, photometric=32803, extratags=extra, metadata=None)
    return buffer.getvalue()


def tiff(pixels: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, metadata=None, **options)
    return buffer.getvalue()


def pdf(*pages: tuple[int, int, str], rotate: int = 0) -> bytes:
    """Pages of width, height in points, and what is drawn on them, in PDF's own words."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>"]
    kids = " ".join(f"{3 + 2 * i} 0 R" for i in range(len(pages)))
    objects.append(f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>")
    for i, (width, height, drawn) in enumerate(pages):
        box = f"/MediaBox [0 0 {width} {height}] /Rotate {rotate}"
        objects.append(f"<< /Type /Page /Parent 2 0 R {box} /Contents {4 + 2 * i} 0 R >>")
        objects.append(f"<< /Length {len(drawn)} >>\nstream\n{drawn}\nendstream")
    body, places = b"%PDF-1.4\n", []
    for number, text in enumerate(objects, 1):
        places.append(len(body))
        body += f"{number} 0 obj\n{text}\nendobj\n".encode()
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    end = f"xref\n0 {len(places) + 1}\n0000000000 65535 f \n{table}"
    end += f"trailer << /Size {len(places) + 1} /Root 1 0 R >>\nstartxref\n{len(body)}\n%%EOF\n"
    return body + end.encode()
