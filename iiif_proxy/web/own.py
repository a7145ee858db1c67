"""What is the proxy's own, below `/-/`: health, metrics, pages, static files."""

import html
import json
import mimetypes
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from iiif_proxy import __version__
from iiif_proxy.errors import NotFound, ProxyError
from iiif_proxy.web import errors
from iiif_proxy.web.answers import see_other
from iiif_proxy.web.headers import CORS, NOSNIFF, Environ, Headers
from iiif_proxy.web.pages import explained, index
from iiif_proxy.web.pages.page import Markup, anchor, filled, framed, policy
from iiif_proxy.web.peers import Peers
from iiif_proxy.web.telling import METRICS_TYPE, exposition

STATIC = resources.files("iiif_proxy.web") / "static"
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}(?:/[A-Za-z0-9_][A-Za-z0-9._-]{0,99})?")
ANNOTORIOUS = "annotorious/annotorious.js"
OPENSEADRAGON = "openseadragon/openseadragon.min.js"
HTML = "text/html; charset=utf-8"
StartResponse = Callable[..., Any]
Explain = Callable[[str, Environ], explained.Explanation]
# What follows its name in the path (none: ""), answered.
Room = Callable[[str, Environ, StartResponse], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class Links:
    """What settings say of other places: a script, viewers by name with `{manifest}` in their
    addresses, where annotations are with `{id}`, the public address, and who may frame pages."""

    openseadragon: str | None = None
    viewers: Sequence[tuple[str, str]] = ()
    annotations: str | None = None
    base: str | None = None
    framers: Sequence[str] = ()


class Own:
    """Pages and files of the proxy itself. `prefix` is the IIIF prefix; `presets` is the menu of
    an image, by its place in the path; `rooms` answer below a name of theirs."""

    def __init__(
        self,
        prefix: str,
        peers: Peers,
        links: Links,
        *,
        health: Callable[[], tuple[bool, dict[str, Any]]],
        codecs: Mapping[str, Any],
        stores: Mapping[str, Path],
        explain: Explain,
        recent: Callable[[], list[str]],
        presets: Callable[[str, Environ], Markup],
        rooms: Mapping[str, Room],
    ) -> None:
        self._prefix = prefix
        self._peers = peers
        self._links = links
        self._recent = recent
        self._presets = presets
        self._rooms = rooms
        self._health = health
        self._codecs = codecs
        self._stores = stores
        self._explain = explain

    def answer(self, path: str, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Raises NotFound for what is not here."""
        name, slash, rest = path[len(self._prefix) + 3 :].partition("/")
        page = {"": self._index, "health": self._healthy, "metrics": self._metrics}.get(name)
        if page is not None and not slash:
            return page(environ, start_response)
        if name in self._rooms:
            return self._rooms[name](rest, environ, start_response)
        found = {
            "static": self._static,
            "view": self._view,
            "compare": self._compare,
            "annotate": self._annotate,
            "explain": self._explained,
        }.get(name)
        if found is None:
            raise NotFound("There is no such page here.")
        if not rest:
            return self._led(name, environ, start_response)
        return found(rest, environ, start_response)

    def error(self, error: ProxyError, path: str, environ: Environ) -> tuple[str, Headers, bytes]:
        """An error as an answer; as a page it says why, and what to write instead."""
        base = self._peers.base(environ)
        own = f"{base}{self._prefix}/-"

        def page() -> bytes:
            about = ""
            if not path.startswith(f"{self._prefix}/-/"):
                if error.status in {400, 501}:
                    about = explained.advice(self._explain(path, environ), base)
                rest = explained.sendable(path.removeprefix(self._prefix).lstrip("/"))
                link = html.escape(f"{own}/explain/{rest}")
                about += f'\n<p><a href="{link}">Explain this address</a></p>'
            title = f"{error.status} {error.reason}"
            body = f"<h1>{html.escape(title)}</h1>\n<p>{html.escape(error.public)}</p>\n{about}"
            return framed(title, body, own)

        return errors.answer(error, environ, page=page, rules=self._rules())

    # For machines

    def _healthy(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Alive; with `?deep` also whether all that a request needs is there: 200 or 503."""
        found: dict[str, Any] = {"status": "ok", "version": __version__, **self._codecs}
        status = "200 OK"
        if "deep" in parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True):
            well, found["checks"] = self._health()
            if not well:
                found["status"], status = "failing", "503 Service Unavailable"
        body = json.dumps(found).encode()
        return _send(body, "application/json", "no-store", environ, start_response, status=status)

    def _metrics(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        body = exposition(
            self._stores, lambda: {name: one["ok"] for name, one in self._health()[1].items()}
        )
        return _send(body, METRICS_TYPE, "no-store", environ, start_response)

    def _static(
        self, name: str, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        file = STATIC / name
        if not NAME.fullmatch(name) or name.endswith(".html") or not file.is_file():
            raise NotFound("There is no such file here.")
        media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
        return _send(file.read_bytes(), media_type, "public, max-age=3600", environ, start_response)

    # For people

    def _own(self, environ: Environ) -> str:
        return f"{self._peers.base(environ)}{self._prefix}/-"

    def _rules(self, script: str = "", fetched: str = "") -> Headers:
        return policy(self._links.base, script, fetched, self._links.framers)

    def _index(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        own = self._own(environ)
        well, checks = self._health()
        inside = index.body(own, self._prefix, well, checks, self._recent())
        body = framed("iiif-proxy", inside, own)
        return _send(body, HTML, "no-cache", environ, start_response, self._rules())

    def _led(self, name: str, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """From the index's forms, whose fields are in the query, to the page itself."""
        given = {key: value[0] for key, value in parse_qs(environ.get("QUERY_STRING", "")).items()}
        rest = None
        if name in {"view", "annotate"} and "id" in given:
            rest = quote(given["id"], safe="")
        elif name == "compare" and {"one", "two"} <= set(given):
            rest = f"{quote(given['one'], safe='')}/{quote(given['two'], safe='')}"
        elif name == "explain" and "url" in given:
            path = urlsplit(given["url"]).path if "://" in given["url"] else given["url"]
            rest = explained.sendable(path.partition("?")[0].removeprefix(self._prefix).lstrip("/"))
        if not rest:
            raise NotFound("There is no such page here.")
        return see_other(f"{self._own(environ)}/{name}/{rest}", environ, start_response)

    def _view(
        self, identifier: str, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        """The viewer page; whether the identifier exists is for its info.json to say."""
        return self._viewer("view.html", [identifier], environ, start_response)

    def _annotate(
        self, identifier: str, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        return self._viewer("annotate.html", [identifier], environ, start_response)

    def _compare(
        self, rest: str, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        identifiers = rest.split("/")
        if len(identifiers) != 2 or not all(identifiers):
            raise NotFound("Two identifiers are compared; a slash in one is written %2F.")
        return self._viewer("compare.html", identifiers, environ, start_response)

    def _viewer(
        self, name: str, identifiers: list[str], environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        own = self._own(environ)
        links = self._links
        script = links.openseadragon or f"{own}/static/{OPENSEADRAGON}"
        values = {"own": own, "static": f"{own}/static", "openseadragon": script}
        [first, *_] = identifiers
        remote = (links.annotations or "").replace("{id}", quote(unquote(first), safe=""))
        manifest = f"{own.removesuffix('/-')}/3/{first}/manifest.json"
        there = [
            anchor(template.replace("{manifest}", quote(manifest, safe="")), name)
            for name, template in links.viewers
        ]
        values |= {"annotations": remote, "viewers": Markup(" ".join(there)), "annotate": ""}
        if (STATIC / ANNOTORIOUS).is_file():
            values["annotate"] = anchor(f"{own}/annotate/{first}", "notes")
        values["presets"] = self._presets(first, environ) if name == "view.html" else ""
        for mark, encoded in zip(("", "2"), identifiers, strict=False):
            image = f"{own.removesuffix('/-')}/3/{encoded}"
            values |= {
                f"identifier{mark}": unquote(encoded, errors="replace"),
                f"encoded{mark}": encoded,
                f"info{mark}": f"{image}/info.json",
                f"image{mark}": f"{image}/full/!1000,1000/0/default.jpg",
                f"manifest{mark}": f"{image}/manifest.json",
                f"canvas{mark}": f"{image}/canvas/1",  # As iiif/manifest.py has it.
            }
        page = filled((STATIC / name).read_text("utf-8"), values)
        fetched = remote if name == "annotate.html" else ""
        extra = self._rules(links.openseadragon or "", fetched)
        return _send(
            page.encode("utf-8", "replace"), HTML, "no-cache", environ, start_response, extra
        )

    def _explained(
        self, rest: str, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        found = self._explain(f"{self._prefix}/{rest}", environ)
        if errors.media_type(environ) == "application/json":
            body = json.dumps(explained.document(found), ensure_ascii=False).encode()
            return _send(body, "application/json", "no-store", environ, start_response)
        inside = explained.body(found, self._peers.base(environ))
        body = framed("Why is it answered so?", inside, self._own(environ))
        return _send(body, HTML, "no-store", environ, start_response, self._rules())


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
