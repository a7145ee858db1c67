"""IIIF Image API 2.1 and 3.0 in front of the image origin you already have."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iiif_proxy.templating import Urls

__version__ = "0.1.0"


def urls_for(identifier: str, environ: dict[str, Any] | None = None) -> "Urls":
    """Addresses of an image for templates: `urls_for("a/b.jpg")["thumb"]` is that preset's.

    A mapping of preset names to addresses, with `id`, `info`, `manifest` and `view` beside them.
    They are those of the last `IIIFProxy` made in this process; without one, of the settings in
    the environment. `environ` is the WSGI environ of the request, for whole addresses instead of
    such that begin with a slash. Raises KeyError for a preset that is not set.
    """
    # By name, because the rooms below ask this one for the version.
    found: Urls = import_module("iiif_proxy.templating").urls_for(identifier, environ)
    return found
