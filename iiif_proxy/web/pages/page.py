"""The frame of every page, and what a browser may do with it."""

import html
import re
from collections.abc import Iterable

from iiif_proxy.web.headers import Headers

FRAME = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" type="image/svg+xml" href="{static}/icon.svg">
<link rel="stylesheet" href="{static}/pages.css">
</head>
<body>
<main>
{body}
</main>
<footer><p><a href="{own}/">iiif-proxy</a></p></footer>
</body>
</html>
"""


def framed(title: str, body: str, own: str) -> bytes:
    """A page whose `body` is HTML; `own` is the public address of `/-`."""
    static = html.escape(f"{own}/static")
    page = FRAME.format(title=html.escape(title), static=static, own=html.escape(own), body=body)
    return page.encode("utf-8", "replace")


def policy(script: str = "") -> Headers:
    """No inline script or style, nothing from elsewhere but the viewer's `script`."""
    host = re.match(r"https?://[^/;,\s]+", script)
    rules = (
        "default-src 'self'; img-src 'self' data: blob:; style-src 'self'; "
        f"script-src 'self' {host[0] if host else ''}; "
        "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
    )
    return [("Content-Security-Policy", rules), ("Referrer-Policy", "same-origin")]


def table(rows: Iterable[tuple[str, str]]) -> str:
    """Names and values; both are data."""
    lines = [
        f'<tr><th scope="row">{html.escape(name)}</th><td>{html.escape(value)}</td></tr>'
        for name, value in rows
    ]
    return "<table>\n" + "\n".join(lines) + "\n</table>"


def filled(template: str, values: dict[str, str]) -> str:
    """A template file with `{name}` replaced by escaped data, each place once."""

    def value(found: re.Match[str]) -> str:
        return html.escape(values[found[1]]) if found[1] in values else found[0]

    return re.sub(r"\{(\w+)\}", value, template)
