"""factor_covariance: frames in and out, what is asked for, and what is refused."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose
from polars.testing import assert_frame_equal

from panels import PERIOD_TYPES
from risk_oracle import covariance
from vbase_py_utils import PanelError, factor_covariance, fit_cross_sections

ENGINES = ["in-memory", "streaming"]
OPTIONS = {"min_periods": 5, "half_life": 20}


def wide(rng, n_periods=30, factors=("x", "y", "z")):
    returns = rng.standard_normal((n_periods, len(factors))) * 0.01
    frame = pl.DataFrame(returns, schema=list(factors))
    return frame.select(pl.Series("period", np.arange(n_periods)), pl.all())


def block(frame, label, period="period"):
    return frame.filter(pl.col(period) == label).drop(period, "factor").to_numpy()


@pytest.fixture
def market(rng):
    """A panel of 20 assets and 12 periods; the last has exposures and no returns."""
    n = 20 * 12
    frame = pl.DataFrame(
        {
            "month": np.repeat(np.arange(12), 20),
            "id": np.tile(np.arange(20), 12),
            "ret": rng.standard_normal(n) * 0.02,
            "value": rng.standard_normal(n),
            "sector": np.tile(["a", "b"], n // 2),
        }
    )
    unknown = pl.when(pl.col("month") < 11).then("ret").alias("ret")
    return frame.with_columns(unknown, pl.col("sector").cast(pl.Enum(["a", "b"])))


MODEL = {
    "exposures": ["value"], "intercept": True, "categories": {"sector": None}, "returns": "ret",
    "period": "month", "asset": "id",
}  # fmt: skip


def test_it_has_a_symmetric_block_for_every_period(rng):
    returns = wide(rng)
    answer = factor_covariance(returns.sample(fraction=1, shuffle=True, seed=1), **OPTIONS)
    assert answer.columns == ["period", "factor", "x", "y", "z"]
    assert answer["period"].to_list() == np.repeat(np.arange(30), 3).tolist()
    assert answer["factor"].to_list() == ["x", "y", "z"] * 30
    assert answer.filter(pl.col("period") < 5).drop("period", "factor").null_count().sum_horizontal(
    ).item() == 45  # fmt: skip
    assert answer.filter(pl.col("period") >= 5).null_count().sum_horizontal().item() == 0
    values = returns.drop("period").to_numpy()
    ours = factor_covariance(returns, **OPTIONS, shrink=False)
    for t in (5, 17, 29):
        assert_allclose(block(ours, t), covariance(values[:t], half_life=20), rtol=1e-12)


def test_published_numbers_with_missing_values():
    """risk/ref/ewm_missing.json of the contract: columns and rows are counted from zero."""
    root = Path(__file__).parent / "data"
    values = np.loadtxt(root / "nw_series.csv", delimiter=",")
    values[::7, 1] = np.nan
    values[:80, 3] = np.nan
    values[50:55] = np.nan
    names = ["a", "b", "c", "d"]
    frame = pl.DataFrame(values, schema=names).select(
        pl.Series("period", np.arange(len(values))), pl.all()
    )
    published = json.loads((root / "ewm_missing.json").read_text())["covariances"]
    assert len(published) == 3
    for key, expected in published.items():
        given = dict(part.split("=") for part in key.split(","))
        answer = factor_covariance(
            frame,
            half_life=float(given["half_life"]),
            correlation_half_life=float(given["corr_half_life"]),
            lags=int(given["lags"]),
            correlation_lags=int(given["corr_lags"]),
            shrink=False,
            min_periods=20,
            next_period=len(values),
        )
        assert_allclose(block(answer, len(values)), expected, rtol=0, atol=1e-14)


def test_the_long_run_covariance_of_r():
    """R 4.2.2, sandwich: lrvar, Newey-West with 4 lags, no prewhitening, times n."""
    root = Path(__file__).parent / "data"
    values = np.loadtxt(root / "nw_series.csv", delimiter=",")
    frame = pl.DataFrame(values - values.mean(axis=0)).with_row_index("period")
    answer = factor_covariance(
        frame, half_life=np.inf, lags=4, correlation_lags=4, shrink=False,
        next_period=len(values),
    )  # fmt: skip
    lines = (root / "r_sandwich_nw.txt").read_text().splitlines()
    numbers = [line.split()[1:] for line in lines if line.startswith("V")]
    expected = np.column_stack(
        [np.array(numbers[:4], dtype=float), np.array(numbers[4:], dtype=float)]
    )
    assert_allclose(block(answer, len(values)), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", PERIOD_TYPES)
def test_periods_may_have_any_type_that_orders_time(rng, kind):
    returns = wide(rng, 12)
    typed = returns.with_columns(PERIOD_TYPES[kind](pl.col("period")).alias("period"))
    answer = factor_covariance(typed, **OPTIONS)
    expected = factor_covariance(returns, **OPTIONS).drop("period")
    assert_frame_equal(answer.drop("period"), expected)
    labels = typed["period"].sort().gather(np.repeat(np.arange(12), 3))
    assert answer["period"].equals(labels)
    some = factor_covariance(typed, **OPTIONS, periods=labels[[9, 30]])
    both = answer.filter(answer["period"].is_in(labels[[9, 30]].implode()))
    assert_frame_equal(some, both)


def test_only_what_is_asked_for(rng):
    returns = wide(rng)
    whole = factor_covariance(returns, **OPTIONS)
    for asked in (7, [7], [7, 20, 7], pl.Series([20, 7])):
        some = factor_covariance(returns, **OPTIONS, periods=asked)
        wanted = [asked] if isinstance(asked, int) else list(asked)
        assert_frame_equal(some, whole.filter(pl.col("period").is_in(wanted)), check_exact=True)
    with_next = factor_covariance(returns, **OPTIONS, periods=[7], next_period=30)
    assert with_next["period"].unique().to_list() == [7, 30]
    assert factor_covariance(returns, periods=[]).is_empty()


def test_the_next_period_is_one_without_returns(rng):
    returns = wide(rng)
    further = pl.concat([returns, pl.DataFrame({"period": [30]})], how="diagonal")
    by_label = factor_covariance(returns, **OPTIONS, next_period=30)
    assert_frame_equal(by_label, factor_covariance(further, **OPTIONS), check_exact=True)


def test_fits_give_what_their_factor_returns_give(market):
    fits = fit_cross_sections(market, **MODEL)
    answer = factor_covariance(fits, **OPTIONS)
    assert answer.columns[:3] == ["month", "factor", "intercept"]
    assert answer.filter(pl.col("month") == 11)["value"].null_count() == 0
    frame = factor_covariance(fits.factor_returns, **OPTIONS, period="month")
    assert_frame_equal(answer, frame, check_exact=True)
    ours = factor_covariance(fits, **OPTIONS, subtract_errors=True, shrink=False)
    plain = factor_covariance(fits, **OPTIONS, shrink=False)
    errors = fits.coefficients.filter(pl.col("factor") == "value")["std_error"].to_numpy()
    weights = 2.0 ** (-np.arange(11)[::-1] / 20)
    variance = block(plain, 11, "month")[1, 1]
    expected = max(variance - np.average(errors[:11] ** 2, weights=weights), 0.1 * variance)
    assert_allclose(block(ours, 11, "month")[1, 1], expected, rtol=1e-12)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("options", [{}, {"subtract_errors": True}, {"sorted_by_period": True}])
def test_lazy_in_lazy_out(market, engine, options):
    one_pass = {"sorted_by_period": options.pop("sorted_by_period", False)}
    eager = factor_covariance(fit_cross_sections(market, **MODEL), **OPTIONS, **options)
    lazy = fit_cross_sections(market.lazy(), **MODEL, **one_pass)
    query = factor_covariance(lazy, **OPTIONS, **options)
    assert query.collect_schema() == eager.schema
    assert_frame_equal(query.collect(engine=engine), eager)
    late = query.filter(pl.col("month") == 9).select("value")
    assert_frame_equal(late.collect(engine=engine), eager.filter(month=9).select("value"))


def test_a_frame_of_pandas_or_arrow(rng):
    returns = wide(rng)
    expected = factor_covariance(returns, **OPTIONS)
    assert_frame_equal(factor_covariance(returns.to_arrow(), **OPTIONS), expected)
    assert_frame_equal(factor_covariance(returns.to_pandas(), **OPTIONS), expected)


@pytest.mark.parametrize("missing", [None, float("nan"), float("inf"), -float("inf")])
def test_what_is_not_a_number_is_missing(rng, missing):
    returns = wide(rng)
    holes = pl.Series(rng.random(30) < 0.3)
    expected = factor_covariance(
        returns.with_columns(y=pl.when(~holes).then("y")), **OPTIONS
    )  # fmt: skip
    value = pl.lit(missing, dtype=pl.Float64)
    odd = returns.with_columns(y=pl.when(~holes).then("y").otherwise(value))
    before = odd.clone()
    assert_frame_equal(factor_covariance(odd, **OPTIONS), expected, check_exact=True)
    assert_frame_equal(odd, before)


@pytest.mark.parametrize("lives", [{}, {"half_life": 84, "correlation_half_life": 5}])
def test_a_factor_that_ended_long_ago_is_unknown_and_harms_no_other(rng, lives):
    """After some five hundred half-lives nothing is left of its weights."""
    returns = wide(rng, 4000).with_columns(z=pl.when(pl.col("period") < 500).then("z"))
    options = {"half_life": 5, "periods": [3000, 3999]} | lives
    answer = factor_covariance(returns, **options)
    living = factor_covariance(returns.drop("z"), **options)
    late = answer.filter(period=3999)
    assert late["z"].null_count() == 3
    assert_frame_equal(late.filter(pl.col("factor") != "z").drop("z"), living.filter(period=3999))
    assert answer.filter(period=3000, factor="z")["z"].item() > 0


LABELS = {
    "date": (pl.Date(), [date(2024, 1, 2), datetime(2024, 1, 2), np.datetime64("2024-01-02")]),
    "moment": (pl.Datetime("us"), [date(2024, 1, 2), np.datetime64("2024-01-02T00", "ns")]),
    "local": (
        pl.Datetime("ms", "America/New_York"),
        [
            date(2024, 1, 2),
            datetime(2024, 1, 2),
            "2024-01-02",
            datetime(2024, 1, 2, 5, tzinfo=UTC),
            datetime(2024, 1, 2, tzinfo=ZoneInfo("America/New_York")),
        ],
    ),
    "whole number": (pl.UInt16(), [1, np.int64(1), np.array(1)]),
    "bytes": (pl.Binary(), [b"01"]),
}


def in_periods(returns, dtype):
    """The returns at midnights from 2024-01-01 on, local ones if there is a zone, or numbered."""
    n = returns.height
    if dtype.is_temporal():
        days = pl.date_range(date(2024, 1, 1), date(2024, 1, n), eager=True)
        zone = getattr(dtype, "time_zone", None)
        labels = days.cast(pl.Datetime("us")).dt.replace_time_zone(zone).cast(dtype)
    elif dtype == pl.Binary:
        labels = pl.Series([f"{i:02}".encode() for i in range(n)])
    else:
        labels = pl.Series(range(n), dtype=dtype)
    return returns.with_columns(period=labels)


@pytest.mark.parametrize("kind", LABELS)
def test_a_label_of_another_kind_is_the_same_period(rng, kind):
    dtype, labels = LABELS[kind]
    returns = in_periods(wide(rng, 9), dtype)
    expected = returns["period"][1]
    options = {"min_periods": 1, "half_life": 9}
    for label in labels:
        answer = factor_covariance(returns, **options, periods=label)
        assert answer["period"].to_list() == [expected] * 3
        further = factor_covariance(returns.head(1), **options, next_period=label)
        assert further["period"].to_list()[-1] == expected


@pytest.mark.parametrize(
    ("kind", "labels"),
    [
        ("date", [datetime(2024, 1, 2, 3), 3, timedelta(1), b"x", pl.col("x"), object(), math.nan]),
        ("moment", [datetime(2024, 1, 2, tzinfo=UTC), 3, None, math.nan]),
        ("local", [datetime(2024, 3, 10, 2, 30), 3, [date(2024, 1, 1), None]]),
        ("whole number", [-1, 1.5, "1", math.nan, True, date(2024, 1, 1), [[1]], 10**30]),
        ("bytes", ["01", 1]),
    ],
)
def test_a_label_of_another_type_says_so(rng, kind, labels):
    returns = in_periods(wide(rng, 9), LABELS[kind][0])
    for label in labels:
        for argument in ("periods", "next_period"):
            if label is None and argument == "next_period":
                continue  # no further period
            given = label if argument == "periods" or not isinstance(label, list) else label[-1]
            for frame in (returns, returns.lazy()):
                if given is None:
                    continue
                with pytest.raises(PanelError, match=f"{argument} is .*, expected .* as in period"):
                    factor_covariance(frame, **{argument: given})


def test_periods_of_numbers_have_no_nan_after_them(rng):
    returns = wide(rng).with_columns(pl.col("period").cast(pl.Float64))
    with pytest.raises(PanelError, match="next_period is nan, expected Float64"):
        factor_covariance(returns, next_period=math.nan)


def test_small_frames(rng):
    empty = wide(rng, 0)
    assert factor_covariance(empty).is_empty()
    assert factor_covariance(empty, next_period=3).null_count().sum_horizontal().item() == 9
    one = factor_covariance(wide(rng, 1), min_periods=1, next_period=1)
    assert one["x"].null_count() == 3
    assert one.filter(period=1)["x"].null_count() == 0
    nothing = wide(rng).with_columns(x=None)
    answer = factor_covariance(nothing, **OPTIONS).filter(period=29)
    assert answer["x"].null_count() == 3
    assert answer["y"].null_count() == 1


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        ({}, {"period": "day"}, "period column 'day' is not in the factor returns"),
        ({"x": ["a", "b", "c"]}, {}, "column 'x' is String; expected factor returns"),
        ({"period": [1, 2, 2]}, {}, "repeats a period in 2 rows, for example 2"),
        ({"period": [1, None, 2]}, {}, "period column 'period' is null in 1 row"),
        ({"period": ["01/31/2024", "02/29/2024", "12/31/2023"]}, {}, "^factor_covariance needs"),
        ({}, {"periods": [9, 10]}, "periods has 2 periods that .* not have, for example 9"),
        ({}, {"periods": "a"}, "^periods is 'a', expected Int64 as in period column 'period'"),
        ({}, {"periods": [None]}, "^periods is None, expected Int64"),
        ({}, {"next_period": 3}, "next_period is 3, expected a period later than 3"),
        ({}, {"next_period": date(2024, 1, 1)}, "next_period is .*, expected Int64"),
        ({"specific": [1.0, 2.0, 3.0]}, {}, "factor is named 'specific'"),
        ({"factor": [1.0, 2.0, 3.0]}, {}, "factor is named 'factor'"),
        ({"period": None, "factor": [1, 2, 3]}, {"period": "factor"}, "period column 'factor' is"),
    ],
)
def test_bad_input_says_what_is_wrong(change, arguments, message, lazy):
    columns = {"period": [1, 2, 3], "x": [0.1, 0.2, 0.3]} | change
    frame = pl.DataFrame({name: v for name, v in columns.items() if v is not None})
    with pytest.raises(PanelError, match=message) as caught:
        factor_covariance(frame.lazy() if lazy else frame, **arguments).lazy().collect()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"half_life": 0}, "half_life is 0, expected a number of periods > 0"),
        ({"correlation_half_life": -1.0}, "correlation_half_life is -1.0, expected .* or None"),
        ({"regime_half_life": float("nan")}, "regime_half_life is nan"),
        ({"lags": -1}, "lags is -1, expected a whole number >= 0"),
        ({"lags": 60}, "lags is 60, expected less than min_periods=60"),
        ({"correlation_lags": 2, "min_periods": 2}, "correlation_lags is 2, expected less than"),
        ({"subtract_errors": True}, "needs the standard errors of fits"),
    ],
)
def test_arguments_out_of_range(rng, arguments, message):
    with pytest.raises(ValueError, match=message):
        factor_covariance(wide(rng), **arguments)


@pytest.mark.parametrize("name", ["period", "position", "^x.*$", "*", "c0", ""])
def test_factors_may_have_any_other_name(rng, name):
    returns = wide(rng)
    renamed = returns.rename({"period": "day", "x": name})
    answer = factor_covariance(renamed, **OPTIONS, period="day")
    expected = factor_covariance(returns, **OPTIONS).rename({"period": "day", "x": name})
    assert_frame_equal(answer.drop("factor"), expected.drop("factor"))
    assert answer["factor"].unique(maintain_order=True).to_list() == [name, "y", "z"]
    lazy = factor_covariance(renamed.lazy(), **OPTIONS, period="day")
    assert_frame_equal(lazy.collect(), answer)


def test_fits_have_their_own_period(market):
    fits = fit_cross_sections(market, **MODEL)
    with pytest.raises(ValueError, match="period='day' does not match the fits"):
        factor_covariance(fits, period="day")
    assert_frame_equal(factor_covariance(fits, period="month"), factor_covariance(fits))
