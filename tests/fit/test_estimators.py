"""The MM estimate and HC2 as users meet them: frames, categories, lazy queries, pandas, reasons."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import mm_oracle
from category_panels import STYLES, TWO, market
from vbase_py_utils import FitError, factor_returns, fit_cross_sections
from vbase_py_utils.fit import query
from vbase_py_utils.kernel import categories as families_module
from vbase_py_utils.kernel import mm
from vbase_py_utils.kernel.distances import exposure_weights
from vbase_py_utils.stats.cross_section_regression import (
    run_cross_sectional_regression,
    run_monthly_factor_returns,
)

FRAMES = ("factor_returns", "coefficients", "specific_returns", "diagnostics", "bad_periods")


def spoilt_panel(n_periods=6, n=60, seed=0):
    """A panel in which some exposures of every period are wrong by a factor of a thousand."""
    rng = np.random.default_rng(seed)
    beta, size = rng.standard_normal((2, n_periods * n))
    y = 0.02 * beta - 0.01 * size + 0.01 * rng.standard_normal(n_periods * n)
    wrong = np.arange(n_periods * n) % n < 3
    return pl.DataFrame(
        {
            "period": np.repeat(np.arange(n_periods), n),
            "asset": np.tile(np.arange(n), n_periods),
            "beta": np.where(wrong, 1000 * beta, beta),
            "size": size,
            "w": rng.lognormal(0, 0.5, n_periods * n),
            "return": y,
        }
    )


WAYS = {"exposures": ["beta", "size"], "weights": "w", "estimator": "mm"}


def test_frames_hold_the_estimate_of_the_oracle():
    panel = spoilt_panel()
    fits = fit_cross_sections(panel, **WAYS, intercept=True)
    for (period,), rows in panel.group_by("period", maintain_order=True):
        X = np.column_stack([np.ones(rows.height), rows["beta"], rows["size"]])
        y, w = rows["return"].to_numpy(), rows["w"].to_numpy()
        slow = mm_oracle.mm(X, y, w)
        one = fits.coefficients.filter(period=period)
        np.testing.assert_allclose(one["factor_return"], slow.b, rtol=1e-8)
        np.testing.assert_allclose(one["std_error"], slow.std_errors, rtol=1e-7)
        np.testing.assert_allclose(one["df"], slow.freedom, rtol=1e-7)
        specific = fits.specific_returns.filter(period=period)
        np.testing.assert_allclose(specific["robustness_weight"], slow.weights, atol=1e-8)
        np.testing.assert_allclose(specific["fitted"], X @ slow.b, atol=1e-10)
        diagnostics = fits.diagnostics.row(int(period), named=True)
        assert diagnostics["scale"] == pytest.approx(slow.s, rel=1e-8)
        assert diagnostics["n_downweighted"] == (slow.weights < 0.5).sum()
        assert diagnostics["n_downweighted"] >= 3
        assert diagnostics["max_leverage"] == specific["leverage"].max()
        assert diagnostics["status"] == "converged"
    robust = fits.factor_returns["beta"]
    assert ((robust - 0.02).abs() < 0.006).all()
    # A Huber fit goes through the wrong exposures.
    huber = factor_returns(panel, ["beta", "size"], weights="w", intercept=True)["beta"]
    assert (huber.abs() < 0.002).all()


def test_efficiency_is_passed_on():
    panel = spoilt_panel()
    default = factor_returns(panel, **WAYS)
    assert_frame_equal(factor_returns(panel, **WAYS, efficiency=0.95), default, check_exact=True)
    other = factor_returns(panel, **WAYS, efficiency=0.7)
    assert not other["beta"].equals(default["beta"])
    fits = fit_cross_sections(panel, **WAYS, efficiency=0.7)
    assert_frame_equal(fits.factor_returns, other, check_exact=True)
    assert (fits.estimated.estimator, fits.estimated.efficiency) == ("mm", 0.7)
    assert "MM, efficiency 0.7" in repr(fits)


@pytest.mark.parametrize("intercept", [True, False])
def test_every_way_of_reading_gives_the_same(intercept, monkeypatch):
    panel = spoilt_panel(n_periods=12)
    fits = fit_cross_sections(panel, **WAYS, intercept=intercept)
    lazy = fit_cross_sections(panel.lazy(), **WAYS, intercept=intercept)
    one_pass = fit_cross_sections(panel.lazy(), **WAYS, intercept=intercept, sorted_by_period=True)
    for other in (lazy, one_pass):
        for name in FRAMES:
            collected = getattr(other, name).collect()
            assert collected.schema == getattr(other, name).collect_schema()
            assert_frame_equal(collected, getattr(fits, name), check_exact=True)
    monkeypatch.setattr(query, "blocks_of", lambda *_: 5)
    again = fit_cross_sections(panel, **WAYS, intercept=intercept)
    for name in FRAMES:
        assert_frame_equal(getattr(again, name), getattr(fits, name), check_exact=True)


def test_the_order_of_rows_and_units_do_not_matter():
    panel = spoilt_panel()
    fits = fit_cross_sections(panel, **WAYS)
    shuffled = fit_cross_sections(panel.sample(fraction=1, shuffle=True, seed=3), **WAYS)
    scaled = fit_cross_sections(
        panel.with_columns(pl.col("return") * 1e4, pl.col("beta") * 1e-6, pl.col("w") * 1e3), **WAYS
    )
    for name in ("factor_return", "std_error"):
        one, other = fits.coefficients[name], shuffled.coefficients[name]
        np.testing.assert_allclose(other, one, rtol=1e-9)
        units = np.tile([1e10, 1e4], 6)
        np.testing.assert_allclose(scaled.coefficients[name], one * units, rtol=1e-9)
    for name in ("df", "p_value"):
        np.testing.assert_allclose(scaled.coefficients[name], fits.coefficients[name], rtol=1e-7)
    assert scaled.diagnostics["n_iter"].equals(fits.diagnostics["n_iter"])


# --- categories


def on_sectors(panel, **ways):
    return fit_cross_sections(panel, STYLES, categories=TWO, weights="w", **ways)


@pytest.mark.parametrize("dropped", [0, 1, 2, 3])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("estimator", ["huber", "mm"])
def test_nothing_depends_on_the_category_left_out(dropped, intercept, estimator, monkeypatch):
    panel = market(seed=6, n_assets=120).filter(pl.col("period") % 3 != 1)
    ways = {"intercept": intercept, "estimator": estimator}
    fits = on_sectors(panel, **ways)
    greatest = families_module._greatest

    def chosen(sums):
        return np.full(len(sums), dropped) if sums.shape[1] == 4 else greatest(sums)

    monkeypatch.setattr(families_module, "_greatest", chosen)
    other = on_sectors(panel, **ways)
    for name in ("factor_returns", "coefficients", "specific_returns"):
        assert_frame_equal(getattr(fits, name), getattr(other, name), rel_tol=1e-12, abs_tol=1e-14)


@pytest.mark.parametrize("estimator", ["huber", "mm"])
def test_sectors_that_sum_to_zero_and_their_errors(estimator):
    panel = market(seed=9, n_assets=150)
    fits = on_sectors(panel, intercept=True, estimator=estimator)
    sectors = [name for name in fits.factor_returns.columns if name.startswith("sector=")]
    for row in fits.factor_returns.rows(named=True):
        used = panel.filter(period=row["period"]).join(
            fits.specific_returns.drop_nulls("leverage"), on=["period", "asset"], how="semi"
        )
        column, weights = "sector", TWO["sector"]
        share = used.group_by(column).agg(pl.col(weights).sum() if weights else pl.lit(1.0))
        total = sum(
            row[f"sector={name}"] * weight
            for name, weight in share.rows()
            if row[f"sector={name}"] is not None
        )
        size = sum(abs(row[name] or 0.0) for name in sectors) * share[:, 1].sum()
        assert abs(total) < 1e-12 * size
    known = fits.coefficients.drop_nulls("std_error")
    assert known["df"].is_between(1, 150).all()
    assert known["p_value"].is_between(0, 1).all()


@pytest.mark.parametrize("estimator", ["huber", "mm"])
def test_portfolios_have_the_factor_returns(estimator):
    panel = market(seed=3, n_assets=80)
    fits = on_sectors(panel, intercept=True, estimator=estimator)
    held = fits.factor_portfolios.join(
        panel.select("period", "asset", "return"), on=["period", "asset"]
    )
    returns = held.group_by("period", "factor").agg((pl.col("holding") * pl.col("return")).sum())
    both = fits.coefficients.join(returns, on=["period", "factor"])
    assert both.height > 20
    np.testing.assert_allclose(both["holding"], both["factor_return"], rtol=1e-6, atol=1e-9)


def test_a_portfolio_without_weight_is_left_out_and_spoils_no_other():
    rng = np.random.default_rng(4)
    n = 43
    far = np.arange(n) < 3
    panel = pl.DataFrame(
        {
            "period": 1,
            "asset": np.arange(n),
            "far": far.astype(float),
            "near": (~far).astype(float),
            "return": np.where(far, (np.arange(n) - 1) * 1e6, rng.standard_normal(n)),
        }
    )
    fits = fit_cross_sections(panel, ["far", "near"], estimator="mm")
    weights = fits.specific_returns["robustness_weight"].to_numpy()
    assert (weights[[0, 2]] == 0).all()
    held = fits.factor_portfolios.filter(factor="near").join(panel, on="asset")
    total = (held["holding"] * held["return"]).sum()
    assert total == pytest.approx(fits.factor_returns["near"][0], rel=1e-8)


def test_the_only_category_of_a_family_has_a_return_of_zero_and_no_test():
    panel = spoilt_panel().with_columns(sector=pl.lit("all"))
    for estimator in ("huber", "mm"):
        fits = fit_cross_sections(
            panel, "beta", intercept=True, categories={"sector": None}, estimator=estimator
        )
        rows = (
            fits.coefficients.filter(factor="sector=all").drop("period", "factor").unique().rows()
        )
        assert rows == [(0.0, 0.0, None, None, None)]


def test_columns_of_categories_are_no_exposures_that_could_lie_out(monkeypatch):
    # Without an intercept they hold several values, none of them in half of the rows.
    seen = []

    def spy(block, periods, width, columns):
        seen.append(len(columns))
        return exposure_weights(block, periods, width, columns)

    monkeypatch.setattr(mm, "exposure_weights", spy)
    panel = market(seed=6)
    for function in (factor_returns, fit_cross_sections):
        function(panel, STYLES, categories=TWO, estimator="mm")
    assert set(seen) == {len(STYLES)}


# --- pandas


def test_pandas_functions_take_the_estimator():
    panel = spoilt_panel()
    expected = factor_returns(panel, ["beta", "size"], weights="w", estimator="mm", efficiency=0.9)
    frame = panel.to_pandas().set_index(["period", "asset"])
    ways = {"estimator": "mm", "efficiency": 0.9}
    returns = frame["return"].unstack("period")  # noqa: PD010 - a Series has no pivot_table
    monthly = run_monthly_factor_returns(returns, frame[["beta", "size"]], frame[["w"]], **ways)
    np.testing.assert_array_equal(monthly.to_numpy(), expected.drop("period").to_numpy())
    one = frame.loc[0]
    series = run_cross_sectional_regression(one["return"], one[["beta", "size"]], one["w"], **ways)
    np.testing.assert_array_equal(series, expected.drop("period").row(0))
    huber = run_cross_sectional_regression(one["return"], one[["beta", "size"]], one["w"])
    assert not np.allclose(series, huber)


# --- what is refused, and bad periods

RANGE = "expected a number from 0.3 to 0.9999"
OWN_ERRORS = "which has standard errors of its own"
WITHOUT_FAR = "are linearly dependent once assets with outlying exposures are left out"


@pytest.mark.parametrize("function", [factor_returns, fit_cross_sections])
@pytest.mark.parametrize(
    ("ways", "kind", "message"),
    [
        ({"estimator": "MM"}, ValueError, "estimator is 'MM', expected 'huber' or 'mm'"),
        ({"estimator": None}, TypeError, "estimator is None, expected 'huber' or 'mm'"),
        (
            {"efficiency": 1.0},
            ValueError,
            "efficiency is 1.0, expected a number from 0.3 to 0.9999",
        ),
        ({"efficiency": 95}, ValueError, "efficiency is 95, expected a number from 0.3 to 0.9999"),
        ({"efficiency": "high"}, TypeError, "efficiency is of type str, expected a number"),
        (
            {"estimator": "mm", "cov_type": "H1"},
            ValueError,
            f"cov_type is 'H1', expected 'HC2' with estimator='mm', {OWN_ERRORS}",
        ),
    ],
)
def test_options_out_of_range(function, ways, kind, message):
    with pytest.raises(kind) as raised:
        function(spoilt_panel(), ["beta"], **ways)
    assert str(raised.value) == message


def test_pandas_functions_refuse_another_estimator():
    frame = spoilt_panel(1).to_pandas().set_index("asset")
    with pytest.raises(ValueError, match=r"^estimator is 'ols', expected 'huber' or 'mm'$"):
        run_cross_sectional_regression(
            frame["return"], frame[["beta"]], frame["w"], estimator="ols"
        )


def test_bad_periods_have_their_status_and_reason():
    panel = spoilt_panel(5, 30).with_columns(
        pl.when((pl.col("period") == 1) & (pl.col("asset") > 0))
        .then(None)
        .otherwise("beta")
        .alias("beta"),
        pl.when(pl.col("period") == 2).then(pl.col("beta") * 2).otherwise("size").alias("size"),
    )
    exact = 0.5 * panel["beta"] - panel["size"]
    panel = panel.with_columns(
        pl.when(pl.col("period") == 3).then(exact).otherwise("return").alias("return")
    )
    fits = fit_cross_sections(panel, **WAYS)
    assert fits.diagnostics["status"].to_list() == [
        "converged",
        "too_few_assets",
        "rank_deficient",
        "exact_fit",
        "converged",
    ]
    assert fits.bad_periods.rows() == [
        (1, "too_few_assets", "1 usable asset for 2 exposures"),
        (
            2,
            "rank_deficient",
            "exposures 'beta', 'size' are linearly dependent over the 30 assets",
        ),
        (
            3,
            "exact_fit",
            "the exposures fit most of the 30 returns exactly, so there is no error to estimate",
        ),
    ]
    alone = fit_cross_sections(panel.filter(pl.col("period").is_in([0, 4])), **WAYS)
    for name in ("factor_returns", "coefficients", "specific_returns", "diagnostics"):
        good = getattr(fits, name).filter(pl.col("period").is_in([0, 4]))
        assert_frame_equal(good, getattr(alone, name), check_exact=True)
    bad = fits.coefficients.filter(pl.col("period").is_in([1, 2, 3]))
    assert bad.select("std_error", "t_stat", "df", "p_value").null_count().row(0) == (6,) * 4
    assert fits.factor_returns["beta"].is_null().to_list() == [False, True, True, False, False]
    with pytest.raises(FitError, match="period 1"):
        factor_returns(panel, **WAYS, on_failure="raise")


def test_exposures_that_only_bad_rows_tell_apart_are_named():
    rng = np.random.default_rng(2)
    x = rng.standard_normal(40)
    panel = pl.DataFrame({"period": 1, "asset": range(40), "x": x, "z": x, "far": x[::-1]})
    wrong = pl.col("asset") == 0
    panel = panel.with_columns(
        pl.when(wrong).then(pl.col("z") + 1.0).otherwise("z").alias("z"),
        pl.when(wrong).then(1e9).otherwise("far").alias("far"),
        pl.Series("return", rng.standard_normal(40)),
    )
    ways = {"exposures": ["x", "z", "far"], "estimator": "mm"}
    assert fit_cross_sections(panel, **ways).bad_periods.rows() == [
        (
            1,
            "rank_deficient",
            f"exposures 'x', 'z' {WITHOUT_FAR}",
        )
    ]
    assert fit_cross_sections(panel, ["x", "z", "far"]).bad_periods.is_empty()


def test_categories_that_only_bad_rows_tell_apart_are_named():
    rng = np.random.default_rng(1)
    sector = np.resize(list("abc"), 60)
    x = np.where(sector == "a", 1.0, 0.0) + np.where(sector == "b", 2.0, 0.0)
    far = rng.standard_normal(60)
    x[:3] += 5
    far[:3] = 1e9
    panel = pl.DataFrame(
        {
            "period": 1,
            "asset": range(60),
            "x": x,
            "far": far,
            "sector": pl.Series(sector, dtype=pl.Enum("abc")),
            "return": rng.standard_normal(60),
        }
    )
    ways = {"exposures": ["x", "far"], "categories": {"sector": None}, "intercept": True}
    reason = fit_cross_sections(panel, **ways, estimator="mm").bad_periods["reason"][0]
    assert reason.startswith("factors 'intercept', 'x', ")
    assert reason.endswith(WITHOUT_FAR)
    assert fit_cross_sections(panel, **ways).bad_periods.is_empty()


def test_a_huber_fit_has_no_rows_far_out():
    rng = np.random.default_rng(0)
    x = rng.standard_normal(40)
    first = np.arange(40) == 0
    panel = pl.DataFrame(
        {
            "period": 1,
            "asset": range(40),
            "x": x,
            "z": x + first,
            "w": np.where(first, 1e-40, 1.0),
            "return": rng.standard_normal(40),
        }
    )
    for estimator in ("huber", "mm"):
        fits = fit_cross_sections(panel, ["x", "z"], weights="w", estimator=estimator)
        assert fits.bad_periods["reason"].to_list() == [
            "exposures 'x', 'z' are linearly dependent over the 40 assets"
        ]


def test_rows_left_out_have_neither_weight_nor_leverage():
    panel = spoilt_panel().with_columns(
        pl.when(pl.col("asset") == 5).then(0.0).otherwise("w").alias("w"),
        pl.when(pl.col("asset") == 7).then(None).otherwise("size").alias("size"),
    )
    for estimator in ("huber", "mm"):
        fits = fit_cross_sections(panel, ["beta", "size"], weights="w", estimator=estimator)
        rows = fits.specific_returns.with_columns(left_out=pl.col("asset").is_in([5, 7]))
        for column in ("robustness_weight", "leverage"):
            assert (rows[column].is_null() == rows["left_out"]).all()
        used = rows.filter(~pl.col("left_out"))
        totals = used.group_by("period").agg(pl.col("leverage").sum())["leverage"]
        np.testing.assert_allclose(totals, 2.0, rtol=1e-9)  # k


def test_degenerate_panels_raise_nothing():
    schema = {"period": pl.Int64, "asset": pl.String, "x": pl.Float64, "return": pl.Float64}
    empty = pl.DataFrame(schema=schema)
    nulls = pl.DataFrame({"period": [1, 1], "asset": ["a", "b"], "x": None, "return": None})
    one = pl.DataFrame({"period": [1], "asset": ["a"], "x": [2.0], "return": [0.1]})
    for panel, statuses in ((empty, []), (nulls, ["too_few_assets"]), (one, ["exact_fit"])):
        fits = fit_cross_sections(panel, "x", estimator="mm")
        assert fits.diagnostics["status"].to_list() == statuses
        assert isinstance(repr(fits), str)
    assert fits.factor_returns.row(0) == (1, pytest.approx(0.05))


def test_other_frames_are_taken_by_the_mm_estimate_too():
    panel = spoilt_panel()
    expected = factor_returns(panel, **WAYS)
    for given in (panel.to_arrow(), panel.to_pandas()):
        assert_frame_equal(factor_returns(given, **WAYS), expected, check_exact=True)
    assert isinstance(panel.to_pandas(), pd.DataFrame)
