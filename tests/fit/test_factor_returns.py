"""The Polars path: missing values, bad periods, blocks, lazy queries, kinds of input."""

from __future__ import annotations

import ast
import datetime as dt
import inspect
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import numpy as np
import polars as pl
import polars.selectors as cs
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from threadpoolctl import threadpool_info, threadpool_limits

import oracle
from vbase_py_utils import FitArguments, FitError, PanelError, factor_returns, fit_cross_sections
from vbase_py_utils.demo import FACTORS, comparison, simulated_panel
from vbase_py_utils.fit import query
from vbase_py_utils.fit.block import fit_block
from vbase_py_utils.fit.block_rows import BlockRows
from vbase_py_utils.fit.query import fit_frame, fit_query
from vbase_py_utils.kernel import estimators
from vbase_py_utils.kernel.irls import fit_periods
from vbase_py_utils.kernel.period_fits import SolverOptions
from vbase_py_utils.panel import PanelSpec, Roles

_, SPEC = PanelSpec.resolve(simulated_panel()[0], FACTORS, weights="weight")


def slow(panel, exposures, returns="return", weights=None, **options):
    """Factor returns by the oracle, a period at a time, from rows that are wholly there."""
    answers = []
    for (period,), rows in panel.sort("period").group_by("period", maintain_order=True):
        X, y = rows.select(exposures).to_numpy(), rows[returns].to_numpy()
        w = None if weights is None else rows[weights].to_numpy()
        b = oracle.huber(X, y, w, **options).b
        answers.append({"period": period, **dict(zip(exposures, b, strict=True))})
    return pl.DataFrame(answers)


def assert_is_oracle(answer, panel, exposures=FACTORS):
    assert_frame_equal(answer, slow(panel, exposures), rel_tol=1e-8, abs_tol=1e-13)


def fits_of(panel, **options):
    return fit_frame(panel, SPEC, SolverOptions(**options))


def change(panel, where, **columns):
    """``panel`` with values put where the condition holds."""
    return panel.with_columns(
        pl.when(where).then(value).otherwise(name).alias(name) for name, value in columns.items()
    )


FEBRUARY = pl.col("period") == "2023-02"


# --- the estimate


def test_equals_the_oracle_in_every_period(panel, rng):
    panel = panel.with_columns(weight=pl.Series(rng.lognormal(0, 1, panel.height)))
    answer = factor_returns(panel, FACTORS, weights="weight")
    expected = slow(panel, FACTORS, weights="weight")
    assert_frame_equal(answer, expected, rel_tol=1e-9, abs_tol=1e-13)


def test_weights_matter_and_none_means_equal(panel, rng):
    panel = panel.with_columns(weight=pl.Series(rng.lognormal(0, 1, panel.height)), same=7.0)
    unweighted = factor_returns(panel, FACTORS)
    assert_frame_equal(factor_returns(panel, FACTORS, weights="same"), unweighted, rel_tol=1e-12)
    weighted = factor_returns(panel, FACTORS, weights="weight")
    assert (weighted["Factor_0"] - unweighted["Factor_0"]).abs().max() > 1e-5


def test_the_tuning_constant_arrives(panel):
    for t in (0.7, 3.0, float("inf")):
        assert_frame_equal(
            factor_returns(panel, FACTORS, huber_t=t),
            slow(panel, FACTORS, t=t),
            rel_tol=1e-9,
            abs_tol=1e-13,
        )


def test_tolerance_and_steps_arrive(panel):
    loose = factor_returns(panel, FACTORS, tol=0.5)
    assert not loose.equals(factor_returns(panel, FACTORS))
    steps = fits_of(panel)["n_iter"].to_list()
    assert min(steps) > 1
    assert fits_of(panel, max_iter=max(steps))["status"].unique().to_list() == ["converged"]
    late = fits_of(panel, max_iter=max(steps) - 1).filter(pl.col("status") == "max_iter")
    assert late.height == steps.count(max(steps))


@pytest.mark.parametrize("function", [factor_returns, fit_cross_sections])
def test_docstrings_show_the_defaults_for_an_editor_to_hover(function):
    shown = {}
    for names, defaults in re.findall(r"^ *([a-z_, ]+) : default (.+)$", function.__doc__, re.M):
        values = ast.literal_eval(f"({defaults},)")
        shown |= dict(zip(names.split(", "), values, strict=True))
    parameters = inspect.signature(function).parameters.values()
    assert shown == {p.name: p.default for p in parameters if p.default is not p.empty}


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("exposures", [FACTORS, cs.starts_with("Factor")])
@pytest.mark.parametrize("function", [factor_returns, fit_cross_sections])
def test_names_and_types_are_checked_once_a_call(function, exposures, lazy, monkeypatch):
    calls = Counter()

    def counted(owner, name):
        check = getattr(owner, name)

        def count(*args, **kwargs):
            calls[name] += 1
            return check(*args, **kwargs)

        monkeypatch.setattr(owner, name, count)

    counted(Roles, "check_present")
    counted(Roles, "check_types")
    counted(PanelSpec, "resolve")
    panel = simulated_panel()[0]
    answer = function(panel.lazy() if lazy else panel, exposures, weights="weight")
    if lazy:
        answer.collect()
    assert calls == {"check_present": 1, "check_types": 1, "resolve": 1}


def test_the_typed_arguments_are_those_of_the_function():
    keywords = inspect.signature(factor_returns).parameters.values()
    names = [p.name for p in keywords if p.kind is inspect.Parameter.KEYWORD_ONLY]
    assert list(FitArguments.__annotations__) == names


def test_columns_are_named_and_ordered_as_asked(panel):
    renamed = panel.rename({"period": "when", "asset": "who", "return": "r", "weight": "w"})
    order = ["Factor_2", "Factor_0", "Factor_1"]
    answer = factor_returns(renamed, order, returns="r", weights="w", period="when", asset="who")
    assert answer.columns == ["when", *order]
    assert_frame_equal(
        answer.rename({"when": "period"}), factor_returns(panel, FACTORS).select("period", *order)
    )


def test_names_used_inside_may_be_the_users(panel):
    renamed = panel.rename({"period": "x0", "return": "weight", "weight": "return"})
    renamed = renamed.rename({"Factor_0": "period", "Factor_1": "status", "Factor_2": "reason"})
    names = ["period", "status", "reason"]
    answer = factor_returns(renamed, names, returns="weight", weights="return", period="x0")
    assert answer.columns == ["x0", *names]
    np.testing.assert_array_equal(
        answer.select(names).to_numpy(), factor_returns(panel, FACTORS).select(FACTORS).to_numpy()
    )


@pytest.mark.parametrize("name", ["*", "^.*$", "^Factor_.*$", "", "x" * 300, "β"])
def test_names_are_names_and_no_patterns(panel, name):
    for role in ("period", "asset", "return", "weight", "Factor_0"):
        renamed = panel.rename({role: name})
        names = {column: name if column == role else column for column in panel.columns}
        answer = factor_returns(
            renamed.lazy(),
            [names["Factor_0"], "Factor_1"],
            returns=names["return"],
            weights=names["weight"],
            period=names["period"],
            asset=names["asset"],
        ).collect()
        assert answer.columns == [names["period"], names["Factor_0"], "Factor_1"]
        expected = factor_returns(panel, ["Factor_0", "Factor_1"], weights="weight")
        np.testing.assert_array_equal(answer.to_numpy(), expected.to_numpy())


def test_one_exposure_may_be_a_string(panel):
    assert_is_oracle(factor_returns(panel, "Factor_1"), panel, ["Factor_1"])


def test_a_column_may_be_exposure_and_weight(panel):
    panel = panel.with_columns(cap=pl.col("Factor_0").exp())
    answer = factor_returns(panel, ["cap"], weights="cap")
    assert_frame_equal(answer, slow(panel, ["cap"], weights="cap"), rel_tol=1e-9)


# --- missing values


@pytest.mark.parametrize("gap", [None, float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("column", ["return", "weight", "Factor_1"])
def test_rows_with_a_missing_value_are_left_out(panel, column, gap):
    gone = FEBRUARY & pl.col("asset").is_in(["Asset_3", "Asset_40"])
    spoilt = change(panel, gone, **{column: pl.lit(gap, dtype=pl.Float64)})
    answer = fits_of(spoilt)
    expected = fits_of(panel.filter(~gone))
    assert_is_oracle(factor_returns(spoilt, FACTORS, weights="weight"), panel.filter(~gone))
    assert_frame_equal(answer.drop("n_excluded"), expected.drop("n_excluded"))
    assert answer["n_excluded"].to_list() == [0, 2] + [0] * 10
    assert (answer["n_assets"] + answer["n_excluded"]).to_list() == [50] * 12


def test_weight_zero_leaves_a_row_out(panel):
    out = FEBRUARY & pl.col("asset").str.ends_with("7")
    answer = fits_of(change(panel, out, weight=0.0))
    spoilt = change(panel, out, weight=0.0)
    assert_is_oracle(factor_returns(spoilt, FACTORS, weights="weight"), panel.filter(~out))
    assert_frame_equal(answer.drop("n_excluded"), fits_of(panel.filter(~out)).drop("n_excluded"))
    assert answer["n_excluded"][1] == 5


def test_the_buffer_under_a_null_is_never_read(panel):
    # A null made by a mask keeps the value beneath it.
    values = pa.array(np.where(np.arange(600) % 50 == 3, 1e9, panel["return"].to_numpy()))
    mask = np.arange(600) % 50 == 3
    bitmap = pa.array(~mask).buffers()[1]
    masked = pa.Array.from_buffers(pa.float64(), 600, [bitmap, values.buffers()[1]])
    answer = factor_returns(panel.with_columns(pl.Series("return", masked)), FACTORS)
    assert_is_oracle(answer, panel.filter(~pl.Series(mask)))


# --- bad periods

BAD_PERIODS = {
    "no usable rows": (
        lambda panel: change(panel, FEBRUARY, **{"return": None}),
        "too_few_assets",
        "too_few_assets: 0 usable assets for 3 exposures",
    ),
    "too few": (
        lambda panel: panel.filter(~FEBRUARY | pl.col("asset").is_in(["Asset_1", "Asset_2"])),
        "too_few_assets",
        "too_few_assets: 2 usable assets for 3 exposures",
    ),
    "collinear": (
        lambda panel: change(panel, FEBRUARY, Factor_2=pl.col("Factor_0") * -3),
        "rank_deficient",
        "rank_deficient: exposures 'Factor_0', 'Factor_2' are linearly dependent "
        "over the 50 assets",
    ),
    "constant zero exposure": (
        lambda panel: change(panel, FEBRUARY, Factor_1=0.0),
        "rank_deficient",
        "rank_deficient: exposure 'Factor_1' is zero for all 50 assets",
    ),
}


@pytest.mark.parametrize("case", BAD_PERIODS)
def test_a_bad_period_is_a_row_of_nulls_and_leaves_the_others_alone(panel, case):
    spoil, status, _ = BAD_PERIODS[case]
    answer = fits_of(spoil(panel))
    others = answer.filter(~FEBRUARY)
    assert_frame_equal(others, fits_of(panel.filter(~FEBRUARY)), check_exact=True)
    assert_is_oracle(
        factor_returns(spoil(panel), FACTORS).filter(~FEBRUARY), panel.filter(~FEBRUARY)
    )
    bad = answer.row(1, named=True)
    assert bad["status"] == status
    assert bad["scale"] is None
    assert [bad[name] for name in SPEC.inner_exposures] == [None] * 3
    wide = factor_returns(spoil(panel), FACTORS, weights="weight")
    assert wide.row(1) == ("2023-02", None, None, None)
    assert wide.height == 12


@pytest.mark.parametrize("lazy", [False, True], ids=["eager", "lazy"])
@pytest.mark.parametrize("case", BAD_PERIODS)
def test_a_bad_period_can_raise(panel, case, lazy):
    spoil, _, reason = BAD_PERIODS[case]
    with pytest.raises(FitError) as caught:
        factor_returns(
            spoil(panel).lazy() if lazy else spoil(panel), FACTORS, on_failure="raise"
        ).lazy().collect()
    assert str(caught.value) == (
        f"the fit of 1 of 12 periods failed, for example period 2023-02: {reason}"
    )


def test_out_of_iterations_keeps_the_numbers_and_can_raise(panel):
    fits = fits_of(panel, max_iter=1)
    assert set(fits["status"]) == {"max_iter"}
    assert fits["reason"][0] == "not converged after 1 step"
    assert factor_returns(panel, FACTORS, max_iter=1)["Factor_0"].null_count() == 0
    with pytest.raises(
        FitError, match="12 of 12 periods failed, for example period 2023-01: max_iter"
    ):
        factor_returns(panel, FACTORS, max_iter=1, on_failure="raise")


def test_an_exact_fit_keeps_the_numbers_and_does_not_raise(panel):
    three = pl.col("asset").is_in(["Asset_1", "Asset_2", "Asset_3"])
    small = panel.filter(~FEBRUARY | three)
    fits = fits_of(small)
    assert fits["status"].to_list() == ["converged", "exact_fit"] + ["converged"] * 10
    rows = panel.filter(FEBRUARY & three)
    exact = np.linalg.solve(rows.select(FACTORS).to_numpy(), rows["return"].to_numpy())
    answer = factor_returns(small, FACTORS, on_failure="raise")
    np.testing.assert_allclose(answer.row(1)[1:], exact, rtol=1e-10)


def test_no_pushdown_hides_a_failed_period(panel):
    spoilt = change(panel, FEBRUARY, **{"return": None})
    query = factor_returns(spoilt.lazy(), FACTORS, on_failure="raise")
    for part in (
        query.head(1),
        query.filter(pl.col("period") == "2023-05"),
        query.select("period"),
    ):
        with pytest.raises(FitError):
            part.collect()


# --- blocks and order


def test_neither_blocks_nor_order_of_rows_change_the_answer(panel):
    spoilt = change(panel, FEBRUARY, Factor_2=pl.col("Factor_0"))
    reference = fits_of(spoilt)
    for n_blocks in (1, 2, 5, 64):
        for rows in (spoilt, spoilt.sample(fraction=1, shuffle=True, seed=n_blocks)):
            answer = fit_query(rows.lazy(), SPEC, SolverOptions(), n_blocks=n_blocks).collect()
            assert_frame_equal(answer, reference, rel_tol=1e-12, abs_tol=0)
    healthy = factor_returns(spoilt, FACTORS).filter(~FEBRUARY)
    assert_is_oracle(healthy, panel.filter(~FEBRUARY))


def test_eager_panels_of_many_blocks(panel, monkeypatch):
    calls = []

    def spy(rows, *args, **kwargs):
        calls.append(rows["period"].n_unique())
        return fit_block(rows, *args, **kwargs)

    reference = factor_returns(panel, FACTORS)
    monkeypatch.setattr(query, "BLOCK_ROWS", 100)
    monkeypatch.setattr(query, "fit_block", spy)
    assert_frame_equal(factor_returns(panel, FACTORS), reference, rel_tol=1e-12)
    assert len(calls) > 1
    assert sum(calls) == 12
    with pytest.raises(PanelError, match="negative in 600 rows"):
        factor_returns(panel.with_columns(weight=-1.0), FACTORS, weights="weight")


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_random_ragged_panels_equal_the_oracle(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    panel = random_panel(rng, data.draw(st.lists(st.integers(8, 40), min_size=1, max_size=6)))
    check_random_panel(panel)


def test_where_plain_irls_goes_round_in_a_circle_there_is_a_solution():
    """Found at random: the steps of the first period end in two answers in turn."""
    rng = np.random.default_rng(1112)
    sizes = [27, 8, 40, 40, 40, 40]
    panel = random_panel(rng, sizes)
    first = panel.filter(period=0)
    X, y, w = first.select("a", "b").to_numpy(), first["return"].to_numpy(), first["weight"]
    assert oracle.huber(X, y, w.to_numpy()).status == "max_iter"
    check_random_panel(panel)


def random_panel(rng, sizes):
    n = sum(sizes)
    return pl.DataFrame(
        {
            "period": np.repeat(np.arange(len(sizes)), sizes),
            "asset": np.concatenate([np.arange(size) for size in sizes]),
            "return": rng.standard_t(3, n),
            "weight": rng.lognormal(0, 1, n),
            "a": rng.standard_normal(n),
            "b": rng.standard_normal(n),
        }
    )


def check_random_panel(panel):
    """Compare with the oracle where it ends, and check the equations everywhere."""
    whole = factor_returns(panel, ["a", "b"], weights="weight")
    for (period,), rows in panel.group_by("period"):
        X, y, w = (rows.select(c).to_numpy() for c in (["a", "b"], "return", "weight"))
        y, w = y[:, 0], w[:, 0]
        ours = whole.filter(period=period).select("a", "b").to_numpy()[0]
        assert oracle.change_of_a_step(X, y, w, ours) < 1e-7
        fit = oracle.huber(X, y, w)
        if fit.status != "max_iter":
            np.testing.assert_allclose(ours, fit.b, rtol=1e-7, atol=1e-9)


# --- kinds of period, of numbers, of panels

PERIODS = {
    "date": [dt.date(2023, 1, 31), dt.date(2023, 2, 28)],
    "datetime": [dt.datetime(2023, 1, 31), dt.datetime(2023, 2, 28)],
    "int": [3, 40],
    "negative zero": [-0.0, 1.5],
    "bool": [False, True],
    "decimal": [Decimal("1.10"), Decimal("2.20")],
    "duration": [dt.timedelta(1), dt.timedelta(2)],
    "string": ["2023-01", "2023-02"],
    "categorical": pl.Series(["2023-01", "2023-02"], dtype=pl.Categorical),
    "enum": pl.Series(["winter", "summer"], dtype=pl.Enum(["winter", "summer"])),
    "zoned": pl.Series([0, 3_600_000_000]).cast(pl.Datetime("us", "Europe/Berlin")),
}


@pytest.mark.parametrize("kind", PERIODS)
def test_period_keeps_its_type_and_is_sorted(panel, kind):
    labels = pl.Series("label", PERIODS[kind])
    two = panel.filter(pl.col("period").is_in(["2023-01", "2023-02"])).with_columns(
        period=labels.gather((pl.Series(np.arange(100)) < 50).cast(pl.UInt32))
    )
    answer = factor_returns(two, FACTORS)
    assert answer.schema["period"] == labels.dtype
    assert answer["period"].to_list() == labels.to_list()
    january_last = factor_returns(panel, FACTORS).head(2).reverse()
    assert_frame_equal(answer.drop("period"), january_last.drop("period"))


def test_negative_and_positive_zero_are_one_period(panel):
    one = panel.filter(FEBRUARY).with_columns(
        period=pl.when(pl.int_range(pl.len()) % 2 == 0).then(0.0).otherwise(-0.0)
    )
    assert factor_returns(one, FACTORS).height == 1


@pytest.mark.parametrize("dtype", [pl.Int16, pl.UInt64, pl.Float32, pl.Decimal(10, 2), pl.Boolean])
def test_exposures_may_be_of_any_numeric_type(panel, dtype):
    dummy = (pl.col("Factor_0") > 0).cast(pl.Int8)
    answer = factor_returns(panel.with_columns(x=dummy.cast(dtype)), ["x", "Factor_1"])
    floats = panel.with_columns(x=dummy.cast(pl.Float64))
    assert_is_oracle(answer, floats, ["x", "Factor_1"])


@pytest.mark.parametrize("dtype", [pl.Int16, pl.UInt64, pl.Float32, pl.Decimal(10, 2)])
@pytest.mark.parametrize("column", ["return", "weight"])
def test_returns_and_weights_may_be_of_any_numeric_type(panel, dtype, column):
    whole = (pl.col(column).abs() * 1000).round()
    answer = factor_returns(panel.with_columns(whole.cast(dtype)), FACTORS, weights="weight")
    assert_is_oracle(answer, panel.with_columns(whole))


@pytest.mark.parametrize("column", ["return", "weight", "Factor_0"])
def test_a_column_of_the_null_type_is_all_missing(panel, column):
    answer = factor_returns(
        panel.with_columns(pl.lit(None).alias(column)), FACTORS, weights="weight"
    )
    assert answer.height == 12
    assert answer.drop("period").null_count().row(0) == (12, 12, 12)


def test_anything_that_exports_an_arrow_stream(panel):
    table = panel.to_arrow()
    answer = factor_returns(table, FACTORS)
    assert_is_oracle(answer, panel)
    assert_frame_equal(
        factor_returns(
            pa.RecordBatchReader.from_batches(table.schema, table.to_batches()), FACTORS
        ),
        answer,
    )


@pytest.mark.parametrize("lazy", [False, True], ids=["eager", "lazy"])
def test_an_empty_panel_gives_an_empty_answer(panel, lazy):
    empty = panel.clear()
    answer = factor_returns(empty.lazy() if lazy else empty, FACTORS).lazy().collect()
    assert answer.height == 0
    assert answer.schema == factor_returns(panel, FACTORS).schema


def test_one_row():
    row = {"period": [1], "asset": ["A"], "return": [0.1], "x": [2.0]}
    assert factor_returns(pl.DataFrame(row), "x").row(0) == (1, pytest.approx(0.05))


def test_dates_that_python_cannot_hold(panel):
    far = panel.with_columns(period=pl.lit(2**31 - 1, dtype=pl.Int32).cast(pl.Date))
    with pytest.raises(
        PanelError, match=r"^600 rows share a \('period', 'asset'\) key, for example"
    ):
        factor_returns(far, FACTORS)
    with pytest.raises(FitError, match="1 of 1 periods failed, for example period"):
        factor_returns(far.head(2), FACTORS, on_failure="raise")


# --- threads


def test_threads_that_fit_at_once_leave_blas_as_it_was(panel):
    def limits():
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    with threadpool_limits(2, user_api="blas"):
        before = limits()
        with ThreadPoolExecutor(8) as threads:
            jobs = [threads.submit(factor_returns, panel, FACTORS) for _ in range(48)]
            answers = [job.result() for job in jobs]
        assert limits() == before
    assert_frame_equal(pl.concat(answers), pl.concat([factor_returns(panel, FACTORS)] * 48))


def test_blas_has_one_thread_while_periods_are_fitted(panel, monkeypatch):
    seen = []

    def spy(*args, **kwargs):
        seen.extend(p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas")
        return fit_periods(*args, **kwargs)

    monkeypatch.setattr(estimators, "fit_periods", spy)
    with threadpool_limits(2, user_api="blas"):
        factor_returns(panel, FACTORS)
    assert set(seen) == {1}


# --- lazy queries


def test_lazy_in_lazy_out_and_nothing_runs_before_collect(panel):
    runs = []

    def probe(frame):
        runs.append(frame.height)
        return frame

    query = factor_returns(panel.lazy().map_batches(probe), FACTORS)
    assert isinstance(query, pl.LazyFrame)
    assert query.collect_schema() == factor_returns(panel, FACTORS).schema
    assert runs == []
    query.collect()
    assert runs == [600]


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
def test_lazy_equals_eager_on_both_engines(panel, engine):
    lazy = factor_returns(panel.lazy(), FACTORS, weights="weight").collect(engine=engine)
    assert_frame_equal(lazy, factor_returns(panel, FACTORS, weights="weight"), check_exact=True)
    assert_is_oracle(lazy, panel)


def test_filters_and_limits_after_the_call_are_right(panel):
    query, whole = factor_returns(panel.lazy(), FACTORS), factor_returns(panel, FACTORS)
    assert_frame_equal(query.head(5).collect(), whole.head(5))
    assert_frame_equal(query.filter(FEBRUARY).collect(), whole.filter(FEBRUARY))
    assert_frame_equal(query.select("Factor_1").collect(), whole.select("Factor_1"))


def test_only_the_needed_columns_are_read(panel, tmp_path):
    path = tmp_path / "panel.parquet"
    panel.with_columns(bulky=pl.lit("x")).write_parquet(path)
    plan = factor_returns(pl.scan_parquet(path), ["Factor_0"]).explain()
    assert "PROJECT 4/8 COLUMNS" in plan


def test_the_panel_is_left_alone(panel):
    before = panel.clone()
    factor_returns(panel, FACTORS, weights="weight")
    assert_frame_equal(panel, before)


def test_the_demo_panel_is_that_of_the_documented_notebook():
    panel, truth = simulated_panel()
    np.random.seed(42)
    X, f = np.random.randn(600, 3), np.random.randn(12, 3) * 0.02
    np.testing.assert_array_equal(panel.select(FACTORS).to_numpy(), X)
    np.testing.assert_array_equal(truth.select(FACTORS).to_numpy(), f)
    noise = np.concatenate([np.random.randn(50) * 0.005 for _ in range(12)])
    returns = (X * np.repeat(f, 50, axis=0)).sum(axis=1) + noise
    np.testing.assert_allclose(panel["return"].to_numpy(), returns, rtol=1e-14)
    assert panel["weight"].unique().to_list() == [1.0]


def test_the_comparison_of_the_demo():
    _, truth = simulated_panel()
    table = comparison(truth, truth.with_columns(pl.col(FACTORS) + 1).reverse())
    np.testing.assert_allclose(table["error"], 1.0)
    assert table.height == 36
    assert table.equals(table.sort("period", "factor"))
    assert table.row(0) == (
        "2023-01",
        "Factor_0",
        *[pytest.approx(v) for v in (truth["Factor_0"][0], truth["Factor_0"][0] + 1, 1.0)],
    )


def test_the_demo_panel_is_recovered():
    panel, truth = simulated_panel()
    answer = factor_returns(panel, FACTORS, weights="weight")
    errors = (answer.select(FACTORS) - truth.select(FACTORS)).to_numpy()
    assert np.abs(errors).max() < 0.003


def test_arrays_of_a_panel_in_pieces_are_copied_once(panel, monkeypatch):
    """Copies are as large as the panel: the peak of memory is where they are."""
    made = []
    arrays = BlockRows.arrays
    monkeypatch.setattr(BlockRows, "arrays", lambda block: made.append(1) or arrays(block))
    factor_returns(panel, FACTORS)
    assert made == [1]
