"""The simulated panel of the demo: 50 assets, 3 factors, 12 months, and the true factor returns."""

from __future__ import annotations

import numpy as np
import polars as pl

N_ASSETS, N_FACTORS, N_MONTHS = 50, 3, 12
FACTORS = [f"Factor_{j}" for j in range(N_FACTORS)]


def simulated_panel() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Simulate the panel of the demo notebook, from seed 42 of NumPy's legacy generator.

    Returns the long panel (period, asset, return, weight, Factor_0..2; 600 rows) and the true
    factor returns (period, Factor_0..2; 12 rows).
    """
    random = np.random.RandomState(42)
    periods = [f"2023-{month:02d}" for month in range(1, N_MONTHS + 1)]
    assets = [f"Asset_{i}" for i in range(N_ASSETS)]
    exposures = random.randn(N_MONTHS, N_ASSETS, N_FACTORS)
    truth = random.randn(N_MONTHS, N_FACTORS) * 0.02
    noise = random.randn(N_MONTHS, N_ASSETS) * 0.005
    returns = np.einsum("tik,tk->ti", exposures, truth) + noise
    panel = pl.DataFrame(
        {
            "period": np.repeat(periods, N_ASSETS),
            "asset": np.tile(assets, N_MONTHS),
            "return": returns.ravel(),
            "weight": np.ones(returns.size),
            **{name: exposures[:, :, j].ravel() for j, name in enumerate(FACTORS)},
        }
    )
    true = {name: truth[:, j] for j, name in enumerate(FACTORS)}
    return panel, pl.DataFrame({"period": periods, **true})


def comparison(truth: pl.DataFrame, estimated: pl.DataFrame) -> pl.DataFrame:
    """Put true and estimated factor returns side by side: period, factor, true, estimated, error.

    Both frames have a row per period and a column per factor.
    """
    keys = ["period", "factor"]
    long_truth, long_estimated = (
        frame.unpivot(index="period", variable_name="factor", value_name=name)
        for name, frame in (("true", truth), ("estimated", estimated))
    )
    return (
        long_truth.join(long_estimated, on=keys, how="left")
        .with_columns(error=pl.col("estimated") - pl.col("true"))
        .sort(keys)
    )
