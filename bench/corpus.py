"""The corpus: photographs that nobody took, the same on every machine.

A scene of slopes, edges and grain (6 MP), laid out as often as needed, mirrored and turned: it
compresses as a camera's picture does (0.2 to 0.25 bytes a pixel at quality 90, as the photographs
of ../shared/bench do), so decoders take as long as they take in life.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from bench.tiff import write_pyramid

Image.MAX_IMAGE_PIXELS = None
# Changes when the pictures do: what was made before is made again.
EDITION = "1"
SCENE = 3000, 2000
TURNS = (
    None,
    Image.Transpose.FLIP_LEFT_RIGHT,
    Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.ROTATE_180,
)
SIZES = {
    1: (1224, 816),
    4: (2448, 1632),
    24: (6000, 4000),
    50: (8640, 5760),
    100: (12000, 8400),
    200: (17400, 11600),
    400: (24600, 16400),
}
SHORT = (24, 100)


@dataclass(frozen=True, slots=True)
class Picture:
    """A file of the corpus and its size in pixels."""

    path: Path
    width: int
    height: int

    @property
    def pixels(self) -> int:
        return self.width * self.height

    @property
    def bytes(self) -> int:
        return self.path.stat().st_size


@dataclass(frozen=True, slots=True)
class Corpus:
    """JPEGs by megapixels, and one tiled pyramidal TIFF of the 100 megapixels."""

    folder: Path
    jpegs: dict[int, Picture]
    tiff: Picture


def corpus(folder: Path, long: bool) -> Corpus:
    """What is there already is used as it is."""
    folder = folder / f"corpus-{EDITION}"
    folder.mkdir(parents=True, exist_ok=True)
    scene: Image.Image | None = None
    pictures: dict[int, Picture] = {}
    tiff = Picture(folder / "100.tif", *SIZES[100])
    for megapixels in SIZES if long else SHORT:
        size = SIZES[megapixels]
        picture = Picture(folder / f"{megapixels}.jpg", *size)
        wanted = [picture.path, tiff.path] if megapixels == 100 else [picture.path]
        pictures[megapixels] = picture
        if all(path.exists() for path in wanted):
            continue
        scene = scene or scenery()
        image = laid_out(scene, *size, seed=megapixels)
        save(picture.path, image)
        if megapixels == 100:
            save(tiff.path, image)
    return Corpus(folder, pictures, tiff)


def save(path: Path, image: Image.Image) -> None:
    """Under its name only when it is whole."""
    unfinished = path.with_name("unfinished" + path.suffix)
    if path.suffix == ".jpg":
        image.save(unfinished, quality=90, subsampling="4:2:0")
    else:
        how = {"compression": "jpeg", "compressionargs": {"level": 85}}
        write_pyramid(unfinished, np.asarray(image), 256, **how)
    unfinished.rename(path)


def scenery() -> Image.Image:
    """Noise of many scales, cut by outlines, under fine grain."""
    width, height = SCENE
    rng = np.random.default_rng(7)

    def clouds(finest: int) -> np.ndarray:
        total = np.zeros((height, width), np.float32)
        scale = max(width, height) // 3
        while scale >= finest:
            coarse = rng.random((height // scale + 2, width // scale + 2), np.float32)
            layer = Image.fromarray(coarse).resize(SCENE, Image.Resampling.BICUBIC)
            total += np.asarray(layer) * scale**0.75
            scale //= 2
        return (total - total.mean()) / total.std()

    shape = clouds(8)
    outlines = np.abs((shape * 3) % 1 - 0.5) < 0.06
    channels = []
    for tint in (0.9, 1.0, 1.1):
        plane = 118 * tint + 34 * shape + 16 * clouds(4) - 45 * outlines
        plane += rng.normal(0, 4, (height, width)).astype(np.float32)
        channels.append(np.clip(plane, 0, 255).astype(np.uint8))
    return Image.fromarray(np.dstack(channels))


def laid_out(scene: Image.Image, width: int, height: int, seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    turned = [scene if turn is None else scene.transpose(turn) for turn in TURNS]
    image = Image.new("RGB", (width, height))
    for top in range(0, height, scene.height):
        for left in range(0, width, scene.width):
            image.paste(turned[rng.integers(len(turned))], (left, top))
    return image
