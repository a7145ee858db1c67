"""A library's site: a login page as it has it, and iiif-proxy around it.

Its session is a cookie; `class_of` is what IIIF_PROXY_CLASSIFY names.
"""

import html
from collections.abc import Callable, Iterable
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs

from iiif_proxy.proxy import IIIFProxy

SESSION = "session=5e551077; Path=/; HttpOnly; SameSite=Lax"
FORM = """<!doctype html><html lang="en"><title>Log in</title>
<form method="post"><input type="hidden" name="next" value="{next}">
<label>Password <input type="password" name="password"></label>
<button>Enter</button></form></html>"""


def class_of(environ: dict[str, Any]) -> str | None:
    session = SimpleCookie(environ.get("HTTP_COOKIE", "")).get("session")
    return "member" if session and session.value == "5e551077" else None


def site(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    query = environ["QUERY_STRING"]
    if environ["REQUEST_METHOD"] == "POST":
        query = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])).decode()
    given = {name: value[0] for name, value in parse_qs(query).items()}
    back = given.get("next", "/")
    if not back.startswith("/iiif/"):
        back = "/"
    fields = [("Content-Type", "text/html; charset=utf-8")]
    if environ["PATH_INFO"] == "/login" and given.get("password") == "open sesame":
        start_response("303 See Other", [*fields, ("Location", back), ("Set-Cookie", SESSION)])
        return [b""]
    if environ["PATH_INFO"] == "/login":
        start_response("200 OK", fields)
        return [FORM.format(next=html.escape(back)).encode()]
    if environ["PATH_INFO"] == "/logout":
        ended = "session=; Path=/; Max-Age=0"
        start_response("303 See Other", [*fields, ("Location", back), ("Set-Cookie", ended)])
        return [b""]
    start_response("404 Not Found", fields)
    return [b""]


application = IIIFProxy(site)
