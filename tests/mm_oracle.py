"""A slow, obvious MM estimate of one period that shares no code with the library.

Step by step with root finding and plain iteration, row by row where that is clearest.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import linalg, optimize, stats

import oracle


class Fit(NamedTuple):
    """Estimate, scale, final weights, errors and degrees of freedom; ``held`` rows."""

    b: np.ndarray
    s: float
    weights: np.ndarray
    std_errors: np.ndarray
    freedom: np.ndarray
    held: np.ndarray


def bisquare_weights(z):
    return np.where(np.abs(z) < 1, (1 - z**2) ** 2, 0.0)


def exposure_weights(X):
    """Weight of every row by its numeric exposures (n, p)."""
    n = len(X)
    numeric = [x for x in X.T if 2 * max((x == value).sum() for value in x) < n]
    if not numeric:
        return np.ones(n)
    z = np.column_stack([(x - np.median(x)) / stats.median_abs_deviation(x) for x in numeric])
    z *= stats.norm.ppf(0.75)
    p = z.shape[1]
    size = np.abs(z)
    wrapped = np.where(size < 1.5, size, 1.540793 * np.tanh(0.8622731 * (4 - size)))
    wrapped = np.sign(z) * np.where(size < 4, wrapped, 0.0)
    d = squared_distances(z, wrapped)
    for _ in range(2):
        # Rows at the same distance are near or far together.
        farthest = np.sort(d)[(n + p + 1) // 2 - 1]
        d = squared_distances(z, z[d <= farthest * (1 + 1e-9)])
    d *= stats.chi2.ppf(0.5, p) / np.median(d)
    limit = stats.chi2.ppf(0.975, p)
    return np.maximum((limit / np.maximum(d, limit)) ** 3, 1e-280)


def squared_distances(z, rows):
    center = rows.mean(axis=0)
    spread = np.atleast_2d(np.cov(rows.T, bias=True)) + 1e-12 * np.eye(z.shape[1])
    return np.array([(row - center) @ np.linalg.solve(spread, row - center) for row in z])


def m_scale(u, k):
    """The scale with sum rho(u / (1.547645 s)) = (n - k) / 2; zero if there is none."""

    def excess(log_s):
        t = np.abs(u) * np.exp(-log_s) / 1.547645
        return np.sum(np.where(t < 1, 1 - (1 - t**2) ** 3, 1.0)) - 0.5 * (len(u) - k)

    some = np.abs(u[u != 0])
    if len(some) <= 0.5 * (len(u) - k):
        return 0.0
    low, high = np.log(some.min()) - 5, np.log(some.max()) + 20
    return float(np.exp(optimize.brentq(excess, low, high, xtol=1e-15, rtol=1e-15)))


def bisquare(A, y, b, s, c=4.685061, fixed=None, floor=1e-12, steps=100_000):
    """Plain IRLS from b at scale s; rows whose ``fixed`` is a number keep that weight."""
    fixed = np.full(len(y), np.nan) if fixed is None else fixed
    for _ in range(steps):
        u = y - A @ b
        v = np.where(np.isnan(fixed), bisquare_weights(u / (c * s)), fixed)
        root = np.sqrt(np.maximum(v, floor))
        step = linalg.lstsq(A * root[:, None], v * u / root, cond=1e-15)[0]
        b = b + step
        if np.abs(A @ step).max() <= 1e-12 * s + 16 * np.finfo(float).eps * np.abs(y).max():
            break
    return b


def mm(X, y, w=None, numeric=None, c=4.685061) -> Fit:
    """MM estimate of y (n,) on X (n, k), whose first ``numeric`` columns hold numbers."""
    n, k = X.shape
    w = np.ones(n) if w is None else w
    w_x = exposure_weights(X[:, :numeric])
    start = oracle.huber(X, y, w * w_x).b
    # Orthogonal coordinates, so that rounding does not depend on the condition of X.
    target = y * np.sqrt(w)
    size = np.sqrt((X**2 * w[:, None]).sum(axis=0))
    A, R = np.linalg.qr(X / size * np.sqrt(w)[:, None])
    to_b = np.linalg.inv(R) / size[:, None]
    first = np.linalg.solve(to_b, start)
    u = target - A @ first
    s = m_scale(u, k)
    if s == 0:
        return Fit(start, s, *[np.full(n, np.nan)] * 4)
    v0, floor = bisquare_weights(u / (c * s)), 1e-12 * w_x
    h = leverages(A, np.maximum(v0, floor))
    fixed = np.where(h >= 0.5 - 1e-9, v0, np.nan)
    b = bisquare(A, target, first, s, c, fixed, floor)
    trust = inference(A, target - A @ b, s, c, fixed, floor, to_b)
    return Fit(to_b @ b, s, *trust, ~np.isnan(fixed))


def leverages(A, V):
    Q = np.linalg.qr(A * np.sqrt(V)[:, None])[0]
    return (Q**2).sum(axis=1)


def inference(A, u, s, c, fixed, floor, combinations):
    """Final weights; standard errors and degrees of freedom of combinations, a row at a time."""
    n, k = A.shape
    v = np.where(np.isnan(fixed), bisquare_weights(u / (c * s)), fixed)
    q = np.minimum((u / (c * s)) ** 2, 1)
    slopes = np.where(np.isnan(fixed), (1 - q) * (1 - 5 * q), fixed)
    V = np.maximum(v, floor)
    information = sum(V[i] * np.outer(A[i], A[i]) for i in range(n))
    bread = sum((V[i] if v[i] == 0 else slopes[i]) * np.outer(A[i], A[i]) for i in range(n))
    values, vectors = linalg.eigh(bread, information)
    bread = information @ vectors @ np.diag(np.maximum(values, 0.25)) @ vectors.T @ information
    h = leverages(A, V)
    full = h >= 1 - 1e-8
    meat = sum(
        (v[i] * u[i]) ** 2 / (1 - h[i]) * np.outer(A[i], A[i]) for i in np.flatnonzero(~full)
    )
    spread = np.linalg.inv(bread) @ meat @ np.linalg.inv(bread)
    std_errors, freedom = np.sqrt(np.diag(combinations @ spread @ combinations.T)), np.empty(k)
    for j in range(k):
        share = V * (A @ np.linalg.solve(information, combinations[j])) ** 2
        share /= share.sum()
        if share[v == 0].sum() > 1e-6 or share[full].sum() > 1e-6:
            std_errors[j] = np.nan
        rest = ~full
        if not np.isnan(std_errors[j]):
            freedom[j] = share[rest].sum() ** 2 / (share[rest] ** 2 / (1 - h[rest])).sum()
    freedom = np.clip(freedom, 1, n - k)
    return v, std_errors, np.where(np.isnan(std_errors), np.nan, freedom)
