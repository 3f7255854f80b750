"""What charts refuse, and the message."""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_equal

from charts import (
    CHARTS,
    COEFFICIENTS,
    FRAMES,
    OF_SERIES,
    OF_TWO,
    WIDE,
    curves,
    dates,
    draw,
    drawing,
    frame_for,
    quality_of,
    weights_of,
    wide_of,
)
from vbase_py_utils import PanelError, plots

QUALITY = quality_of(WIDE)
WEIGHTS = weights_of(WIDE)
PREMIA = pl.DataFrame({"factor": ["x", "y"], "t_stat": [1.0, 2.0]})


@pytest.mark.parametrize(
    ("chart", "frame", "options", "message"),
    [
        ("confidence_bands", COEFFICIENTS.drop("std_error", "factor"), {},
         r"columns 'factor', 'std_error' are not in coefficients \(did you mean 'factor_return'"),
        ("confidence_bands", COEFFICIENTS, {"period": "month"}, r"column 'month' is not in coef"),
        ("confidence_bands", COEFFICIENTS.with_columns(std_error=pl.lit("high")), {},
         r"value column 'std_error' is String, expected a numeric type"),
        ("confidence_bands", COEFFICIENTS.with_columns(factor_return=pl.lit(True)), {},
         r"value column 'factor_return' is Boolean, expected a numeric type"),
        ("confidence_bands", pl.concat([COEFFICIENTS, COEFFICIENTS.tail(1)]), {},
         r"2 rows share a \('period', 'factor'\) key, for example \(3, y\); expected one row"),
        ("confidence_bands", COEFFICIENTS.with_columns(period=pl.Series([1, 2, None, 1, 2, None])),
         {}, r"period column 'period' is null in 2 rows, for example where factor is x"),
        ("confidence_bands", COEFFICIENTS.with_columns(period=pl.Series([1.0, 2.0, math.nan] * 2)),
         {}, r"period column 'period' is null in 2 rows"),
        ("confidence_bands", COEFFICIENTS.with_columns(factor=pl.lit(None)), {},
         r"factor column 'factor' is null in 6 rows, for example where period is 1"),
        ("confidence_bands", COEFFICIENTS.with_columns(period=pl.concat_list("period")), {},
         r"period column 'period' is List\(Int64\), expected a plain type"),
        ("confidence_bands", COEFFICIENTS, {"factors": ["y", "z"]},
         r"no such factors: 'z'; the factors are 'x', 'y'"),
        ("t_values", PREMIA.drop("t_stat"), {}, r"column 't_stat' is not in premia; it has"),
        ("t_values", PREMIA.with_columns(factor=pl.lit("x")), {},
         r"2 rows share a \('factor'\) key, for example \(x\); expected one row"),
        ("t_values", PREMIA.with_columns(t_stat=pl.lit("2")), {},
         r"value column 't_stat' is String"),
        ("fit_quality", QUALITY.drop("n_assets"), {}, r"column 'n_assets' is not in diagnost"),
        ("fit_quality", QUALITY.with_columns(period=1), {},
         r"3 rows share a \('period'\) key, for example \(1\)"),
        ("fit_quality", QUALITY.with_columns(r_squared=pl.lit("good")), {},
         r"value column 'r_squared' is String"),
        ("fit_quality", QUALITY.with_columns(period=pl.Series([1, None, 3])), {},
         r"period column 'period' is null in 1 row, for example where r_squared is 0.5"),
        ("robustness_weights", WEIGHTS.drop("asset"), {}, r"column 'asset' is not in specific_ret"),
        ("robustness_weights", WEIGHTS, {"asset": "ticker"}, r"column 'ticker' is not in specif"),
        ("robustness_weights", WEIGHTS.with_columns(asset=pl.lit("a")), {},
         r"6 rows share a \('period', 'asset'\) key, for example \(1, a\)"),
        ("robustness_weights", WEIGHTS.with_columns(asset=pl.lit(None, dtype=pl.String)), {},
         r"asset column 'asset' is null in 6 rows, for example where period is 1"),
        ("robustness_weights", WEIGHTS.with_columns(robustness_weight=pl.lit("w")), {},
         r"value column 'robustness_weight' is String"),
        *(
            (chart, *case)
            for chart in (*OF_SERIES, *OF_TWO)
            for case in [
                (WIDE, {"period": "month"}, r"period column 'month' is not in the fact"),
                (WIDE.with_columns(y=pl.lit("a")), {}, r"column 'y' is String; expected factor"),
                (WIDE.with_columns(period=7), {},
                 r"period column 'period' repeats a period in 3 rows, for example 7"),
                (WIDE.with_columns(period=pl.Series([1, None, 3])), {},
                 r"period column 'period' is null in 1 row, for example where x is 0.2"),
                (WIDE.select("period"), {}, r"there is no column besides the period"),
                (WIDE, {"factors": "z"}, r"no such factors: 'z'; the factors are 'x', 'y'"),
                (COEFFICIENTS, {}, r"column 'factor' is String; expected factor returns as one"),
            ]
        ),
    ],
)  # fmt: skip
def test_errors_say_what_is_wrong(chart, frame, options, message):
    for given in (frame, frame.lazy()):
        with pytest.raises(PanelError, match=f"^{message}") as caught:
            draw(chart, given, **options)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("chart", OF_TWO)
@pytest.mark.parametrize(
    ("other", "message"),
    [
        (WIDE.rename({"x": "a", "y": "b"}), "no factor is in both frames: one has '[xa]', '[yb]'"),
        (WIDE.with_columns(pl.col("period") + 10),
         "no period is in both frames: one has '1?1', '1?2', '1?3', the other '1?1', '1?2', '1?3'"),
        (WIDE.with_columns(pl.col("period").cast(pl.String)),
         "period column 'period' is (String|Int64), expected (String|Int64)"),
        (WIDE.clear(), "no period is in both frames: one has .*none"),
    ],
)  # fmt: skip
def test_two_frames_that_have_nothing_in_common(chart, other, message):
    for one, two in ((WIDE, other), (other, WIDE)):
        with pytest.raises(PanelError, match=message):
            draw(chart, one, two)


@pytest.mark.parametrize("chart", CHARTS)
def test_no_figure_is_left_of_what_is_refused(chart):
    with pytest.raises(PanelError):
        draw(chart, pl.DataFrame({"a": [1]}))
    assert not plt.get_fignums()


def test_dates_beyond_the_calendar_are_named_when_frames_have_none_in_common():
    late = pl.Series([2**31 - 3, 2**31 - 2, 2**31 - 1], dtype=pl.Int32).cast(pl.Date)
    with pytest.raises(PanelError, match="no period is in both frames"):
        plots.true_against_estimated(wide_of(late), wide_of(dates(3)))


@pytest.mark.parametrize("chart", CHARTS)
@pytest.mark.parametrize("given", [[1, 2], None, "fits", {"period": [1]}, np.zeros((2, 2))])
def test_what_is_no_frame(chart, given):
    first = {"true_against_estimated": "truth", "robust_against_least_squares": "least_squares"}
    name = first.get(chart, FRAMES[chart])
    said = {list: "a list", dict: "a dict", np.ndarray: "a ndarray"}
    kind = said.get(type(given), repr(given))
    with pytest.raises(TypeError, match=f"^{name} is {kind}, expected a Polars DataFrame or"):
        draw(chart, given)


def test_a_pandas_frame_needs_its_period_as_a_column():
    frame = pd.DataFrame({"x": [0.1, 0.2]}, index=pd.Index([1, 2], name="period"))
    with pytest.raises(PanelError, match=r"index holds 'period': turn .* with reset_index\(\)$"):
        plots.cumulative_returns(frame)
    assert curves(plots.cumulative_returns(frame.reset_index()))


@pytest.mark.parametrize("chart", [c for c in CHARTS if c != "t_values"])
def test_the_keys_are_the_first_columns(chart, demo):
    given = getattr(demo.fits, FRAMES[chart])
    keys = {"period": "month"} | ({"asset": "ticker"} if chart == "robustness_weights" else {})
    assert_equal(drawing(draw(chart, given.rename(keys))), drawing(draw(chart, given)))


@pytest.mark.parametrize("chart", [c for c in CHARTS if c != "t_values"])
def test_a_period_that_is_not_that_of_the_fits(chart, demo):
    with pytest.raises(
        ValueError,
        match=r"^period='month' does not match the fits, whose "
        r"period column is 'period'; drop the argument$",
    ):
        draw(chart, demo.fits, period="month")


@pytest.mark.parametrize("level", [0, 1, -0.5, 95, math.nan, math.inf, "0.95", None])
def test_a_level_out_of_range(level):
    with pytest.raises((ValueError, TypeError), match=r"level is .*, expected a number between 0"):
        plots.confidence_bands(COEFFICIENTS, level=level)


@pytest.mark.parametrize("level", [1e-300, np.nextafter(1, 0), np.float32(0.5)])
def test_levels_close_to_the_ends(level):
    ax = plots.confidence_bands(COEFFICIENTS, level=level)
    assert all(map(math.isfinite, ax.get_ylim()))


@pytest.mark.parametrize("most", [0, -1, 2.0, "3", None, True])
def test_most_out_of_range(most):
    with pytest.raises((ValueError, TypeError), match=r"most is .*, expected a whole number >= 1"):
        plots.robustness_weights(WEIGHTS, most=most)


@pytest.mark.parametrize("chart", [*OF_SERIES, *OF_TWO, "confidence_bands"])
def test_factors_that_are_no_names(chart):
    frame = frame_for(chart, WIDE)
    with pytest.raises(TypeError, match="factors is 3, expected names of factors, or None for all"):
        draw(chart, frame, factors=3)
    with pytest.raises(TypeError, match="factors holds 3, expected names of factors, or None for "):
        draw(chart, frame, factors=["x", 3])
    with pytest.raises(TypeError, match="factors is a set, which has no order; expected names of"):
        draw(chart, frame, factors={"x", "y"})


@pytest.mark.parametrize("chart", [*OF_SERIES, *OF_TWO, "confidence_bands"])
def test_no_factors_at_all_are_refused(chart):
    with pytest.raises(PanelError, match="no factors given; the factors are 'x', 'y'"):
        draw(chart, frame_for(chart, WIDE), factors=[])
