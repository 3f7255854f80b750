"""Panels with categories, and the dense design of one of their periods."""

from typing import NamedTuple

import numpy as np
import polars as pl

SECTORS = ["Energy", "Health", "Tech", "Utilities", "Never"]
COUNTRIES = ["DE", "FR", "IT"]
STYLES = ["value", "size"]
TWO = {"sector": "cap", "country": None}


class Dense(NamedTuple):
    """One period in full coordinates: constraints C f = 0 on the factors that are there."""

    names: list[str]
    X: np.ndarray
    y: np.ndarray
    w: np.ndarray
    C: np.ndarray


def market(seed=1, n_periods=6, n_assets=60, gaps=0.05, weights=True):
    """Panel with sectors and countries, some absent in some periods, and gaps in every column."""
    rng = np.random.default_rng(seed)
    n = n_periods * n_assets
    period = np.repeat(np.arange(n_periods), n_assets)
    sector = rng.choice(4, n, p=[0.4, 0.3, 0.2, 0.1])
    sector[(period % 3 == 1) & (sector == 3)] = 0
    country = rng.choice(3, n)
    X = rng.standard_normal((n, 2))
    noise = rng.standard_t(3, n) * 0.01
    effect = np.array([0.01, -0.01, 0.02, 0.0])[sector] + np.array([0.01, 0.0, -0.01])[country]
    columns = {
        "return": effect + X @ [0.01, -0.02] + noise,
        "value": X[:, 0],
        "size": X[:, 1],
        "cap": rng.lognormal(0, 1.5, n),
        "w": rng.lognormal(0, 1, n) if weights else np.ones(n),
    }
    frame = pl.DataFrame(
        {
            "period": period,
            "asset": np.tile(np.arange(n_assets), n_periods),
            **columns,
            "sector": pl.Series(np.array(SECTORS)[sector]).cast(pl.Enum(SECTORS)),
            "country": pl.Series(np.array(COUNTRIES)[country]).cast(pl.Enum(COUNTRIES)),
        }
    )
    kept = {name: pl.Series(rng.random(n) >= gaps) for name in (*columns, "sector", "country")}
    return frame.with_columns(
        pl.when(mask).then(pl.col(name)).alias(name) for name, mask in kept.items()
    )


def dense(rows, exposures, categories, weights="w", intercept=True):
    """Lay one period out with a dummy for every category that a complete row has."""
    used = [*exposures, *categories, *(c for c in categories.values() if c), "return"]
    used += [weights] if weights else []
    rows = rows.drop_nulls(used)
    rows = rows.filter(pl.col(weights) > 0) if weights else rows
    names, columns = [], []
    if intercept:
        names, columns = ["intercept"], [np.ones(rows.height)]
    names += exposures
    columns += [rows[name].to_numpy() for name in exposures]
    constraints = []
    for family, cap in categories.items():
        sums = {}
        for category in rows[family].dtype.categories:
            inside = (rows[family] == category).to_numpy()
            if inside.any():
                sums[f"{family}={category}"] = rows[cap].to_numpy()[inside].sum() if cap else 1.0
                columns.append(inside.astype(float))
        constraints.append(sums)
        names += sums
    C = np.array([[sums.get(name, 0.0) for name in names] for sums in constraints])
    w = rows[weights].to_numpy() if weights else np.ones(rows.height)
    return Dense(names, np.column_stack(columns), rows["return"].to_numpy(), w, C)
