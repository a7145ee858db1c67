"""Colours become sRGB: by the embedded profile if it is any good, by convention otherwise."""

import hashlib
import io
import logging
import threading

from cachetools import LRUCache
from PIL import Image, ImageChops, ImageCms

from iiif_proxy.imaging.pixels import Convert, bare

log = logging.getLogger(__name__)
# Press profiles have 3 MB; what is larger than this is no profile.
MAX_PROFILE = 16 << 20
# What a profile may change and still be called sRGB: the roundings of its own tables.
SAME = 1

_SPACES = {
    "L": "GRAY",
    "LA": "GRAY",
    "RGB": "RGB ",
    "RGBX": "RGB ",
    "RGBA": "RGB ",
    "CMYK": "CMYK",
    "LAB": "Lab ",
}
_PLAIN = {"1": "L", "La": "LA", "RGBa": "RGBA", "P": "RGB", "PA": "RGBA"}
_SHOWN = frozenset({"L", "LA", "RGB", "RGBX", "RGBA"})

_FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION

_lock = threading.Lock()
_changes: LRUCache[tuple[bytes, str], Convert | None] = LRUCache(64)


def to_srgb(image: Image.Image, icc_profile: bytes | None) -> Image.Image:
    """The image in sRGB: L, LA, RGB, RGBX or RGBA. Gray stays gray, alpha stays as it is.

    Relative colorimetric with black-point compensation. A profile that is broken or belongs to
    other pixels is passed over. CMYK without a profile is plain subtraction.
    """
    if image.mode not in _SPACES:
        image = image.convert(_PLAIN.get(image.mode, "RGB"))
    if icc_profile and len(icc_profile) <= MAX_PROFILE:
        change = _change(icc_profile, image.mode)
        if change is not None:
            return change(image)
    return image if image.mode in _SHOWN else image.convert("RGB")


def _change(profile: bytes, mode: str) -> Convert | None:
    """What turns images of this mode and profile into sRGB; None: nothing need or can be done.

    Made once (2 ms, from large tables 20) and shared: lcms allows it, measured with 4 threads.
    """
    key = (hashlib.sha256(profile).digest(), mode)
    with _lock:
        if key in _changes:
            return _changes[key]
    try:
        made = _build(profile, mode)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as fault:
        log.info("a colour profile is passed over: %s", fault)
        made = None
    with _lock:
        _changes[key] = made
    return made


def _build(profile: bytes, mode: str) -> Convert | None:
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    space = source.profile.xcolor_space
    if space != _SPACES[mode]:
        raise ValueError(f"{space!r} for pixels of mode {mode}")
    if mode in ("L", "LA"):
        return _gray(source)
    if mode.startswith("RGB") and _is_srgb(source):
        return None
    return _transform(source, mode, mode if mode.startswith("RGB") else "RGB")


def _transform(
    source: ImageCms.ImageCmsProfile, mode: str, target: str, flags: ImageCms.Flags = _FLAGS
) -> Convert:
    transform = ImageCms.buildTransform(
        source,
        ImageCms.createProfile("sRGB"),
        mode,
        target,
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags,
    )
    # `apply` hangs the profile on the image that it returns.
    return lambda image: bare(transform.apply(image))


def _gray(source: ImageCms.ImageCmsProfile) -> Convert | None:
    """256 grays through the profile are a table; gray in sRGB is any of its channels.

    Without lcms's own tables, which are up to 9 levels wrong in the shadows of linear gray.
    """
    ramp = Image.frombytes("L", (256, 1), bytes(range(256)))
    exact = _transform(source, "L", "RGB", _FLAGS | ImageCms.Flags.NOOPTIMIZE)
    table = list(exact(ramp).getchannel("G").tobytes())
    if all(abs(value - index) <= SAME for index, value in enumerate(table)):
        return None
    opaque = list(range(256))
    return lambda image: image.point(table if image.mode == "L" else table + opaque)


def _is_srgb(source: ImageCms.ImageCmsProfile) -> bool:
    """Whether colours from all over the cube stay as they are, whatever its name."""
    steps = [*range(0, 256, 32), 255]
    cube = bytes(part for r in steps for g in steps for b in steps for part in (r, g, b))
    image = Image.frombytes("RGB", (len(steps) ** 2, len(steps)), cube)
    change = _transform(source, "RGB", "RGB")(image)
    spans = ImageChops.difference(image, change).getextrema()
    return all(isinstance(span, tuple) and span[1] <= SAME for span in spans)


def unchanged(icc_profile: bytes | None, mode: str) -> bool:
    """Whether `to_srgb` would leave pixels of this mode as they are."""
    if not icc_profile or len(icc_profile) > MAX_PROFILE:
        return mode in _SHOWN
    return mode in _SHOWN and _change(icc_profile, mode) is None
