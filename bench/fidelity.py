"""The reference table: each kind of source and of output against independent pixels.

    python -m bench.fidelity [--docs docs/fidelity.md]

PSNR in dB, mean CIEDE2000 (1 is just seen, side by side), mean SSIM. Sources: the whole image as
PNG, and scaled to 75 pixels by the textbook's Lanczos; beside each what libvips answers to the
same request. Outputs: a file at the default settings against the same pixels as PNG, beside what
libvips writes of them at the same quality.
"""

import argparse
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy
import PIL
import pyvips
from PIL import Image

from iiif_proxy.imaging.encode import EncodeOptions
from tests.fidelity.asking import Asked, by_libvips
from tests.fidelity.kinds import kinds
from tests.fidelity.measure import Distance, Pixels, distance
from tests.fidelity.test_table import laid_on_white, scaled
from tests.imaging.drawn import photo

BEGIN, END = "<!-- table -->\n", "<!-- /table -->\n"
SMALL = (75, 50)
WRITTEN = ("JPEG gray", "JPEG CMYK with profile", "PNG 1 bit", "PNG RGBA", "PNG gray alpha")
DEFAULTS = EncodeOptions()
# What libvips is told to write the same.
WRITERS = {
    "jpg": (".jpg", {"Q": DEFAULTS.jpeg_quality, "subsample_mode": "on"}),
    "webp": (".webp", {"Q": DEFAULTS.webp_quality, "effort": DEFAULTS.webp_method}),
    "avif": (
        ".avif",
        {"Q": DEFAULTS.avif_quality, "effort": 9 - DEFAULTS.avif_speed, "compression": "av1"},
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--docs", type=Path, help="write the tables into this file as well")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asked = Asked(Path(folder))
        lines = [*sources(asked), "", *outputs(asked)]
    version = ".".join(str(pyvips.version(part)) for part in range(3))
    lines += ["", f"Pillow {PIL.__version__}, libvips {version}."]
    print("\n".join(lines))
    if chosen.docs:
        text = chosen.docs.read_text()
        head, rest = text.split(BEGIN)
        body = "\n".join(lines) + "\n"
        chosen.docs.write_text(head + BEGIN + body + END + rest.split(END)[1])


def sources(asked: Asked) -> Iterator[str]:
    yield "| source | dB | ΔE | SSIM | libvips: dB | ΔE | small: dB | ΔE | libvips: dB | ΔE |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for name in shown_in_table():
        kind = kinds()[name]
        asked.put("source", kind.data)
        height, width = kind.wanted.shape[:2]
        whole = distance(asked.pixels("source/full/max/0/default.png"), kind.wanted)
        size = ",".join(map(str, SMALL))
        small = scaled(kind.wanted, *SMALL)
        half = distance(asked.pixels(f"source/full/{size}/0/default.png"), small)
        cells = [name, *three(whole), *theirs(kind.data, (width, height), kind.wanted)]
        cells += [*three(half)[:2], *theirs(kind.data, SMALL, small)]
        cells[0] += f" ({kind.convention})" if kind.convention else ""
        yield "| " + " | ".join(cells) + " |"


def shown_in_table() -> list[str]:
    """All kinds, and of the eight orientations the one of a phone held upright."""
    return [name for name in kinds() if "orientation" not in name or name.endswith(" 6")]


def outputs(asked: Asked) -> Iterator[str]:
    yield "| output | of | dB | ΔE | SSIM | bytes | libvips: dB | ΔE | SSIM | bytes |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    large = io.BytesIO()
    Image.fromarray(photo(512, 512, noise=3)).save(large, "PNG")
    for name in ("a photograph, 512 x 512", *WRITTEN):
        data = kinds()[name].data if name in kinds() else large.getvalue()
        asked.put("source", data)
        exact = asked.pixels("source/full/max/0/default.png")
        for format in ("tif", "jpg", "webp", "avif", "jp2", "gif"):
            answer = asked.bytes(f"source/full/max/0/default.{format}")
            wanted = laid_on_white(exact) if format == "jpg" else exact
            found = distance(decoded(answer), wanted)
            cells = [format, name, *three(found), str(len(answer))]
            yield "| " + " | ".join(cells + written_by_libvips(exact, format)) + " |"


def three(found: Distance) -> list[str]:
    exact = found.psnr > 100
    return [
        "exact" if exact else f"{found.psnr:.1f}",
        "0" if exact else f"{found.delta_e:.2f}",
        "1" if exact else f"{found.ssim:.4f}",
    ]


def theirs(data: bytes, size: tuple[int, int], wanted: Pixels) -> list[str]:
    found = by_libvips(data, *size)
    return ["", ""] if found is None else three(distance(found, wanted))[:2]


def decoded(data: bytes) -> Pixels:
    with Image.open(io.BytesIO(data)) as image:
        return numpy.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"))


def written_by_libvips(pixels: Pixels, format: str) -> list[str]:
    if format not in WRITERS:
        return [""] * 4
    suffix, options = WRITERS[format]
    wanted = laid_on_white(pixels) if format == "jpg" else pixels
    image = pyvips.Image.new_from_array(numpy.ascontiguousarray(wanted.round().astype("uint8")))
    image = image.copy(interpretation="b-w" if image.bands < 3 else "srgb")
    data = image.write_to_buffer(suffix, **options)
    return [*three(distance(decoded(data), wanted)), str(len(data))]


if __name__ == "__main__":
    main()
