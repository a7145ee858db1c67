"""The ground of the map: water and land in their colours, light from the north-west, contours."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

from PIL import Image, ImageChops, ImageFilter

from iiif_proxy.demo.terrain import RELIEF, SEA, calculate

Colour = tuple[int, int, int]
BAND = 500  # rows at a time: 8000x6000 in mode F at once would be 192 MB
MARGIN = 4
WATER: list[tuple[int, Colour]] = [
    (0, (112, 166, 200)), (60, (140, 190, 217)), (88, (170, 211, 229)), (100, (203, 230, 237)),
]  # fmt: skip
LAND: list[tuple[int, Colour]] = [
    (100, (212, 226, 184)), (108, (223, 231, 190)), (125, (240, 232, 196)), (150, (234, 214, 170)),
    (185, (214, 184, 146)), (215, (196, 170, 148)), (235, (236, 232, 228)), (255, (255, 255, 255)),
]  # fmt: skip
WOOD = (158, 192, 138)
CONTOUR = (150, 104, 62)
DEPTH = (92, 146, 186)
COAST = (44, 92, 128)
# What may be drawn, by number, the stronger last: its colour and how much of it is seen.
INKS: list[tuple[Colour, float]] = [
    (CONTOUR, 0.0), (DEPTH, 0.4), (CONTOUR, 0.36), (CONTOUR, 0.6), (COAST, 0.95),
    (DEPTH, 0.5), (WOOD, 1.0), ((96, 146, 92), 1.0), ((84, 152, 196), 1.0),
    ((122, 92, 74), 1.0), ((255, 250, 236), 1.0), ((247, 205, 120), 1.0), ((240, 232, 220), 1.0),
    ((176, 142, 126), 1.0), ((70, 62, 58), 1.0),
]  # fmt: skip
GRID, CROWN, BARK, RIVER, CASING, LANE, ROAD, BLOCK, HOUSE, DARK = range(5, 15)


def ramp(stops: Sequence[tuple[int, Colour]]) -> list[list[int]]:
    """Three tables of 256 entries through the stops."""
    tables: list[list[int]] = [[], [], []]
    for value in range(256):
        value = min(max(value, stops[0][0]), stops[-1][0])
        (a, low), (b, high) = next(pair for pair in pairwise(stops) if value <= pair[1][0])
        for table, from_, to in zip(tables, low, high, strict=True):
            table.append(round(from_ + (to - from_) * (value - a) / (b - a)))
    return tables


def tinted(level: Image.Image, stops: Sequence[tuple[int, Colour]]) -> Image.Image:
    return Image.merge("RGB", [level.point(table) for table in ramp(stops)])


def light(heights: Image.Image) -> Image.Image:
    """Mode L: 150 on the flat, brighter towards the north-west."""
    moved = ImageChops.offset(heights, 2, 2)
    shade = calculate(lambda a: 150 + (a["h"] - a["m"]) * 17, h=heights, m=moved)
    return shade.convert("L").filter(ImageFilter.GaussianBlur(0.8))


def changes(level: Image.Image, rank: Callable[[int], int], width: int, ink: int) -> Image.Image:
    """Mode L: `ink` where `rank` of the level changes within `width` pixels, else 0."""
    ranked = level.point([rank(value) for value in range(256)])
    right, below = ImageChops.offset(ranked, -width, 0), ImageChops.offset(ranked, 0, -width)
    different = ImageChops.lighter(
        ImageChops.difference(ranked, right), ImageChops.difference(ranked, below)
    )
    return different.point([0] + [ink] * 255)


def lines(level: Image.Image) -> Image.Image:
    """Mode L: which of the first inks is where."""
    found = changes(level, lambda v: min(v, SEA) // 10, 1, 1)
    for rank, width, ink in (
        (lambda v: max(v, SEA) // 2, 1, 2),
        (lambda v: max(v, SEA) // 10, 2, 3),
        (lambda v: int(v >= SEA), 3, 4),
    ):
        found = ImageChops.lighter(found, changes(level, rank, width, ink))
    return found


def table(values: Sequence[float]) -> list[int]:
    return [round(value) for value in values] + [0] * (256 - len(values))


def ground(heights: Image.Image, woods: Image.Image, drawn: Image.Image) -> Image.Image:
    """The map without its letters, RGB, as large as `drawn`: mode L, numbers of INKS.

    `heights` and `woods` (above 0 grows a tree) are mode F, RELIEF large.
    """
    level = heights.convert("L")
    wooded = woods.convert("L").point([0] + [210] * 255).filter(ImageFilter.GaussianBlur(0.7))
    land = Image.composite(Image.new("RGB", RELIEF, WOOD), tinted(level, LAND), wooded)
    land = ImageChops.overlay(land, Image.merge("RGB", [light(heights)] * 3))
    width, height = drawn.size
    canvas = Image.new("RGB", drawn.size)
    scale = RELIEF[1] / height

    def band(top: int) -> None:
        first, last = max(0, top - MARGIN), min(height, top + BAND + MARGIN)
        box = (0.0, first * scale, float(RELIEF[0]), last * scale)
        shape = (width, last - first)
        here = heights.resize(shape, Image.Resampling.BICUBIC, box=box).convert("L")
        dry = here.point([255 if value >= SEA else 0 for value in range(256)])
        picture = land.resize(shape, Image.Resampling.BILINEAR, box=box)
        picture = Image.composite(picture, tinted(here, WATER), dry)
        ink = ImageChops.lighter(lines(here), drawn.crop((0, first, width, last)))
        colours = [ink.point(table([colour[i] for colour, _ in INKS])) for i in range(3)]
        seen = ink.point(table([255 * share for _, share in INKS]))
        picture = Image.composite(
            Image.merge("RGB", colours), picture, seen.filter(ImageFilter.BoxBlur(0.5))
        )
        kept = picture.crop((0, top - first, width, min(top + BAND, height) - first))
        canvas.paste(kept, (0, top))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(band, range(0, height, BAND)))
    return canvas
