"""The request target as the visitor sent it."""

import re
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from iiif_proxy.errors import InvalidRequest

Environ = dict[str, Any]

# RFC 9112, 3.2.2: scheme and authority of an absolute-form target.
ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
SLASHES = re.compile("//+")
# What RFC 3986 lets stand in a path, and every visible character in a query.
PATH_SAFE = "/~!$&'()*+,;=:@"
QUERY_SAFE = "".join(map(chr, range(0x21, 0x7F)))


def raw_target(environ: Environ) -> str:
    """Path and query below SCRIPT_NAME, with `%2F`, `//`, `..` and a trailing `?` as they came.

    From RAW_URI (gunicorn), then REQUEST_URI (waitress, uWSGI), where these say the same as
    SCRIPT_NAME and PATH_INFO; else (no raw target, or PATH_INFO rewritten on the way here) from
    PATH_INFO, quoted anew.
    """
    raw = environ.get("RAW_URI") or environ.get("REQUEST_URI")
    script = environ.get("SCRIPT_NAME", "")
    info = environ.get("PATH_INFO", "")
    if raw:
        if raw[0] != "/" and (match := ABSOLUTE.match(raw)):
            raw = raw[match.end() :]
            if raw[:1] != "/":
                raw = "/" + raw
        if raw == "*":
            return "*"
        path = raw.partition("?")[0].partition("#")[0]
        if path == info and not script and "%" not in path:
            return str(raw)
        mount = _mount(path, script)
        if mount is not None and _same(path[mount:], info):
            below = str(raw[mount:])
            return below if path[mount:] else "/" + below
    query = environ.get("QUERY_STRING", "")
    try:
        path = quote((info or "/").encode("latin-1"), safe=PATH_SAFE)
        return f"{path}?{quote(query.encode('latin-1'), safe=QUERY_SAFE)}" if query else path
    except UnicodeEncodeError as cause:
        raise InvalidRequest("This address cannot be read.") from cause


def _mount(path: str, script: str) -> int | None:
    """How much of the raw path is SCRIPT_NAME."""
    if not script:
        return 0
    for end in [at for at, char in enumerate(path) if char == "/"] + [len(path)]:
        if _plain(path[:end]) == script:
            return end
    return None


def _same(raw: str, info: str) -> bool:
    """Servers differ in leading slashes (waitress) and in `%2F` (cheroot leaves it)."""
    raw, info = _merged(_plain(raw) or "/"), _merged(info or "/")
    return raw == info or raw == _merged(_plain(info))


def _plain(text: str) -> str:
    return unquote_to_bytes(text.encode("latin-1", "replace")).decode("latin-1")


def _merged(path: str) -> str:
    return SLASHES.sub("/", path)
