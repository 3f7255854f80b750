"""How far to trust a fit: standard errors, R squared, robustness weights; Newey-West for a series.

Arrays in, arrays out; nothing is estimated anew. The formulas are on the whitened, scaled design,
with z = u / s the residuals in units of the scale, so that no unit of the caller's matters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from vbase_py_utils.design import COLLINEAR_SHARE, EPS, Problem, prepare, whiten
from vbase_py_utils.irls import PeriodFits, Status
from vbase_py_utils.robust import FloatArray, Huber, mad_about_zero

CovType = Literal["sandwich", "H1"]

# An eigenvalue of the inlying rows' A'A below this share of the largest is zero up to rounding.
SINGULAR_SHARE = 1e-12
# Residuals within this share of huber_t scales are there exactly but for the end of the iteration:
# among few assets with one exposure, balance often holds some of them at the corner of psi.
CORNER_SHARE = 1e-8
# A residual below this many scales, or this many units of its rounding, may be zero because the
# fit had to go through its row. Both are generous: it is so if the leverage of the row is one.
NO_RESIDUAL, ROUNDINGS, FULL_LEVERAGE = 1e-8, 1e4, 1 - 1e-8


@dataclass(frozen=True, slots=True)
class Inference:
    """What stands behind the fits of T periods on k exposures over N rows.

    ``std_errors`` (T, k), in units of the coefficients. ``r_squared``, ``robust_r_squared``,
    ``condition_numbers`` and ``n_downweighted`` (T,). ``robustness_weights`` (N,), in (0, 1]. All
    float, NaN where there is no such number: where a period has no answer, and, but for
    ``r_squared`` and ``condition_numbers``, where it is an exact fit.
    """

    std_errors: FloatArray
    r_squared: FloatArray
    robust_r_squared: FloatArray
    condition_numbers: FloatArray
    n_downweighted: FloatArray
    robustness_weights: FloatArray


def assess_periods(
    X: FloatArray,
    y: FloatArray,
    w: FloatArray | None,
    starts: NDArray[np.intp],
    fits: PeriodFits,
    *,
    huber_t: float,
    cov_type: CovType,
) -> Inference:
    """Assess every period of a block; X, y, w and starts as ``fit_periods`` got them.

    Standard errors: "sandwich", n/(n-k) W^-1 [sum psi_s(u)^2 a a'] W^-1 with W = sum psi' a a', is
    consistent whatever the weights; "H1", statsmodels' default, for inverse-variance weights.
    R squared is 1 - sum w u^2 / sum w (y - mean_w y)^2; robust: w times the robustness weights.
    Source: Huber and Ronchetti (2009), Robust Statistics, section 7.6.
    """
    n_periods, n_factors = fits.coefficients.shape
    std_errors = np.full((n_periods, n_factors), np.nan)
    r_squared, robust_r_squared, condition_numbers, n_downweighted = np.full((4, n_periods), np.nan)
    robustness_weights = np.full(len(y), np.nan)
    huber = Huber(huber_t)
    with np.errstate(all="ignore"):
        for t in np.flatnonzero(~np.isnan(fits.scale)):
            rows = slice(starts[t], starts[t + 1])
            root_w = np.ones(len(y[rows])) if w is None else np.sqrt(w[rows])
            A, v, to_b, _ = whiten(X[rows], y[rows], None if w is None else root_w)
            problem = prepare(A, v)
            if not isinstance(problem, Problem):
                raise AssertionError("a period that was fitted has a design of full rank")
            condition_numbers[t] = _condition_number(problem)
            b = np.ldexp(fits.coefficients[t], -to_b)
            u = v - problem.design @ b
            if not np.isfinite(u).all():
                continue  # the estimate was too large to hold
            r_squared[t] = _r_squared(u, v, root_w)
            if fits.status[t] == Status.exact_fit:
                continue
            # Least squares has no use for the scale, which may then be zero.
            unit = np.sqrt(u @ u / len(u)) if np.isinf(huber_t) else mad_about_zero(u)
            z = _at_corners(u / unit, huber_t)
            n_downweighted[t] = np.count_nonzero(np.abs(z) > huber_t)
            weights = robustness_weights[rows] = huber.weight(z)
            root = np.sqrt(weights)
            robust_r_squared[t] = _r_squared(root * u, root * v, root * root_w)
            if cov_type == "H1":
                variances = _h1_variances(problem, z, huber)
            else:
                variances = _sandwich_variances(problem, z, huber)
                zero = np.maximum(NO_RESIDUAL * unit, ROUNDINGS * EPS * problem.row_sizes(b))
                variances[_carried_alone(X[rows], np.flatnonzero(np.abs(u) <= zero))] = np.nan
            std_errors[t] = np.ldexp(unit * np.sqrt(variances), to_b)
    std_errors[~np.isfinite(std_errors)] = np.nan
    return Inference(
        std_errors,
        r_squared,
        robust_r_squared,
        condition_numbers,
        n_downweighted,
        robustness_weights,
    )


def fitted_values(X: FloatArray, coefficients: FloatArray, starts: NDArray[np.intp]) -> FloatArray:
    """X b for every row of a block: X (N, k), coefficients (T, k), starts as for ``fit_periods``.

    NaN where an exposure is not finite or the period has no coefficients.
    """
    fitted = np.empty(len(X))
    with np.errstate(all="ignore"):
        for t in range(len(coefficients)):
            rows = slice(starts[t], starts[t + 1])
            np.matmul(X[rows], coefficients[t], out=fitted[rows])
    fitted[~np.isfinite(X).all(axis=1)] = np.nan
    return fitted


def _condition_number(problem: Problem) -> float:
    """Ratio of the extreme singular values of the design, its columns scaled to unit norm."""
    if problem.triangle is None:
        norms = np.sqrt(np.diag(problem.gram))
        squares = np.linalg.eigvalsh(problem.gram / np.outer(norms, norms))
        return float(np.sqrt(squares[-1] / squares[0]))
    norms = np.sqrt((problem.triangle**2).sum(axis=0))
    lengths = np.linalg.svd(problem.triangle / norms, compute_uv=False)
    return float(lengths[0] / lengths[-1])


def _r_squared(u: FloatArray, v: FloatArray, root_w: FloatArray) -> float:
    """Share of the weighted variance explained; whitened residuals u, returns v, roots, all (n,).

    The mean of returns is that weighted with w, and NaN stands for returns that are all equal.
    """
    root_w = root_w / root_w.max()
    mean = (root_w @ v) / (root_w @ root_w)
    apart = v - mean * root_w
    total = apart @ apart
    return float(1.0 - u @ u / total) if total > (8 * EPS) ** 2 * (v @ v) else np.nan


def _at_corners(z: FloatArray, huber_t: float) -> FloatArray:
    """Put z (n,) exactly at +-huber_t where it is there up to rounding, so that it is inlying."""
    at_corner = np.abs(np.abs(z) - huber_t) <= CORNER_SHARE * huber_t
    return np.where(at_corner, np.copysign(huber_t, z), z) if np.isfinite(huber_t) else z


def _h1_variances(problem: Problem, z: FloatArray, huber: Huber) -> FloatArray:
    """H1 variances (k,) of the coefficients of the design, in units of the squared scale."""
    n, k = problem.A.shape
    psi = huber.psi(z)
    m = huber.psi_prime(z).mean()
    correction = 1 + (k / n) * (1 - m) / m  # psi' is 0 or 1: its variance is m (1 - m)
    inflated = correction**2 * (psi @ psi) / (n - k) / m**2
    half = problem.coefficients(solve_triangular(problem.factor, np.eye(k), lower=True).T)
    return np.asarray(inflated * (half**2).sum(axis=1))


def _sandwich_variances(problem: Problem, z: FloatArray, huber: Huber) -> FloatArray:
    """Sandwich variances (k,) of the coefficients of the design, in units of the squared scale.

    NaN for a coefficient that no inlying row says anything about.
    """
    A = problem.A
    n, k = A.shape
    inverse, null = _inverse(A.T @ (A * huber.psi_prime(z)[:, None]))
    scored = A * huber.psi(z)[:, None]
    bread = problem.coefficients(inverse)
    variances: FloatArray = n / (n - k) * ((bread @ (scored.T @ scored)) * bread).sum(axis=1)
    variances[_involved(problem.coefficients(null))] = np.nan
    return variances


def _carried_alone(X: FloatArray, suspects: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Which coefficients of X (n, k) are not determined once one of the rows ``suspects`` is out.

    The fit goes through such a row, and its residual says nothing about the error.
    """
    if not suspects.size:
        return np.zeros(X.shape[1], dtype=np.bool_)
    U, _, _, _ = whiten(X, np.ones(len(X)), None)  # weights would hide rows of little weight
    Q, R = np.linalg.qr(U)
    rows = Q[suspects]
    forced = rows[(rows**2).sum(axis=1) >= FULL_LEVERAGE]
    return _involved(np.linalg.pinv(R) @ forced.T)


def _involved(directions: FloatArray) -> NDArray[np.bool_]:
    """Which of k coefficients have a part in any of the ``directions`` (k, m)."""
    lengths = np.sqrt((directions**2).sum(axis=0))
    involved: NDArray[np.bool_] = (np.abs(directions) > COLLINEAR_SHARE * lengths).any(axis=1)
    return involved


def _inverse(matrix: FloatArray) -> tuple[FloatArray, FloatArray]:
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
