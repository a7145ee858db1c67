"""A page for each viewer, as its own documentation embeds it. ABOUT is what it shows."""

import mimetypes
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from iiif_proxy.web.own import STATIC
from tests.viewers.packages import PLACE

FRAME = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{name}</title>
<link rel="icon" href="data:,">
<style>html, body, #at {{ margin: 0; width: 100%; height: 100%; }}</style>
{head}<div id="at"></div>{body}</html>"""
BY_INFO = {
    "openseadragon": (
        '<script src="/openseadragon/openseadragon.min.js"></script>',
        """<script>OpenSeadragon({ id: "at", tileSources: ABOUT, showNavigationControl: false,
        crossOriginPolicy: "Anonymous" });</script>""",
    ),
    "leaflet-iiif": (
        '<link rel="stylesheet" href="/leaflet-1.9.4/dist/leaflet.css">'
        '<script src="/leaflet-1.9.4/dist/leaflet.js"></script>'
        '<script src="/leaflet-iiif-3.0.0/leaflet-iiif.js"></script>',
        """<script>const map = L.map("at", { center: [0, 0], crs: L.CRS.Simple, zoom: 0,
        zoomAnimation: false, fadeAnimation: false });
        L.tileLayer.iiif(ABOUT, { tileSize: 512 }).addTo(map);</script>""",
    ),
}
LOGIN = {
    "mirador-flow": (
        '<script src="/mirador-flow-4.0.0-alpha.16-8/dist/mirador.min.js"></script>',
        # Only the services of 2.0, where it would take those of 1.0 first.
        """<script>Mirador.viewer({ id: "at", windows: [{ manifestId: ABOUT }],
        auth: { serviceProfiles: [{ profile: "external", external: true },
        { profile: "kiosk", kiosk: true }, { profile: "active" }] },
        workspaceControlPanel: { enabled: false } });</script>""",
    ),
}
BY_MANIFEST = {
    "mirador": (
        '<script src="/mirador-4.0.0/dist/mirador.min.js"></script>',
        """<script>Mirador.viewer({ id: "at", windows: [{ manifestId: ABOUT }],
        workspaceControlPanel: { enabled: false } });</script>""",
    ),
    "universalviewer": (
        '<link rel="stylesheet" href="/universalviewer-4.4.0/dist/esm/index.css">'
        '<script src="/universalviewer-4.4.0/dist/umd/UV.js"></script>',
        """<script>UV.init("at", { manifest: ABOUT, embedded: true });</script>""",
    ),
    "clover": (
        '<script src="/clover-3.3.8/dist/web-components/index.umd.js"></script>',
        """<script>const viewer = document.createElement("clover-viewer");
        viewer.setAttribute("id", ABOUT);
        viewer.setAttribute("iiif-content", ABOUT);
        document.getElementById("at").append(viewer);</script>""",
    ),
    "tify": (
        '<link rel="stylesheet" href="/tify-0.35.0/dist/tify.css">',
        """<script type="module">import Tify from "/tify-0.35.0/dist/tify.js";
        new Tify({ container: "#at", manifestUrl: ABOUT, view: "" });</script>""",
    ),
}


def page(name: str, about: str) -> str:
    head, body = (BY_INFO | BY_MANIFEST | LOGIN)[name]
    return FRAME.format(name=name, head=head, body=body.replace("ABOUT", f'"{about}"'))


class Site(BaseHTTPRequestHandler):
    """The pages, at `/?viewer=…&about=…`, and the packages."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        if address.path == "/":
            given = parse_qs(address.query)
            return self.give(page(given["viewer"][0], given["about"][0]).encode(), "text/html")
        name = address.path[1:]
        file = PLACE / name
        if name.startswith("openseadragon/"):
            file = Path(str(STATIC)) / name
        if not file.is_file():
            return self.give(b"", "text/plain", 404)
        self.give(file.read_bytes(), mimetypes.guess_type(name)[0] or "application/octet-stream")

    def give(self, body: bytes, media_type: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
