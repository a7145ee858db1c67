"""How far one picture is from another: PSNR, colour difference, structure."""

from typing import Any, NamedTuple

import numpy

Pixels = numpy.ndarray[Any, Any]
_TO_XYZ = numpy.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
     [0.0193339, 0.1191920, 0.9503041]]
)  # fmt: skip
_WHITE = numpy.array([0.95047, 1.0, 1.08883])


class Distance(NamedTuple):
    """dB; mean CIEDE2000 (1 is just seen, side by side); mean SSIM (1: the same)."""

    psnr: float
    delta_e: float
    ssim: float


def distance(found: Pixels, wanted: Pixels) -> Distance:
    """Of pixels (h, w, 1 to 4 channels) in sRGB. What is transparent is seen on middle gray."""
    one, other = shown(found), shown(wanted)
    return Distance(psnr(one, other), float(delta_e2000(one, other).mean()), ssim(one, other))


def shown(pixels: Pixels) -> Pixels:
    """Three channels of floats, alpha laid on gray."""
    values = numpy.asarray(pixels).astype(float)
    if values.ndim == 2:
        values = values[..., None]
    colours, alpha = values, None
    if values.shape[2] in (2, 4):
        colours, alpha = values[..., :-1], values[..., -1:] / 255
    if colours.shape[2] == 1:
        colours = colours.repeat(3, 2)
    return colours if alpha is None else colours * alpha + 128 * (1 - alpha)


def psnr(one: Pixels, other: Pixels) -> float:
    return float(10 * numpy.log10(255**2 / max(1e-6, ((one - other) ** 2).mean())))


def ssim(one: Pixels, other: Pixels, side: int = 8) -> float:
    """Wang and others 2004, of brightness, with square windows that overlap by all but a pixel."""
    a, b = (values @ numpy.array([0.299, 0.587, 0.114]) for values in (one, other))

    def mean(values: Pixels) -> Pixels:
        total = numpy.zeros((values.shape[0] + 1, values.shape[1] + 1))
        total[1:, 1:] = values.cumsum(0).cumsum(1)
        whole = total[side:, side:] - total[:-side, side:] - total[side:, :-side]
        return (whole + total[:-side, :-side]) / side**2

    at, bt = mean(a), mean(b)
    aa, bb, ab = mean(a * a) - at**2, mean(b * b) - bt**2, mean(a * b) - at * bt
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    found = (2 * at * bt + c1) * (2 * ab + c2) / ((at**2 + bt**2 + c1) * (aa + bb + c2))
    return float(found.mean())


def lab(srgb: Pixels) -> Pixels:
    code = srgb.clip(0, 255) / 255
    linear = numpy.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    xyz = linear @ _TO_XYZ.T / _WHITE
    f = numpy.where(xyz > (6 / 29) ** 3, numpy.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return numpy.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def delta_e2000(one: Pixels, other: Pixels) -> Pixels:
    """CIEDE2000 of each pixel (Sharma, Wu, Dalal 2005)."""
    return ciede2000(lab(one), lab(other))


def ciede2000(one: Pixels, other: Pixels) -> Pixels:
    """The same of L*, a*, b*."""
    (l1, a1, b1), (l2, a2, b2) = numpy.moveaxis(one, -1, 0), numpy.moveaxis(other, -1, 0)
    chroma = (numpy.hypot(a1, b1) + numpy.hypot(a2, b2)) / 2
    g = 0.5 * (1 - numpy.sqrt(chroma**7 / (chroma**7 + 25.0**7)))
    a1, a2 = a1 * (1 + g), a2 * (1 + g)
    c1, c2 = numpy.hypot(a1, b1), numpy.hypot(a2, b2)
    h1, h2 = (numpy.degrees(numpy.arctan2(b, a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    gray = c1 * c2 == 0
    turn = (h2 - h1 + 180) % 360 - 180
    # Opposite hues: both ways round are as long, the paper takes the positive one.
    turn = numpy.where(turn == -180, numpy.where(h2 > h1, 180, -180), turn)
    turn = numpy.where(gray, 0, turn)
    dl, dc, dh = l2 - l1, c2 - c1, 2 * numpy.sqrt(c1 * c2) * numpy.sin(numpy.radians(turn / 2))
    lm, cm = (l1 + l2) / 2, (c1 + c2) / 2
    far = numpy.abs(h1 - h2) > 180
    hm = numpy.where(far, (h1 + h2 + numpy.where(h1 + h2 < 360, 360, -360)) / 2, (h1 + h2) / 2)
    hm = numpy.where(gray, h1 + h2, hm)

    def cos(degrees: Pixels) -> Pixels:
        return numpy.cos(numpy.radians(degrees))

    t = 1 - 0.17 * cos(hm - 30) + 0.24 * cos(2 * hm) + 0.32 * cos(3 * hm + 6)
    t -= 0.20 * cos(4 * hm - 63)
    sl = 1 + 0.015 * (lm - 50) ** 2 / numpy.sqrt(20 + (lm - 50) ** 2)
    sc, sh = 1 + 0.045 * cm, 1 + 0.015 * cm * t
    bend = 30 * numpy.exp(-(((hm - 275) / 25) ** 2))
    rt = -2 * numpy.sqrt(cm**7 / (cm**7 + 25.0**7)) * numpy.sin(numpy.radians(2 * bend))
    light, chroma, hue = dl / sl, dc / sc, dh / sh
    squared = light**2 + chroma**2 + hue**2 + rt * chroma * hue
    return numpy.sqrt(numpy.maximum(0, squared))
