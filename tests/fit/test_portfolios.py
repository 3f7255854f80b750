"""Factor-mimicking portfolios: what they return, what they are exposed to."""

from __future__ import annotations

import pickle
from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose
from polars.testing import assert_frame_equal
from scipy.linalg import null_space

from category_panels import STYLES, TWO, dense, market
from panels import EXPOSURES, panel_of
from vbase_py_utils import FitError, PanelError, fit_cross_sections

KEYS = ["period", "asset"]


def returns_of(fits, panel):
    """What each portfolio earned, beside the factor return."""
    return (
        fits.factor_portfolios.join(panel, on=KEYS)
        .group_by("period", "factor")
        .agg(earned=(pl.col("holding") * pl.col("return")).sum())
        .join(fits.coefficients, on=["period", "factor"])
        .join(fits.diagnostics.select("period", "scale", "status"), on="period")
    )


def matrix(portfolios, names):
    """Holdings (n, K) of a period."""
    wide = portfolios.pivot("factor", index="asset", values="holding", maintain_order=True)
    assert wide.columns[1:] == list(names)
    return wide["asset"], wide.select(names).to_numpy()


@pytest.mark.parametrize("huber_t", [1.345, np.inf])
@pytest.mark.parametrize("weights", ["w", None])
@pytest.mark.parametrize("unit", [1.0, 1e-8, 1e150])
def test_portfolios_earn_the_factor_returns(huber_t, weights, unit):
    panel = panel_of(4, [30, 80, 25, 3, 2, 40, 60], unit=unit)
    if weights:
        # In units whose squares, or products with robustness weights, no number can hold.
        panel = panel.with_columns(pl.col("x") / unit, pl.col("w") * 1e-300)
    fits = fit_cross_sections(panel, EXPOSURES, weights=weights, huber_t=huber_t)
    healthy = fits.diagnostics.filter(status="converged")["period"].to_list()
    assert len(healthy) >= 4
    assert fits.factor_portfolios["period"].unique(maintain_order=True).to_list() == healthy
    both = returns_of(fits, panel)
    assert both.height == 3 * len(healthy)
    error = (both["earned"] - both["factor_return"]).abs() / both["factor_return"].abs()
    assert error.max() < 1e-9
    for (period,), own in fits.factor_portfolios.group_by("period"):
        assets, H = matrix(own, EXPOSURES)
        rows = panel.filter(period=period)
        X = pl.DataFrame({"asset": assets}).join(rows, on="asset", maintain_order="left")
        X = X.select(EXPOSURES).to_numpy().astype(float)
        size = np.nanmax(np.abs(X), axis=0)
        assert_allclose((X / size).T @ (H * size), np.eye(3), atol=1e-9)
        used = fits.specific_returns.filter(
            (pl.col("period") == period) & pl.col("robustness_weight").is_not_null()
        )
        assert assets.to_list() == used["asset"].to_list()


def test_least_squares_portfolios_are_the_textbook_ones():
    panel = panel_of(5, [40, 50], gaps=0.0)
    fits = fit_cross_sections(panel, EXPOSURES, weights="w", huber_t=np.inf)
    for (period,), own in fits.factor_portfolios.group_by("period"):
        rows = panel.filter(period=period)
        X, w = rows.select(EXPOSURES).to_numpy(), rows["w"].to_numpy()
        expected = np.linalg.solve((X.T * w) @ X, X.T * w).T
        if fits.diagnostics.filter(period=period)["status"][0] == "converged":
            assert_allclose(matrix(own, EXPOSURES)[1], expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("huber_t", [1.345, np.inf])
@pytest.mark.parametrize("intercept", [True, False])
def test_portfolios_under_constraints(huber_t, intercept):
    panel = market(seed=21)
    fits = fit_cross_sections(
        panel, STYLES, intercept=intercept, categories=TWO, weights="w", huber_t=huber_t
    )
    both = returns_of(fits, panel)
    assert both.height == fits.coefficients["factor_return"].count()
    assert ((both["earned"] - both["factor_return"]).abs() / both["scale"]).max() < 1e-9
    for (period,), own in fits.factor_portfolios.group_by("period"):
        one = dense(panel.filter(period=period), STYLES, TWO, intercept=intercept)
        _, H = matrix(own, one.names)
        # Whatever factor returns the constraints allow, the portfolios earn them.
        allowed = null_space(one.C / one.C.max(axis=1, keepdims=True))
        assert_allclose(H.T @ one.X @ allowed, allowed, atol=1e-9)
        exposed = H.T @ one.X
        styles = [one.names.index(name) for name in STYLES]
        identity = np.eye(len(one.names))
        assert_allclose(exposed[:, styles], identity[:, styles], atol=1e-9)
        assert_allclose(one.C @ H.T / one.C.max(axis=1, keepdims=True), 0, atol=1e-9)
        if intercept:
            assert_allclose(H.sum(axis=0), identity[0], atol=1e-9)


def test_the_market_holds_the_sectors_by_their_cap():
    """The portfolio of the intercept, under the constraint that sectors net out by cap."""
    panel = market(seed=22, gaps=0)
    fits = fit_cross_sections(panel, STYLES, intercept=True, categories={"sector": "cap"})
    held = fits.factor_portfolios.filter(factor="intercept").join(panel, on=KEYS)
    shares = held.group_by("period", "sector").agg(pl.col("holding").sum(), pl.col("cap").sum())
    shares = shares.with_columns(pl.col("cap") / pl.col("cap").sum().over("period"))
    assert_allclose(shares["holding"], shares["cap"], atol=1e-12)


def test_portfolios_count_outliers_less():
    panel = market(seed=23, gaps=0)
    spoilt = panel.with_columns(
        pl.when((pl.col("asset") == 0) & (pl.col("period") == 0))
        .then(50.0)
        .otherwise("return")
        .alias("return")
    )
    robust, plain = (
        fit_cross_sections(spoilt, STYLES, huber_t=t).factor_portfolios.filter(period=0, asset=0)
        for t in (1.345, np.inf)
    )
    assert (robust["holding"].abs() < 1e-2 * plain["holding"].abs()).all()


@pytest.mark.parametrize("wild", [1e6, 1e15])
def test_portfolios_of_wild_returns_earn_the_factor_returns(wild):
    panel = panel_of(24, [60, 60], gaps=0.0)
    outlying = pl.int_range(pl.len()) % 12 == 0
    panel = panel.with_columns(pl.when(outlying).then(wild).otherwise("return").alias("return"))
    both = returns_of(fit_cross_sections(panel, EXPOSURES, weights="w"), panel)
    assert ((both["earned"] - both["factor_return"]).abs() / both["scale"]).max() < 1e-9


def test_portfolios_do_not_stay_in_memory():
    fits = fit_cross_sections(panel_of(25, [30], gaps=0.0), EXPOSURES)
    assert fits.factor_portfolios is not fits.factor_portfolios
    again = pickle.loads(pickle.dumps(fits))
    assert_frame_equal(again.factor_portfolios, fits.factor_portfolios, check_exact=True)


def test_periods_that_did_not_converge_have_none():
    panel = panel_of(6, [30, 3, 30], gaps=0.0)
    assert fit_cross_sections(panel, EXPOSURES).diagnostics["status"].to_list() == [
        "converged",
        "exact_fit",
        "converged",
    ]
    portfolios = fit_cross_sections(panel, EXPOSURES).factor_portfolios
    assert portfolios["period"].unique().to_list() == [0, 2]
    assert fit_cross_sections(panel, EXPOSURES, max_iter=1).factor_portfolios.is_empty()
    empty = fit_cross_sections(panel.clear(), EXPOSURES).factor_portfolios
    assert empty.schema == portfolios.schema
    assert empty.is_empty()


@pytest.mark.parametrize("sorted_by_period", [False, True])
def test_lazy_and_collected_fits_give_the_same(sorted_by_period):
    panel = panel_of(7, [30, 40, 50])
    eager = fit_cross_sections(panel, EXPOSURES, weights="w").factor_portfolios
    lazy = fit_cross_sections(
        panel.lazy(), EXPOSURES, weights="w", sorted_by_period=sorted_by_period
    )
    for engine in ("in-memory", "streaming"):
        assert_frame_equal(lazy.factor_portfolios.collect(engine=engine), eager, check_exact=True)
        query = lazy.factor_portfolios.filter(pl.col("factor") == "z").select("holding")
        expected = eager.filter(factor="z").select("holding")
        assert_frame_equal(query.collect(engine=engine), expected, check_exact=True)
    assert_frame_equal(lazy.collect().factor_portfolios, eager, check_exact=True)


def test_names_and_types_of_keys_are_those_given():
    panel = panel_of(8, [30, 20], period_type="Date").rename({"period": "day", "asset": "id"})
    fits = fit_cross_sections(panel, ["x"], period="day", asset="id")
    assert fits.factor_portfolios.schema == {
        "day": pl.Date,
        "id": pl.String,
        "factor": pl.String,
        "holding": pl.Float64,
    }
    named = panel.rename({"id": "holding"})
    with pytest.raises(PanelError, match="asset column 'holding' is named like a column"):
        fit_cross_sections(named, "x", period="day", asset="holding").factor_portfolios  # noqa: B018


def test_a_panel_changed_later_does_not_change_the_fits():
    panel = panel_of(9, [30], gaps=0.0)
    fits = fit_cross_sections(panel, "x")
    expected = fit_cross_sections(panel, "x").factor_portfolios
    panel[0, "x"] = 1e6
    assert_frame_equal(fits.factor_portfolios, expected, check_exact=True)


def exact_holdings(X, v):
    """(X'VX)^-1 X'V of two exposures in exact fractions: a row per factor, a column per asset."""
    rows = [[Fraction(x) for x in row] for row in X.tolist()]
    v = [Fraction(value) for value in v.tolist()]
    (a, b), (_, d) = (
        [sum(w * r[i] * r[j] for w, r in zip(v, rows, strict=True)) for j in (0, 1)] for i in (0, 1)
    )
    det = a * d - b * b
    return [
        [float(w * (d * r[0] - b * r[1]) / det) for w, r in zip(v, rows, strict=True)],
        [float(w * (a * r[1] - b * r[0]) / det) for w, r in zip(v, rows, strict=True)],
    ]


def test_holdings_of_next_to_no_weight_have_all_their_digits():
    rng = np.random.default_rng(6)
    n = 30
    X = np.column_stack([np.ones(n), rng.standard_normal(n)])
    w = 10.0 ** rng.uniform(-20, 0, n)
    panel = pl.DataFrame(
        {"period": 1, "asset": range(n), "return": rng.standard_normal(n), "w": w}
    ).with_columns(one=1.0, x=pl.Series(X[:, 1]))
    fits = fit_cross_sections(panel, ["one", "x"], weights="w", huber_t=np.inf)
    _, H = matrix(fits.factor_portfolios, ["one", "x"])
    # Digit by digit, also where holdings are 1e-20 of the largest.
    assert_allclose(H.T, exact_holdings(X, w), rtol=1e-11)
    assert np.abs(H).min() < 1e-15 * np.abs(H).max()


def test_a_portfolio_is_there_wholly_or_not_at_all():
    # Per unit of such small exposures some holdings are too large for a number, others are not.
    panel = pl.DataFrame(
        {
            "period": 1,
            "asset": ["A", "B", "C", "D"],
            "return": [0.01, -0.02, 0.015, 0.003],
            "tiny": [2.0**-1026, 2.0**-1034, -(2.0**-1027), 2.0**-1037],
            "other": [1.0, 2.0, -1.0, 4.0],
        }
    )
    fits = fit_cross_sections(panel, ["tiny", "other"], huber_t=np.inf)
    assert fits.diagnostics["status"].to_list() == ["converged"]
    portfolios = fits.factor_portfolios
    assert portfolios["factor"].unique().to_list() == ["other"]
    assert portfolios["asset"].to_list() == ["A", "B", "C", "D"]
    normal = panel.with_columns(pl.col("tiny") * 2.0**1000)
    whole = fit_cross_sections(normal, ["tiny", "other"], huber_t=np.inf).factor_portfolios
    holdings = whole.filter(factor="tiny")["holding"].to_numpy()
    # A normal unit has them all; in the tiny one only some would be numbers.
    with np.errstate(over="ignore"):
        assert set(np.isfinite(np.ldexp(holdings, 1000)).tolist()) == {True, False}
    expected = whole.filter(factor="other")["holding"]
    assert_allclose(portfolios["holding"], expected, rtol=1e-9)


def test_lazy_portfolios_keep_what_the_fits_were_asked_for():
    panel = panel_of(4, [30, 2, 40])
    failing = fit_cross_sections(panel.lazy(), EXPOSURES, on_failure="raise")
    with pytest.raises(FitError, match="too_few_assets"):
        failing.factor_portfolios.collect()
    backwards = fit_cross_sections(panel.reverse().lazy(), EXPOSURES, sorted_by_period=True)
    with pytest.raises(PanelError, match="is not sorted"):
        backwards.factor_portfolios.collect()
