"""Hits that nginx sends: we decide and name the file, it reads it (X-Accel-Redirect)."""

from collections.abc import Callable, Iterable

from iiif_proxy.stores.base import Entry
from iiif_proxy.web import answers
from iiif_proxy.web.answers import StartResponse
from iiif_proxy.web.headers import Environ, Headers
from iiif_proxy.web.peers import Peers

# What nginx says of itself: its own location, on requests whose answers it sends.
ASKED = "HTTP_X_IIIF_ACCEL"
# By its own name nginx takes it over at once, and keeps it should it have to ask again for bytes.
CACHING = "X-Iiif-Cache-Control"
# nginx would judge these by the file, of which it has neither ETag nor date of ours.
PRECONDITIONS = ("HTTP_IF_MATCH", "HTTP_IF_UNMODIFIED_SINCE")


class Accel:
    """Answers without a body for nginx, whose internal `location` has what the store's folder has.

    Only for a trusted peer that names that very location: nobody else gets an empty answer.
    `told` hears the size of what nginx sends.
    """

    def __init__(self, location: str, peers: Peers, told: Callable[[int], object]) -> None:
        self._location = location
        self._peers = peers
        self._told = told

    def image(
        self,
        environ: Environ,
        start_response: StartResponse,
        headers: Headers,
        entry: Entry,
        hit: bool,
        stale: bool = False,
    ) -> Iterable[bytes]:
        """As answers.image, which answers HEAD, and whatever has no file of its own."""
        path = entry.path
        if (
            path is None
            or environ.get(ASKED) != self._location
            or environ["REQUEST_METHOD"] != "GET"
            or any(name in environ for name in PRECONDITIONS)
            or not self._peers.trusts(environ.get("REMOTE_ADDR", ""))
        ):
            return answers.image(environ, start_response, headers, entry, hit, stale)
        entry.close()
        # Nothing in the parts of a key is to be escaped (stores.base.PART).
        name = "/".join(path.rsplit("/", 3)[1:])
        fields = [(CACHING if key == "Cache-Control" else key, value) for key, value in headers]
        fields += [
            ("Content-Length", "0"),
            answers.cache_status(hit, stale),
            ("X-Accel-Redirect", self._location + name),
        ]
        start_response("200 OK", fields)
        self._told(entry.size)
        return []
