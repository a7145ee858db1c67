"""Upstream alone, as gunicorn loads it: its keywords are JSON in UPSTREAM."""

import json
import os
from collections.abc import Callable, Iterable
from typing import Any

from iiif_proxy.errors import ProxyError
from iiif_proxy.upstream import Upstream


def made() -> Upstream:
    keywords = json.loads(os.environ["UPSTREAM"])
    trusted = keywords.pop("trusted", None)
    if trusted is not None:
        keywords["trusted"] = trusted.__contains__
    return Upstream(keywords.pop("base_url"), **keywords)


upstream = made()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    try:
        return upstream(environ, start_response)
    except ProxyError as error:
        body = error.public.encode()
        fields = [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
        start_response(f"{error.status} {error.reason}", fields)
        return [body]
