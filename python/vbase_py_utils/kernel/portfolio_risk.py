"""Exposures and risk of portfolios in one period, never by an N x N matrix. Arrays only.

With weights w, exposures X, factor covariance F and specific risk s, the exposures are x = X w and
the variance is x'F x + sum w^2 s^2. Source: Menchero, Orr and Wang (2011), The Barra US Equity
Model (USE4); contributions as exposure times volatility times correlation: Menchero and Davis
(2011), Journal of Portfolio Management 37 (2), 97-107.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from vbase_py_utils.kernel.losses import FloatArray

Mask: TypeAlias = NDArray[np.bool_]

# Sums this small beside their terms are zero.
ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Assets:
    """What is known of the n assets that some portfolio holds.

    Attributes
    ----------
    exposures
        (k, n) exposures to the factors, zero where ``known`` is not.
    known
        (n,) whether an asset has all of its exposures.
    """

    exposures: FloatArray
    known: Mask

    @classmethod
    def of(cls, exposures: FloatArray) -> Assets:
        """Take exposures (k, n), NaN where missing; they are changed in place."""
        # A finite sum has no missing number.
        known = np.isfinite(np.dot(np.ones(len(exposures)), exposures)).reshape(-1)
        if not known.all():
            known = np.isfinite(exposures).all(axis=0).reshape(-1)
            exposures[:, ~known] = 0.0
        return cls(exposures, known)


def share_covered(weights: FloatArray, known: Mask) -> FloatArray:
    """Give the share (p,) of gross weight (p, n) in assets that are ``known`` (n,)."""
    if known.all():
        return np.ones(len(weights))
    gross = np.abs(weights)
    lost, kept = gross[:, ~known].sum(axis=1), gross[:, known].sum(axis=1)
    with np.errstate(invalid="ignore"):
        share = kept / (lost + kept)
    # One only if nothing is lost.
    covered: FloatArray = np.where(lost > 0, np.minimum(share, np.nextafter(1, 0)), 1.0)
    return covered


@dataclass(frozen=True, slots=True)
class Risks:
    """The risk of p portfolios, and where it comes from; NaN where it is not known.

    Attributes
    ----------
    exposures
        (p, k) of what is covered.
    covered
        (p,) share of gross weight in assets with exposures and specific risk.
    risk, factor_risk, specific_risk
        (p,) standard deviations of return: of all, of factors, of specific returns.
    volatility
        (k,) standard deviations of factors.
    correlation
        (p, k + 1) of each factor, and of specific returns, with the portfolio.
    contribution
        (p, k + 1) to the risk, whose sum it is.
    marginal
        (p, n) change of risk per weight; weights times these are contributions of assets.
    """

    exposures: FloatArray
    covered: FloatArray
    risk: FloatArray
    factor_risk: FloatArray
    specific_risk: FloatArray
    volatility: FloatArray
    correlation: FloatArray
    contribution: FloatArray
    marginal: FloatArray


def portfolio_risks(
    weights: FloatArray,
    assets: Assets,
    specific_risk: FloatArray,
    covariance: FloatArray,
    *,
    with_marginal: bool = True,
) -> Risks:
    """Compute the risk of portfolios.

    Parameters
    ----------
    weights
        (p, n), zero where an asset is not held.
    assets
        The n assets.
    specific_risk
        (n,), NaN if unknown.
    covariance
        (k, k), NaN where unknown.
    with_marginal
        Whether ``marginal`` is wanted; it is empty otherwise.
    """
    known = assets.known & np.isfinite(specific_risk)
    covered = share_covered(weights, known)
    x = weights @ assets.exposures.T
    unknown = np.isnan(covariance)
    F = np.where(unknown, 0.0, covariance)
    variances = np.square(np.where(known, specific_risk, 0.0))
    Fx = x @ F
    factor_variance = (x * Fx).sum(axis=1)
    size = np.abs(x * Fx).sum(axis=1)
    specific_variance = np.square(weights) @ variances
    lost = covered < 1
    # A covariance that is not positive semi-definite, beyond rounding, has no risk.
    lost |= factor_variance < -ROUNDING * size
    factor_variance = np.maximum(factor_variance, 0)
    if unknown.any():
        held = np.abs(x) > ROUNDING * (np.abs(weights) @ np.abs(assets.exposures.T))
        lost |= ((held @ unknown) & held).any(axis=1)
    factor_variance[lost] = specific_variance[lost] = np.nan
    risk = np.sqrt(factor_variance + specific_variance)
    volatility = np.sqrt(np.maximum(np.diagonal(covariance), 0))
    parts = np.column_stack([x * Fx, specific_variance])
    specific = np.sqrt(specific_variance)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Without risk there is nothing to share.
        contribution = np.where(risk[:, None] > 0, parts / risk[:, None], 0 * parts)
        contribution[lost] = np.nan
        correlation = np.column_stack([Fx / volatility, specific]) / risk[:, None]
        marginal = np.empty((len(weights), 0))
        if with_marginal:
            marginal = (Fx @ assets.exposures + weights * variances) / risk[:, None]
    # Of a factor that is unknown, or never moves.
    correlation[~np.isfinite(correlation)] = np.nan
    return Risks(
        x,
        covered,
        risk,
        np.sqrt(factor_variance),
        specific,
        volatility,
        correlation,
        contribution,
        marginal,
    )


def betas(
    weights: FloatArray,
    benchmark: FloatArray,
    assets: Assets,
    specific_risk: FloatArray,
    covariance: FloatArray,
    benchmark_risk: float,
) -> FloatArray:
    """Give the covariance of portfolios (p, n) with a benchmark (n,) over its variance.

    NaN if the risk of the benchmark is zero or unknown; meaningless where that of a portfolio is.
    """
    if not benchmark_risk > 0:
        return np.full(len(weights), np.nan)
    F = np.where(np.isnan(covariance), 0.0, covariance)
    variances = np.square(np.where(np.isfinite(specific_risk), specific_risk, 0.0))
    with_factors = (weights @ assets.exposures.T) @ (F @ (assets.exposures @ benchmark))
    shared: FloatArray = with_factors + weights @ (benchmark * variances)
    return shared / benchmark_risk**2
