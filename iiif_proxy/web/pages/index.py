"""`/-/`: where to begin."""

from html import escape

from iiif_proxy import __version__


def body(own: str, prefix: str) -> str:
    own, prefix = escape(own), escape(prefix)
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
<h2>For machines</h2>
<ul>
<li><a href="{own}/health">health</a>, <a href="{own}/health?deep">in depth</a></li>
<li><a href="{own}/metrics">metrics</a></li>
</ul>"""
