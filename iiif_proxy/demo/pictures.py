"""The small pictures of the demo: what cameras and designers leave behind."""

from math import cos, pi, sin

from PIL import Image, ImageDraw, ImageFilter

from iiif_proxy.demo.letters import font

Point = tuple[float, float]
ORIENTATION = 0x0112
QUARTER_TURN = 6  # show it turned by 90 degrees clockwise
FINE = 2  # drawn so many times larger, then reduced: smooth edges


def compass(side: int) -> Image.Image:
    """A rose, RGBA: opaque points on a translucent disc on nothing."""
    size = side * FINE
    image = Image.new("RGBA", (size, size), (255, 255, 255, 0))
    pen = ImageDraw.Draw(image)
    middle = size / 2

    def at(degrees: float, share: float) -> Point:
        angle = (degrees - 90) * pi / 180
        return middle + cos(angle) * share * middle, middle + sin(angle) * share * middle

    def disc(share: float, fill: tuple[int, ...] | None, width: int = 0) -> None:
        low, high = middle * (1 - share), middle * (1 + share)
        box = (low, low, high, high)
        pen.ellipse(box, fill=fill, outline=(44, 74, 104, 255) if width else None, width=width)

    disc(0.80, (250, 246, 236, 120), size // 200)
    disc(0.72, (64, 132, 176, 70), size // 400)
    for tick in range(72):
        inner = 0.74 if tick % 2 else 0.72
        pen.line([at(tick * 5, inner), at(tick * 5, 0.80)], (44, 74, 104, 255), size // 300)
    for turn, reach, light, dark in (
        (22.5, 0.46, (226, 214, 190, 255), (150, 132, 108, 255)),
        (45, 0.60, (236, 226, 204, 255), (104, 128, 146, 255)),
        (0, 0.78, (255, 252, 244, 255), (178, 58, 46, 255)),
    ):
        between = 45 if turn == 22.5 else 90
        for point in range(360 // between):
            degrees = turn + point * between
            tip, foot = at(degrees, reach), (middle, middle)
            pen.polygon([tip, at(degrees - 45 * reach, 0.13), foot], fill=dark)
            pen.polygon([tip, at(degrees + 45 * reach, 0.13), foot], fill=light)
    disc(0.05, (44, 74, 104, 255))
    for degrees, letter in ((0, "N"), (90, "E"), (180, "S"), (270, "W")):
        pen.text(at(degrees, 0.895), letter, (44, 54, 64, 255), font(size // 11), "mm")
    return image.reduce(FINE)


def portrait() -> Image.Image:
    """A cartographer by the window, 1500 x 2000, RGB, upright."""
    width, height = 1500 * FINE, 2000 * FINE
    sky = Image.linear_gradient("L").resize((width, height))
    image = Image.composite(
        Image.new("RGB", sky.size, (244, 190, 130)), Image.new("RGB", sky.size, (86, 116, 160)), sky
    )
    pen = ImageDraw.Draw(image)

    def scaled(*values: float) -> list[float]:
        return [value * FINE for value in values]

    pen.ellipse(scaled(960, 780, 1320, 1140), fill=(255, 226, 166))
    for number, (colour, base, swing) in enumerate(
        (((124, 132, 164), 1120, 130), ((96, 108, 146), 1240, 100), ((66, 84, 120), 1380, 70))
    ):
        ridge = [
            (x * FINE, (base - swing * abs(sin(x / 190 + number * 2.1)) ** 1.5) * FINE)
            for x in range(-10, 1520, 10)
        ]
        pen.polygon([(0, height), *ridge, (width, height)], fill=colour)
    # The coat, the neck, the head, the hair, the cap
    pen.ellipse(scaled(210, 1400, 1290, 2700), fill=(34, 58, 78))
    pen.polygon(scaled(660, 1420, 840, 1420, 800, 1760, 750, 1830, 700, 1760), fill=(238, 232, 218))
    pen.polygon(scaled(640, 1380, 750, 1560, 560, 1730, 470, 1500), fill=(46, 76, 100))
    pen.polygon(scaled(860, 1380, 750, 1560, 940, 1730, 1030, 1500), fill=(46, 76, 100))
    pen.rounded_rectangle(scaled(645, 1180, 855, 1500), 90 * FINE, fill=(198, 138, 106))
    pen.ellipse(scaled(470, 640, 1030, 1180), fill=(70, 44, 36))
    pen.rounded_rectangle(scaled(470, 880, 560, 1290), 45 * FINE, fill=(70, 44, 36))
    pen.rounded_rectangle(scaled(940, 880, 1030, 1290), 45 * FINE, fill=(70, 44, 36))
    pen.rounded_rectangle(scaled(530, 740, 970, 1370), 215 * FINE, fill=(226, 168, 132))
    pen.pieslice(scaled(510, 680, 990, 1100), 180, 360, fill=(70, 44, 36))
    pen.polygon(scaled(510, 888, 620, 870, 860, 800, 990, 888), fill=(70, 44, 36))
    pen.ellipse(scaled(430, 560, 1090, 840), fill=(178, 58, 46))
    pen.polygon(scaled(436, 720, 470, 780, 1040, 772, 1084, 712), fill=(148, 42, 36))
    pen.ellipse(scaled(735, 535, 785, 585), fill=(148, 42, 36))
    # The face
    for x in (640, 860):
        pen.ellipse(scaled(x - 78, 950, x + 78, 1106), (250, 244, 236), (52, 40, 40), 14 * FINE)
        pen.ellipse(scaled(x - 26, 1002, x + 26, 1054), fill=(58, 80, 70))
        pen.ellipse(scaled(x - 4, 1008, x + 14, 1026), fill=(255, 255, 255))
    pen.line(scaled(718, 1024, 782, 1024), (52, 40, 40), 14 * FINE)
    pen.arc(scaled(570, 890, 700, 970), 200, 330, (70, 44, 36), 14 * FINE)
    pen.arc(scaled(800, 890, 930, 970), 210, 340, (70, 44, 36), 14 * FINE)
    pen.arc(scaled(706, 1060, 790, 1180), 20, 150, (184, 122, 92), 14 * FINE)
    pen.arc(scaled(650, 1130, 850, 1280), 30, 150, (150, 62, 58), 18 * FINE)
    image = image.reduce(FINE).filter(ImageFilter.UnsharpMask(2, 40))
    pen = ImageDraw.Draw(image)
    words = "stored on its side, EXIF orientation 6"
    pen.text((750, 1930), words, (240, 234, 222), font(44), "mm")
    return image


def on_its_side(image: Image.Image) -> tuple[Image.Image, Image.Exif]:
    """As a camera held upright stores it: the pixels lying, and a note that says so."""
    exif = Image.Exif()
    exif[ORIENTATION] = QUARTER_TURN
    return image.transpose(Image.Transpose.ROTATE_90), exif
