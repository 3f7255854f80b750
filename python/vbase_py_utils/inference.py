"""How far to trust a fit: standard errors, R squared, robustness weights; Newey-West for a series.

Arrays in, arrays out; nothing is estimated anew. The formulas are on the whitened, scaled design,
with z = u / s the residuals in units of the scale, so that no unit of the caller's matters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vbase_py_utils.design import (
    COLLINEAR_SHARE,
    EPS,
    Block,
    Exposures,
    Stack,
    columns_of,
    dots,
    invert,
    plan_stacks,
    stack_periods,
    weighted_gram,
)
from vbase_py_utils.irls import CORNER_SHARE, PeriodFits, Status
from vbase_py_utils.robust import FloatArray, Huber, mad_about_zero
from vbase_py_utils.threads import run_together

CovType = Literal["sandwich", "H1"]

# An eigenvalue of the inlying rows' A'A below this share of the largest is zero up to rounding.
SINGULAR_SHARE = 1e-12
# Rows that are laid out anew together for their fitted values.
FITTED_TOGETHER = 2**15
# Above this condition of theirs the question is put; below it, none can be.
MAX_INLYING_CONDITION = 1e10
# A residual below this many scales, or this many units of its rounding, may be zero because the
# fit had to go through its row. Both are generous: it is so if the leverage of the row is one.
NO_RESIDUAL, ROUNDINGS, FULL_LEVERAGE = 1e-8, 1e4, 1 - 1e-8
# Where a constraint makes all factors of a family lean on each asset a little: the share of a
# variance that residuals may say nothing about, half a percent of the error.
UNKNOWN_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class Inference:
    """What stands behind the fits of T periods on k exposures over N rows.

    ``std_errors`` (T, k), in units of the coefficients, or (T, q) of combinations of them.
    ``r_squared``, ``robust_r_squared``, ``condition_numbers`` and ``n_downweighted`` (T,).
    ``robustness_weights`` (N,), in (0, 1]. All float, NaN where there is no such number: where a
    period has no answer, and, but for ``r_squared`` and ``condition_numbers``, where it is an exact
    fit.
    """

    std_errors: FloatArray
    r_squared: FloatArray
    robust_r_squared: FloatArray
    condition_numbers: FloatArray
    n_downweighted: FloatArray
    robustness_weights: FloatArray

    @classmethod
    def unknown(cls, n_periods: int, n_errors: int, n_rows: int) -> Inference:
        """Nothing known yet of T periods, q standard errors each, over N rows."""
        shapes = ((n_periods, n_errors), *[(n_periods,)] * 4, (n_rows,))
        return cls(*(np.full(shape, np.nan) for shape in shapes))


def assess_periods(
    X: Exposures,
    y: FloatArray,
    w: FloatArray | None,
    starts: NDArray[np.intp],
    fits: PeriodFits,
    *,
    huber_t: float,
    cov_type: CovType,
    rows: NDArray[np.intp] | None = None,
    combinations: FloatArray | None = None,
) -> Inference:
    """Assess every period of a block; X, y, w, starts and rows as ``fit_periods`` got them.

    ``combinations`` (T, q, k): linear combinations of a period's coefficients whose standard errors
    are wanted instead of their own.

    Standard errors: "sandwich", n/(n-k) W^-1 [sum psi_s(u)^2 a a'] W^-1 with W = sum psi' a a', is
    consistent whatever the weights; "H1", statsmodels' default, for inverse-variance weights.
    R squared is 1 - sum w u^2 / sum w (y - mean_w y)^2; robust: w times the robustness weights.
    Source: Huber and Ronchetti (2009), Robust Statistics, section 7.6.
    """
    block = Block(columns_of(X), y, w, starts, rows)
    n_periods, n_factors = fits.coefficients.shape
    n_errors = n_factors if combinations is None else combinations.shape[1]
    record = Inference.unknown(n_periods, n_errors, starts[-1])

    def assess(periods: NDArray[np.intp]) -> None:
        with np.errstate(all="ignore"):
            stack, dependent = stack_periods(block, periods)
            if len(dependent.periods):
                raise AssertionError("a period that was fitted has a design of full rank")
            record.condition_numbers[periods] = _condition_numbers(stack)
            b = np.ldexp(fits.coefficients[periods], -stack.to_b)
            u = stack.y - (b[:, None, :] @ stack.design)[:, 0]
            held = np.isfinite(u).all(axis=1)  # else the estimate was too large to hold
            record.r_squared[periods] = np.where(held, _r_squared(stack, u), np.nan)
            held &= fits.status[periods] != Status.exact_fit
            if not held.all():
                stack, b, u = stack[held], b[held], u[held]
            wanted = _Wanted.of(stack, combinations)
            _assess_residuals(block, stack, b, u, record, huber_t, cov_type, wanted)

    sizes = np.where(np.isnan(fits.scale), 0, block.sizes)
    run_together(assess, plan_stacks(sizes, n_factors))
    record.std_errors[~np.isfinite(record.std_errors)] = np.nan
    return record


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Of which quantities the standard errors are wanted.

    ``of_design`` (P, q, k): combinations of the coefficients of the design, None for themselves;
    ``exponents`` (P, q): binary, lead from their units to those of (X, y).
    """

    of_design: FloatArray | None
    exponents: NDArray[np.int32]

    @classmethod
    def of(cls, stack: Stack, combinations: FloatArray | None) -> _Wanted:
        """Take combinations (T, q, k) of the coefficients of X to those of the design."""
        if combinations is None:
            return cls(None, stack.to_b)
        own = combinations[stack.periods]
        # Every combination in the largest unit of those that are in it.
        lowest = np.iinfo(np.int32).min
        exponents = np.where(own != 0, stack.to_b[:, None, :], lowest).max(axis=2, initial=lowest)
        exponents[exponents == lowest] = 0
        return cls(np.ldexp(own, stack.to_b[:, None, :] - exponents[:, :, None]), exponents)

    def from_design(self, directions: FloatArray, place: np.intp) -> FloatArray:
        """Combine directions (k, m) in the coefficients of the design of a period, to (q, m)."""
        return directions if self.of_design is None else self.of_design[place] @ directions

    def forget(self, variances: FloatArray, unknown: FloatArray) -> None:
        """Put NaN for variances (q,) to which too much is ``unknown`` (q,).

        That is what rows which tell nothing would add if they were like the others.
        """
        share = 0.0 if self.of_design is None else UNKNOWN_SHARE
        variances[~(unknown <= share * variances)] = np.nan


def _assess_residuals(
    block: Block,
    stack: Stack,
    b: FloatArray,
    u: FloatArray,
    record: Inference,
    huber_t: float,
    cov_type: CovType,
    wanted: _Wanted,
) -> None:
    """Fill in what depends on the scale; b (P, k) of the design, residuals u (P, n)."""
    periods, huber = stack.periods, Huber(huber_t)
    if np.isinf(huber_t):
        # Least squares has no use for the scale, which may then be zero.
        unit = np.sqrt(dots(u, u) / stack.sizes)
    else:
        unit = mad_about_zero(u, stack.ranks)
    z = _at_corners(u / unit[:, None], huber_t)
    record.n_downweighted[periods] = np.count_nonzero(np.abs(z) > huber_t, axis=1)
    weights = huber.weight(z)
    for own, period in zip(weights, periods, strict=True):
        rows = slice(block.starts[period], block.starts[period + 1])
        record.robustness_weights[rows] = own[: rows.stop - rows.start]
    record.robust_r_squared[periods] = _r_squared(stack, u, weights)
    if cov_type == "H1":
        variances = _h1_variances(stack, z, huber, wanted)
    else:
        variances = _sandwich_variances(stack, z, huber, wanted)
        for place, suspects in _without_residual(stack, b, u, unit):
            X = block.exposures(periods[place])
            moved = wanted.from_design(_moved_alone(stack, place, X, suspects), place)
            wanted.forget(variances[place], (moved**2).sum(axis=1))
    errors = unit[:, None] * np.sqrt(variances)
    record.std_errors[periods] = np.ldexp(errors, wanted.exponents)


def _without_residual(
    stack: Stack, b: FloatArray, u: FloatArray, unit: FloatArray
) -> Iterator[tuple[np.intp, NDArray[np.intp]]]:
    """Places of periods with rows whose residual may be zero but for rounding, and these rows."""
    # A bound on the size of rows: no exposure of the design and no return exceeds one.
    largest = np.maximum(1.0, np.abs(b).sum(axis=1))
    zero = np.maximum(NO_RESIDUAL * unit, ROUNDINGS * EPS * largest)
    inside = np.arange(u.shape[1]) < stack.sizes[:, None]
    for place in np.flatnonzero(((np.abs(u) <= zero[:, None]) & inside).any(axis=1)):
        rounding = ROUNDINGS * EPS * stack.row_sizes(place, b[place])
        size = np.abs(u[place, : stack.sizes[place]])
        yield place, np.flatnonzero(size <= np.maximum(NO_RESIDUAL * unit[place], rounding))


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


def _condition_numbers(stack: Stack) -> FloatArray:
    """Ratio of the extreme singular values of each design, its rows scaled to unit norm."""
    norms = np.sqrt(np.einsum("pii->pi", stack.gram))
    squares = np.linalg.eigvalsh(stack.gram / (norms[:, :, None] * norms[:, None, :]))
    conditions: FloatArray = np.sqrt(squares[:, -1] / squares[:, 0])
    if stack.triangle is not None:
        R = stack.triangle / np.sqrt((stack.triangle**2).sum(axis=1))[:, None, :]
        lengths = np.linalg.svd(R, compute_uv=False)
        conditions = np.where(stack.ill, lengths[:, 0] / lengths[:, -1], conditions)
    return conditions


def _r_squared(stack: Stack, u: FloatArray, weights: FloatArray | None = None) -> FloatArray:
    """Share (P,) of the weighted variance explained, by residuals u (P, n); ``weights`` more.

    The mean of returns is that with all weights, and NaN stands for returns that are all equal.
    """
    y, root_w = stack.y, stack.root_w
    if weights is None:
        weights = np.ones_like(u)
    mean = dots(weights * root_w, y) / dots(weights * root_w, root_w)
    apart = y - mean[:, None] * root_w
    left, total, size = (dots(weights * v, v) for v in (u, apart, y))
    return np.where(total > (8 * EPS) ** 2 * size, 1.0 - left / total, np.nan)


def _at_corners(z: FloatArray, huber_t: float) -> FloatArray:
    """Put z exactly at +-huber_t where it is there up to rounding, so that it is inlying."""
    at_corner = np.abs(np.abs(z) - huber_t) <= CORNER_SHARE * huber_t
    return np.where(at_corner, np.copysign(huber_t, z), z) if np.isfinite(huber_t) else z


def _h1_variances(stack: Stack, z: FloatArray, huber: Huber, wanted: _Wanted) -> FloatArray:
    """H1 variances (P, q) of what is wanted, in units of the squared scale."""
    n, k = stack.sizes, stack.A.shape[1]
    psi = huber.psi(z)
    m = 1 - np.count_nonzero(np.abs(z) > huber.t, axis=1) / n
    correction = 1 + (k / n) * (1 - m) / m  # psi' is 0 or 1: its variance is m (1 - m)
    inflated = correction**2 * dots(psi, psi) / (n - k) / m**2
    bread = stack.coefficients(stack.inverse)
    covariance = bread
    if stack.triangle is not None:
        covariance = stack.coefficients(bread.transpose(0, 2, 1))
    if wanted.of_design is None:
        return np.asarray(inflated[:, None] * np.einsum("pii->pi", covariance))
    spread = wanted.of_design @ covariance
    return np.asarray(inflated[:, None] * (spread * wanted.of_design).sum(axis=2))


def _sandwich_variances(stack: Stack, z: FloatArray, huber: Huber, wanted: _Wanted) -> FloatArray:
    """Sandwich variances (P, q) of what is wanted, in units of the squared scale.

    NaN for what no inlying row says enough about.
    """
    A, n, k = stack.A, stack.sizes, stack.A.shape[1]
    inlying = weighted_gram(A, huber.psi_prime(z))
    _, inverse, condition = invert(inlying)
    null: dict[np.intp, FloatArray] = {}
    for place in np.flatnonzero(~(condition <= MAX_INLYING_CONDITION)):
        inverse[place], directions = _pseudo_inverse(inlying[place])
        # As far as the outlying rows might let the estimate move along each direction.
        known = np.linalg.cholesky(directions.T @ stack.gram[place] @ directions)
        triangle = np.eye(k) if stack.triangle is None else stack.triangle[place]
        directions = _without_rounding(np.linalg.solve(triangle, directions))
        null[place] = np.abs(z[place]).max() * np.linalg.solve(known, directions.T).T
    bread, meat = stack.coefficients(inverse), weighted_gram(A, huber.psi(z) ** 2)
    if wanted.of_design is not None:
        bread = wanted.of_design @ bread
    variances: FloatArray = ((bread @ meat) * bread).sum(axis=2) * (n / (n - k))[:, None]
    for place, directions in null.items():
        unknown = (wanted.from_design(directions, place) ** 2).sum(axis=1)
        wanted.forget(variances[place], unknown)
    return variances


def _moved_alone(
    stack: Stack, place: np.intp, X: FloatArray, suspects: NDArray[np.intp]
) -> FloatArray:
    """How far (k, m) single rows move the coefficients of the design, by one scale of their own.

    Of the rows ``suspects`` of X (n, k), those through which the fit must go: without one of them
    the coefficients it moves are not determined, and its residual says nothing about their error.
    """
    if not suspects.size:
        return np.zeros((X.shape[1], 0))
    # Without weights, which would hide rows of little weight.
    exponents = np.frexp(np.abs(X).max(axis=0))[1]
    scaled = np.ldexp(X, -exponents)
    norms = np.sqrt((scaled**2).sum(axis=0))
    Q, R = np.linalg.qr(scaled / norms)
    forced = suspects[(Q[suspects] ** 2).sum(axis=1) >= FULL_LEVERAGE]
    moved = _without_rounding(np.linalg.pinv(R) @ Q[forced].T) / norms[:, None]
    moved = np.ldexp(moved, (stack.exponents[place] - exponents)[:, None])
    return np.asarray(moved / stack.root_w[place, forced])


def _without_rounding(directions: FloatArray) -> FloatArray:
    """Put zero for components of the columns of ``directions`` (k, m) that are rounding."""
    lengths = np.sqrt((directions**2).sum(axis=0))
    return np.where(np.abs(directions) > COLLINEAR_SHARE * lengths, directions, 0.0)


def _pseudo_inverse(matrix: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Pseudo-inverse of a symmetric matrix (k, k) >= 0, and its null vectors (k, m)."""
    values, vectors = np.linalg.eigh(matrix)
    regular = values > SINGULAR_SHARE * values[-1]
    kept = vectors[:, regular]
    inverse: FloatArray = kept / values[regular] @ kept.T
    return inverse, vectors[:, ~regular]


def newey_west_variance(series: FloatArray, lags: int) -> float:
    """Variance of the mean of ``series`` (T,), consecutive values in order of time; lags < T.

    Bartlett weights 1 - l / (lags + 1) on the autocovariances, divided by T - 1; ``lags`` 0 gives
    the variance of independent values, sum (x - mean)^2 / (T (T - 1)).
    Source: Newey and West (1987), Econometrica 55, 703-708.
    """
    n = len(series)
    # From the first value on, so that values which are all equal have no variance from rounding.
    apart = series - series[0]
    apart -= apart.mean()
    total = apart @ apart
    for lag in range(1, lags + 1):
        total += 2 * (1 - lag / (lags + 1)) * (apart[lag:] @ apart[:-lag])
    return max(0.0, float(total / n / (n - 1)))
