"""Colours of 16 bits through their profile at once, by imagecodecs' littleCMS (extra `[tiff]`).

Pillow has no mode for them: it gives eight bits, of which a steep profile (light, gamma 1) makes
thirteen levels at a step in the dark.
"""

import importlib
from typing import TYPE_CHECKING, Any

from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from iiif_proxy.imaging import icc, tiffextra
from iiif_proxy.imaging.color import coarse

if TYPE_CHECKING:
    import numpy

    Samples = numpy.ndarray[Any, Any]

# In between, numbers take up to eight times the room.
ROWS = 256
_RELATIVE, _BLACK_POINT = 1, 0x2000
_MODES = {"RGB;16B": "RGB", "RGBA;16B": "RGBA"}


def to_srgb(colours: "Samples", profile: bytes) -> "Samples":
    """(h, w, 3) of uint16 as uint8 in sRGB; relative colorimetric with black-point compensation."""
    import numpy

    codecs = importlib.import_module("imagecodecs")
    found: Samples = codecs.cms_transform(
        numpy.ascontiguousarray(colours),
        profile,
        icc.srgb(),
        colorspace="rgb",
        outcolorspace="rgb",
        outdtype="uint8",
        intent=_RELATIVE,
        flags=_BLACK_POINT,
    )
    return found


class DeepPng(PngImageFile):
    """A PNG; one of 16-bit colours with a steep profile is sRGB when it is loaded."""

    _through: bytes | None = None

    def srgb_by(self, profile: bytes | None, cmyk: bytes) -> bool:
        """Bring the colours to sRGB when they are loaded, if it makes a difference."""
        raw = self.tile[0][3] if self.tile else ""
        wanted = raw in _MODES and "transparency" not in self.info and tiffextra.installed()
        if wanted and profile is not None and coarse(profile, "RGB"):
            self._through = profile
        return self._through is not None

    def load(self) -> Any:
        if self._through is None or self._im is not None:
            return super().load()
        assert self.fp is not None
        self.fp.seek(0)
        samples = importlib.import_module("imagecodecs").png_decode(self.fp.read())
        if samples.shape != (self.height, self.width, len(self.getbands())):
            raise SyntaxError(f"samples of {samples.shape}")
        canvas = Image.new(self.mode, self.size)
        for top in range(0, self.height, ROWS):
            canvas.paste(self._band(samples[top : top + ROWS], self._through), (0, top))
        self.im, self.tile = canvas.im, []
        return Image.Image.load(self)

    def _band(self, samples: "Samples", profile: bytes) -> Image.Image:
        import numpy

        ready = to_srgb(samples[..., :3], profile)
        if self.mode == "RGBA":
            alpha = (samples[..., 3:].astype(numpy.uint32) + 128) // 257
            ready = numpy.concatenate([ready, alpha.astype(numpy.uint8)], -1)
        return Image.fromarray(numpy.ascontiguousarray(ready))
