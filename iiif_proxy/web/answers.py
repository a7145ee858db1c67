"""Answers to IIIF requests, as status, headers and body."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from wsgiref.util import FileWrapper

from iiif_proxy.stores.base import Entry
from iiif_proxy.web.headers import (
    CORS,
    NOSNIFF,
    Environ,
    Headers,
    http_time,
    not_modified,
    preflight,
)

StartResponse = Callable[..., Any]
WHOLE = 1 << 20
BLOCK = 256 * 1024
HIT = ("Cache-Status", "iiif-proxy; hit")
MISS = ("Cache-Status", "iiif-proxy; fwd=miss")


class Before:
    """An answer, and what is done when the server has sent it (PEP 3333, `close`)."""

    def __init__(self, answer: Iterable[bytes], afterwards: Callable[[], object]) -> None:
        self._answer = answer
        self._afterwards = afterwards

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._answer)

    def close(self) -> None:
        self._afterwards()


def options(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("204 No Content", preflight(environ))
    return []


def see_other(location: str, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """303 with a line of text: a redirect must say what its body is even when nobody reads it."""
    body = f"See {location}\n".encode()
    start_response(
        "303 See Other",
        [
            *CORS,
            ("Location", location),
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
            NOSNIFF,
        ],
    )
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def found(
    location: str, fields: Headers, environ: Environ, start_response: StartResponse
) -> Iterable[bytes]:
    """302, which may be kept as long as what decided it."""
    body = f"See {location}\n".encode()
    start_response(
        "302 Found",
        [
            *CORS,
            ("Location", location),
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
            *fields,
            NOSNIFF,
        ],
    )
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def unchanged(headers: Headers, start_response: StartResponse) -> Iterable[bytes]:
    """304 with the headers that a 200 would have had, less those of the body."""
    kept = [pair for pair in headers if pair[0] not in {"Content-Type", "Content-Length"}]
    start_response("304 Not Modified", kept)
    return []


def image_headers(media_type: str, etag: str, modified: float | None, link: str) -> Headers:
    headers = [
        *CORS,
        ("Content-Type", media_type),
        ("ETag", etag),
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
    stale: bool = False,
) -> Iterable[bytes]:
    """200 with the bytes of an entry: in one piece when small, else streamed from the file.

    `stale`: of a source that its origin has not confirmed in time.
    """
    body: Iterable[bytes] = []
    if environ["REQUEST_METHOD"] == "HEAD":
        entry.close()
    elif entry.size <= WHOLE:
        with entry:
            body = [entry.read()]
    else:
        body = environ.get("wsgi.file_wrapper", FileWrapper)(entry.file, BLOCK)
    state = HIT if hit and not stale else cache_status(hit, stale)
    start_response("200 OK", [*headers, ("Content-Length", str(entry.size)), state])
    return body


def cache_status(hit: bool, stale: bool) -> tuple[str, str]:
    """RFC 9211; `stale` as in `image`."""
    name, state = HIT if hit else MISS
    return name, f"{state}; detail=stale" if stale else state


def stand_in(
    environ: Environ,
    start_response: StartResponse,
    media_type: str,
    links: str,
    entry: Entry,
    more: Mapping[str, str],
) -> Iterable[bytes]:
    """200 with another image than was asked for, which nobody may keep."""
    with entry:
        body = entry.read()
    fields = [
        *CORS,
        ("Content-Type", media_type),
        ("Content-Length", str(len(body))),
        ("Link", links),
        ("Cache-Control", "no-store"),
        *more.items(),
        NOSNIFF,
        (MISS[0], f"{MISS[1]}; detail=smaller"),
    ]
    start_response("200 OK", fields)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def document(
    environ: Environ,
    start_response: StartResponse,
    content: dict[str, Any],
    fields: Headers,
    status: str = "200 OK",
) -> Iterable[bytes]:
    """An info.json or a manifest, or 304 for who has it. `fields` are its own headers."""
    body = json.dumps(content, ensure_ascii=False, indent=1).encode()
    etag = '"' + hashlib.sha256(body).hexdigest()[:20] + '"'
    headers = [*CORS, ("ETag", etag), *fields, NOSNIFF]
    if not_modified(environ, etag, None) and status == "200 OK":
        return unchanged(headers, start_response)
    start_response(status, [*headers, ("Content-Length", str(len(body)))])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
