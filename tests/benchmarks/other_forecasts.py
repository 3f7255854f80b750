"""Ways to forecast risk that the library does not take, to measure it beside them."""

from __future__ import annotations

import numpy as np


def monte_carlo_eigenfactors(covariance, half_life, periods, rng, *, draws=200, scale=1.4):
    """Adjust the volatilities of eigenfactors for what simulations find wrong with them.

    ``covariance`` (K, K) is taken as the truth of normal returns, which are drawn and estimated
    again; an eigenfactor of the estimates has the mean square ratio of true to estimated risk, and
    ``scale`` times its distance from one is added. Source: Menchero, Wang and Orr (2011),
    "Eigen-adjusted covariance matrices", and USE4, which scales by 1.4.
    """
    values, vectors = np.linalg.eigh(covariance)
    weights = 0.5 ** (np.arange(periods)[::-1] / half_life)
    some = weights > 1e-4  # what is left weighs nothing
    weights = weights[some] / weights[some].sum()
    ratios = np.zeros(len(values))
    for _ in range(draws):
        returns = rng.standard_normal((len(weights), len(values))) * np.sqrt(values)
        estimated, axes = np.linalg.eigh((returns * weights[:, None]).T @ returns)
        ratios += values @ np.square(axes) / estimated / draws
    adjusted = values * np.square(1 + scale * (np.sqrt(ratios) - 1))
    return (vectors * adjusted) @ vectors.T


def variances_of_weighted_returns(specific, half_life):
    """Variances (T, n) before each period of returns (T, n) times Huber's weights of the period.

    The weights are those that a robust fit would give them: 1.345 robust standard deviations of the
    period and less count fully.
    """
    size = np.abs(specific)
    scale = 1.4826 * np.median(size, axis=1, keepdims=True)
    weighted = specific * np.minimum(1, 1.345 * scale / np.maximum(size, 1e-300))
    decay = 0.5 ** (1 / half_life)
    total, weight = np.zeros(specific.shape[1]), 0.0
    answers = np.full(specific.shape, np.nan)
    for t, x in enumerate(weighted):
        if t:
            answers[t] = total / weight
        total, weight = decay * total + x**2, decay * weight + 1
    return answers
