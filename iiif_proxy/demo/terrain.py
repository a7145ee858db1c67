"""An invented country: heights out of noise, rivers that reach the sea, roads that avoid slopes.

Standard library and Pillow only. The same seed gives the same country everywhere.
"""

import heapq
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import exp, hypot

from PIL import Image, ImageMath

SEED = 2
SEA = 100  # levels below this one are under water; a level is METRES high
METRES = 20
RELIEF = (2000, 1500)  # the field of heights
GRID = (320, 240)  # what rivers and roads are found on
OCTAVES = 10
Point = tuple[float, float]


def noise(width: int, height: int, seed: int) -> Image.Image:
    values = random.Random(seed).randbytes(width * height)
    return Image.frombytes("L", (width, height), values).convert("F")


def heights() -> Image.Image:
    """Mode F, RELIEF large; 1.0 is one level."""
    total = Image.new("F", RELIEF, 0.0)
    for octave in range(OCTAVES):
        fine = noise(4 << octave, 3 << octave, SEED * 100 + octave).resize(
            RELIEF, Image.Resampling.BICUBIC
        )
        share = 0.53**octave
        total = ImageMath.lambda_eval(
            lambda a, share=share: a["total"] + (a["fine"] - 127.5) * share, total=total, fine=fine
        )
    # Above the sea it rises steeper the higher it is: plains at the coast, mountains inland.
    return ImageMath.lambda_eval(
        lambda a: SEA + a["t"] * 0.25 + a["t"] * abs(a["t"]) * 0.0042, t=total
    )
