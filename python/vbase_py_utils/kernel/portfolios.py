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
from vbase_py_utils.kernel.losses import FloatArray
from vbase_py_utils.kernel.stacks import Exposures, columns_of
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
        usable, factors = (
            np.concatenate([np.empty(0, dtype=np.intp), *arrays])
            for arrays in ([part.usable for part in parts], [part.factors for part in parts])
        )
        holdings = np.concatenate([np.empty(0), *(part.holdings for part in parts)])
        if len(parts) < 2:
            return cls(usable, factors, holdings)
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
        holdings = np.full((part.starts[-1], part.present.shape[1]), np.nan)
        n_periods = len(part.periods)
        run_together(
            partial(_fill, holdings, part, roots),
            np.array_split(np.arange(n_periods), 1 + n_periods // TOGETHER),
        )
        held = np.isfinite(holdings)
        row, factor = np.nonzero(held)
        usable = np.arange(len(robustness_weights))[part.usable]
        period = np.repeat(np.arange(n_periods), np.diff(part.starts))
        factors_held = part.present[period[row], factor]
        parts.append(Holdings(usable[row], factors_held, holdings[row, factor]))
    return Holdings.together(parts)


def _fill(holdings: FloatArray, part: Part, roots: FloatArray, periods: NDArray[np.intp]) -> None:
    """Fill in the holdings (R, q) of some periods of a part, a portfolio wholly or not at all."""
    for p in periods:
        own = slice(part.starts[p], part.starts[p + 1])
        if not len(roots[own]) or np.isnan(roots[own]).any():
            continue
        X = np.column_stack([column[own] for column in part.X])
        with np.errstate(all="ignore"):
            estimator = _estimator(X, roots[own])
            # A row that overflows spoils only the portfolios that use it.
            finite = np.asarray(np.isfinite(estimator).all(axis=1))
            portfolios = part.combinations[p] @ np.where(finite[:, None], estimator, 0.0)
        used = part.combinations[p] != 0
        whole = np.isfinite(portfolios).all(axis=1) & (used <= finite).all(axis=1)
        holdings[own] = np.where(whole[:, None], portfolios, np.nan).T


def _estimator(X: FloatArray, roots: FloatArray) -> FloatArray:
    """Compute (X'VX)^-1 X'V (k, n) of X (n, k), the square ``roots`` of V (n,) given."""
    roots = roots / roots.max()
    A = X * roots[:, None]
    exponents = np.frexp(np.abs(A).max(axis=0))[1]
    A = np.ldexp(A, -exponents)
    norms = np.sqrt((A**2).sum(axis=0))
    A /= norms
    R = np.linalg.qr(A).R
    # Unlike Q this has every row to its last digits, also those of next to no weight.
    orthogonal = np.linalg.solve(R.T, A.T)
    weights = np.linalg.solve(R, orthogonal * roots) / norms[:, None]
    return np.asarray(np.ldexp(weights, -exponents[:, None]))
