"""Negatives of cameras, developed by LibRaw: the `[raw]` extra.

Developed as the camera says: its white balance, sRGB, 8 bits, upright.
"""

import importlib

from PIL import Image

from iiif_proxy.imaging.later import Later
from iiif_proxy.imaging.optional import needed
from iiif_proxy.imaging.tifftags import Structure
from iiif_proxy.ranges import BlockCache, ByteSource

# Of TIFF/EP and DNG: this is no picture yet.
_PHOTOMETRIC, _SUB_IFDS, _DNG_VERSION = 262, 330, 50706
_COLOUR_FILTERS, _LINEAR = 32803, 34892
_MOST_BELOW = 16
_ON_ITS_SIDE = (5, 6)
# The curve of sRGB: power, and slope at the dark end.
SRGB = (2.4, 12.92)


class Raw(Later):
    """The picture that is in a negative."""

    format = "RAW"

    def _open(self) -> None:
        library = importlib.import_module(needed("raw"))
        assert self.fp is not None
        self.fp.seek(0)
        with library.imread(self.fp) as found:
            sizes = found.sizes
        width, height = sizes.iwidth, sizes.iheight
        self._size = (height, width) if sizes.flip in _ON_ITS_SIDE else (width, height)
        self._mode = "RGB"

    def _made(self) -> Image.Image:
        library = importlib.import_module(needed("raw"))
        assert self.fp is not None
        self.fp.seek(0)
        with library.imread(self.fp) as found:
            return Image.fromarray(found.postprocess(use_camera_wb=True, gamma=SRGB, output_bps=8))


def is_raw(source: ByteSource) -> bool:
    """Whether a TIFF is the negative of a camera: what other readers show is its thumbnail."""
    if source.read(8, 3) == b"CR\x02":
        return True
    structure = Structure(BlockCache(source))
    first = structure.directory(structure.first)
    if _DNG_VERSION in first.entries:
        return True
    below = first.numbers(_SUB_IFDS, 1 << 10)[:_MOST_BELOW]
    directories = [first, *(structure.directory(offset) for offset in below)]
    kinds = {directory.number(_PHOTOMETRIC, 1) for directory in directories}
    return bool(kinds & {_COLOUR_FILTERS, _LINEAR})
