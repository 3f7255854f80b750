"""Series over time: the variance of their mean, and their second moments with half-lives."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    for lag, weight in enumerate(bartlett(lags), 1):
        total += 2 * weight * (apart[lag:] @ apart[:-lag])
    return max(0.0, float(total / n / (n - 1)))


def bartlett(lags: int) -> FloatArray:
    """Weights (lags,) of the autocovariances at lags 1, ..., lags."""
    return 1 - np.arange(1, lags + 1) / (lags + 1)


def decay_of(half_life: float) -> float:
    """Weight of a period relative to the next one; 1 for an infinite half-life."""
    return float(0.5 ** (1 / half_life))


class Moments:
    """Sums of products of k series, about zero, that are updated period by period.

    The sum is S = sum_t g_t g_t' + sum_l b_l sum_t (g_t g_{t-l}' + g_{t-l} g_t'), where g is the
    series times the root of its weight, zero where it is missing, and b are Bartlett's weights. It
    is the Bartlett sum of one series, hence positive semi-definite, and so is the answer,
    S / sqrt(W W'), with W the total weights of what is there.

    Attributes
    ----------
    total
        (k, k) the sum S.
    weight, square_weight
        (k,) total weight of the numbers of each series, and total square of their weights.
    """

    def __init__(self, n_series: int, half_life: float, lags: int = 0) -> None:
        self.decay = decay_of(half_life)
        # Of the values l periods before: the root of their weight relative to the newest.
        self.at_lags = bartlett(lags) * self.decay ** (np.arange(1, lags + 1) / 2)
        self.total = np.zeros((n_series, n_series))
        self.weight = np.zeros(n_series)
        self.square_weight = np.zeros(n_series)

    def add(self, earlier: FloatArray, values: FloatArray, there: FloatArray) -> None:
        """Add a period.

        ``values`` (k,) are zero where ``there`` (k,) is, and one elsewhere; ``earlier`` (L, k),
        L >= lags, are the values of the periods before, the latest first, zeros before the first.
        """
        half = values / 2
        if len(self.at_lags):
            half += self.at_lags @ earlier[: len(self.at_lags)]
        self.total *= self.decay
        cross = np.outer(half, values)
        # Summed first, so that both halves have the same bits.
        self.total += cross + cross.T
        self.weight = self.decay * self.weight + there
        self.square_weight = self.decay**2 * self.square_weight + there

    def rescale(self, shifts: NDArray[np.integer[Any]]) -> None:
        """Divide the series by 2 to the ``shifts`` (k,), exactly."""
        self.total = np.ldexp(self.total, -(shifts[:, None] + shifts))

    def means(self) -> FloatArray:
        """Moments (k, k); NaN for a series that was never there."""
        with np.errstate(divide="ignore", invalid="ignore"):
            means: FloatArray = self.total / np.sqrt(np.outer(self.weight, self.weight))
        return means

    def variances(self) -> FloatArray:
        """Diagonal (k,) of the moments, zero where lags leave nothing but rounding."""
        with np.errstate(divide="ignore", invalid="ignore"):
            variances: FloatArray = np.diagonal(self.total) / self.weight
        return np.maximum(variances, 0)

    @property
    def remembered(self) -> NDArray[np.bool_]:
        """Whether a series (k,) has values whose weights have not faded to nothing."""
        return self.square_weight >= np.finfo(float).tiny

    def effective_number(self) -> FloatArray:
        """How many values (k,) of equal weight have as much information: (sum w)^2 / sum w^2."""
        with np.errstate(divide="ignore", invalid="ignore"):
            number: FloatArray = self.weight**2 / self.square_weight
        return number
