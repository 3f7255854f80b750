"""Covariance of factor returns before every period: half-lives, shrinkage, regime, errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vbase_py_utils.kernel.losses import FloatArray
from vbase_py_utils.kernel.series import Moments, decay_of
from vbase_py_utils.kernel.shrinkage import NO_VARIANCE, shrunk_eigenvalues, symmetric_product
from vbase_py_utils.kernel.threads import one_blas_thread

Mask: TypeAlias = NDArray[np.bool_]
Integers: TypeAlias = NDArray[np.integer[Any]]

# Estimation errors explain at most this share of the variance of a factor's estimates.
MOST_ERROR = 0.9
# The energy of periods with less than this share of the newest one's weight is left out.
LEAST_WEIGHT = 1e-5
# A squared return counts as at most this many times its forecast in the regime: one enters both
# factors of the answer, whose product has no mean for t3 returns. Of 30 samples of t3 returns the
# mean forecast over the true variance is 1.02 to 1.03 with this limit, 1.1 to 1.25 without, and
# 0.91 with 25; for normal returns it makes no difference.
LARGEST_RATIO = 100.0


@dataclass(frozen=True, slots=True)
class CovarianceOptions:
    """The numbers among the arguments of ``factor_covariance``; meanings there."""

    half_life: float
    correlation_half_life: float
    lags: int
    correlation_lags: int
    min_periods: int
    shrink: bool
    regime_half_life: float | None


class _Regime:
    """Weighted mean, over the periods, of squared returns over their forecast variances."""

    def __init__(self, half_life: float) -> None:
        self.decay = decay_of(half_life)
        self.total = self.weight = 0.0

    def add(self, ratios: FloatArray) -> None:
        """Add a period's squared returns over their forecast variances, those that exist."""
        if len(ratios):
            ratio = np.minimum(ratios, LARGEST_RATIO).mean()
            self.total = self.decay * self.total + float(ratio)
            self.weight = self.decay * self.weight + 1

    @property
    def multiplier(self) -> float:
        return self.total / self.weight if self.weight else 1.0


def covariances(
    returns: FloatArray,
    wanted: Mask,
    options: CovarianceOptions,
    errors: FloatArray | None = None,
) -> FloatArray:
    """Forecast the covariance of factors for periods, each from the periods before it.

    Parameters
    ----------
    returns
        (T, k) factor returns in the order of time, NaN where missing.
    wanted
        (T + 1,) Boolean: the periods to forecast, the last for the one after the returns.
    options
        As in ``factor_covariance``.
    errors
        (T, k) standard errors of the returns, to subtract; NaN where missing.

    Returns
    -------
    array
        (k, periods wanted, k), symmetric in the first and last axes; NaN where a factor has too few
        returns.
    """
    n_periods, k = returns.shape
    there = np.isfinite(returns)
    values = np.where(there, returns, 0.0)
    # Powers of two that keep squares in range: of the largest return so far.
    exponents = np.maximum.accumulate(_exponents(values), axis=0)
    answer = np.empty((k, int(wanted.sum()), k))
    state = _State(k, options)
    done = 0
    with one_blas_thread():
        for t in range(n_periods + 1):
            if wanted[t]:
                answer[:, done, :] = state.forecast(values[:t])
                done += 1
            if t < n_periods:
                error = None if errors is None else errors[t]
                state.add(values[: t + 1], there[t].astype(float), exponents[t], error)
    return answer


def _exponents(values: FloatArray) -> Integers:
    """Exponents of numbers, those of zeros below all others."""
    return np.where(values == 0, -1100, np.frexp(values)[1])


class _State:
    """What is known of k factors before a period; numbers are in units of 2 ** ``unit``."""

    def __init__(self, k: int, options: CovarianceOptions) -> None:
        self.options = options
        self.volatility = Moments(k, options.half_life, options.lags)
        # Within a period, without its autocovariances: what a return of one period is measured by.
        self.now = Moments(k, options.half_life) if options.lags else self.volatility
        self.correlation = self.volatility
        if (options.correlation_half_life, options.correlation_lags) != (
            options.half_life,
            options.lags,
        ):
            self.correlation = Moments(k, options.correlation_half_life, options.correlation_lags)
        self.moments = list(
            {id(m): m for m in (self.volatility, self.now, self.correlation)}.values()
        )
        self.count = np.zeros(k, dtype=int)
        self.unit = np.full(k, -1100)
        self.regime = None
        if options.regime_half_life is not None:
            self.regime = _Regime(options.regime_half_life)
        self.error, self.error_weight = np.zeros(k), np.zeros(k)

    @property
    def known(self) -> Mask:
        """Whether a factor (k,) has had enough returns, the last not ages ago."""
        enough: Mask = self.count >= self.options.min_periods
        return enough & self.volatility.remembered & self.correlation.remembered

    def add(
        self,
        values: FloatArray,
        there: FloatArray,
        exponents: Integers,
        error: FloatArray | None,
    ) -> None:
        """Take in a period, the last of ``values`` (t, k)."""
        if (exponents != self.unit).any():
            shifts = exponents - self.unit
            for moments in self.moments:
                moments.rescale(shifts)
            self.error = np.ldexp(self.error, -2 * shifts)
            self.unit = exponents
        lags = max(self.options.lags, self.options.correlation_lags)
        latest = np.ldexp(values[::-1][: lags + 1], -self.unit)
        value = latest[0]
        earlier = np.zeros((lags, len(value)))
        earlier[: len(latest) - 1] = latest[1:]
        if self.regime is not None:
            variance = self.now.variances()
            some = self.known & (there > 0) & (variance > 0)
            self.regime.add(value[some] ** 2 / variance[some])
        for moments in self.moments:
            moments.add(earlier, value, there)
        self.count += there > 0
        if error is not None:
            has_error = np.isfinite(error) & (there > 0)
            square = np.square(np.ldexp(np.where(has_error, error, 0.0), -self.unit))
            self.error = self.volatility.decay * self.error + square
            self.error_weight = self.volatility.decay * self.error_weight + has_error

    def forecast(self, values: FloatArray) -> FloatArray:
        """Give the covariance (k, k) for the period after ``values`` (t, k), NaN if unknown."""
        known = np.flatnonzero(self.known)
        answer = np.full((len(self.unit), len(self.unit)), np.nan)
        if not len(known):
            return answer
        variance = self.volatility.variances()[known]
        error = self.error[known] / np.where(
            self.error_weight[known] > 0, self.error_weight[known], 1
        )
        variance = np.maximum(variance - error, (1 - MOST_ERROR) * variance)
        if self.regime is not None:
            variance = variance * self.regime.multiplier
        sd = np.sqrt(variance)
        correlation = self._correlation(values, known)
        covariance = correlation * np.outer(sd, sd)
        unit = self.unit[known]
        with np.errstate(over="ignore", under="ignore"):
            covariance = np.ldexp(covariance, unit[:, None] + unit)
        covariance[~np.isfinite(covariance)] = np.nan
        answer[np.ix_(known, known)] = covariance
        return answer

    def _correlation(self, values: FloatArray, known: Integers) -> FloatArray:
        """Correlate the known factors (q, q); one that never moved correlates with no other."""
        means = self.correlation.means()[np.ix_(known, known)]
        variance = np.diagonal(means)
        moves = variance > 0
        scale = np.where(moves, np.sqrt(np.where(moves, variance, 1)), np.inf)
        correlation: FloatArray = means / np.outer(scale, scale)
        if self.options.shrink and moves.sum() > 1:
            some = np.ix_(moves, moves)
            z = np.ldexp(values[:, known[moves]], -self.unit[known[moves]]) / scale[moves]
            n = float(self.correlation.effective_number()[known[moves]].mean())
            correlation[some] = _shrunk(correlation[some], z, n, self.correlation.decay)
        np.fill_diagonal(correlation, 1.0)
        return correlation


def _shrunk(correlation: FloatArray, z: FloatArray, n: float, decay: float) -> FloatArray:
    """Shrink a correlation (q, q) by the number of observations that count; its diagonal is one.

    ``z`` (t, q): standardised returns, zero where missing; ``n``: how many observations their
    weights amount to. With fat tails and moving volatility fewer count: days are weighted by their
    energy, the mean square of their returns along the eigenvectors. For normal returns that leaves
    n as it is, since the mean square of q normal variables has a second moment of 1 + 2 / q.
    """
    values, vectors = np.linalg.eigh(correlation)
    moves = values > NO_VARIANCE * values[-1]
    weights = decay ** np.arange(len(z))[::-1]
    first = int(np.argmax(weights >= LEAST_WEIGHT))
    energy = np.square(z[first:] @ (vectors[:, moves] / np.sqrt(values[moves]))).mean(axis=1)
    weighted = weights[first:] * energy
    square = float(weighted @ weighted)
    if square > 0:
        n = min(n, (1 + 2 / int(moves.sum())) * float(weighted.sum()) ** 2 / square)
    shrunk = symmetric_product(vectors, shrunk_eigenvalues(values, n))
    scale = np.sqrt(np.diagonal(shrunk))
    answer: FloatArray = shrunk / np.outer(scale, scale)
    return answer
