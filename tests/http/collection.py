"""Pictures that the origin has, made when they are asked for."""

import functools
import io
import re
from collections.abc import Callable
from urllib.parse import unquote

import numpy
from PIL import Image

from tests.servers import Exchange, reply

WHITE, BLACK = (255, 255, 255), (0, 0, 0)
RED, GREEN, BLUE, YELLOW = (220, 30, 30), (30, 180, 60), (40, 60, 200), (240, 220, 40)
MEDIA = {"png": "image/png", "jpg": "image/jpeg", "tif": "image/tiff", "gif": "image/gif"}
PILLOW = {"png": "PNG", "jpg": "JPEG", "tif": "TIFF", "gif": "GIF"}
MODIFIED = "Tue, 03 Mar 2026 10:00:00 GMT"
# By EXIF's value, how an upright picture is laid down so that the tag stands it up again.
LAID_DOWN = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def saved(image: Image.Image, extension: str = "png", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, PILLOW[extension], **options)
    return file.getvalue()


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def coordinates(width: int, height: int) -> numpy.ndarray:
    """Every pixel says where it is: x and y in 12 bits each."""
    y, x = numpy.mgrid[0:height, 0:width]
    return numpy.dstack([x & 255, y & 255, (x >> 8 << 4) | y >> 8]).astype("uint8")


def gradient(width: int, height: int) -> Image.Image:
    """Red grows to the right and green downwards, from 0 to 255."""
    y, x = numpy.mgrid[0:height, 0:width]
    red, green = 255 * (x + 0.5) / width, 255 * (y + 0.5) / height
    return Image.fromarray(numpy.dstack([red, green, 0 * red + 80]).round().astype("uint8"))


def quarters(width: int, height: int) -> Image.Image:
    """Red, green, blue and yellow from the top left to the bottom right."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    image.paste(YELLOW, (width // 2, height // 2, width, height))
    return image


def oriented(value: int) -> bytes:
    """160 x 96 upright, in a JPEG with EXIF orientation `value`, an ICC profile and a comment."""
    image, turn = quarters(160, 96), LAID_DOWN[value]
    if turn is not None:
        image = image.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = value
    return saved(image, "jpg", quality=95, subsampling=0, exif=exif, comment=b"private")


def transparent() -> Image.Image:
    """The left half opaque red, the right half fully transparent black."""
    image = Image.new("RGBA", (300, 200), (0, 0, 0, 0))
    image.paste((*RED, 255), (0, 0, 150, 200))
    return image


def ramp() -> Image.Image:
    """Black to white, from left to right."""
    return Image.fromarray(numpy.tile(numpy.linspace(0, 255, 300).astype("uint8"), (200, 1)))


def signed() -> bytes:
    """300 pixels an inch, and words of EXIF: whose it is, and where it was."""
    exif = Image.Exif()
    exif[0x013B], exif[0x8298] = "Maria Sibylla Merian", "Public domain"
    exif.get_ifd(0x8825).update({1: "N", 2: (50.0, 6.0, 39.0)})
    exif.get_ifd(0x8769)[0xA434] = "Secret Lens"
    return saved(gradient(1200, 800), "jpg", quality=95, dpi=(300, 300), exif=exif)


def halved(data: bytes) -> bytes:
    return data[: len(data) // 2]


MADE: dict[str, Callable[[], bytes]] = {
    "/coordinates.png": lambda: saved(Image.fromarray(coordinates(300, 200))),
    "/coordinates.tif": lambda: saved(Image.fromarray(coordinates(300, 200)), "tif"),
    "/large.png": lambda: saved(Image.fromarray(coordinates(1301, 1102))),
    "/gradient.png": lambda: saved(gradient(300, 200)),
    "/gradient.jpg": lambda: saved(gradient(1200, 800), "jpg", quality=95, subsampling=0),
    "/signed.jpg": signed,
    "/quarters.png": lambda: saved(quarters(300, 200)),
    "/transparent.png": lambda: saved(transparent()),
    "/gray.png": lambda: saved(ramp()),
    "/gray-alpha.png": lambda: saved(transparent().convert("LA")),
    "/bilevel.png": lambda: saved(ramp().convert("1", dither=Image.Dither.NONE)),
    "/palette.gif": lambda: saved(quarters(300, 200).quantize(16), "gif"),
    "/text.txt": lambda: b"This is no image.\n",
    "/broken.png": lambda: halved(saved(gradient(300, 200))),
    "/broken.jpg": lambda: halved(saved(gradient(300, 200), "jpg")),
    "/broken-large.jpg": lambda: halved(saved(gradient(1800, 1200), "jpg")),
    "/broken.tif": lambda: halved(saved(gradient(300, 200), "tif")),
    **{f"/oriented-{value}.jpg": functools.partial(oriented, value) for value in LAID_DOWN},
}

# Names that are hard to ask for, and how wide each picture is: no two of them are the same.
NAMES = {
    "/a/b.png": 11,
    "/a%2Fb.png": 12,
    "/100%.png": 13,
    "/x+y.png": 14,
    "/ark:/12025/654xz321": 15,
    "/café.png": 16,
    "/de-ad.png": 17,
    "/2": 18,
    "/3": 19,
    "/sp ace.png": 20,
    "/what?.png": 21,
    "/a#b.png": 22,
    "/a,b;c=d!e.png": 23,
    "/[x]@y.png": 24,
    "/x/info.json": 25,
    "/2/a.png": 26,
    "/full/max/0/default.jpg": 27,
    "/日本.png": 28,
    "/a%25b.png": 29,
    "/~tilde.png": 30,
    "/a/b/c/d/e.png": 31,
}


@functools.cache
def picture(path: str) -> bytes | None:
    """`MADE`, and `/300x200.jpg` for one of that size and of one colour (`.png`, `.tif` too)."""
    if path in MADE:
        return MADE[path]()
    if path in NAMES:
        return saved(Image.new("L", (NAMES[path], 10), NAMES[path]))
    if found := re.fullmatch(r"/([0-9]+)x([0-9]+)\.(png|jpg|tif)", path):
        image = Image.new("RGB", (int(found[1]), int(found[2])), BLUE)
        return saved(image, found[3])
    return None


def serve(exchange: Exchange) -> None:
    """The handler of an origin: 404 for what is no picture, 304 where it may be."""
    exchange.read()
    path = unquote(exchange.request.target.partition("?")[0])
    body = picture(path)
    if body is None:
        exchange.write(reply("404 Not Found", [("Content-Type", "text/plain")], b"Not here.\n"))
        return
    tag = f'"{len(body)}"'
    fields = [("ETag", tag), ("Last-Modified", MODIFIED)]
    if tag in exchange.request.all("If-None-Match"):
        exchange.write(reply("304 Not Modified", fields))
        return
    media = MEDIA.get(path.rpartition(".")[2], "text/plain")
    exchange.write(reply("200 OK", [("Content-Type", media), *fields], body))
