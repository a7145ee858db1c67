"""ICC profiles, written by hand: what a camera, a scanner and a press would embed."""

import struct
from itertools import product

# Primaries of Adobe RGB (1998), adapted to D50, in columns R, G, B.
ADOBE = ((0.60974, 0.20528, 0.14919), (0.31111, 0.62567, 0.06322), (0.01947, 0.06087, 0.74457))
D50 = (0.9642, 1.0, 0.8249)


def rgb(matrix: tuple[tuple[float, ...], ...] = ADOBE, gamma: float = 563 / 256) -> bytes:
    columns = list(zip(*matrix, strict=True))
    tags = {b"wtpt": _xyz(*D50)}
    for name, column in zip((b"r", b"g", b"b"), columns, strict=True):
        tags[name + b"XYZ"] = _xyz(*column)
        tags[name + b"TRC"] = _curve(gamma)
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags)


def gray(gamma: float) -> bytes:
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"wtpt": _xyz(*D50), b"kTRC": _curve(gamma)})


def cmyk() -> bytes:
    """A press: cyan is not (0, 255, 255), black ink is not quite black."""
    return _by_table(b"prtr", b"CMYK", 4, _press())


def _press() -> bytes:
    nodes = bytearray()
    for c, m, y, k in product((0, 1), repeat=4):
        light = 95 * (1 - 0.45 * c) * (1 - 0.5 * m) * (1 - 0.08 * y) * (1 - 0.85 * k)
        a = (-35 * c + 70 * m - 4 * y) * (1 - 0.9 * k)
        b = (-48 * c - 5 * m + 90 * y) * (1 - 0.9 * k)
        nodes += bytes([round(light * 2.55), round(a) + 128, round(b) + 128])
    return bytes(nodes)


def heavy(size: int) -> bytes:
    """The press again, with so many bytes of something that nobody reads."""
    return _by_table(b"prtr", b"CMYK", 4, _press(), {b"priv": b"data" + bytes(size)})


def faded() -> bytes:
    """A display whose black is as light as L* 12."""
    nodes = bytearray()
    for r, g, b in product((0, 1), repeat=3):
        light = 12 + 88 * (0.25 * r + 0.65 * g + 0.1 * b)
        nodes += bytes([round(light * 2.55), 60 * (r - g) + 128, 60 * (g - b) + 128])
    return _by_table(b"mntr", b"RGB ", 3, bytes(nodes))


def _by_table(
    kind: bytes, space: bytes, channels: int, nodes: bytes, more: dict[bytes, bytes] | None = None
) -> bytes:
    """`nodes` are L*, a*, b* of the corners of the cube."""
    unit = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    straight = bytes(range(256))
    table = b"mft1" + bytes(4) + bytes([channels, 3, 2, 0]) + unit
    table += straight * channels + nodes + straight * 3
    return _profile(
        kind, space, b"Lab ", {b"wtpt": _xyz(*D50), b"A2B0": table, b"A2B1": table, **(more or {})}
    )


def _xyz(*values: float) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in values))


def _curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78),
        b"cprt": b"text" + bytes(4) + b"none\0",
        **tags,
    }
    at = 128 + 4 + 12 * len(tags)
    directory, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        directory += name + struct.pack(">II", at + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = bytearray(128)
    head[0:4] = struct.pack(">I", at + len(body))
    head[8:12] = b"\x02\x10\0\0"
    head[12:24] = kind + space + connection
    head[36:40] = b"acsp"
    head[68:80] = struct.pack(">3i", *(round(value * 65536) for value in D50))
    return bytes(head) + directory + body
