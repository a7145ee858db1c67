"""Answers to IIIF requests, as status, headers and body."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from iiif_proxy.stores.base import Entry
from iiif_proxy.web.headers import (
    CORS,
    METHODS,
    NOSNIFF,
    Environ,
    Headers,
    http_time,
    preflight,
)

StartResponse = Callable[..., Any]
WHOLE = 1 << 20
BLOCK = 256 * 1024
HIT = ("Cache-Status", "iiif-proxy; hit")
MISS = ("Cache-Status", "iiif-proxy; fwd=miss")


def options(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("204 No Content", preflight(environ))
    return []


def see_other(location: str, start_response: StartResponse) -> Iterable[bytes]:
    start_response(
        "303 See Other",
        [*CORS, ("Location", location), ("Content-Length", "0"), NOSNIFF],
    )
    return []


def unchanged(headers: Headers, start_response: StartResponse) -> Iterable[bytes]:
    """304 with the headers that a 200 would have had, less those of the body."""
    kept = [pair for pair in headers if pair[0] not in {"Content-Type", "Content-Length"}]
    start_response("304 Not Modified", kept)
    return []


def image_headers(
    media_type: str, etag: str, modified: float | None, cache_control: str, link: str
) -> Headers:
    headers = [
        *CORS,
        ("Content-Type", media_type),
        ("ETag", etag),
        ("Cache-Control", cache_control),
        ("Link", link),
        NOSNIFF,
    ]
    if modified is not None:
        headers.append(("Last-Modified", http_time(modified)))
    return headers


def image(
    environ: Environ,
    start_response: StartResponse,
    headers: Headers,
    entry: Entry,
    hit: bool,
) -> Iterable[bytes]:
    """200 with the bytes of an entry: in one piece when small, else streamed from the file."""
    start_response("200 OK", [*headers, ("Content-Length", str(entry.size)), HIT if hit else MISS])
    if environ["REQUEST_METHOD"] == "HEAD":
        entry.close()
        return []
    if entry.size <= WHOLE:
        with entry:
            return [entry.read()]
    wrapper = environ.get("wsgi.file_wrapper")
    if wrapper is not None:
        return wrapper(entry.file, BLOCK)  # type: ignore[no-any-return]
    return _blocks(entry)


def _blocks(entry: Entry) -> Iterator[bytes]:
    with entry:
        while block := entry.file.read(BLOCK):
            yield block


def document_body(document: dict[str, Any]) -> tuple[bytes, str]:
    """An info.json and its ETag."""
    body = json.dumps(document, ensure_ascii=False, indent=1).encode()
    return body, '"' + hashlib.sha256(body).hexdigest()[:20] + '"'


def allow() -> dict[str, str]:
    return {"Allow": METHODS}
