"""Factor-mimicking portfolios: the holdings whose returns are the factor returns. Arrays only.

Given its robustness weights, an estimate is linear in the returns: b = (X'VX)^-1 X'V y with V the
regression weights times the robustness weights. Its rows are portfolios.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vbase_py_utils.kernel.categories import Members, Part, parts_of
from vbase_py_utils.kernel.linalg import each
from vbase_py_utils.kernel.losses import FloatArray
from vbase_py_utils.kernel.stacks import Exposures, columns_of, exponents_of
from vbase_py_utils.kernel.threads import run_together

# Periods that a thread takes at a time: fewer cost calls, more leave a thread without work at the
# end.
TOGETHER = 16


class Holdings(NamedTuple):
    """``holdings`` (H,) of ``usable`` rows (H,) in the portfolios of ``factors`` (H,).

    In units of 1 / exposure: times returns they sum to the factor return.
    """

    usable: NDArray[np.intp]
    factors: NDArray[np.intp]
    holdings: FloatArray

    @classmethod
    def together(cls, parts: Sequence[Holdings]) -> Holdings:
        """Join the holdings of periods apart, in the order of the rows."""
        if len(parts) == 1:
            return parts[0]
        usable, factors = (
            np.concatenate([np.empty(0, dtype=np.intp), *arrays])
            for arrays in ([part.usable for part in parts], [part.factors for part in parts])
        )
        holdings = np.concatenate([np.empty(0), *(part.holdings for part in parts)])
        order = np.argsort(usable, kind="stable")
        return cls(usable[order], factors[order], holdings[order])


def factor_holdings(
    X: Exposures,
    families: Sequence[Members],
    w: FloatArray | None,
    starts: NDArray[np.intp],
    robustness_weights: FloatArray,
    rows: NDArray[np.intp] | None = None,
    *,
    intercept: bool,
) -> Holdings:
    """Compute the portfolios of all factors present, row by row.

    X, families, w, starts, rows and intercept as for ``fit_families``; ``robustness_weights`` (N,)
    of the usable rows, NaN in periods that have no portfolios.
    """
    parts = []
    for part in parts_of(columns_of(X), families, w, starts, rows, intercept=intercept):
        # A root of each, as their product may be too small a number.
        roots = np.sqrt(robustness_weights[part.usable])
        if w is not None:
            roots = roots * np.sqrt(w[part.rows])
        holdings = np.empty((part.starts[-1], part.present.shape[1]))
        n_periods = len(part.periods)
        run_together(
            partial(_fill, holdings, part, roots),
            np.array_split(np.arange(n_periods), 1 + n_periods // TOGETHER),
            short_calls=True,
        )
        usable = np.arange(len(robustness_weights))[part.usable]
        factors = part.present.repeat(np.diff(part.starts), axis=0)
        parts.append(_held(usable, factors, holdings))
    return Holdings.together(parts)


def _held(usable: NDArray[np.intp], factors: NDArray[np.intp], holdings: FloatArray) -> Holdings:
    """List row by row the holdings (R, q) that are numbers, of ``factors`` (R, q)."""
    usable = usable.repeat(holdings.shape[1])
    held = np.isfinite(holdings)
    if held.all():
        return Holdings(usable, factors.ravel(), holdings.ravel())
    return Holdings(usable[held.ravel()], factors[held], holdings[held])


def _fill(holdings: FloatArray, part: Part, roots: FloatArray, periods: NDArray[np.intp]) -> None:
    """Fill in the holdings (R, q) of some periods of a part, a portfolio wholly or not at all."""
    for p in periods:
        own = slice(part.starts[p], part.starts[p + 1])
        if not len(roots[own]) or np.isnan(roots[own]).any():
            holdings[own] = np.nan
            continue
        X = np.stack([column[own] for column in part.X])
        with np.errstate(all="ignore"):
            estimator = _estimator(X, roots[own])
            # A row that overflows spoils only the portfolios that use it.
            finite = np.isfinite(estimator).all(axis=1)
            estimator[~finite] = 0.0
            portfolios = part.combinations[p] @ estimator
        used = part.combinations[p] != 0
        whole = np.isfinite(portfolios).all(axis=1) & (used <= finite).all(axis=1)
        portfolios[~whole] = np.nan
        holdings[own] = portfolios.T


def _estimator(X: FloatArray, roots: FloatArray) -> FloatArray:
    """Compute (X'VX)^-1 X'V (k, n) of X' (k, n), the square ``roots`` of V (n,) given."""
    roots = roots / roots.max()
    A = X * roots
    exponents = exponents_of(A)[:, None]
    A = _ldexp(A, -exponents)
    norms = np.sqrt((A**2).sum(axis=1, keepdims=True))
    A /= norms
    triangle = np.asarray(np.linalg.qr(A.T, mode="r"))
    inverse = each(np.linalg.inv, triangle[None])[0]
    # Unlike Q this has every row to its last digits, also those of next to no weight.
    orthogonal = inverse.T @ A
    return _ldexp((inverse / norms) @ (orthogonal * roots), -exponents)


def _ldexp(A: FloatArray, exponents: NDArray[np.int32]) -> FloatArray:
    """Multiply A (k, n) by 2 to the power of ``exponents`` (k, 1), faster than NumPy does.

    In two steps, as one factor may be too large a number or too small.
    """
    half = exponents // 2
    return np.asarray(A * np.ldexp(1.0, half) * np.ldexp(1.0, exponents - half))
