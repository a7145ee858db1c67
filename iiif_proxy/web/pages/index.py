"""`/-/`: where to begin."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any
from urllib.parse import quote

from iiif_proxy import __version__


def body(
    own: str, prefix: str, well: bool, checks: Mapping[str, Any], recent: Iterable[str]
) -> str:
    """`checks`: what deep health found; `recent`: identifiers, none where that is off."""
    own, prefix = escape(own), escape(prefix)
    state = "well" if well else "fault"
    faults = [str(one.get("says", "")) for one in checks.values() if not one.get("ok")]
    said = "All is well." if well else " ".join(faults)
    lately = ""
    if names := list(recent):
        items = [
            f'<li><a href="{own}/view/{escape(quote(name, safe=""))}">'
            f'<img src="{own[:-2]}/3/{escape(quote(name, safe=""))}/full/!200,200/0/default.jpg"'
            f' alt="" loading="lazy" width="120" height="120">{escape(name)}</a></li>'
            for name in names
        ]
        lately = '<h2>Looked at lately</h2>\n<ul class="pictures">' + "".join(items) + "</ul>\n"
    return f"""<h1>iiif-proxy {escape(__version__)}</h1>
<p>IIIF Image API 2.1 and 3.0, below <code>{prefix}/2/</code> and <code>{prefix}/3/</code>.</p>
<form action="{own}/view" method="get">
<label for="id">Look at an image</label>
<p class="row"><input id="id" name="id" required autocomplete="off" spellcheck="false"
 placeholder="identifier, such as maps/1634.tif"><button>Look</button></p>
</form>
<form action="{own}/compare" method="get">
<label for="one">Compare two</label>
<p class="row"><input id="one" name="one" required autocomplete="off" spellcheck="false"
 placeholder="identifier"><input name="two" required aria-label="The other identifier"
 autocomplete="off" spellcheck="false" placeholder="identifier"><button>Compare</button></p>
</form>
<form action="{own}/explain" method="get">
<label for="url">Why is an address answered as it is?</label>
<p class="row"><input id="url" name="url" required autocomplete="off" spellcheck="false"
 placeholder="https://…{prefix}/3/…/full/max/0/default.jpg"><button>Explain</button></p>
</form>
{lately}<h2>How it is</h2>
<p class="verdict {state}"><strong>{"well" if well else "failing"}</strong> {escape(said)}</p>
<h2>For machines</h2>
<ul>
<li><a href="{own}/health">health</a>, <a href="{own}/health?deep">in depth</a></li>
<li><a href="{own}/metrics">metrics</a></li>
</ul>"""
