"""Random regression problems of named kinds, for parity and robustness tests."""

from __future__ import annotations

import numpy as np

HARD_KINDS = ("cauchy", "t2", "contaminated", "leverage", "dummies", "near_collinear")


def hard(rng: np.random.Generator, kind: str, n: int, k: int):
    """One hard problem (X, y, w): ``kind`` names what is hard about it."""
    X = rng.standard_normal((n, k))
    noise = rng.standard_normal(n)
    if kind == "cauchy":
        noise = rng.standard_cauchy(n)
    elif kind == "t2":
        noise = rng.standard_t(2, n)
    elif kind == "contaminated":
        noise[rng.random(n) < 0.3] *= 20
        noise[rng.random(n) < 0.1] += 30
    elif kind == "leverage":
        bad = rng.random(n) < 0.05
        X[bad] *= 20
        noise[bad] += rng.choice([-1, 1], bad.sum()) * rng.exponential(30, bad.sum())
    elif kind == "dummies":
        groups = np.concatenate([np.arange(k), rng.integers(0, k, n - k)])
        X = np.eye(k)[rng.permutation(groups)]
        noise = rng.standard_t(3, n)
    elif kind == "near_collinear":
        if k > 1:
            X[:, -1] = X[:, 0] + 10.0 ** rng.uniform(-5, -1) * X[:, -1]
        noise = rng.standard_t(3, n)
    else:
        raise ValueError(kind)
    b = rng.standard_normal(k) * rng.choice([0.0, 1.0])
    w = np.ones(n) if rng.random() < 0.4 else rng.lognormal(0, rng.choice([0.5, 1.0, 2.0]), n)
    return X, (X @ b + noise) * 0.01, w


def mild(rng: np.random.Generator, n: int, k: int):
    """Normal noise, 5 % outliers, lognormal(1) weights, returns in decimals."""
    X = rng.standard_normal((n, k))
    noise = rng.standard_normal(n)
    noise[rng.random(n) < 0.05] += 10
    return X, X @ rng.normal(0, 0.02, k) + 0.01 * noise, rng.lognormal(0, 1, n)
