"""A stored tile of a TIFF as it is: a JPEG that needs neither decoding nor encoding."""

from iiif_proxy.errors import OriginFailed
from iiif_proxy.iiif.model import Box
from iiif_proxy.imaging import jpegtile
from iiif_proxy.imaging.tiffcanvas import stored
from iiif_proxy.imaging.tifflevel import JPEG, Level
from iiif_proxy.imaging.tiffviews import View
from iiif_proxy.ranges import BlockCache

# Of photometric interpretations those that a JPEG can say: gray (0 is black), RGB, YCbCr.
_SAID = {1: 1, 2: 3, 6: 3}


def whole(cache: BlockCache, view: View, region: Box, width: int, height: int) -> bytes | None:
    """The file, if this region is one whole tile of the view's level; None: it must be decoded.

    Tiles at the right and lower edge are not: they are padded.
    """
    level = view.level
    left, top = region.x // view.factor, region.y // view.factor
    fits = (width, height) == (level.tile_width, level.tile_height)
    inside = left + width <= level.width and top + height <= level.height
    if not (_is_plain(level) and fits and inside and not left % width and not top % height):
        return None
    row, column = top // height, left // width
    ((span,),) = level.locate([row], [column])
    if not span[1]:
        return None
    (data,) = stored(cache, [span])
    try:
        frame = jpegtile.parse_frame(data)
    except OriginFailed:
        return None
    if (frame.width, frame.height, frame.bits) != (width, height, 8):
        return None
    if len(frame.sampling) != level.samples:
        return None
    return jpegtile.standalone(level.tables, data, frame, level.photometric == 2)


def _is_plain(level: Level) -> bool:
    return (
        level.tiled
        and level.compression == JPEG
        and not level.planar
        and level.bits == 8
        and level.sample_format == 1
        and not level.extra
        and _SAID.get(level.photometric) == level.samples
    )
