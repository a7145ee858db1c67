"""Pixel modes: whatever was stored becomes one that can be scaled and shown."""

from PIL import Image

KEPT = {"L", "LA", "RGB", "RGBA", "CMYK", "LAB"}


def normal(image: Image.Image) -> Image.Image:
    """Load, and convert to L, LA, RGB, RGBA, CMYK or LAB; deeper samples are scaled, not clipped.

    16-bit gray: divided by 257. 32-bit integer and float: the image's own minimum to maximum.
    Palettes become RGB, or RGBA where an entry is transparent. A colour that counts as
    transparent becomes alpha.
    """
    image.load()
    transparent = "transparency" in image.info
    mode = image.mode
    if mode.startswith("I;16"):
        return _scaled(image, 0, 65535)
    if mode in {"I", "F"}:
        low, high = image.getextrema()
        if mode == "I" and image.format == "PNG":
            low, high = 0, 65535
        return _scaled(image, float(low), float(high))  # type: ignore[arg-type]
    if mode in {"P", "PA"}:
        return image.convert("RGBA" if transparent or mode == "PA" else "RGB")
    if transparent and mode in {"1", "L"}:
        return image.convert("LA")
    if transparent and mode == "RGB":
        return image.convert("RGBA")
    if mode == "1":
        return image.convert("L")
    if mode in {"La", "RGBa"}:
        return image.convert({"La": "LA", "RGBa": "RGBA"}[mode])
    return image if mode in KEPT else image.convert("RGB")


def _scaled(image: Image.Image, low: float, high: float) -> Image.Image:
    span = (high - low) or 1.0
    wide = image if image.mode in {"I", "F"} else image.convert("I")
    scale = 255.0 / span
    return wide.convert("F").point(lambda v: v * scale + (0.5 - low * scale)).convert("L")
