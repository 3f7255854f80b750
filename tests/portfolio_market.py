"""A small market with gaps, and portfolios of it, for the tests of risk and attribution."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from vbase_py_utils import (
    CrossSectionFits,
    factor_covariance,
    fit_cross_sections,
    specific_risk,
)

N_ASSETS, N_PERIODS, FIRST = 14, 26, 12
SECTORS = ["tech", "energy", "banks"]
MODEL = {"intercept": True, "categories": {"sector": "cap"}, "weights": "cap"}


class Market(NamedTuple):
    """A panel and everything that portfolios need; weights of three portfolios and a benchmark."""

    panel: pl.DataFrame
    fits: CrossSectionFits[pl.DataFrame]
    covariance: pl.DataFrame
    specific: pl.DataFrame
    weights: pl.DataFrame
    benchmark: pl.DataFrame


def simulated(rng, gaps=True):
    """Assets that come and go, with missing exposures, sectors and returns if there are gaps."""
    n = N_ASSETS * N_PERIODS
    frame = pl.DataFrame(
        {
            "period": np.repeat(np.arange(N_PERIODS), N_ASSETS),
            "asset": [f"a{i:02}" for i in range(N_ASSETS)] * N_PERIODS,
            "value": rng.standard_normal(n),
            "size": rng.standard_normal(n),
            "sector": [SECTORS[i % 3] for i in range(N_ASSETS)] * N_PERIODS,
            "cap": rng.lognormal(0, 1, n),
            "return": 0.02 * rng.standard_normal(n),
        }
    )
    if not gaps:
        return frame
    for name, share in (("value", 0.03), ("sector", 0.02), ("return", 0.03)):
        lost = pl.Series(rng.random(n) < share)
        frame = frame.with_columns(pl.when(~lost).then(name).alias(name))
    return frame.filter(pl.Series(rng.random(n) > 0.05))


def weights_of(rng, panel, portfolios=("growth", "b", "long-short"), absent=0.05):
    """Weights of the assets that are there, and a few that are not, in no order."""
    rows = []
    for period in range(FIRST, N_PERIODS):
        there = panel.filter(pl.col("period") == period)["asset"].to_list()
        for name in portfolios:
            held = [a for a in there if rng.random() < 0.7] or there[:1]
            if rng.random() < absent:
                held.append("gone")
            size = rng.normal(0.1, 0.1, len(held))
            rows += [(period, name, a, w) for a, w in zip(held, size, strict=True)]
    schema = ["period", "portfolio", "asset", "weight"]
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.sample(fraction=1, shuffle=True, seed=1)


def market(rng, gaps=True):
    """Fit, forecast, and draw portfolios."""
    panel = simulated(rng, gaps)
    fits = fit_cross_sections(panel, ["value", "size"], **MODEL)
    covariance = factor_covariance(fits, min_periods=8)
    specific = specific_risk(fits, min_periods=5)
    weights = weights_of(rng, panel, absent=0.3 if gaps else 0)
    late = panel.filter(pl.col("period") >= FIRST)
    share = pl.col("cap") / pl.col("cap").sum().over("period")
    benchmark = late.select("period", "asset", weight=share)
    return Market(panel, fits, covariance, specific, weights, benchmark)
