"""The pages of the flow: one that posts a message to a viewer, and such as close themselves."""

import html
import json
import re
import secrets
from collections.abc import Iterable
from typing import Any

from iiif_proxy.web.headers import NOSNIFF, Environ, Headers

# Of pages, as browsers serialize them (RFC 6454, 6.2); never "null".
ORIGIN = re.compile(
    r"https?://(?:[a-z0-9](?:[a-z0-9._-]{0,252})|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?"
)
MESSAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Access token</title></head>
<body><script nonce="{nonce}">
window.parent.postMessage({message}, {origin});
</script></body></html>
"""
CLOSING = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" type="image/svg+xml" href="{static}/icon.svg">
<link rel="stylesheet" href="{static}/pages.css"></head>
<body><main><h1>{title}</h1><p>You can close this window.</p></main>
<script nonce="{nonce}">window.close();</script></body></html>
"""
HTML = "text/html; charset=utf-8"


def origin_of(text: str) -> str | None:
    """The origin of a page, out of a parameter; 1.0's examples have a slash at the end."""
    text = text.removesuffix("/").lower()
    return text if ORIGIN.fullmatch(text) else None


def message(content: dict[str, Any], origin: str) -> tuple[bytes, Headers]:
    """A page that posts `content` to its parent, and only if that is of `origin`; nobody else may
    frame it."""
    nonce = secrets.token_urlsafe(16)
    page = MESSAGE.format(nonce=nonce, message=literal(content), origin=literal(origin))
    rules = (
        f"default-src 'none'; script-src 'nonce-{nonce}'; base-uri 'none'; form-action 'none'; "
        f"frame-ancestors {origin}"
    )
    return page.encode(), headers(rules)


def closing(title: str, static: str) -> tuple[bytes, Headers]:
    """A page that closes its window, as far as browsers let it."""
    nonce = secrets.token_urlsafe(16)
    page = CLOSING.format(nonce=nonce, title=html.escape(title), static=html.escape(static))
    rules = (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return page.encode(), headers(rules)


def headers(rules: str) -> Headers:
    return [
        ("Content-Type", HTML),
        ("Content-Security-Policy", rules),
        ("Cache-Control", "no-store"),
        ("Referrer-Policy", "no-referrer"),
        NOSNIFF,
    ]


def literal(value: Any) -> str:
    """JSON that can stand in a script: nothing in it ends the script or a line."""
    text = json.dumps(value)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def sent(
    status: str, body: bytes, fields: Headers, environ: Environ, start_response: Any
) -> Iterable[bytes]:
    start_response(status, [*fields, ("Content-Length", str(len(body)))])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
