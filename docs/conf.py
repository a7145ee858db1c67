"""The documents as a site: `make docs`. Sphinx reads the Markdown that GitHub shows too."""

project = "iiif-proxy"
author = "The iiif-proxy authors"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "iiif-proxy"
html_favicon = "../iiif_proxy/web/static/icon.svg"
html_copy_source = False
myst_heading_anchors = 3
myst_links_external_new_tab = False
exclude_patterns: list[str] = []
suppress_warnings = ["myst.header"]
