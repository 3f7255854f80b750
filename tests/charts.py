"""What the tests of charts share: the charts, frames for them, and what was drawn."""

from __future__ import annotations

import datetime as dt
import io
import math

import numpy as np
import polars as pl
from matplotlib.colors import to_hex

from vbase_py_utils import fama_macbeth, plots

BETAS = ["beta_MktRF", "beta_SMB", "beta_HML", "beta_Mom"]
# Each chart and the frame of the fits that it draws; the premia are no frame of the fits.
FRAMES = {
    "cumulative_returns": "factor_returns",
    "confidence_bands": "coefficients",
    "true_against_estimated": "factor_returns",
    "robust_against_least_squares": "factor_returns",
    "t_values": "premia",
    "fit_quality": "diagnostics",
    "robustness_weights": "specific_returns",
    "correlations": "factor_returns",
}
CHARTS = list(FRAMES)
OF_SERIES = ["cumulative_returns", "correlations"]
OF_TWO = ["true_against_estimated", "robust_against_least_squares"]
BAD = [None, math.nan, math.inf, -math.inf]


def frame_of(chart, fits):
    frame = FRAMES[chart]
    return fama_macbeth(fits, lags="auto") if frame == "premia" else getattr(fits, frame)


def draw(chart, source, other=None, **options):
    """Draw a chart of fits or frames; ``other`` is the second frame of those that take two."""
    given = [source]
    if chart == "true_against_estimated":
        given = [source if other is None else other, source]
    elif chart == "robust_against_least_squares":
        given = [source, source if other is None else other]
    return getattr(plots, chart)(*given, **options)


def drawing(ax):
    """Everything on the axes that a reader sees, to be compared."""
    legend = ax.get_legend()
    return {
        "lines": [
            [line.get_xdata(), line.get_ydata(), line.get_color(), line.get_markevery()]
            for line in ax.lines
        ],
        "areas": [
            [[path.vertices for path in c.get_paths()], c.get_facecolor(), c.get_edgecolor()]
            for c in ax.collections
        ],
        "points": [np.ma.filled(c.get_offsets(), np.nan) for c in ax.collections],
        "bars": [[p.get_y(), p.get_width(), p.get_facecolor()] for p in ax.patches],
        "images": [np.ma.filled(image.get_array(), np.nan) for image in ax.images],
        "texts": [[t.get_text(), t.get_position(), t.get_color()] for t in ax.texts],
        "limits": [ax.get_xlim(), ax.get_ylim()],
        "axes": [ax.get_xlabel(), ax.get_ylabel(), tick_texts(ax.xaxis), tick_texts(ax.yaxis)],
        "legend": legend and [[t.get_text() for t in legend.get_texts()], colours_of(legend)],
    }


def tick_texts(axis):
    return [text.get_text() for text in axis.get_ticklabels()]


def colours_of(legend):
    return [to_hex(handle.get_facecolor()) for handle in legend.legend_handles]


def legend_texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def written_out(ax):
    """Draw the figure as PNG and as SVG, warnings being errors; give the SVG."""
    ax.figure.savefig(io.BytesIO(), format="png", dpi=50)
    svg = io.BytesIO()
    ax.figure.savefig(svg, format="svg")
    return svg.getvalue().decode()


def curves(ax):
    """The lines that show numbers: not the one at zero."""
    return ax.lines[:-1]


def dates(n, start=dt.date(2000, 1, 1), days=1):
    return [start + dt.timedelta(days=days * i) for i in range(n)]


def wide_of(periods, n_factors=1, seed=0, unit=0.01):
    random = np.random.default_rng(seed)
    return pl.DataFrame(
        {"period": periods}
        | {f"f{j}": unit * random.standard_normal(len(periods)) for j in range(n_factors)}
    )


def long_of(wide, std_error=0.005):
    long = wide.unpivot(index="period", variable_name="factor", value_name="factor_return")
    return long.with_columns(std_error=pl.lit(std_error), t_stat=pl.col("factor_return") / 0.005)


def quality_of(wide):
    return wide.select(
        "period", r_squared=0.5, robust_r_squared=0.6, n_downweighted=1, n_assets=10
    )  # fmt: skip


def weights_of(wide):
    return long_of(wide).select("period", asset="factor", robustness_weight=0.5)


def frame_for(chart, wide):
    """A frame that the chart takes, with the periods and factors of factor returns."""
    return {
        "factor_returns": lambda: wide,
        "coefficients": lambda: long_of(wide),
        "premia": lambda: long_of(wide.head(1)).drop("period"),
        "diagnostics": lambda: quality_of(wide),
        "specific_returns": lambda: weights_of(wide),
    }[FRAMES[chart]]()


WIDE = pl.DataFrame({"period": [1, 2, 3], "x": [0.1, 0.2, 0.3], "y": [0.1, 0.2, 0.4]})


def band_edges(area):
    """Lower and upper edge of an area by place on the horizontal axis."""
    edges = {}
    for path in area.get_paths():
        for x, y in path.vertices:
            low, high = edges.get(x, (math.inf, -math.inf))
            edges[x] = min(low, y), max(high, y)
    return edges


ALONG = ["cumulative_returns", "confidence_bands", "fit_quality"]


def as_label(name):
    shown = name.replace("\n", "\\n").replace("\t", "\\t")
    # What is too long loses what is before its last third.
    return shown if len(shown) <= 30 else shown[:19] + "…" + shown[-10:]


COEFFICIENTS = long_of(WIDE)
