"""Which files may be opened: told by their first bytes, opened by the class for just that.

Image.open is not used. It measures every image by Image.MAX_IMAGE_PIXELS, a global of the whole
process (89 megapixels, and an exception from 179) that a wrapped application may have set to
anything; it would have to be changed for all threads. Here that is an argument. It would also
try formats that call other programs.
"""

import os
from typing import IO

from PIL import Image, ImageFile

from iiif_proxy.errors import NoImage, NotFound, OriginFailed
from iiif_proxy.imaging import openers
from iiif_proxy.imaging.openers import OPENERS
from iiif_proxy.imaging.optional import needed
from iiif_proxy.imaging.reading import DEFAULT, NO_PAGE, Path, Reading, decoding, limit, open_file
from iiif_proxy.imaging.signatures import HEAD, sniff

# Of what is decoded in Python, at about a second for a megapixel or two.
SLOW_PIXELS = 8_000_000
# Pillow's decoders whose output nothing bounds.
_UNBOUNDED = {"fits_gzip"}
EXTRAS = ("heif", "pdf", "raw")


def readable(head: bytes) -> str:
    """As `sniff`, for what can be opened here; OriginFailed for anything else."""
    name = sniff(head)
    if name is None:
        raise NoImage("What the origin sent is no image that this server knows.")
    if name not in OPENERS:
        raise OriginFailed(f"The origin sent a {name} file, which this server cannot read.")
    if name in EXTRAS:
        needed(name)
    return name


def opened(
    file: Path | IO[bytes], reading: Reading = DEFAULT, close: bool = False
) -> ImageFile.ImageFile:
    """Read the header. Size and pixels are as stored, whatever the orientation says.

    A file given by its path is closed with the image, another if `close` is set. OriginFailed
    for what is no image, is not allowed, is broken or has more pixels than may be; NotFound for a
    page that it does not have.
    """
    if isinstance(file, str | os.PathLike):
        own = open_file(file)
    elif close:
        own = file
    else:
        return _opened(file, reading)
    try:
        image = _opened(own, reading)
    except BaseException:
        own.close()
        raise
    image._exclusive_fp = True
    return image


def _opened(file: IO[bytes], reading: Reading) -> ImageFile.ImageFile:
    file.seek(0)
    return open_as(readable(file.read(HEAD)), file, reading)


def open_as(name: str, file: IO[bytes], reading: Reading = DEFAULT) -> ImageFile.ImageFile:
    """As `opened`, for a file that is known to be of the format `name`."""
    file.seek(0)
    if name in ("ico", "raw") and reading.page > 1:
        raise NotFound(NO_PAGE)
    with decoding():
        # Without a file name Pillow does not map the file: no SIGBUS when it is cut off meanwhile.
        image = OPENERS[name](file, reading)
    limit(*image.size, reading.max_pixels)
    for codec, *_ in image.tile:
        if codec in Image.DECODERS:  # written in Python: some seconds for so many pixels
            limit(*image.size, SLOW_PIXELS)
        if codec in _UNBOUNDED:
            raise OriginFailed("The origin sent a compressed FITS file, which is not read here.")
    return image


def count_pages(path: Path, reading: Reading = DEFAULT) -> int:
    """How many pages a file has; 1 for most. OriginFailed as `opened`."""
    with open_file(path) as file, decoding():
        return openers.count(readable(file.read(HEAD)), file, reading)
