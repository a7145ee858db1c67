"""Pages of a PDF, drawn by PDFium: the `[pdf]` extra.

A page has no pixels of its own: it is said to have so many an inch, and any region is drawn sharp
at the size that is asked. PDFium is not safe for threads: there is one lock for all of it.
"""

import math
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import IO, Any

from PIL import Image

from iiif_proxy.errors import NotFound
from iiif_proxy.iiif.model import Box
from iiif_proxy.imaging.later import ByRegion
from iiif_proxy.imaging.optional import needed
from iiif_proxy.imaging.reading import NO_PAGE
from iiif_proxy.imaging.resample import Edges

POINTS_AN_INCH = 72
WHITE = (255, 255, 255, 255)

_lock = threading.Lock()


class Pdf(ByRegion):
    """One page (from 1) at `dpi`, as its own /Rotate says, white where nothing is drawn."""

    format = "PDF"

    def __init__(self, file: IO[bytes], name: str, page: int, dpi: int) -> None:
        self._page, self._dpi = page, dpi
        super().__init__(file, name)

    def _open(self) -> None:
        with _page(self.fp, self._page) as page:
            width, height = page.get_size()
        scale = self._dpi / POINTS_AN_INCH
        self._size = max(1, round(width * scale)), max(1, round(height * scale))
        self._mode = "RGB"
        self.info["dpi"] = (self._dpi, self._dpi)

    def _made(self) -> Image.Image:
        return self.region(self.size, Box(0, 0, *self.size), *self.size)[0]

    def region(
        self, full: tuple[int, int], box: Box, width: int, height: int
    ) -> tuple[Image.Image, Edges]:
        """Drawn at the size that is asked: at most a fraction of a pixel is left to scale."""
        # The whole page as large as this makes it, which must be whole pixels.
        across = max(1, round(full[0] * width / box.width))
        down = max(1, round(full[1] * height / box.height))
        x, y = across / full[0], down / full[1]
        x0, y0, x1, y1 = box.x * x, box.y * y, (box.x + box.width) * x, (box.y + box.height) * y
        left, top = math.floor(x0), math.floor(y0)
        right, bottom = min(math.ceil(x1), across), min(math.ceil(y1), down)
        with _page(self.fp, self._page) as page:
            drawn = _drawn(page, (across, down), (left, top, right, bottom))
        return drawn, (x0 - left, y0 - top, min(x1, right) - left, min(y1, bottom) - top)


def count(file: IO[bytes]) -> int:
    with _document(file) as document:
        return len(document)


@contextmanager
def _document(file: Any) -> Iterator[Any]:
    needed("pdf")
    import pypdfium2

    file.seek(0)
    with _lock, closing(pypdfium2.PdfDocument(file)) as document:
        yield document


@contextmanager
def _page(file: Any, number: int) -> Iterator[Any]:
    with _document(file) as document:
        if number > len(document):
            raise NotFound(NO_PAGE)
        with closing(document[number - 1]) as page:
            yield page


def _drawn(page: Any, full: tuple[int, int], part: tuple[int, int, int, int]) -> Image.Image:
    """A part of the page, drawn as if it were `full` pixels large."""
    import pypdfium2
    from pypdfium2 import raw

    left, top, right, bottom = part
    size = (max(1, right - left), max(1, bottom - top))
    kind = raw.FPDFBitmap_BGRx
    with closing(pypdfium2.PdfBitmap.new_native(*size, kind, rev_byteorder=True)) as bitmap:
        bitmap.fill_rect(WHITE, 0, 0, *size)
        flags = raw.FPDF_ANNOT | raw.FPDF_REVERSE_BYTE_ORDER
        raw.FPDF_RenderPageBitmap(bitmap, page, -left, -top, *full, 0, flags)
        shown = Image.frombuffer("RGBX", size, bitmap.buffer, "raw", "RGBX", bitmap.stride, 1)
        return shown.convert("RGB")
