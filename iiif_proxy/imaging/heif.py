"""HEIF and HEIC, decoded by libheif: the `[heif]` extra.

libheif applies `irot` and `imir` while it decodes; EXIF's orientation says the same once more, and
does not count (ISO/IEC 23008-12, 6.5.10), so it is not handed on.
"""

import importlib
from typing import IO, Any

from PIL import Image

from iiif_proxy.errors import NotFound
from iiif_proxy.imaging.later import Later
from iiif_proxy.imaging.optional import needed
from iiif_proxy.imaging.reading import NO_PAGE


class Heif(Later):
    """One picture of the file: page 1 is the primary one."""

    format = "HEIF"

    def __init__(self, file: IO[bytes], name: str, page: int = 1) -> None:
        self._page = page
        super().__init__(file, name)

    def _open(self) -> None:
        library = importlib.import_module(needed("heif"))
        assert self.fp is not None
        found = library.open_heif(self.fp, convert_hdr_to_8bit=True)
        if self._page > len(found):
            raise NotFound(NO_PAGE)
        self._chosen = pictures(found)[self._page - 1]
        self._size = self._chosen.size
        self._mode = self._chosen.mode
        profile = self._chosen.info.get("icc_profile")
        if profile:
            self.info["icc_profile"] = profile
        # Not as "exif": there it would turn the picture.
        self.info["names"] = self._chosen.info.get("exif")
        self.info["xmp"] = self._chosen.info.get("xmp")
        numbers = self._chosen.info.get("nclx_profile")
        if numbers:  # H.273's, for `declared`
            named = numbers["color_primaries"], numbers["transfer_characteristics"]
            self.info["nclx"] = bytes(int(number) & 255 for number in named)

    def _made(self) -> Image.Image:
        made: Image.Image = self._chosen.to_pillow()
        return made


def pictures(found: Any) -> list[Any]:
    """The images of an opened file, the primary one first."""
    images = list(found)
    primary = found.primary_index
    return [images[primary], *images[:primary], *images[primary + 1 :]]


def count(file: IO[bytes]) -> int:
    library = importlib.import_module(needed("heif"))
    return len(pictures(library.open_heif(file)))
