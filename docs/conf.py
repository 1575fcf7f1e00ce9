"""How Sphinx builds the documentation: `make docs`."""

import eson

project = "ESON"
author = "The ESON project"
version = release = eson.__version__
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "performance_figures.md"]
myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]
html_theme = "furo"
html_title = "ESON"
nitpicky = True
# fences that are pictures or grammars elsewhere, plain text here
suppress_warnings = ["misc.highlighting_failure"]
highlight_language = "text"
