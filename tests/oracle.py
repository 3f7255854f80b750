"""A slow, obvious Huber regression that shares no code with the library.

Plain iteratively reweighted least squares by a QR-quality solver, one weighted fit from scratch a
step, run until nothing moves: the definition of the estimate, word for word.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

NORMAL_QUARTILE = float(stats.norm.ppf(0.75))


class Fit(NamedTuple):
    """``status`` is "converged", "max_iter" or "exact_fit"."""

    b: np.ndarray
    s: float
    weights: np.ndarray
    status: str


def huber(X, y, w=None, t=1.345, tol=1e-12, max_iter=20_000) -> Fit:
    """Huber M-estimate of y (n,) on X (n, k) with precision weights w (n,)."""
    root = np.ones(len(y)) if w is None else np.sqrt(w)
    ys = y * root
    # Orthogonal coordinates, so that rounding does not depend on the condition of X.
    whitened = X * root[:, None]
    size = np.sqrt((whitened**2).sum(axis=0))
    Xs, lengths, axes = np.linalg.svd(whitened / size, full_matrices=False)
    b = _least_squares(Xs, ys)
    first = np.sqrt(np.mean((ys - Xs @ b) ** 2))
    eps = np.finfo(float).eps

    def coefficients(b):
        return axes.T @ (b / lengths) / size

    for _ in range(max_iter):
        u = ys - Xs @ b
        s = np.median(np.abs(u)) / NORMAL_QUARTILE
        if s <= max(1e-12 * first, 8 * eps * np.abs(ys).max()):
            return Fit(coefficients(b), s, np.full(len(y), np.nan), "exact_fit")
        weights = np.array([1.0 if abs(z) <= t else t / abs(z) for z in u / s])
        step = _least_squares(Xs * np.sqrt(weights)[:, None], np.sqrt(weights) * u)
        b = b + step
        if np.abs(Xs @ step).max() <= max(tol * s, 16 * eps * np.abs(ys).max()):
            u = ys - Xs @ b
            return Fit(
                coefficients(b), np.median(np.abs(u)) / NORMAL_QUARTILE, weights, "converged"
            )
    return Fit(coefficients(b), s, weights, "max_iter")


def change_of_a_step(X, y, w, b, t=1.345):
    """The largest change of a fitted value by one step of IRLS from b, in scales: 0 at a solution.

    IRLS itself may go round in a circle about a solution and never reach it.
    """
    root = np.sqrt(w)
    Xs, ys = X * root[:, None], y * root
    u = ys - Xs @ b
    s = np.median(np.abs(u)) / NORMAL_QUARTILE
    weights = np.array([1.0 if abs(z) <= t else t / abs(z) for z in u / s])
    step = _least_squares(Xs * np.sqrt(weights)[:, None], np.sqrt(weights) * u)
    return np.abs(Xs @ step).max() / s


def std_errors(X, y, w, fit: Fit, t=1.345, cov_type="HC2"):
    """Standard errors at the fit: HC2, the sandwich with n / (n - k), or Huber's H1."""
    return np.sqrt(np.diag(covariance(X, y, w, fit, t, cov_type)))


def covariance(X, y, w, fit: Fit, t=1.345, cov_type="HC2"):
    """Covariance matrix of the estimate, row by row."""
    n, k = X.shape
    bread, meat = np.zeros((k, k)), np.zeros((k, k))
    # The sandwich's n / (n - k) is the leverage of all rows if they were alike.
    h = leverages(X, w) if cov_type == "HC2" else np.full(n, k / n)
    psi, inlying = np.zeros(n), np.zeros(n)
    for i in range(n):
        x = X[i] * np.sqrt(w[i])
        u = (y[i] - X[i] @ fit.b) * np.sqrt(w[i])
        inlying[i] = abs(u) <= t * fit.s
        psi[i] = u if inlying[i] else np.sign(u) * t * fit.s
        bread += inlying[i] * np.outer(x, x)
        # The residual of a row with a leverage of one is zero, whatever its return.
        if h[i] < 1 - 1e-12:
            meat += psi[i] ** 2 / (1 - h[i]) * np.outer(x, x)
    if cov_type == "H1":
        correction = 1 + k / n * np.var(inlying) / np.mean(inlying) ** 2
        spread = (psi**2).sum() / (n - k) / np.mean(inlying) ** 2
        return correction**2 * spread * np.linalg.inv((X * w[:, None]).T @ X)
    return np.linalg.pinv(bread) @ meat @ np.linalg.pinv(bread)


def leverages(X, w):
    """Leverages of the rows of the whitened design: the diagonal of the hat matrix."""
    Q = np.linalg.qr(X * np.sqrt(w)[:, None])[0]
    return np.diag(Q @ Q.T)


def degrees_of_freedom(X, w, combination):
    """Degrees of freedom of HC2 for a combination of coefficients, row by row."""
    n, k = X.shape
    A = X * np.sqrt(w)[:, None]
    direction = np.linalg.pinv(A.T @ A) @ combination
    h = leverages(X, w)
    squares = [(A[i] @ direction) ** 2 for i in range(n)]
    spread = sum(q**2 / (1 - h[i]) for i, q in enumerate(squares))
    return min(max(sum(squares) ** 2 / spread, 1.0), n - k)


def _least_squares(X, y):
    return np.linalg.lstsq(X, y, rcond=None)[0]
