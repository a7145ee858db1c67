"""The page that the demo's origin has at `/`: its pictures, each with what IIIF makes of it."""

import html
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from urllib.parse import quote

ENDINGS = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".gif", ".jp2", ".avif", ".bmp"}
MOST = 200
FIGURE = """
<li>
  <a class="picture" href="{view}"><img src="{image}/full/!480,360/0/default.jpg" alt="" width="480"
    height="360" loading="lazy"></a>
  <h2><a href="{view}">{name}</a></h2>
  <p><a href="{image}/info.json">info.json</a> <a href="{two}/info.json">version 2</a>
    <a href="{image}/pct:25,25,50,50/!800,800/0/default.jpg">middle</a>
    <a href="{image}/full/!800,800/90/default.jpg">turned</a>
    <a href="{image}/full/!800,800/!0/default.jpg">mirrored</a>
    <a href="{image}/full/!800,800/0/gray.jpg">gray</a>
    <a href="{image}/square/400,400/0/bitonal.png">bitonal</a>
    <a href="{plain}">the original</a></p>
</li>"""


def pictures(folder: Path) -> Iterator[str]:
    """Names below the folder, with slashes, in order; hidden ones left out."""
    found = 0
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.suffix.lower() in ENDINGS and path.is_file() and "/." not in f"/{name}":
            found += 1
            if found > MOST:
                return
            yield name


def page(folder: Path, prefix: str) -> bytes:
    """HTML. `prefix` is the proxy's, for the page is seen through the proxy."""
    figures = []
    for name in pictures(folder):
        identifier = quote(name, safe="")
        links = {
            "view": f"{prefix}/-/view/{identifier}",
            "image": f"{prefix}/3/{identifier}",
            "two": f"{prefix}/2/{identifier}",
            "plain": "/" + quote(name),
            "name": name,
        }
        figures.append(FIGURE.format(**{key: html.escape(text) for key, text in links.items()}))
    text = (resources.files("iiif_proxy.demo") / "index.html").read_text("utf-8")
    body = "".join(figures) or "<li><p>There is no picture in this folder.</p></li>"
    return text.replace("<!-- pictures -->", body).encode()
