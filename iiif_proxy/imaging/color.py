"""Colours become sRGB: by the embedded profile if it is any good, by convention otherwise."""

import functools
import hashlib
import io
import itertools
import logging
import struct
import threading
from typing import NamedTuple

from cachetools import LRUCache
from PIL import Image, ImageChops, ImageCms

from iiif_proxy.imaging.declared import profile_of
from iiif_proxy.imaging.look import DEFAULT, EMBED, KEEP, Look
from iiif_proxy.imaging.modes import is_gray, working
from iiif_proxy.imaging.pixels import Convert, bare
from iiif_proxy.metrics import PROFILES

log = logging.getLogger(__name__)
# Press profiles have 3 MB; what is larger than this is no profile.
MAX_PROFILE = 16 << 20
# A session tells its neighbours the profile; what is larger (some presses') counts before scaling.
MAX_TOLD = 1 << 20
# What a profile may change and still be called sRGB: the roundings of its own tables.
SAME = 1
# Levels between neighbours that nobody sees.
STEP = 4

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

_LITTLE = struct.Struct("<H").pack
_FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION

# Modes whose colours are changed after scaling, on the fewest pixels. All others before: a
# session of tiles keeps only these as they are stored, and every way to the pixels must agree.
LAST = frozenset({"L", "RGB", "RGBX", "RGBA", "CMYK"})
_UNKEPT = frozenset({"CMYK", "LAB"})

_lock = threading.Lock()
_changes: LRUCache[tuple[bytes, str], "Change"] = LRUCache(64)
_tables: LRUCache[bytes, list[int] | None] = LRUCache(8)


class Change(NamedTuple):
    """What turns pixels of a mode and profile into sRGB; `convert` None: they are, or `faulty`."""

    convert: Convert | None
    faulty: bool = False


class Prepared(NamedTuple):
    """How pieces of an image are converted before they are scaled, and its profile for after.

    `mode`: what comes of `convert` where that is known, "" elsewhere.
    """

    convert: Convert
    profile: bytes | None
    mode: str


def prepared(image: Image.Image, look: Look = DEFAULT) -> Prepared:
    """Of an image whose header is read, and nothing decoded."""
    profile = profile_of(image)
    # Gray with alpha is kept as RGBA by a session: no gray profile fits it then.
    alpha = is_gray(image) and image.has_transparency_data
    large = profile is not None and len(profile) > MAX_TOLD
    keep = look.profile == KEEP and image.mode not in _UNKEPT and not alpha and not large
    if profile is not None and not keep and image.mode[:1] in ("I", "F"):
        return Prepared(working(image, _table(profile)), None, "")
    managed = getattr(image, "srgb_by", None)  # deep, tiffdeep
    if managed is not None and not keep and managed(profile, look.cmyk):
        profile = None
    convert = working(image)
    keyed = alpha or ("transparency" in image.info and image.mode != "RGBA")
    stored = image.mode in LAST and not keyed and not large
    if stored and not (look.scaling.linear and image.mode == "CMYK"):
        return Prepared(convert, profile, image.mode)
    if keep:
        return Prepared(convert, profile, "")
    return Prepared(lambda piece: to_srgb(convert(piece), profile, look.cmyk), None, "")


def finished(image: Image.Image, profile: bytes | None, look: Look = DEFAULT) -> Image.Image:
    """Scaled pixels as they are shown: L, LA, RGB, RGBX or RGBA, without any info.

    They are sRGB; unless `look` keeps the profile, which then is their `info["icc_profile"]`.
    """
    if look.profile == KEEP and profile and image.mode not in _UNKEPT:
        image = image.convert("RGB") if image.mode == "RGBX" else image
        shown = bare(image)
        if not _change(profile, image.mode).faulty:
            shown.info["icc_profile"] = profile
        return shown
    if profile is None and image.mode in _SHOWN:
        return bare(image)
    if image.mode == "RGBX" and profile is not None:
        image = image.convert("RGB")
    return bare(to_srgb(image, profile, look.cmyk))


def to_srgb(image: Image.Image, icc_profile: bytes | None, cmyk: bytes = b"") -> Image.Image:
    """The image in sRGB: L, LA, RGB, RGBX or RGBA. Gray stays gray, alpha stays as it is.

    Relative colorimetric with black-point compensation. A profile that is broken or belongs to
    other pixels is passed over, and counted. CMYK without a profile has the profile `cmyk`, or is
    plain subtraction.
    """
    if image.mode not in _SPACES:
        image = image.convert(_PLAIN.get(image.mode, "RGB"))
    candidates = [icc_profile, cmyk] if image.mode == "CMYK" else [icc_profile]
    for profile in candidates:
        change = _change(profile, image.mode) if profile else None
        if change is not None and not change.faulty:
            return change.convert(image) if change.convert else image
    return image if image.mode in _SHOWN else image.convert("RGB")


def converts(profile: bytes, mode: str) -> bool:
    """Whether it is a profile of pixels of this mode that is any good."""
    return not _known(profile, mode).faulty


def _change(profile: bytes, mode: str) -> Change:
    """What turns images of this mode and profile into sRGB.

    Made once (2 ms, from large tables 20) and shared: lcms allows it, measured with 4 threads.
    """
    made = _known(profile, mode)
    if made.faulty:
        PROFILES.inc()
    return made


def _known(profile: bytes, mode: str) -> Change:
    key = (hashlib.sha256(profile).digest(), mode)
    with _lock:
        if key in _changes:
            return _changes[key]
    try:
        made = Change(_build(profile, mode))
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as fault:
        log.info("a colour profile is passed over: %s", fault)
        made = Change(None, faulty=True)
    with _lock:
        _changes[key] = made
    return made


def _build(profile: bytes, mode: str) -> Convert | None:
    if len(profile) > MAX_PROFILE:
        raise ValueError(f"{len(profile)} bytes")
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


def _table(profile: bytes) -> list[int] | None:
    """65536 grays through the profile, as 8 bits of sRGB; None: it is of no use."""
    key = hashlib.sha256(profile).digest()
    with _lock:
        if key in _tables:
            return _tables[key]
    made = None
    if not _change(profile, "L").faulty:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        ramp = Image.frombytes("I;16", (65536, 1), b"".join(_LITTLE(v) for v in range(65536)))
        exact = _transform(source, "I;16", "RGB", _FLAGS | ImageCms.Flags.NOOPTIMIZE)
        made = list(exact(ramp).getchannel("G").tobytes())
    with _lock:
        _tables[key] = made
    return made


@functools.lru_cache(64)
def coarse(profile: bytes, mode: str) -> bool:
    """Whether 256 steps of its colours are too few for 256 of sRGB: the dark would show bands.

    A gamma of 1.8 steps by two, light itself by thirteen.
    """
    change = _known(profile, mode)
    if change.convert is None:
        return False
    ramp = Image.frombytes("L", (256, 1), bytes(range(256))).convert(mode)
    values = change.convert(ramp).convert("RGB").getchannel("G").tobytes()
    return any(b - a > STEP for a, b in itertools.pairwise(values))


def _is_srgb(source: ImageCms.ImageCmsProfile) -> bool:
    """Whether colours from all over the cube stay as they are, whatever its name."""
    steps = [*range(0, 256, 32), 255]
    cube = bytes(part for r in steps for g in steps for b in steps for part in (r, g, b))
    image = Image.frombytes("RGB", (len(steps) ** 2, len(steps)), cube)
    change = _transform(source, "RGB", "RGB")(image)
    spans = ImageChops.difference(image, change).getextrema()
    return all(isinstance(span, tuple) and span[1] <= SAME for span in spans)


def unchanged(image: Image.Image, look: Look = DEFAULT) -> bool:
    """Whether an image whose header is read may be shown as it is stored, without a profile."""
    return image.mode in _SHOWN and as_stored(profile_of(image), image.mode, look)


def as_stored(profile: bytes | None, mode: str, look: Look = DEFAULT) -> bool:
    """The same of pixels of a mode (L or RGB) with this profile."""
    if look.profile == EMBED:
        return False
    if profile is None:
        return True
    change = _change(profile, mode)
    return change.faulty or (change.convert is None and look.profile != KEEP)
