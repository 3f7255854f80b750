"""Fama-MacBeth: the mean return of a factor over the periods, and its standard error."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import polars as pl

from vbase_py_utils.analyse.reading import FactorReturns, read_factor_returns
from vbase_py_utils.arguments import check_number, shown
from vbase_py_utils.fit.schema import FACTOR, STD_ERROR, T_STAT
from vbase_py_utils.kernel.losses import FloatArray
from vbase_py_utils.kernel.series import newey_west_variance

# Newey-West lags: a number of periods, or "auto" to choose it from the number of periods.
Lags: TypeAlias = int | Literal["auto"]

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
    period: str | None = None,
    lags: Lags = "auto",
) -> pl.DataFrame:
    """Average factor returns over the periods: premium, standard error, t and p per factor.

    Parameters
    ----------
    factor_returns
        A frame like the result of ``factor_returns``: the period and one numeric column per factor,
        rows in any order; or the result of ``fit_cross_sections``. Lazy input is collected. A
        pandas frame needs its index as a column: ``reset_index()``.
    period
        Column of the period; ``None`` takes the one called "period", else the first.
    lags
        Newey-West lags, for factor returns that are correlated over time: a number of periods, or
        "auto" for floor(4 (T / 100)^(2/9)) with T periods. With 0, the standard error is the
        textbook one, for factor returns that are independent over time.

    Returns
    -------
    DataFrame
        A row per factor, in the order of the columns: factor, premium (mean factor return, in its
        units), std_error, t_stat, p_value (two-sided, Student's t with T - 1 degrees of freedom),
        n_periods (T). Periods whose factor return is null, NaN or infinite are skipped, also by
        lags. The premium is null if no period is left; the error, t and p if only one is left, or
        no more than lags. Without variation over time, t and p are null.

    Raises
    ------
    PanelError
        The period or the factors are missing, factors are not numeric, a period is null or repeats.
        Unless ``lags`` is 0: the periods are text that does not sort in the order of time.
    ValueError, TypeError
        ``lags`` is out of range; ``period`` does not match the fits; the input is not a frame.
    RuntimeError
        As ``factor_returns``.

    Notes
    -----
    The standard error treats the factor returns as data. Sources: Fama and MacBeth (1973), Journal
    of Political Economy 81, 607-636; Newey and West (1987), Econometrica 55, 703-708.

    Examples
    --------
    >>> import polars as pl
    >>> from vbase_py_utils import fama_macbeth
    >>> monthly = pl.DataFrame({"period": [1, 2, 3, 4], "beta": [0.01, 0.03, 0.02, 0.02]})
    >>> premium = fama_macbeth(monthly, lags=0).row(0, named=True)
    >>> f"{premium['premium']:.3f} {premium['std_error']:.4f} {premium['t_stat']:.2f}"
    '0.020 0.0041 4.90'
    """
    check_lags(lags)
    use = None if lags == 0 else f"lags={lags!r}, unlike lags=0,"
    _, factors = read_factor_returns(factor_returns, period, use)
    rows = [
        (name, *_premium(values.cast(pl.Float64).to_numpy(), lags))
        for name, values in factors.items()
    ]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").fill_nan(None)


def check_lags(lags: object) -> None:
    """Raise TypeError or ValueError unless ``lags`` is a whole number >= 0 or "auto"."""
    expected = "a whole number >= 0 or 'auto'"
    if isinstance(lags, str):
        if lags != "auto":
            raise ValueError(f"lags is {shown(lags)}, expected {expected}")
        return
    check_number("lags", lags, expected, at_least=0, whole=True)


def critical_value(freedom: FloatArray, level: float = 0.95) -> FloatArray:
    """Give the two-sided critical values of Student's t; NaN without a degree of freedom.

    ``level``: the probability within the limits. Infinite degrees of freedom: the normal
    distribution.
    """
    from scipy.special import stdtrit  # noqa: PLC0415 - takes as long to load as Polars

    quantile = stdtrit(np.where(freedom > 0, freedom, np.nan), (1 + level) / 2)
    return np.asarray(quantile, dtype=np.float64)


def _premium(series: FloatArray, lags: Lags) -> tuple[float | int, ...]:
    """Premium, standard error, t, p and number of periods of a factor; NaN where undefined."""
    from scipy.special import stdtr  # noqa: PLC0415 - takes as long to load as Polars

    series = series[np.isfinite(series)]
    n = len(series)
    if n == 0:
        return np.nan, np.nan, np.nan, np.nan, 0
    # Scaling by a power of two is exact, and keeps squares and sums within a float's range.
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
