"""A browser and a sidecar."""

from tests.browser import browser, sidecar

__all__ = ["browser", "sidecar"]
