"""IIIF Authorization Flow API 2.0 and Authentication API 1.0: viewers are led to a login."""
