"""What is the proxy's own, below `/-/`: health, metrics, the view page, static files."""

import html
import json
import mimetypes
import re
from collections.abc import Callable, Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

from iiif_proxy import __version__
from iiif_proxy.errors import NotFound
from iiif_proxy.web.headers import CORS, NOSNIFF, Environ, Headers
from iiif_proxy.web.peers import Peers
from iiif_proxy.web.telling import METRICS_TYPE, exposition

STATIC = resources.files("iiif_proxy.web") / "static"
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)?")
OPENSEADRAGON = "openseadragon/openseadragon.min.js"
StartResponse = Callable[..., Any]


class Own:
    """Pages and files of the proxy itself. `prefix` is the IIIF prefix."""

    def __init__(
        self,
        prefix: str,
        peers: Peers,
        openseadragon: str | None,
        health: Callable[[], tuple[bool, dict[str, Any]]],
        stores: Mapping[str, Path],
    ) -> None:
        self._health = health
        self._stores = stores
        self._prefix = prefix
        self._peers = peers
        self._openseadragon = openseadragon

    def answer(self, path: str, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Raises NotFound for what is not here."""
        name, _, rest = path[len(self._prefix) + 3 :].partition("/")
        if name == "health" and not rest:
            return self._healthy(environ, start_response)
        if name == "metrics" and not rest:
            body = exposition(self._stores)
            return _send(body, METRICS_TYPE, "no-store", environ, start_response)
        if name == "static" and rest:
            return self._static(rest, environ, start_response)
        if name == "view" and rest:
            return self._view(rest, environ, start_response)
        raise NotFound("There is no such page here.")

    def _healthy(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Alive; with `?deep` also whether all that a request needs is there: 200 or 503."""
        found: dict[str, Any] = {"status": "ok", "version": __version__}
        status = "200 OK"
        if "deep" in parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True):
            well, found["checks"] = self._health()
            if not well:
                found["status"], status = "failing", "503 Service Unavailable"
        body = json.dumps(found).encode()
        return _send(body, "application/json", "no-store", environ, start_response, status=status)

    def _static(
        self, name: str, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        file = STATIC / name
        if not NAME.fullmatch(name) or name.endswith(".html") or not file.is_file():
            raise NotFound("There is no such file here.")
        media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
        return _send(file.read_bytes(), media_type, "public, max-age=3600", environ, start_response)

    def _view(
        self, identifier: str, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        """The viewer page; whether the identifier exists is for its info.json to say."""
        base = self._peers.base(environ) + self._prefix
        script = self._openseadragon or f"{base}/-/static/{OPENSEADRAGON}"
        values = {
            "identifier": unquote(identifier, errors="replace"),
            "info": f"{base}/3/{identifier}/info.json",
            "image": f"{base}/3/{identifier}/full/!1000,1000/0/default.jpg",
            "static": f"{base}/-/static",
            "openseadragon": script,
        }
        # In one pass: what a value holds is never looked at again.
        page = re.sub(
            "{(" + "|".join(values) + ")}",
            lambda found: html.escape(values[found[1]]),
            (STATIC / "view.html").read_text("utf-8"),
        )
        host = re.match(r"https?://[^/;,\s]+", script)
        policy = (
            "default-src 'self'; img-src 'self' data: blob:; style-src 'self'; "
            f"script-src 'self' {host[0] if host else ''}; "
            "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
        )
        extra = [("Content-Security-Policy", policy), ("Referrer-Policy", "same-origin")]
        return _send(
            page.encode(), "text/html; charset=utf-8", "no-cache", environ, start_response, extra
        )


def _send(
    body: bytes,
    media_type: str,
    cache_control: str,
    environ: Environ,
    start_response: StartResponse,
    extra: Headers | None = None,
    status: str = "200 OK",
) -> Iterable[bytes]:
    start_response(
        status,
        [
            *CORS,
            ("Content-Type", media_type),
            ("Content-Length", str(len(body))),
            ("Cache-Control", cache_control),
            NOSNIFF,
            *(extra or []),
        ],
    )
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
