"""The variance of each asset before every period, from the asset's own earlier returns.

Returns are cut at the asset's own past standard deviations. Robustness weights have no place here:
their scale is that of the period, so they hide how volatile an asset is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vbase_py_utils.kernel.losses import FloatArray
from vbase_py_utils.kernel.series import bartlett, decay_of

Integers: TypeAlias = NDArray[np.integer[Any]]
Mask: TypeAlias = NDArray[np.bool_]

# A specific return this small relative to the median of its period is rounding: the asset is alone
# in its category, or the fit had to go through it.
NO_RESIDUAL = 1e-8
# The standard deviation of a normal variable over its median absolute value.
SD_OF_MEDIAN = 1.4826
# Squares of returns up to 2 to this are far from the largest number.
LARGEST_EXPONENT = 400
# The least kurtosis used. That of two equal values with random signs is 1.
LEAST_KURTOSIS = 2.0
# That of a normal variable, until there are returns to measure it.
NORMAL_KURTOSIS = 3.0
# True log variances are never exactly those of the prior.
LEAST_SPREAD = 1e-4


@dataclass(frozen=True, slots=True)
class VarianceOptions:
    """How variances are estimated; meanings in ``specific_risk``."""

    half_life: float
    lags: int
    min_periods: int
    cut: float
    regime_half_life: float | None = None


@dataclass(frozen=True, slots=True)
class PastVariances:
    """What is known before each row of a block, in the order of the rows.

    Attributes
    ----------
    variance
        (rows,) mean square of the asset's earlier returns in squared units of 2 ** ``unit`` of the
        period, NaN if it has none. Not yet multiplied by the regime.
    count
        (rows,) how many earlier returns there are.
    effective
        (rows,) how many returns of equal weight have as much information; empty unless asked for.
    regime
        (periods,) by how much the latest squared returns exceeded their forecasts.
    kurtosis
        (periods,) mean fourth power of standardised returns.
    unit
        (periods,) exponents of the units.
    """

    variance: FloatArray
    count: Integers
    effective: FloatArray
    regime: FloatArray
    kurtosis: FloatArray
    unit: Integers


@dataclass(slots=True)
class AssetHistory:
    """Sums over the earlier returns of each asset, with which the next block goes on.

    Attributes
    ----------
    unit
        Exponent of the unit in which returns are kept, ``None`` before the first one.
    total, weight, square_weight, count
        (assets,) sums over the asset's returns: of weighted squares, autocovariances included, of
        weights, of squared weights; and how many there were.
    now
        (assets,) weighted squares alone; ``total`` itself without lags.
    latest
        (lags, assets) latest returns of each asset, zero before the first.
    regime, regime_weight
        Weighted sum of the periods' mean squares over forecasts, and of the weights.
    fourth, fourths
        Sum of fourth powers of standardised returns, and how many there were.
    """

    options: VarianceOptions
    unit: int | None = None
    total: FloatArray = field(default_factory=lambda: np.zeros(0))
    now: FloatArray = field(default_factory=lambda: np.zeros(0))
    weight: FloatArray = field(default_factory=lambda: np.zeros(0))
    square_weight: FloatArray = field(default_factory=lambda: np.zeros(0))
    count: Integers = field(default_factory=lambda: np.zeros(0, dtype=np.uint32))
    latest: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))
    regime: float = 0.0
    regime_weight: float = 0.0
    fourth: float = 0.0
    fourths: int = 0

    def past_variances(
        self, returns: FloatArray, assets: Integers, starts: Integers, *, effective: bool = False
    ) -> PastVariances:
        """Give what is known before each row, and take in the rows, period by period.

        Parameters
        ----------
        returns
            (rows,) specific returns sorted by period, an asset at most once in each; NaN if it has
            none. Those that are zero but for rounding are no information.
        assets
            (rows,) numbers of the assets, from 0.
        starts
            (periods + 1,) where each period begins, and the number of rows.
        effective
            Whether to give the effective numbers of returns.
        """
        self._make_room(int(assets.max(initial=-1)) + 1)
        n_periods = len(starts) - 1
        variance = np.empty(len(returns))
        count = np.empty(len(returns), dtype=np.uint32)
        information = np.empty(len(returns) if effective else 0)
        regime, kurtosis = np.empty(n_periods), np.empty(n_periods)
        unit = np.zeros(n_periods, dtype=int)
        for period, (start, end) in enumerate(pairwise(starts)):
            rows = slice(start, end)
            own = assets[rows]
            weight = self.weight[own]
            with np.errstate(divide="ignore", invalid="ignore"):
                np.divide(np.maximum(self.total[own], 0), weight, out=variance[rows])
                if effective:
                    information[rows] = weight**2 / self.square_weight[own]
            count[rows] = self.count[own]
            regime[period] = self.regime / self.regime_weight if self.regime_weight else 1.0
            kurtosis[period] = self._kurtosis
            unit[period] = self.unit or 0
            self._add(own, returns[rows])
        return PastVariances(variance, count, information, regime, kurtosis, unit)

    @property
    def _kurtosis(self) -> float:
        if self.fourths == 0:
            return NORMAL_KURTOSIS
        return max(LEAST_KURTOSIS, self.fourth / self.fourths)

    def _make_room(self, n_assets: int) -> None:
        more = n_assets - len(self.count)
        if more <= 0:
            return
        for name in ("total", "weight", "square_weight", "count"):
            setattr(self, name, np.pad(getattr(self, name), (0, more)))
        self.now = np.pad(self.now, (0, more)) if self.options.lags else self.total
        latest = self.latest.reshape(self.options.lags, n_assets - more)
        self.latest = np.pad(latest, ((0, 0), (0, more)))

    def _add(self, own: Integers, returns: FloatArray) -> None:
        """Take in a period: assets (n,) and their returns (n,)."""
        own, x = _informative(own, returns)
        if not len(x):
            return
        if self.unit is None:
            self.unit = int(np.frexp(np.median(np.abs(x)))[1])
        known = self.count[own] >= self.options.min_periods
        # A variance that has underflowed would cut all that follows to zero.
        known &= self.now[own] > 0
        cut, variance = self._cut(own, np.ldexp(x, -self.unit), known)
        exponent = int(np.frexp(np.abs(cut).max())[1])
        if exponent > LARGEST_EXPONENT:
            self._rescale(exponent)
            known &= self.now[own] > 0
            cut, variance = self._cut(own, np.ldexp(x, -self.unit), known)
        with np.errstate(over="ignore"):
            ratios = cut[known] ** 2 / variance[known]
        self._add_period(ratios)
        self._add_returns(own, cut)

    def _cut(self, own: Integers, x: FloatArray, known: Mask) -> tuple[FloatArray, FloatArray]:
        """Cut returns (n,) in our unit, and give the variances (n,) that they are cut by.

        Where an asset's own is not ``known`` (n,), a typical one of the period stands for it.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            variance = np.divide(
                self.now[own], self.weight[own], out=np.full(len(x), np.nan), where=known
            )
            if not known.all():
                variance[~known] = (SD_OF_MEDIAN * np.median(np.abs(x))) ** 2
            limit = self.options.cut * np.sqrt(variance)
        return np.clip(x, -limit, limit), variance

    def _rescale(self, exponent: int) -> None:
        """Keep returns in units that are larger by a power of two, exactly."""
        self.unit = (self.unit or 0) + exponent
        for squares in {id(one): one for one in (self.total, self.now)}.values():
            np.ldexp(squares, -2 * exponent, out=squares)
        np.ldexp(self.latest, -exponent, out=self.latest)

    def _add_period(self, ratios: FloatArray) -> None:
        """Take in the squared returns of a period over their forecast variances."""
        if not len(ratios):
            return
        mean = float(ratios.mean())
        if self.options.regime_half_life is not None:
            decay = decay_of(self.options.regime_half_life)
            self.regime = decay * self.regime + mean
            self.regime_weight = decay * self.regime_weight + 1
        # About the period's own level, so that calm and wild periods are alike.
        self.fourth += float(np.square(ratios / mean).sum()) if mean > 0 else 0.0
        self.fourths += len(ratios)

    def _add_returns(self, own: Integers, x: FloatArray) -> None:
        """Take in the returns of assets, each on its own clock."""
        decay = decay_of(self.options.half_life)
        square = x * x
        cross = square
        if self.options.lags:
            lags = np.arange(1, self.options.lags + 1)
            at_lags = 2 * bartlett(self.options.lags) * decay ** (lags / 2)
            cross = square + x * (at_lags @ self.latest[:, own])
            self.now[own] = decay * self.now[own] + square
            self.latest[1:, own] = self.latest[:-1, own]
            self.latest[0, own] = x
        self.total[own] = decay * self.total[own] + cross
        self.weight[own] = decay * self.weight[own] + 1
        self.square_weight[own] = decay**2 * self.square_weight[own] + 1
        self.count[own] += 1


def _informative(own: Integers, returns: FloatArray) -> tuple[Integers, FloatArray]:
    """Leave out returns that are missing, or zero but for rounding."""
    size = np.abs(returns)
    there = np.isfinite(size)
    if not there.all():
        own, returns, size = own[there], returns[there], size[there]
    largest = size.max(initial=0)
    # The median is at most the largest, and costs more.
    if len(size) and size.min() <= NO_RESIDUAL * largest:
        some = size > NO_RESIDUAL * np.median(size)
        own, returns = own[some], returns[some]
    return own, returns


@dataclass(frozen=True, slots=True)
class Blend:
    """A period's variances, shrunk towards those of similar assets.

    Attributes
    ----------
    variance
        (n,) own and prior variance by their weights; NaN where neither is known.
    prior_weight
        (n,) weight of the prior, from 0 to 1; 1 without a return of its own.
    """

    variance: FloatArray
    prior_weight: FloatArray


def log_variances(variance: FloatArray, effective: FloatArray, kurtosis: FloatArray) -> FloatArray:
    """Give the logarithms of variances (n,) with the bias of their sampling removed.

    The sampling variance a of a log variance is (kurtosis - 1) / effective, its bias -a / 2.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        logs: FloatArray = np.log(variance) + (kurtosis - 1) / effective / 2
    return np.where(np.isfinite(logs), logs, np.nan)


def blended(
    logs: FloatArray, prior: FloatArray, effective: FloatArray, kurtosis: float, fitted: Mask
) -> Blend:
    """Shrink log variances (n,) towards their ``prior`` (n,), as far as both are uncertain.

    An empirical Bayes step: the variance of true log variances about the prior, tau^2, is what
    their mean square about it has beyond sampling, over the rows that are ``fitted`` (n,). An asset
    without a value of its own has the prior, one without a prior has its own.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        sampling = (kurtosis - 1) / effective
    apart = np.square(logs - prior)
    use = fitted & np.isfinite(apart)
    spread = float(apart[use].mean() - sampling[use].mean()) if use.any() else 0.0
    spread = max(spread, LEAST_SPREAD)
    own = np.isfinite(logs)
    share = np.where(own, spread / (spread + np.where(own, sampling, 1)), 0.0)
    share = np.where(np.isfinite(prior), share, np.where(own, 1.0, np.nan))
    mean = np.where(share > 0, share * np.where(own, logs, 0.0), 0.0)
    mean += np.where(share < 1, (1 - share) * np.where(np.isfinite(prior), prior, 0.0), 0.0)
    # The mean of what is left uncertain, not its median, which would be too low for a variance.
    mean += (1 - share) * spread / 2
    return Blend(np.exp(np.where(np.isfinite(share), mean, np.nan)), 1 - share)
