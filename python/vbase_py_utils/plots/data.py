"""Turn frames into the arrays that charts draw."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from vbase_py_utils.analyse.reading import FactorReturns, floats, read_factor_returns
from vbase_py_utils.arguments import check_names
from vbase_py_utils.errors import PanelError
from vbase_py_utils.fit.schema import FACTOR
from vbase_py_utils.keys import PERIOD, label

FloatArray: TypeAlias = NDArray[np.float64]

# More periods than this are drawn as running means or medians over a fiftieth of them.
MOST_SINGLE_PERIODS, RUNS = 250, 50


def read_series(
    factor_returns: FactorReturns,
    factors: str | Iterable[str] | None,
    period: str | None,
    use: str | None = None,
) -> tuple[pl.Series, dict[str, FloatArray]]:
    """Give the periods in order and the values of the wanted factors, NaN where missing.

    ``use``: what needs the order of time, for the message, if anything does.
    """
    periods, values = read_factor_returns(factor_returns, period, use)
    return periods, {name: floats(values[name]) for name in chosen(list(values), factors)}


def read_both(
    one: FactorReturns,
    other: FactorReturns,
    factors: str | Iterable[str] | None,
    period: str | None,
    arguments: tuple[str, str],
) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Give the values that two frames of factor returns have for the same factors and periods.

    ``arguments``: what messages call the frames. Raises PanelError if they share no period or no
    factor, or if their periods differ in type.
    """
    (periods, values), (theirs, other_values) = (
        read_factor_returns(frame, period, argument=argument)
        for frame, argument in zip((one, other), arguments, strict=True)
    )
    if periods.dtype != theirs.dtype:
        raise PanelError.other_key_type(
            "period", period or periods.name, theirs.dtype, periods.dtype, "the other frame"
        )
    shared = [name for name in values if name in other_values]
    matches = (
        periods.to_frame()
        .with_row_index("one")
        .join(theirs.to_frame().with_row_index("other"), on=PERIOD, maintain_order="left")
    )
    if not shared:
        raise PanelError.nothing_shared("factor", list(values), list(other_values))
    if matches.is_empty():
        raise PanelError.nothing_shared("period", _first_three(periods), _first_three(theirs))
    return {
        name: (
            floats(values[name].gather(matches["one"])),
            floats(other_values[name].gather(matches["other"])),
        )
        for name in chosen(shared, factors)
    }


def unstacked(table: pl.DataFrame, values: str) -> tuple[pl.Series, dict[str, FloatArray]]:
    """Pivot a table of coefficients: the periods in order, and the values of each factor."""
    periods = table[PERIOD].unique().sort()
    numbered = table.join(periods.to_frame().with_row_index("position"), on=PERIOD)
    columns = {}
    for (factor,), rows in numbered.group_by(FACTOR, maintain_order=True):
        column = np.full(len(periods), np.nan)
        column[rows["position"]] = floats(rows[values])
        columns[str(factor)] = column
    return periods, columns


def chosen(names: list[str], factors: str | Iterable[str] | None) -> list[str]:
    """Give the wanted factors; ``None`` gives all.

    Raises PanelError for an unknown factor or an empty list, TypeError for anything but names.
    """
    if factors is None:
        return names
    given = check_names("factors", factors, "names of factors, or None for all")
    wanted = list(dict.fromkeys(given))
    missing = [name for name in wanted if name not in names]
    if missing or not wanted:
        raise PanelError.missing_factors(missing, names)
    return wanted


def running_mean(values: FloatArray, window: int) -> FloatArray:
    """Average the numbers in a centred window; NaN stays NaN."""
    windows, count = _windows(values, window)
    return np.where(np.isfinite(values), np.nansum(windows / count[:, None], axis=1), np.nan)


def error_of_mean(
    errors: FloatArray, freedom: FloatArray, window: int
) -> tuple[FloatArray, FloatArray]:
    """Give the standard errors of running means of independent estimates, and their ``freedom``.

    The degrees of freedom are those of Satterthwaite (1946), (sum s^2)^2 / sum(s^4 / df).
    """
    windows, count = _windows(errors, window)
    # Scaled so that squares of any unit stay in range.
    unit = np.nanmax(windows, axis=1, initial=0)
    squares = (windows / np.where(unit > 0, unit, 1)[:, None]) ** 2
    total = np.nansum(squares, axis=1)
    error: FloatArray = unit * np.sqrt(total) / count
    spread = np.nansum(squares**2 / _windows(freedom, window)[0], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return error, np.where(spread > 0, total**2 / spread, np.inf)


def running_median(values: FloatArray, window: int) -> FloatArray:
    """Take the median of the numbers in a centred window; NaN stays NaN."""
    medians = pl.Series(values, nan_to_null=True).rolling_median(window, min_samples=1, center=True)
    return np.where(np.isfinite(values), floats(medians), np.nan)


def _first_three(keys: pl.Series) -> list[str]:
    return [label(keys.slice(i, 1)) for i in range(min(3, len(keys)))]


def _windows(values: FloatArray, window: int) -> tuple[FloatArray, FloatArray]:
    """Give the centred window, odd, of each number, and its count of numbers, NaN for 0."""
    beside = np.full(window // 2, np.nan)
    windows = sliding_window_view(np.concatenate([beside, values, beside]), window)
    count = np.isfinite(windows).sum(axis=1)
    return windows, np.where(count > 0, count, np.nan)


def correlation_of(one: FloatArray, other: FloatArray) -> float:
    """Correlate pairs of numbers; NaN for fewer than three, or if one side does not vary."""
    both = np.isfinite(one) & np.isfinite(other)
    pair = np.stack([one[both], other[both]])
    if pair.shape[1] < 3 or not np.ptp(pair, axis=1).all():
        return np.nan
    # Scaled so that the squares of any unit stay in range.
    return float(np.corrcoef(pair / np.abs(pair).max(axis=1, keepdims=True))[0, 1])


def window_for(n_periods: int) -> int:
    """Choose over how many periods to average: an odd number, as many before as after."""
    return 1 if n_periods <= MOST_SINGLE_PERIODS else n_periods // RUNS | 1
