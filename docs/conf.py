"""Sphinx configuration: `make docs` builds docs/_build/html/index.html, warnings being errors."""

import functools
import importlib.metadata
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import _docstrings  # noqa: E402
import _drawn  # noqa: E402
import _generate  # noqa: E402
import _links  # noqa: E402
import _types  # noqa: E402

project = "jaxopt_course"
author = "the jaxopt_course authors"
project_copyright = "2026, the jaxopt_course authors"
release = importlib.metadata.version("jaxopt_course")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "myst_nb",
    "_mathml",
]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb", ".rst": "restructuredtext"}
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
# The course's cells, and the guides' blocks that draw, are run, and kept from build to build until
# they change; `DOCS_EXECUTE=off` leaves their outputs out, for a quick look at the pages (the tests
# run every cell, too).
nb_execution_mode = os.environ.get("DOCS_EXECUTE", "cache")
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_render_markdown_format = "myst"  # Else a table of claims is a row of bars.
suppress_warnings = ["myst.header", "config.cache"]
nitpicky = False
highlight_language = "none"  # Of indented blocks in docstrings, which are formulas.
python_maximum_signature_line_length = 88

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # `_types` writes signatures; the Args sections say shapes and units.
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_attr_annotations = False

html_theme = "furo"
html_math_renderer = "mathml"
html_title = "jaxopt_course"
html_static_path = []
html_extra_path = []
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}


def setup(app):
    """Write the generated pages, and read docstrings as the Markdown that they are."""
    _generate.write_reference(HERE / "api")
    _generate.write_lecture_map(HERE / "api" / "lecture_map.md")
    results = Path(os.environ.get("DOCS_RESULTS", HERE.parent / "results"))
    _generate.write_gallery(results, HERE / "api")
    _generate.write_notebooks(HERE.parent / "notebooks", HERE / "notebooks")
    app.connect("source-read", _drawn.insert)
    # Before napoleon (priority 500), which turns their sections into reStructuredText.
    app.connect("autodoc-process-docstring", _docstrings.to_restructured_text, priority=400)
    app.connect("autodoc-process-signature", _types.signature)
    app.connect("autodoc-skip-member", _docstrings.skip_fields)
    packages = _generate.packages()
    app.connect("doctree-read", functools.partial(_links.link_names, packages=packages))
    return {"parallel_read_safe": True}
