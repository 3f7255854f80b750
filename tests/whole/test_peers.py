"""Least squares with sectors beside skfolio and toraniko, which fit the same model.

They are installed for the newest versions only (group "peers"): what the lowest versions give is
compared with the solutions under constraints in test_families.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose

from vbase_py_utils import factor_returns, fit_cross_sections

KEYS = ["date", "symbol"]


def panel_of(rng, n_periods, n_assets):
    n = n_periods * n_assets
    sector = np.tile(rng.permutation(np.arange(n_assets) % 3), n_periods)
    return pl.DataFrame(
        {
            "date": np.repeat(np.arange(n_periods), n_assets),
            "symbol": [f"a{i:03}" for i in range(n_assets)] * n_periods,
            "asset_returns": rng.normal(0, 0.01, n),
            "market_cap": rng.lognormal(0, 1, n),
            "value": rng.standard_normal(n),
            "sector": np.array(["A", "B", "C"])[sector],
        }
    )


def test_toraniko_fits_sectors_and_then_styles_on_what_is_left(rng):
    """toraniko 1.1.0, residualize_styles=True: two regressions, both weighted by the root of cap.

    It is the last version whose requirements allow NumPy 2 and Polars 2.
    """
    model = pytest.importorskip("toraniko.model", reason="peers are not installed")
    panel = panel_of(rng, 4, 30)
    theirs, residuals = model.estimate_factor_returns(
        panel.select(*KEYS, "asset_returns"),
        panel.select(*KEYS, "market_cap"),
        panel.select(*KEYS, *(pl.col("sector").eq(s).cast(pl.Float64).alias(s) for s in "ABC")),
        panel.select(*KEYS, "value"),
        winsor_factor=None,
    )
    keys = {"period": "date", "asset": "symbol", "weights": "w", "huber_t": float("inf")}
    weighted = panel.with_columns(w=pl.col("market_cap").sqrt())
    sectors = fit_cross_sections(
        weighted,
        [],
        intercept=True,
        categories={"sector": None},
        returns="asset_returns",
        **keys,
    )
    left = weighted.join(sectors.specific_returns, on=KEYS)
    styles = fit_cross_sections(left, "value", returns="specific_return", **keys)
    theirs = theirs.sort("date")
    for name, ours in {
        "market": sectors.factor_returns["intercept"],
        **{s: sectors.factor_returns[f"sector={s}"] for s in "ABC"},
        "value": styles.factor_returns["value"],
    }.items():
        assert_allclose(ours, theirs[name], rtol=1e-10, atol=1e-14)
    wide = residuals.sort("date").drop("date").to_numpy()
    assert_allclose(styles.specific_returns["specific_return"], wide.ravel(), atol=1e-14)


def test_skfolio_characteristics_factor_model(rng):
    """skfolio 1.12: sum of the sectors' returns weighted by cap, regression by its root, lagged."""
    containers = pytest.importorskip("skfolio.containers", reason="peers are not installed")
    from skfolio.descriptor import Passthrough
    from skfolio.factor_exposure import FixedWeightedFactor, GlobalFactor, OneHotCategoricalFactors
    from skfolio.prior import CharacteristicsFactorModel

    n_periods, n_assets = 90, 40
    panel = panel_of(rng, n_periods, n_assets)

    def table(name):
        return panel[name].to_numpy().reshape(n_periods, n_assets)

    codes = panel["sector"].cast(pl.Enum(["A", "B", "C"])).to_physical().to_numpy()
    characteristics = containers.AssetPanel(
        {
            "returns": containers.Field2D(table("asset_returns")),
            "market_cap": containers.Field2D(table("market_cap")),
            "value": containers.Field2D(table("value")),
            "sector": containers.FieldCategorical(
                codes.reshape(n_periods, n_assets).astype(int), np.array(["A", "B", "C"])
            ),
        },
        observations=np.arange(n_periods),
        asset_names=panel["symbol"][:n_assets].to_numpy(),
    )
    value = FixedWeightedFactor(descriptors=[("value", Passthrough("value"))])
    model = CharacteristicsFactorModel(
        factors=[
            ("market", GlobalFactor()),
            ("sector", OneHotCategoricalFactors("sector", family="sector")),
            ("value", value),
        ],
        constrained_families=[("sector", None)],
    ).fit(characteristics=characteristics)
    theirs = model.factor_model_
    assert list(theirs.observations) == list(range(1, n_periods))
    # Their exposures, which they have standardised, and the caps, of the period before.
    own = panel.filter(pl.col("date") >= 2).with_columns(
        value=theirs.exposures[:-1, :, -1].ravel(),
        market_cap=panel.filter(pl.col("date").is_between(1, n_periods - 2))["market_cap"],
    )
    ours = factor_returns(
        own.with_columns(w=pl.col("market_cap").sqrt()),
        "value",
        intercept=True,
        categories={"sector": "market_cap"},
        returns="asset_returns",
        weights="w",
        period="date",
        asset="symbol",
        huber_t=float("inf"),
    )
    assert list(theirs.factor_names) == ["market", "A", "B", "C", "value"]
    ours = ours.select("intercept", "sector=A", "sector=B", "sector=C", "value").to_numpy()
    assert_allclose(ours, theirs.factor_returns[1:], rtol=1e-8, atol=1e-12)
