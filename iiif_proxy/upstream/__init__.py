"""The HTTP origin as a WSGI application: what is not IIIF passes here, byte for byte.

`app` decides what crosses (targets, headers, bodies), `target` finds the target that the visitor
sent, `wire` keeps the connections, `framing` reads the answers.

Why a client of our own: beside bare http.client in the same gunicorn worker, a 1 KB answer takes
1.14 to 1.33 times as long through urllib3's pool and 0.76 to 0.80 times through this one, 200 MB
cost 0.60 to 0.72 and 0.42 to 0.56 CPU s per GB; the goals are 1.25 and 0.6
(`python -m bench.passthrough --all`; three runs, in bench/passthrough.py). And http.client would
need most of `framing` around it anyway: its `read1` takes for whole what broke off, it lets framing
through that RFC 9112 calls faulty (two lengths, `+5`, `gzip, chunked`), takes a 103 for the final
answer, and drops without a word the fields behind a line that has no colon.
"""

from iiif_proxy.upstream.app import Upstream
from iiif_proxy.upstream.target import raw_target

__all__ = ["Upstream", "raw_target"]
