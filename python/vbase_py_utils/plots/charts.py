"""Charts of factor returns: over time, with standard errors, and correlations."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import polars as pl
from matplotlib.axes import Axes

from vbase_py_utils.analyse.premia import N_PERIODS, Lags, check_lags, critical_value, fama_macbeth
from vbase_py_utils.analyse.reading import AnyFrame, FactorReturns, Fits, floats, read_table
from vbase_py_utils.arguments import check_number
from vbase_py_utils.fit.results import CrossSectionFits
from vbase_py_utils.fit.schema import DF, FACTOR, FACTOR_RETURN, STD_ERROR, T_STAT
from vbase_py_utils.keys import PERIOD
from vbase_py_utils.plots.axes import (
    COLOURS,
    GREY,
    LIGHT_GREY,
    axes_for,
    draw_correlations,
    draw_lines,
    foremost,
    label_names,
    largest,
    limit_to,
    lone,
    span,
    x_of,
)
from vbase_py_utils.plots.data import (
    FloatArray,
    chosen,
    correlation_of,
    error_of_mean,
    read_series,
    running_mean,
    unstacked,
    window_for,
)

# The most bands that are easy to distinguish.
MOST_BANDS = 3
# Bands over this many times as wide as the median one do not stretch the axis.
WIDE = 5


def cumulative_returns(
    factor_returns: FactorReturns,
    *,
    factors: str | Iterable[str] | None = None,
    period: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the running sum of factor returns, a line per factor.

    Factor returns are per unit of exposure, so they add up and do not compound. With more than six
    factors, the six whose sums go furthest from zero have colours, the others are grey.

    Parameters
    ----------
    factor_returns
        A frame like that of ``factor_returns``, or the result of ``fit_cross_sections``.
    factors
        Names of the factors to draw; ``None`` draws all.
    period
        Column of the period; ``None`` takes the one called "period", else the first. Dates and
        times make an axis of dates, anything else is drawn in equal steps.
    ax
        Axes to draw on; ``None`` makes a new figure.

    Returns
    -------
    Axes
        Vertical in units of returns. A missing factor return is a gap, and adds zero to the sum.

    Raises
    ------
    PanelError, ValueError, TypeError
        As ``fama_macbeth`` with lags; a name in ``factors`` is not a factor.

    Examples
    --------
    >>> import polars as pl
    >>> from vbase_py_utils import plots
    >>> monthly = pl.DataFrame({"period": ["03", "01", "02"], "beta": [0.03, 0.01, None]})
    >>> line = plots.cumulative_returns(monthly).lines[0]
    >>> line.get_ydata().round(2).tolist()
    [0.01, nan, 0.04]
    """
    periods, returns = read_series(factor_returns, factors, period, "a running sum")
    ax = axes_for(ax)
    sums = {
        name: np.where(np.isfinite(values), np.nancumsum(values), np.nan)
        for name, values in returns.items()
    }
    furthest = foremost({name: largest(values) for name, values in sums.items()})
    draw_lines(ax, periods, sums, furthest)
    ax.set_ylabel("sum of factor returns")
    return ax


def confidence_bands(
    coefficients: AnyFrame | Fits,
    *,
    factors: str | Iterable[str] | None = None,
    level: float = 0.95,
    period: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the factor return of every period with its confidence band.

    With more than 250 periods, running means over a fiftieth of them are drawn instead, with bands
    that assume that the errors of periods are independent.

    Parameters
    ----------
    coefficients
        The frame ``coefficients`` of a fit (period, factor, factor_return, std_error and df), or
        the fits.
    factors
        Names of the factors to draw. ``None`` draws all, or of more than three the three
        with the largest median absolute t-value.
    level
        Confidence level of each period by itself: the band is the factor return plus and minus the
        critical value times the standard error. The critical value is that of Student's t with df
        degrees of freedom, or of the normal distribution (1.96 at 0.95) if the frame has no df.
    period, ax
        As in ``cumulative_returns``.

    Returns
    -------
    Axes
        Vertical in units of returns. A missing factor return is a gap; one without a standard error
        has no band. A band more than five times as wide as the median one may leave the axes.

    Raises
    ------
    PanelError
        A column is missing or not numeric, a period is null, a (period, factor) repeats, a name in
        ``factors`` is not a factor; the periods are text that does not sort in the order of time.
    ValueError, TypeError
        ``level`` is not between 0 and 1; ``period`` does not match the fits; no frame is given.

    Examples
    --------
    >>> from vbase_py_utils import fit_cross_sections, plots
    >>> from vbase_py_utils.demo import simulated_panel
    >>> fits = fit_cross_sections(simulated_panel()[0], ["Factor_0", "Factor_1", "Factor_2"])
    >>> ax = plots.confidence_bands(fits, factors=["Factor_1"])
    >>> len(ax.lines), len(ax.collections)
    (2, 1)
    """
    between = math.ulp(0), math.nextafter(1, 0)
    expected = "a number between 0 and 1"
    check_number("level", level, expected, at_least=between[0], at_most=between[1])
    keys = {PERIOD: period, FACTOR: FACTOR}
    values = (FACTOR_RETURN, STD_ERROR)
    table = read_table(
        coefficients, "coefficients", keys, values, "a chart over time", optional=(DF,)
    )
    periods, returns = unstacked(table, FACTOR_RETURN)
    _, errors = unstacked(table, STD_ERROR)
    # Without degrees of freedom, the normal distribution.
    _, freedom = unstacked(table.with_columns(pl.col(DF).fill_null(math.inf)), DF)
    names, shown = chosen(list(returns), factors), ""
    if factors is None and len(names) > MOST_BANDS:
        shown = f"{MOST_BANDS} of {len(names)} factors"
        t = {
            name: np.abs(returns[name][some]) / errors[name][some]
            for name, some in ((name, errors[name] > 0) for name in names)
        }
        names = foremost({name: _median(values) for name, values in t.items()}, MOST_BANDS)
    window = window_for(len(periods))
    ax = axes_for(ax)
    x = x_of(periods)
    middles = {name: running_mean(returns[name], window) for name in names}
    lines = draw_lines(ax, periods, middles, names[: len(COLOURS)], shown)
    reach = [np.array([])]
    for line, (name, middle) in zip(lines, middles.items(), strict=True):
        error, of_mean = error_of_mean(errors[name], freedom[name], window)
        margin = critical_value(of_mean, level) * error
        low, high = middle - margin, middle + margin
        ax.fill_between(x, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
        alone = lone(low)
        if alone.any():
            ax.vlines(x[alone], low[alone], high[alone], color=line.get_color(), alpha=0.5)
        usual = np.fmin(margin, WIDE * _median(margin))
        reach += [middle, middle - usual, middle + usual]
    limit_to(ax, np.concatenate(reach))
    of_window = f", mean of {window} periods" if window > 1 else ""
    ax.set_ylabel(f"factor return{of_window}, {100 * level:g} % band")
    return ax


def t_values(premia: AnyFrame | Fits, *, lags: Lags = "auto", ax: Axes | None = None) -> Axes:
    """Draw t-values as bars, with lines where a test at 5 % begins to reject zero.

    Parameters
    ----------
    premia
        A frame with the columns factor and t_stat, a row per factor, from ``fama_macbeth`` or the
        ``coefficients`` of one period; or fits, whose premia are drawn.
    lags
        Newey-West lags of the premia of fits, as in ``fama_macbeth``; ignored for a frame.
    ax
        Axes to draw on; ``None`` makes a new figure, as high as the factors need.

    Returns
    -------
    Axes
        A horizontal bar per factor, the first on top, and the two-sided 95 % limits: of Student's t
        with ``df`` or ``n_periods - 1`` degrees of freedom, or of the normal distribution if the
        frame has neither column. Bars within the limits are grey; a missing t-value has no bar.

    Raises
    ------
    PanelError
        A column is missing or not numeric, a factor repeats. For fits, as ``fama_macbeth``.
    ValueError, TypeError
        ``lags`` is out of range; no frame is given.

    Examples
    --------
    >>> import polars as pl
    >>> from vbase_py_utils import plots
    >>> premia = pl.DataFrame({"factor": ["value", "size"], "t_stat": [3.1, None]})
    >>> [float(bar.get_width()) for bar in plots.t_values(premia).patches]
    [3.1]
    """
    check_lags(lags)
    if isinstance(premia, CrossSectionFits):
        premia = fama_macbeth(premia, lags=lags)
    table = read_table(premia, "premia", {FACTOR: FACTOR}, (T_STAT,), optional=(DF, N_PERIODS))
    names, t = list(map(str, table[FACTOR])), floats(table[T_STAT])
    freedom = pl.coalesce(DF, pl.col(N_PERIODS) - 1, math.inf)
    limits = critical_value(table.select(freedom).to_series().to_numpy())
    ax = axes_for(ax, height=min(12, 1.6 + 0.25 * len(names)))
    there = np.flatnonzero(np.isfinite(t))
    colours = [COLOURS[0] if abs(t[bar]) > limits[bar] else LIGHT_GREY for bar in there]
    ax.barh(there, t[there], color=colours)
    ax.axvline(0, color=GREY, linewidth=0.8)
    # One piece per bar, because factors may have different numbers of periods.
    rows = np.flatnonzero(np.isfinite(limits))
    for side in (-limits[rows], limits[rows]):
        ax.vlines(side, rows - 0.5, rows + 0.5, color=GREY, linewidth=0.8, linestyle="--")
    label_names(ax.yaxis, names)
    # The first on top.
    ax.set_ylim(max(len(names), 1) - 0.5, -0.5)
    reach = limits[there] if len(there) else np.array([2.0])
    ax.set_xlim(*span(np.concatenate([t, -reach, reach])))
    ax.set_xlabel("t-value, dashed: 95 % limits")
    return ax


def correlations(
    factor_returns: FactorReturns,
    *,
    factors: str | Iterable[str] | None = None,
    period: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the correlations of factor returns over time as a heat map.

    Parameters
    ----------
    factor_returns, factors, period, ax
        As in ``cumulative_returns``.

    Returns
    -------
    Axes
        A row and a column per factor, with numbers if there are at most twelve. A pair is
        correlated over the periods that have both; grey if there are fewer than three, or one
        of the two does not vary.

    Raises
    ------
    PanelError, ValueError, TypeError
        As ``cumulative_returns``.

    Examples
    --------
    >>> import polars as pl
    >>> from vbase_py_utils import plots
    >>> monthly = pl.DataFrame({"period": [1, 2, 3], "a": [1.0, 2.0, 3.0], "b": [1.0, 0.0, -1.0]})
    >>> plots.correlations(monthly).images[0].get_array().round(2).tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    _, returns = read_series(factor_returns, factors, period)
    names = list(returns)
    matrix = np.array([[correlation_of(returns[a], returns[b]) for a in names] for b in names])
    return draw_correlations(ax, names, matrix)


def _median(values: FloatArray) -> float:
    """Take the median of the numbers, NaN if there are none."""
    there = values[np.isfinite(values)]
    return float(np.median(there)) if len(there) else np.nan
