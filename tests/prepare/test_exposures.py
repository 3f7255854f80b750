"""Exposures and weights as expressions: in every place the numbers of a loop over groups."""

from __future__ import annotations

import math
from functools import partial
from statistics import NormalDist

import numpy as np
import polars as pl
import polars.selectors as cs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from scipy.special import ndtri
from scipy.stats import median_abs_deviation, rankdata

from vbase_py_utils import PanelError, huber_residuals
from vbase_py_utils.prepare.exposures import (
    cap_weights,
    fill_missing_by_group,
    neutralize,
    rank_normal,
    winsorize,
    zscore,
)

INTERCEPT = pl.lit(1.0).alias("intercept")


# --- the same in plain NumPy, for one group; NaN is missing


def clipped_to_quantiles(x, low, high):
    values = x[np.isfinite(x)]
    return np.clip(x, *np.quantile(values, [low, high])) if values.size else x


def clipped_to_sds(x, k):
    values = x[np.isfinite(x)]
    sd = median_abs_deviation(values, scale="normal") if values.size else 0.0
    middle = np.median(values) if sd > 0 else np.nan
    return np.clip(x, middle - k * sd, middle + k * sd)


def scores(x, w):
    inside = np.isfinite(x) & (w > 0)
    if (w < 0).any() or inside.sum() < 2 or np.ptp(x[inside]) == 0:
        return np.full_like(x, np.nan)
    return (x - np.average(x[inside], weights=w[inside])) / x[inside].std(ddof=1)


def normal_scores(x):
    known = np.isfinite(x)
    answer = np.full_like(x, np.nan)
    if known.any() and np.ptp(x[known]) > 0:
        answer[known] = ndtri((rankdata(x[known]) - 0.5) / known.sum())
    return answer


def filled(x, *keys):
    answer = x.copy()
    for i in np.flatnonzero(np.isnan(x)):
        alike = [j for j in range(len(x)) if all(key[j] == key[i] for key in keys)]
        values = [x[j] for j in alike if np.isfinite(x[j])]
        if values and all(key[i] is not None for key in keys):
            answer[i] = np.median(values)
    return answer


def left_over(y, w, *X):
    X = np.column_stack([np.ones_like(y), *X])
    known = np.isfinite(np.column_stack([y, X])).all(axis=1)
    fit = known & (w > 0)
    if (w < 0).any() or fit.sum() < X.shape[1]:
        return np.full_like(y, np.nan)
    root = np.sqrt(w[fit])
    b, _, rank, _ = np.linalg.lstsq(X[fit] * root[:, None], y[fit] * root, rcond=1e-10)
    u = np.where(known, y - X @ b, np.nan)
    if fit.sum() == X.shape[1]:
        u[fit] = 0.0  # by algebra; the rounding of y - X b is as large as X b, not as y
    wholly = np.nanmax(np.abs(u)) <= 1e-12 * np.abs(y[known]).max()
    return np.full_like(y, np.nan) if wholly or rank < X.shape[1] else u


def weights_of(cap, power, max_share):
    positive = cap > 0
    if (cap < 0).any() or not positive.any():
        return np.where(cap < 0, np.nan, cap * (np.nan if (cap < 0).any() else 1.0))
    w = cap[positive] ** power
    if max_share is not None:
        w = w / w.max()
        low, high = w.min(), 1.0  # the share of a ceiling only rises with the ceiling
        while np.nextafter(low, 2) < high:
            middle = 0.5 * (low + high)
            fine = middle <= max_share * np.minimum(w, middle).sum()
            low, high = (middle, high) if fine else (low, middle)
        w = np.minimum(w, high if high <= max_share * np.minimum(w, high).sum() else low)
    answer = cap.copy()
    answer[positive] = w / w.mean()
    return answer


# The expression, the function of arrays that gives the same, and its columns.
CASES = {
    "quantiles": (
        winsorize("x", quantiles=(0.1, 0.75)),
        partial(clipped_to_quantiles, low=0.1, high=0.75),
        ["x"],
    ),
    "all quantiles": (winsorize("x", quantiles=(0, 1)), lambda x: x, ["x"]),
    "robust deviations": (winsorize("x", robust_sds=1.5), partial(clipped_to_sds, k=1.5), ["x"]),
    "z-scores": (zscore("x"), lambda x: scores(x, np.ones_like(x)), ["x"]),
    "weighted z-scores": (zscore("x", weights="cap"), scores, ["x", "cap"]),
    "normal scores": (rank_normal("x"), normal_scores, ["x"]),
    "filled": (fill_missing_by_group("x", "sector"), filled, ["x", "sector"]),
    "filled by two keys": (
        fill_missing_by_group("x", ["sector", pl.col("size")]),
        filled,
        ["x", "sector", "size"],
    ),
    "neutral": (
        neutralize("x", [INTERCEPT, "a", "b"]),
        lambda y, *X: left_over(y, np.ones_like(y), *X),
        ["x", "a", "b"],
    ),
    "weighted neutral": (
        neutralize("x", ["a", INTERCEPT], weights="cap"),
        left_over,
        ["x", "cap", "a"],
    ),
    "weights": (cap_weights("cap"), partial(weights_of, power=0.5, max_share=None), ["cap"]),
    "capped weights": (
        cap_weights("cap", power=2, max_share=0.15),
        partial(weights_of, power=2.0, max_share=0.15),
        ["cap"],
    ),
    "equal weights": (
        cap_weights("cap", power=0),
        partial(weights_of, power=0.0, max_share=None),
        ["cap"],
    ),
}
every_case = pytest.mark.parametrize("case", CASES)


def panel_of(seed, sizes, *, gaps=0.1, odd=0.0, negative=0.0, kind=pl.Float64):
    """Rows of periods of ``sizes``, in any order, with ties and with whatever is missing.

    Of the periods, a share ``odd`` is constant, as many have no value, and a share ``negative``
    has negative caps.
    """
    rng = np.random.default_rng(seed)
    period = np.repeat(np.arange(len(sizes)), np.asarray(sizes, dtype=int))
    n = len(period)
    columns = {
        "x": rng.standard_t(3, n).round(rng.integers(1, 4)),
        "cap": rng.lognormal(3, 2, n),
        "a": rng.standard_normal(n),
        "b": rng.standard_normal(n),
    }
    constant, empty, below = rng.random((3, len(sizes))) < [[odd], [odd], [negative]]
    columns["x"][constant[period]] = 0.1
    columns["cap"][below[period] & (rng.random(n) < 0.3)] *= -1
    columns["cap"][rng.random(n) < gaps / 2] = 0.0
    for values in columns.values():
        bad = rng.random(n) < gaps
        values[bad] = rng.choice([np.nan, np.inf, -np.inf], bad.sum())
    columns["x"][empty[period]] = np.nan
    frame = pl.DataFrame({"period": period, **columns}).with_columns(
        pl.when(pl.Series(rng.random(n) >= gaps / 2)).then(pl.col(name).cast(kind))
        for name in columns
    )
    frame = frame.with_columns(
        pl.Series("sector", ["oil", "tin", None]).gather(rng.integers(0, 3, n)),
        pl.Series("size", [1, 2, None]).gather(rng.integers(0, 3, n)),
        pl.Series("country", ["DE", "FR", None]).gather(rng.integers(0, 3, n)),
    )
    return frame[rng.permutation(n)]


@st.composite
def panels(draw):
    return panel_of(
        draw(st.integers(0, 2**32 - 1)),
        draw(st.lists(st.sampled_from([1, 2, 3, 5, 8, 12, 40]), max_size=9)),
        gaps=draw(st.sampled_from([0.0, 0.1, 0.4])),
        odd=draw(st.sampled_from([0.0, 0.3])),
        negative=draw(st.sampled_from([0.0, 0.4])),
        kind=draw(st.sampled_from([pl.Float64, pl.Float32])),
    )


def array(values):
    """As an array with NaN for null; keys as objects."""
    if not values.dtype.is_float():
        return np.array(values.to_list(), dtype=object)
    numbers = values.cast(pl.Float64).fill_null(np.nan).to_numpy().copy()
    numbers[~np.isfinite(numbers)] = np.nan
    return numbers


def by_loop(frame, function, columns, keys):
    answer = np.full(frame.height, np.nan)
    for _, rows in frame.with_row_index().group_by(keys):
        answer[rows["index"]] = function(*(array(rows[name]) for name in columns))
    return answer


def assert_numbers(answer, expected, **tolerance):
    assert answer.dtype == pl.Float64
    assert answer.is_finite().all()  # of what is not null
    np.testing.assert_allclose(
        array(answer), expected, **({"rtol": 1e-9, "atol": 1e-9} | tolerance)
    )


def assert_as_by_loop(frame, case, keys):
    expression, function, columns = CASES[case]
    before = frame.clone()
    query = frame.lazy().select(expression.over(keys))
    assert query.collect_schema() == {columns[0]: pl.Float64}
    expected = by_loop(frame, function, columns, keys)
    for answer in (
        frame.select(expression.over(keys)),
        query.collect(engine="in-memory"),
        query.collect(engine="streaming"),
    ):
        assert_numbers(answer[columns[0]], expected)
    assert_frame_equal(frame, before, check_exact=True)


@every_case
def test_equals_a_loop_over_groups(case):
    @settings(max_examples=10, deadline=None)
    @given(panel=panels(), keys=st.sampled_from([["period"], ["period", "country"]]))
    def check(panel, keys):
        assert_as_by_loop(panel, case, keys)

    check()


@every_case
def test_most_of_a_panel_has_an_answer(case):
    """Or the comparison with the loop would be of nothing with nothing."""
    panel = panel_of(5, [60] * 8)
    answer = panel.select(CASES[case][0].over("period")).to_series()
    assert answer.count() > 200
    assert answer.n_unique() > (2 if case == "equal weights" else 30)
    assert_as_by_loop(panel, case, ["period"])


# --- places


@every_case
@pytest.mark.parametrize("engine", ["streaming", "in-memory"])
def test_every_place_gives_what_a_window_gives(case, engine):
    expression, _, (name, *_) = CASES[case]
    panel = panel_of(7, [30, 1, 12])
    windows = panel.select("period", expression.over("period"))
    groups = panel.lazy().group_by("period", maintain_order=True).agg(expression)
    groups = groups.explode(name, empty_as_null=False, keep_nulls=False).collect(engine=engine)
    stable = {"check_exact": False, "rel_tol": 1e-12, "abs_tol": 1e-12}
    assert_frame_equal(groups.sort("period"), windows.sort("period", maintain_order=True), **stable)
    largest = panel.lazy().group_by("period").agg(expression.max()).sort("period")
    expected = windows.group_by("period").agg(pl.col(name).max()).sort("period")
    assert_frame_equal(largest.collect(engine=engine), expected, **stable)
    one = panel.filter(pl.col("period") == 0).lazy()
    expected = windows.filter(pl.col("period") == 0).select(name)
    assert_frame_equal(one.select(expression).collect(engine=engine), expected, **stable)
    beside = one.with_columns(expression.alias("new")).select(pl.col("new").alias(name))
    assert_frame_equal(beside.collect(engine=engine), expected, **stable)
    none = panel.clear().lazy()
    assert none.select(expression.over("period")).collect(engine=engine).shape == (0, 1)
    assert none.select(expression).collect(engine=engine).shape == (0, 1)


def test_expressions_in_expressions_are_those_of_two_steps():
    panel = panel_of(21, [40, 1, 25])
    clipped, capped = winsorize("x", robust_sds=1.5), cap_weights("cap", max_share=0.1)
    steps = panel.with_columns(clipped.over("period"), capped.over("period"))
    for outer in (zscore, rank_normal, partial(winsorize, quantiles=(0.1, 0.8))):
        nested = outer(clipped)
        expected = steps.select(outer("x").over("period"))
        assert_frame_equal(panel.select(nested.over("period")), expected)
        for engine in ("in-memory", "streaming"):
            lazy = panel.lazy().select(nested.over("period")).collect(engine=engine)
            assert_frame_equal(lazy, expected)
    both = zscore(clipped, weights=capped)
    expected = steps.select(zscore("x", weights="cap").over("period"))
    assert_frame_equal(panel.select(both.over("period")), expected)
    groups = panel.group_by("period", maintain_order=True).agg(both)
    exploded = groups.explode("x", empty_as_null=False, keep_nulls=False)
    order = panel.select("period", "x", both.over("period").alias("z"))
    expected = pl.concat(order.filter(period=key[0]) for key in groups.select("period").iter_rows())
    assert_frame_equal(exploded["x"].alias("z").to_frame(), expected.select("z"))


def test_scores_are_columns_to_calculate_with():
    panel = panel_of(22, [40, 9, 25])
    z = zscore("x", weights="cap")
    column = panel.select(z.over("period")).to_series()
    frame = panel.with_columns(z=column)
    for expression, same in {
        "sum": (z + pl.col("a") * rank_normal("b"), pl.col("z") + pl.col("a") * rank_normal("b")),
        "clipped": (
            z.clip(-1, 1) - z.clip(-1, 1).mean(),
            pl.col("z").clip(-1, 1) - pl.col("z").clip(-1, 1).mean(),
        ),
        "filled": (z.fill_null(0.0), pl.col("z").fill_null(0.0)),
        "chosen": (pl.when(z > 0).then(z), pl.when(pl.col("z") > 0).then("z")),
        "least": (z.min(), pl.col("z").min()),
    }.values():
        got = frame.select(expression.over("period").alias("answer"))
        assert_frame_equal(got, frame.select(same.over("period").alias("answer")))
    kept = panel.filter(z.over("period") > 0)
    assert_frame_equal(kept, panel.filter(column > 0))


@pytest.mark.parametrize("weight", [2.0, 0.0, -1.0])
def test_a_literal_is_a_weight_for_every_row(weight):
    panel = panel_of(23, [30, 4])
    expected = panel.with_columns(w=weight).select(zscore("x", weights="w").over("period"))
    literal = zscore("x", weights=pl.lit(weight))
    assert_frame_equal(panel.select(literal.over("period")), expected)
    one = panel.filter(period=0)
    column = one.with_columns(w=weight).select(zscore("x", weights="w"))
    assert_frame_equal(one.select(literal), column)


@pytest.mark.parametrize("weights", ["cap", pl.col("cap").sqrt(), pl.col("cap").mean()])
def test_weights_of_a_selector_are_those_of_each_of_its_columns(weights):
    panel = panel_of(24, [30, 20])
    answer = panel.select(zscore(cs.by_name("a", "b"), weights=weights).over("period"))
    expected = panel.select(zscore(name, weights=weights).over("period") for name in ("a", "b"))
    assert_frame_equal(answer, expected)


@every_case
def test_other_periods_do_not_matter(case):
    expression = CASES[case][0]

    @settings(max_examples=4, deadline=None)
    @given(panel=panels(), seed=st.integers(0, 2**32 - 1))
    def check(panel, seed):
        other = panel_of(seed, [20, 7], negative=0.5)
        other = other.with_columns(pl.col("period") + 100).cast(dict(panel.schema))
        both = pl.concat([panel, other])[np.random.default_rng(seed).permutation(panel.height + 27)]
        key = pl.col("period") < 100
        columns = panel.columns
        got = both.with_columns(expression.over("period").alias("answer")).filter(key)
        alone = panel.with_columns(expression.over("period").alias("answer"))
        got, alone = (frame.sort(columns, maintain_order=True) for frame in (got, alone))
        assert_frame_equal(got, alone, rel_tol=1e-9, abs_tol=1e-9)

    check()


@pytest.mark.parametrize(
    "make",
    [
        partial(winsorize, quantiles=(0.2, 0.8)),
        partial(winsorize, robust_sds=2),
        zscore,
        rank_normal,
        partial(fill_missing_by_group, by="sector"),
        cap_weights,
    ],
)
def test_a_selector_stands_for_all_its_columns(make):
    panel = panel_of(3, [30, 20])
    answer = panel.select(make(cs.by_name("a", "cap")).over("period"))
    expected = panel.select(make(name).over("period") for name in ("a", "cap"))
    assert_frame_equal(answer, expected)


@pytest.mark.parametrize(
    "make",
    [
        partial(winsorize, quantiles=(0.2, 0.8)),
        partial(winsorize, robust_sds=2),
        zscore,
        partial(zscore, weights="x"),
        rank_normal,
        partial(fill_missing_by_group, by="k"),
        partial(neutralize, exposures="k"),
        cap_weights,
    ],
)
def test_any_type_of_number(make):
    frame = pl.DataFrame({"x": [1, 2, 4, 8, None, 3], "k": [1, 1, 1, 2, 2, 2]})
    expected = frame.select(make(pl.col("x").alias("v")))["v"]
    assert expected.dtype == pl.Float64
    assert expected.n_unique() > 3
    for kind in (pl.Float32, pl.UInt8, pl.Int64, pl.Decimal(10, 2)):
        answer = frame.with_columns(pl.col("x").cast(kind)).select(make(pl.col("x").alias("v")))
        assert_frame_equal(answer, expected.to_frame())
    nothing = pl.DataFrame({"x": [None, None], "k": [1, 1]})
    answer = nothing.lazy().select(make("x").over("k"))
    assert answer.collect_schema() == {"x": pl.Float64}
    assert answer.collect()["x"].to_list() == [None, None]
    text = frame.with_columns(pl.col("x").cast(pl.String))
    with pytest.raises((pl.exceptions.InvalidOperationError, PanelError)):
        text.select(make("x"))


# --- units and constants


@every_case
@pytest.mark.parametrize("unit", [1e200, 1e-200, 2.0**-40])
def test_units_do_not_matter(case, unit):
    expression, _, (name, *_) = CASES[case]
    panel = panel_of(13, [40, 25, 3])
    scaled = panel.with_columns(cs.by_name("x", "cap") * unit)
    answer = scaled.select(expression.over("period"))[name]
    if name == "x" and "scores" not in case:
        answer /= unit
    assert answer.count() > 30
    expected = panel.select(expression.over("period"))[name]
    assert_numbers(answer, array(expected), rtol=1e-11, atol=1e-11)


def test_the_least_numbers_have_digits():
    """Numbers of 1e-310 have 13 digits, and 1 / 1e-310 is none."""
    frame = pl.DataFrame({"x": [1.0, 2.0, 4.0, 9.0]})
    tiny = frame * 1e-310
    for expression in (zscore("x"), cap_weights("x"), cap_weights("x", max_share=0.4)):
        expected = frame.select(expression)["x"].to_numpy()
        np.testing.assert_allclose(tiny.select(expression)["x"], expected, rtol=1e-10)


@pytest.mark.parametrize("value", [0.1, 1e200, 1e-300, -7.3, 0.0])
def test_a_constant_has_no_unit(value):
    constant = pl.DataFrame({"x": [value] * 7, "w": np.linspace(0.1, 0.7, 7)})
    for expression in (
        zscore("x"),
        zscore("x", weights="w"),
        rank_normal("x"),
        winsorize("x", robust_sds=3),
        neutralize("x", INTERCEPT, weights="w"),
    ):
        assert constant.select(expression)["x"].to_list() == [None] * 7
    assert constant.select(winsorize("x", quantiles=(0.05, 0.7)))["x"].to_list() == [value] * 7


def test_most_values_equal_leave_no_robust_deviation():
    frame = pl.DataFrame({"x": [0.1] * 5 + [9.0, 11.0, None]})
    assert frame.select(winsorize("x", robust_sds=3))["x"].to_list() == [None] * 8


# --- winsorize


def test_values_between_the_limits_stay_exactly():
    x = np.random.default_rng(2).standard_normal(999)
    frame = pl.DataFrame({"x": x})
    for expression in (winsorize("x", quantiles=(0.01, 0.99)), winsorize("x", robust_sds=2.5)):
        answer = frame.select(expression)["x"].to_numpy()
        assert 10 < (answer != x).sum() < 30
        assert (np.abs(answer) <= np.abs(x)).all()


# --- zscore


def test_scores_have_weighted_mean_0_and_standard_deviation_1():
    panel = panel_of(4, [80], gaps=0.1)
    answer = panel.select("cap", pl.col("x"), z=zscore("x", weights="cap"))
    answer = answer.filter(pl.col("x").is_finite(), pl.col("cap").is_finite())
    z, cap = answer["z"].to_numpy(), answer["cap"].to_numpy()
    assert (cap == 0).any()
    assert np.average(z, weights=cap) == pytest.approx(0, abs=1e-14)
    assert z[cap > 0].std(ddof=1) == pytest.approx(1, rel=1e-14)


def test_rows_outside_the_universe_have_scores():
    frame = pl.DataFrame({"x": [1.0, 2.0, 3.0, 7.0, 8.0, None], "w": [1, 1, 2, 0, None, 4]})
    answer = frame.select(zscore("x", weights="w"))["x"].to_list()
    assert answer == [-1.25, -0.25, 0.75, 4.75, 5.75, None]


@pytest.mark.parametrize(
    "weights", [[1, -1, 1], [0, 0, 0], [None, None, None], [1, 0, 0], [0.0, math.nan, 5.0]]
)
def test_no_universe_no_scores(weights):
    frame = pl.DataFrame({"x": [1.0, 2.0, 4.0], "w": weights}, strict=False)
    assert frame.select(zscore("x", weights="w"))["x"].to_list() == [None] * 3


def test_an_infinite_weight_is_a_missing_one():
    frame = pl.DataFrame({"x": [1.0, 2.0, 4.0], "w": [1.0, 1.0, -math.inf]})
    assert frame.select(zscore("x", weights="w"))["x"].null_count() == 0


def test_weights_may_be_as_large_as_numbers_get():
    frame = pl.DataFrame({"x": [1.0, 2.0, 4.0, 5.0], "w": [1e308, 1e308, 1e308, 0.5e308]})
    expected = frame.select(zscore("x", weights=pl.col("w") / 1e308))["x"].to_list()
    assert frame.select(zscore("x", weights="w"))["x"].to_list() == pytest.approx(expected)


def test_scores_far_from_0_are_exact():
    x = 1e9 + np.arange(5.0) / 1024  # exact in binary
    expected = (np.arange(5) - 2) / np.arange(5).std(ddof=1)
    got = pl.DataFrame({"x": x}).select(zscore("x"))["x"].to_numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-14)


# --- rank_normal


def test_normal_scores_to_the_last_digits():
    n = 20_001
    x = np.random.default_rng(1).permutation(n)
    answer = pl.DataFrame({"x": x}).select(rank_normal("x"))["x"].to_numpy()[np.argsort(x)]
    below = slice(n // 2)  # above, SciPy has only the digits of 1 - p
    expected = ndtri((np.arange(1, n + 1) - 0.5) / n)[below]
    np.testing.assert_allclose(answer[below], expected, rtol=2e-14, atol=2e-16)
    np.testing.assert_array_equal(answer, -answer[::-1])
    assert answer[n // 2] == 0
    assert (np.diff(answer) > 0).all()


def test_normal_scores_by_another_algorithm():
    """The standard library's, which is Wichura's AS 241."""
    n = 4001
    answer = pl.DataFrame({"x": range(n)}).select(rank_normal("x"))["x"].to_list()
    expected = [NormalDist().inv_cdf((i + 0.5) / n) for i in range(n // 2)]
    np.testing.assert_allclose(answer[: n // 2], expected, rtol=1e-14)


def test_ties_share_a_score_and_zeros_have_no_sign():
    frame = pl.DataFrame({"x": [0.0, 5.0, -0.0, math.inf, -3.0]})
    answer = frame.select(rank_normal("x"))["x"].to_list()
    assert answer == [0.0, -answer[4], 0.0, None, pytest.approx(ndtri(0.125), rel=1e-14)]


# --- fill_missing_by_group


def test_what_is_there_stays_exactly_as_it_is():
    panel = panel_of(9, [50, 30], gaps=0.3)
    for keys in ("sector", ["sector", pl.col("size") > 1], pl.lit(None)):
        answer = panel.select(fill_missing_by_group("x", keys).over("period"))["x"]
        there = panel["x"].is_finite().fill_null(value=False)
        assert answer.filter(there).to_list() == panel["x"].filter(there).to_list()
    assert answer.null_count() == (~there).sum()  # no key


def test_a_sector_of_another_period_is_another_sector():
    frame = pl.DataFrame({"period": [1, 1, 2], "sector": ["a"] * 3, "x": [1.0, None, None]})
    answer = frame.select(fill_missing_by_group("x", "sector").over("period"))
    assert answer["x"].to_list() == [1.0, 1.0, None]


# --- neutralize


def test_residuals_are_those_of_the_estimator():
    panel = panel_of(6, [50, 40])
    expected = huber_residuals("x", ["a", "b"], weights="cap", huber_t=math.inf).over("period")
    got = neutralize("x", iter(["a", pl.col("b")]), weights="cap").over("period")
    assert_frame_equal(panel.select(got), panel.select(expected), check_exact=True)
    assert panel.select(got)["x"].count() > 30


def test_rounding_is_no_residual(rng):
    a, b = rng.standard_normal((2, 40))
    frame = pl.DataFrame({"a": a, "b": b, "x": 0.3 * a - 7 * b, "g": [0, 1] * 20})
    frame = frame.with_columns(pl.when(pl.col("g") == 0).then("x").otherwise(pl.col("a") ** 2))
    raw = frame.select(huber_residuals("x", ["a", "b"], huber_t=math.inf).over("g"))["x"]
    assert raw.null_count() == 0
    answer = frame.with_columns(neutralize("x", ["a", "b"]).over("g"))
    assert answer.filter(g=0)["x"].null_count() == 20
    assert answer.filter(g=1)["x"].null_count() == 0
    # As many rows as exposures, nearly collinear: of the size of the products is the rounding.
    close = 1 + np.logspace(-2, -12, 40)[:, None] * [0.0, 1.0]
    pair = pl.DataFrame({"g": np.repeat(np.arange(40), 2), "a": 1.0, "b": close.ravel()})
    pair = pair.with_columns(x=pl.Series(rng.standard_normal(80)), w=pl.Series([1.0, 1e4] * 40))
    for weights in (None, "w"):
        answer = pair.select(neutralize("x", ["a", "b"], weights=weights).over("g"))
        assert answer["x"].null_count() == 80
    # A third row leaves something: of nearly collinear exposures too.
    third = pair.filter(pl.col("g") < 30).group_by("g").first().with_columns(x=pl.lit(2.0))
    more = pl.concat([pair.filter(pl.col("g") < 30), third])
    assert more.select(neutralize("x", ["a", "b"]).over("g"))["x"].null_count() == 0
    # Next to nothing is not nothing, and what has no residual is no yardstick.
    nearly = frame.with_columns(x=1e-9 * pl.col("a") ** 2 + pl.col("b"))
    assert nearly.select(neutralize("x", ["a", "b"]))["x"].null_count() == 0
    far = pl.DataFrame({"a": [None], "b": [1.0], "x": [1e9], "g": [1]})
    far = pl.concat([nearly, far]).with_columns(x=1e-6 * pl.col("x"), extra=pl.col("x") * 0)
    assert far.select(neutralize("x", ["a", "b"]))["x"].null_count() == 1


# --- cap_weights


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 60),
    max_share=st.floats(0.005, 1) | st.integers(1, 60).map(lambda n: 1 / n),
    power=st.sampled_from([0, 0.5, 1, 2]),
    spread=st.sampled_from([0.1, 2.0, 12.0]),
)
def test_no_share_is_too_large(seed, n, max_share, power, spread):
    cap = np.random.default_rng(seed).lognormal(0, spread, n).astype(np.float32)  # with ties
    cap = np.append(cap, cap[: n // 3])
    weights = cap_weights("cap", power=power, max_share=max_share)
    w = pl.DataFrame({"cap": cap.astype(float)}).select(weights)["cap"].to_numpy()
    np.testing.assert_allclose(w, weights_of(cap.astype(float), power, max_share), rtol=1e-9)
    assert w.mean() == pytest.approx(1, rel=1e-12)
    assert (np.diff(w[np.argsort(cap)]) >= 0).all()
    assert w.max() / w.sum() <= max(max_share * (1 + 1e-12), (1 + 1e-12) / len(w))
    uncut = w < w.max() * (1 - 1e-9)
    ratio = w[uncut] / cap[uncut].astype(float) ** power
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:1], ratio.shape), rtol=1e-9)


@pytest.mark.parametrize("n", [1, 3, 6, 31, 49])
def test_one_share_each_is_equal_weights(n):
    """Also where n * (1 / n) is not 1, and where all but n rows weigh next to nothing."""
    cap = np.append(np.geomspace(1, 1e6, n), [1e-280, 1e-290])
    frame = pl.DataFrame({"cap": cap})
    answer = frame.select(cap_weights("cap", power=1, max_share=1 / n))["cap"].to_numpy()
    np.testing.assert_allclose(answer, [1 + 2 / n] * n + [0, 0], rtol=1e-12, atol=1e-200)
    few = frame.head(n).select(cap_weights("cap", power=1, max_share=1 / n))["cap"]
    np.testing.assert_allclose(few, 1, rtol=1e-12)


def test_the_ceiling_by_hand():
    """Two of 100 and 60 are cut to 20: 40 % of 50 each."""
    frame = pl.DataFrame({"cap": [60.0, 4.0, 100.0, 6.0, 0.0]})
    answer = frame.select(cap_weights("cap", power=1, max_share=0.4))["cap"].to_list()
    assert answer == pytest.approx([1.6, 0.32, 1.6, 0.48, 0.0], rel=1e-14)


def test_zero_negative_and_missing_caps():
    frame = pl.DataFrame(
        {"g": [1, 1, 2, 2, 3, 3, 4], "cap": [0.0, 5.0, -1.0, 5.0, -math.inf, 5.0, 0.0]}
    )
    for power in (0, 0.5):
        for max_share in (None, 0.3):
            weights = cap_weights("cap", power=power, max_share=max_share).over("g")
            answer = frame.select(weights)["cap"].to_list()
            assert answer == [0.0, 1.0, None, None, None, 1.0, 0.0]


# --- errors


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "winsorize takes either quantiles or robust_sds"),
        ({"quantiles": (0.1, 0.9), "robust_sds": 3}, "winsorize takes either quantiles or"),
        ({"quantiles": (0.9, 0.1)}, r"quantiles is \(0.9, 0.1\), expected two numbers with 0 <= l"),
        ({"quantiles": (0.5, 0.5)}, "expected two numbers"),
        ({"quantiles": (-0.1, 0.5)}, "expected two numbers"),
        ({"quantiles": (0.1, 1.1)}, "expected two numbers"),
        ({"quantiles": (0.1, math.nan)}, "expected two numbers"),
        ({"quantiles": (0.1, 0.5, 0.9)}, "expected two numbers"),
        ({"robust_sds": 0}, "robust_sds is 0, expected a finite number > 0"),
        ({"robust_sds": math.inf}, "robust_sds is inf, expected"),
        ({"robust_sds": math.nan}, "robust_sds is nan, expected"),
    ],
)
def test_limits_that_make_no_sense(options, said):
    with pytest.raises(ValueError, match=said):
        winsorize("x", **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"power": -1}, "power is -1, expected a finite number >= 0"),
        ({"power": math.inf}, "power is inf, expected"),
        ({"power": math.nan}, "power is nan, expected"),
        ({"max_share": 0}, "max_share is 0, expected a number > 0 and <= 1"),
        ({"max_share": 1.01}, "max_share is 1.01, expected"),
        ({"max_share": math.nan}, "max_share is nan, expected"),
    ],
)
def test_weights_that_make_no_sense(options, said):
    with pytest.raises(ValueError, match=said):
        cap_weights("cap", **options)


def test_arguments_of_a_wrong_type():
    for name, make in {
        "power": partial(cap_weights, "cap"),
        "max_share": partial(cap_weights, "cap"),
        "robust_sds": partial(winsorize, "x"),
    }.items():
        with pytest.raises(TypeError, match=f"^{name} is 'a', expected a .*number "):
            make(**{name: "a"})
    for quantiles in (("a", 0.9), (True, 0.9), 0.9, {0.1, 0.9}):
        with pytest.raises(TypeError, match=r"^quantiles is .*, .*expected two numbers with 0 <= "):
            winsorize("x", quantiles=quantiles)
    for argument, make in {
        "column is": (
            partial(winsorize, 3, robust_sds=3),
            partial(zscore, 3),
            partial(rank_normal, 3),
            partial(fill_missing_by_group, 3, "sector"),
            partial(neutralize, 3, "a"),
        ),
        "weights is": (partial(zscore, "x", weights=3), partial(neutralize, "x", "a", weights=3)),
        "by holds": (partial(fill_missing_by_group, "x", [3]),),
        "cap is": (partial(cap_weights, 3),),
    }.items():
        for call in make:
            with pytest.raises(TypeError, match=f"^{argument} 3, expected a column name or an exp"):
                call()
    with pytest.raises(TypeError, match=r"^column is a Series, expected a column name or an exp"):
        zscore(pl.Series([1.0]))
    with pytest.raises(TypeError, match=r"^by is 3, expected column names or expressions in a "):
        fill_missing_by_group("x", 3)
    with pytest.raises(ValueError, match="no columns to group by: by is empty"):
        fill_missing_by_group("x", [])
    with pytest.raises(PanelError, match="no exposures given"):
        neutralize("x", [])
