"""The large picture of the demo: a map of an invented country, with detail at every zoom."""

import random
from array import array
from math import cos, hypot, pi, sin, sqrt

from PIL import Image, ImageDraw

from iiif_proxy.demo import relief, terrain
from iiif_proxy.demo.letters import Letters
from iiif_proxy.demo.pictures import compass
from iiif_proxy.demo.terrain import METRES, SEA, Country, Point, Town

SIZE = (8000, 6000)
CELL = SIZE[0] // terrain.GRID[0]  # pixels
FRAME = 150
SQUARE = 770  # pixels of the grid: (8000 - 2 * FRAME) / 10
RADIUS = {3: 420.0, 2: 230.0, 1: 110.0}  # pixels
PAPER, SOOT = (250, 246, 236), (62, 56, 52)
SEA_BLUE, EARTH = (56, 104, 142), (116, 78, 48)
TOWNS = [
    "Canonical", "Port Manifest", "Tileham", "Rotunda", "Origin", "Bitonal", "Upstream",
    "Squareford", "Etag St Mary", "Old Region", "New Region", "Lanczos", "Huffman's Rest",
    "Cacheborough", "Canvas", "Maxwell", "Varyton", "Little Endian", "Great Endian",
    "Gamut", "Chroma Regis", "Draft", "Alpha", "Nyquist", "Moire", "Exif-under-Lyne",
]  # fmt: skip
PEAKS = [
    "Mount Pyramid", "The Quantiser", "Clamp", "Halfround", "Pixel Pike", "Grey Scale",
    "Old Convolver", "Kernel", "The Dither", "Long Tail",
]  # fmt: skip
# Text, place in pixels, size, tracking, degrees, colour
REGIONS = [
    ("OCEAN OF TILES", (760, 2300), 150, 60, 78, SEA_BLUE),
    ("BAY OF REGIONS", (4770, 2370), 110, 40, -12, SEA_BLUE),
    ("SEA OF FORMATS", (7230, 4560), 130, 46, 64, SEA_BLUE),
    ("Strait of Quality", (6420, 3480), 64, 10, -8, SEA_BLUE),
    ("Cache Sound", (2450, 5730), 60, 10, 0, SEA_BLUE),
    ("PYRAMID RANGE", (2490, 2700), 110, 70, -73, EARTH),
    ("THE LEVELS", (1330, 4560), 90, 60, 33, EARTH),
    ("INTERLACED HILLS", (5300, 1440), 70, 26, -6, EARTH),
    ("Great Huffman Forest", (3840, 5040), 56, 10, -4, (52, 98, 52)),
]


class Draughtsman:
    """Draws what is no ground into one image of ink numbers."""

    def __init__(self, country: Country, woods: Image.Image) -> None:
        self.country = country
        self.woods = woods.resize(terrain.GRID, Image.Resampling.BOX)
        self.dice = random.Random(terrain.SEED)
        self.sheet = Image.new("L", SIZE)
        self.pen = ImageDraw.Draw(self.sheet)
        self.towns = country.towns(TOWNS)

    def draw(self) -> Image.Image:
        self.grid()
        self.trees()
        for town in self.towns:
            self.streets(town)
        for line, source, mouth in self.country.rivers():
            self.river(line, sqrt(source), sqrt(mouth))
        roads = self.country.roads(self.towns)
        for line, size in roads:
            self.line(line, relief.CASING, 10 + 4 * size)
        for line, size in roads:
            self.line(line, relief.ROAD if size > 1 else relief.LANE, 5 + 4 * size)
        return self.sheet

    def line(self, line: list[Point], ink: int, width: int) -> None:
        points = [(x * CELL, y * CELL) for x, y in line]
        self.pen.line(points, fill=ink, width=width, joint="curve")

    def river(self, line: list[Point], source: float, mouth: float) -> None:
        """As wide as the root of its water; pieces that overlap by a point."""
        for at in range(0, len(line) - 1, 6):
            width = source + (mouth - source) * at / len(line)
            self.line(line[at : at + 8], relief.RIVER, min(26, 1 + round(width / 2.6)))

    def grid(self) -> None:
        for x in range(FRAME, SIZE[0], SQUARE):
            self.pen.line([(x, 0), (x, SIZE[1])], fill=relief.GRID, width=3)
        for y in range(FRAME, SIZE[1], SQUARE):
            self.pen.line([(0, y), (SIZE[0], y)], fill=relief.GRID, width=3)

    def trees(self) -> None:
        columns = terrain.GRID[0]
        for cell, value in enumerate(array("f", self.woods.tobytes())):
            if value < 4 or self.country.height[cell] < SEA + 1:
                continue
            for _ in range(1 + (value > 14) + (value > 24)):
                x = (cell % columns + self.dice.random()) * CELL
                y = (cell // columns + self.dice.random()) * CELL
                if any(hypot(x - t.x * CELL, y - t.y * CELL) < RADIUS[t.size] for t in self.towns):
                    continue
                r = 4 + 3 * self.dice.random()
                self.pen.ellipse((x - r, y - r, x + r, y + r), fill=relief.BARK)
                self.pen.ellipse((x - r, y - r, x + r - 3, y + r - 3), fill=relief.CROWN)

    def streets(self, town: Town) -> None:
        """Blocks with houses in them, on a grid that leans; the sea stays the sea."""
        radius = RADIUS[town.size]
        lean = self.dice.uniform(0, pi / 2)
        wide, deep, lane = 84, 60, 12
        across = int(radius / wide) + 1
        for row in range(-across * 2, across * 2 + 1):
            for column in range(-across, across + 1):
                x, y = column * (wide + lane), row * (deep + lane)
                edge = radius * (0.75 + 0.35 * self.dice.random())
                if hypot(x, y) < edge:
                    self.block(town, lean, x, y, wide, deep)

    def block(self, town: Town, lean: float, x: float, y: float, wide: int, deep: int) -> None:
        c, s = cos(lean), sin(lean)
        left, top = town.x * CELL, town.y * CELL

        def turned(u: float, v: float) -> Point:
            return left + u * c - v * s, top + u * s + v * c

        def box(u: float, v: float, w: float, h: float, ink: int) -> None:
            corners = [turned(u, v), turned(u + w, v), turned(u + w, v + h), turned(u, v + h)]
            self.pen.polygon(corners, fill=ink)

        if any(
            self.country.level(px / CELL, py / CELL) < SEA + 0.8
            for px, py in (turned(x, y), turned(x + wide, y + deep))
        ):
            return
        box(x - wide / 2, y - deep / 2, wide, deep, relief.BLOCK)
        for u in range(4):
            for v in (0, 1):
                if self.dice.random() < 0.85:
                    w, h = self.dice.randint(11, 18), self.dice.randint(12, 22)
                    beside, below = 3 + u * 20 - wide / 2, 3 - deep / 2 + (deep - 6 - h) * v
                    box(x + beside, y + below, w, h, relief.HOUSE)


def letter(canvas: Image.Image, country: Country, towns: list[Town]) -> None:
    letters = Letters(canvas)
    for text, place, size, tracking, degrees, colour in REGIONS:
        letters.spaced(text, place, size, tracking, degrees, colour)
    for town in towns:
        size = {3: 92, 2: 60, 1: 40}[town.size]
        letters.beside(town.name, (town.x * CELL, town.y * CELL), size, SOOT, 20 * town.size)
    names = iter(PEAKS)
    for number, (x, y, level) in enumerate(country.peaks(160, 8)):
        height = f"{round((level - SEA) * METRES)}"
        name = next(names, None) if number % 3 == 0 else None
        words = f"{name}\n{height} m" if name else height
        letters.peak((x * CELL, y * CELL), words, 34 if name else 22, EARTH)
    letters.small(
        "You are looking at the pixels themselves: no tile was cut before you asked for it.",
        (4560, 2960), 15, SEA_BLUE,
    )  # fmt: skip
    rose = compass(900)
    canvas.paste(rose, (6850, 560), rose)
    scale(canvas, letters, (6780, 5690))
    letters.spaced("THE ISLES OF IIIF", (1060, 560), 130, 10, 0, SOOT)
    letters.spaced("surveyed one tile at a time", (1060, 700), 56, 4, 0, SOOT)
    frame(canvas, letters)


def scale(canvas: Image.Image, letters: Letters, place: tuple[int, int]) -> None:
    pen = ImageDraw.Draw(canvas)
    x, y = place
    for part in range(4):
        box = (x + part * 200, y, x + (part + 1) * 200, y + 26)
        pen.rectangle(box, fill=SOOT if part % 2 == 0 else PAPER, outline=SOOT, width=4)
    for part, text in enumerate(("0", "5", "10", "15", "20 km")):
        letters.centred(text, (x + part * 200, y - 34), 44, SOOT)


def frame(canvas: Image.Image, letters: Letters) -> None:
    pen = ImageDraw.Draw(canvas)
    width, height = SIZE
    for at in range(FRAME):
        pen.rectangle((at, at, width - 1 - at, height - 1 - at), outline=PAPER)
    inner = (FRAME - 4, FRAME - 4, width - FRAME + 3, height - FRAME + 3)
    pen.rectangle(inner, outline=SOOT, width=5)
    outer = FRAME - 42
    pen.rectangle((outer, outer, width - 1 - outer, height - 1 - outer), outline=SOOT, width=4)
    step = SQUARE // 7
    for number, at in enumerate(range(FRAME, width - FRAME, step)):
        if number % 2:
            end = min(at + step, width - FRAME)
            pen.rectangle((at, outer + 8, end, FRAME - 10), fill=SOOT)
            pen.rectangle((at, height - FRAME + 9, end, height - outer - 9), fill=SOOT)
    for number, at in enumerate(range(FRAME, height - FRAME, step)):
        if number % 2:
            end = min(at + step, height - FRAME)
            pen.rectangle((outer + 8, at, FRAME - 10, end), fill=SOOT)
            pen.rectangle((width - FRAME + 9, at, width - outer - 9, end), fill=SOOT)
    for number, x in enumerate(range(FRAME + SQUARE // 2, width - FRAME, SQUARE)):
        letters.centred("ABCDEFGHIJ"[number], (x, outer // 2), 56, SOOT)
        letters.centred("ABCDEFGHIJ"[number], (x, height - outer // 2), 56, SOOT)
    for number, y in enumerate(range(FRAME + SQUARE // 2, height - FRAME, SQUARE)):
        letters.centred(str(number + 1), (outer // 2, y), 56, SOOT)
        letters.centred(str(number + 1), (width - outer // 2, y), 56, SOOT)


def draw() -> Image.Image:
    """RGB, SIZE large; always the same."""
    heights = terrain.heights()
    woods = terrain.woods(heights)
    country = Country(heights)
    draughtsman = Draughtsman(country, woods)
    canvas = relief.ground(heights, woods, draughtsman.draw())
    letter(canvas, country, draughtsman.towns)
    return canvas
