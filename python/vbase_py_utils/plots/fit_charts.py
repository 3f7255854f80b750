"""Charts of the fits behind factor returns: how well periods fit, which assets count less."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.axes import Axes

from vbase_py_utils.analyse.reading import AnyFrame, Fits, floats, read_table
from vbase_py_utils.arguments import check_number
from vbase_py_utils.fit.schema import (
    N_ASSETS,
    N_DOWNWEIGHTED,
    R_SQUARED,
    ROBUST_R_SQUARED,
    ROBUSTNESS_WEIGHT,
)
from vbase_py_utils.keys import ASSET, PERIOD, label
from vbase_py_utils.plots.axes import axes_for, draw_heat_map, draw_lines, label_names, label_steps
from vbase_py_utils.plots.data import running_median, window_for

# Default number of rows of the heat map of robustness weights.
MOST_ASSETS = 40
# R squared below this is off the chart: it has no lower bound.
LEAST_R_SQUARED = -0.5


def fit_quality(
    diagnostics: AnyFrame | Fits, *, period: str | None = None, ax: Axes | None = None
) -> Axes:
    """Draw R squared, plain and robust, and the share of down-weighted assets over time.

    Parameters
    ----------
    diagnostics
        The frame ``diagnostics`` of a fit, or the fits.
    period, ax
        As in ``cumulative_returns``.

    Returns
    -------
    Axes
        Vertical from 0, or lower if R squared is, to 1; R squared below -0.5 is off the chart.
        With more than 250 periods, running medians over a fiftieth of them are drawn.

    Raises
    ------
    PanelError, ValueError, TypeError
        As ``confidence_bands``.

    Examples
    --------
    >>> from vbase_py_utils import fit_cross_sections, plots
    >>> from vbase_py_utils.demo import simulated_panel
    >>> fits = fit_cross_sections(simulated_panel()[0], ["Factor_0", "Factor_1", "Factor_2"])
    >>> ax = plots.fit_quality(fits)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['R squared', 'robust R squared', 'down-weighted assets']
    """
    columns = (R_SQUARED, ROBUST_R_SQUARED, N_DOWNWEIGHTED, N_ASSETS)
    table = read_table(
        diagnostics, "diagnostics", {PERIOD: period}, columns, "a chart over time"
    ).sort(PERIOD)
    used = floats(table[N_ASSETS])
    share = floats(table[N_DOWNWEIGHTED]) / np.where(used > 0, used, np.nan)
    curves = {
        "R squared": floats(table[R_SQUARED]),
        "robust R squared": floats(table[ROBUST_R_SQUARED]),
        "down-weighted assets": share,
    }
    window = window_for(table.height)
    curves = {name: running_median(values, window) for name, values in curves.items()}
    ax = axes_for(ax)
    draw_lines(ax, table[PERIOD], curves, list(curves))
    least = np.fmin.reduce([0, *np.concatenate(list(curves.values()))])
    ax.set_ylim(max(LEAST_R_SQUARED, least) - 0.02, 1.02)
    if window > 1:
        ax.set_ylabel(f"median of {window} periods")
    return ax


def robustness_weights(
    specific_returns: AnyFrame | Fits,
    *,
    most: int = MOST_ASSETS,
    period: str | None = None,
    asset: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a heat map of robustness weights: assets by periods, the most down-weighted on top.

    Parameters
    ----------
    specific_returns
        The frame ``specific_returns`` of a fit (period, asset, robustness_weight), or the fits.
    most
        Number of assets to draw: those with the largest sum of one minus the robustness weight.
    period, asset
        Columns of the keys; ``None`` takes those called "period" and "asset", else the first and
        the second column.
    ax
        Axes to draw on; ``None`` makes a new figure.

    Returns
    -------
    Axes
        A row per asset, a column per period in equal steps; 1 is full weight. Grey where the
        asset has no weight: it was absent, or not used. With more than 500 periods, neighbours
        share a column, which shows their least weight.

    Raises
    ------
    PanelError
        A column is missing or not numeric, a key is null, a (period, asset) repeats; the periods
        are text that does not sort in the order of time.
    ValueError, TypeError
        ``most`` is not a whole number >= 1; a key does not match the fits; no frame is given.

    Examples
    --------
    >>> from vbase_py_utils import fit_cross_sections, plots
    >>> from vbase_py_utils.demo import simulated_panel
    >>> fits = fit_cross_sections(simulated_panel()[0], ["Factor_0", "Factor_1", "Factor_2"])
    >>> plots.robustness_weights(fits, most=5).images[0].get_array().shape
    (5, 12)
    """
    check_number("most", most, "a whole number >= 1", at_least=1, whole=True)
    keys = {PERIOD: period, ASSET: asset}
    table = read_table(
        specific_returns, "specific_returns", keys, (ROBUSTNESS_WEIGHT,), "a chart over time"
    )
    periods = table[PERIOD].unique().sort()
    lost = (1 - pl.col(ROBUSTNESS_WEIGHT)).sum()
    worst = table.group_by(ASSET).agg(lost=lost).sort("lost", ASSET, descending=[True, False])
    worst = worst.head(most).with_row_index("row")
    cells = table.join(worst, on=ASSET).join(periods.to_frame().with_row_index("column"), on=PERIOD)
    weights = np.full((worst.height, len(periods)), np.nan)
    weights[cells["row"], cells["column"]] = floats(cells[ROBUSTNESS_WEIGHT])
    ax = axes_for(ax, width=9, height=min(10, 1.5 + 0.2 * worst.height))
    draw_heat_map(ax, weights, "magma", 0, "robustness weight", square=False)
    label_steps(ax, periods, np.arange(len(periods)))
    label_names(ax.yaxis, [label(worst[ASSET].slice(row, 1)) for row in range(worst.height)])
    return ax
