"""Simulated panels to measure on; every one from a fixed seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl


@dataclass(frozen=True)
class Panel:
    """A long ``frame`` (period, asset, return, weight, exposures), in the order of its periods."""

    name: str
    frame: pl.DataFrame
    exposures: list[str]

    @property
    def n_usable(self) -> int:
        """Rows without a missing value."""
        return self.frame.drop_nulls().height


def balanced(n_assets, n_factors, n_periods, *, kind="easy", name=None, seed=20261122):
    """All assets in all periods.

    "easy": normal noise with 5 % outliers of ten times the size, lognormal(1) weights that are
    its inverse variances; "hard": t2 noise and lognormal(2) weights that are not.
    """
    rng = np.random.default_rng(seed)
    n = n_assets * n_periods
    X = rng.standard_normal((n, n_factors))
    if kind == "easy":
        w = rng.lognormal(0, 1, n)
        noise = rng.standard_normal(n) / np.sqrt(w)
        noise[rng.random(n) < 0.05] *= 10
    else:
        w = rng.lognormal(0, 2, n)
        noise = rng.standard_t(2, n)
    factors = 0.02 * rng.standard_normal((n_periods, n_factors))
    y = np.einsum("ij,ij->i", X, np.repeat(factors, n_assets, axis=0)) + 0.05 * noise
    names = [f"f{j}" for j in range(n_factors)]
    frame = pl.DataFrame(
        {
            "period": np.repeat(np.arange(n_periods), n_assets),
            "asset": np.tile(np.arange(n_assets), n_periods),
            "return": y,
            "weight": w,
            **{column: X[:, j] for j, column in enumerate(names)},
        }
    )
    default = f"{n_assets} x {n_factors} x {n_periods}"
    return Panel(name or (default if kind == "easy" else f"{default}, hard"), frame, names)


def ragged(n_assets, n_factors, n_periods):
    """As many usable assets a period as in the plain panel, but only on average.

    Assets list and delist, and 5 % of the returns and of the first exposure are missing.
    """
    lifetime = n_periods  # each asset's, which begins up to a lifetime before the first period
    universe = balanced(round(n_assets * 2 / 0.95**2), n_factors, n_periods)
    rng = np.random.default_rng(20261123)
    listed = pl.Series(rng.integers(-lifetime, n_periods, universe.frame["asset"].max() + 1))
    age = pl.col("period") - pl.lit(listed).gather(pl.col("asset"))
    frame = universe.frame.filter(age.is_between(0, lifetime - 1))
    names = "return", universe.exposures[0]
    missing = {name: pl.Series(rng.random(frame.height) < 0.05) for name in names}
    frame = frame.with_columns(
        pl.when(~mask).then(name).alias(name) for name, mask in missing.items()
    )
    name = f"{n_assets} x {n_factors} x {n_periods}, ragged"
    return Panel(name, frame.rechunk(), universe.exposures)


def with_sectors(n_assets, n_styles, n_periods, n_sectors=11):
    """A plain panel in which every row has a sector, and the weights stand for market values."""
    panel = balanced(n_assets, n_styles, n_periods)
    rng = np.random.default_rng(20261124)
    names = [f"S{i:02}" for i in range(n_sectors)]
    sector = pl.Series(np.array(names)[rng.integers(0, n_sectors, panel.frame.height)])
    frame = panel.frame.with_columns(sector=sector.cast(pl.Enum(names)))
    return Panel(
        f"{n_assets} x (1 + {n_sectors} + {n_styles}) x {n_periods}", frame, panel.exposures
    )


def with_dummies(panel):
    """Add a column of ones and zeros for every sector."""
    sectors = panel.frame["sector"].dtype.categories
    dummies = ((pl.col("sector") == name).cast(pl.Float64).alias(name) for name in sectors)
    return Panel(panel.name, panel.frame.with_columns(dummies), panel.exposures)


def as_toraniko(panel):
    """Give the four frames that toraniko takes: returns, market values, sectors, styles."""
    keys = [pl.col("period").alias("date"), pl.col("asset").cast(pl.String).alias("symbol")]
    frame = with_dummies(panel).frame
    return (
        frame.select(*keys, pl.col("return").alias("asset_returns")),
        frame.select(*keys, pl.col("weight").pow(2).alias("market_cap")),  # it takes the root
        frame.select(*keys, *panel.frame["sector"].dtype.categories),
        frame.select(*keys, *panel.exposures),
    )


def as_pandas(panel):
    """Give returns (assets x periods), exposures and weights, by (period, asset), as in pandas."""
    import pandas as pd

    frame = panel.frame
    index = pd.MultiIndex.from_arrays(
        [frame["period"].to_numpy(), frame["asset"].to_numpy()], names=["period", "asset"]
    )
    returns = pd.Series(frame["return"].to_numpy(), index=index).unstack("period")  # noqa: PD010
    exposures = pd.DataFrame(frame.select(panel.exposures).to_numpy(), index, panel.exposures)
    return returns, exposures, pd.DataFrame({"weight": frame["weight"].to_numpy()}, index)
