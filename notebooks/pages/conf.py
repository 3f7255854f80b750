"""How Sphinx builds these pages: `just docs`. Nothing they show comes from the network."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

import polars as pl
from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.pycode import ModuleAnalyzer

from vbase_py_utils import fit_cross_sections, write_report

sys.path.insert(0, str(Path(__file__).parent.parent))
import picture  # the market that the pictures show

project = "vbase-py-utils"
version = release = version_of(project)
author = "the vbase-py-utils authors"
copyright = author  # no year that would have to be kept up
language = "en"
smartquotes_action = "De"  # dashes and dots: quotes are often those of strings

extensions = [
    "matplotlib.sphinxext.plot_directive",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
# "$500" is no formula.
myst_dmath_allow_digits = False

# Types stand in the signature, a parameter to a line; in docstrings they would be said twice.
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
# A result and an error are made by the library: how is not the reader's business.
autodoc_class_signature = "separated"
autodoc_member_order = "bysource"
# Docstrings say "period, asset" where one sentence serves both, and "DataFrame or LazyFrame, as
# given" for what comes back: text, where Sphinx's fields would look for one name and for types.
napoleon_google_docstring = False
napoleon_use_param = False
napoleon_use_rtype = False

# Types that signatures name and whose pages are elsewhere, and one type variable.
nitpick_ignore_regex = [
    ("py:class", r"(collections|matplotlib|numpy|pandas|pathlib|pd|polars)\..*"),
    ("py:class", r"vbase_py_utils\.(fit\.(schema|results)|risk\.(portfolio|attribution))\.Frame"),
    ("py:class", r"Estimator"),  # "huber" or "mm", which the docstring says
]

# What stands before the code of every picture.
plot_pre_code = """
from picture import FACTORS, simulated
from vbase_py_utils import fit_cross_sections, plots

panel, truth = simulated()
fits = fit_cross_sections(panel, FACTORS)
least_squares = fit_cross_sections(panel, FACTORS, huber_t=float("inf"))
"""
plot_include_source = True
plot_html_show_formats = False
plot_html_show_source_link = False
plot_formats = ["svg"]

html_theme = "furo"
html_title = f"{project} {version}"
html_math_renderer = "mathml"
html_copy_source = False
html_show_sourcelink = False
# Wide tables and formulas scroll by themselves instead of under the margin.
html_static_path = ["static"]
html_css_files = ["pages.css"]


def visit_math(translator, node):
    """Write a formula as MathML, which browsers draw: no script, no font to fetch."""
    translator.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def visit_math_block(translator, node):
    """Write a formula on a line of its own as MathML."""
    translator.body.append(translator.starttag(node, "div", CLASS="math"))
    translator.body.append(tex2mathml(node.astext(), as_block=True) + "</div>\n")
    raise nodes.SkipNode


def keep_whole(app, what, name, obj, options, lines):
    """Keep Napoleon from reading "A row per period: ..." of a property as "type: description".

    It looks at the first line only, which is now an empty comment.
    """
    if what == "property":
        lines[:0] = ["..", ""]


def write_example(app, exception):
    """Put a report beside the pages that speak of it."""
    if exception is None:
        panel, _ = picture.simulated()
        # Two months without most returns, so that there are bad periods to list.
        lost = pl.col("period").dt.year().is_in([2018, 2021]) & (pl.col("period").dt.month() == 5)
        few = pl.col("asset") < "Stock 002"
        panel = panel.with_columns(pl.when(~lost | few).then("return").alias("return"))
        fits = fit_cross_sections(panel, picture.FACTORS)
        write_report(fits, app.outdir / "example_report.html", title="A simulated market")


def setup(app):
    """Tell Sphinx what is above."""
    app.connect("build-finished", write_example)
    app.connect("autodoc-process-docstring", keep_whole, priority=400)  # before Napoleon, at 500
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    # One signature with all arguments instead of the overloads, which only tell type checkers that
    # a lazy frame stays lazy.
    modules = (
        "fit.cross_sections",
        "prepare.history",
        *(f"risk.{name}" for name in ("attribution", "covariance", "exposures", "portfolio")),
        "risk.specific_risk",
    )
    for module in modules:
        analyzer = ModuleAnalyzer.for_module(f"{project.replace('-', '_')}.{module}")
        analyzer.analyze()
        analyzer.overloads.clear()
