"""ICC profiles, written: for colours that a file declares in other words, and for our own answers.

Version 4, a matrix and a parametric curve (ICC.1:2022, 8.3, 8.4, 10.18): under 500 bytes.
"""

import functools
import struct
from dataclasses import dataclass

# x, y of red, green, blue and white
Primaries = tuple[tuple[float, float], ...]
Vector = tuple[float, float, float]
Matrix = tuple[Vector, Vector, Vector]

D65 = (0.3127, 0.3290)
D50: Vector = (0.9642, 1.0, 0.8249)
SRGB: Primaries = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), D65)
ADOBE_RGB: Primaries = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), D65)
DISPLAY_P3: Primaries = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), D65)
BT2020: Primaries = ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), D65)
_BRADFORD: Matrix = (
    (0.8951, 0.2664, -0.1614),
    (-0.7502, 1.7135, 0.0367),
    (0.0389, -0.0685, 1.0296),
)


@dataclass(frozen=True, slots=True)
class Curve:
    """Y = (aX + b)^g from X = d on, cX below: the ICC's parametric curve of type 3.

    With the defaults a plain power.
    """

    g: float
    a: float = 1.0
    b: float = 0.0
    c: float = 0.0
    d: float = 0.0


SRGB_CURVE = Curve(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
BT709_CURVE = Curve(1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)


def rgb(primaries: Primaries, curve: Curve, name: str = "RGB") -> bytes:
    """The profile of a display with these primaries. ValueError if they span no triangle."""
    columns = _to_d50(primaries)
    tags = {b"wtpt": _xyz(D50)}
    for part, column in zip((b"r", b"g", b"b"), columns, strict=True):
        tags[part + b"XYZ"] = _xyz(column)
        tags[part + b"TRC"] = _curve(curve)
    return _profile(b"RGB ", tags, name)


def gray(curve: Curve, name: str = "Gray") -> bytes:
    return _profile(b"GRAY", {b"wtpt": _xyz(D50), b"kTRC": _curve(curve)}, name)


@functools.cache
def srgb() -> bytes:
    """What answers in colour carry that say so."""
    return rgb(SRGB, SRGB_CURVE, "sRGB")


@functools.cache
def srgb_gray() -> bytes:
    return gray(SRGB_CURVE, "Gray, sRGB curve")


def _to_d50(primaries: Primaries) -> tuple[Vector, ...]:
    """X, Y, Z of red, green and blue, together white, adapted to D50."""
    if any(not (0 <= x <= 1 and 0 < y <= 1) for x, y in primaries):
        raise ValueError("primaries outside of the diagram")
    red, green, blue, white = (_xyz_of(*point) for point in primaries)
    by_column = _transposed((red, green, blue))
    amounts = _times(_inverted(by_column), white)
    adapt = _adaptation(white)
    return tuple(
        _times(adapt, (x * amount, y * amount, z * amount))
        for (x, y, z), amount in zip((red, green, blue), amounts, strict=True)
    )


def _xyz_of(x: float, y: float) -> Vector:
    return (x / y, 1.0, (1 - x - y) / y)


def _adaptation(white: Vector) -> Matrix:
    """Bradford's, from a white to D50 (ICC.1:2022, annex E)."""
    seen, wanted = _times(_BRADFORD, white), _times(_BRADFORD, D50)
    if min(seen) <= 0:
        raise ValueError("a white that nobody sees")
    scaled = [[value * wanted[row] / seen[row] for value in _BRADFORD[row]] for row in range(3)]
    inverse = _inverted(_BRADFORD)
    columns = [_times(inverse, (scaled[0][i], scaled[1][i], scaled[2][i])) for i in range(3)]
    return _transposed((columns[0], columns[1], columns[2]))


def _times(matrix: Matrix, vector: Vector) -> Vector:
    x, y, z = (sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix)
    return (x, y, z)


def _transposed(matrix: Matrix) -> Matrix:
    x, y, z = zip(*matrix, strict=True)
    return (x, y, z)


def _inverted(matrix: Matrix) -> Matrix:
    (a, b, c), (d, e, f), (g, h, i) = matrix
    determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    if abs(determinant) < 1e-6:
        raise ValueError("primaries on one line")
    n = 1 / determinant
    return (
        ((e * i - f * h) * n, (c * h - b * i) * n, (b * f - c * e) * n),
        ((f * g - d * i) * n, (a * i - c * g) * n, (c * d - a * f) * n),
        ((d * h - e * g) * n, (b * g - a * h) * n, (a * e - b * d) * n),
    )


def _fixed(*values: float) -> bytes:
    try:
        return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))
    except struct.error as cause:
        raise ValueError("numbers that no profile can hold") from cause


def _xyz(values: Vector) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(*values)


def _curve(curve: Curve) -> bytes:
    if curve == Curve(curve.g):
        return b"para" + bytes(4) + struct.pack(">HH", 0, 0) + _fixed(curve.g)
    numbers = (curve.g, curve.a, curve.b, curve.c, curve.d)
    return b"para" + bytes(4) + struct.pack(">HH", 3, 0) + _fixed(*numbers)


def _text(text: str) -> bytes:
    words = text.encode("utf-16-be")
    return b"mluc" + bytes(4) + struct.pack(">II4sII", 1, 12, b"enUS", len(words), 28) + words


def _profile(space: bytes, tags: dict[bytes, bytes], name: str) -> bytes:
    tags = {b"desc": _text(name), b"cprt": _text("CC0"), **tags}
    at = 128 + 4 + 12 * len(tags)
    places: dict[bytes, int] = {}
    directory, body = struct.pack(">I", len(tags)), b""
    for tag, content in tags.items():
        if content not in places:  # the three curves are one
            places[content] = at + len(body)
            body += content + bytes(-len(content) % 4)
        directory += tag + struct.pack(">II", places[content], len(content))
    head = bytearray(128)
    head[0:4] = struct.pack(">I", at + len(body))
    head[8:12] = b"\x04\x30\0\0"
    head[12:24] = b"mntr" + space + b"XYZ "
    head[24:36] = struct.pack(">6H", 2026, 1, 1, 0, 0, 0)
    head[36:40] = b"acsp"
    head[68:80] = _fixed(*D50)
    return bytes(head) + directory + body
