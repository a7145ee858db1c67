"""TIFF that Pillow knows nothing of, decoded by tifffile and imagecodecs: the `[tiff]` extra."""

import importlib
from typing import IO, Any

from PIL import Image

from iiif_proxy.imaging.later import Later
from iiif_proxy.imaging.optional import needed

_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_WHITE_IS_ZERO, _PALETTE, _SEPARATED, _LAB = 0, 3, 5, 8
_ORIENTATION, _ICC_PROFILE = 274, 34675


class WholeTiff(Later):
    """One directory of the chain (`index`, from 0). More than 8 bits are scaled to 8: integers
    from what they can be, floats from the least to the greatest value that there is."""

    format = "TIFF"

    def __init__(self, file: IO[bytes], name: str, index: int = 0) -> None:
        self._index = index
        self.tag_v2: dict[int, Any] = {}
        super().__init__(file, name)

    def _open(self) -> None:
        with self._read() as tiff:
            page = tiff.pages[self._index]
            photometric = int(page.photometric)
            samples = page.samplesperpixel
            if photometric in (_PALETTE, _LAB) or samples not in _MODES or page.imagedepth != 1:
                raise SyntaxError(f"photometric {photometric}, {samples} samples")
            self._mode = "CMYK" if (photometric, samples) == (_SEPARATED, 4) else _MODES[samples]
            self._size = page.imagewidth, page.imagelength
            self._inverted = photometric == _WHITE_IS_ZERO
            for tag in (_ORIENTATION, _ICC_PROFILE):
                if tag in page.tags:
                    self.tag_v2[tag] = page.tags[tag].value
            profile = self.tag_v2.get(_ICC_PROFILE)
            if isinstance(profile, bytes):
                self.info["icc_profile"] = profile

    def _read(self) -> Any:
        assert self.fp is not None
        self.fp.seek(0)
        return importlib.import_module(needed("tiff")).TiffFile(self.fp)

    def _made(self) -> Image.Image:
        import numpy

        with self._read() as tiff:
            page = tiff.pages[self._index]
            samples = page.asarray()
            if page.planarconfig == 2 and samples.ndim == 3:
                samples = numpy.moveaxis(samples, 0, -1)
            bits = page.bitspersample
        scaled = _to_bytes(samples, bits)
        return Image.fromarray(255 - scaled if self._inverted else scaled, self.mode)


def _to_bytes(samples: Any, bits: int) -> Any:
    import numpy

    if samples.dtype == numpy.uint8 and bits == 8:
        return numpy.ascontiguousarray(samples)
    if samples.dtype == bool:
        return samples.astype(numpy.uint8) * 255
    values = samples.astype(numpy.float64)
    if samples.dtype.kind == "u":
        low, high = 0.0, float((1 << bits) - 1)
    else:
        values = numpy.nan_to_num(values, posinf=0, neginf=0)
        low, high = float(values.min()), float(values.max())
    span = (high - low) or 1.0
    return ((values - low) * (255 / span) + 0.5).clip(0, 255).astype(numpy.uint8)
