"""The IIIF Image API 2.1.1 and 3.0: standard library and errors only."""
