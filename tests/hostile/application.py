"""The proxy as middleware: around an application that answers everything, for gunicorn."""

from collections.abc import Callable, Iterable
from typing import Any

from iiif_proxy.proxy import IIIFProxy


def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


application = IIIFProxy(wrapped)
