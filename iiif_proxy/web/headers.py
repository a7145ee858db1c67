"""The headers of IIIF answers, and whether the client has the answer already."""

import email.utils
import re
from typing import Any

Headers = list[tuple[str, str]]
Environ = dict[str, Any]

CORS: Headers = [
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Expose-Headers", "Link, ETag, Cache-Status, Retry-After"),
]
METHODS = "GET, HEAD, OPTIONS"
NOSNIFF = ("X-Content-Type-Options", "nosniff")
TAG = re.compile(r'(?:W/)?("[^"]*")')


def preflight(environ: Environ) -> Headers:
    """The headers of the 204 to OPTIONS: GET, HEAD and OPTIONS with whatever headers are asked."""
    headers = [*CORS, ("Allow", METHODS), ("Access-Control-Allow-Methods", METHODS)]
    asked = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "")
    if re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~, -]{1,1000}", asked):
        headers.append(("Access-Control-Allow-Headers", asked))
    headers.append(("Access-Control-Max-Age", "86400"))
    headers.append(("Vary", "Access-Control-Request-Headers"))
    return headers


def cache_control(max_age: float, keep: bool) -> str:
    """`max_age` seconds; 0 makes clients ask each time. What may not be kept is `no-store`."""
    if not keep:
        return "no-store"
    return f"public, max-age={int(max_age)}" if max_age >= 1 else "public, no-cache"


def link(canonical: str, profile: str) -> str:
    return f'<{canonical}>;rel="canonical", <{profile}>;rel="profile"'


def http_time(seconds: float) -> str:
    return email.utils.formatdate(seconds, usegmt=True)


def not_modified(environ: Environ, etag: str, modified: float | None) -> bool:
    """RFC 9110, 13.2.2: If-None-Match (lists, weak, `*`) decides before If-Modified-Since."""
    tags = environ.get("HTTP_IF_NONE_MATCH")
    if tags is not None:
        return tags.strip() == "*" or etag in TAG.findall(tags)
    since = environ.get("HTTP_IF_MODIFIED_SINCE")
    if since is None or modified is None:
        return False
    try:
        return int(modified) <= email.utils.parsedate_to_datetime(since).timestamp()
    except (TypeError, ValueError, OverflowError):
        return False
