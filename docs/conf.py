"Sphinx settings of the site. `build.py` lays out the pages and starts Sphinx; nothing here or in the pages asks the network."

import json
import os
import re
from configparser import ConfigParser
from pathlib import Path

HERE = Path(__file__).parent
BUILT = Path(os.environ.get("PERPS_DOCS_BUILT", HERE / "_build"))
reader = ConfigParser(delimiters=["="])
reader.read(HERE.parent / "settings.ini", encoding="utf-8")

project = reader["DEFAULT"]["lib_name"]
author = reader["DEFAULT"]["author"]
copyright = author
release = version = reader["DEFAULT"]["version"]

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
exclude_patterns = ["**/.ipynb_checkpoints"]
myst_enable_extensions = ["dollarmath", "attrs_inline", "attrs_block", "colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # executed before, by tools/notebooks.py
nb_render_markdown_format = "myst"
nb_ipywidgets_js = {}
nb_merge_streams = True
suppress_warnings = ["mystnb.unknown_mime_type", "misc.highlighting_failure"]

viewcode_follow_imported_members = False  # an imported name would be linked on the page of its own module
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "pydata_sphinx_theme"
html_title = project
html_static_path = ["_static"] + ([str(BUILT / "static")] if (BUILT / "static").is_dir() else [])
html_css_files = ["site.css"]
html_js_files = ["colors.js", "plots.js"]
html_favicon = "_static/logo.svg"
html_copy_source = html_show_sourcelink = False
html_show_sphinx = False
html_theme_options = {
    "logo": {"image_light": "_static/logo.svg", "image_dark": "_static/logo.svg", "text": project, "alt_text": project},
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 8,
    "show_prev_next": True,
    "show_nav_level": 1,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "pygments_light_style": "tango",
    "pygments_dark_style": "github-dark",
}
html_sidebars = {name: [] for name in ("index", "quick_start", "architecture", "faq", "glossary")}
html_context = {"default_mode": "auto"}
mathjax_path = "mathjax.js" if (BUILT / "static" / "mathjax.js").is_file() else "without_mathjax.js"

DRAWS = json.loads((BUILT / "draws.json").read_text(encoding="utf-8")) if (BUILT / "draws.json").is_file() else {}


def add_bokeh(app, pagename, templatename, context, doctree):
    "One shared BokehJS, and only on the pages that draw with it."
    for script in DRAWS.get(pagename, []):
        app.add_js_file(script, priority=100)


def plain_docstring(app, what, name, obj, options, lines):
    "Docstrings are plain sentences with code in `backticks`, and indented examples: say so to Sphinx."
    if what in ("attribute", "data", "property") and not isinstance(obj, property):
        lines.clear()  # what Sphinx found is the docstring of the value's class
        return
    out, literal = [], False
    for line in lines:
        indented = line.startswith("    ") and bool(line.strip())
        if indented and not literal:
            out += ["", "::", ""]
        elif literal and line.strip() and not indented:
            out.append("")
        literal = indented or (literal and not line.strip())
        out.append(line if literal else "".join(code(part) for part in re.split(r"(`+[^`]+`+)", line)))
    lines[:] = out


def code(part: str) -> str:
    "A span of backticks as literal text, and the rest with nothing that reStructuredText would read as markup."
    inside = re.fullmatch(r"`+([^`]+)`+", part)
    return f"\\ ``{inside[1].strip()}``\\ " if inside else re.sub(r"([\\*|_`])", r"\\\1", part)


def skip_fields(app, what, name, obj, skip, options):
    "The fields of a named tuple stand in its signature; `Alias for field number 0` says nothing."
    return True if (getattr(obj, "__doc__", None) or "").startswith("Alias for field number") else None


def setup(app):
    app.connect("html-page-context", add_bokeh)
    app.connect("autodoc-process-docstring", plain_docstring)
    app.connect("autodoc-skip-member", skip_fields)
