"""Images that tests draw, and arithmetic that shares nothing with what is tested."""

import io
import zlib
from pathlib import Path
from typing import Any

import numpy
from PIL import Image

Pixels = numpy.ndarray[Any, Any]
Edges = tuple[float, float, float, float]


def photo(width: int, height: int, seed: int = 0, noise: float = 6) -> Pixels:
    """Something like a photograph: waves of all lengths, hard edges, grain. Shape (h, w, 3)."""
    rng = numpy.random.default_rng(seed)
    y, x = numpy.mgrid[0:height, 0:width].astype(float)
    found = numpy.full((height, width, 3), 127.0)
    for _ in range(12):
        wave = 2 * numpy.pi / rng.uniform(9, max(width, height))
        angle, phase = rng.uniform(0, 6), rng.uniform(0, 6)
        way = numpy.sin(wave * (x * numpy.cos(angle) + y * numpy.sin(angle)) + phase)
        found += way[..., None] * rng.uniform(-18, 18, 3)
    found += numpy.where(((x // 37 + y // 53) % 5) < 2, 35, -20)[..., None]
    found += rng.normal(0, noise, (height, width, 1))
    return found.clip(0, 255).astype(numpy.uint8)


def image(pixels: Pixels) -> Image.Image:
    return Image.fromarray(pixels)


def numbers(pixels: Image.Image) -> Pixels:
    return numpy.asarray(pixels).astype(int)


def saved(picture: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def stored(folder: Path, data: bytes, name: str = "source") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def exif(orientation: int) -> bytes:
    found = Image.Exif()
    found[0x0112] = orientation
    return found.tobytes()


def oriented(upright: Pixels, orientation: int) -> Pixels:
    """The stored pixels that show `upright` under an EXIF orientation (the inverse of showing)."""
    flipped = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: upright.swapaxes(0, 1)[::-1],
        7: upright.swapaxes(0, 1)[::-1, ::-1],
        8: upright.swapaxes(0, 1)[:, ::-1],
    }
    return numpy.ascontiguousarray(flipped[orientation])


def psnr(one: Any, other: Any) -> float:
    difference = numpy.asarray(one).astype(float) - numpy.asarray(other).astype(float)
    return float(10 * numpy.log10(255**2 / max(1e-9, (difference**2).mean())))


def lanczos(pixels: Pixels, box: Edges, size: tuple[int, int]) -> Pixels:
    """Scaling as the textbook has it: one weighted sum a pixel, in floating point."""
    x0, y0, x1, y1 = box
    across = _weights(pixels.shape[1], x0, x1, size[0])
    down = _weights(pixels.shape[0], y0, y1, size[1])
    found = numpy.tensordot(down, pixels.astype(float), (1, 0))
    return numpy.tensordot(across, found, (1, 1)).swapaxes(0, 1)


def _weights(count: int, begin: float, end: float, size: int) -> Pixels:
    scale = (end - begin) / size
    width = max(scale, 1.0)
    centres = begin + (numpy.arange(size) + 0.5) * scale
    away = (numpy.arange(count)[None] + 0.5 - centres[:, None]) / width
    found = numpy.where(abs(away) < 3, numpy.sinc(away) * numpy.sinc(away / 3), 0)
    return found / found.sum(1, keepdims=True)


def shift(one: Pixels, other: Pixels) -> tuple[float, float]:
    """How far `other` lies right of and below `one`, in pixels: least squares on the gradients."""
    a, b = (values.astype(float).mean(2)[2:-2, 2:-2] for values in (one, other))
    down, across = numpy.gradient((a + b) / 2)
    equations = numpy.stack([across.ravel(), down.ravel()], 1)
    found = numpy.linalg.lstsq(equations, (a - b).ravel(), rcond=None)[0]
    return float(found[0]), float(found[1])


def png_chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return len(content).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
