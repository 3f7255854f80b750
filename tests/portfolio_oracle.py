"""Risk and attribution of a portfolio the slow way: dictionaries, and an N x N matrix.

Shares no code with the library. Exposures are dictionaries from factor to number, one for each
asset that has all of its exposures.
"""

from __future__ import annotations

import math

import numpy as np


def exposures_of(row, estimated):
    """The exposures of a row of the panel, ``None`` if one is missing."""
    given = {"intercept": 1.0} if estimated.intercept else {}
    for name in estimated.exposures:
        value = row[name]
        if value is None or not math.isfinite(value):
            return None
        given[name] = float(value)
    for family in estimated.families:
        category = row[family.column]
        if category is None or str(category) not in family.categories:
            return None
        for one in family.categories:
            given[f"{family.column}={one}"] = float(str(category) == one)
    return given


def dense_covariance(assets, exposures, specific, covariance, factors):
    """The covariance (N, N) of assets."""
    X = np.array([[exposures[a][f] for f in factors] for a in assets])
    return X @ covariance @ X.T + np.diag([specific[a] ** 2 for a in assets])


def risk_of(weights, exposures, specific, covariance, factors):
    """Risk, covered share, contributions of factors and of assets; ``None`` where unknown.

    ``weights``: from asset to weight. ``covariance``: (k, k) with NaN.
    """
    held = {a: w for a, w in weights.items() if w != 0}
    gross = sum(abs(w) for w in held.values())
    fine = [a for a in held if a in exposures and specific.get(a) is not None]
    covered = sum(abs(held[a]) for a in fine) / gross if gross else 1.0
    x = {f: sum(held[a] * exposures[a][f] for a in fine) for f in factors}
    unknown = any(
        math.isnan(covariance[i, j]) and x[f] != 0 and x[g] != 0
        for i, f in enumerate(factors)
        for j, g in enumerate(factors)
    )
    if len(fine) < len(held) or unknown:
        return {"risk": None, "covered": covered, "exposures": x}
    F = np.nan_to_num(covariance)
    if not fine:
        zero = dict.fromkeys(factors, 0.0)
        return {"risk": 0.0, "covered": 1.0, "exposures": x, "factors": zero, "assets": {}}
    V = dense_covariance(fine, exposures, specific, F, factors)
    w = np.array([held[a] for a in fine])
    risk = math.sqrt(w @ V @ w)
    vector = np.array([x[f] for f in factors])
    by_factor = vector * (F @ vector) / risk
    return {
        "risk": risk,
        "covered": covered,
        "exposures": x,
        "factors": dict(zip(factors, by_factor, strict=True)),
        "specific": sum(held[a] ** 2 * specific[a] ** 2 for a in fine) / risk,
        "assets": dict(zip(fine, w * (V @ w) / risk, strict=True)),
    }


def attribution_of(weights, exposures, fitted, returns, factor_returns, portfolio_return=None):
    """Total, contribution of each factor, specific, unattributed, covered and how many are not.

    ``fitted``, ``returns`` and ``factor_returns`` have only what is not missing.
    """
    held = {a: w for a, w in weights.items() if w != 0}
    total = math.fsum(held[a] * returns[a] for a in held if a in returns)
    if portfolio_return is not None:
        total = portfolio_return
    fine = []
    for a in held:
        if a not in exposures or a not in fitted or a not in returns:
            continue
        if any(x != 0 and f not in factor_returns for f, x in exposures[a].items()):
            continue
        fine.append(a)
    factors = {
        f: math.fsum(held[a] * exposures[a][f] for a in fine) * r for f, r in factor_returns.items()
    }
    specific = math.fsum(
        held[a] * (fitted[a] - math.fsum(exposures[a][f] * r for f, r in factor_returns.items()))
        for a in fine
    )
    gross = math.fsum(abs(w) for w in held.values())
    return {
        "total": total,
        "factors": factors,
        "specific": specific,
        "unattributed": total - math.fsum(factors.values()) - specific,
        "covered": math.fsum(abs(held[a]) for a in fine) / gross if gross else 1.0,
        "n_uncovered": len(held) - len(fine),
    }
