"""What the commands share: the proxy as the settings make it, without a server around it."""

import sys
from typing import Any

from iiif_proxy.errors import ProxyError, SourceChanged
from iiif_proxy.iiif.plan import ImageRequest
from iiif_proxy.proxy import IIIFProxy
from iiif_proxy.service import Derivative
from iiif_proxy.sources.base import Environ

CHANGES = 3


def proxy(publishes: bool = False, **settings: Any) -> IIIFProxy:
    """As the environment sets it up, but with nothing made behind the command's back.

    What a static server may answer is for the server to say: a command may have been run without
    its policy. (`publishes`: to take away what the server has published.)
    """
    if not publishes:
        settings["publish"] = "off"
    return IIIFProxy(write_ahead="off", predict="off", **settings)


def nobody() -> Environ:
    """Who asks, where a source wants to know: a visitor without a name."""
    return {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "localhost",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.url_scheme": "http",
    }


def derived(inside: IIIFProxy, request: ImageRequest) -> tuple[str, Derivative]:
    """The derivative's key and itself, open. Raises ProxyError."""
    for _ in range(CHANGES):
        located = inside.service.locate(request, nobody())
        try:
            return located.key.name, inside.service.derive(located, nobody())
        except SourceChanged:
            continue
    raise ProxyError("The source of this image keeps changing.")


def complain(*words: object) -> None:
    print(*words, file=sys.stderr, flush=True)
