"""Bars of t-values."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from matplotlib.colors import to_hex
from numpy.testing import assert_allclose, assert_equal
from scipy import stats

from charts import BETAS, legend_texts, tick_texts
from vbase_py_utils import fama_macbeth, plots
from vbase_py_utils.plots.axes import COLOURS, LIGHT_GREY


def test_bars_of_t_values(french):
    premia = fama_macbeth(french, lags="auto")
    ax = plots.t_values(french)
    assert_allclose([bar.get_width() for bar in ax.patches], premia["t_stat"], rtol=1e-12)
    assert tick_texts(ax.yaxis) == BETAS
    limit = stats.t.ppf(0.975, 758)
    assert len({abs(t) > limit for t in premia["t_stat"]}) == 2
    for bar, t in zip(ax.patches, premia["t_stat"], strict=True):
        expected = COLOURS[0] if abs(t) > limit else LIGHT_GREY
        assert to_hex(bar.get_facecolor()) == expected.lower()
    # Those of no lags are others.
    for plain in (plots.t_values(fama_macbeth(french, lags=0)), plots.t_values(french, lags=0)):
        expected = fama_macbeth(french, lags=0)["t_stat"]
        assert_allclose([b.get_width() for b in plain.patches], expected, rtol=1e-12)
        assert [b.get_width() for b in plain.patches] != [b.get_width() for b in ax.patches]


def limits_of(ax):
    """Bar and t-value at which each piece of the dashed lines stands, bar by bar."""
    pieces = [tuple(piece[0]) for lines in ax.collections for piece in lines.get_segments()]
    return sorted((y + 0.5, x) for x, y in pieces)


def test_limits_of_the_normal_and_the_first_factor_on_top():
    names = ["a", "b", "c", "d", "e", "f", "g", "h"]
    t = [2.5, -2.5, 1.9, None, math.nan, 1.97, -math.inf, 0.0]
    ax = plots.t_values(pl.DataFrame({"factor": names, "t_stat": t}))
    normal = stats.norm.ppf(0.975)
    expected = [(bar, side * normal) for bar in range(8) for side in (-1, 1)]
    assert_allclose(limits_of(ax), expected, rtol=1e-12)
    assert [bar.get_width() for bar in ax.patches] == [2.5, -2.5, 1.9, 1.97, 0.0]
    assert [bar.get_y() + bar.get_height() / 2 for bar in ax.patches] == pytest.approx(
        [0, 1, 2, 5, 7]
    )
    blue, grey = COLOURS[0].lower(), LIGHT_GREY.lower()
    assert [to_hex(b.get_facecolor()) for b in ax.patches] == [blue, blue, grey, blue, grey]
    assert tick_texts(ax.yaxis) == names
    assert ax.get_ylim() == (7.5, -0.5)
    assert ax.get_xlabel() == "t-value, dashed: 95 % limits"
    low, high = ax.get_xlim()
    assert low < -2.5
    assert high > 2.5


def test_limits_follow_the_number_of_periods():
    premia = pl.DataFrame(
        {"factor": ["a", "b", "c"], "t_stat": [2.5, 2.5, None], "n_periods": [4, 200, 1]}
    )
    ax = plots.t_values(premia)
    few, many = stats.t.ppf(0.975, [3, 199])
    assert_allclose(limits_of(ax)[:4], [(0, -few), (0, few), (1, -many), (1, many)], rtol=1e-12)
    colours = [to_hex(bar.get_facecolor()) for bar in ax.patches]
    assert colours == [LIGHT_GREY.lower(), COLOURS[0].lower()]
    assert ax.get_xlim()[1] > few


def test_the_coefficients_of_a_period_are_bars_too(demo):
    one = demo.fits.coefficients.filter(period="2023-03")
    ax = plots.t_values(one)
    assert_equal([bar.get_width() for bar in ax.patches], one["t_stat"].to_numpy())
    # Each bar has the limits of its own degrees of freedom.
    quantiles = stats.t.ppf(0.975, one["df"])
    expected = [(bar, side * q) for bar, q in enumerate(quantiles) for side in (-1, 1)]
    assert_allclose(limits_of(ax), expected, rtol=1e-12)
    few = one.with_columns(t_stat=pl.lit(3.0), df=pl.Series([2.0, 20.0, None]))
    colours = [to_hex(bar.get_facecolor()) for bar in plots.t_values(few).patches]
    assert colours == [LIGHT_GREY.lower(), COLOURS[0].lower(), COLOURS[0].lower()]


def test_many_factors_make_a_higher_chart_with_all_or_some_names():
    def bars(n):
        names = [f"f{j}" for j in range(n)]
        return plots.t_values(pl.DataFrame({"factor": names, "t_stat": np.arange(float(n))}))

    assert len(tick_texts(bars(60).yaxis)) == 60
    assert bars(60).figure.get_figheight() > 2 * bars(10).figure.get_figheight()
    many = bars(1000)
    assert len(many.patches) == 1000
    assert len(tick_texts(many.yaxis)) <= 60
    assert many.figure.get_figheight() <= 20
    for place, name in zip(many.get_yticks(), tick_texts(many.yaxis), strict=True):
        assert name == f"f{place}"


@pytest.mark.parametrize(
    ("factors", "expected"),
    [
        (pl.Series(["b", "a"], dtype=pl.Categorical), ["b", "a"]),
        (pl.Series(["b", "a"], dtype=pl.Enum(["a", "b"])), ["b", "a"]),
        (pl.Series([7, 3]), ["7", "3"]),
    ],
)
def test_factors_need_not_be_strings(factors, expected):
    frame = pl.DataFrame({"factor": factors, "t_stat": [1.0, 2.0]})
    assert tick_texts(plots.t_values(frame).yaxis) == expected
    long = frame.with_columns(period=1, factor_return=0.1, std_error=0.2)
    assert legend_texts(plots.confidence_bands(long)) == expected
