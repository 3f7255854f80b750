"""Pairs of estimates as points: against the truth, against least squares."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from matplotlib.colors import to_hex
from numpy.testing import assert_allclose, assert_equal

from charts import BETAS, OF_TWO, draw, legend_texts, tick_texts, wide_of
from vbase_py_utils import PanelError, fit_cross_sections, plots
from vbase_py_utils.demo import FACTORS
from vbase_py_utils.plots.axes import COLOURS, LIGHT_GREY


def test_points_are_matched_by_period(french, french_panel):
    least_squares = fit_cross_sections(french_panel, BETAS, huber_t=math.inf).factor_returns
    robust = french.factor_returns
    there = robust["period"][100:700]
    other = robust.head(700).sample(fraction=1, shuffle=True, seed=1).select("period", *BETAS[::-1])
    ax = plots.robust_against_least_squares(other, least_squares.tail(659).reverse())
    assert legend_texts(ax) == BETAS
    theirs, own = ({row[0]: row[1:] for row in f.rows()} for f in (least_squares, robust))
    for name, points in zip(legend_texts(ax), ax.collections, strict=True):
        j = BETAS.index(name)
        expected = sorted((theirs[day][j], own[day][j]) for day in there)
        assert_equal(np.sort(points.get_offsets().data, axis=0)[:, 0], [x for x, _ in expected])
        assert sorted(map(tuple, points.get_offsets().data)) == expected
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("least squares", "robust")


def test_true_against_estimated(demo):
    ax = plots.true_against_estimated(demo.truth, demo.fits)
    estimated = demo.fits.factor_returns
    for name, points in zip(FACTORS, ax.collections, strict=True):
        both = np.column_stack([demo.truth[name], estimated[name]])
        assert_equal(points.get_offsets().data, both)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("true factor return", "estimated factor return")
    assert legend_texts(ax) == FACTORS
    assert [to_hex(points.get_facecolor()[0]) for points in ax.collections] == [
        colour.lower() for colour in COLOURS[:3]
    ]


def test_points_need_both_numbers():
    one = pl.DataFrame({"period": range(6), "x": [0.1, None, 0.3, math.nan, 0.5, math.inf]})
    other = pl.DataFrame({"period": range(6), "x": [0.2, 0.2, None, 0.4, 0.6, 0.7]})
    for chart in OF_TWO:
        ax = draw(chart, one, other)
        seen = [tuple(p) for p in ax.collections[0].get_offsets().tolist() if None not in p]
        assert seen == [(0.2, 0.1), (0.6, 0.5)]


@pytest.mark.parametrize("chart", OF_TWO)
def test_square_limits_and_the_line_of_equal_values(chart, demo):
    other = demo.truth.with_columns(Factor_0=pl.col("Factor_0") + 0.3)
    ax = draw(chart, demo.fits, other)
    assert ax.get_xlim() == ax.get_ylim()
    assert ax.get_aspect() == 1
    low, high = ax.get_xlim()
    offsets = np.concatenate([points.get_offsets().data for points in ax.collections])
    assert low < offsets.min() < offsets.max() < high
    # A line without ends: it crosses the whole square, also when somebody widens it.
    assert (ax.lines[0].get_xy1(), ax.lines[0].get_slope()) == ((0, 0), 1)
    ax.figure.canvas.draw()
    box = ax.get_window_extent()
    assert box.width == pytest.approx(box.height, rel=0.01)


def test_a_second_chart_on_the_same_axes_keeps_the_points_of_the_first(demo):
    far = demo.truth.with_columns(Factor_0=pl.col("Factor_0") + 9)
    ax = plots.true_against_estimated(demo.truth, far)
    plots.true_against_estimated(demo.truth, demo.fits, ax=ax)
    assert ax.get_xlim() == ax.get_ylim()
    offsets = np.concatenate([points.get_offsets().data for points in ax.collections])
    assert ax.get_ylim()[0] < offsets.min() < 9 < offsets.max() < ax.get_ylim()[1]


def test_of_very_many_periods_neighbours_share_a_column_which_shows_the_least_weight():
    rng = np.random.default_rng(8)
    weights = rng.random((3, 1203)) ** np.array([[3], [2], [1]])
    weights[0, :7], weights[1, ::3] = np.nan, np.nan
    rows = pl.DataFrame(
        {
            "period": np.tile(np.arange(1203), 3),
            "asset": np.repeat(["a", "b", "c"], 1203),
            "robustness_weight": weights.ravel(),
        }
    )
    ax = plots.robustness_weights(rows)
    order = tick_texts(ax.yaxis)
    drawn = ax.images[0].get_array().filled(np.nan)
    assert drawn.shape == (3, 401)
    for row, asset in zip(drawn, order, strict=True):
        own = weights["abc".index(asset)]
        expected = [
            np.nanmin(own[i : i + 3]) if np.isfinite(own[i : i + 3]).any() else np.nan
            for i in range(0, 1203, 3)
        ]
        assert_allclose(row, expected, rtol=1e-12)
    assert ax.get_xlim() == (-0.5, 1202.5)
    assert tuple(ax.images[0].get_extent()) == (-0.5, 1202.5, 2.5, -0.5)


def test_of_sixty_factors_those_furthest_off_have_coloured_points():
    wide = wide_of(range(30), 60)
    off = [3, 14, 15, 26, 53, 58]
    other = wide.with_columns(
        pl.when(period=7).then(pl.col(f"f{j}") + 1 + 0.01 * j).otherwise(f"f{j}").alias(f"f{j}")
        for j in off
    )
    ax = plots.true_against_estimated(wide, other)
    assert legend_texts(ax) == [*(f"f{j}" for j in off), "54 more"]
    coloured = {
        j: to_hex(points.get_facecolor()[0])
        for j, points in enumerate(ax.collections)
        if to_hex(points.get_facecolor()[0]) != LIGHT_GREY.lower()
    }
    assert coloured == dict(zip(off, (c.lower() for c in COLOURS), strict=True))


def test_only_common_factors_are_drawn(demo):
    truth = demo.truth.select("period", "Factor_2", "Factor_0", other=0.5)
    assert set(legend_texts(plots.true_against_estimated(truth, demo.fits))) == {
        "Factor_0",
        "Factor_2",
    }
    ax = plots.true_against_estimated(truth, demo.fits, factors="Factor_2")
    assert legend_texts(ax) == ["Factor_2"]
    with pytest.raises(PanelError, match="no such factors: 'other'; the factors are 'Factor_"):
        plots.true_against_estimated(truth, demo.fits, factors=["other"])
