"""Premia over periods: published numbers, statsmodels, linearmodels, odd series, errors."""

from __future__ import annotations

import datetime as dt
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import statsmodels.api as sm
from linearmodels.datasets import wage_panel
from linearmodels.panel import FamaMacBeth
from polars.testing import assert_frame_equal
from scipy import stats

from vbase_py_utils import PanelError, factor_returns, fama_macbeth, fit_cross_sections
from vbase_py_utils.analyse.premia import critical_value

BETAS = ["beta_MktRF", "beta_SMB", "beta_HML", "beta_Mom"]
WAGE = ["const", "exper", "educ", "black", "married", "union"]


def least_squares(panel, exposures, **names):
    return factor_returns(panel, exposures, huber_t=float("inf"), **names)


# --- published numbers


def test_grunfeld():
    # 10 firms, 1935 to 1954: the numbers of Stata's xtfmb, see NUMERICS and the design notes.
    data = pl.from_pandas(sm.datasets.grunfeld.load_pandas().data)
    panel = data.filter(pl.col("firm") != "American Steel").with_columns(const=pl.lit(1.0))
    assert panel.height == 200
    names = {"returns": "invest", "period": "year", "asset": "firm"}
    yearly = least_squares(panel, ["const", "value", "capital"], **names)
    answer = fama_macbeth(yearly, lags=0)
    rows = {row["factor"]: row for row in answer.iter_rows(named=True)}
    assert rows["value"]["premium"] == pytest.approx(0.1306046674, abs=5e-11)
    assert rows["value"]["std_error"] == pytest.approx(0.009342200238, abs=5e-13)
    assert rows["capital"]["premium"] == pytest.approx(0.07295755138, abs=5e-12)
    assert rows["capital"]["std_error"] == pytest.approx(0.02773978614, abs=5e-12)
    assert answer["n_periods"].to_list() == [20, 20, 20]


# --- other libraries


@pytest.fixture(scope="module")
def wages():
    data = wage_panel.load()[["nr", "year", "lwage", *WAGE[1:]]]
    return pl.from_pandas(data).with_columns(const=pl.lit(1.0))


@pytest.fixture(scope="module")
def panels(french_panel, wages):
    return {
        "french": (french_panel, BETAS, "return", "period", "asset"),
        "wages": (wages, WAGE, "lwage", "year", "nr"),
    }


@pytest.mark.parametrize("name", ["french", "wages"])
@pytest.mark.parametrize("lags", [0, 1, 5])
def test_equals_linearmodels_and_statsmodels(panels, name, lags):
    # linearmodels 7.0, statsmodels 0.14 and 0.15.
    panel, exposures, returns, period, asset = panels[name]
    estimates = least_squares(panel, exposures, returns=returns, period=period, asset=asset)
    answer = fama_macbeth(estimates, period=period, lags=lags)
    frame = panel.with_columns(pl.col(period).rank("dense").alias(period)).to_pandas()
    frame = frame.set_index([asset, period])
    theirs = FamaMacBeth(frame[returns], frame[exposures]).fit(
        cov_type="kernel", kernel="bartlett", bandwidth=lags, debiased=True
    )
    np.testing.assert_allclose(answer["premium"], theirs.params, rtol=1e-10)
    np.testing.assert_allclose(answer["std_error"], theirs.std_errors, rtol=1e-10)
    np.testing.assert_allclose(answer["t_stat"], theirs.tstats, rtol=1e-10)
    for row in answer.iter_rows(named=True):
        series = estimates[row["factor"]].to_numpy()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            hac = sm.OLS(series, np.ones(len(series))).fit(
                cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": True}, use_t=True
            )
        assert row["premium"] == pytest.approx(hac.params[0], rel=1e-10)
        assert row["std_error"] == pytest.approx(hac.bse[0], rel=1e-10)
        assert row["p_value"] == pytest.approx(hac.pvalues[0], rel=1e-10)
        assert row["n_periods"] == len(series)


# --- forms of input


def test_takes_a_result_a_lazy_one_and_every_kind_of_frame(panel):
    renamed = panel.rename({"period": "month"})
    fits = fit_cross_sections(renamed, ["Factor_0", "Factor_1"], period="month")
    lazy = fit_cross_sections(renamed.lazy(), ["Factor_0", "Factor_1"], period="month")
    wide = fits.factor_returns
    expected = fama_macbeth(wide, lags=2)
    assert expected["factor"].to_list() == ["Factor_0", "Factor_1"]
    premium = wide["Factor_0"].mean()
    assert expected["premium"][0] == pytest.approx(premium, rel=1e-12)
    shuffled = wide.sample(fraction=1, shuffle=True, seed=1).select("Factor_0", "month", "Factor_1")
    for given in (wide.lazy(), wide.to_arrow(), shuffled):
        answer = fama_macbeth(given, period="month", lags=2)
        assert_frame_equal(answer, expected, check_exact=True)
    for given in (fits, lazy):
        assert_frame_equal(fama_macbeth(given, lags=2), expected, check_exact=True)


def test_takes_the_answer_of_the_pandas_function():
    months = pd.date_range("2024-01-31", periods=4, freq="ME", name="period")
    wide = pd.DataFrame({"a": [0.1, 0.2, 0.3, 0.25], "b": [1.0, np.nan, 2.0, 3.0]}, months)
    for index in (months, months.to_period("M"), months.strftime("%Y-%m").rename("period")):
        answer = fama_macbeth(wide.set_index(index).reset_index())
        assert answer["premium"].to_list() == pytest.approx([0.2125, 2.0])
        assert answer["n_periods"].to_list() == [4, 3]


def test_integers_and_lower_precision_are_numbers():
    wide = pl.DataFrame(
        {"period": [1, 2, 3], "i": [1, 2, 4], "f": pl.Series([1, 2, 4], dtype=pl.Float32)}
    )
    answer = fama_macbeth(wide)
    assert answer["premium"].to_list() == [pytest.approx(7 / 3, rel=1e-15)] * 2


def test_the_frame_is_left_alone(panel):
    wide = factor_returns(panel, "Factor_0").reverse()
    before = wide.clone()
    fama_macbeth(wide, lags=3)
    assert_frame_equal(wide, before)


# --- meanings


def test_the_p_value_is_students_t():
    wide = pl.DataFrame({"period": [1, 2, 3], "x": [0.1, 0.2, 0.6]})
    row = fama_macbeth(wide, lags=0).row(0, named=True)
    theirs = stats.ttest_1samp([0.1, 0.2, 0.6], 0)
    assert row["t_stat"] == pytest.approx(theirs.statistic, rel=1e-12)
    assert row["p_value"] == pytest.approx(theirs.pvalue, rel=1e-12)
    negative = fama_macbeth(wide.with_columns(-pl.col("x")), lags=0).row(0, named=True)
    assert negative["p_value"] == row["p_value"]
    assert negative["t_stat"] == -row["t_stat"]


def test_small_p_values_are_not_rounded_to_zero(rng):
    wide = pl.DataFrame({"period": np.arange(500), "x": 1 + 0.5 * rng.standard_normal(500)})
    row = fama_macbeth(wide).row(0, named=True)
    assert row["p_value"] == pytest.approx(2 * stats.t.sf(row["t_stat"], 499), rel=1e-6)
    assert 0 < row["p_value"] < 1e-100


@pytest.mark.parametrize(
    ("n", "lags"), [(2, 1), (30, 3), (99, 3), (100, 4), (101, 4), (759, 6), (3000, 8)]
)
def test_automatic_lags(n, lags, rng):
    wide = pl.DataFrame({"period": np.arange(n), "x": rng.standard_normal(n).cumsum()})
    assert_frame_equal(fama_macbeth(wide, lags="auto"), fama_macbeth(wide, lags=lags))
    other = fama_macbeth(wide, lags=lags - 1)
    assert other["std_error"][0] != fama_macbeth(wide, lags="auto")["std_error"][0]


def test_automatic_lags_are_the_default(rng):
    wide = pl.DataFrame({"period": np.arange(200), "x": rng.standard_normal(200).cumsum()})
    assert_frame_equal(fama_macbeth(wide), fama_macbeth(wide, lags="auto"), check_exact=True)
    assert fama_macbeth(wide)["std_error"][0] > 1.5 * fama_macbeth(wide, lags=0)["std_error"][0]


def test_newey_west_by_hand():
    # 1 to 6: G0 = 17.5, G1 = 8.75; with one lag the variance is (17.5 + 8.75) / 30.
    months = [f"2023-{month:02d}" for month in range(8, 13)] + ["2024-01"]
    wide = pl.DataFrame({"month": months, "x": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]})
    for given in (wide, wide.reverse()):
        error = fama_macbeth(given, lags=1)["std_error"][0]
        assert error == pytest.approx((26.25 / 30) ** 0.5, rel=1e-14)


def test_the_period_is_the_first_column(panel):
    fits = fit_cross_sections(panel.rename({"period": "month"}), "Factor_0", period="month")
    late = fits.factor_returns.filter(pl.col("month") > "2023-03")
    expected = fama_macbeth(late.rename({"month": "period"}), period="period")
    assert_frame_equal(fama_macbeth(late), expected, check_exact=True)
    last = late.select("Factor_0", "month")
    assert_frame_equal(fama_macbeth(last, period="month"), expected, check_exact=True)
    called = last.rename({"month": "period"})
    assert_frame_equal(fama_macbeth(called), expected, check_exact=True)
    with pytest.raises(PanelError, match="column 'month' is String; expected factor returns as"):
        fama_macbeth(last)
    with pytest.raises(PanelError, match="no column besides the period"):
        fama_macbeth(pl.DataFrame())


def test_critical_values_are_students():
    assert critical_value(np.array([1.0, 60.0])) == pytest.approx([12.706, 2.0003], rel=5e-5)
    periods = np.array([2.0, 3.0, 13.0, 759.0])
    assert critical_value(periods - 1) == pytest.approx(stats.t.ppf(0.975, periods - 1), rel=1e-10)
    assert critical_value(np.array([np.inf])) == pytest.approx(1.959963984540054, rel=1e-12)
    assert np.isnan(critical_value(np.array([-1.0, 0.0]))).all()


def test_automatic_lags_follow_the_periods_that_count(rng):
    x = rng.standard_normal(3000).cumsum()
    few = np.where(np.arange(3000) < 100, x, np.nan)
    wide = pl.DataFrame({"period": np.arange(3000), "x": x, "few": few})
    answer = fama_macbeth(wide, lags="auto")
    assert_frame_equal(answer.head(1), fama_macbeth(wide, lags=8).head(1))
    assert_frame_equal(answer.tail(1), fama_macbeth(wide, lags=4).tail(1))


def test_lags_need_the_order_of_time(rng):
    wide = pl.DataFrame({"period": np.arange(50), "x": rng.standard_normal(50).cumsum()})
    shuffled = wide.sample(fraction=1, shuffle=True, seed=0)
    assert_frame_equal(fama_macbeth(shuffled, lags=3), fama_macbeth(wide, lags=3))


def test_periods_without_a_number_do_not_count():
    values = [0.1, None, 0.2, float("nan"), float("inf"), 0.6, float("-inf")]
    wide = pl.DataFrame({"period": range(7), "x": values, "y": pl.Series([None] * 7)})
    answer = fama_macbeth(wide, lags=1)
    kept = fama_macbeth(pl.DataFrame({"period": [0, 2, 5], "x": [0.1, 0.2, 0.6]}), lags=1)
    assert_frame_equal(answer.head(1), kept)
    assert answer.row(1) == ("y", None, None, None, None, 0)


def test_one_period_and_none():
    one = pl.DataFrame({"period": [dt.date(2020, 1, 1)], "x": [0.1]})
    assert fama_macbeth(one).row(0) == ("x", 0.1, None, None, None, 1)
    assert fama_macbeth(one.clear(), lags="auto").row(0) == ("x", None, None, None, None, 0)
    for wide in (one, one.clear()):
        assert list(fama_macbeth(wide).schema.items()) == [
            ("factor", pl.String),
            ("premium", pl.Float64),
            ("std_error", pl.Float64),
            ("t_stat", pl.Float64),
            ("p_value", pl.Float64),
            ("n_periods", pl.UInt32),
        ]


def test_a_constant_factor_return_has_no_t():
    wide = pl.DataFrame({"period": range(5), "x": [0.1] * 5})
    assert fama_macbeth(wide).row(0) == ("x", pytest.approx(0.1), 0.0, None, None, 5)


@pytest.mark.parametrize("unit", [1e-300, 1e-150, 1e-6, 1e6, 1e150, 1e307])
def test_units(unit, rng):
    x = rng.standard_normal(40) + 1
    assert np.abs(x).max() < 5
    plain = fama_macbeth(pl.DataFrame({"period": range(40), "x": x}), lags=2)
    scaled = fama_macbeth(pl.DataFrame({"period": range(40), "x": x * unit}), lags=2)
    assert_frame_equal(
        scaled.with_columns(pl.col("premium", "std_error") / unit), plain, rel_tol=1e-10, abs_tol=0
    )


# --- errors

WIDE = pl.DataFrame({"period": [1, 2, 2], "x": [0.1, 0.2, 0.3]})


@pytest.mark.parametrize(
    ("wide", "options", "message"),
    [
        (WIDE, {}, "period column 'period' repeats a period in 2 rows, for example 2; "
         "expected one row per period"),
        (WIDE, {"period": "date"}, "period column 'date' is not in the factor returns; it has 2 "
         "columns: 'period', 'x'"),
        (WIDE.select("period"), {}, "there is no column besides the period; expected factor "
         "returns as one row per period and one numeric column per factor"),
        (WIDE.with_columns(y=pl.lit("a")), {}, "column 'y' is String; expected factor returns as "
         "one row per period and one numeric column per factor"),
        (WIDE.with_columns(x=pl.lit(True)), {}, "column 'x' is Boolean; expected factor returns"),
        (WIDE.with_columns(period=pl.lit(None)), {}, "period column 'period' is null in 3 rows, "
         "for example where x is 0.1; expected a value in every row"),
        (WIDE.with_columns(period=pl.Series([1.0, None, 2.0])), {},
         "period column 'period' is null in 1 row, for example where x is 0.2"),
        (WIDE.with_columns(period=pl.Series([1.0, float("nan"), 2.0])), {},
         "period column 'period' is null in 1 row, for example where x is 0.2"),
        (WIDE.with_columns(period=pl.concat_list("period")), {}, "period column 'period' is List"),
    ],
)  # fmt: skip
def test_errors_say_what_is_wrong(wide, options, message):
    for frame in (wide, wide.lazy()):
        with pytest.raises(PanelError) as caught:
            fama_macbeth(frame, **options)
        assert str(caught.value).startswith(message)


@pytest.mark.parametrize("name", ["*", "^.*$", "^x$", ""])
def test_names_are_names_and_no_patterns(name):
    wide = pl.DataFrame({"period": [1, 2, 3], "x": [0.1, 0.2, 0.6]})
    expected = fama_macbeth(wide, lags=1)
    answer = fama_macbeth(wide.rename({"period": name}), period=name, lags=1)
    assert_frame_equal(answer, expected)
    answer = fama_macbeth(wide.rename({"x": name}), lags=1)
    assert answer["factor"].to_list() == [name]
    assert_frame_equal(answer.drop("factor"), expected.drop("factor"))


def test_a_period_of_objects_is_refused():
    wide = pl.DataFrame({"period": pl.Series([object()], dtype=pl.Object), "x": [0.1]})
    with pytest.raises(PanelError, match="period column 'period' is Object, expected a plain"):
        fama_macbeth(wide)


@pytest.mark.parametrize(
    "lags", [-1, 1.5, "many", True, None, np.array([1, 2]), np.array(["auto"]), pl.Series([1])]
)
def test_lags_out_of_range(lags):
    kinds = (ValueError, TypeError)
    with pytest.raises(kinds, match=r"^lags is .*, expected a whole number >= 0 or 'auto'$"):
        fama_macbeth(WIDE.head(2), lags=lags)


def test_lags_need_more_periods_than_lags(rng):
    # With as many lags as periods, Newey-West's estimate runs to zero.
    x = rng.standard_normal(30)
    few = np.where(np.arange(30) < 5, x, np.nan)
    wide = pl.DataFrame({"period": np.arange(30), "x": x, "few": few})
    answer = fama_macbeth(wide, lags=5)
    assert answer["std_error"][0] > 0
    assert answer.row(1) == ("few", pytest.approx(x[:5].mean()), None, None, None, 5)
    assert fama_macbeth(wide, lags=4)["std_error"].null_count() == 0
    for lags in (30, 10**17):
        assert fama_macbeth(wide, lags=lags)["std_error"].null_count() == 2
    assert fama_macbeth(wide, lags=29)["std_error"].null_count() == 1


def test_lags_of_numpy_types():
    long = pl.DataFrame({"period": range(200), "x": np.sin(np.arange(200.0))})
    assert_frame_equal(fama_macbeth(long, lags=np.int8(127)), fama_macbeth(long, lags=127))


def test_no_frame_at_all():
    with pytest.raises(TypeError, match="factor_returns is a list, expected a Polars DataFrame or"):
        fama_macbeth([1, 2, 3])


def test_the_frame_of_coefficients_is_not_the_wide_one(panel):
    fits = fit_cross_sections(panel, "Factor_0")
    with pytest.raises(PanelError, match="column 'factor' is String; expected factor returns as"):
        fama_macbeth(fits.coefficients)


def test_a_period_that_is_not_that_of_the_fits(panel):
    fits = fit_cross_sections(panel.rename({"period": "month"}), "Factor_0", period="month")
    assert_frame_equal(fama_macbeth(fits, period="month"), fama_macbeth(fits))
    with pytest.raises(
        ValueError,
        match=r"^period='date' does not match the fits, whose "
        r"period column is 'month'; drop the argument$",
    ):
        fama_macbeth(fits, period="date")
