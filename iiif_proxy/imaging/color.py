"""Colours become sRGB: by the embedded profile if it is any good, by convention otherwise."""

import hashlib
import io
import threading
from collections.abc import Callable

from cachetools import LRUCache, cached
from PIL import Image, ImageChops, ImageCms

from iiif_proxy.imaging.pixels import Convert, bare

# Larger ones exist (press profiles have 3 MB) but not as large as this.
MAX_PROFILE = 16 << 20
# What a profile may change and still be called sRGB: the roundings of its own tables.
SAME = 1

_SPACES = {"L": "GRAY", "LA": "GRAY", "RGB": "RGB ", "RGBA": "RGB ", "CMYK": "CMYK", "LAB": "Lab "}
_PLAIN = {"1": "L", "La": "LA", "RGBa": "RGBA", "P": "RGB", "PA": "RGBA", "I;16": "L"}
_SRGB_MODES = frozenset({"L", "LA", "RGB", "RGBA"})


def to_srgb(image: Image.Image, icc_profile: bytes | None) -> Image.Image:
    """The image in sRGB: L, LA, RGB or RGBA. Gray stays gray, alpha stays as it is.

    Relative colorimetric with black-point compensation. A profile that is broken or not of this
    kind of image is left out. CMYK without a profile is plain subtraction.
    """
    if image.mode not in _SPACES:
        image = image.convert(_PLAIN.get(image.mode, "RGB"))
    if icc_profile and len(icc_profile) <= MAX_PROFILE:
        change = _change(hashlib.sha256(icc_profile).digest(), image.mode, _Profile(icc_profile))
        if change is not None:
            return change(image)
    return image if image.mode in _SRGB_MODES else image.convert("RGB")


class _Profile(bytes):
    """A profile's bytes, left out of the cache's keys: their digest stands there."""

    def __hash__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Profile)


@cached(LRUCache(64), lock=threading.Lock())
def _change(digest: bytes, mode: str, profile: _Profile) -> Convert | None:
    """What turns images of this mode and profile into sRGB; None: nothing need or can be done.

    Made once (2 ms, LUT profiles 20) and shared: lcms allows that, measured with 4 threads.
    """
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(bytes(profile)))
        if source.profile.xcolor_space != _SPACES[mode]:
            return None
        if mode in ("L", "LA"):
            return _gray_change(source)
        target = mode if mode == "RGBA" else "RGB"
        apply = _transform(source, mode, target)
        if mode in ("RGB", "RGBA") and _is_identity(_transform(source, "RGB", "RGB")):
            return None
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    return apply


def _transform(source: ImageCms.ImageCmsProfile, mode: str, target: str) -> Convert:
    transform = ImageCms.buildTransform(
        source,
        ImageCms.createProfile("sRGB"),
        mode,
        target,
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    return lambda image: bare(transform.apply(image))


def _gray_change(source: ImageCms.ImageCmsProfile) -> Convert | None:
    """256 grays through the profile are a table; sRGB's own gray is any of its channels."""
    ramp = Image.frombytes("L", (256, 1), bytes(range(256)))
    table = list(_transform(source, "L", "RGB")(ramp).getchannel("G").tobytes())
    if max(abs(value - index) for index, value in enumerate(table)) <= SAME:
        return None

    def change(image: Image.Image) -> Image.Image:
        if image.mode == "L":
            return image.point(table)
        return image.point(table + list(range(256)))

    return change


def _is_identity(apply: Callable[[Image.Image], Image.Image]) -> bool:
    """Whether it leaves colours from all over the cube as they are: then it is sRGB already."""
    steps = [*range(0, 256, 32), 255]
    cube = bytes(part for r in steps for g in steps for b in steps for part in (r, g, b))
    image = Image.frombytes("RGB", (len(steps) ** 2, len(steps)), cube)
    ranges = ImageChops.difference(image, apply(image)).getextrema()
    return all(isinstance(span, tuple) and span[1] <= SAME for span in ranges)
