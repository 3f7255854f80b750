"""Factor-mimicking portfolios: the holdings whose returns are the factor returns. Arrays only.

Given its robustness weights, an estimate is linear in the returns: b = (X'VX)^-1 X'V y with V the
regression weights times the robustness weights. Its rows are portfolios.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vbase_py_utils.design import Exposures, columns_of
from vbase_py_utils.families import Members, Part, parts_of
from vbase_py_utils.robust import FloatArray
from vbase_py_utils.threads import run_together

# Periods that a thread takes at a time.
TOGETHER = 16


def factor_holdings(
    X: Exposures,
    families: Sequence[Members],
    w: FloatArray | None,
    starts: NDArray[np.intp],
    robustness_weights: FloatArray,
    rows: NDArray[np.intp] | None = None,
) -> FloatArray:
    """Compute the holdings (N, K) of the usable rows in the portfolios of all factors.

    X, families, w, starts and rows as for ``fit_families``; ``robustness_weights`` (N,) of the
    usable rows, NaN in periods that are to have no portfolios. Holdings, in units of 1 / exposure,
    times returns sum to the factor return. NaN in these periods, and for absent categories.
    """
    columns = columns_of(X)
    n_factors = len(columns) + sum(family.n_categories for family in families)
    holdings = np.full((starts[-1], n_factors), np.nan)
    for part in parts_of(columns, families, starts, rows):
        # A root of each, as their product may be too small a number.
        roots = np.sqrt(robustness_weights[part.places])
        if w is not None:
            roots = roots * np.sqrt(w[part.rows])

        def fill(some: NDArray[np.intp], part: Part = part, roots: FloatArray = roots) -> None:
            for p in some:
                t, own = part.periods[p], slice(part.starts[p], part.starts[p + 1])
                if len(roots[own]) and np.isfinite(roots[own]).all():
                    X = np.column_stack([column[own] for column in part.X])
                    weights = part.combinations[p] @ _estimator(X, roots[own])
                    holdings[starts[t] : starts[t + 1], part.present[p]] = weights.T

        every = np.arange(len(part.periods))
        run_together(fill, np.array_split(every, 1 + len(every) // TOGETHER))
    return holdings


def _estimator(X: FloatArray, roots: FloatArray) -> FloatArray:
    """Compute (X'VX)^-1 X'V (k, n) of X (n, k), the square ``roots`` of V (n,) given."""
    roots = roots / roots.max()
    A = X * roots[:, None]
    exponents = np.frexp(np.abs(A).max(axis=0))[1]
    A = np.ldexp(A, -exponents)
    norms = np.sqrt((A**2).sum(axis=0))
    Q, R = np.linalg.qr(A / norms)
    weights = np.linalg.solve(R, (Q * roots[:, None]).T) / norms[:, None]
    return np.asarray(np.ldexp(weights, -exponents[:, None]))
