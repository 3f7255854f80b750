"""Fama-MacBeth: what a factor paid on average over the periods, and how sure that is."""

from __future__ import annotations

from numbers import Integral
from typing import Literal, TypeAlias

import numpy as np
import polars as pl
from scipy.special import stdtr

from vbase_py_utils.errors import PanelError
from vbase_py_utils.inference import newey_west_variance
from vbase_py_utils.panel import PERIOD, ArrowStream, as_frame, check_key_type, label, missing_keys
from vbase_py_utils.results import FACTOR, STD_ERROR, T_STAT, CrossSectionFits
from vbase_py_utils.robust import FloatArray

Fits: TypeAlias = CrossSectionFits[pl.DataFrame] | CrossSectionFits[pl.LazyFrame]
# A row per period and a column per factor, or the fits that have such a frame.
FactorReturns: TypeAlias = pl.DataFrame | pl.LazyFrame | ArrowStream | Fits

PREMIUM, P_VALUE, N_PERIODS = "premium", "p_value", "n_periods"
SCHEMA = pl.Schema(
    {
        FACTOR: pl.String(),
        PREMIUM: pl.Float64(),
        STD_ERROR: pl.Float64(),
        T_STAT: pl.Float64(),
        P_VALUE: pl.Float64(),
        N_PERIODS: pl.UInt32(),
    }
)


def fama_macbeth(
    factor_returns: FactorReturns,
    *,
    period: str = "period",
    lags: int | Literal["auto"] = 0,
) -> pl.DataFrame:
    """Average factor returns over the periods: premium, standard error, t and p per factor.

    Parameters
    ----------
    factor_returns
        A frame as ``factor_returns`` gives it: the period and one numeric column per factor, in any
        order of rows; or the result of ``fit_cross_sections``. What is lazy is collected. A pandas
        frame needs its index as a column: ``reset_index()``.
    period
        Column of the period, sorted as Polars sorts it (categoricals by their text); a
        ``CrossSectionFits`` knows its own.
    lags
        Newey-West lags, for factor returns that are correlated over time: a number of periods,
        0 for none, or "auto" for floor(4 (T / 100)^(2/9)) with T periods.

    Returns
    -------
    DataFrame
        A row per factor, in the order of the columns: factor, premium (mean factor return, in its
        units), std_error, t_stat, p_value (two-sided, Student's t with T - 1 degrees of freedom),
        n_periods (T). Periods whose factor return is null, NaN or infinite do not count, and lags
        run over those that do. Null where there are too few periods: none for the premium, one or
        no more than lags for the rest. Without variation over time, t and p are null.

    Raises
    ------
    PanelError
        The period or the factors are missing, factors are not numeric, a period is null or repeats.
    ValueError, TypeError
        ``lags`` is out of range; ``period`` is not that of the fits; no frame is given.

    Notes
    -----
    The standard error treats the factor returns as data. Sources: Fama and MacBeth (1973), Journal
    of Political Economy 81, 607-636; Newey and West (1987), Econometrica 55, 703-708.

    Examples
    --------
    >>> import polars as pl
    >>> from vbase_py_utils import fama_macbeth
    >>> monthly = pl.DataFrame({"period": [1, 2, 3, 4], "beta": [0.01, 0.03, 0.02, 0.02]})
    >>> premium = fama_macbeth(monthly).row(0, named=True)
    >>> f"{premium['premium']:.3f} {premium['std_error']:.4f} {premium['t_stat']:.2f}"
    '0.020 0.0041 4.90'
    """
    _check_lags(lags)
    _, factors = read_factor_returns(factor_returns, period)
    rows = [
        (name, *_premium(values.cast(pl.Float64).to_numpy(), lags))
        for name, values in factors.items()
    ]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").fill_nan(None)


def _check_lags(lags: object) -> None:
    whole = isinstance(lags, Integral) and int(lags) >= 0
    if isinstance(lags, bool) or not (whole or (isinstance(lags, str) and lags == "auto")):
        raise ValueError(f"lags is {lags!r}, expected a whole number >= 0 or 'auto'")


def read_factor_returns(
    factor_returns: FactorReturns, period: str
) -> tuple[pl.Series, dict[str, pl.Series]]:
    """Collect the periods and the values of each factor, both in order of time.

    Raises as ``fama_macbeth`` unless there is one row per period, and numbers.
    """
    if isinstance(factor_returns, CrossSectionFits):
        frame: pl.DataFrame | pl.LazyFrame = factor_returns.factor_returns
        own = frame.collect_schema().names()[0]
        check_own_key("period", period, own)
        period = own
    else:
        frame = as_frame(factor_returns, [period], "factor_returns", others="need")
    wide = frame.lazy().collect()
    if period not in wide.columns:
        raise PanelError.missing_columns("period", [period], wide.columns, "the factor returns")
    # Under names of our own: Polars would read a name such as "^x$" as a pattern.
    factors = {column.name: column.alias(FACTOR) for column in wide.get_columns()}
    keys = factors.pop(period).alias(PERIOD)
    odd = {name: v.dtype for name, v in factors.items() if not _is_number(v.dtype)}
    if odd or not factors:
        raise PanelError.not_wide(odd)
    check_key_type("period", period, keys.dtype)
    missing = missing_keys(keys).arg_true()
    if not missing.is_empty():
        name, values = next(iter(factors.items()))
        example = f"{name} is {values[missing[0]]}"
        raise PanelError.missing_keys("period", period, len(missing), example)
    repeats = keys.filter(keys.is_duplicated())
    if not repeats.is_empty():
        raise PanelError.repeated_periods(period, len(repeats), label(repeats))
    order = keys.arg_sort()
    return keys.gather(order), {name: values.gather(order) for name, values in factors.items()}


def check_own_key(key: str, name: str, own: str) -> None:
    """Raise ValueError if a name other than its default was asked for that is not the fits'."""
    if name not in (own, key):
        raise ValueError(f"{key} is {name!r}, but that of the fits is {own!r}: leave it out")


def _is_number(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or dtype == pl.Null


def _premium(series: FloatArray, lags: int | Literal["auto"]) -> tuple[float | int, ...]:
    """Premium, standard error, t, p and number of periods of a factor; NaN where undefined."""
    series = series[np.isfinite(series)]
    n = len(series)
    if n == 0:
        return np.nan, np.nan, np.nan, np.nan, 0
    # By a power of two, which is exact: squares and sums then stay in the range of numbers.
    exponent = int(np.frexp(np.abs(series).max())[1])
    series = np.ldexp(series, -exponent)
    premium = float(np.ldexp(series.mean(), exponent))
    n_lags = int(4 * (n / 100) ** (2 / 9)) if lags == "auto" else int(lags)
    if n < 2 or n_lags >= n:
        return premium, np.nan, np.nan, np.nan, n
    error = float(np.sqrt(newey_west_variance(series, n_lags)))
    if error == 0:
        return premium, 0.0, np.nan, np.nan, n
    t_stat = float(series.mean()) / error
    p_value = 2 * float(stdtr(n - 1, -abs(t_stat)))
    return premium, float(np.ldexp(error, exponent)), t_stat, p_value, n
