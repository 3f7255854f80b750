"""The covariance of factor returns, forecast for every period from the periods before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict, Unpack, overload

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vbase_py_utils.analyse.reading import FactorReturns, Fits, floats, own_key, read_factor_returns
from vbase_py_utils.arguments import check_flag, check_name
from vbase_py_utils.errors import PanelError
from vbase_py_utils.fit.results import CrossSectionFits, inner_frame
from vbase_py_utils.fit.schema import FACTOR, FACTOR_RETURN, STD_ERROR
from vbase_py_utils.kernel.factor_covariances import CovarianceOptions, covariances
from vbase_py_utils.kernel.losses import FloatArray
from vbase_py_utils.keys import PERIOD
from vbase_py_utils.panel import ArrowStream, as_frame
from vbase_py_utils.risk.options import (
    NOT_FACTORS,
    as_labels,
    check_half_life,
    check_history,
    check_later,
    check_there,
)

USE = "factor_covariance"


class CovarianceArguments(TypedDict, total=False):
    """The keyword arguments of ``factor_covariance``; meanings there."""

    half_life: float
    correlation_half_life: float | None
    lags: int
    correlation_lags: int
    min_periods: int
    shrink: bool
    regime_half_life: float | None
    subtract_errors: bool
    periods: object
    next_period: object
    period: str


@overload
def factor_covariance(
    factor_returns: pl.DataFrame | ArrowStream | CrossSectionFits[pl.DataFrame],
    **arguments: Unpack[CovarianceArguments],
) -> pl.DataFrame: ...
@overload
def factor_covariance(
    factor_returns: pl.LazyFrame | CrossSectionFits[pl.LazyFrame],
    **arguments: Unpack[CovarianceArguments],
) -> pl.LazyFrame: ...
def factor_covariance(
    factor_returns: FactorReturns,
    *,
    half_life: float = 84,
    correlation_half_life: float | None = None,
    lags: int = 0,
    correlation_lags: int = 0,
    min_periods: int = 60,
    shrink: bool = True,
    regime_half_life: float | None = None,
    subtract_errors: bool = False,
    periods: object = None,
    next_period: object = None,
    period: str = "period",
) -> pl.DataFrame | pl.LazyFrame:
    """Forecast the covariance of factor returns for every period, from earlier periods alone.

    Returns are weighted by their age and not demeaned. The answer is positive semi-definite
    whatever is missing.

    Parameters
    ----------
    factor_returns
        The result of ``fit_cross_sections``, or a frame like that of ``factor_returns``: the period
        and one numeric column per factor, rows in any order. Null, NaN and infinite returns are
        missing, as are those of a period without an answer.
    half_life
        Half-life, in periods, of the weights in variances; infinity weights all periods alike.
    correlation_half_life
        The same in correlations; ``None`` takes ``half_life``.
    lags, correlation_lags
        How many autocovariances to include, by Newey and West's weights, in variances and in
        correlations: for factor returns that are correlated over time.
    min_periods
        A factor with fewer earlier returns has a null row and column.
    shrink
        Shrink the correlations, so that portfolios chosen by the matrix are as risky as it says.
    regime_half_life
        Multiply variances by the mean of squared returns over their forecasts in the latest
        periods, with this half-life; ``None`` does not.
    subtract_errors
        Subtract the mean squared standard error of a factor's returns from its variance, at most 90
        % of it; correlations stay. Needs fits. For few assets.
    periods
        Periods to give, a label or several; ``None`` gives all.
    next_period
        Label of a further period, after the last, to forecast.
    period
        Column of the period; fits have their own.

    Returns
    -------
    DataFrame or LazyFrame, as given
        A row per period and factor, sorted by period: the period, factor, and a Float64 column per
        factor, in squared units of the returns. The rows of a period are a symmetric block. They
        hold what was known before it, and can be multiplied with its exposures.

    Raises
    ------
    PanelError
        A column is missing or not numeric, a period is null or repeats, or is text that does not
        sort in the order of time; a factor or the period is called "factor", "specific" or
        "unattributed"; ``periods`` has a period that is not there; ``next_period`` is not later
        than all others. The values of a LazyFrame are checked when the query runs.
    ValueError, TypeError
        A half-life is not above zero; lags are negative or not less than ``min_periods``;
        ``subtract_errors`` without fits; the input is not a frame.
    RuntimeError
        As ``factor_returns``.

    Notes
    -----
    Sources: Newey and West (1987), Econometrica 55, 703-708; Ledoit and Wolf (2022), Bernoulli 28,
    1519-1547; half-lives and regime as in Menchero, Orr and Wang (2011), The Barra US Equity Model
    (USE4). The page "A risk model" has all formulas.

    Examples
    --------
    >>> import polars as pl
    >>> from vbase_py_utils import factor_covariance
    >>> returns = pl.DataFrame({"period": [1, 2, 3], "x": [0.01, -0.02, 0.01], "y": [0.0, 0.02, 0]})
    >>> forecast = factor_covariance(
    ...     returns, half_life=float("inf"), min_periods=2, shrink=False, periods=3
    ... )
    >>> forecast.select("factor", (pl.col("x", "y") * 1e4).round(6)).rows()
    [('x', 2.5, -2.0), ('y', -2.0, 2.0)]
    """
    options = _options(
        half_life,
        correlation_half_life,
        lags,
        correlation_lags,
        min_periods,
        shrink=shrink,
        regime_half_life=regime_half_life,
    )
    with_errors = check_flag("subtract_errors", subtract_errors)
    rows, column, factors = _source(factor_returns, check_name("period", period), with_errors)
    dtype = rows.collect_schema()[PERIOD if with_errors else column]
    _check_names(column, factors)
    asked = None if periods is None else as_labels("periods", periods, column, dtype)
    further = pl.Series("", [], dtype=dtype)
    if next_period is not None:
        further = as_labels("next_period", [next_period], column, dtype)
    out = pl.Schema({column: dtype, FACTOR: pl.String(), **dict.fromkeys(factors, pl.Float64())})

    def forecast(rows: pl.DataFrame) -> pl.DataFrame:
        labels, returns, errors = _as_arrays(rows, column, factors, with_errors)
        known, wanted = _wanted(labels, asked, further, column)
        blocks = covariances(returns, wanted, options, errors)
        return _long(known.alias(column), factors, blocks)

    if isinstance(rows, pl.DataFrame):
        return forecast(rows)
    return rows.map_batches(
        forecast,
        schema=out,
        predicate_pushdown=False,
        projection_pushdown=False,
        slice_pushdown=False,
    )


def _options(
    half_life: float,
    correlation_half_life: float | None,
    lags: int,
    correlation_lags: int,
    min_periods: int,
    *,
    shrink: bool,
    regime_half_life: float | None,
) -> CovarianceOptions:
    """Check the numbers among the arguments."""
    check_half_life("half_life", half_life)
    check_half_life("correlation_half_life", correlation_half_life, optional=True)
    check_half_life("regime_half_life", regime_half_life, optional=True)
    check_history({"lags": lags, "correlation_lags": correlation_lags}, min_periods)
    return CovarianceOptions(
        float(half_life),
        float(half_life if correlation_half_life is None else correlation_half_life),
        int(lags),
        int(correlation_lags),
        int(min_periods),
        check_flag("shrink", shrink),
        None if regime_half_life is None else float(regime_half_life),
    )


def _wanted(
    labels: pl.Series, asked: pl.Series | None, further: pl.Series, column: str
) -> tuple[pl.Series, NDArray[np.bool_]]:
    """Give the labels to forecast, and where they are among the periods and the one after them."""
    if len(further):
        check_later(further, labels, column, USE)
    there = pl.concat([labels, further])
    wanted = np.ones(len(labels) + 1, dtype=bool)
    if asked is not None:
        check_there("periods", asked, there, column)
        wanted[:-1] = labels.is_in(asked.implode())
    wanted[-1] = len(further) > 0
    return there.filter(wanted[: len(there)]), wanted


def _source(
    factor_returns: FactorReturns, period: str, with_errors: bool
) -> tuple[pl.DataFrame | pl.LazyFrame, str, tuple[str, ...]]:
    """Give the frame to read, the user's name of the period, and the factors.

    The frame is wide, or with errors the coefficients of the fits under inner names.
    """
    if isinstance(factor_returns, CrossSectionFits):
        column = _column_of(factor_returns, period)
        factors = factor_returns.estimated.factors
        if with_errors:
            long = inner_frame(factor_returns, "coefficients")
            return long.select(PERIOD, FACTOR_RETURN, STD_ERROR), column, factors
        return factor_returns.factor_returns, column, factors
    if with_errors:
        raise ValueError(
            "subtract_errors is True, which needs the standard errors of fits: pass the result of "
            "fit_cross_sections"
        )
    frame = as_frame(factor_returns, [period], "factor_returns", others="need")
    # The checks of names and types, before a lazy query runs.
    _, values = read_factor_returns(frame.collect_schema().to_frame(), period)
    return frame, period, tuple(values)


def _column_of(fits: Fits, period: str) -> str:
    """Give the period column of the fits; another than the default must be the same."""
    own = fits.estimated.period
    return own if period == "period" else own_key(PERIOD, period, own)


def _check_names(column: str, factors: Sequence[str]) -> None:
    if column in (FACTOR, *factors):
        raise PanelError.taken_name("period", column)
    for name in NOT_FACTORS:
        if name in factors:
            raise PanelError.taken_factor(name)


def _as_arrays(
    rows: pl.DataFrame, column: str, factors: Sequence[str], with_errors: bool
) -> tuple[pl.Series, FloatArray, FloatArray | None]:
    """Give the periods in order, the returns (T, k) and, of fits, the errors (T, k)."""
    if with_errors:
        # Sorted by period, and in it by factor.
        returns, errors = (
            floats(rows[name]).reshape(-1, len(factors)) for name in (FACTOR_RETURN, STD_ERROR)
        )
        wide = rows[PERIOD].gather_every(len(factors)).to_frame()
        labels, _ = read_factor_returns(wide.with_columns(x=0.0), PERIOD, USE)
        return labels, returns, errors
    labels, values = read_factor_returns(rows, column, USE)
    return labels, np.column_stack([floats(values[name]) for name in factors]), None


def _long(labels: pl.Series, factors: Sequence[str], blocks: FloatArray) -> pl.DataFrame:
    """Make a frame of blocks (k, periods, k): a row per period and factor."""
    k = len(factors)
    periods = labels.gather(np.repeat(np.arange(len(labels)), k))
    names = pl.Series(FACTOR, list(factors), dtype=pl.String)
    columns = [
        pl.Series(f, b.ravel(), nan_to_null=True) for f, b in zip(factors, blocks, strict=True)
    ]
    every = [periods, names.gather(np.tile(np.arange(k), len(labels))), *columns]
    # From a list, Polars would give a column without a name another one.
    return pl.DataFrame({column.name: column for column in every})
