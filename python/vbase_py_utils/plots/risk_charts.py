"""Charts of forecasts of risk: whether returns were as large, and what factors are forecast."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from vbase_py_utils.analyse.reading import AnyFrame, floats
from vbase_py_utils.arguments import check_names, check_number
from vbase_py_utils.keys import PERIOD, label
from vbase_py_utils.plots.axes import (
    COLOURS,
    GREY,
    axes_for,
    draw_correlations,
    draw_lines,
    foremost,
    label_names,
    largest,
    limit_to,
    name_label,
    x_of,
)
from vbase_py_utils.plots.data import FloatArray, chosen
from vbase_py_utils.risk.bias import RETURN, RISK, period_starts
from vbase_py_utils.risk.bias import rolling_bias as bias_of_windows
from vbase_py_utils.risk.reading import read_covariance, read_groups, read_single

USE = "a chart over time"


def rolling_bias(
    returns: AnyFrame | pl.Series | ArrayLike,
    risk: AnyFrame | pl.Series | ArrayLike,
    *,
    window: int = 63,
    by: str | Iterable[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the bias of forecasts of volatility over windows of periods in a row.

    The bias is the standard deviation of returns over risk. Above one, risk was too low.

    Parameters
    ----------
    returns, risk
        As in ``bias_statistics``.
    window
        Periods in a window, at least two.
    by
        Key columns, such as "portfolio", to draw a line for each of their values; ``None`` takes
        all rows together. Of more than six lines, the six that go furthest from one have colours.
    ax
        Axes to draw on; ``None`` makes a new figure.

    Returns
    -------
    Axes
        The bias of a window is at its last period. Dashed: the limits 1 -+ sqrt(2 / window), within
        which it is in 95 of 100 cases if the forecasts are right and returns are normal and
        independent over time. A line with fewer periods than a window is empty.

    Raises
    ------
    PanelError, ValueError, TypeError
        As ``bias_statistics``.

    Examples
    --------
    >>> from vbase_py_utils import plots
    >>> ax = plots.rolling_bias([0.02, -0.02, 0.02], [0.01, 0.02, 0.02], window=2)
    >>> ax.lines[0].get_ydata().round(2).tolist()
    [2.12, 1.41]
    """
    _check_window(window)
    groups = [] if by is None else check_names("by", by, "names of key columns, or None")
    parts = read_groups(returns, risk, groups, USE)
    biases: dict[str, tuple[pl.Series, FloatArray]] = {}
    for name, rows in parts:
        starts = period_starts(rows[PERIOD])
        values = bias_of_windows(floats(rows[RETURN] / rows[RISK]), starts, window)
        ends = rows[PERIOD].gather(starts).tail(len(values))
        # Different values may read alike, as "a, b" of one column or of two.
        biases[_new_name(name if groups else "bias", biases)] = (ends, values)
    periods, curves = _on_one_axis([rows[PERIOD] for _, rows in parts], biases)
    ax = axes_for(ax)
    draw_lines(ax, periods, curves, foremost({n: largest(v - 1) for n, v in curves.items()}))
    _show_periods(ax, periods, curves)
    limits = 1 + np.array([-1, 1]) * np.sqrt(2 / window)
    ax.axhline(1, color=GREY, linewidth=0.8, zorder=1)
    for limit in limits:
        ax.axhline(limit, color=GREY, linewidth=0.8, linestyle="--", zorder=1)
    limit_to(ax, np.concatenate([limits, *curves.values()]))
    ax.set_ylabel(f"bias of {window} periods, dashed: 95 % limits")
    return ax


def forecast_and_realised(
    returns: AnyFrame | pl.Series | ArrayLike,
    risk: AnyFrame | pl.Series | ArrayLike,
    *,
    window: int = 63,
    ax: Axes | None = None,
) -> Axes:
    """Draw the forecast and the realised volatility over windows of periods in a row.

    Parameters
    ----------
    returns, risk
        As in ``bias_statistics``, with one row per period.
    window
        Periods in a window, at least two.
    ax
        Axes to draw on; ``None`` makes a new figure.

    Returns
    -------
    Axes
        Forecast is the root of the mean squared risk in a window, realised the standard deviation
        of its returns, both at its last period and in units of returns. With fewer periods than a
        window, the chart is empty.

    Raises
    ------
    PanelError, ValueError, TypeError
        As ``bias_statistics``; a period has several rows.

    Examples
    --------
    >>> from vbase_py_utils import plots
    >>> ax = plots.forecast_and_realised([0.02, -0.02, 0.02], [0.01, 0.02, 0.02], window=2)
    >>> [line.get_ydata().round(4).tolist() for line in ax.lines[:2]]
    [[0.0158, 0.02], [0.0283, 0.0283]]
    """
    _check_window(window)
    rows = read_single(returns, risk, USE)
    periods = rows[PERIOD]
    curves = {name: np.full(len(periods), np.nan) for name in ("forecast", "realised")}
    if len(periods) >= window:
        curves = {
            "forecast": _root_mean_square(floats(rows[RISK]), window),
            "realised": _deviation(floats(rows[RETURN]), window),
        }
        # From the end of the first window on.
        periods = periods.slice(window - 1)
    ax = axes_for(ax)
    draw_lines(ax, periods, curves, list(curves))
    _show_periods(ax, periods, curves)
    ax.set_ylim(0, _highest(np.concatenate(list(curves.values()))))
    ax.set_ylabel(f"volatility over {window} periods")
    return ax


def factor_volatilities(
    covariance: AnyFrame,
    *,
    at: object = None,
    factors: str | Iterable[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the forecast volatilities of factors at a period as bars.

    Parameters
    ----------
    covariance
        A frame like that of ``factor_covariance``: the period, factor, and a numeric column per
        factor, rows in any order. The period is the column called "period", else the first.
    at
        The period to draw; ``None`` takes the last.
    factors
        Names of the factors to draw; ``None`` draws all.
    ax
        Axes to draw on; ``None`` makes a new figure, as high as the factors need.

    Returns
    -------
    Axes
        A horizontal bar per factor, the first on top, in units of returns per period. An unknown
        volatility has no bar.

    Raises
    ------
    PanelError
        A column is missing or of a wrong type, a key is null or repeats; ``at`` is not a period of
        the frame; its rows are not a symmetric block of all factors, or have a variance below zero;
        a name in ``factors`` is not a factor; without ``at``, the periods are text that does not
        sort in the order of time.
    TypeError
        No frame is given; ``factors`` are not names.

    Examples
    --------
    >>> import polars as pl
    >>> from vbase_py_utils import plots
    >>> covariance = pl.DataFrame(
    ...     {"period": [1, 1], "factor": ["x", "y"], "x": [0.04, 0.01], "y": [0.01, 0.09]}
    ... )
    >>> ax = plots.factor_volatilities(covariance)
    >>> [round(float(bar.get_width()), 2) for bar in ax.patches]
    [0.2, 0.3]
    """
    period, names, block = _block_at(covariance, at, factors)
    volatilities = np.sqrt(np.diagonal(block))
    ax = axes_for(ax, height=min(12, 1.6 + 0.25 * len(names)))
    there = np.flatnonzero(np.isfinite(volatilities))
    ax.barh(there, volatilities[there], color=COLOURS[0])
    label_names(ax.yaxis, names)
    # The first on top.
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlim(0, _highest(volatilities))
    ax.set_xlabel(f"volatility{period}")
    return ax


def factor_correlations(
    covariance: AnyFrame,
    *,
    at: object = None,
    factors: str | Iterable[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the forecast correlations of factors at a period as a heat map.

    Parameters
    ----------
    covariance, at, factors, ax
        As in ``factor_volatilities``.

    Returns
    -------
    Axes
        A row and a column per factor, with numbers if there are at most twelve. Unknown
        correlations are grey, and those of a factor without variance.

    Raises
    ------
    PanelError, TypeError
        As ``factor_volatilities``.

    Examples
    --------
    >>> import polars as pl
    >>> from vbase_py_utils import plots
    >>> covariance = pl.DataFrame(
    ...     {"period": [1, 1], "factor": ["x", "y"], "x": [0.04, 0.03], "y": [0.03, 0.09]}
    ... )
    >>> plots.factor_correlations(covariance).images[0].get_array().round(2).tolist()
    [[1.0, 0.5], [0.5, 1.0]]
    """
    period, names, block = _block_at(covariance, at, factors)
    risk = np.sqrt(np.diagonal(block))
    risk = np.where(risk > 0, risk, np.nan)
    # One after the other, since the product of tiny volatilities may be zero.
    matrix = np.clip(block / risk / risk[:, None], -1, 1)
    np.fill_diagonal(matrix, np.where(np.isfinite(risk), 1.0, np.nan))
    return draw_correlations(ax, names, matrix, f"correlation{period}")


def _check_window(window: object) -> None:
    expected = "a whole number of periods >= 2"
    check_number("window", window, expected, at_least=2, whole=True)


def _new_name(name: str, taken: Iterable[str]) -> str:
    """Give a name that is taken a number."""
    number, new = 1, name
    while new in taken:
        number += 1
        new = f"{name} ({number})"
    return new


def _on_one_axis(
    periods: Sequence[pl.Series], curves: dict[str, tuple[pl.Series, FloatArray]]
) -> tuple[pl.Series, dict[str, FloatArray]]:
    """Put curves of their own periods on common ones, NaN where one has none.

    The common ones are sorted, and begin with the first that a curve has.
    """
    every = pl.concat(periods).unique().sort() if periods else pl.Series(PERIOD, [], pl.Int64)
    places = {name: every.is_in(own.implode()).to_numpy() for name, (own, _) in curves.items()}
    first = min((int(there.argmax()) for there in places.values() if there.any()), default=0)
    common = {}
    for name, (_, values) in curves.items():
        common[name] = np.full(len(every), np.nan)
        common[name][places[name]] = values
    return every.slice(first), {name: values[first:] for name, values in common.items()}


def _show_periods(ax: Axes, periods: pl.Series, curves: dict[str, FloatArray]) -> None:
    """Let an axis without a number reach over its periods."""
    if len(periods) > 1 and not any(np.isfinite(values).any() for values in curves.values()):
        ax.set_xlim(*x_of(periods)[[0, -1]])


def _root_mean_square(values: FloatArray, window: int) -> FloatArray:
    """Take the root of the mean square of every ``window`` numbers in a row."""
    # Scaled so that squares of any unit stay in range.
    unit = largest(values)
    squares = np.lib.stride_tricks.sliding_window_view((values / unit) ** 2, window)
    root: FloatArray = unit * np.sqrt(squares.mean(axis=1))
    return root


def _deviation(values: FloatArray, window: int) -> FloatArray:
    """Take the standard deviation of every ``window`` numbers in a row."""
    unit = largest(values) or 1.0
    return unit * bias_of_windows(values / unit, np.arange(len(values)), window)


def _block_at(
    covariance: AnyFrame, at: object, factors: str | Iterable[str] | None
) -> tuple[str, list[str], FloatArray]:
    """Give the period as the end of a label, the wanted factors and their covariances."""
    given = read_covariance(covariance, at)
    names = chosen(list(given.factors), factors)
    if given.periods.is_empty():
        return "", names, np.full((len(names), len(names)), np.nan)
    places = [given.factors.index(name) for name in names]
    return f" at {name_label(label(given.periods))}", names, given.blocks[0][np.ix_(places, places)]


def _highest(values: FloatArray) -> float:
    """Give the end of an axis from zero: above all numbers, 1 if none is above zero."""
    return 1.05 * max(largest(values), 0.0) or 1.0
