"""Variances of the means of series over time."""

from __future__ import annotations

from vbase_py_utils.kernel.losses import FloatArray


def newey_west_variance(series: FloatArray, lags: int) -> float:
    """Variance of the mean of ``series`` (T,), consecutive values in order of time; lags < T.

    Bartlett weights 1 - l / (lags + 1) on the autocovariances, divided by T - 1; ``lags`` 0 gives
    the variance of independent values, sum (x - mean)^2 / (T (T - 1)).
    Source: Newey and West (1987), Econometrica 55, 703-708.
    """
    n = len(series)
    # From the first value on, so that values which are all equal have no variance from rounding.
    apart = series - series[0]
    apart -= apart.mean()
    total = apart @ apart
    for lag in range(1, lags + 1):
        total += 2 * (1 - lag / (lags + 1)) * (apart[lag:] @ apart[:-lag])
    return max(0.0, float(total / n / (n - 1)))
