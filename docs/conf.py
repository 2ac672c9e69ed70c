"""Configuration of the documentation: `make docs` builds it into build/docs, without a network."""

import os
import subprocess
import sys

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import glip_pl

# Help is laid out for a terminal of 80 columns without colours.
TERMINAL = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1"}

project = "glip_pl"
author = "The glip_pl contributors"
copyright = f"2026, {author}"
version = release = glip_pl.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
html_theme = "furo"
html_title = f"glip_pl {version}"
html_static_path: list[str] = []
copybutton_prompt_text = "$ "

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
# Links to files of the repository are right on its pages, and are shown as text here.
suppress_warnings = ["myst.xref_missing"]
exclude_patterns = ["images"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
default_role = "py:obj"


class Help(SphinxDirective):
    """Show what ``glip ... --help`` prints: ``.. help:: predict``."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Run the command, and fail the build where it does."""
        command = [sys.executable, "-m", "glip_pl", *self.arguments[0].split(), "--help"]
        told = subprocess.run(command, capture_output=True, text=True, env=TERMINAL)
        if told.returncode:
            raise self.error(f"{' '.join(command[2:])} failed: {told.stderr}")
        return [nodes.literal_block(told.stdout, told.stdout, language="text")]


def setup(app: Sphinx) -> None:
    """Register what this file adds to Sphinx."""
    app.add_directive("help", Help)
