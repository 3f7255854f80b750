"""The solver's options, and its answer: statuses, the fits of periods, their fitted values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from numbers import Real
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from vbase_py_utils.kernel.losses import HUBER_T, FloatArray, Huber, Loss
from vbase_py_utils.kernel.stacks import Exposures, columns_of
from vbase_py_utils.kernel.threads import run_together

Estimator = Literal["huber", "mm"]


class Status(IntEnum):
    """How the fit of a period ended; the first three have coefficients."""

    converged = 0
    max_iter = 1
    exact_fit = 2
    rank_deficient = 3
    too_few_assets = 4


# Below, a bisquare is no better than the start; above, it is hardly bounded any more.
EFFICIENCIES = 0.3, 0.9999
# The endings whose coefficients are the estimate.
ANSWERED = (Status.converged.name, Status.exact_fit.name)


# What is called with the number of periods fitted since its last call, on any thread.
Done = Callable[[int], None]


@dataclass(frozen=True)  # without slots, so that the class attributes are the defaults
class SolverOptions:
    """The options of the solver.

    Raises TypeError for what is no number, ValueError for numbers out of range.

    Attributes
    ----------
    huber_t
        Tuning constant of the Huber fit in units of the scale, > 0; infinity for least squares.
    tol
        Stop when no fitted value moves by more than ``tol`` scales.
    max_iter
        The largest number of steps; for an MM estimate of its start, and of its end.
    estimator
        "huber", or "mm": the MM estimate that starts from a Huber fit.
    efficiency
        Asymptotic efficiency of the MM estimate at the normal, from 0.3 to 0.9999.
    """

    huber_t: float = HUBER_T
    tol: float = 1e-10
    max_iter: int = 1000
    estimator: Estimator = "huber"
    efficiency: float = 0.95

    def __post_init__(self) -> None:
        """Refuse values the solver has no meaning for; take any number type as a Python number."""
        names = ("huber_t", "tol", "max_iter", "efficiency")
        huber_t, tol, max_iter, efficiency = (_float(self, name) for name in names)
        if not huber_t > 0:
            given = _short(self.huber_t)
            raise ValueError(f"huber_t is {given}, expected a number > 0 or infinity")
        if not 0 < tol < 1:
            raise ValueError(f"tol is {_short(self.tol)}, expected a number between 0 and 1")
        if not (max_iter >= 1 and max_iter.is_integer()):
            raise ValueError(f"max_iter is {_short(self.max_iter)}, expected a whole number >= 1")
        if self.estimator not in get_args(Estimator):
            raise ValueError(f"estimator is {self.estimator!r}, expected 'huber' or 'mm'")
        low, high = EFFICIENCIES
        if not low <= efficiency <= high:
            given = _short(self.efficiency)
            raise ValueError(f"efficiency is {given}, expected a number from {low} to {high}")
        # A number of lower precision would carry it into the arithmetic.
        object.__setattr__(self, "huber_t", huber_t)
        object.__setattr__(self, "tol", tol)
        object.__setattr__(self, "max_iter", int(max_iter))
        object.__setattr__(self, "efficiency", efficiency)

    @property
    def loss(self) -> Loss:
        """The loss whose sum the Huber fit makes stationary."""
        return Huber(self.huber_t)


def _short(number: float) -> str:
    """Write a number for a message."""
    text = repr(number)
    return text if len(text) <= 30 else f"{number:g}"


def _float(options: SolverOptions, name: str) -> float:
    """Take an option of any number type; a Boolean is none."""
    value = getattr(options, name)
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} is of type {type(value).__name__}, expected a number")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} is beyond the range of a float, expected less") from None


@dataclass(frozen=True, slots=True)
class PeriodFits:
    """The fits of T periods on k exposures.

    Attributes
    ----------
    coefficients
        (T, k) estimates, NaN where the status says there is no answer.
    scale
        (T,) of the residuals times sqrt(w), NaN as above.
    n_iter
        (T,) steps taken, those of an abandoned Newton phase included.
    status
        (T,) codes of ``Status``.
    collinear
        (T, k) whether the column is part of a linear dependence.
    n_estimated
        (T,) how many coefficients there are to estimate: k, fewer under constraints.
    only_start_deficient
        (T,) whether columns are collinear only where the MM estimate starts, without rows far out.
    """

    coefficients: FloatArray
    scale: FloatArray
    n_iter: NDArray[np.int32]
    status: NDArray[np.uint8]
    collinear: NDArray[np.bool_]
    n_estimated: NDArray[np.intp]
    only_start_deficient: NDArray[np.bool_]

    @classmethod
    def unanswered(cls, n_periods: int, n_factors: int) -> PeriodFits:
        """Build the record of periods that have too few assets."""
        return cls(
            coefficients=np.full((n_periods, n_factors), np.nan),
            scale=np.full(n_periods, np.nan),
            n_iter=np.zeros(n_periods, dtype=np.int32),
            status=np.full(n_periods, Status.too_few_assets, dtype=np.uint8),
            collinear=np.zeros((n_periods, n_factors), dtype=np.bool_),
            n_estimated=np.full(n_periods, n_factors),
            only_start_deficient=np.zeros(n_periods, dtype=np.bool_),
        )


# Rows that are copied row by row together for their fitted values: few enough to stay in a cache.
FITTED_TOGETHER = 2**15


def fitted_values(
    X: Exposures,
    coefficients: FloatArray,
    starts: NDArray[np.intp],
    rows: NDArray[np.intp] | None = None,
) -> FloatArray:
    """X b for every row of a block: X, starts, rows as for ``fit_periods``, coefficients (T, k).

    NaN where an exposure is not finite or the period has no coefficients.
    """
    columns = columns_of(X)
    fitted = np.empty(starts[-1])

    def fit(first: int) -> None:
        last = min(first + step, len(coefficients))
        begin = starts[first]
        # Row by row in memory: the product of a row is then the same wherever it stands.
        some: slice | NDArray[np.intp] = slice(begin, starts[last])
        if rows is not None:
            some = rows[some]
        together = np.stack([column[some] for column in columns], axis=1)
        with np.errstate(all="ignore"):
            for t in range(first, last):
                own = slice(starts[t], starts[t + 1])
                chunk = together[starts[t] - begin : starts[t + 1] - begin]
                np.matmul(chunk, coefficients[t], out=fitted[own])

    step = max(1, FITTED_TOGETHER * len(coefficients) // max(1, len(fitted)))
    run_together(fit, list(range(0, len(coefficients), step)))
    if not np.isfinite(fitted).all():
        for column in columns:
            finite = np.isfinite(column)
            fitted[~(finite if rows is None else finite[rows])] = np.nan
    return fitted
