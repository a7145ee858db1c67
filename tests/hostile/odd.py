"""A corpus of odd images, made by code: bombs, damage, files that are two things or another."""

import io
import random
import struct
import zlib
from collections.abc import Iterator

import numpy
import tifffile
from PIL import Image

from tests.ahead.conftest import encoded, photograph
from tests.hostile.images import jpeg_of_scans
from tests.imaging.drawn import png_chunk

PICTURE = photograph((300, 220))
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def real() -> dict[str, bytes]:
    """Sound files, of every kind that is read without an extra."""
    others = [PICTURE.rotate(9), PICTURE.rotate(40)]

    def tiff(**options: object) -> bytes:
        file = io.BytesIO()
        pixels = numpy.asarray(PICTURE)
        tifffile.imwrite(file, pixels, photometric="rgb", **options)  # type: ignore[arg-type]
        return file.getvalue()

    return {
        "jpg": encoded(PICTURE),
        "prog.jpg": encoded(PICTURE, progressive=True),
        "png": encoded(PICTURE, "PNG"),
        "gif": encoded(PICTURE, "GIF"),
        "anim.gif": encoded(PICTURE, "GIF", save_all=True, append_images=others),
        "webp": encoded(PICTURE, "WEBP"),
        "avif": encoded(PICTURE, "AVIF", speed=10),
        "jp2": encoded(PICTURE, "JPEG2000"),
        "tif": encoded(PICTURE, "TIFF"),
        "lzw.tif": encoded(PICTURE, "TIFF", compression="tiff_lzw"),
        "tile.tif": tiff(tile=(64, 64)),
        "deflate.tif": tiff(tile=(64, 64), compression="deflate", predictor=True),
        "big.tif": tiff(tile=(64, 64), bigtiff=True),
        "bmp": encoded(PICTURE, "BMP"),
        "ppm": encoded(PICTURE, "PPM"),
        "tga": encoded(PICTURE, "TGA"),
        "sgi": encoded(PICTURE, "SGI"),
        "pcx": encoded(PICTURE, "PCX"),
        "dds": encoded(PICTURE, "DDS"),
        "ico": encoded(PICTURE.resize((64, 64)), "ICO"),
        "mpo": encoded(PICTURE, "MPO", save_all=True, append_images=others[:1]),
    }


def png(width: int, height: int, *chunks: bytes, bits: int = 8, kind: int = 2) -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    return SIGNATURE + header + b"".join(chunks) + png_chunk(b"IEND", b"")


def tiff_of(*tags: tuple[int, int, int, int], count: int | None = None, after: int = 0) -> bytes:
    """A directory: tag, type, count, value."""
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    number = len(tags) if count is None else count
    return b"II*\0\x08\0\0\0" + struct.pack("<H", number) + entries + struct.pack("<I", after)


def patched(data: bytes, mark: bytes, offset: int, new: bytes) -> bytes:
    at = data.index(mark) + offset
    return data[:at] + new + data[at + len(new) :]


def bombs() -> dict[str, bytes]:
    """Each must be refused: more than 20 megapixels, or what no picture has."""
    files = real()
    zeros = zlib.compress(bytes(64 << 20), 9)
    huge = struct.pack(">II", 60_000, 60_000)
    side = struct.pack(">I", 60_000)
    sides = {"width": (256, 3, 1, 50_000), "height": (257, 3, 1, 50_000)}
    strips = [(258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1), (273, 4, 1, 8), (279, 4, 1, 99)]
    return {
        "png": png(60_000, 60_000, png_chunk(b"IDAT", zeros[:1000]), bits=1, kind=0),
        "most.png": png(2**31 - 1, 2**31 - 1, png_chunk(b"IDAT", b"")),
        "gif": b"GIF89a\xff\xff\xff\xff\0\0\0" + encoded(Image.new("P", (1, 1)), "GIF")[13:],
        "tif": tiff_of(*sides.values(), *strips),
        "most.tif": tiff_of((256, 4, 1, 2**31 - 1), (257, 4, 1, 2**31 - 1), *strips),
        "entries.tif": tiff_of(count=65_535),
        "count.tif": tiff_of((256, 4, 2**31, 8), (257, 4, 2**31, 8), (273, 4, 2**32 - 1, 8)),
        "circle.tif": tiff_of(after=8),
        "webp": b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff\xff\x3f" * 2,
        "avif": patched(files["avif"], b"ispe", 8, huge),
        "jp2": patched(
            patched(files["jp2"], b"ihdr", 4, huge), b"\xff\x51", 6, huge + bytes(8) + huge
        ),
        "tiles.jp2": patched(files["jp2"], b"\xff\x51", 22, struct.pack(">II", 1, 1)),
        "jpg": patched(files["jpg"], b"\xff\xc0", 5, b"\xff\xdc\xff\xdc"),
        "scans.jpg": jpeg_of_scans(20_000),
        "ppm": b"P6 60000 60000 255\n\0\0\0",
        "plain.ppm": b"P3 60000 60000 255 " + b"1 " * 1000,
        "digits.ppm": b"P6 " + b"9" * 100_000 + b" 1 255\n",
        "pbm": b"P4 2000000000 2000000000\n\0",
        "bmp": patched(files["bmp"], b"BM", 18, struct.pack("<ii", 60_000, -60_000)),
        "qoi": b"qoif" + huge + b"\x03\0" + bytes(100),
        "dds": patched(files["dds"], b"DDS ", 12, struct.pack("<II", 60_000, 60_000)),
        "sgi": patched(files["sgi"], b"\x01\xda", 6, b"\xff\xff\xff\xff"),
        "psd": b"8BPS\0\x01" + bytes(6) + b"\0\x03" + side + side + b"\0\x08\0\x03" + bytes(200),
    }  # fmt: skip


def swollen() -> dict[str, bytes]:
    """Small pictures with something large inside: an answer, and little memory for it."""
    zeros = zlib.compress(bytes(256 << 20), 9)
    line = zlib.compress(b"\0" + bytes(12))
    small = [png_chunk(b"IDAT", zlib.compress((b"\0" + bytes(12)) * 4))]
    gif = encoded(PICTURE.resize((8, 8)), "GIF")
    frames = gif[gif.index(b",") : -1] if b"," in gif else b""
    return {
        "idat.png": png(4, 4, png_chunk(b"IDAT", zeros)),
        "icc.png": png(4, 4, png_chunk(b"iCCP", b"a\0\0" + zeros), *small),
        "text.png": png(4, 4, *[png_chunk(b"zTXt", b"a\0\0" + zeros)] * 3, *small),
        "exif.png": png(4, 4, png_chunk(b"eXIf", bytes(8 << 20)), *small),
        "chunks.png": png(4, 4, *[png_chunk(b"teSt", b"")] * 50_000, *small),
        "short.png": png(4, 4, png_chunk(b"IDAT", line)),
        "frames.gif": gif[:-1] + frames * 20_000 + b";",
    }


def strangers() -> dict[str, bytes]:
    """What must not start a program, load a file, or be tried as anything: all are refused."""
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(/etc/passwd) (r) file\n"
    entity = b'<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    return {
        "ps.jpg": script,
        "later.ps": b"\n\n \x04" + script,
        "preview.eps": b"\xc5\xd0\xd3\xc6" + struct.pack("<6I", 32, len(script), 0, 0, 0, 0)
        + b"\xff\xff\0\0" + script,
        "wmf.png": b"\xd7\xcd\xc6\x9a\0\0" + bytes(8) + struct.pack("<H", 1440) + bytes(100),
        "emf": b"\x01\0\0\0" + bytes(36) + b" EMF" + bytes(100),
        "svg": b'<?xml version="1.0"?>' + entity + b'<svg xmlns="http://www.w3.org/2000/svg">&x;</svg>',
        "html": b"<!doctype html><script>alert(1)</script>",
        "zip": b"PK\x03\x04" + bytes(100),
        "mp4": b"\0\0\0\x18ftypisom" + bytes(100),
        "magick.mvg": b"push graphic-context\nviewbox 0 0 1 1\nimage over 0,0 0,0 'ephemeral:/x'\n",
        "elf": b"\x7fELF" + bytes(100),
        "zeros": bytes(5000),
        "empty": b"",
        "one": b"\xff",
        "fits.gz": b"\x1f\x8b\x08\0" + bytes(100),
        "flc": bytes(4) + b"\x12\xaf" + bytes(200),
        "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(100),
        "grib": b"GRIB" + bytes(3) + b"\x01" + bytes(100),
    }  # fmt: skip


def polyglots() -> dict[str, bytes]:
    """Two things in one: an image as its first bytes say, or refused."""
    files, script = real(), b"%!PS\n<script>alert(1)</script>"
    return {
        "png.zip": files["png"] + b"PK\x03\x04" + bytes(60),
        "jpg.html": b"\xff\xd8\xff\xfe\0\x22<script>alert(document.domain)//" + files["jpg"][2:],
        "gif.js": b"GIF89a/*" + files["gif"][8:] + b"*/=1;alert(1)",
        "png.jpg": files["png"][:8] + files["jpg"],
        "jpg.png": files["jpg"][:20] + files["png"],
        "tif.ps": files["tif"] + script,
        "gif.ps": files["gif"] + script,
        "webp.png": files["webp"][:12] + files["png"],
        "bmp.exe": b"BM" + b"MZ" + files["bmp"][4:],
    }  # fmt: skip


def truncated() -> Iterator[tuple[str, bytes]]:
    for name, data in real().items():
        for part in (8, 30, 100, len(data) // 2, len(data) - 1):
            yield f"{part}.{name}", data[:part]


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Cut off, bytes changed (mostly of the header), a number replaced, or a piece doubled."""
    made, how = bytearray(data), rng.random()
    if how < 0.2:
        del made[rng.randrange(1, len(made)) :]
    elif how < 0.75:
        most = len(made) if rng.random() < 0.4 else min(len(made), 400)
        for _ in range(rng.choice((1, 1, 2, 3, 8))):
            made[rng.randrange(most)] = rng.choice((0, 255, 127, 128, 1, rng.randrange(256)))
    elif how < 0.9:
        at = rng.randrange(len(made) - 4)
        value = rng.choice((0, 2**32 - 1, 2**31 - 1, 2**31, 65_535, 1 << 20, rng.randrange(2**32)))
        made[at : at + 4] = struct.pack(rng.choice("<>") + "I", value)
    else:
        at, other = rng.randrange(len(made)), rng.randrange(len(made))
        made[at:at] = made[other : other + rng.randrange(200)]
    return bytes(made)
