"""At most 256 colours, chosen from the image: what a GIF can hold."""

from PIL import Image, ImageChops

COLOURS = 256
# Alpha below this is transparent in a GIF, which knows nothing in between.
OPAQUE = 128
# Side of what the colours are chosen from: a 512-pixel tile takes 0.15 s, from all of it 2 s.
SAMPLE = 128


def indexed(image: Image.Image) -> Image.Image:
    """An image of mode 1, L, LA, RGB or RGBA as mode P (or L as it is).

    An index is kept for what is transparent and named in `info["transparency"]`. Few colours are
    kept exactly; many are chosen to be far apart, and dithered.
    """
    if image.mode == "1":
        pair = image.convert("L").point([index // OPAQUE for index in range(256)])
        pair.putpalette([0, 0, 0, 255, 255, 255])
        return pair
    if image.mode == "L":
        return image
    if image.mode not in ("LA", "RGBA"):
        return _chosen(image.convert("RGB"), COLOURS)
    hidden = image.getchannel("A").point([255] * OPAQUE + [0] * (256 - OPAQUE))
    colours = image.convert("RGB")
    # What nobody sees takes the place of no colour: it gets one that is there.
    colours.paste(_seen(colours, hidden), mask=hidden)
    found = _chosen(colours, COLOURS - 1)
    transparent = len(found.getpalette() or ()) // 3
    found.putpalette([*(found.getpalette() or ()), 0, 0, 0])
    found.paste(transparent, mask=hidden)
    found.info = {"transparency": transparent}
    return found


def _seen(colours: Image.Image, hidden: Image.Image) -> tuple[int, ...]:
    """The colour of some pixel that is not hidden; black if all are."""
    shown = ImageChops.invert(hidden)
    box = shown.getbbox()
    if box is None:
        return (0, 0, 0)
    top = box[1]
    row = shown.crop((0, top, shown.width, top + 1)).getbbox()
    pixel = colours.getpixel((row[0] if row else 0, top))
    return pixel if isinstance(pixel, tuple) else (0, 0, 0)


def _chosen(image: Image.Image, most: int) -> Image.Image:
    if image.getcolors(most) is not None:
        return image.quantize(most, Image.Quantize.MEDIANCUT)
    sample = image.resize(
        (min(image.width, SAMPLE), min(image.height, SAMPLE)), Image.Resampling.NEAREST
    )
    palette = sample.quantize(most, Image.Quantize.MAXCOVERAGE)
    return image.quantize(most, palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
