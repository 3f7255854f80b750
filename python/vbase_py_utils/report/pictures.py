"""Charts as SVG pictures in a page, with selectable text, in the page's text colour."""

from __future__ import annotations

import io
import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from statistics import NormalDist
from threading import Lock
from typing import NamedTuple
from warnings import catch_warnings, filterwarnings

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.legend import Legend

from vbase_py_utils import plots
from vbase_py_utils.fit.results import CrossSectionFits, inner_frame
from vbase_py_utils.fit.schema import FACTOR_RETURN, R_SQUARED, ROBUSTNESS_WEIGHT, STD_ERROR, T_STAT
from vbase_py_utils.keys import ASSET
from vbase_py_utils.plots.fit_charts import MOST_ASSETS
from vbase_py_utils.report.layout import lay_out

# Pixels of a picture's width, and per inch.
WIDTH, INCH = 880, 96
# Charts are drawn in INK, then recoloured for the reader's light or dark mode.
INK, LIGHT_INK = "#1f2328", "#e6edf3"
STYLE = {
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.labelcolor": INK,
    "figure.facecolor": "none",
    "font.size": 9,
    "savefig.facecolor": "none",
    # Text stays text: browsers have fonts for every script, and can select and search it.
    "svg.fonttype": "none",
    # The same fits give the same file.
    "svg.hashsalt": "vbase",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}
MODES = (
    f"<style>:root{{--ink:{INK}}}"
    f"@media (prefers-color-scheme:dark){{:root{{--ink:{LIGHT_INK}}}}}</style>"
)
# matplotlib's settings are global to the process: reports in several threads take turns.
ONE_STYLE = Lock()


@dataclass(frozen=True)
class Picture:
    """A chart in the page: a ``data:`` URL, its size in pixels, heading and note."""

    heading: str
    note: str
    source: str
    width: int
    height: int


class _Drawn(NamedTuple):
    """The data that charts are drawn from."""

    fits: CrossSectionFits[pl.DataFrame]
    premia: pl.DataFrame


@dataclass(frozen=True)
class _Chart:
    """A chart of the report: its text, the function that draws it, whether it has data."""

    heading: str
    note: str
    draw: Callable[[_Drawn, Axes], object]
    has_numbers: Callable[[_Drawn], bool] = lambda _: True
    height: Callable[[_Drawn], int] = lambda _: 340
    width: Callable[[_Drawn], int] = lambda _: WIDTH


def any_finite(values: pl.Series) -> bool:
    """Whether there is a number to draw."""
    return bool(values.is_finite().any())


def _height_of_assets(drawn: _Drawn) -> int:
    n_assets = inner_frame(drawn.fits, "specific_returns")[ASSET].n_unique()
    return 110 + 15 * min(MOST_ASSETS, n_assets)


def _side_of_square(drawn: _Drawn) -> int:
    return min(WIDTH, 340 + 20 * len(drawn.premia))


CHARTS = (
    _Chart(
        "Cumulative factor returns",
        "Running sums of the factor returns. With more than six factors, the six furthest from "
        "zero have colours. A period without an estimate is a gap.",
        lambda drawn, ax: plots.cumulative_returns(drawn.fits, ax=ax),
    ),
    _Chart(
        "Factor returns and their confidence bands",
        "With more than three factors, those with the largest median absolute t-value. The 95 % "
        "bands, by Student's t, are for each period by itself; with more than 250 periods, for "
        "running means.",
        lambda drawn, ax: plots.confidence_bands(drawn.fits, ax=ax),
        lambda drawn: any_finite(drawn.fits.coefficients[STD_ERROR]),
    ),
    _Chart(
        "t-values of the premia",
        "Grey: within the dashed limits of a two-sided test at 5 %.",
        lambda drawn, ax: plots.t_values(drawn.premia, ax=ax),
        lambda drawn: any_finite(drawn.premia[T_STAT]),
        height=lambda drawn: 90 + 22 * min(len(drawn.premia), 60),
    ),
    _Chart(
        "Fit over time",
        "R squared, plain and with the robustness weights, and the share of down-weighted "
        "assets{normal}.",
        lambda drawn, ax: plots.fit_quality(drawn.fits, ax=ax),
        lambda drawn: any_finite(drawn.fits.diagnostics[R_SQUARED]),
    ),
    _Chart(
        "Robustness weights",
        "The most down-weighted assets, the worst on top. Dark: hardly any weight in that "
        "period. Grey: not used.",
        lambda drawn, ax: plots.robustness_weights(drawn.fits, ax=ax),
        lambda drawn: bool((drawn.fits.specific_returns[ROBUSTNESS_WEIGHT] < 1).any()),
        height=_height_of_assets,
    ),
    _Chart(
        "Correlations of factor returns",
        "Over the periods that have both.",
        lambda drawn, ax: plots.correlations(drawn.fits, ax=ax),
        lambda drawn: len(drawn.premia) > 1,
        height=lambda drawn: _side_of_square(drawn) - 80,
        width=_side_of_square,
    ),
)


def pictures_of(fits: CrossSectionFits[pl.DataFrame], premia: pl.DataFrame) -> Iterator[Picture]:
    """Draw the charts for which the fits have data."""
    drawn = _Drawn(fits, premia)
    if not any_finite(fits.coefficients[FACTOR_RETURN]):
        return
    beyond = 2 * NormalDist().cdf(-fits.estimated.downweighted_beyond)
    normal = f"; with normal residuals it would be {100 * beyond:.0f} %" if beyond > 0.005 else ""
    for chart in CHARTS:
        if chart.has_numbers(drawn):
            width, height = chart.width(drawn), chart.height(drawn)
            source = source_of(partial(chart.draw, drawn), width, height)
            note = chart.note.format(normal=normal)
            yield Picture(chart.heading, note, source, width, height)


def _put_legend_on_top(ax: Axes) -> Legend | None:
    """Move the legend from beside the chart to above it, where a phone shows it first."""
    legend = ax.get_legend()
    if legend is None:
        return None
    names = [text.get_text() for text in legend.get_texts()]
    title = legend.get_title().get_text()
    handles = [handle for handle in legend.legend_handles if handle is not None]
    legend.remove()
    return ax.figure.legend(
        handles,
        names,
        title=title or None,
        alignment="left",
        loc="upper left",
        ncols=3,
        frameon=False,
        handlelength=1.2,
        borderaxespad=0.2,
    )


def _leave_cells_to_the_browser(figure: Figure) -> None:
    """Put images into the picture with a pixel a cell, also those that colour bars consist of."""
    for ax in figure.axes:
        for mesh in [one for one in ax.collections if isinstance(one, QuadMesh)]:
            cells = mesh.to_rgba(np.asarray(mesh.get_array())).reshape(-1, 1, 4)
            limits = *ax.get_xlim(), *ax.get_ylim()
            ax.imshow(cells, aspect="auto", origin="lower", extent=limits)
            mesh.remove()
        for image in ax.images:
            image.set_interpolation("none")


def source_of(draw: Callable[[Axes], object], width: int, height: int) -> str:
    """Draw on a separate figure, independent of the user's style and backend.

    Returns a ``data:`` URL.
    """
    buffer = io.StringIO()
    with ONE_STYLE, mpl.style.context(["default", STYLE], after_reset=True), catch_warnings():
        # The browser draws letters that matplotlib's fonts lack.
        filterwarnings("ignore", "Glyph", UserWarning)
        figure = Figure(figsize=(width / INCH, height / INCH))
        ax = figure.add_subplot()
        draw(ax)
        lay_out(figure, ax, _put_legend_on_top(ax))
        _leave_cells_to_the_browser(figure)
        # Unlike ``savefig``, which draws twice.
        canvas = FigureCanvasSVG(figure)
        canvas.print_svg(buffer, metadata={"Date": None, "Creator": None})  # type: ignore[no-untyped-call]
    svg = re.sub(rf'(fill|stroke): {INK}(?=[;"])', rf"\1: var(--ink,{INK})", buffer.getvalue())
    svg = re.sub(r"<svg [^>]*>", lambda tag: tag[0] + MODES, svg, count=1)
    return "data:image/svg+xml;base64," + b64encode(svg.encode()).decode()
