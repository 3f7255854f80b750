"""Contributions of many periods that add up to the compounded return. Arrays only."""

from __future__ import annotations

import numpy as np

from vbase_py_utils.kernel.losses import FloatArray


def carino_factors(returns: FloatArray, benchmark: FloatArray) -> FloatArray:
    """Give the factors (T,) by which contributions of each period are multiplied before they add.

    ``returns`` and ``benchmark`` (T,) are above -1; a benchmark of zeros is none. The products add
    up to the difference of the compounded returns. Source: Carino (1999), "Combining attribution
    effects over time", Journal of Performance Measurement 3 (4), 5-14.
    """
    own, one = np.log1p(returns).sum(), np.log1p(benchmark).sum()
    # Of the whole, from logarithms alone: a compounded return near -1 has lost its digits.
    apart = own - one
    whole = np.exp(one) * (np.expm1(apart) / apart if apart != 0 else 1.0)
    factors: FloatArray = _ratio(returns, benchmark) * whole
    return factors


def _ratio(returns: FloatArray, benchmark: FloatArray) -> FloatArray:
    """Give the difference of log returns over that of returns; its limit where they are equal."""
    apart = returns - benchmark
    same = apart == 0
    # ln(1 + R) - ln(1 + B) = ln(1 + (R - B) / (1 + B)).
    logs = np.log1p(apart / (1 + benchmark))
    ratio: FloatArray = np.where(same, 1 / (1 + benchmark), logs / np.where(same, 1.0, apart))
    return ratio
