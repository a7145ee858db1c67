"""The sidecar, with a shorter step of time and a way to purge from outside."""

import os
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import unquote

from iiif_proxy.proxy import IIIFProxy
from iiif_proxy.stores import published

published.STEP = int(os.environ.get("PUBLISHED_STEP", published.STEP))
proxy = IIIFProxy()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/purge":
        proxy.service.purge(unquote(environ["QUERY_STRING"]))
        start_response("204 No Content", [])
        return []
    answer = proxy(environ, start_response)
    if "HTTP_X_PURGE" in environ:
        answer = list(answer)
        proxy.service.purge(environ["HTTP_X_PURGE"])
    return answer
