"""The estimator as an expression: in every grouping and window the frame functions' numbers."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import polars.selectors as cs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal, assert_series_equal

import oracle
from panels import EXPOSURES, by_the_oracle, panel_of, panels
from vbase_py_utils import (
    PanelError,
    factor_returns,
    fit_cross_sections,
    huber_regression,
    huber_residuals,
)
from vbase_py_utils.fit import expressions

ENGINES = ["streaming", "in-memory"]


def regression(**options):
    return huber_regression("return", EXPOSURES, **({"weights": "w"} | options)).alias("fit")


def residuals(**options):
    return huber_residuals("return", EXPOSURES, **({"weights": "w"} | options)).alias("left")


@pytest.fixture(scope="module")
def panel():
    return panel_of(11, [12, 30, 1, 17, 25, 3, 20, 40])


@pytest.fixture(scope="module")
def fits(panel):
    return fit_cross_sections(panel, EXPOSURES, weights="w")


# --- the same numbers


@settings(max_examples=40, deadline=None)
@given(
    panel=panels(),
    engine=st.sampled_from(ENGINES),
    huber_t=st.sampled_from([1.345, 0.7, np.inf]),
    weights=st.sampled_from(["w", None]),
)
def test_the_same_as_the_frame_functions(panel, engine, huber_t, weights):
    options = {"huber_t": huber_t, "weights": weights}
    expected = fit_cross_sections(panel, EXPOSURES, **options)
    query = panel.lazy().group_by("period").agg(regression(**options)).unnest("fit").sort("period")
    assert query.collect_schema() == expected.factor_returns.schema
    answer = query.collect(engine=engine)
    assert_frame_equal(answer, expected.factor_returns, rel_tol=1e-12, abs_tol=0)

    windows = panel.lazy().with_columns(residuals(**options).over("period"))
    assert windows.collect_schema()["left"] == pl.Float64
    left = windows.collect(engine=engine)["left"]
    specific = expected.specific_returns["specific_return"]
    assert_series_equal(left, specific, check_names=False, rel_tol=1e-12, abs_tol=0)


@settings(max_examples=25, deadline=None)
@given(panel=panels(), data=st.data())
def test_any_keys_give_what_their_rows_give(panel, data):
    """Keys that are numbers, text, dates, null; rows of a group anywhere in the frame."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    country = pl.Series(["DE", "FR", None]).gather(rng.integers(0, 3, panel.height))
    day = pl.Series([dt.date(2024, 1, 1), dt.date(2024, 1, 2)])
    panel = panel.with_columns(country=country, day=day.gather(rng.integers(0, 2, panel.height)))
    keys = ["country", "day"]
    answer = panel.lazy().group_by(keys).agg(regression()).unnest("fit").collect()
    left = panel.select(*keys, residuals().over(keys))
    for key, group in panel.group_by(keys):
        one = pl.all_horizontal(pl.col(k).eq_missing(v) for k, v in zip(keys, key, strict=True))
        rows = group.with_columns(period=pl.lit(1), asset=pl.int_range(pl.len()))
        alone = fit_cross_sections(rows, EXPOSURES, weights="w")
        got = answer.filter(one).select(EXPOSURES)
        assert_frame_equal(got, alone.factor_returns.drop("period"), rel_tol=1e-12, abs_tol=0)
        specific = alone.specific_returns["specific_return"]
        got = left.filter(one)["left"]
        assert_series_equal(got, specific, check_names=False, rel_tol=1e-12, abs_tol=0)


def test_equals_the_oracle_in_groups():
    panel = panel_of(22, [90] * 10).with_columns(g=pl.int_range(pl.len()) * 7 % 13)
    answer = panel.group_by("g").agg(regression()).unnest("fit")
    left = panel.select(residuals().over("g")).to_series().to_numpy()
    coefficients, expected = by_the_oracle(panel, "g")
    assert len(coefficients) == 13
    for group, b in coefficients.items():
        row = answer.filter(pl.col("g") == group).drop("g")
        np.testing.assert_allclose(row.row(0), b, rtol=1e-8)
    known = np.isfinite(expected)
    np.testing.assert_allclose(left[known], expected[known], atol=1e-8)
    assert known.sum() > 400  # about 0.855 ** 4 of 900 rows are wholly there


def test_equals_the_oracle_in_windows_that_overlap(rng):
    X = rng.standard_normal((60, 2))
    y = X @ [0.3, -0.2] + 0.1 * rng.standard_t(3, 60)
    w = rng.lognormal(0, 1, 60)
    frame = pl.DataFrame({"t": np.arange(60), "y": y, "a": X[:, 0], "b": X[:, 1], "w": w})
    fit = huber_regression("y", ["a", "b"], weights="w").alias("fit")
    rolling = frame.rolling("t", period="20i").agg(fit).unnest("fit")
    window = frame.with_columns(fit.rolling("t", period="20i")).unnest("fit", separator=" of ")
    for end in range(19, 60):
        rows = slice(end - 19, end + 1)
        b = oracle.huber(X[rows], y[rows], w[rows]).b
        np.testing.assert_allclose(rolling.row(end)[1:], b, rtol=1e-8)
        np.testing.assert_allclose(window.row(end)[-2:], b, rtol=1e-8)
    # Fewer rows than exposures, then as many.
    assert rolling.row(0)[1:] == (None, None)
    np.testing.assert_allclose(rolling.row(1)[1:], np.linalg.solve(X[:2], y[:2]), rtol=1e-8)


# --- every place an expression may stand in

PLACES = {
    "group_by": (
        lambda lf: lf.group_by("period").agg(regression()).sort("period").unnest("fit"),
        lambda fits: fits.factor_returns,
    ),
    "with other aggregates": (
        lambda lf: (
            (lf.group_by("period").agg(pl.len(), regression().struct.field("z"), pl.col("w").max()))
            .sort("period")
            .select("period", "z")
        ),
        lambda fits: fits.factor_returns.select("period", "z"),
    ),
    "residuals as lists": (
        lambda lf: (
            lf.group_by("period", maintain_order=True)
            .agg(residuals())
            .explode("left", empty_as_null=False, keep_nulls=False)
        ),
        lambda fits: fits.specific_returns.select("period", left="specific_return"),
    ),
    "spread of residuals": (
        lambda lf: lf.group_by("period").agg(residuals().std()).sort("period"),
        lambda fits: (
            fits.specific_returns.group_by("period")
            .agg(pl.col("specific_return").std().alias("left"))
            .sort("period")
        ),
    ),
    "coefficients for every row": (
        lambda lf: (
            lf.select("period", regression().over("period")).unnest("fit").unique().sort("period")
        ),
        lambda fits: fits.factor_returns,
    ),
    "a filter": (
        lambda lf: lf.filter(residuals().over("period") > 1).select("period", "asset"),
        lambda fits: fits.specific_returns.filter(pl.col("specific_return") > 1).select(
            "period", "asset"
        ),
    ),
    "order_by": (
        lambda lf: lf.select("period", residuals().over("period", order_by="asset")),
        lambda fits: fits.specific_returns.select("period", left="specific_return"),
    ),
    "arithmetic": (
        lambda lf: lf.select(residuals().over("period") * 2 + pl.col("return")),
        None,
    ),
    "group_by_dynamic": (
        lambda lf: lf.group_by_dynamic("period", every="1i").agg(regression()).unnest("fit"),
        lambda fits: fits.factor_returns,
    ),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("place", PLACES)
def test_places(panel, fits, place, engine):
    query, expect = PLACES[place]
    answer = query(panel.lazy())
    schema = answer.collect_schema()
    got = answer.collect(engine=engine)
    assert got.schema == schema
    if expect is None:
        specific = fits.specific_returns["specific_return"]
        expected = (specific * 2 + panel["return"]).to_frame("left")
    else:
        expected = expect(fits)
    # Rows in another order are the same up to rounding.
    tolerance = 1e-9 if place == "order_by" else 1e-12
    assert_frame_equal(got, expected, rel_tol=tolerance, abs_tol=tolerance)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_whole_frame_is_a_group(panel, engine):
    one = panel.with_columns(period=pl.lit(1), asset=pl.int_range(pl.len()))
    fits = fit_cross_sections(one, EXPOSURES, weights="w")
    answer = panel.lazy().select(regression()).unnest("fit").collect(engine=engine)
    assert_frame_equal(answer, fits.factor_returns.drop("period"))
    every = panel.lazy().with_columns(regression()).unnest("fit", separator=" of ")
    assert every.collect(engine=engine)["fit of z"].to_list() == answer["z"].to_list() * 148
    left = panel.lazy().with_columns(residuals()).collect(engine=engine)["left"]
    assert_series_equal(left, fits.specific_returns["specific_return"], check_names=False)


@pytest.fixture
def calls(monkeypatch):
    """How many groups came in each call of Polars."""
    sizes = []
    block = expressions._block

    def spy(groups, *args, **kwargs):
        sizes.append(len(groups))
        return block(groups, *args, **kwargs)

    monkeypatch.setattr(expressions, "_block", spy)
    return sizes


def test_the_rows_of_an_ungrouped_frame_are_not_repeated(panel, calls):
    """The streaming engine would call for every row with all rows: quadratic in memory."""
    panel.lazy().with_columns(regression()).collect(engine="streaming")
    assert sum(calls) <= 2


@pytest.mark.parametrize("engine", ENGINES)
def test_all_groups_of_a_query_are_fitted_together(panel, calls, engine):
    panel.lazy().group_by("period").agg(regression()).collect(engine=engine)
    panel.lazy().select(residuals().over("period")).collect(engine=engine)
    assert calls[0] == 8
    # The streaming engine of Polars 2.0 hands windows over one by one.
    assert sum(calls) == 16
    assert engine == "streaming" or calls == [8, 8]


def test_nothing_runs_before_collect_and_the_query_of_the_panel_runs_once(panel):
    runs = []

    def probe(frame):
        runs.append(frame.height)
        return frame

    query = panel.lazy().map_batches(probe, schema=panel.schema)
    grouped = query.group_by("period").agg(regression())
    windows = query.with_columns(residuals().over("period"))
    for lazy in (grouped, windows):
        runs.clear()
        lazy.collect_schema()
        lazy.explain()
        assert runs == []
        lazy.collect()
        assert runs == [panel.height]


# --- what goes in


def test_expressions_selectors_and_literals(panel):
    answer = panel.group_by("period", maintain_order=True).agg(
        huber_regression(
            pl.col("return") * 100,
            [
                cs.by_name("x", "z"),
                pl.col("size of firm").abs().alias("size"),
                pl.lit(1).alias("1"),
            ],
            weights=pl.col("w").sqrt(),
        ).alias("fit")
    )
    prepared = panel.with_columns(
        pl.col("return") * 100,
        pl.col("w").sqrt(),
        pl.col("size of firm").abs().alias("size"),
        pl.lit(1).alias("1"),
    )
    expected = factor_returns(prepared, ["x", "z", "size", "1"], weights="w")
    assert_frame_equal(answer.unnest("fit"), expected, rel_tol=1e-12)


def test_aggregates_in_a_group_are_repeated_for_its_rows(panel):
    """The return above that of the group, on an exposure and a constant."""
    above = pl.col("return").fill_nan(None) - pl.col("return").fill_nan(None).median()
    columns = [pl.col("x"), pl.col("w").is_not_null().any().alias("const")]
    answer = panel.group_by("period", maintain_order=True).agg(huber_regression(above, columns))
    prepared = panel.with_columns(above.over("period"), const=True)
    expected = factor_returns(prepared, ["x", "const"])
    assert_frame_equal(answer.unnest("return"), expected, rel_tol=1e-12)


@pytest.mark.parametrize("dtype", [pl.Int8, pl.UInt32, pl.Float32, pl.Decimal(20, 4), pl.Boolean])
def test_exposures_of_any_numeric_type(rng, dtype):
    frame = pl.DataFrame({"y": rng.standard_normal(30), "x": rng.integers(0, 2, 30)})
    typed = frame.with_columns(pl.col("x").cast(dtype))
    answer = typed.select(huber_regression("y", "x")).to_series()
    assert answer.dtype == pl.Struct({"x": pl.Float64})
    assert answer.to_list() == frame.select(huber_regression("y", "x")).to_series().to_list()


def test_named_like_the_returns_and_fields_like_the_exposures(panel):
    schema = panel.select(huber_regression("return", EXPOSURES)).schema
    assert schema == {"return": pl.Struct(dict.fromkeys(EXPOSURES, pl.Float64))}
    assert panel.select(huber_residuals(pl.col("z").alias("signal"), "x")).columns == ["signal"]


def test_names_used_inside_may_be_the_users(panel):
    other = panel.rename({"return": "weight", "x": "return", "z": "exposures"})
    names = ["return", "exposures", "size of firm"]
    fit = huber_regression("weight", names, weights="w").alias("fit")
    answer = other.group_by("period", maintain_order=True).agg(fit).unnest("fit")
    expected = factor_returns(panel, ["x", "z", "size of firm"], weights="w")
    assert answer.rows() == expected.rows()


# --- groups without an answer


@pytest.mark.parametrize("engine", ENGINES)
def test_bad_groups_are_null_and_leave_the_others_alone(engine):
    panel = panel_of(3, [20] * 6, gaps=0.0).with_columns(
        x=pl.when(pl.col("period") == 1).then(None).otherwise("x"),
        z=pl.when(pl.col("period") == 2).then(pl.col("x")).otherwise("z"),
        w=pl.when((pl.col("period") == 3) & (pl.col("asset") == "7")).then(-1.0).otherwise("w"),
    )
    answer = panel.lazy().group_by("period", maintain_order=True).agg(regression()).unnest("fit")
    answer = answer.collect(engine=engine)
    good = panel.filter(~pl.col("period").is_between(1, 3))
    expected = fit_cross_sections(good, EXPOSURES, weights="w")
    bad = pl.col("period").is_between(1, 3)
    assert_frame_equal(answer.filter(~bad), expected.factor_returns, check_exact=True)
    assert set(answer.filter(bad).drop("period").unpivot()["value"]) == {None}
    left = panel.lazy().select("period", residuals().over("period")).collect(engine=engine)
    assert left.filter(bad)["left"].null_count() == 60
    specific = expected.specific_returns["specific_return"]
    assert left.filter(~bad)["left"].to_list() == specific.to_list()
    assert specific.null_count() < 60


def test_rows_outside_the_universe_have_residuals():
    panel = panel_of(4, [25], gaps=0.0)
    outside = panel.with_columns(w=pl.when(pl.col("asset") == "3").then(0.0).otherwise("w"))
    left = outside.with_columns(residuals())
    b = factor_returns(outside, EXPOSURES, weights="w").row(0)[1:]
    row = left.filter(pl.col("asset") == "3")
    expected = row["return"][0] - row.select(EXPOSURES).to_numpy()[0] @ b
    assert row["left"][0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("engine", ENGINES)
def test_frames_without_rows(engine):
    empty = panel_of(0, []).lazy()
    assert empty.group_by("period").agg(regression()).collect(engine=engine).height == 0
    assert empty.select(residuals()).collect(engine=engine).height == 0
    assert empty.select(residuals().over("period")).collect(engine=engine).height == 0
    answer = empty.select(regression()).unnest("fit").collect(engine=engine)
    assert answer.rows() == [(None, None, None)]


def test_groups_of_one_row():
    frame = pl.DataFrame({"g": [1, 2, 3], "y": [2.0, None, 4.0], "x": [1.0, 1.0, 0.0]})
    fit = huber_regression("y", "x")
    answer = frame.group_by("g", maintain_order=True).agg(fit).unnest("y")
    assert answer["x"].to_list() == [2.0, None, None]


# --- errors


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"returns": "asset"}, "returns column 'asset' is String, expected a numeric type"),
        ({"exposures": ["x", "asset"]}, "exposure column 'asset' is String"),
        ({"weights": "asset"}, "weights column 'asset' is String"),
        ({"returns": pl.col("x") > 0}, "returns column 'x' is Boolean"),
    ],
)
def test_a_column_of_another_type_is_named(panel, arguments, said, engine):
    given = {"returns": "return", "exposures": "x"} | arguments
    with pytest.raises(PanelError, match=said):
        panel.lazy().group_by("period").agg(huber_regression(**given)).collect(engine=engine)
    with pytest.raises(PanelError, match=said):
        panel.lazy().select(huber_residuals(**given).over("period")).collect(engine=engine)


def test_a_missing_column_is_known_before_the_query_runs(panel):
    query = panel.lazy().group_by("period").agg(huber_regression("return", ["x", "beta"]))
    with pytest.raises(pl.exceptions.ColumnNotFoundError, match="beta"):
        query.collect_schema()


@pytest.mark.parametrize("make", [huber_regression, huber_residuals])
def test_arguments_that_make_no_sense(make):
    with pytest.raises(PanelError, match="no exposures given"):
        make("y", [])
    with pytest.raises(PanelError, match="exposures named more than once: 'x'"):
        make("y", ["x", pl.col("x") * 2])
    with pytest.raises(
        TypeError, match=r"^exposures holds 3, expected a column name or an expression$"
    ):
        make("y", ["x", 3])
    with pytest.raises(
        TypeError, match=r"^exposures is 3, expected column names or expressions in a list$"
    ):
        make("y", 3)
    with pytest.raises(
        TypeError, match=r"^returns is None, expected a column name or an expression$"
    ):
        make(None, "x")
    with pytest.raises(
        TypeError, match=r"^returns is a Series, expected a column name or an expression$"
    ):
        make(pl.Series("y", [1.0]), "x")
    with pytest.raises(TypeError, match=r"^exposures is a DataFrame, expected column names or "):
        make("y", pl.DataFrame({"x": [1.0]}))
    with pytest.raises(ValueError, match="huber_t is 0"):
        make("y", "x", huber_t=0)


def test_several_selectors_stand_for_all_their_columns(panel):
    selectors = [cs.ends_with("z"), cs.starts_with("size")]
    names = ["z", "size of firm"]
    by_selectors, by_names = (
        panel.group_by("period", maintain_order=True).agg(
            huber_regression("return", exposures, weights="w").alias("fit")
        )
        for exposures in (selectors, names)
    )
    assert_frame_equal(by_selectors, by_names, check_exact=True)
    assert by_selectors["fit"].struct.fields == names


@pytest.mark.parametrize("engine", ENGINES)
def test_empty_and_null_groups(panel, engine):
    element = pl.element().struct.field
    fit = huber_regression(element("return"), [element("x"), element("z")])
    rows = panel.group_by("period", maintain_order=True).agg(pl.struct(pl.all()).alias("rows"))
    edges = pl.DataFrame({"period": [98, 99], "rows": [[], None]}, schema=rows.schema)
    answer = pl.concat([rows, edges]).lazy().select(pl.col("rows").list.eval(fit))
    found = answer.collect(engine=engine)["rows"].to_list()
    wide = factor_returns(panel, ["x", "z"]).drop("period")
    assert wide.drop_nulls().height >= 5
    assert found == [*([row] for row in wide.to_dicts()), [{"x": None, "z": None}], None]
