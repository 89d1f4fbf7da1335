"""
How Sphinx makes the site of these pages: `make docs`, into site/.

The pages are plain Markdown with relative links, so that a forge shows them as well. Nothing of the
site comes from another server: furo brings its own style and script and uses the system's fonts.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

project = "ATOM platform"
author = "the developers of the ATOM platform"
release = version = re.findall(
    r'__version__ = "(.+)"', (ROOT / "atom_platform" / "__init__.py").read_text()
)[0]

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["tables.py"]

# Links to a heading are checked as a forge would make its anchor.
myst_heading_anchors = 4
nitpicky = True

# PromQL, CloudWatch's and Loki's languages have no lexer; such blocks are shown as they are.
highlight_language = "none"
suppress_warnings = ["misc.highlighting_failure"]

html_theme = "furo"
html_title = "ATOM platform"
html_copy_source = False
html_show_copyright = False
html_use_index = False
html_theme_options = {"top_of_page_buttons": []}
