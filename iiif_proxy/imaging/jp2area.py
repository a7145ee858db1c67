"""Parts of a JPEG 2000 without decoding the rest: OpenJPEG by way of glymur, the `[jp2]` extra.

A part of 512 pixels of a lossless 6-megapixel image takes 0.26 s, all of it 5.2 s. Only what needs
no more than its samples is read so (`jpeg2000.Facts.plain`); Pillow does the rest.
"""

import functools
import importlib
from contextlib import ExitStack
from importlib.util import find_spec
from typing import Any

from PIL import Image

BANDS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}
_CODESTREAM, _JP2 = 0, 2
# 2.4 is the first that reads areas at reduced resolution right.
_OLDEST = (2, 4)


def installed() -> bool:
    return find_spec("glymur") is not None


@functools.cache
def library() -> Any | None:
    """glymur's OpenJPEG; None without the extra, or without the library of the system.

    (Its own reader is not used: that parses XML and more, of a file that anybody may have made.)
    """
    if not installed():
        return None
    found: Any = importlib.import_module("glymur.lib.openjp2")
    if found.OPENJP2 is None:
        return None
    version = tuple(int(part) for part in found.version().split(".")[:2])
    return found if version >= _OLDEST else None


def decoded(
    path: str, mode: str, boxed: bool, area: tuple[int, int, int, int], halvings: int
) -> Image.Image:
    """The pixels between left, top, right and bottom (of the full image), halved so often.

    `boxed`: it is a JP2 file, not a bare codestream. Raises whatever goes wrong.
    """
    openjp2 = library()
    assert openjp2 is not None
    with ExitStack() as stack:
        stream = openjp2.stream_create_default_file_stream(path, True)
        stack.callback(openjp2.stream_destroy, stream)
        codec = openjp2.create_decompress(_JP2 if boxed else _CODESTREAM)
        stack.callback(openjp2.destroy_codec, codec)
        parameters = openjp2.set_default_decoder_parameters()
        parameters.cp_reduce = halvings
        openjp2.setup_decoder(codec, parameters)
        image = openjp2.read_header(stream, codec)
        stack.callback(openjp2.image_destroy, image)
        openjp2.set_decode_area(codec, image, *area)
        openjp2.decode(codec, stream, image)
        openjp2.end_decompress(codec, stream)
        return _pixels(image.contents, mode)


def _pixels(image: Any, mode: str) -> Image.Image:
    import numpy  # comes with glymur

    if image.numcomps != BANDS[mode]:
        raise ValueError(f"{image.numcomps} components in {mode}")
    bands = []
    for number in range(image.numcomps):
        part = image.comps[number]
        if not part.data or part.prec != 8 or part.sgnd:
            raise ValueError("a component that was not decoded")
        samples = numpy.ctypeslib.as_array(part.data, (part.h, part.w))
        bands.append(samples.clip(0, 255).astype(numpy.uint8))
    found = numpy.dstack(bands) if len(bands) > 1 else bands[0]
    return Image.fromarray(found, mode)
