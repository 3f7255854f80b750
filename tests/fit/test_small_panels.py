"""A small panel in memory is fitted without a query, with the answers and errors of a query."""

from __future__ import annotations

import math
import warnings

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from panels import EXPOSURES, PERIOD_TYPES, panel_of
from vbase_py_utils import PanelError, factor_returns, fit_cross_sections, huber_regression

SIZES = [12, 30, 9, 17, 25]


def plain(period_type="Int64"):
    """A panel without a missing value, in the order of its keys."""
    panel = panel_of(4, SIZES, period_type=period_type, gaps=0.0)
    return panel.sort("period", "asset", maintain_order=True)


@pytest.fixture
def queries(monkeypatch):
    """A list that grows with every query of a frame in memory: all begin by ``lazy``."""
    made, lazy = [], pl.DataFrame.lazy

    def spy(frame):
        made.append(frame.columns)
        return lazy(frame)

    monkeypatch.setattr(pl.DataFrame, "lazy", spy)
    return made


@pytest.mark.parametrize("period_type", ["Int64", "Date", "Float32", "Duration", "Decimal"])
@pytest.mark.parametrize("exposure", [pl.Float64, pl.Float32, pl.Int32, pl.Boolean])
def test_a_plain_panel_makes_no_query(exposure, period_type, queries):
    panel = plain(period_type).with_columns((pl.col("x") > 0).cast(exposure))
    queries.clear()
    factor_returns(panel, EXPOSURES, weights="w")
    assert queries == []


def test_the_spy_sees_the_queries_of_other_panels(queries):
    spoilt = plain().with_columns(pl.lit(None, pl.Float64).alias("return"))
    queries.clear()
    factor_returns(spoilt, EXPOSURES, weights="w")
    assert queries


def variants(panel):
    n = panel.height
    yield "in order", panel
    yield "backwards", panel.reverse()
    yield "by asset", panel.sort("asset", "period")
    yield "shuffled", panel.sample(fraction=1, shuffle=True, seed=8)
    yield "in pieces", pl.concat([panel.head(1), panel.slice(1, 40), panel.slice(41)])
    yield "no rows", panel.clear()
    yield "a row", panel.head(1)
    yield "a repeat beside", pl.concat([panel, panel.tail(1)])
    yield "a repeat far off", pl.concat([panel.slice(20, 1), panel])
    for column in ("period", "asset"):
        for row in (0, 17, n - 1):
            gap = pl.when(pl.int_range(n) != row).then(pl.col(column)).alias(column)
            yield f"{column} null in row {row}", panel.with_columns(gap)
    for weight in (-1.0, -0.0, 0.0, -math.inf, math.nan, None):
        spoilt = pl.when(pl.int_range(n) == 40).then(weight).otherwise("w").alias("w")
        yield f"weight {weight}", panel.with_columns(spoilt)
        yield (
            f"weight {weight}, shuffled",
            panel.with_columns(spoilt).sample(fraction=1, shuffle=True, seed=9),
        )
    for value in (math.nan, math.inf, None):
        spoilt = pl.when(pl.int_range(n) % 7 == 3).then(value).otherwise("x").alias("x")
        yield f"exposure {value}", panel.with_columns(spoilt)


def outcome(call):
    """The answer of a call, or its error; counts of a part of a panel may be lower bounds."""
    try:
        return call()
    except PanelError as error:
        return str(error).replace("at least ", "")


@pytest.mark.parametrize("period_type", PERIOD_TYPES)
def test_a_panel_in_memory_and_its_query_say_the_same(period_type):
    for name, panel in variants(plain(period_type)):
        with warnings.catch_warnings():
            # Text of numbers may not sort as time; both ways say so.
            warnings.simplefilter("ignore", UserWarning)
            here = outcome(lambda p=panel: factor_returns(p, EXPOSURES, weights="w"))
            there = outcome(lambda p=panel: factor_returns(p.lazy(), EXPOSURES, weights="w"))
            there = outcome(there.collect) if isinstance(there, pl.LazyFrame) else there
        assert type(here) is type(there), name
        if isinstance(here, str):
            assert here == there, name
        else:
            assert_frame_equal(here, there, check_exact=True)


def test_errors_count_the_rows_of_the_whole_panel():
    panel = plain().with_columns(w=pl.when(pl.int_range(pl.len()) < 50).then(-2.0).otherwise("w"))
    with pytest.raises(PanelError, match=r"weights column 'w' is negative in 50 rows, for example"):
        factor_returns(panel, EXPOSURES, weights="w")


def test_nan_among_periods_is_a_missing_period():
    keys = pl.when(pl.int_range(pl.len()) == 5).then(math.nan).otherwise("period")
    with pytest.raises(PanelError, match=r"period column 'period' is null in 1 row, for example"):
        factor_returns(plain().with_columns(period=keys.cast(pl.Float64)), EXPOSURES)


@pytest.mark.parametrize("name", ["", "^x$", "*", "x0", "period of"])
def test_names_that_polars_might_read_otherwise(name):
    panel = plain()
    answer = factor_returns(panel, EXPOSURES, weights="w")
    renamed = panel.rename({"period": name})
    fits = fit_cross_sections(renamed, EXPOSURES, weights="w", period=name)
    assert_frame_equal(fits.factor_returns, answer.rename({"period": name}), check_exact=True)
    assert fits.factor_returns.columns == [name, *EXPOSURES]
    # Renaming the answer must not rename the columns of the fits.
    assert fits.diagnostics.columns[0] == name
    assert fits.coefficients["factor"].unique(maintain_order=True).to_list() == list(EXPOSURES)


def test_the_panel_is_not_changed_by_a_fit():
    panel = plain()
    before = panel.clone().to_dict(as_series=False)
    factor_returns(panel, EXPOSURES, weights="w")
    assert panel.to_dict(as_series=False) == before


@pytest.mark.parametrize("weight", [-1.0, -0.0, 0.0, -math.inf, math.nan, None])
def test_a_group_with_a_negative_weight_has_no_answer(weight):
    panel = plain()
    spoilt = panel.with_columns(w=pl.when(pl.int_range(pl.len()) == 20).then(weight).otherwise("w"))
    fit = huber_regression("return", EXPOSURES, weights="w").alias("fit")
    answer = spoilt.group_by("period", maintain_order=True).agg(fit).unnest("fit")
    if weight == -1.0:
        assert [row[1] is None for row in answer.rows()] == [False, True, False, False, False]
    else:
        expected = factor_returns(spoilt, EXPOSURES, weights="w")
        assert_frame_equal(answer, expected, check_exact=True)


def test_numbers_whose_sum_overflows_are_usable():
    panel = plain().with_columns(pl.col("x").abs().clip(0.1, 2.0))
    unit = 2.0**1022
    large = panel.with_columns(pl.col("x") * unit)
    assert large["x"].is_finite().all()
    assert math.isinf(large["x"].sum())
    answer = factor_returns(large, EXPOSURES).with_columns(pl.col("x") * unit)
    assert_frame_equal(answer, factor_returns(panel, EXPOSURES), rel_tol=1e-9)
