"""The frame of every page, and what a browser may do with it."""

import html
import re
from collections.abc import Iterable, Sequence

from iiif_proxy.web.headers import Headers

NOBODY = "'none'"
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


def policy(
    base: str | None = None, script: str = "", fetched: str = "", framers: Sequence[str] = ()
) -> Headers:
    """No inline script or style, and nothing from elsewhere but what settings name.

    `base`: the public address, where it is set; `script`: of the viewer; `fetched`: of notes;
    `framers`: who may show the page in a frame.
    """
    ours = f"'self' {host(base or '')}".strip()
    rules = (
        f"default-src {ours}; img-src {ours} data: blob:; style-src {ours}; "
        f"script-src {ours} {host(script)}; connect-src {ours} {host(fetched)}; "
        "object-src 'none'; base-uri 'none'; form-action 'self'; "
        f"frame-ancestors {' '.join(framers) or NOBODY}"
    )
    return [("Content-Security-Policy", rules), ("Referrer-Policy", "same-origin")]


def host(address: str) -> str:
    """Scheme, host and port of an address, as a policy names them; "" for a path."""
    found = re.match(r"https?://[A-Za-z0-9._:\[\]-]+", address)
    return found[0] if found else ""


def table(rows: Iterable[tuple[str, str]]) -> str:
    """Names and values; both are data."""
    lines = [
        f'<tr><th scope="row">{html.escape(name)}</th><td>{html.escape(value)}</td></tr>'
        for name, value in rows
    ]
    return "<table>\n" + "\n".join(lines) + "\n</table>"


class Markup(str):
    """HTML already."""


def anchor(address: str, text: str) -> Markup:
    return Markup(f'<a href="{html.escape(address)}">{html.escape(text)}</a>')


def filled(template: str, values: dict[str, str]) -> str:
    """A template file with `{name}` replaced by escaped data, each place once."""

    def value(found: re.Match[str]) -> str:
        data = values.get(found[1], found[0])
        return data if isinstance(data, Markup) or found[1] not in values else html.escape(data)

    return re.sub(r"\{(\w+)\}", value, template)
