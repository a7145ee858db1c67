"""Images that another library than Pillow decodes, when their pixels are wanted."""

from typing import Any

from PIL import Image, ImageFile

from iiif_proxy.iiif.model import Box
from iiif_proxy.imaging.resample import Edges


class Later(ImageFile.ImageFile):
    """An image whose header is read. A subclass says in `_open` what it is (`_size`, `_mode`,
    `info`), and in `_made` gives its pixels, of that size and mode."""

    def _made(self) -> Image.Image:
        raise NotImplementedError

    def load(self) -> Any:
        if self._im is None:
            made = self._made()
            if (made.mode, made.size) != (self.mode, self.size):
                raise SyntaxError(f"{made.mode} {made.size} where {self.mode} {self.size} was said")
            made.load()
            self.im = made.im
        return Image.Image.load(self)


class ByRegion(Later):
    """One that decodes no more than what is asked for."""

    def region(
        self, full: tuple[int, int], box: Box, width: int, height: int
    ) -> tuple[Image.Image, Edges]:
        """Pixels in which `box` lies between the edges, at `width` x `height` or a bit more.

        `full` is the size in whose pixels the box is, whatever `size` is now.
        """
        raise NotImplementedError
