"""The settings that change pixels: one value, and part of every derivative's version."""

import hashlib
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

from iiif_proxy.imaging.pixels import Colour
from iiif_proxy.imaging.resample import PLAIN, Scaling

if TYPE_CHECKING:
    from iiif_proxy.imaging.watermark import Watermark

WHITE = (255, 255, 255)
STRIP, EMBED, KEEP = "strip", "embed", "keep"


@dataclass(frozen=True, slots=True)
class Look:
    """How pictures are made to look.

    `background` lies behind transparency where a format has none, `corners` where a picture was
    turned by an odd angle (None: transparent where the format can be, else `background`).
    `profile` is what is done about colour profiles: "strip": all is sRGB, and nothing is said;
    "embed": all is sRGB, and says so; "keep": RGB and gray keep the colours and the profile they
    came with. `cmyk` is the profile of CMYK that has none; b"": plain subtraction. `sharpen` is
    in percent of an unsharp mask, for what was scaled down; 0: not at all. `threshold`: from
    which gray on bitonal is white; 0: it is dithered. `mark` is laid on answers that are to have
    it (`Watermark.on`).
    """

    background: Colour = WHITE
    corners: Colour | None = None
    profile: str = STRIP
    cmyk: bytes = b""
    scaling: Scaling = PLAIN
    sharpen: int = 0
    threshold: int = 128
    mark: "Watermark | None" = None

    @property
    def digest(self) -> str:
        """Twelve characters that change with any of them."""
        return hashlib.sha256(repr(astuple(self)).encode()).hexdigest()[:12]


DEFAULT = Look()
