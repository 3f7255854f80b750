"""From raw characteristics to exposures and weights: Polars expressions for ``.over("period")``.

Null, NaN and infinite values are missing and come back as null; all other results are finite
Float64. A group is a window, a group of a ``group_by``, or the whole frame.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from functools import partial
from typing import cast

import polars as pl

from vbase_py_utils.arguments import check_list, check_number, shown
from vbase_py_utils.errors import PanelError
from vbase_py_utils.fit.expressions import IntoColumn, as_column, as_columns, residuals_of, role_of
from vbase_py_utils.panel import holds_numbers
from vbase_py_utils.prepare.formulas import (
    normal_scores,
    weights_of_caps,
    within_deviations,
    z_scores,
)
from vbase_py_utils.prepare.groups import of_groups

# Residuals this small relative to what was subtracted are rounding: weights within a factor of a
# million leave some hundreds of units in the 16th digit.
ROUNDING = 1e-12


def winsorize(
    column: IntoColumn,
    *,
    quantiles: tuple[float, float] | None = None,
    robust_sds: float | None = None,
) -> pl.Expr:
    """Clip outliers at two quantiles of their group, or at some robust deviations from its median.

    Parameters
    ----------
    column
        Column name or expression, numeric.
    quantiles
        The quantiles to clip at, 0 <= low < high <= 1; interpolated linearly.
    robust_sds
        The largest distance from the median, in robust standard deviations,
        ``median |x - median| / 0.67449``. Give exactly one of ``quantiles`` and ``robust_sds``.

    Returns
    -------
    pl.Expr
        The column, Float64, null where missing. With ``robust_sds``, null in the whole group if its
        deviation is zero, because more than half of the values are equal.

    Raises
    ------
    PanelError
        When the query runs: the column is not numeric.
    ValueError, TypeError
        Both limits or neither are given, or one is out of range.

    Examples
    --------
    >>> import polars as pl
    >>> from vbase_py_utils import winsorize
    >>> frame = pl.DataFrame({"period": [1] * 5, "bp": [1.0, 2.0, 3.0, 4.0, 90.0]})
    >>> frame.select(winsorize("bp", quantiles=(0, 0.75)).over("period"))["bp"].to_list()
    [1.0, 2.0, 3.0, 4.0, 4.0]
    >>> frame.select(winsorize("bp", robust_sds=3).over("period").round(2))["bp"].to_list()
    [1.0, 2.0, 3.0, 4.0, 7.45]
    """
    if (quantiles is None) == (robust_sds is None):
        raise ValueError("winsorize takes either quantiles or robust_sds, not both")
    if quantiles is not None:
        x, sound = _as_numbers("column", column), _checked("column", column)
        low, high = _quantiles(quantiles)
        return _finite(x.clip(x.quantile(low, "linear"), x.quantile(high, "linear")), sound)
    check_number("robust_sds", robust_sds, "a finite number > 0", at_least=math.ulp(0))
    k = float(cast("float", robust_sds))
    return of_groups(partial(within_deviations, k=k), {"column": column})


def zscore(column: IntoColumn, *, weights: IntoColumn | None = None) -> pl.Expr:
    """Subtract the weighted mean, and divide by the equally weighted standard deviation.

    Parameters
    ----------
    column
        Column name or expression, numeric.
    weights
        Weights of the mean, such as market values; ``None`` weights all rows equally. Rows with a
        zero or missing weight get a score, but do not enter the mean or the deviation.

    Returns
    -------
    pl.Expr
        (x - mean) / sd, sd with n - 1. Null where the column is missing, and in groups with a
        negative weight, or with fewer than two different values of positive weight.

    Raises
    ------
    PanelError
        When the query runs: a column is not numeric.
    TypeError
        A column is neither a name nor an expression.

    Examples
    --------
    >>> import polars as pl
    >>> from vbase_py_utils import zscore
    >>> frame = pl.DataFrame({"bp": [1.0, 2.0, 3.0, None], "cap": [1.0, 1.0, 2.0, 5.0]})
    >>> frame.select(zscore("bp", weights="cap"))["bp"].to_list()
    [-1.25, -0.25, 0.75, None]
    """
    return of_groups(
        z_scores, {"column": column} | ({} if weights is None else {"weights": weights})
    )


def rank_normal(column: IntoColumn) -> pl.Expr:
    """Turn ranks into normal scores: the normal quantile of (rank - 1/2) / n, ties averaged.

    Parameters
    ----------
    column
        Column name or expression, numeric.

    Returns
    -------
    pl.Expr
        Scores, symmetric about 0. Null where the column is missing, and in groups of fewer than two
        different values.

    Raises
    ------
    PanelError
        When the query runs: the column is not numeric.
    TypeError
        The column is neither a name nor an expression.

    Examples
    --------
    >>> import polars as pl
    >>> from vbase_py_utils import rank_normal
    >>> frame = pl.DataFrame({"bp": [0.3, 0.1, 70.0, None]})
    >>> frame.select(rank_normal("bp").round(4))["bp"].to_list()
    [0.0, -0.9674, 0.9674, None]
    """
    return of_groups(normal_scores, {"column": column}, together=sys.maxsize)


def fill_missing_by_group(column: IntoColumn, by: IntoColumn | Iterable[IntoColumn]) -> pl.Expr:
    """Fill missing values with the median of their group, such as a sector, in the window.

    Parameters
    ----------
    column
        Column name or expression, numeric.
    by
        Column names or expressions, of any type: rows that agree in all of them are a group.

    Returns
    -------
    pl.Expr
        The column, Float64. A missing value stays null if its whole group is missing, or if a
        ``by`` is null.

    Raises
    ------
    PanelError
        When the query runs: the column is not numeric.
    ValueError, TypeError
        No ``by`` is given; a column is neither a name nor an expression.

    Examples
    --------
    >>> import polars as pl
    >>> from vbase_py_utils import fill_missing_by_group
    >>> frame = pl.DataFrame({
    ...     "period": [1, 1, 1, 2, 2],
    ...     "sector": ["oil", "oil", "oil", "oil", "oil"],
    ...     "bp": [0.5, 0.7, None, None, 0.9],
    ... })
    >>> filled = fill_missing_by_group("bp", "sector").over("period")
    >>> frame.select(filled)["bp"].to_list()
    [0.5, 0.7, 0.6, 0.9, 0.9]
    """
    x, keys = _as_numbers("column", column), as_columns("by", by)
    if not keys:
        raise ValueError("no columns to group by: by is empty")
    known = pl.all_horizontal(key.is_not_null() for key in keys)
    median = _finite(x.median().over(keys))
    present = _checked("column", column) & x.is_not_null()
    return pl.when(present).then(x).when(known).then(median)


def neutralize(
    column: IntoColumn,
    exposures: IntoColumn | Iterable[IntoColumn],
    *,
    weights: IntoColumn | None = None,
) -> pl.Expr:
    """Remove from a column what a weighted least squares regression on the exposures explains.

    Parameters
    ----------
    column, weights
        As returns and weights in ``huber_residuals``.
    exposures
        Column names or expressions, numeric or Boolean. No intercept is added: give one as
        ``pl.lit(1.0).alias("intercept")``. An intercept alone, over period and sector, subtracts
        the mean of the sector; dummies would be collinear where a sector is absent.

    Returns
    -------
    pl.Expr
        The residuals of ``huber_residuals`` with ``huber_t=math.inf``. Also null in groups whose
        exposures are collinear, or fit the column exactly, so that residuals are only rounding.

    Raises
    ------
    PanelError, TypeError
        As ``huber_regression``.

    Examples
    --------
    >>> import polars as pl
    >>> from vbase_py_utils import neutralize
    >>> frame = pl.DataFrame({"signal": [1.0, 4.0, 4.0], "size": [1.0, 2.0, 3.0]})
    >>> one = pl.lit(1.0).alias("intercept")
    >>> frame.select(neutralize("signal", [one, "size"]).round(6))["signal"].to_list()
    [-0.5, 1.0, -0.5]
    """
    return residuals_of("column", column, exposures, weights, math.inf, ROUNDING)


def cap_weights(cap: IntoColumn, *, power: float = 0.5, max_share: float | None = None) -> pl.Expr:
    """Turn market values into regression weights: a power of them, with mean one in the group.

    Parameters
    ----------
    cap
        Column name or expression, numeric: market values in any unit.
    power
        The power, finite and >= 0; 0.5 suits residual variances proportional to 1 / sqrt(cap).
    max_share
        The largest share of the group's weight that one row may have, in (0, 1]; ``None`` sets
        no limit. Larger weights are cut to one common ceiling, the others keep their proportions;
        in a group with too few rows for the limit, all weights are equal.

    Returns
    -------
    pl.Expr
        Weights with a mean of one over the positive ones; 0 where the market value is 0, null where
        it is missing. Null in groups with a negative market value. The column is named like
        ``cap``: give it another name to keep the market values.

    Raises
    ------
    PanelError
        When the query runs: the column is not numeric.
    ValueError, TypeError
        A number is out of range; the column is neither a name nor an expression.

    Examples
    --------
    >>> import polars as pl
    >>> from vbase_py_utils import cap_weights
    >>> frame = pl.DataFrame({"cap": [1.0, 4.0, 49.0, 0.0]})
    >>> frame.with_columns(w=cap_weights("cap").round(6)).rows()
    [(1.0, 0.3), (4.0, 0.6), (49.0, 2.1), (0.0, 0.0)]
    >>> frame.select(w=cap_weights("cap", max_share=0.5).round(6))["w"].to_list()
    [0.5, 1.0, 1.5, 0.0]
    """
    check_number("power", power, "a finite number >= 0", at_least=0)
    if max_share is not None:
        expected = "a number > 0 and <= 1"
        check_number("max_share", max_share, expected, at_least=math.ulp(0), at_most=1)
    share = None if max_share is None else float(max_share)
    return of_groups(partial(weights_of_caps, power=float(power), share=share), {"cap": cap})


def _as_numbers(argument: str, column: IntoColumn) -> pl.Expr:
    """Take a column as Float64; missing values, and any that are not numbers, become null."""
    return _finite(as_column(argument, column).cast(pl.Float64, strict=False))


def _checked(argument: str, column: IntoColumn) -> pl.Expr:
    """Express True, once per group, if a column is numeric; PanelError otherwise.

    Polars evaluates the first operand of a condition first, so put this check there. Use it in only
    one condition of a formula: around every use of the column, it would keep Polars from computing
    common subexpressions once.
    """
    check = partial(_are_numbers, role=role_of(argument))
    first = as_column(argument, column).first()
    return first.map_batches(check, return_dtype=pl.Boolean, is_elementwise=True)


def _are_numbers(values: pl.Series, role: str) -> pl.Series:
    if not holds_numbers(values.dtype, or_booleans=True):
        raise PanelError.not_numeric(role, values.name, values.dtype)
    return pl.repeat(value=True, n=len(values), eager=True).alias(values.name)


def _finite(x: pl.Expr, sound: pl.Expr | None = None) -> pl.Expr:
    return pl.when(x.is_finite() if sound is None else sound & x.is_finite()).then(x)


def _quantiles(quantiles: object) -> tuple[float, float]:
    expected = "two numbers with 0 <= low < high <= 1"
    values = check_list("quantiles", quantiles, expected)
    for value in values:
        check_number("quantiles", value, expected, at_least=0, at_most=1)
    if len(values) != 2 or not values[0] < values[1]:
        held = f"({', '.join(map(shown, values[:3]))}{', …' if len(values) > 3 else ''})"
        raise ValueError(f"quantiles is {held}, expected {expected}")
    return float(values[0]), float(values[1])
