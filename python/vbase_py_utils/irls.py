"""The Huber estimator over a block of periods: arrays in, one frozen record of arrays out.

The estimate of a period is the limit of iteratively reweighted least squares (IRLS) from the
weighted least-squares start, where the scale s is the median of |u| about zero over its normal
value, taken anew at every step. IRLS finds the branch, then a joint Newton iteration in (b, s)
finishes; whenever Newton strays it goes back to the saved IRLS point.

In this module A and y are the whitened, scaled design and returns, u = y - A b. Residuals are
updated by what a step changes, so that rounding does not blur the end of the iteration.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from numbers import Real
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack, lstsq

from vbase_py_utils.design import EPS, Problem, cholesky, prepare, whiten
from vbase_py_utils.robust import HUBER_T, MAD_PER_SIGMA, FloatArray, mad_about_zero, middle_ranks

# Smallest pivot, relative to that of A'A, at which a downdated matrix is still trusted.
MIN_IRLS_PIVOT, MIN_NEWTON_PIVOT = 1e-4, 1e-5
# The Newton phase, see _iterate. A constant switch of 0.1 led to another solution than IRLS in 11
# of 48,000 hard random problems, 0.03 in 1 to 4; this rule in 1, at 7 steps in the median.
NEWTON_SWITCH, NEWTON_STEPS = 0.1, 8
FAST_RATE = 0.4
NEWTON_MIN_DENOMINATOR = 1e-6
NEWTON_SCALE_RANGE = 0.5, 2.0


class Status(IntEnum):
    """How the fit of a period ended; the first three have coefficients."""

    converged = 0
    max_iter = 1
    exact_fit = 2
    rank_deficient = 3
    too_few_assets = 4


# The endings whose coefficients are the estimate.
ANSWERED = (Status.converged.name, Status.exact_fit.name)


@dataclass(frozen=True)  # without slots, so that the class attributes are the defaults
class SolverOptions:
    """What the solver is asked for.

    ``huber_t``: tuning constant in units of the scale, > 0, infinity for least squares.
    ``tol``: stop when no fitted value moves by more than ``tol`` scales. ``max_iter``: most steps.
    Raises TypeError for what is no number, ValueError for numbers out of range.
    """

    huber_t: float = HUBER_T
    tol: float = 1e-10
    max_iter: int = 1000

    def __post_init__(self) -> None:
        """Refuse values the solver has no meaning for; take any number type as a Python number."""
        for name in ("huber_t", "tol", "max_iter"):
            if not isinstance(getattr(self, name), Real):
                raise TypeError(f"{name} is {getattr(self, name)!r}, expected a number")
        if not self.huber_t > 0:
            raise ValueError(f"huber_t is {self.huber_t!r}, expected a number > 0 or infinity")
        if not 0 < self.tol < 1:
            raise ValueError(f"tol is {self.tol!r}, expected a number between 0 and 1")
        if not (self.max_iter >= 1 and float(self.max_iter).is_integer()):
            raise ValueError(f"max_iter is {self.max_iter!r}, expected a whole number >= 1")
        # A number of lower precision would carry it into the arithmetic.
        object.__setattr__(self, "huber_t", float(self.huber_t))
        object.__setattr__(self, "tol", float(self.tol))
        object.__setattr__(self, "max_iter", int(self.max_iter))


@dataclass(frozen=True, slots=True)
class PeriodFits:
    """The fits of T periods on k exposures.

    ``coefficients`` (T, k) and ``scale`` (T,): float, NaN where the status says there is no
    answer. ``n_iter`` (T,): steps taken, those of an abandoned Newton phase included. ``status``
    (T,): codes of ``Status``. ``collinear`` (T, k): True for the columns of a linear dependence.
    """

    coefficients: FloatArray
    scale: FloatArray
    n_iter: NDArray[np.int32]
    status: NDArray[np.uint8]
    collinear: NDArray[np.bool_]


class _Point(NamedTuple):
    """An iterate: coefficients b (k,), residuals u (n,), scale s.

    ``fresh`` is the scale when u was last computed from b instead of updated.
    """

    b: FloatArray
    u: FloatArray
    s: float
    fresh: float


class _Ending(NamedTuple):
    point: _Point
    n_iter: int
    status: Status


def fit_periods(
    X: FloatArray,
    y: FloatArray,
    w: FloatArray | None,
    starts: NDArray[np.intp],
    options: SolverOptions,
) -> PeriodFits:
    """Fit every period of a block on its own.

    X (N, k) exposures, y (N,) returns, w (N,) regression weights or None for equal ones: usable
    rows only, that is finite and w > 0, those of a period together. Period t has the rows
    starts[t] to starts[t + 1]; ``starts`` has T + 1 entries and an empty period is allowed.
    Never raises for a bad period and never warns: the status tells.
    """
    n_periods, n_factors = len(starts) - 1, X.shape[1]
    coefficients = np.full((n_periods, n_factors), np.nan)
    scale = np.full(n_periods, np.nan)
    n_iter = np.zeros(n_periods, dtype=np.int32)
    status = np.full(n_periods, Status.too_few_assets, dtype=np.uint8)
    collinear = np.zeros((n_periods, n_factors), dtype=np.bool_)
    root_w = None if w is None else np.sqrt(w)
    # Underflow and overflow at the ends of the number range are the user's units, not a defect.
    with np.errstate(under="ignore", over="ignore"):
        for t in range(n_periods):
            rows = slice(starts[t], starts[t + 1])
            if starts[t + 1] - starts[t] < n_factors:
                continue
            A, v, to_b, to_s = whiten(X[rows], y[rows], None if root_w is None else root_w[rows])
            problem = prepare(A, v)
            if not isinstance(problem, Problem):
                status[t], collinear[t] = Status.rank_deficient, problem
                continue
            point, n_iter[t], status[t] = _fit(problem, options)
            coefficients[t] = np.ldexp(problem.coefficients(point.b), to_b)
            scale[t] = np.ldexp(point.s, to_s)
    return PeriodFits(coefficients, scale, n_iter, status, collinear)


def _solve(factor: FloatArray, right: FloatArray) -> FloatArray:
    solution, _ = lapack.dpotrs(factor, right, lower=1)
    return np.asarray(solution)


def _fit(problem: Problem, options: SolverOptions) -> _Ending:
    """Start from least squares, then iterate."""
    A, y = problem.A, problem.y
    n, k = A.shape
    b = _solve(problem.factor, A.T @ y)
    b += _solve(problem.factor, A.T @ (y - A @ b))
    start = _fresh_point(problem, b)
    spread = float(np.sqrt(start.u @ start.u / n))
    magnitude = float(problem.row_sizes(problem.coefficients(start.b)).max())
    if n == k or spread <= 8 * EPS * magnitude:
        return _Ending(start, 0, Status.exact_fit)
    end = _iterate(problem, start, options, spread, max(1e-12 * spread, 8 * EPS * magnitude))
    # The scale of the record is that of the final residuals, to the last digit.
    return end._replace(point=end.point._replace(s=mad_about_zero(end.point.u)))


def _fresh_point(problem: Problem, b: FloatArray) -> _Point:
    u = problem.y - problem.A @ b
    s = mad_about_zero(u)
    return _Point(b, u, s, s)


def _collapsed(problem: Problem, point: _Point, spread: float) -> bool:
    """Whether the scale is no more than rounding of the typical row, or 1e-12 of the spread.

    Typical is the upper quartile: a wild return does not hide the scale of all others, and
    returns that are mostly zero still have a magnitude.
    """
    sizes = problem.row_sizes(problem.coefficients(point.b))
    typical = float(np.quantile(sizes, 0.75)) or float(sizes.max())
    return point.s <= max(1e-12 * min(spread, typical), 8 * EPS * typical)


def _iterate(
    problem: Problem, start: _Point, options: SolverOptions, spread: float, suspect: float
) -> _Ending:
    """IRLS, then guarded joint Newton, until no residual moves by more than tol * s.

    Newton begins when an IRLS step moved no residual by more than ``switch`` scales, or a tenth of
    that where the steps shrink slowly, as they do when another solution is near. It is given up,
    back to the IRLS point where it began and with a switch ten times smaller, when a step is
    refused, the scale or a residual goes out of reach of that point, or after NEWTON_STEPS.
    ``spread`` is the root mean square of the start; a scale below ``suspect`` may have collapsed.
    """
    t, tol = options.huber_t, options.tol
    point, switch = start, 0.0 if np.isinf(t) else NEWTON_SWITCH
    saved: _Point | None = None  # where Newton began, while it runs
    reach, steps, last_change = 0.0, 0, np.inf
    for n_iter in range(1, options.max_iter + 1):
        if saved is None:
            # The least-squares estimate has no scale that could collapse.
            if point.s <= suspect and np.isfinite(t) and _collapsed(problem, point, spread):
                return _Ending(point, n_iter - 1, Status.exact_fit)
            new = _irls_step(problem, point, t)
            change = _distance(new, point)
            if change <= max(tol * point.s, _noise(point, t)):
                return _Ending(new, n_iter, Status.converged)
            fast = change <= FAST_RATE * last_change
            if change <= (switch if fast else switch / 10) * point.s:
                saved, reach, steps = new, _reach(change, last_change), 0
            point, last_change = new, change
            continue
        candidate = _newton_step(problem, point, t)
        steps += 1
        if candidate is not None and _near(candidate, saved, reach):
            change = max(_distance(candidate, point), abs(candidate.s - point.s))
            point = candidate
            if change <= max(tol * point.s, _noise(point, t)):
                return _Ending(point, n_iter, Status.converged)
            if steps < NEWTON_STEPS:
                continue
        point, saved, switch = saved, None, switch / 10
    return _Ending(point, options.max_iter, Status.max_iter)


def _noise(point: _Point, t: float) -> float:
    """Bound what rounding of the clipped residuals alone moves in a step."""
    largest = float(np.abs(point.u).max())
    return 64 * EPS * (largest if np.isinf(t) else min(t * point.s, largest))


def _reach(change: float, last_change: float) -> float:
    """How far from its start Newton may go: 8 times as far as IRLS would, at its present rate.

    A linear iteration whose last step was ``change`` and whose steps shrink by ``rate`` has
    change * rate / (1 - rate) to go. At least three times the last step, as the rate may rise.
    """
    rate = min(change / last_change, 0.999)
    return change * max(3.0, 8.0 * rate / (1.0 - rate))


def _distance(a: _Point, b: _Point) -> float:
    return float(np.abs(a.u - b.u).max())


def _near(candidate: _Point, saved: _Point, reach: float) -> bool:
    low, high = NEWTON_SCALE_RANGE
    return low * saved.s <= candidate.s <= high * saved.s and _distance(candidate, saved) <= reach


def _irls_step(problem: Problem, point: _Point, t: float) -> _Point:
    """One reweighted least-squares step in delta form: db = (A'WA)^-1 A' psi_s(u)."""
    A, u = problem.A, point.u
    cut = t if np.isinf(t) else t * point.s
    size = np.abs(u)
    outlying = np.flatnonzero(size > cut)
    factor: FloatArray | None = problem.factor
    if outlying.size:
        rows = A.take(outlying, axis=0)
        lost = 1.0 - cut / size[outlying]
        factor = _downdated(problem, rows, rows * lost[:, None], MIN_IRLS_PIVOT)
    if factor is not None:
        db = _solve(factor, A.T @ np.clip(u, -cut, cut))
    else:
        # The outlying rows carry a direction nearly alone: no subtraction, no squared condition.
        root = np.sqrt(np.minimum(1.0, cut / np.maximum(size, cut)))
        db = lstsq(
            A * root[:, None], u * root, check_finite=False, lapack_driver="gelsy", cond=EPS
        )[0]
    b, u = point.b + db, u - A @ db
    s = mad_about_zero(u)
    if s < 0.5 * point.fresh:
        # The rounding of larger residuals must not stay in smaller ones.
        return _fresh_point(problem, b)
    return _Point(b, u, s, point.fresh)


def _newton_step(problem: Problem, point: _Point, t: float) -> _Point | None:
    """One Newton step for A' psi_s(u) = 0 and median|u| = MAD_PER_SIGMA * s together.

    With o the outlying rows, H = A'A - Ao'Ao, p = H^-1 A' psi_s(u) and q = H^-1 t sum_o sign(u) x,
    db = p + (s+ - s) q; the median condition, linear along the one or two rows in the middle,
    gives s+. None where this has no safe answer.
    """
    A, u, s = problem.A, point.u, point.s
    cut = t * s
    size = np.abs(u)
    outlying = np.flatnonzero(size > cut)
    factor, q = problem.factor, np.zeros(A.shape[1])
    if outlying.size:
        rows = A.take(outlying, axis=0)
        inlying_factor = _downdated(problem, rows, rows, MIN_NEWTON_PIVOT)
        if inlying_factor is None:
            return None
        factor = inlying_factor
        q = _solve(factor, t * (np.sign(u[outlying]) @ rows))
    p = _solve(factor, A.T @ np.clip(u, -cut, cut))
    ranks = middle_ranks(u.size)
    middle = np.argpartition(size, ranks)[list(ranks)]
    xm = 0.5 * (np.sign(u[middle]) @ A[middle])
    am = float(size[middle].mean())
    denominator = MAD_PER_SIGMA + float(xm @ q)
    if denominator <= NEWTON_MIN_DENOMINATOR:
        return None
    s_new = (am - float(xm @ p) + s * float(xm @ q)) / denominator
    db = p + (s_new - s) * q
    return _Point(point.b + db, u - A @ db, s_new, point.fresh)


def _downdated(
    problem: Problem, rows: FloatArray, weighted: FloatArray, min_pivot: float
) -> FloatArray | None:
    """Cholesky factor of A'A - rows' weighted; None where cancellation leaves too little of it."""
    factor = cholesky(problem.gram - rows.T @ weighted)
    if factor is None or np.any(np.diag(factor) < min_pivot * np.diag(problem.factor)):
        return None
    return factor
