"""Colour: whatever the source says its numbers mean, the answer is sRGB (or gray)."""

import hashlib
import io
import logging
import threading

from cachetools import LRUCache
from PIL import Image, ImageCms

log = logging.getLogger(__name__)
_lock = threading.Lock()
_transforms: LRUCache[tuple[str, str], ImageCms.ImageCmsTransform | None] = LRUCache(64)
_FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION
_SPACES = {
    "RGB": "RGB ",
    "RGBX": "RGB ",
    "RGBA": "RGB ",
    "L": "GRAY",
    "CMYK": "CMYK",
    "LAB": "Lab ",
}


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert L, LA, RGB, RGBA, CMYK or LAB to sRGB (gray stays gray), alpha kept.

    Relative colorimetric with black-point compensation. A profile that is broken or belongs to
    other pixels is passed over.
    """
    if image.mode == "LA":
        gray, alpha = image.split()
        return Image.merge("LA", (to_srgb(gray, profile), alpha))
    if profile and image.mode in _SPACES:
        transform = _transform(profile, image.mode)
        if transform is not None:
            # littleCMS has no gray output of its own: neutral sRGB is gray.
            done = ImageCms.applyTransform(image, transform) or image
            return done.convert("L") if image.mode == "L" else done
    if image.mode in {"CMYK", "LAB", "YCbCr"}:
        return image.convert("RGB")
    return image


def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    key = (hashlib.sha256(profile).hexdigest(), mode)
    with _lock:
        if key in _transforms:
            return _transforms[key]
    made = _build(profile, mode)
    with _lock:
        _transforms[key] = made
    return made


def _build(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if opened.profile.xcolor_space != _SPACES[mode] or _is_srgb(opened):
            return None
        output = {"RGBA": "RGBA", "RGBX": "RGBX"}.get(mode, "RGB")
        return ImageCms.buildTransform(
            opened,
            ImageCms.createProfile("sRGB"),
            mode,
            output,
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            _FLAGS,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as fault:
        log.info("a colour profile is passed over: %s", fault)
        return None


def _is_srgb(profile: ImageCms.ImageCmsProfile) -> bool:
    return "srgb" in (profile.profile.profile_description or "").lower()
