"""Files with several pictures: which of them are pages, and turning to one."""

from PIL import ImageFile
from PIL.MpoImagePlugin import MpoImageFile

from iiif_proxy.errors import NotFound, OriginFailed
from iiif_proxy.imaging.reading import NO_PAGE

# Each picture of an animation lies on those before it: so many pixels may be decoded for one.
MOST_ON_THE_WAY = 2_000_000_000
# MPO: the first picture once more, smaller (CIPA DC-007, 5.2.3.3.1).
_SMALLER = {"Large Thumbnail (VGA Equivalent)", "Large Thumbnail (Full HD Equivalent)"}
_NUMBER, _ENTRIES = 0xB001, 0xB002


def turn_to(image: ImageFile.ImageFile, page: int, max_pixels: int | None) -> None:
    """Page from 1. NotFound if there is none of that number."""
    places = places_of(image)
    if not 1 <= page <= len(places):
        raise NotFound(NO_PAGE)
    width, height = image.size
    if not isinstance(image, MpoImageFile) and page * width * height > MOST_ON_THE_WAY:
        raise OriginFailed("This page of the source image is too far behind for this server.")
    image.seek(places[page - 1])


def places_of(image: ImageFile.ImageFile) -> list[int]:
    """The frames that are pages, as Pillow counts them."""
    frames = list(range(getattr(image, "n_frames", 1)))
    if image.format == "PSD":  # its layers are no pages
        return frames[:1]
    if not isinstance(image, MpoImageFile):
        return frames
    kinds = [entry["Attribute"]["MPType"] for entry in (image.mpinfo or {}).get(_ENTRIES, [])]
    return [frame for frame in frames if frame == 0 or kinds[frame] not in _SMALLER]
