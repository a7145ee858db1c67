"""Pages of the proxy's own: what they say is data, escaped here; scripts and styles are files."""
