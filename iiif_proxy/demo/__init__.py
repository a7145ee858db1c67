"""A demo: pictures, an origin that serves them, and the proxy in front (`make run`)."""
