"""IIIF Image API 2.1 and 3.0 in front of the image origin you already have."""

__version__ = "0.1.0"
