"""The one place where an error becomes an answer."""

import html
import json
import logging
from collections.abc import Callable, Iterable
from typing import Any

from webob.acceptparse import create_accept_header

from iiif_proxy.errors import ProxyError
from iiif_proxy.web.headers import CORS, NOSNIFF, Environ, Headers
from iiif_proxy.web.pages.page import policy

log = logging.getLogger(__name__)
App = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
OFFERS = ["text/plain", "text/html", "application/json"]
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{status} {reason}</title>
<h1>{status} {reason}</h1>
<p>{sentence}</p>
</html>
"""


def answer(
    error: ProxyError,
    environ: Environ,
    cors: bool = True,
    page: Callable[[], bytes] | None = None,
    rules: Headers | None = None,
) -> tuple[str, Headers, bytes]:
    """Status line, headers and body: one sentence, in the form that Accept asks for.

    `page` makes a better page of HTML than the plain one; should it fail, that has to do.
    `rules`: what a browser may do with that (by default with any page, nothing).
    """
    chosen = media_type(environ)
    made = _made(page) if page and chosen == "text/html" else None
    if chosen == "application/json":
        text = json.dumps({"status": error.status, "error": error.public}, ensure_ascii=False)
    elif chosen == "text/html":
        text = PAGE.format(
            status=error.status, reason=error.reason, sentence=html.escape(error.public)
        )
    else:
        text = error.public + "\n"
    body = made or text.encode("utf-8", "replace")
    headers = list(CORS) if cors else []
    headers += [
        ("Content-Type", f"{chosen}; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store" if error.status >= 500 else "no-cache"),
        ("Vary", "Accept"),
        NOSNIFF,
    ]
    if chosen == "text/html":
        headers += policy() if rules is None else rules
    headers += [(name.title(), _one_line(value)) for name, value in error.headers.items()]
    return f"{error.status} {error.reason}", headers, body


def guard(app: App) -> App:
    """The boundary around the pass-through: what it raises before answering becomes an answer."""

    def guarded(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            return app(environ, start_response)
        except ProxyError as error:
            log.warning("%s %s", error.status, error)
            status, headers, body = answer(error, environ, cors=False)
            start_response(status, headers)
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    return guarded


def media_type(environ: Environ) -> str:
    """Text, HTML or JSON, as Accept likes best; text where it does not say."""
    found = create_accept_header(environ.get("HTTP_ACCEPT")).acceptable_offers(OFFERS)
    return str(found[0][0]) if found else OFFERS[0]


def _made(page: Callable[[], bytes]) -> bytes | None:
    try:
        return page()
    except Exception:
        log.exception("an error page failed")
        return None


def _one_line(value: str) -> str:
    return "".join(c for c in value if c.isprintable())
