"""One maker for all who want the same, and a budget for what is made at once."""

from iiif_proxy.concurrency.circuit import Circuits
from iiif_proxy.concurrency.flight import SingleFlight
from iiif_proxy.concurrency.gate import Gate, Gated, Place
from iiif_proxy.concurrency.locks import KeyLocks
from iiif_proxy.concurrency.spare import Spare

__all__ = ["Circuits", "Gate", "Gated", "KeyLocks", "Place", "SingleFlight", "Spare"]
