"""Kinds of sources, each with the pixels that it shows by arithmetic that is not ours.

The files are made by numpy, tifffile, imagecodecs and Pillow's writers. What they show follows from
the numbers that were written; of lossy JPEG from `djpeg` (libjpeg-turbo's own program), and of
tables of colour from littleCMS, asked directly and without its 8-bit shortcuts.
"""

import functools
import io
import shutil
import struct
import subprocess
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy
import pillow_heif
import tifffile
from PIL import Image, ImageCms

from tests.fidelity.measure import Pixels
from tests.imaging import profiles
from tests.imaging.drawn import oriented, photo, png_chunk, saved

WIDTH, HEIGHT = 192, 128
SRGB_TO_D50 = numpy.array(
    [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]]
)
PROPHOTO = ((0.7976749, 0.1351917, 0.0313534), (0.2880402, 0.7118741, 0.0000857), (0, 0, 0.82521))
P3 = ((0.51512, 0.29198, 0.15710), (0.24120, 0.69225, 0.06657), (-0.00105, 0.04189, 0.78407))
# Of lossy files: against the reference decoder's own pixels, or against what went in.
BY_DJPEG = 50 if shutil.which("djpeg") else 28
BY_OPJ = 50 if shutil.which("opj_decompress") else 38


@dataclass(frozen=True)
class Kind:
    """A file, and the upright sRGB pixels (h, w, 1 to 4) that it shows.

    `least` is the PSNR that decoding must reach; below 50 only where the file itself is lossy
    and decoders may differ. `convention`: libvips does it otherwise, for a reason that is said.
    """

    data: bytes
    wanted: Pixels
    least: float = 50
    convention: str = ""


COLOUR = photo(WIDTH, HEIGHT)
GRAY = COLOUR[..., 1].copy()
ALPHA = numpy.tile(numpy.linspace(0, 255, WIDTH).astype(numpy.uint8), (HEIGHT, 1))
_grain = numpy.random.default_rng(5).integers(-128, 128, COLOUR.shape)
DEEP = (COLOUR.astype(int) * 257 + _grain).clip(0, 65535).astype(numpy.uint16)
DEEP_GRAY = DEEP[..., 1].copy()
DEEP_ALPHA = ALPHA.astype(numpy.uint16) * 257
INK = numpy.dstack([255 - COLOUR, (255 - ALPHA) // 3]).astype(numpy.uint8)
SUBTRACTED = (255.0 - INK[..., :3]) * (255.0 - INK[..., 3:]) / 255


def curve(linear: Pixels) -> Pixels:
    """Light to the code of sRGB, 0 to 255 (IEC 61966-2-1)."""
    linear = linear.clip(0, 1)
    low = linear * 12.92
    return numpy.where(linear <= 0.0031308, low, 1.055 * linear ** (1 / 2.4) - 0.055) * 255


def light(code: Pixels) -> Pixels:
    code = code / 255
    return numpy.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


def by_matrix(linear: Pixels, columns: Any) -> Pixels:
    """Light in a space of these primaries (adapted to D50) in sRGB."""
    return curve(linear @ numpy.array(columns).T @ numpy.linalg.inv(SRGB_TO_D50).T)


def by_littlecms(picture: Image.Image, profile: bytes) -> Pixels:
    flags = ImageCms.Flags
    found = ImageCms.profileToProfile(
        picture,
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        "RGB",
        flags=flags.BLACKPOINTCOMPENSATION | flags.NOOPTIMIZE,
    )
    assert found is not None
    return numpy.asarray(found)


def tiff(pixels: Pixels, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


def png(pixels: Pixels, colour: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """Written by hand: of 16 bits Pillow writes gray only."""
    depth = pixels.dtype.itemsize * 8
    big = pixels.astype(">u2") if depth == 16 else pixels
    rows = b"".join(b"\0" + row.tobytes() for row in big)
    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], depth, colour, 0, 0, 0)
    parts = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts)


def gamma(value: float) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", round(value * 100000))


def primaries(*points: float) -> tuple[bytes, bytes]:
    return b"cHRM", struct.pack(">8I", *(round(point * 100000) for point in points))


def jpeg(picture: Image.Image, **options: Any) -> bytes:
    return saved(picture, "JPEG", **{"quality": 95, "subsampling": 0, **options})


def djpeg(data: bytes, fallback: Pixels) -> Pixels:
    """By libjpeg-turbo's program; without it what went in, which is 38 dB away."""
    program = shutil.which("djpeg")
    if program is None:
        return fallback
    found = subprocess.run([program, "-dct", "int"], input=data, capture_output=True, check=True)
    with Image.open(io.BytesIO(found.stdout)) as picture:
        return numpy.asarray(picture)


def opj(data: bytes, fallback: Pixels) -> Pixels:
    """By OpenJPEG's program; without it what went in, which is 40 dB away."""
    program = shutil.which("opj_decompress")
    if program is None:
        return fallback
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "source.jp2", Path(folder) / "target.ppm"
        source.write_bytes(data)
        command = [program, "-i", str(source), "-o", str(target)]
        subprocess.run(command, capture_output=True, check=True)
        with Image.open(target) as picture:
            return numpy.asarray(picture)


def without_adobe(data: bytes) -> bytes:
    at = data.index(b"\xff\xee")
    return data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]


def spread(values: Pixels) -> Pixels:
    """From the smallest to the largest."""
    values = values.astype(float)
    return (values - values.min()) / (values.max() - values.min()) * 255


def exif(orientation: int) -> bytes:
    found = Image.Exif()
    found[0x0112] = orientation
    return found.tobytes()


def adobe_exif() -> bytes:
    found = Image.Exif()
    found.get_ifd(0x8769)[0xA001] = 65535
    found.get_ifd(0x8769)[0xA005] = {1: "R03"}
    return found.tobytes()


@functools.cache
def kinds() -> dict[str, Kind]:
    """All of them, by name."""
    return {**jpegs(), **pngs(), **tiffs(), **others(), **turned()}


def jpegs() -> dict[str, Kind]:
    picture, ink = Image.fromarray(COLOUR), Image.fromarray(INK, "CMYK")
    plain, gray = jpeg(picture), jpeg(Image.fromarray(GRAY))
    shown = djpeg(plain, COLOUR)
    cmyk, lossy = profiles.cmyk(), 38
    adobe = by_matrix((shown / 255) ** (563 / 256), profiles.ADOBE)
    printed = by_littlecms(ink, cmyk)
    ycck = imagecodecs.jpeg8_encode(
        255 - INK, level=97, colorspace="CMYK", outcolorspace="YCCK", subsampling="444"
    )
    ours = "libvips assumes a press that it brings along"
    return {
        "JPEG": Kind(plain, shown, BY_DJPEG),
        "JPEG 4:2:0": Kind(half := jpeg(picture, subsampling=2), djpeg(half, COLOUR), BY_DJPEG),
        "JPEG progressive": Kind(jpeg(picture, progressive=True), shown, BY_DJPEG),
        "JPEG gray": Kind(gray, djpeg(gray, GRAY), BY_DJPEG),
        "JPEG gray, gamma 1.8": Kind(
            jpeg(Image.fromarray(GRAY), icc_profile=profiles.gray(1.8)),
            curve((djpeg(gray, GRAY) / 255) ** 1.8),
            BY_DJPEG,
        ),
        "JPEG Adobe RGB": Kind(jpeg(picture, icc_profile=profiles.rgb()), adobe, BY_DJPEG),
        "JPEG Adobe RGB by EXIF": Kind(
            jpeg(picture, exif=adobe_exif()),
            adobe,
            BY_DJPEG,
            convention="libvips does not look at EXIF",
        ),
        "JPEG Display P3": Kind(
            jpeg(picture, icc_profile=profiles.rgb(P3, 2.2)),
            by_matrix((shown / 255) ** 2.2, P3),
            BY_DJPEG,
        ),
        "JPEG ProPhoto": Kind(
            jpeg(picture, icc_profile=profiles.rgb(PROPHOTO, 1.8)),
            by_matrix((shown / 255) ** 1.8, PROPHOTO),
            min(45, BY_DJPEG),
        ),
        "JPEG by a table (LUT)": Kind(
            jpeg(picture, icc_profile=profiles.faded()),
            by_littlecms(Image.fromarray(shown), profiles.faded()),
            min(44, BY_DJPEG),
        ),
        "JPEG broken profile": Kind(jpeg(picture, icc_profile=b"no profile" * 30), shown, BY_DJPEG),
        "JPEG profile of CMYK": Kind(jpeg(picture, icc_profile=cmyk), shown, BY_DJPEG),
        "JPEG CMYK with profile": Kind(jpeg(ink, icc_profile=cmyk), printed, lossy),
        "JPEG CMYK": Kind(jpeg(ink), SUBTRACTED, lossy, ours),
        "JPEG YCCK": Kind(ycck, SUBTRACTED, lossy, ours),
        "JPEG CMYK without Adobe's mark": Kind(without_adobe(jpeg(ink)), SUBTRACTED, lossy, ours),
    }


def pngs() -> dict[str, Kind]:
    few = Image.fromarray(COLOUR).quantize(200)
    clear = bytes(range(200)) + bytes(56)
    by_index = numpy.asarray(few)
    shown = numpy.asarray(few.convert("RGB"))
    bits = Image.fromarray(GRAY).convert("1")
    key, deep_key = COLOUR[5, 5], DEEP_GRAY[5, 5]
    opaque = numpy.where((key == COLOUR).all(-1), 0, 255)
    p3 = (b"cICP", bytes((12, 13, 0, 1)))
    no_gamma = "libvips does not look at it"
    wide = (0.3127, 0.329, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
    profile = (b"iCCP", b"x\0\0" + zlib.compress(profiles.rgb()))
    return {
        "PNG 1 bit": Kind(saved(bits, "PNG"), numpy.asarray(bits) * 255.0),
        "PNG palette": Kind(saved(few, "PNG"), shown),
        "PNG palette, tRNS": Kind(
            saved(few, "PNG", transparency=clear),
            numpy.dstack([shown, numpy.frombuffer(clear, numpy.uint8)[by_index]]),
        ),
        "PNG gray": Kind(png(GRAY, 0), GRAY),
        "PNG gray alpha": Kind(png(numpy.dstack([GRAY, ALPHA]), 4), numpy.dstack([GRAY, ALPHA])),
        "PNG RGB": Kind(png(COLOUR, 2), COLOUR),
        "PNG RGB, a colour transparent": Kind(
            png(COLOUR, 2, (b"tRNS", struct.pack(">3H", *map(int, key)))),
            numpy.dstack([COLOUR, opaque]),
        ),
        "PNG RGBA": Kind(png(numpy.dstack([COLOUR, ALPHA]), 6), numpy.dstack([COLOUR, ALPHA])),
        "PNG gray 16": Kind(png(DEEP_GRAY, 0), DEEP_GRAY / 257),
        "PNG gray 16, a gray transparent": Kind(
            png(DEEP_GRAY, 0, (b"tRNS", struct.pack(">H", deep_key))),
            numpy.dstack([DEEP_GRAY / 257, numpy.where(deep_key == DEEP_GRAY, 0, 255)]),
        ),
        "PNG gray alpha 16": Kind(
            png(numpy.dstack([DEEP_GRAY, DEEP_ALPHA]), 4), numpy.dstack([DEEP_GRAY / 257, ALPHA])
        ),
        "PNG RGB 16": Kind(png(DEEP, 2), DEEP / 257),
        "PNG RGBA 16": Kind(
            png(numpy.dstack([DEEP, DEEP_ALPHA]), 6), numpy.dstack([DEEP / 257, ALPHA])
        ),
        "PNG gAMA 1": Kind(png(COLOUR, 2, gamma(1)), curve(COLOUR / 255), convention=no_gamma),
        "PNG gray gAMA 1/1.8": Kind(
            png(GRAY, 0, gamma(1 / 1.8)), curve((GRAY / 255) ** 1.8), convention=no_gamma
        ),
        "PNG cHRM and gAMA": Kind(
            png(COLOUR, 2, primaries(*wide), gamma(256 / 563)),
            by_matrix((COLOUR / 255) ** (563 / 256), profiles.ADOBE),
            convention=no_gamma,
        ),
        "PNG sRGB above gAMA": Kind(png(COLOUR, 2, (b"sRGB", b"\0"), gamma(1)), COLOUR),
        "PNG iCCP above gAMA": Kind(
            png(COLOUR, 2, gamma(1), profile),
            by_matrix((COLOUR / 255) ** (563 / 256), profiles.ADOBE),
        ),
        "PNG cICP above iCCP": Kind(
            png(COLOUR, 2, p3, profile), by_matrix(light(COLOUR), P3), convention=no_gamma
        ),
        "PNG RGB 16, light": Kind(
            png(DEEP, 2, (b"iCCP", b"x\0\0" + zlib.compress(profiles.rgb(P3, 1)))),
            by_matrix(DEEP / 65535, P3),
        ),
        "PNG RGBA 16, light": Kind(
            png(numpy.dstack([DEEP, DEEP_ALPHA]), 6, gamma(1)),
            numpy.dstack([curve(DEEP / 65535), ALPHA]),
            convention=no_gamma,
        ),
        "PNG gray 16, light": Kind(
            png(DEEP_GRAY, 0, gamma(1)), curve(DEEP_GRAY / 65535), convention=no_gamma
        ),
    }


def tiffs() -> dict[str, Kind]:
    bits = Image.fromarray(GRAY).convert("1")
    few = Image.fromarray(COLOUR).quantize(64)
    both = numpy.dstack([COLOUR, ALPHA])
    weighed = numpy.dstack([(COLOUR * (ALPHA[..., None] / 255)).round(), ALPHA])
    with_alpha = {"photometric": "rgb", "extrasamples": ["unassalpha"]}
    signed = (DEEP_GRAY.astype(numpy.int64) * 50000 - 10**9).astype(numpy.int32)
    unsigned = DEEP_GRAY.astype(numpy.uint32) * 60000
    floats = GRAY.astype(numpy.float32) * 3 - 100
    limits = [(340, "f", 1, -100.0, True), (341, "f", 1, 665.0, True)]
    ycc = saved(Image.fromarray(COLOUR), "TIFF", compression="jpeg", quality=95)
    no_range = "libvips takes the numbers as they are, and clips"
    ours = "libvips assumes a press that it brings along"
    return {
        "TIFF 1 bit G4": Kind(
            saved(bits, "TIFF", compression="group4"), numpy.asarray(bits) * 255.0
        ),
        "TIFF palette": Kind(saved(few, "TIFF"), numpy.asarray(few.convert("RGB"))),
        "TIFF gray, white is zero": Kind(tiff(255 - GRAY, photometric="miniswhite"), GRAY),
        "TIFF gray 16 II": Kind(tiff(DEEP_GRAY), DEEP_GRAY / 257),
        "TIFF gray 16 MM": Kind(tiff(DEEP_GRAY, byteorder=">"), DEEP_GRAY / 257),
        "TIFF gray 16, white is zero": Kind(
            tiff(65535 - DEEP_GRAY, photometric="miniswhite"), DEEP_GRAY / 257
        ),
        "TIFF gray 16, light": Kind(
            tiff(DEEP_GRAY, iccprofile=profiles.gray(1)), curve(DEEP_GRAY / 65535)
        ),
        "TIFF gray alpha": Kind(
            tiff(
                numpy.dstack([GRAY, ALPHA]), photometric="minisblack",
                extrasamples=["unassalpha"], planarconfig="contig",
            ),
            numpy.dstack([GRAY, ALPHA]),
        ),
        "TIFF RGB LZW": Kind(
            tiff(COLOUR, photometric="rgb", compression="lzw", predictor=True), COLOUR
        ),
        "TIFF RGB planar": Kind(
            tiff(numpy.moveaxis(COLOUR, 2, 0).copy(), photometric="rgb", planarconfig="separate"),
            COLOUR,
        ),
        "TIFF RGB 16 II": Kind(tiff(DEEP, photometric="rgb"), DEEP / 257),
        "TIFF RGB 16 MM": Kind(tiff(DEEP, photometric="rgb", byteorder=">"), DEEP / 257),
        "TIFF RGBA": Kind(tiff(both, **with_alpha), both),
        "TIFF RGBA premultiplied": Kind(
            tiff(weighed.astype(numpy.uint8), photometric="rgb", extrasamples=["assocalpha"]), both
        ),
        "TIFF RGBA 16": Kind(
            tiff(numpy.dstack([DEEP, DEEP_ALPHA]), **with_alpha), numpy.dstack([DEEP / 257, ALPHA])
        ),
        "TIFF RGB, alpha and another band": Kind(
            tiff(
                numpy.dstack([COLOUR, ALPHA, GRAY]), photometric="rgb", planarconfig="contig",
                extrasamples=["unassalpha", "unspecified"],
            ),
            both,
        ),
        "TIFF 32-bit signed": Kind(tiff(signed), spread(signed), convention=no_range),
        "TIFF 32-bit unsigned": Kind(tiff(unsigned), spread(unsigned), convention=no_range),
        "TIFF float": Kind(tiff(floats), spread(floats), convention=no_range),
        "TIFF float with its range": Kind(
            tiff(floats, extratags=limits), GRAY.astype(float), convention=no_range
        ),
        "TIFF YCbCr JPEG": Kind(ycc, COLOUR, 38),
        "TIFF YCbCr": Kind(
            saved(Image.fromarray(COLOUR).convert("YCbCr"), "TIFF"), COLOUR, 44,
            "libvips shows the numbers as RGB",
        ),
        "TIFF Lab": Kind(
            tiff(_lab8() ^ numpy.array([0, 128, 128], numpy.uint8), photometric="cielab"),
            COLOUR, 40, "libvips cannot read it",
        ),
        "TIFF CMYK": Kind(tiff(INK, photometric="separated"), SUBTRACTED, convention=ours),
        "TIFF CMYK 16": Kind(
            tiff(INK.astype(numpy.uint16) * 257, photometric="separated"), SUBTRACTED,
            convention=ours,
        ),
        "TIFF ICC Lab": Kind(
            tiff(_lab8(), photometric="icclab"), COLOUR, 40, "libvips cannot read it"
        ),
        "TIFF ICC Lab 16": Kind(
            tiff(_lab16(), photometric="icclab"),
            COLOUR, 48, "libvips cannot read it",
        ),
        "TIFF RGB 16 planar": Kind(
            tiff(numpy.moveaxis(DEEP, 2, 0).copy(), photometric="rgb", planarconfig="separate"),
            DEEP / 257,
        ),
        "TIFF RGB 16, light": Kind(
            tiff(DEEP, photometric="rgb", iccprofile=profiles.rgb(P3, 1)),
            by_matrix(DEEP / 65535, P3),
        ),
        "TIFF RGB 16, light, tiles": Kind(
            tiff(DEEP, photometric="rgb", iccprofile=profiles.rgb(P3, 1), tile=(64, 64)),
            by_matrix(DEEP / 65535, P3),
        ),
        "TIFF gray alpha 16": Kind(
            tiff(
                numpy.dstack([DEEP_GRAY, DEEP_ALPHA]), photometric="minisblack",
                extrasamples=["unassalpha"], planarconfig="contig",
            ),
            numpy.dstack([DEEP_GRAY / 257, ALPHA]),
        ),
        "TIFF RGBA 16 premultiplied": Kind(
            tiff(
                numpy.dstack([(DEEP * (DEEP_ALPHA[..., None] / 65535)).round(), DEEP_ALPHA])
                .astype(numpy.uint16), photometric="rgb", extrasamples=["assocalpha"],
            ),
            numpy.dstack([DEEP / 257, ALPHA]),
        ),
        "TIFF RGB, another band and alpha": Kind(
            tiff(
                numpy.dstack([COLOUR, GRAY, ALPHA]), photometric="rgb", planarconfig="contig",
                extrasamples=["unspecified", "unassalpha"],
            ),
            both, convention="libvips takes the first one",
        ),
        "TIFF double": Kind(tiff(floats.astype(float)), spread(floats), convention=no_range),
        "TIFF half": Kind(
            tiff((GRAY / 255).astype(numpy.float16)), spread(GRAY), convention=no_range
        ),
        "TIFF RGB float": Kind(
            tiff(COLOUR.astype(numpy.float32) / 99, photometric="rgb"), spread(COLOUR),
            convention=no_range,
        ),
        "TIFF CMYK and alpha": Kind(
            tiff(
                numpy.dstack([INK, ALPHA]), photometric="separated", planarconfig="contig",
                extrasamples=["unassalpha"],
            ),
            numpy.dstack([SUBTRACTED, ALPHA]), convention=ours,
        ),
        "TIFF Adobe RGB, tiles": Kind(
            tiff(COLOUR, photometric="rgb", tile=(64, 64), iccprofile=profiles.rgb()),
            by_matrix((COLOUR / 255) ** (563 / 256), profiles.ADOBE),
        ),
    }  # fmt: skip


def others() -> dict[str, Kind]:
    both = numpy.dstack([COLOUR, ALPHA])
    few = Image.fromarray(COLOUR).quantize(128)
    clear = numpy.where(numpy.asarray(few) == 7, 0, 255)
    header = f"{WIDTH} {HEIGHT} 65535\n".encode()
    wide = imagecodecs.avif_encode(COLOUR, level=100, primaries=12, transfer=13, matrix=0)
    lossy = saved(
        Image.fromarray(COLOUR), "JPEG2000", irreversible=True, quality_mode="dB",
        quality_layers=[40], mct=1,
    )  # fmt: skip
    unknown = "libvips has no reader for it here"
    return {
        "WebP lossless, alpha": Kind(
            saved(Image.fromarray(both), "WEBP", lossless=True, exact=True), both
        ),
        "WebP Adobe RGB": Kind(
            saved(Image.fromarray(COLOUR), "WEBP", lossless=True, icc_profile=profiles.rgb()),
            by_matrix((COLOUR / 255) ** (563 / 256), profiles.ADOBE),
        ),
        "AVIF 10 bit": Kind(
            imagecodecs.avif_encode(DEEP >> 6, level=100, bitspersample=10), DEEP / 257, 48
        ),
        "AVIF Display P3": Kind(
            wide, by_matrix(light(COLOUR), P3), convention="libvips does not look at nclx"
        ),
        "HEIF Display P3": Kind(
            heif_p3(), by_matrix(light(COLOUR), P3), 40, "libvips does not look at nclx"
        ),
        "GIF, a colour transparent": Kind(
            saved(few, "GIF", transparency=7),
            numpy.dstack([numpy.asarray(few.convert("RGB")), clear]),
        ),
        "JPEG 2000": Kind(
            saved(Image.fromarray(COLOUR), "JPEG2000"), COLOUR, convention=unknown
        ),
        "JPEG 2000 lossy": Kind(
            lossy, opj(lossy, COLOUR), BY_OPJ, unknown
        ),
        "JPEG 2000 16": Kind(
            imagecodecs.jpeg2k_encode(DEEP, level=0), DEEP / 257, convention=unknown
        ),
        "JPEG 2000 gray 12": Kind(
            imagecodecs.jpeg2k_encode(DEEP_GRAY >> 4, level=0, bitspersample=12),
            (DEEP_GRAY >> 4) / 4095 * 255, convention=unknown,
        ),
        "BMP": Kind(saved(Image.fromarray(COLOUR), "BMP"), COLOUR, convention=unknown),
        "PPM 16": Kind(
            b"P6 " + header + DEEP.astype(">u2").tobytes(), DEEP / 257, convention=unknown
        ),
        "PGM 16": Kind(
            b"P5 " + header + DEEP_GRAY.astype(">u2").tobytes(), DEEP_GRAY / 257,
            convention=unknown,
        ),
    }  # fmt: skip


def turned() -> dict[str, Kind]:
    """All eight orientations, by every container that can say them."""
    found = {}
    for number in range(1, 9):
        stored = Image.fromarray(oriented(COLOUR, number))
        words = {"exif": exif(number)}
        found[f"PNG orientation {number}"] = Kind(saved(stored, "PNG", **words), COLOUR)
        found[f"WebP orientation {number}"] = Kind(
            saved(stored, "WEBP", lossless=True, **words), COLOUR
        )
        found[f"TIFF orientation {number}"] = Kind(
            tiff(numpy.asarray(stored), photometric="rgb", extratags=[(274, "H", 1, number, True)]),
            COLOUR,
        )
        found[f"JPEG orientation {number}"] = Kind(jpeg(stored, **words), COLOUR, 38)
        found[f"AVIF orientation {number}"] = Kind(
            saved(stored, "AVIF", quality=100, subsampling="4:4:4", **words), COLOUR, 38
        )
    return found


def heif_p3() -> bytes:
    file = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(COLOUR)).save(
        file, quality=-1, chroma=444, matrix_coefficients=0, full_range_flag=1,
        color_primaries=12, transfer_characteristic=13, save_nclx_profile=True,
    )  # fmt: skip
    return file.getvalue()


def _lab() -> Pixels:
    """COLOUR in CIE L*a*b* of D50."""
    xyz = light(COLOUR) @ SRGB_TO_D50.T / numpy.array([0.9642, 1, 0.8249])
    f = numpy.where(xyz > (6 / 29) ** 3, numpy.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return numpy.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def _lab8() -> Pixels:
    """As 8-bit ICC numbers: a and b lie around 128."""
    numbers = _lab() * (2.55, 1, 1) + (0, 128, 128)
    return numbers.round().clip(0, 255).astype(numpy.uint8)


def _lab16() -> Pixels:
    numbers = (_lab() * (2.55, 1, 1) + (0, 128, 128)) * 256
    return numbers.round().clip(0, 65535).astype(numpy.uint16)
