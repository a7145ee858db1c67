"""Formats that an extra adds: which, and whether it is installed."""

import functools
import importlib.util

from iiif_proxy.errors import OriginFailed
from iiif_proxy.imaging import jp2area

# format -> its name, the extra, what that must have brought (any one of the modules)
_EXTRAS = {
    "heif": ("HEIF file", "heif", ("pi_heif", "pillow_heif")),
    "pdf": ("PDF file", "pdf", ("pypdfium2",)),
    "raw": ("camera's RAW file", "raw", ("rawpy",)),
    "tiff": ("TIFF of an uncommon kind", "tiff", ("imagecodecs",)),
}


@functools.cache
def module(format: str) -> str | None:
    """The name of the module that opens a format; None if it is not installed."""
    names = _EXTRAS[format][2]
    return next((name for name in names if importlib.util.find_spec(name)), None)


def needed(format: str) -> str:
    """As `module`. Raises OriginFailed with the name of the extra."""
    found = module(format)
    if found is None:
        raise missing(format)
    return found


def missing(format: str) -> OriginFailed:
    name, extra, _ = _EXTRAS[format]
    return OriginFailed(
        f"The origin sent a {name}, which this server cannot read"
        f" without the extra iiif-proxy[{extra}]."
    )


def installed() -> dict[str, bool]:
    """Which extras are here, by their names."""
    found = {extra: module(format) is not None for format, (_, extra, _) in _EXTRAS.items()}
    return {**found, "jp2": jp2area.installed()}
