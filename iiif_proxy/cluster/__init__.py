"""What several machines tell each other, through Redis. Without it each goes on by itself."""

from iiif_proxy.cluster.leases import Leases
from iiif_proxy.cluster.link import Away, Link
from iiif_proxy.cluster.news import News
from iiif_proxy.cluster.silences import Silences

__all__ = ["Away", "Leases", "Link", "News", "Silences"]
