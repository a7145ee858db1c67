"""An invented country: heights out of noise, rivers that reach the sea, roads that avoid slopes.

Standard library and Pillow only. The same seed gives the same country everywhere.
"""

import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass
from math import hypot, inf

from PIL import Image, ImageMath

SEED = 11
SEA = 100  # levels below this one are under water; a level is METRES high
METRES = 20
RELIEF = (2000, 1500)  # the field of heights
GRID = (320, 240)  # what rivers and roads are found on
OCTAVES = 10
Point = tuple[float, float]


def _noise(width: int, height: int, seed: int) -> Image.Image:
    values = random.Random(seed).randbytes(width * height)
    return Image.frombytes("L", (width, height), values).convert("F")


def _basin() -> Image.Image:
    """How much the sea is to win: 0 in the middle, more towards the frame."""
    width, height = 32, 24
    values = bytes(
        round(min(255, 90 * (abs(2 * (x + 0.5) / width - 1) ** 6 + abs(2 * (y + 0.5) / height - 1) ** 6)))
        for y in range(height)
        for x in range(width)
    )
    return Image.frombytes("L", (width, height), values).convert("F")


def heights() -> Image.Image:
    """Mode F, RELIEF large; 1.0 is one level."""
    total = ImageMath.lambda_eval(
        lambda a: -a["basin"], basin=_basin().resize(RELIEF, Image.Resampling.BICUBIC)
    )
    for octave in range(OCTAVES):
        coarse = _noise(4 << octave, 3 << octave, SEED * 100 + octave)
        fine = coarse.resize(RELIEF, Image.Resampling.BICUBIC)
        share = 0.53**octave
        total = ImageMath.lambda_eval(
            lambda a, share=share: a["total"] + (a["fine"] - 127.5) * share, total=total, fine=fine
        )
    # Above the sea it rises steeper the higher it is: plains at the coast, mountains inland.
    return ImageMath.lambda_eval(
        lambda a: SEA + a["t"] * 0.25 + a["t"] * abs(a["t"]) * 0.0042, t=total
    )
