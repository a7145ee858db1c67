"""An identifier becomes a local file."""
