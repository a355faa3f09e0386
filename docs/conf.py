"""How the site is built: `make docs`. Nothing is fetched; the extensions beside this file make what is generated."""

import importlib
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent / "src")]

# Examples learn small nets: one thread each is fastest, and progress bars are no output
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("COLUMNS", "96")

gallery = importlib.import_module("gallery")
likeness = importlib.import_module("likeness")

project = "Likeness"
author = "The Likeness authors"
copyright = "the Likeness authors, Apache-2.0"
version = release = likeness.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
    "docstrings",
    "generated",
    "pages",
]
exclude_patterns = ["_build", "_ext", "**/GALLERY_HEADER.rst", "**/*.py", "README.md"]
templates_path = ["_templates"]
default_role = "code"  # docstrings and examples say `this` for code
suppress_warnings = ["ref.python"]  # a type that is named in two modules links to either

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "attrs_inline", "fieldlist"]
myst_heading_anchors = 3

viewcode_follow_imported_members = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "show-inheritance": True}
python_maximum_signature_line_length = 88
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

sphinx_gallery_conf = gallery.configuration(HERE)

html_theme = "pydata_sphinx_theme"
html_title = "Likeness"
html_static_path = ["_static"]
html_css_files = ["likeness.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "show_prev_next": True,
    "navigation_with_keys": False,
    "header_links_before_dropdown": 6,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {page: [] for page in ("index", "start", "choosing", "recipes")}
