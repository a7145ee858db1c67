"""The HTTP origin as a WSGI application: what is not IIIF passes here, byte for byte.

`app` decides what crosses (targets, headers, bodies), `target` finds the target that the visitor
sent, `wire` keeps the connections, `framing` reads the answers.

Why a client of our own (neither urllib3 nor http.client), under the same gunicorn worker
(`python -m bench.passthrough --all`): see the table in bench/passthrough.py. Beside the speed,
http.client takes for whole what broke off (`read1`), lets framing through that RFC 9112 calls
faulty (two lengths, `+5`, `gzip, chunked`), hides every 1xx but 100 as the final answer, and loses
the fields that follow a line without a colon.
"""

from iiif_proxy.upstream.app import Upstream
from iiif_proxy.upstream.target import raw_target

__all__ = ["Upstream", "raw_target"]
