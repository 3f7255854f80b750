"""Either estimator by one call: the Huber fit, or the MM estimate that starts from one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vbase_py_utils.kernel.covariance import CovType
from vbase_py_utils.kernel.inference import Inference, assess_periods
from vbase_py_utils.kernel.irls import fit_periods
from vbase_py_utils.kernel.losses import FloatArray
from vbase_py_utils.kernel.mm import fit_and_assess_mm, fit_mm
from vbase_py_utils.kernel.period_fits import Done, PeriodFits, SolverOptions
from vbase_py_utils.kernel.stacks import Block, Exposures, columns_of


def estimate(
    X: Exposures,
    y: FloatArray,
    w: FloatArray | None,
    starts: NDArray[np.intp],
    options: SolverOptions,
    rows: NDArray[np.intp] | None = None,
    done: Done | None = None,
    *,
    n_numeric: int | None = None,
) -> PeriodFits:
    """Fit every period of a block; arguments as for ``fit_periods``.

    ``n_numeric``: how many columns of X, from the first, hold numbers and no categories; ``None``:
    all.
    """
    if options.estimator == "huber":
        return fit_periods(X, y, w, starts, options, rows, done)
    return fit_mm(Block(columns_of(X), y, w, starts, rows), options, n_numeric, done)


def estimate_and_assess(
    X: Exposures,
    y: FloatArray,
    w: FloatArray | None,
    starts: NDArray[np.intp],
    options: SolverOptions,
    rows: NDArray[np.intp] | None = None,
    done: Done | None = None,
    *,
    cov_type: CovType | None,
    n_numeric: int | None = None,
    combinations: FloatArray | None = None,
) -> tuple[PeriodFits, Inference]:
    """Fit every period of a block as ``estimate``, and assess the fits.

    ``combinations`` and ``cov_type`` as for ``assess_periods``; the MM estimate has its own
    standard errors, whatever ``cov_type`` is.
    """
    columns = columns_of(X)
    if options.estimator == "mm":
        block = Block(columns, y, w, starts, rows)
        return fit_and_assess_mm(block, options, n_numeric, done, combinations)
    fits = fit_periods(columns, y, w, starts, options, rows, done)
    trust = assess_periods(
        columns,
        y,
        w,
        starts,
        fits,
        loss=options.loss,
        cov_type=cov_type,
        rows=rows,
        combinations=combinations,
    )
    return fits, trust
