"""Scores, limits and weights of groups: arrays in, arrays out, NaN where missing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vbase_py_utils.kernel.losses import FloatArray
from vbase_py_utils.kernel.scale import MAD_PER_SIGMA
from vbase_py_utils.prepare.groups import Groups

# Weights within this share of the ceiling are at it, up to rounding.
SLACK = 1e-14


def z_scores(groups: Groups, x: FloatArray, w: FloatArray | None = None) -> FloatArray:
    """Compute (x - mean) / sd, the mean weighted by w, sd with n - 1 over the rows with weight."""
    own, inside = groups.only(np.isfinite(x) if w is None else np.isfinite(x) & (w > 0))
    low, high = own.least(x[inside]), own.greatest(x[inside])
    # From 0 to 1 over rows with weight, in any units; 0 / 0 if they are all equal.
    scaled = (x - groups.spread(low)) / groups.spread(high - low)
    values = scaled[inside]
    mean = own.means(values)
    sd = np.sqrt(own.sums((values - own.spread(mean)) ** 2) / (own.sizes - 1))
    if w is not None:
        share = w[inside] / own.spread(own.greatest(w[inside]))
        mean = own.sums(share * values) / own.sums(share)
        sd[_any_negative(groups, w)] = np.nan
    return np.asarray((scaled - groups.spread(mean)) / groups.spread(sd))


def within_deviations(groups: Groups, x: FloatArray, *, k: float) -> FloatArray:
    """Clip x at k robust deviations from the median; NaN in groups whose deviation is zero."""
    own, known = groups.only(np.isfinite(x))
    values = x[known]
    middle = own.medians(values)
    sd = own.medians(np.abs(values - own.spread(middle))) / MAD_PER_SIGMA
    reach = np.where(sd > 0, k * sd, np.nan)
    return np.clip(x, groups.spread(middle - reach), groups.spread(middle + reach))


def normal_scores(groups: Groups, x: FloatArray) -> FloatArray:
    """Take normal quantiles of (rank - 1/2) / n; NaN in groups without two different values."""
    # Imported here because the import of the package needs no normal quantiles.
    from scipy.special import ndtri  # noqa: PLC0415

    own, known = groups.only(np.isfinite(x))
    values = x[known]
    n = own.sizes.astype(np.float64)
    n[~(own.least(values) < own.greatest(values))] = np.nan
    n = own.spread(n)
    # Of whole numbers, which keep the scores symmetric; below the middle no digit is lost.
    twice = 2 * own.ranks(values) - 1 - n
    scores = np.full(len(x), np.nan)
    scores[known] = np.sign(twice) * np.abs(ndtri((n - np.abs(twice)) / (2 * n)))
    return scores


def weights_of_caps(
    groups: Groups, cap: FloatArray, *, power: float, share: float | None
) -> FloatArray:
    """Take powers of market values, none above a share of the sum; where positive, of mean one."""
    own, positive = groups.only(cap > 0)
    values = cap[positive]
    w = (values / own.spread(own.greatest(values))) ** power
    if share is not None:
        w = np.minimum(w, own.spread(_ceilings(own, w, share)))
    answer = cap.copy()
    answer[positive] = w / own.spread(own.means(w))
    if not isinstance(positive, slice):
        answer[groups.spread(_any_negative(groups, cap))] = np.nan
    return answer


def _any_negative(groups: Groups, values: FloatArray) -> NDArray[np.bool_]:
    """Find the groups (G,) that have a value below zero."""
    return groups.least(np.where(values < 0, -1.0, 0.0)) < 0


def _ceilings(groups: Groups, w: FloatArray, share: float) -> FloatArray:
    """Find where to cut the weights of each group so that none is more than a share of their sum.

    With the m largest cut, ceiling = share * (sum of the others) / (1 - m * share), for the least m
    that leaves all others below it. It is found by Newton's steps downward from the largest weight:
    c - share * sum(min(w, c)) is convex in c, so no step cuts too much.
    """
    others, m = w.copy(), np.zeros(len(groups.sizes))
    while True:
        sums = groups.sums(others)
        # Where both sides are equal, as for a single row and a share of one, rounding must not
        # decide. Sums of weights are off by some units in the 16th digit: SLACK is a hundred.
        most = share * (1 + SLACK) * (groups.spread(sums) + groups.spread(m) * others)
        above = np.flatnonzero(others > most)
        if not len(above):
            break
        others[above] = 0.0
        m += np.bincount(np.searchsorted(groups.starts, above, "right") - 1, minlength=len(m))
    # With too few rows for the limit all are cut, to the least of them.
    return np.where(m < groups.sizes, share * sums / (1 - m * share), groups.least(w))
