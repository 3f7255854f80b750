"""The full result: its frames, what holds between them, bad periods, lazy results, its text."""

from __future__ import annotations

import datetime as dt
import html.parser
import inspect
import pickle

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from scipy import stats

import oracle
import problems
from vbase_py_utils import (
    CrossSectionFits,
    FitError,
    PanelError,
    factor_returns,
    fit_cross_sections,
)
from vbase_py_utils.demo import FACTORS
from vbase_py_utils.fit import block, query
from vbase_py_utils.kernel import estimators

FRAMES = ("factor_returns", "coefficients", "specific_returns", "diagnostics", "bad_periods")
DIAGNOSTICS = {
    "n_assets": pl.UInt32,
    "n_excluded": pl.UInt32,
    "n_downweighted": pl.UInt32,
    "scale": pl.Float64,
    "r_squared": pl.Float64,
    "robust_r_squared": pl.Float64,
    "max_leverage": pl.Float64,
    "condition_number": pl.Float64,
    "n_iter": pl.UInt32,
    "status": pl.Enum(["converged", "max_iter", "exact_fit", "rank_deficient", "too_few_assets"]),
}


def frames(fits: CrossSectionFits):
    return {name: getattr(fits, name).lazy().collect() for name in FRAMES}


def assert_equal_fits(a, b, **tolerance):
    """Equal in every frame; to the last bit unless a tolerance is given."""
    tolerance = tolerance or {"check_exact": True}
    for name in FRAMES:
        assert_frame_equal(frames(a)[name], frames(b)[name], **tolerance)


def assert_is_oracle(fits, panel, exposures=FACTORS):
    """Every number of a fit of healthy periods, weighted with "weight", no row left out."""
    assert fits.diagnostics.height == panel["period"].n_unique()
    for (period,), rows in panel.group_by("period", maintain_order=True):
        X, y, w = (rows.select(c).to_numpy() for c in (exposures, "return", "weight"))
        y, w = y[:, 0], w[:, 0]
        slow = oracle.huber(X, y, w)
        this = pl.col("period") == period
        coefficients = fits.coefficients.filter(this)
        se = oracle.std_errors(X, y, w, slow)
        assert coefficients["factor"].to_list() == exposures
        np.testing.assert_allclose(coefficients["factor_return"], slow.b, rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(coefficients["std_error"], se, rtol=1e-6)
        np.testing.assert_allclose(coefficients["t_stat"], slow.b / se, rtol=1e-6, atol=1e-8)
        df = [oracle.degrees_of_freedom(X, w, one) for one in np.eye(len(exposures))]
        np.testing.assert_allclose(coefficients["df"], df, rtol=1e-9)
        p_values = 2 * stats.t.sf(np.abs(slow.b / se), df)
        np.testing.assert_allclose(coefficients["p_value"], p_values, rtol=1e-4, atol=1e-12)
        specific = fits.specific_returns.filter(this)
        assert specific["asset"].to_list() == rows["asset"].to_list()
        np.testing.assert_allclose(specific["fitted"], X @ slow.b, atol=1e-11)
        np.testing.assert_allclose(specific["specific_return"], y - X @ slow.b, atol=1e-11)
        np.testing.assert_allclose(specific["robustness_weight"], slow.weights, rtol=1e-6)
        leverages = oracle.leverages(X, w)
        np.testing.assert_allclose(specific["leverage"], leverages, rtol=1e-9)
        diagnostics = fits.diagnostics.filter(this).row(0, named=True)
        assert diagnostics["n_assets"] == rows.height
        assert diagnostics["n_excluded"] == 0
        assert diagnostics["n_downweighted"] == (slow.weights < 1).sum()
        assert diagnostics["max_leverage"] == pytest.approx(leverages.max(), rel=1e-9)
        assert diagnostics["scale"] == pytest.approx(slow.s, rel=1e-8)
        assert diagnostics["status"] == "converged"
        u = y - X @ slow.b
        for name, weight in (("r_squared", w), ("robust_r_squared", w * slow.weights)):
            total = np.sum(weight * (y - np.average(y, weights=weight)) ** 2)
            expected = 1 - np.sum(weight * u**2) / total
            assert diagnostics[name] == pytest.approx(expected, rel=1e-7)
        whitened = X * np.sqrt(w)[:, None]
        expected = np.linalg.cond(whitened / np.linalg.norm(whitened, axis=0))
        assert diagnostics["condition_number"] == pytest.approx(expected, rel=1e-9)


@pytest.fixture
def weighted(panel, rng):
    return panel.with_columns(weight=pl.Series(rng.lognormal(0, 1, panel.height)))


# --- the frames


def test_frames_have_the_columns_of_the_contract(weighted):
    panel = weighted.rename({"period": "month", "asset": "name"})
    fits = fit_cross_sections(panel, FACTORS, weights="weight", period="month", asset="name")
    f64 = pl.Float64
    assert dict(fits.factor_returns.schema) == {"month": pl.String, **dict.fromkeys(FACTORS, f64)}
    assert dict(fits.coefficients.schema) == {
        "month": pl.String,
        "factor": pl.String,
        "factor_return": f64,
        "std_error": f64,
        "t_stat": f64,
        "df": f64,
        "p_value": f64,
    }
    assert dict(fits.specific_returns.schema) == {
        "month": pl.String,
        "name": pl.String,
        "fitted": f64,
        "specific_return": f64,
        "robustness_weight": f64,
        "leverage": f64,
    }
    assert dict(fits.diagnostics.schema) == {"month": pl.String, **DIAGNOSTICS}
    assert dict(fits.bad_periods.schema) == {
        "month": pl.String,
        "status": DIAGNOSTICS["status"],
        "reason": pl.String,
    }
    assert [len(frame) for frame in frames(fits).values()] == [12, 36, 600, 12, 0]
    assert [frame.columns for frame in frames(fits).values()] == [
        ["month", *FACTORS],
        ["month", "factor", "factor_return", "std_error", "t_stat", "df", "p_value"],
        ["month", "name", "fitted", "specific_return", "robustness_weight", "leverage"],
        ["month", *DIAGNOSTICS],
        ["month", "status", "reason"],
    ]


def test_frames_hold_the_estimate_of_the_oracle(weighted):
    assert_is_oracle(fit_cross_sections(weighted, FACTORS, weights="weight"), weighted)


def test_the_kind_of_standard_error_arrives(weighted):
    rows = weighted.filter(pl.col("period") == "2023-01")
    X, y, w = (rows.select(c).to_numpy() for c in (FACTORS, "return", "weight"))
    slow = oracle.huber(X, y[:, 0], w[:, 0])
    for cov_type in ("HC2", "sandwich", "H1"):
        expected = oracle.std_errors(X, y[:, 0], w[:, 0], slow, cov_type=cov_type)
        for frame in (rows, rows.lazy()):
            fits = fit_cross_sections(frame, FACTORS, weights="weight", cov_type=cov_type)
            answer = fits.collect().coefficients["std_error"]
            np.testing.assert_allclose(answer, expected, rtol=1e-6)
    for wrong, kind in (("HC3", ValueError), (None, TypeError)):
        with pytest.raises(kind, match="expected 'HC2', 'sandwich' or 'H1'"):
            fit_cross_sections(weighted, FACTORS, cov_type=wrong)


def test_arguments_are_those_of_factor_returns():
    full, bare = (inspect.signature(f).parameters for f in (fit_cross_sections, factor_returns))
    assert list(full) == list(bare)
    assert [p.default for p in full.values()] == [p.default for p in bare.values()]


def test_factor_returns_are_those_of_the_function(weighted):
    for options in ({}, {"weights": "weight", "huber_t": 2.0}, {"tol": 1e-3, "max_iter": 4}):
        fits = fit_cross_sections(weighted, FACTORS, **options)
        expected = factor_returns(weighted, FACTORS, **options)
        assert_frame_equal(fits.factor_returns, expected, check_exact=True)


def test_factor_returns_does_not_pay_for_the_rest(panel, monkeypatch):
    def never(*_, **__):
        raise AssertionError("inference was run")

    for name in ("estimate_and_assess", "fitted_values"):
        monkeypatch.setattr(block, name, never)
    factor_returns(panel, FACTORS)
    factor_returns(panel.lazy(), FACTORS).collect()
    with pytest.raises(AssertionError):
        fit_cross_sections(panel, FACTORS)


def test_the_panel_is_left_alone(weighted):
    before = weighted.clone()
    fit_cross_sections(weighted, FACTORS, weights="weight")
    assert_frame_equal(weighted, before)


# --- rows that are left out


def test_every_row_of_the_panel_is_there_with_what_can_be_said_of_it(weighted):
    nan = float("nan")
    where = {
        "Asset_1": {"weight": 0.0},
        "Asset_2": {"weight": None},
        "Asset_3": {"weight": nan},
        "Asset_4": {"return": None},
        "Asset_5": {"return": float("-inf")},
        "Asset_6": {"Factor_1": nan},
        "Asset_7": {"Factor_1": float("inf")},
        "Asset_8": {"weight": 0.0, "return": nan},
        "Asset_9": {"weight": 0.0, "Factor_0": None},
        "Asset_10": {"weight": float("inf")},
    }
    spoilt = weighted
    for asset, values in where.items():
        spoilt = spoilt.with_columns(
            pl.when(pl.col("asset") == asset).then(value).otherwise(pl.col(name)).alias(name)
            for name, value in values.items()
        )
    fits = fit_cross_sections(spoilt, FACTORS, weights="weight")
    assert fits.diagnostics["n_excluded"].unique().to_list() == [10]
    assert fits.diagnostics["n_assets"].unique().to_list() == [40]
    assert fits.specific_returns.select("period", "asset").equals(panel_keys(weighted))
    # The estimate is that of the other rows, and so are their numbers.
    kept = weighted.filter(~pl.col("asset").is_in(list(where)))
    reference = fit_cross_sections(kept, FACTORS, weights="weight")
    assert_is_oracle(reference, kept)
    assert_frame_equal(fits.coefficients, reference.coefficients, check_exact=True)
    inside = ~pl.col("asset").is_in(list(where))
    assert_frame_equal(
        fits.specific_returns.filter(inside), reference.specific_returns, check_exact=True
    )
    # Left out rows: fitted from the exposures, specific where the return is there too.
    rows = fits.specific_returns.join(weighted, on=["period", "asset"]).join(
        fits.factor_returns, on="period", suffix="_b"
    )
    by_hand = pl.sum_horizontal(pl.col(f) * pl.col(f"{f}_b") for f in FACTORS)
    for number in range(1, 11):
        its = rows.filter(pl.col("asset") == f"Asset_{number}")
        assert its["robustness_weight"].null_count() == 12
        assert its["fitted"].null_count() == (12 if number in {6, 7, 9} else 0)
        assert its["specific_return"].null_count() == (12 if 4 <= number <= 9 else 0)
        if number not in {6, 7, 9}:
            np.testing.assert_allclose(its["fitted"], its.select(by_hand).to_series(), atol=1e-14)
        if number in {1, 2, 3, 10}:
            np.testing.assert_allclose(
                its["specific_return"], its["return"] - its["fitted"], atol=1e-15
            )


def panel_keys(panel):
    return panel.select("period", "asset").sort("period", maintain_order=True)


def assert_no_nan_nor_infinity(fits):
    for name in FRAMES[:4]:
        numbers = getattr(fits, name).select(pl.selectors.float())
        assert numbers.select(pl.all().is_finite().all()).row(0) == (True,) * numbers.width


def test_no_frame_holds_nan_or_infinity(weighted):
    few = weighted.with_columns(
        pl.when(pl.col("period") == "2023-02").then(None).otherwise("return").alias("return"),
        pl.when(pl.col("asset") == "Asset_3").then(0.0).otherwise("weight").alias("weight"),
    )
    fits = fit_cross_sections(few, FACTORS, weights="weight")
    assert_no_nan_nor_infinity(fits)


# --- identities


@st.composite
def panels(draw):
    """Ragged panels with outliers, missing cells and rows outside the universe."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sizes = draw(st.lists(st.integers(1, 40), min_size=1, max_size=6))
    n = sum(sizes)
    panel = pl.DataFrame(
        {
            "period": np.repeat(np.arange(len(sizes)), sizes),
            "asset": np.concatenate([np.arange(size) for size in sizes]),
            "return": 0.01 * rng.standard_t(draw(st.sampled_from([1.5, 3, 30])), n),
            "weight": rng.lognormal(0, 1, n) * (rng.random(n) > 0.1),
            "a": rng.standard_normal(n),
            "b": np.where(rng.random(n) > 0.05, rng.standard_normal(n), np.nan),
        }
    )
    return panel.sample(fraction=1, shuffle=True, seed=draw(st.integers(0, 100)))


@settings(max_examples=60, deadline=None)
@given(panel=panels(), huber_t=st.sampled_from([1.0, 1.345, 4.0]))
def test_identities(panel, huber_t):
    fits = fit_cross_sections(panel, ["a", "b"], weights="weight", huber_t=huber_t)
    rows = fits.specific_returns.join(panel, on=["period", "asset"], maintain_order="left")
    assert rows.select("period", "asset").equals(panel_keys(panel))
    there = rows.drop_nulls("specific_return")
    np.testing.assert_allclose(
        there["fitted"] + there["specific_return"], there["return"], rtol=1e-12, atol=1e-15
    )
    weights = rows["robustness_weight"].drop_nulls()
    assert ((weights > 0) & (weights <= 1)).all()
    counts = panel.group_by("period").len().sort("period")["len"]
    diagnostics = fits.diagnostics
    assert (diagnostics["n_assets"] + diagnostics["n_excluded"]).to_list() == counts.to_list()
    assert (
        fits.coefficients.select("period", pl.col("factor_return").alias("factor"), name="factor")
        .pivot("name", index="period", values="factor")
        .equals(fits.factor_returns, null_equal=True)
    )
    for period, scale, status, downweighted in diagnostics.select(
        "period", "scale", "status", "n_downweighted"
    ).rows():
        its = rows.filter(period=period).drop_nulls("robustness_weight")
        if status not in {"converged", "max_iter"}:
            assert its.is_empty()
            assert downweighted is None
            continue
        root = np.sqrt(its["weight"].to_numpy())
        u = root * its["specific_return"].to_numpy()
        assert scale == pytest.approx(np.median(np.abs(u)) / oracle.NORMAL_QUARTILE, rel=1e-9)
        assert downweighted == (np.abs(u / scale) > huber_t).sum()
        if status == "converged":
            psi = np.clip(u / scale, -huber_t, huber_t)
            np.testing.assert_allclose(its["robustness_weight"], psi / (u / scale), rtol=1e-9)
            for factor in ("a", "b"):
                x = root * its[factor].to_numpy()
                assert abs(x @ psi) <= 1e-9 * np.linalg.norm(x) * np.sqrt(len(x))


@settings(max_examples=30, deadline=None)
@given(panel=panels(), n_blocks=st.integers(1, 40), seed=st.integers(0, 100))
def test_neither_order_nor_names_nor_blocks_matter(panel, n_blocks, seed):
    def fit(rows, blocks=1):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(query, "BLOCK_ROWS", -(-rows.height // blocks))
            return fit_cross_sections(rows, ["a", "b"], weights="weight")

    reference = fit(panel)
    assert_equal_fits(fit(panel, n_blocks), reference)
    renamed = fit(panel.with_columns(asset=pl.format("name {}", -pl.col("asset"))))
    for name in ("coefficients", "diagnostics", "factor_returns"):
        assert getattr(renamed, name).equals(getattr(reference, name), null_equal=True)
    assert renamed.specific_returns.drop("asset").equals(
        reference.specific_returns.drop("asset"), null_equal=True
    )
    permuted = fit(panel.sample(fraction=1, shuffle=True, seed=seed))
    # A step more or less, where a change lands on the tolerance, moves numbers by some of it.
    loose = {"rel_tol": 1e-9, "abs_tol": 1e-12}
    assert_frame_equal(permuted.coefficients, reference.coefficients, **loose)
    assert_frame_equal(
        permuted.diagnostics.drop("n_iter"), reference.diagnostics.drop("n_iter"), **loose
    )
    keys = ["period", "asset"]
    assert_frame_equal(
        permuted.specific_returns.sort(keys), reference.specific_returns.sort(keys), **loose
    )


@pytest.mark.parametrize("unit", [1e-12, 1e-4, 1e4, 1e12])
def test_units(weighted, unit):
    reference = fit_cross_sections(weighted, FACTORS, weights="weight")
    assert_is_oracle(reference, weighted)
    scaled = fit_cross_sections(
        weighted.with_columns(
            pl.col("return") * unit, pl.col("Factor_0") / unit, pl.col("weight") * unit
        ),
        FACTORS,
        weights="weight",
    )
    factor = pl.when(pl.col("factor") == "Factor_0").then(unit**2).otherwise(unit)
    assert_frame_equal(
        scaled.coefficients.with_columns(pl.col("factor_return", "std_error") / factor),
        reference.coefficients,
        rel_tol=1e-9,
        abs_tol=1e-13,
    )
    same = ["r_squared", "robust_r_squared", "condition_number", "n_downweighted", "status"]
    assert_frame_equal(
        scaled.diagnostics.select(same), reference.diagnostics.select(same), rel_tol=1e-9
    )
    weights = "robustness_weight"
    np.testing.assert_allclose(
        scaled.specific_returns[weights], reference.specific_returns[weights], rtol=1e-8
    )


# --- bad periods

BAD = {
    "2023-02": "too_few_assets",
    "2023-04": "too_few_assets",
    "2023-05": "exact_fit",
    "2023-07": "rank_deficient",
    "2023-09": "max_iter",
}


@pytest.fixture
def spoilt(weighted):
    """One period of each bad kind among healthy ones."""
    period, asset = pl.col("period"), pl.col("asset")
    X, y, w = problems.hard(np.random.default_rng(285), "leverage", 50, 3)
    slow = (
        weighted.filter(period == "2023-09")
        .with_columns(pl.Series("return", y), pl.Series("weight", w))
        .with_columns(pl.Series(name, X[:, j]) for j, name in enumerate(FACTORS))
    )
    return (
        pl.concat([weighted.filter(period != "2023-09"), slow])
        .filter((period != "2023-04") | asset.is_in(["Asset_1", "Asset_2"]))
        .filter((period != "2023-05") | asset.is_in(["Asset_1", "Asset_2", "Asset_3"]))
        .with_columns(
            weight=pl.when(period == "2023-02").then(0.0).otherwise("weight"),
            Factor_2=pl.when(period == "2023-07").then("Factor_0").otherwise("Factor_2"),
        )
    )


def test_bad_periods_say_so_and_leave_the_others_alone(spoilt):
    healthy = ~pl.col("period").is_in(list(BAD))
    options = {"weights": "weight"}
    steps = fit_cross_sections(spoilt, FACTORS, **options).diagnostics
    limit = 30
    assert steps.filter(healthy)["n_iter"].max() < limit
    assert steps.filter(period="2023-09")["n_iter"].item() > limit
    for frame in (spoilt, spoilt.lazy()):
        fits = fit_cross_sections(frame, FACTORS, max_iter=limit, **options).collect()
        statuses = dict(fits.diagnostics.select("period", "status").rows())
        assert {p: s for p, s in statuses.items() if s != "converged"} == BAD
        alone = fit_cross_sections(spoilt.filter(healthy), FACTORS, max_iter=limit, **options)
        assert_is_oracle(alone, spoilt.filter(healthy))
        for name, its in frames(alone).items():
            assert_frame_equal(getattr(fits, name).filter(healthy), its, check_exact=True)
    assert fits.bad_periods.rows() == [
        ("2023-02", "too_few_assets", "0 usable assets for 3 exposures"),
        ("2023-04", "too_few_assets", "2 usable assets for 3 exposures"),
        (
            "2023-05",
            "exact_fit",
            "the exposures fit most of the 3 returns exactly, so there is no error to estimate",
        ),
        (
            "2023-07",
            "rank_deficient",
            "exposures 'Factor_0', 'Factor_2' are linearly dependent over the 50 assets",
        ),
        ("2023-09", "max_iter", f"not converged after {limit} steps"),
    ]
    assert fits.diagnostics.select("n_assets", "n_excluded").rows()[1] == (0, 50)


def test_bad_periods_are_null_where_they_have_no_number(spoilt):
    fits = fit_cross_sections(spoilt, FACTORS, weights="weight", max_iter=30)
    numbers = {
        "factor_return": fits.coefficients,
        "std_error": fits.coefficients,
        "t_stat": fits.coefficients,
        "fitted": fits.specific_returns,
        "specific_return": fits.specific_returns,
        "robustness_weight": fits.specific_returns,
        "scale": fits.diagnostics,
        "r_squared": fits.diagnostics,
        "condition_number": fits.diagnostics,
        "robust_r_squared": fits.diagnostics,
        "n_downweighted": fits.diagnostics,
    }
    no_trust = {"std_error", "t_stat", "robustness_weight", "robust_r_squared", "n_downweighted"}
    for name, frame in numbers.items():
        null = frame.filter(pl.col(name).is_null())["period"].unique().to_list()
        missing = {"2023-02", "2023-04", "2023-07"} | ({"2023-05"} if name in no_trust else set())
        assert set(null) == missing, name
        for period in missing:
            assert frame.filter(period=period)[name].null_count() == len(
                frame.filter(period=period)
            ), (name, period)


def test_most_returns_exactly_explained_is_an_exact_fit(weighted, rng):
    noise = np.where(np.arange(50) < 15, rng.standard_normal(50), 0.0)
    february = pl.col("period") == "2023-02"
    exact = pl.sum_horizontal(FACTORS)
    panel = weighted.with_columns(
        pl.when(february)
        .then(exact + pl.lit(pl.Series(noise)).gather(pl.int_range(pl.len()) % 50))
        .otherwise("return")
        .alias("return")
    )
    fits = fit_cross_sections(panel, FACTORS, weights="weight", on_failure="raise")
    assert fits.bad_periods.select("period", "status").rows() == [("2023-02", "exact_fit")]
    coefficients = fits.coefficients.filter(february)
    np.testing.assert_allclose(coefficients["factor_return"], 1.0, rtol=1e-9)
    assert coefficients["std_error"].null_count() == 3
    rows = fits.specific_returns.filter(february)
    np.testing.assert_allclose(rows["specific_return"], noise, atol=1e-9)
    assert rows["robustness_weight"].null_count() == 50
    assert fits.specific_returns["robustness_weight"].null_count() == 50


def test_on_failure_raise(spoilt):
    for frame in (spoilt, spoilt.lazy()):
        with pytest.raises(FitError, match=r"3 of 12 periods failed, for example period 2023-02"):
            fit_cross_sections(frame, FACTORS, weights="weight", on_failure="raise").collect()
    good = spoilt.filter(~pl.col("period").is_in(list(BAD)))
    assert fit_cross_sections(good, FACTORS, on_failure="raise").factor_returns.height == 7


# --- small and odd panels


@pytest.mark.parametrize("lazy", [False, True], ids=["eager", "lazy"])
def test_an_empty_panel(panel, lazy):
    empty = panel.clear().lazy() if lazy else panel.clear()
    fits = fit_cross_sections(empty, FACTORS, weights="weight").collect()
    reference = fit_cross_sections(panel, FACTORS, weights="weight")
    for name in FRAMES:
        assert getattr(fits, name).height == 0
        assert getattr(fits, name).schema == getattr(reference, name).schema
    assert repr(fits).splitlines()[1] == "  periods  0"


def test_one_row():
    row = {"period": [1], "asset": ["A"], "return": [0.1], "x": [2.0]}
    fits = fit_cross_sections(pl.DataFrame(row), "x")
    assert fits.specific_returns.row(0) == (1, "A", 0.1, 0.0, None, 1.0)
    assert fits.coefficients.row(0) == (1, "x", 0.05, None, None, None, None)
    assert fits.diagnostics.row(0)[1:4] == (1, 0, None)


def test_all_null(panel):
    fits = fit_cross_sections(panel.with_columns(**{"return": pl.lit(None)}), FACTORS)
    assert fits.diagnostics["status"].unique().to_list() == ["too_few_assets"]
    assert fits.diagnostics["n_excluded"].to_list() == [50] * 12
    assert fits.specific_returns["fitted"].null_count() == 600
    assert "R squared  median none, robust none" in repr(fits)


ASSETS = {
    "int": pl.Series([3, 1, 2]),
    "date": pl.Series([dt.date(2020, 1, day) for day in (3, 1, 2)]),
    "zoned": pl.Series([3, 1, 2]).cast(pl.Datetime("us", "Europe/Berlin")),
    "categorical": pl.Series(["c", "a", "b"], dtype=pl.Categorical),
    "enum": pl.Series(["c", "a", "b"], dtype=pl.Enum(["c", "b", "a"])),
    "decimal": pl.Series(["3.10", "1.10", "2.10"]).cast(pl.Decimal(10, 2)),
    "binary": pl.Series([b"c", b"a", b"b"]),
    "bool": pl.Series([True, False]),
}


@pytest.mark.parametrize("kind", ASSETS)
@pytest.mark.parametrize("lazy", [False, True], ids=["eager", "lazy"])
def test_keys_keep_their_type_and_order(kind, lazy):
    labels = ASSETS[kind]
    n = len(labels)
    panel = pl.DataFrame(
        {"period": [2] * n + [1] * n, "return": np.arange(2 * n) / 7, "x": 1.0}
    ).with_columns(pl.concat([labels, labels.reverse()]).alias("asset"))
    fits = fit_cross_sections(panel.lazy() if lazy else panel, "x").collect()
    rows = fits.specific_returns
    assert rows.schema["asset"] == labels.dtype
    assert rows["asset"].to_list() == [*labels.reverse().to_list(), *labels.to_list()]
    as_periods = fit_cross_sections(panel.rename({"period": "asset", "asset": "period"}), "x")
    for name in FRAMES:
        assert getattr(as_periods, name).schema["period"] == labels.dtype
    assert as_periods.diagnostics["period"].to_list() == labels.sort().to_list()


def test_the_arrow_stream_of_another_library(panel):
    assert_equal_fits(
        fit_cross_sections(panel.to_arrow(), FACTORS), fit_cross_sections(panel, FACTORS)
    )


def test_a_bad_panel_raises_with_the_counts_of_the_whole(panel):
    with pytest.raises(PanelError, match="negative in 600 rows"):
        fit_cross_sections(panel.with_columns(weight=-1.0), FACTORS, weights="weight")
    with pytest.raises(PanelError, match="'size' is not in the panel"):
        fit_cross_sections(panel.lazy(), ["size"])


@pytest.mark.parametrize("name", ["factor", "std_error", "fitted", "scale", "status", "reason"])
def test_a_period_named_like_a_column_of_the_answer_is_refused(panel, name):
    with pytest.raises(PanelError, match=f"period column '{name}' is named like a column"):
        fit_cross_sections(panel.rename({"period": name}), FACTORS, period=name)


@pytest.mark.parametrize("name", ["fitted", "specific_return", "robustness_weight"])
def test_an_asset_named_like_a_column_of_the_answer_is_refused(panel, name):
    with pytest.raises(PanelError, match=f"asset column '{name}' is named like a column"):
        fit_cross_sections(panel.rename({"asset": name}), FACTORS, asset=name)


@pytest.mark.parametrize("name", ["factor", "t_stat", "scale", "status", "reason"])
def test_an_asset_may_be_named_like_a_column_of_another_frame(panel, name):
    fits = fit_cross_sections(panel.rename({"asset": name}), FACTORS, asset=name)
    assert fits.specific_returns.columns[1] == name


def test_exposures_may_have_any_name(panel):
    names = ["fitted", "status", "^.*$"]
    renamed = panel.rename(dict(zip(FACTORS, names, strict=True)))
    fits = fit_cross_sections(renamed, names)
    assert fits.factor_returns.columns == ["period", *names]
    assert fits.coefficients["factor"].to_list()[:3] == names
    reference = fit_cross_sections(panel, FACTORS)
    assert_is_oracle(reference, panel)
    assert_frame_equal(fits.specific_returns, reference.specific_returns, check_exact=True)


@pytest.mark.parametrize("lazy", [False, True], ids=["eager", "lazy"])
@pytest.mark.parametrize(
    "keys", [("asset", "period"), ("asset", "id"), ("month", "period"), ("*", "^.*$"), ("x0", "")]
)
def test_keys_may_have_the_names_used_inside(panel, keys, lazy):
    period, asset = keys
    renamed = panel.rename({"period": period, "asset": asset})
    fits = fit_cross_sections(
        renamed.lazy() if lazy else renamed, FACTORS, period=period, asset=asset
    )
    reference = fit_cross_sections(panel, FACTORS)
    assert_is_oracle(reference, panel)
    for name, frame in frames(fits).items():
        expected = getattr(reference, name)
        assert frame.columns[0] == period
        np.testing.assert_array_equal(frame.to_numpy(), expected.to_numpy())
    assert fits.specific_returns.collect_schema().names()[:2] == [period, asset]


def test_numbers_too_large_to_hold_are_null():
    panel = pl.DataFrame(
        {
            "period": [1] * 6 + [2] * 6,
            "asset": list("abcdef") * 2,
            "x": [1.0, 2, 3, 4, 5, 1.79e308, *(np.arange(1.0, 7.0) * 1e-200)],
            "weight": [1.0] * 5 + [0.0] + [1.0] * 6,
            "return": [
                120.0,
                190,
                330,
                400,
                900,
                -1e308,
                *(np.array([1.0, 2, 4, 4, 5, 9]) * 1e200),
            ],
        }
    )
    fits = fit_cross_sections(panel, "x", weights="weight")
    assert fits.diagnostics["status"].to_list() == ["converged", "converged"]
    assert fits.specific_returns.row(5) == (1, "f", None, None, None, None)
    assert_no_nan_nor_infinity(fits)
    assert fits.factor_returns.row(1) == (2, None)
    assert_frame_equal(factor_returns(panel, "x", weights="weight"), fits.factor_returns)


def test_a_t_value_is_null_where_its_numbers_vanish():
    panel = pl.DataFrame(
        {"period": 1, "asset": range(6), "x": np.arange(1.0, 7.0) * 1e200}
    ).with_columns(pl.Series("return", np.array([1.0, 2, 4, 4, 5, 9]) * 1e-200))
    assert fit_cross_sections(panel, "x").coefficients.row(0)[2:] == (0.0, 0.0, None, None, None)


# --- lazy results


@pytest.fixture
def blocks(monkeypatch):
    """The blocks that the kernel was given, as their numbers of periods."""
    seen = []
    kernel = estimators.fit_periods

    def counted(X, y, w, starts, *args, **kwargs):
        seen.append(len(starts) - 1)
        return kernel(X, y, w, starts, *args, **kwargs)

    monkeypatch.setattr(estimators, "fit_periods", counted)
    return seen


def test_lazy_in_lazy_out_and_the_schema_is_known(weighted, blocks):
    lazy = fit_cross_sections(weighted.lazy(), FACTORS, weights="weight")
    eager = fit_cross_sections(weighted, FACTORS, weights="weight")
    del blocks[:]
    for name in FRAMES:
        frame = getattr(lazy, name)
        assert isinstance(frame, pl.LazyFrame)
        assert frame.collect_schema() == getattr(eager, name).schema
    repr(lazy)
    lazy._repr_html_()
    assert blocks == []


def test_collect_runs_the_kernel_once_per_block(weighted, blocks):
    lazy = fit_cross_sections(weighted.lazy(), FACTORS, weights="weight")
    assert blocks == []
    fits = lazy.collect()
    in_use = weighted.select((pl.col("period").hash() % query.LAZY_BLOCKS).n_unique()).item()
    assert len(blocks) == in_use
    assert sum(blocks) == 12
    assert_is_oracle(fits, weighted)
    eager = fit_cross_sections(weighted, FACTORS, weights="weight")
    del blocks[:]
    assert_equal_fits(fits, eager)
    assert fits.collect().coefficients.equals(fits.coefficients)
    assert blocks == []


def test_raising_runs_the_kernel_once_too(weighted, blocks):
    fit_cross_sections(weighted.lazy(), FACTORS, on_failure="raise").collect()
    assert sum(blocks) == 12


def test_queries_on_several_frames(weighted):
    lazy = fit_cross_sections(weighted.lazy(), FACTORS, weights="weight")
    strong = lazy.coefficients.filter(pl.col("t_stat").abs() > 2)
    joined = lazy.specific_returns.join(lazy.diagnostics, on="period", maintain_order="left")
    answers = pl.collect_all([strong, joined, lazy.factor_returns])
    eager = fit_cross_sections(weighted, FACTORS, weights="weight")
    assert_is_oracle(eager, weighted)
    assert_frame_equal(answers[0], eager.coefficients.filter(pl.col("t_stat").abs() > 2))
    assert_frame_equal(answers[1], eager.specific_returns.join(eager.diagnostics, on="period"))
    assert_frame_equal(answers[2], eager.factor_returns)


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
@pytest.mark.parametrize("name", FRAMES)
def test_both_engines(weighted, engine, name):
    lazy = fit_cross_sections(weighted.lazy(), FACTORS, weights="weight")
    eager = fit_cross_sections(weighted, FACTORS, weights="weight")
    assert_is_oracle(eager, weighted)
    answer = getattr(lazy, name).collect(engine=engine)
    assert_frame_equal(answer, getattr(eager, name), check_exact=True)


def test_filters_after_the_call_are_right(weighted):
    lazy = fit_cross_sections(weighted.lazy(), FACTORS, weights="weight")
    eager = fit_cross_sections(weighted, FACTORS, weights="weight")
    assert_is_oracle(eager, weighted)
    for name in FRAMES:
        part, whole = getattr(lazy, name), getattr(eager, name)
        assert_frame_equal(part.head(5).collect(), whole.head(5))
        may = pl.col("period") == "2023-05"
        assert_frame_equal(part.filter(may).collect(), whole.filter(may))
        assert_frame_equal(part.select(pl.len()).collect(), whole.select(pl.len()))
        last = whole.columns[-1]
        assert_frame_equal(part.select(last).collect(), whole.select(last))


def test_an_error_of_the_query_comes_through(weighted):
    negative = weighted.lazy().with_columns(weight=-pl.col("weight"))
    fits = fit_cross_sections(negative, FACTORS, weights="weight")
    with pytest.raises(PanelError, match="negative in at least"):
        fits.collect()


def test_a_result_survives_pickling(weighted):
    fits = fit_cross_sections(weighted, FACTORS, weights="weight")
    assert_equal_fits(pickle.loads(pickle.dumps(fits)), fits)


# --- its text


def test_repr_is_one_screen(spoilt):
    fits = fit_cross_sections(spoilt, FACTORS, weights="weight", max_iter=30)
    median = fits.diagnostics.select(pl.median("r_squared", "robust_r_squared")).row(0)
    p_values = fits.coefficients["p_value"].drop_nulls()
    highest = fits.diagnostics.sort("max_leverage", nulls_last=False).row(-1, named=True)
    assert repr(fits).splitlines() == [
        "CrossSectionFits",
        "  periods    12 from 2023-01 to 2023-12",
        "  factors    3: Factor_0, Factor_1, Factor_2",
        "  assets     50, median 50 used in a period",
        "  status     7 converged, 1 max_iter, 1 exact_fit, 1 rank_deficient, 2 too_few_assets",
        f"  R squared  median {median[0]:.3g}, robust {median[1]:.3g}",
        "  estimator  Huber 1.345, HC2 errors",
        f"  p < 0.05   {100 * (p_values < 0.05).mean():.0f} % of {len(p_values)} factor returns",
        f"  leverage   at most {highest['max_leverage']:.3g}, in {highest['period']}",
    ]
    squares = fit_cross_sections(spoilt, FACTORS, huber_t=float("inf"), cov_type="H1")
    assert "  estimator  least squares, H1 errors" in repr(squares).splitlines()


def test_the_text_of_periods_without_errors():
    panel = pl.DataFrame({"period": [1, 2], "asset": ["a", "b"], "x": [1.0, 0.0], "return": 0.1})
    lines = repr(fit_cross_sections(panel, "x")).splitlines()
    assert "  p < 0.05   no factor return has a p-value" in lines
    assert "  leverage   at most 1, in 1" in lines
    lines = repr(fit_cross_sections(panel.filter(period=2), "x")).splitlines()
    assert "  leverage   no period has a fit" in lines


def test_repr_of_a_lazy_result_runs_nothing(panel):
    def never(_):
        raise AssertionError("the query was run")

    fits = fit_cross_sections(panel.lazy().map_batches(never), FACTORS)
    assert repr(fits) == (
        "CrossSectionFits, lazy: collect() runs the fit\n  factors  3: Factor_0, Factor_1, Factor_2"
    )
    assert "collect() runs the fit" in fits._repr_html_()


def factors_line(names):
    rng = np.random.default_rng(0)
    panel = pl.DataFrame(rng.standard_normal((80, len(names))), schema=names).with_columns(
        p=pl.lit(1), a=pl.int_range(80), r=rng.standard_normal(80)
    )
    fits = fit_cross_sections(panel, names, returns="r", period="p", asset="a")
    return repr(fits).splitlines()[2]


@pytest.mark.parametrize(
    ("n", "rest"), [(5, ""), (6, ""), (7, " and 1 more"), (60, " and 54 more")]
)
def test_the_text_counts_the_factors_it_leaves_out(n, rest):
    names = [f"f{i}" for i in range(n)]
    assert factors_line(names) == f"  factors    {n}: {', '.join(names[:6])}{rest}"


def test_the_text_keeps_names_on_their_line():
    answer = factors_line(["a\nb", "n" * 40, "k" * 26 + "l" * 2 + "m" * 13])
    assert answer == f"  factors    3: a\\nb, {'n' * 40}, {'k' * 26}…{'m' * 13}"


def test_the_text_groups_digits_and_counts_all_assets():
    panel = pl.DataFrame({"period": range(1200), "asset": range(1200), "return": 0.1, "x": 1.0})
    lines = repr(fit_cross_sections(panel, "x")).splitlines()
    assert lines[1] == "  periods    1,200 from 0 to 1199"
    assert lines[3] == "  assets     1,200, median 1 used in a period"
    assert lines[4] == "  status     1,200 exact_fit"


class Cells(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.text = set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add((tag, *attrs))

    def handle_data(self, data):
        self.text.append(data)


def test_html_says_the_same_and_every_name_is_escaped(panel):
    evil = "<script>alert(1)</script>&\"'"
    renamed = panel.rename({"Factor_0": evil}).with_columns(
        period=pl.format("<b>\n{}", pl.col("period"))
    )
    fits = fit_cross_sections(renamed, [evil, "Factor_1"])
    cells = Cells()
    cells.feed(fits._repr_html_())
    assert {tag for tag, *_ in cells.tags} == {"table", "caption", "tbody", "tr", "th", "td"}
    assert {name for _, *attrs in cells.tags for name, _ in attrs} == {"style"}
    lines = [line.split(maxsplit=1) for line in repr(fits).splitlines()]
    assert cells.text[:3] == ["CrossSectionFits", *lines[1]]
    assert "<script>alert(1)</script>" in "".join(cells.text)
    assert "\n" not in "".join(cells.text)


# --- what was estimated


@pytest.mark.parametrize("lazy", [False, True])
def test_fits_say_what_was_estimated(lazy):
    panel = pl.DataFrame(
        {
            "date": [1] * 4,
            "id": ["A", "B", "C", "D"],
            "r": [0.1, 0.2, 0.3, 0.5],
            "beta": [1.0, 2.0, 3.0, 5.0],
            "cap": [1.0, 1.0, 2.0, 2.0],
            "sector": pl.Series(["x", "y", "x", "y"], dtype=pl.Enum(["x", "y", "none"])),
        }
    )
    fits = fit_cross_sections(
        panel.lazy() if lazy else panel,
        "beta",
        returns="r",
        weights="cap",
        period="date",
        asset="id",
        intercept=True,
        categories={"sector": "cap"},
        huber_t=2,
        cov_type="H1",
    )
    estimated = fits.estimated
    assert estimated == fits.collect().estimated
    assert (estimated.period, estimated.asset, estimated.returns) == ("date", "id", "r")
    assert (estimated.weights, estimated.exposures, estimated.intercept) == ("cap", ("beta",), True)
    assert (estimated.huber_t, estimated.cov_type) == (2.0, "H1")
    assert (estimated.estimator, estimated.efficiency) == ("huber", 0.95)
    assert (estimated.downweighted_below, estimated.downweighted_beyond) == (1.0, 2.0)
    (family,) = estimated.families
    of_family = (family.column, family.weights, family.categories)
    assert of_family == ("sector", "cap", ("x", "y", "none"))
    assert list(estimated.factors) == fits.factor_returns.collect_schema().names()[1:]
    assert estimated.factors == ("intercept", "beta", "sector=x", "sector=y", "sector=none")


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([-2, -1, -2, -3, -1], [-2, -9, -2, -3, 8]),
        ([2, 0, 3, 0, 1, -1, 2], [2, 0, 3, 0, -7, -10, 2]),
    ],
)
def test_a_period_out_of_steps_at_a_scale_of_zero_keeps_the_weights_of_its_inlying_rows(x, y):
    # At the last step most rows lie on the line y = x, so that the scale is zero.
    panel = pl.DataFrame({"period": 1, "asset": range(len(x)), "x": x, "return": y})
    fits = fit_cross_sections(panel, "x", max_iter=3)
    assert fits.diagnostics["status"].to_list() == ["max_iter"]
    assert fits.factor_returns["x"].to_list() == [1.0]
    on_the_line = [float(a == b) for a, b in zip(x, y, strict=True)]
    assert fits.specific_returns["robustness_weight"].to_list() == on_the_line
    assert fits.diagnostics["robust_r_squared"].to_list() == [1.0]
    assert fits.coefficients["std_error"].to_list() == [None]
