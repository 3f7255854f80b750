"""Slow and obvious forecasts of risk: explicit sums over the past, a number at a time."""

from __future__ import annotations

import numpy as np


def bartlett_sums(past, half_life, lags):
    """The covariance (k, k) after ``past`` (T, k), NaN where missing, by RISK's formula."""
    n_periods = len(past)
    lam = 2 ** (-1 / half_life)
    age = np.arange(n_periods)[::-1]
    g = np.where(np.isfinite(past), np.sqrt(lam**age)[:, None] * past, 0.0)
    total = sum(np.outer(row, row) for row in g)
    for lag in range(1, lags + 1):
        share = 1 - lag / (lags + 1)
        for t in range(lag, n_periods):
            total = total + share * (np.outer(g[t], g[t - lag]) + np.outer(g[t - lag], g[t]))
    weight = (lam ** age[:, None] * np.isfinite(past)).sum(axis=0)
    return total / np.sqrt(np.outer(weight, weight))


def covariance(past, *, half_life, correlation_half_life=None, lags=0, correlation_lags=0):
    """Volatilities from one matrix, correlations from another."""
    sd = np.sqrt(np.diag(bartlett_sums(past, half_life, lags)))
    other = bartlett_sums(past, correlation_half_life or half_life, correlation_lags)
    scale = np.sqrt(np.diag(other))
    return other / np.outer(scale, scale) * np.outer(sd, sd)


def regime(returns, half_life, min_periods, regime_half_life):
    """The multiplier of variances after ``returns`` (T, k): squares over forecasts, by age."""
    ratios = []
    for t in range(len(returns)):
        now = returns[t]
        enough = np.isfinite(returns[:t]).sum(axis=0) >= min_periods
        some = enough & np.isfinite(now)
        if not some.any():
            continue
        variance = np.diag(bartlett_sums(returns[:t], half_life, 0))
        ratios.append((t, np.mean(np.minimum(100, now[some] ** 2 / variance[some]))))
    if not ratios:
        return 1.0
    at = np.array([t for t, _ in ratios])
    # A period without a ratio is none for the mean.
    ages = np.arange(len(at))[::-1]
    weights = 2.0 ** (-ages / regime_half_life)
    return np.average([ratio for _, ratio in ratios], weights=weights)


def quadratic_inverse(matrix, n):
    """Ledoit and Wolf's shrinkage with loops, for positive eigenvalues; n whole if k > n."""
    values, vectors = np.linalg.eigh(matrix)
    k = len(values)
    hidden = max(0, k - int(n))
    c = k / n
    h = min(c**2, 1 / c**2) ** 0.35 / k**0.35
    inverse = 1 / values[hidden:]
    shrunk = []
    for j in range(k - hidden):
        apart = [(i - inverse[j]) for i in inverse]
        below = [a**2 + (i * h) ** 2 for a, i in zip(apart, inverse, strict=True)]
        theta = np.mean([i * a / b for i, a, b in zip(inverse, apart, below, strict=True)])
        hilbert = np.mean([i * i * h / b for i, b in zip(inverse, below, strict=True)])
        amplitude = theta**2 + hilbert**2
        i = inverse[j]
        if hidden:
            shrunk.append(1 / (i * amplitude))
            continue
        shrunk.append(1 / ((1 - c) ** 2 * i + 2 * c * (1 - c) * i * theta + c**2 * i * amplitude))
    shrunk = [1 / ((c - 1) * np.mean(inverse))] * hidden + shrunk
    shrunk = np.array(shrunk) * values.sum() / np.sum(shrunk)
    return vectors @ np.diag(shrunk) @ vectors.T


def effective_number(past, matrix, half_life):
    """How many observations count: by their weights, and by the energy of their days."""
    lam = 2 ** (-1 / half_life)
    w = lam ** np.arange(len(past))[::-1]
    values, vectors = np.linalg.eigh(matrix)
    scale = np.sqrt(np.diag(bartlett_sums(past, half_life, 0)))
    m = np.mean((np.nan_to_num(past / scale) @ vectors) ** 2 / values, axis=1)
    weights = w[:, None] * np.isfinite(past)
    count = np.mean(weights.sum(axis=0) ** 2 / (weights**2).sum(axis=0))
    k = len(values)
    return min(count, (1 + 2 / k) * (w @ m) ** 2 / ((w * m) @ (w * m)))


def specific_variances(rows, *, half_life, lags, min_periods, cut):
    """The past variance and count of each (period, asset) of a dictionary of returns.

    Every asset by itself: its returns cut at its own past, its mean by age on its own clock.
    """
    lam = 2 ** (-1 / half_life)
    periods = sorted({p for p, _ in rows})
    typical = {}
    for p in periods:
        sizes = [abs(u) for (q, _), u in rows.items() if q == p and np.isfinite(u)]
        least = 1e-8 * np.median(sizes) if sizes else np.nan
        sizes = [size for size in sizes if size > least]
        typical[p] = (1.4826 * np.median(sizes) if sizes else np.nan, least)
    answer = {}
    for asset in {a for _, a in rows}:
        cuts = []
        for p in periods:
            if (p, asset) not in rows:
                continue
            ages = np.arange(len(cuts))[::-1]
            weights = lam**ages
            square = np.average(np.square(cuts), weights=weights) if cuts else np.nan
            total = square
            for lag in range(1, lags + 1):
                pairs = [
                    lam ** ages[t] * lam ** (lag / 2) * cuts[t] * cuts[t - lag]
                    for t in range(lag, len(cuts))
                ]
                if pairs:
                    total += 2 * (1 - lag / (lags + 1)) * sum(pairs) / weights.sum()
            answer[p, asset] = (max(total, 0) if cuts else np.nan, len(cuts), square)
            u = rows[p, asset]
            sd, least = typical[p]
            if not np.isfinite(u) or abs(u) <= least:
                continue
            limit = cut * (np.sqrt(square) if len(cuts) >= min_periods else sd)
            cuts.append(np.clip(u, -limit, limit))
    return answer
