"""Where the returns of portfolios in one period came from. Arrays only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vbase_py_utils.kernel.linking import carino_factors
from vbase_py_utils.kernel.losses import FloatArray
from vbase_py_utils.kernel.portfolio_risk import Assets, share_covered


@dataclass(frozen=True, slots=True)
class Attributed:
    """The returns of p portfolios in a period, in parts.

    Attributes
    ----------
    total
        (p,) returns; NaN if unknown.
    exposures
        (p, k) of what is covered.
    contributions
        (p, k + 2) of factors, specific returns and what is unattributed, whose sum is the total.
        Without factor returns, all but the last are NaN, and the last is the total.
    covered
        (p,) share of gross weight in assets with exposures, a return and a specific return.
    n_uncovered
        (p,) how many assets held lack one of these.
    """

    total: FloatArray
    exposures: FloatArray
    contributions: FloatArray
    covered: FloatArray
    n_uncovered: NDArray[np.integer[Any]]


def attributed(
    weights: FloatArray,
    assets: Assets,
    fitted_returns: FloatArray,
    returns: FloatArray,
    factor_returns: FloatArray,
    beside: FloatArray,
) -> Attributed:
    """Split the returns of portfolios into those of factors, specific ones and the rest.

    Parameters
    ----------
    weights
        (p, n), zero where an asset is not held.
    assets
        The n assets.
    fitted_returns
        (n,) the returns that factors were fitted to, NaN if missing: less what factors explain,
        they are specific returns.
    returns
        (n,) the returns to be attributed, NaN if missing.
    factor_returns
        (k,), NaN where a factor has none.
    beside
        (p,) returns that holdings do not explain, such as those of trades; NaN if the total is
        unknown.
    """
    no_return = np.isnan(factor_returns)
    f = np.where(no_return, 0.0, factor_returns)
    specific = fitted_returns - f @ assets.exposures
    without = (assets.exposures[no_return] != 0).any(axis=0)
    there = np.isfinite(returns)
    failed = bool(no_return.all()) and len(f) > 0
    known = assets.known & np.isfinite(specific) & there & ~without & (not failed)
    x = (weights * (assets.known if failed else known)) @ assets.exposures.T
    own = weights * known
    earned = np.where(there, returns, 0.0)
    # What a return differs by from the one that was fitted is nobody's.
    apart = earned - np.where(known, fitted_returns, 0.0)
    rest, total = weights @ apart + beside, weights @ earned + beside
    parts = np.column_stack([x * f, own @ np.where(known, specific, 0.0), rest])
    held = weights != 0
    if failed:
        parts[:, :-1] = np.nan
    parts[np.isnan(total)] = np.nan
    return Attributed(
        total, x, parts, share_covered(weights, known), np.count_nonzero(held & ~known, axis=1)
    )


@dataclass(frozen=True, slots=True)
class Linked:
    """Contributions over all periods: linked to the compounded return, and to its volatility.

    Both (k,); the first add up to the compounded return, less that of the benchmark if there is
    one, and the second to the standard deviation of the total.
    """

    contribution: FloatArray
    volatility_contribution: FloatArray


def linked(contributions: FloatArray, returns: FloatArray, benchmark: FloatArray) -> Linked:
    """Link contributions (T, k), whose sums are ``returns`` less ``benchmark`` (T,), over time.

    NaN counts as nothing. Returns are above -1; without a benchmark it is zeros. The contribution
    to volatility is Cov(contribution, total) / sd(total), NaN with fewer than two periods.
    """
    parts = np.nan_to_num(contributions, nan=0.0)
    if not len(parts):
        return Linked(np.full(parts.shape[1], np.nan), np.full(parts.shape[1], np.nan))
    total = returns - benchmark
    sums = carino_factors(returns, benchmark) @ parts
    if len(parts) < 2:
        return Linked(sums, np.full(parts.shape[1], np.nan))
    apart = total - total.mean()
    sd = float(np.sqrt(apart @ apart / (len(total) - 1)))
    shared = apart @ (parts - parts.mean(axis=0)) / (len(total) - 1)
    return Linked(sums, shared / sd if sd > 0 else 0 * shared)
