"""What an origin may do wrong, and what a reader then sees: the table of docs/faults.md."""

import gzip
import io
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from tests.clients import reply
from tests.servers import Exchange

Handler = bytes | Callable[[Exchange], object]
TYPE = ("Content-Type", "image/png")


def picture(color: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (80, 60), color).save(buffer, "PNG")
    return buffer.getvalue()


GOOD = picture()
# Of the sidecar in front, in seconds: short, so that the tests are.
CONNECT, READ, TOTAL = 0.5, 1.0, 2.5
MOST_BYTES = 1 << 20
# Every trickle and stall ends by itself: no thread of a test outlives it for long.
LONG = 6.0


@dataclass(frozen=True, slots=True)
class Fault:
    """`status`: of an image that was never seen; `stale`: whether one that was goes on being
    served (not where what came is the new image, and whole, as far as HTTP knows); `ends`: what
    bounds the time."""

    name: str
    does: Handler
    status: int
    stale: bool
    ends: str = "at once"
    headers: tuple[tuple[str, str], ...] = ()


def broken(status: str, *fields: tuple[str, str], body: bytes = b"") -> bytes:
    return reply(status, fields, body)


def stalled(*pieces: bytes) -> Callable[[Exchange], object]:
    """These pieces, then nothing."""

    def handler(exchange: Exchange) -> None:
        for piece in pieces:
            exchange.write(piece)
        threading.Event().wait(READ * 1.5)
        exchange.close()

    return handler


def trickled(head: bytes, piece: bytes, pause: float = 0.2) -> Callable[[Exchange], object]:
    """A piece now and then, each within the time between bytes."""

    def handler(exchange: Exchange) -> None:
        exchange.write(head)
        end = time.monotonic() + LONG
        while time.monotonic() < end:
            exchange.write(piece)
            time.sleep(pause)
        exchange.close()

    return handler


def endless(exchange: Exchange) -> None:
    exchange.write(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n" + GOOD)
    for _ in range(64):
        exchange.write(bytes(MOST_BYTES // 16))
    exchange.close()


def reset(*pieces: bytes) -> Callable[[Exchange], object]:
    def handler(exchange: Exchange) -> None:
        for piece in pieces:
            exchange.write(piece)
        exchange.reset()

    return handler


def closed(*pieces: bytes) -> Callable[[Exchange], object]:
    def handler(exchange: Exchange) -> None:
        for piece in pieces:
            exchange.write(piece)
        exchange.close()

    return handler


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n"
LENGTH = b"Content-Length: %d\r\n\r\n"
HTML = b"<!doctype html><title>Sorry</title><p>We will be back soon."
ELSEWHERE = [
    ("to another host", "http://example.org/a.png"),
    ("to a private network", "http://169.254.169.254/latest/meta-data"),
    ("to a file", "file:///etc/passwd"),
]


def refuses(exchange: Exchange) -> None:
    """Stands for an origin that nobody is at: see `Origin.refusing`."""
    exchange.reset()


FAULTS = [
    Fault("refuses the connection", refuses, 502, True),
    Fault("never answers", stalled(), 504, True, "IIIF_PROXY_READ_TIMEOUT"),
    Fault("stops within its headers", stalled(b"HTTP/1.1 200 OK\r\nX-A"), 504, True,
          "IIIF_PROXY_READ_TIMEOUT"),
    Fault("sends its headers byte by byte", trickled(b"HTTP/1.1 200 OK\r\nX: ", b"y"), 504, True,
          "IIIF_PROXY_SOURCE_TIMEOUT"),
    Fault("stops within the image", stalled(HEAD + LENGTH % len(GOOD) + GOOD[:60]), 504, True,
          "IIIF_PROXY_READ_TIMEOUT"),
    Fault("sends the image byte by byte", trickled(HEAD + LENGTH % 9999, b"y"), 504, True,
          "IIIF_PROXY_SOURCE_TIMEOUT"),
    Fault("resets before the answer", reset(), 502, True),
    Fault("resets within the image", reset(HEAD + LENGTH % 99_999 + GOOD[:60]), 502, True),
    Fault("closes before the answer", closed(), 502, True),
    Fault("closes within the image", closed(HEAD + LENGTH % len(GOOD) + GOOD[:60]), 502, True),
    Fault("announces more than it sends", closed(HEAD + LENGTH % 9999 + GOOD), 502, True),
    Fault("announces less than it sends", closed(HEAD + LENGTH % 50 + GOOD), 502, False),
    Fault("breaks off in a chunk", closed(
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nff\r\n" + GOOD[:60]), 502, True),
    Fault("sends chunks that are none", closed(
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nnone\r\n" + GOOD), 502, True),
    Fault("sends HTML with status 200", reply(fields=[("Content-Type", "text/html")], body=HTML),
          502, True),
    Fault("sends nothing with status 200", reply(fields=[TYPE]), 502, True),
    Fault("sends an image that is cut off", reply(fields=[TYPE], body=GOOD[:-40]), 502, False),
    Fault("sends without end", endless, 502, True, "IIIF_PROXY_SOURCE_MAX_BYTES"),
    Fault("announces what is too large",
          closed(HEAD + LENGTH % (MOST_BYTES * 4) + GOOD), 502, True),
    Fault("sends no HTTP", closed(b"\0\1\2 this is not HTTP\r\n\r\n"), 502, True),
    Fault("redirects in circles", reply("302 Found", [("Location", "/loop")]), 502, True),
    *[
        Fault(f"redirects {where}", reply("302 Found", [("Location", url)]), 502, True)
        for where, url in ELSEWHERE
    ],
    Fault("says 401", reply("401 Unauthorized", [("WWW-Authenticate", 'Basic realm="a"')]), 401,
          False, headers=(("WWW-Authenticate", 'Basic realm="a"'),)),
    Fault("says 403", reply("403 Forbidden"), 403, False),
    Fault("says 404", reply("404 Not Found"), 404, False),
    Fault("says 410", reply("410 Gone"), 404, False),
    Fault("says 429", reply("429 Too Many Requests", [("Retry-After", "7")]), 429, True,
          headers=(("Retry-After", "7"),)),
    Fault("says 500", reply("500 Oops"), 502, True),
    Fault("says 503", reply("503 Later", [("Retry-After", "7")]), 502, True),
]  # fmt: skip

# What looks odd and is no fault: the image is right.
ODD: dict[str, Handler] = {
    "chunks, no length": HEAD
    + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(GOOD), GOOD),
    "neither length nor chunks": closed(HEAD + b"\r\n" + GOOD),
    "gzip although asked not to": reply(
        fields=[TYPE, ("Content-Encoding", "gzip")], body=gzip.compress(GOOD)
    ),
    "the wrong media type": reply(fields=[("Content-Type", "text/html")], body=GOOD),
    "an interim answer first": b"HTTP/1.1 103 Early Hints\r\n\r\n"
    + reply(fields=[TYPE], body=GOOD),
}
