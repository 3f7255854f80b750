"""The documented pandas functions: labels in, the same labels out, and clear refusals."""

from __future__ import annotations

import datetime as dt
import inspect

import numpy as np
import pandas as pd
import polars as pl
import pytest

import oracle
from vbase_py_utils import FitError, factor_returns
from vbase_py_utils.kernel.losses import HUBER_T
from vbase_py_utils.kernel.period_fits import SolverOptions
from vbase_py_utils.stats import cross_section_regression as adapter
from vbase_py_utils.stats.cross_section_regression import (
    run_cross_sectional_regression,
    run_monthly_factor_returns,
)

N_ASSETS, N_MONTHS = 50, 12
ASSETS = pd.Index([f"Asset_{i}" for i in range(N_ASSETS)], name="asset")
FACTORS = [f"Factor_{j}" for j in range(3)]
MONTHS = pd.Index([f"2023-{month:02d}" for month in range(1, 13)])


def market(periods=MONTHS, assets=ASSETS, seed=5):
    """Returns (assets x periods), exposures, weights, true factor returns on any labels."""
    rng = np.random.default_rng(seed)
    index = pd.MultiIndex.from_product([periods, assets], names=["period", "asset"])
    X = rng.standard_normal((len(periods), len(assets), 3))
    truth = rng.standard_normal((len(periods), 3)) * 0.02
    returns = (
        np.einsum("tik,tk->it", X, truth) + rng.standard_t(4, (len(assets), len(periods))) * 0.003
    )
    return (
        pd.DataFrame(returns, index=assets, columns=periods),
        pd.DataFrame(X.reshape(-1, 3), index=index, columns=FACTORS),
        pd.DataFrame({"weight": rng.lognormal(0, 1, len(index))}, index=index),
        truth,
    )


def expected(returns, exposures, weights):
    n_assets, n_periods = returns.shape
    X = exposures.to_numpy().reshape(n_periods, n_assets, -1)
    w = weights.to_numpy().reshape(n_periods, n_assets)
    return np.array(
        [oracle.huber(X[t], returns.to_numpy()[:, t], w[t]).b for t in range(n_periods)]
    )


def cross_section(period="2023-03"):
    returns, exposures, weights, _ = market()
    return returns[period], exposures.loc[period], weights.loc[period, "weight"]


# --- the documented call


def test_the_documented_demo():
    np.random.seed(42)
    assets = [f"Asset_{i}" for i in range(50)]
    periods = [f"2023-{str(m).zfill(2)}" for m in range(1, 13)]
    index = pd.MultiIndex.from_product([periods, assets], names=["period", "asset"])
    exposures_df = pd.DataFrame(np.random.randn(600, 3), index=index, columns=FACTORS)
    truth = pd.DataFrame(np.random.randn(12, 3) * 0.02, index=periods, columns=FACTORS)
    returns_df, weights = pd.DataFrame(index=assets), {}
    for period in periods:
        noise = np.random.randn(50) * 0.005
        returns_df[period] = exposures_df.loc[period] @ truth.loc[period] + noise
        weights[period] = pd.Series(1.0, index=assets)
    weights_df = pd.concat(weights, names=["period", "asset"]).to_frame("weight")
    answer = run_monthly_factor_returns(
        returns_df=returns_df, exposures_df=exposures_df, weights_df=weights_df, huber_t=1.345
    )
    pd.testing.assert_index_equal(answer.index, truth.index)
    pd.testing.assert_index_equal(answer.columns, truth.columns)
    assert (answer - truth).abs().to_numpy().max() < 0.003


def test_the_default_tuning_constant_is_the_librarys():
    for function in (run_cross_sectional_regression, run_monthly_factor_returns):
        assert inspect.signature(function).parameters["huber_t"].default == HUBER_T == 1.345


def test_every_period_equals_the_oracle():
    returns, exposures, weights, _ = market()
    answer = run_monthly_factor_returns(returns, exposures, weights)
    np.testing.assert_allclose(answer, expected(returns, exposures, weights), rtol=1e-8)


def test_single_cross_section_equals_the_oracle():
    y, X, w = cross_section()
    answer = run_cross_sectional_regression(y, X, w)
    slow = oracle.huber(X.to_numpy(), y.to_numpy(), w.to_numpy())
    np.testing.assert_allclose(answer, slow.b, rtol=1e-9)
    assert answer.name == "factor_returns"
    pd.testing.assert_index_equal(answer.index, X.columns)


def test_tuning_constant_arrives():
    y, X, w = cross_section()
    least_squares = np.linalg.lstsq(X * np.sqrt(w.to_numpy())[:, None], y * np.sqrt(w), rcond=None)
    answer = run_cross_sectional_regression(y, X, w, huber_t=np.inf)
    np.testing.assert_allclose(answer, least_squares[0], rtol=1e-10)
    returns, exposures, weights, _ = market()
    monthly = run_monthly_factor_returns(returns, exposures, weights, huber_t=np.inf)
    np.testing.assert_allclose(monthly.loc["2023-03"], answer, rtol=1e-12)


# --- labels

PERIOD_LABELS = {
    "string": MONTHS,
    "object date": pd.Index([dt.date(2023, m, 1) for m in range(1, 13)], dtype=object),
    "datetime ns, with frequency": pd.date_range("2023-01-31", periods=12, freq="ME", unit="ns"),
    "datetime s": pd.date_range("2023-01-31", periods=12, freq="ME", unit="s"),
    "zoned, across the autumn fold": pd.date_range(
        "2023-10-29 00:00", periods=12, freq="30min", tz="Europe/Berlin"
    ),
    "Period": pd.period_range("2023-01", periods=12, freq="M"),
    "ordered categorical": pd.CategoricalIndex(
        list("lkjihgfedcba"), categories=list("lkjihgfedcba"), ordered=True
    ),
    "int": pd.Index([202300 + m for m in range(12, 0, -1)]),
    "with a name": pd.Index(range(12), name="month"),
    "with NaT": pd.DatetimeIndex([*pd.date_range("2023-01-31", periods=11, freq="D"), pd.NaT]),
}


@pytest.mark.parametrize("kind", PERIOD_LABELS)
def test_period_labels_come_back_as_they_went_in(kind):
    labels = PERIOD_LABELS[kind]
    returns, exposures, weights, _ = market(labels)
    answer = run_monthly_factor_returns(returns, exposures, weights)
    pd.testing.assert_index_equal(answer.index, labels, exact=True)
    assert getattr(answer.index, "freq", None) == getattr(labels, "freq", None)
    np.testing.assert_allclose(answer, expected(returns, exposures, weights), rtol=1e-8)


@pytest.mark.parametrize("kind", PERIOD_LABELS)
def test_asset_and_factor_labels_of_any_kind(kind):
    labels = PERIOD_LABELS[kind]
    returns, exposures, weights, _ = market(MONTHS, labels)
    exposures.columns = labels[:3]
    answer = run_monthly_factor_returns(returns, exposures, weights)
    pd.testing.assert_index_equal(answer.columns, labels[:3], exact=True)
    np.testing.assert_allclose(answer, expected(returns, exposures, weights), rtol=1e-8)


def test_rows_follow_the_columns_of_returns_whatever_the_order_of_the_rest(rng):
    returns, exposures, weights, _ = market()
    reference = run_monthly_factor_returns(returns, exposures, weights)
    answer = run_monthly_factor_returns(
        returns.iloc[rng.permutation(50), ::-1],
        exposures.sample(frac=1, random_state=1),
        weights.sample(frac=1, random_state=2),
    )
    pd.testing.assert_frame_equal(answer, reference.iloc[::-1], rtol=1e-10)
    np.testing.assert_allclose(reference, expected(returns, exposures, weights), rtol=1e-8)


def test_factors_named_like_anything():
    returns, exposures, weights, _ = market()
    for columns in (
        ["t", "y", "w"],
        ["period", "asset", "return"],
        [1, "1", 1.5],
        [("a", 1), ("a", 2), ("b", 1)],
    ):
        answer = run_monthly_factor_returns(returns, exposures.set_axis(columns, axis=1), weights)
        assert list(answer.columns) == columns
        np.testing.assert_allclose(answer, expected(returns, exposures, weights), rtol=1e-8)


def test_weights_may_be_a_series_or_the_first_of_many_columns():
    returns, exposures, weights, _ = market()
    reference = run_monthly_factor_returns(returns, exposures, weights)
    np.testing.assert_allclose(reference, expected(returns, exposures, weights), rtol=1e-8)
    more = weights.assign(other=-1.0)
    for same in (weights["weight"], more):
        pd.testing.assert_frame_equal(
            run_monthly_factor_returns(returns, exposures, same), reference, check_exact=True
        )


def test_assets_in_only_some_of_the_frames_are_left_out():
    returns, exposures, weights, _ = market()
    reference = run_monthly_factor_returns(
        returns.iloc[5:40], exposures.loc[(slice(None), ASSETS[5:40]), :], weights
    )
    kept = exposures.index.get_level_values(1).isin(ASSETS[5:40])
    few = exposures[kept], weights[kept]
    np.testing.assert_allclose(reference, expected(returns.iloc[5:40], *few), rtol=1e-8)
    stranger = exposures.rename(index={"Asset_49": "Stranger"})
    answer = run_monthly_factor_returns(
        returns.iloc[5:],
        stranger.drop(index=list(ASSETS[45:49]), level=1),
        weights.drop(index=list(ASSETS[40:45]), level=1),
    )
    pd.testing.assert_frame_equal(answer, reference, rtol=1e-10)


@pytest.mark.parametrize("dtype", ["float32", "Float64", "double[pyarrow]", object])
def test_kinds_of_numbers(dtype):
    returns, exposures, weights, _ = market()
    returns, exposures, weights = (f.astype("float32") for f in (returns, exposures, weights))
    reference = run_monthly_factor_returns(returns, exposures, weights)
    doubles = (f.astype("float64") for f in (returns, exposures, weights))
    np.testing.assert_allclose(reference, expected(*doubles), rtol=1e-8)
    answer = run_monthly_factor_returns(
        returns.astype(dtype), exposures.astype(dtype), weights.astype(dtype)
    )
    pd.testing.assert_frame_equal(answer, reference, check_exact=True)


def test_missing_values_of_nullable_types_are_left_out():
    returns, exposures, weights, _ = market()
    returns.iloc[3, 2] = np.nan
    exposures.iloc[10, 1] = np.inf
    weights.iloc[20, 0] = np.nan
    reference = run_monthly_factor_returns(returns, exposures, weights)
    nullable = exposures.replace(np.inf, np.nan).astype("Float64")
    answer = run_monthly_factor_returns(
        returns.convert_dtypes(), nullable, weights.astype("Float64")
    )
    pd.testing.assert_frame_equal(answer, reference, check_exact=True)
    complete = expected(*market()[:3])
    assert not np.allclose(answer, complete, rtol=1e-6)


def test_any_missing_value_of_object_columns():
    returns, exposures, weights, _ = market()
    reference = run_monthly_factor_returns(put(returns, (0, 0), np.nan), exposures, weights)
    for missing in (None, pd.NA, np.nan):
        answer = run_monthly_factor_returns(
            put(returns.astype(object), (0, 0), missing), exposures, weights
        )
        pd.testing.assert_frame_equal(answer, reference, check_exact=True)
    y, X, w = cross_section()
    with pytest.raises(ValueError, match="asset_returns has 1 missing or infinite values"):
        run_cross_sectional_regression(put(y.astype(object), 0, pd.NA), X, w)


def test_inputs_are_left_alone():
    inputs = market()[:3]
    inputs[0].iloc[3, 2] = np.nan
    copies = [frame.copy(deep=True) for frame in inputs]
    run_monthly_factor_returns(*inputs)
    y, X, w = cross_section()
    series = [y.copy(), X.copy(), w.copy()]
    run_cross_sectional_regression(y, X, w)
    for frame, copy in zip(inputs, copies, strict=True):
        pd.testing.assert_frame_equal(frame, copy, check_exact=True)
    pd.testing.assert_series_equal(y, series[0], check_exact=True)
    pd.testing.assert_frame_equal(X, series[1], check_exact=True)
    pd.testing.assert_series_equal(w, series[2], check_exact=True)


# --- a single cross-section: alignment and refusals


def test_equal_indexes_go_row_by_row_even_with_duplicates():
    y, X, w = cross_section()
    twice = pd.Index(["same"] * 50)
    answer = run_cross_sectional_regression(y.set_axis(twice), X.set_axis(twice), w.set_axis(twice))
    slow = oracle.huber(X.to_numpy(), y.to_numpy(), w.to_numpy())
    np.testing.assert_allclose(answer, slow.b, rtol=1e-9)


def test_same_labels_in_another_order_are_aligned():
    y, X, w = cross_section()
    answer = run_cross_sectional_regression(y[::-1], X, w.sample(frac=1, random_state=3))
    slow = oracle.huber(X.to_numpy(), y.to_numpy(), w.to_numpy())
    np.testing.assert_allclose(answer, slow.b, rtol=1e-9)


def put(values, row, value):
    changed = values.copy()
    changed.iloc[row] = value
    return changed


REFUSED = {
    "lengths": (
        lambda y, X, w: (y[:-1], X, w),
        "asset_returns has 49 rows and factor_loadings has 50, expected the same labels",
    ),
    "labels": (
        lambda y, X, w: (y.rename({"Asset_7": "Other"}), X, w),
        "asset_returns lacks 1 of the labels of factor_loadings, for example 'Asset_7'; "
        "expected the same labels",
    ),
    "weights' labels": (
        lambda y, X, w: (y, X, w.rename({"Asset_7": "Other", "Asset_8": "Another"})),
        "weights lacks 2 of the labels of factor_loadings, for example 'Asset_7'; "
        "expected the same labels",
    ),
    "duplicates that differ": (
        lambda y, X, w: (y.rename({"Asset_7": "Asset_8"}), X, w),
        "labels repeat in 2 places of the index of asset_returns, which differs from the others, "
        "for example 'Asset_8'; expected each label once",
    ),
    "empty": (
        lambda y, X, w: (y[:0], X[:0], w[:0]),
        "factor_loadings is empty, expected at least one asset",
    ),
    "no factors": (
        lambda y, X, w: (y, X[[]], w),
        "no exposures given, expected at least one column name",
    ),
    "missing return": (
        lambda y, X, w: (put(y, [3, 4], np.nan), X, w),
        "asset_returns has 2 missing or infinite values, for example at 'Asset_3'; "
        "expected finite numbers",
    ),
    "infinite exposure": (
        lambda y, X, w: (y, put(X, (5, 1), np.inf), w),
        "factor_loadings has 1 missing or infinite values, for example at 'Asset_5', "
        "column 'Factor_1'; expected finite numbers",
    ),
    "missing weight": (
        lambda y, X, w: (y, X, put(w, 0, np.nan)),
        "weights has 1 missing or infinite values, for example at 'Asset_0'; "
        "expected finite numbers",
    ),
    "negative weight": (
        lambda y, X, w: (y, X, put(w, 9, -2.0)),
        "weights is negative in 1 row, for example -2.0 at 'Asset_9'; expected weights >= 0",
    ),
    "text": (
        lambda y, X, w: (y, X.assign(Factor_1="high"), w),
        "factor_loadings column 'Factor_1' is ",
    ),
    "numbers as text": (
        lambda y, X, w: (y.astype(str).astype(object), X, w),
        "asset_returns column ",
    ),
    "repeated factor": (
        lambda y, X, w: (y, X.set_axis(["a", "b", "a"], axis=1), w),
        "exposures named more than once: 'a'; expected each name once",
    ),
    "collinear": (
        lambda y, X, w: (y, X.assign(Factor_2=2 * X["Factor_0"]), w),
        "rank_deficient: exposures 'Factor_0', 'Factor_2' are linearly dependent over the "
        "50 assets",
    ),
    "fewer assets than factors": (
        lambda y, X, w: (y[:2], X[:2], w[:2]),
        "too_few_assets: 2 usable assets for 3 exposures",
    ),
    "all weights zero": (
        lambda y, X, w: (y, X, w * 0),
        "too_few_assets: 0 usable assets for 3 exposures",
    ),
    "tuning constant": (
        lambda y, X, w: (y, X, w, 0),
        "huber_t is 0, expected a number > 0 or infinity",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_say_what_differs(case):
    spoil, message = REFUSED[case]
    with pytest.raises(ValueError, match=r".") as caught:
        run_cross_sectional_regression(*spoil(*cross_section()))
    assert str(caught.value).startswith(message)
    no_answer = case in {"collinear", "fewer assets than factors", "all weights zero"}
    assert isinstance(caught.value, FitError) == no_answer


def test_other_kinds_of_input_are_refused():
    y, X, w = cross_section()
    with pytest.raises(TypeError, match="asset_returns is a ndarray, expected a pandas Series"):
        run_cross_sectional_regression(y.to_numpy(), X, w)
    with pytest.raises(TypeError, match="factor_loadings is a Series, expected a pandas DataFrame"):
        run_cross_sectional_regression(y, y, w)
    with pytest.raises(TypeError, match="weights_df is a ndarray, expected a pandas DataFrame"):
        run_monthly_factor_returns(*market()[:2], w.to_numpy())


# --- many periods: what a period lacks


def test_bad_periods_are_nan_rows_and_one_warning_lists_them():
    returns, exposures, weights, _ = market()
    reference = run_monthly_factor_returns(returns, exposures, weights)
    exposures = exposures.drop(index="2023-02", level=0)
    weights = weights.drop(index=["2023-04", "2023-05"], level=0)
    exposures.loc["2023-07", "Factor_2"] = exposures.loc["2023-07", "Factor_0"].to_numpy()
    returns.loc[ASSETS[2:], "2023-09"] = np.nan
    with pytest.warns(RuntimeWarning) as caught:
        answer = run_monthly_factor_returns(returns, exposures, weights)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert str(caught[0].message) == (
        "5 of 12 periods without a converged answer. "
        "2023-02: not in exposures_df; "
        "2023-04, 2023-05: not in weights_df; "
        "2023-07: rank_deficient: exposures 'Factor_0', 'Factor_2' are linearly dependent over "
        "the 50 assets; "
        "2023-09: too_few_assets: 2 usable assets for 3 exposures"
    )
    bad = ["2023-02", "2023-04", "2023-05", "2023-07", "2023-09"]
    assert answer.loc[bad].isna().all(axis=None)
    pd.testing.assert_frame_equal(answer.drop(bad), reference.drop(bad), check_exact=True)


def test_the_first_cause_is_the_one_named_and_many_periods_are_counted():
    periods = pd.Index([f"p{i:02d}" for i in range(30)])
    returns, exposures, weights, _ = market(periods)
    returns.loc[:, periods[4:]] = np.nan
    exposures = exposures.drop(index=["p01", "p02"], level=0)
    weights = weights.drop(index=["p02", "p03"], level=0)
    with pytest.warns(RuntimeWarning) as caught:
        run_monthly_factor_returns(returns, exposures, weights)
    listed = ", ".join(periods[4:24])
    assert str(caught[0].message) == (
        "29 of 30 periods without a converged answer. p01, p02: not in exposures_df; "
        "p03: not in weights_df; "
        f"{listed} and 6 more: too_few_assets: 0 usable assets for 3 exposures"
    )


def test_out_of_steps_keeps_the_numbers_and_warns(monkeypatch):
    returns, exposures, weights, _ = market()
    few = SolverOptions(max_iter=1)
    monkeypatch.setattr(adapter, "SolverOptions", lambda *_, **__: few)
    with pytest.warns(RuntimeWarning, match="12 of 12 periods .* max_iter: not converged after 1"):
        answer = run_monthly_factor_returns(returns, exposures, weights)
    with pytest.warns(RuntimeWarning, match="max_iter: not converged after 1 step"):
        single = run_cross_sectional_regression(*cross_section())
    np.testing.assert_array_equal(answer.loc["2023-03"], single)
    assert answer.notna().all(axis=None)


def test_an_infinite_weight_is_missing():
    returns, exposures, weights, _ = market()
    answer = run_monthly_factor_returns(returns, exposures, put(weights, (3, 0), -np.inf))
    expected = run_monthly_factor_returns(returns, exposures, put(weights, (3, 0), np.nan))
    pd.testing.assert_frame_equal(answer, expected, check_exact=True)


def test_labels_that_never_match_are_shown():
    returns, exposures, weights, _ = market()
    returns.columns = range(12)
    with pytest.warns(RuntimeWarning, match="No period matches: returns_df has labels like 0, exp"):
        answer = run_monthly_factor_returns(returns, exposures, weights)
    assert answer.isna().all(axis=None)


def test_assets_that_never_match():
    returns, exposures, weights, _ = market()
    with pytest.warns(RuntimeWarning, match="no asset of returns_df is in exposures_df$"):
        answer = run_monthly_factor_returns(returns.add_prefix("_", axis=0), exposures, weights)
    assert answer.shape == (12, 3)


def test_empty_frames():
    returns, exposures, weights, _ = market()
    answer = run_monthly_factor_returns(returns.iloc[:, :0], exposures, weights)
    assert answer.shape == (0, 3)
    with pytest.warns(RuntimeWarning, match="12 of 12 periods"):
        answer = run_monthly_factor_returns(returns, exposures.iloc[:0], weights.iloc[:0])
    assert answer.shape == (12, 3)
    with pytest.warns(RuntimeWarning, match="12 of 12 periods"):
        answer = run_monthly_factor_returns(returns.iloc[:0], exposures, weights)
    assert answer.isna().all(axis=None)


def test_a_single_asset_and_a_single_period():
    returns, exposures, weights, _ = market(MONTHS[:1], ASSETS[:1])
    answer = run_monthly_factor_returns(returns, exposures[["Factor_1"]], weights)
    assert answer.iloc[0, 0] == pytest.approx(returns.iloc[0, 0] / exposures.iloc[0, 1])


MONTHLY_REFUSED = {
    "repeated period": (
        lambda r, x, w: (r.set_axis(["2023-01", *MONTHS[:11]], axis=1), x, w),
        "labels repeat in 2 places of the columns of returns_df, for example '2023-01'; "
        "expected each label once",
    ),
    "repeated asset": (
        lambda r, x, w: (r.rename(index={"Asset_0": "Asset_1"}), x, w),
        "labels repeat in 2 places of the index of returns_df, for example 'Asset_1'; "
        "expected each label once",
    ),
    "repeated exposure row": (
        lambda r, x, w: (r, pd.concat([x, x.iloc[[4]]]), w),
        "labels repeat in 2 places of the index of exposures_df, for example "
        "('2023-01', 'Asset_4'); expected each label once",
    ),
    "repeated weight": (
        lambda r, x, w: (r, x, pd.concat([w, w.iloc[[4]]])),
        "labels repeat in 2 places of the index of weights_df, for example "
        "('2023-01', 'Asset_4'); expected each label once",
    ),
    "flat exposures": (
        lambda r, x, w: (r, x.reset_index(drop=True), w),
        "the index of exposures_df is RangeIndex with 1 level(s), "
        "expected a MultiIndex (period, asset)",
    ),
    "columns of two levels": (
        lambda r, x, w: (pd.concat({"ret": r}, axis=1), x, w),
        "the columns of returns_df is a MultiIndex with 2 levels, "
        "expected assets x periods with one label each",
    ),
    "index of two levels": (
        lambda r, x, w: (pd.concat({"US": r}), x, w),
        "the index of returns_df is a MultiIndex with 2 levels, "
        "expected assets x periods with one label each",
    ),
    "exposures of three levels": (
        lambda r, x, w: (r, pd.concat({"US": x}), w),
        "the index of exposures_df is MultiIndex with 3 level(s), "
        "expected a MultiIndex (period, asset)",
    ),
    "complex numbers": (
        lambda r, x, w: (r, x.astype(complex), w),
        "exposures_df column 'Factor_0' is complex128, expected a numeric type: cast it first",
    ),
    "flat weights": (
        lambda r, x, w: (r, x, w.reset_index(drop=True)),
        "the index of weights_df is RangeIndex with 1 level(s), "
        "expected a MultiIndex (period, asset)",
    ),
    "negative weight": (
        lambda r, x, w: (r, x, put(w, (7, 0), -0.5)),
        "weights_df is negative in 1 row, "
        "for example -0.5 at ('2023-01', 'Asset_7'); expected weights >= 0",
    ),
    "no weights": (
        lambda r, x, w: (r, x, w[[]]),
        "weights_df has no column, expected the weights in its first",
    ),
    "no factors": (
        lambda r, x, w: (r, x[[]], w),
        "no exposures given, expected at least one column name",
    ),
    "text": (
        lambda r, x, w: (put(r.astype(object), (0, 0), "n/a"), x, w),
        "returns_df column '2023-01' is object, expected a numeric type: cast it first",
    ),
}


@pytest.mark.parametrize("case", MONTHLY_REFUSED)
def test_monthly_refusals(case):
    spoil, message = MONTHLY_REFUSED[case]
    with pytest.raises(ValueError, match=r".") as caught:
        run_monthly_factor_returns(*spoil(*market()[:3]))
    assert str(caught.value) == message


@pytest.mark.parametrize("estimator", ["huber", "mm"])
@pytest.mark.parametrize("left_out", [0, 7])
def test_one_cross_section_has_the_numbers_of_a_panel_of_one(left_out, estimator):
    y, X, w = cross_section()
    w = w.where(np.arange(len(w)) >= left_out, 0.0)
    panel = pl.DataFrame({"period": 1, "asset": np.arange(len(y)), "return": y, "weight": w})
    panel = panel.with_columns(pl.Series(name, X[name]) for name in FACTORS)
    expected = factor_returns(panel, FACTORS, weights="weight", estimator=estimator)
    answer = run_cross_sectional_regression(y, X, w, estimator=estimator)
    assert answer.to_list() == list(expected.row(0)[1:])
    assert list(answer.index) == FACTORS


@pytest.mark.parametrize("dtype", ["float64", "Float64", "object", "float64[pyarrow]"])
def test_kinds_of_columns_of_floats_give_the_same_numbers(dtype):
    given = cross_section()
    before = [part.copy() for part in given]
    answer = run_cross_sectional_regression(*(part.astype(dtype) for part in given))
    pd.testing.assert_series_equal(answer, run_cross_sectional_regression(*before), rtol=0, atol=0)
    for part, copy in zip(given, before, strict=True):
        assert part.equals(copy)


@pytest.mark.parametrize("dtype", ["float64", "Float64", "object"])
def test_a_missing_return_is_named_whatever_the_kind_of_column(dtype):
    y, X, w = cross_section()
    y = y.where(np.arange(len(y)) != 3).astype(dtype)
    with pytest.raises(ValueError, match="asset_returns has 1 missing or infinite values, for ex"):
        run_cross_sectional_regression(y, X, w)


@pytest.mark.parametrize("weight", [-1.0, -5e-324])
def test_a_weight_below_zero_is_named(weight):
    y, X, w = cross_section()
    with pytest.raises(ValueError, match=r"weights is negative in 1 row, for example .* 'Asset_3'"):
        run_cross_sectional_regression(y, X, w.where(np.arange(len(w)) != 3, weight))


@pytest.mark.parametrize(
    ("n_assets", "scale", "message"),
    [
        (2, 1.0, "too_few_assets: 2 usable assets for 3 exposures"),
        (20, 0.0, "rank_deficient: exposure 'Factor_1' is zero for all 20 assets"),
    ],
)
def test_why_there_is_no_answer(n_assets, scale, message):
    y, X, w = (part.iloc[:n_assets] for part in cross_section())
    with pytest.raises(FitError) as error:
        run_cross_sectional_regression(y, X.assign(Factor_1=scale * X["Factor_1"]), w)
    assert str(error.value) == message
