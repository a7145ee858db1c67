"""An origin's pictures that are told apart by a look, and whether an answer is right."""

import io
import random

from PIL import Image

from tests.clients import Answer, ask, get, reply
from tests.servers import Exchange, Served

SIZE = (480, 360)
# What JPEG, and its scaling, may do to a flat colour.
NEAR = 6


def colour_of(name: str) -> tuple[int, int, int]:
    rng = random.Random(name)
    return rng.randrange(256), rng.randrange(256), rng.randrange(256)


def drawn(name: str, size: tuple[int, int] = SIZE) -> bytes:
    """Flat, with a band of noise at three quarters of its height, 28 KB that nothing makes less."""
    buffer = io.BytesIO()
    image = Image.new("RGB", size, colour_of(name))
    noise = random.Random(name).randbytes(size[0] * 20 * 3)
    image.paste(Image.frombytes("RGB", (size[0], 20), noise), (0, size[1] * 3 // 4))
    image.save(buffer, "PNG")
    return buffer.getvalue()


def serve(exchange: Exchange) -> None:
    """Any name is a picture; it stays what it is for an hour."""
    name = exchange.request.target.rpartition("/")[2]
    if not name.endswith(".png"):
        exchange.write(reply("404 Not Found"))
        return
    fields = [
        ("Content-Type", "image/png"), ("ETag", f'"{name}"'), ("Cache-Control", "max-age=3600")
    ]  # fmt: skip
    exchange.write(reply(fields=fields, body=drawn(name)))


def asked(served: Served, name: str, rest: str = "full/max/0/default.png") -> Answer:
    request = get(f"/iiif/3/{name}/{rest}", "Accept: text/plain")
    return ask(served.port, request, timeout=60)


def right(answer: Answer, name: str, size: tuple[int, int] = SIZE) -> bool:
    """A whole image of that size, and of its colour from corner to corner."""
    assert answer.status == 200, (answer.status, answer.body[:200])
    assert answer.whole
    image = Image.open(io.BytesIO(answer.body))
    image.load()
    assert image.size == size
    spots = [(0, 0), (size[0] // 2, size[1] // 2), (size[0] - 1, size[1] - 1)]
    found = [image.convert("RGB").getpixel(spot) for spot in spots]
    wanted = colour_of(name)
    near = all(abs(a - b) <= NEAR for one in found for a, b in zip(one, wanted, strict=True))  # type: ignore[arg-type]  # of an RGB image
    assert near, (found, wanted)
    return True


def hit(answer: Answer) -> bool:
    return "; hit" in (answer.get("Cache-Status") or "")
