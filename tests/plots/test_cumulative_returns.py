"""Sums of factor returns over time."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
from matplotlib.colors import to_rgb
from numpy.testing import assert_allclose, assert_equal

from charts import (
    BAD,
    BETAS,
    colours_of,
    curves,
    dates,
    drawing,
    legend_texts,
    tick_texts,
    wide_of,
)
from vbase_py_utils import plots
from vbase_py_utils.plots.axes import COLOURS, LIGHT_GREY


def test_sums_of_real_factor_returns(french):
    ax = plots.cumulative_returns(french)
    wide = french.factor_returns
    assert len(curves(ax)) == 4
    for line, name in zip(curves(ax), BETAS, strict=True):
        assert_allclose(line.get_ydata(), np.cumsum(wide[name].to_numpy()), rtol=1e-12)
        assert line.get_xdata().tolist() == wide["period"].to_list()
    assert legend_texts(ax) == BETAS
    assert colours_of(ax.get_legend()) == [c.lower() for c in COLOURS[:4]]
    assert [line.get_color() for line in curves(ax)] == list(COLOURS[:4])
    assert ax.get_ylabel() == "sum of factor returns"


def test_missing_factor_returns_are_gaps_in_the_sums(french):
    rng = np.random.default_rng(1)
    wide = french.factor_returns.head(120)
    values = wide[BETAS[0]].to_list()
    # At both ends, in a row, and on both sides of one number.
    for i in (0, 1, 30, 32, 50, 51, 52, 118, 119):
        values[i] = BAD[rng.integers(4)]
    for i, bad in enumerate(BAD):
        values[70 + 3 * i] = bad
    frame = wide.select("period", x=pl.Series(values, dtype=pl.Float64))
    line = curves(plots.cumulative_returns(frame))[0]
    total, expected = 0.0, []
    for value in values:
        there = value is not None and math.isfinite(value)
        total += value if there else 0
        expected.append(total if there else math.nan)
    assert_allclose(line.get_ydata(), expected, rtol=1e-12)
    assert line.get_marker() == "o"
    assert line.get_markevery() == [31]


def test_a_number_between_gaps_is_seen():
    frame = pl.DataFrame({"period": range(7), "x": [0.1, None, 0.2, 0.3, None, None, 0.4]})
    assert curves(plots.cumulative_returns(frame))[0].get_markevery() == [0, 6]
    # There is ink at the number, and none at the gaps.
    ax = plots.cumulative_returns(
        frame.select("period", x=pl.Series([None] * 3 + [0.5] + [None] * 3))
    )
    ax.axhline(0).remove()
    ax.figure.canvas.draw()
    pixels = np.asarray(ax.figure.canvas.buffer_rgba())[:, :, :3]
    blue = (
        np.abs(pixels.astype(int) - np.rint(np.multiply(to_rgb(COLOURS[0]), 255))).max(axis=2) < 30
    )
    column, row = ax.transData.transform((3, 0.5))
    rows, columns = np.nonzero(blue)
    in_axes = columns < ax.get_window_extent().x1
    assert in_axes.sum() > 5
    assert_allclose(columns[in_axes].mean(), column, atol=2)
    assert_allclose(pixels.shape[0] - rows[in_axes].mean(), row, atol=2)


def test_only_the_factors_asked_for(french):
    everything = drawing(plots.cumulative_returns(french))["lines"]
    one = plots.cumulative_returns(french, factors="beta_HML")
    assert legend_texts(one) == ["beta_HML"]
    assert_equal(one.lines[0].get_ydata(), everything[2][1])
    two = plots.cumulative_returns(french, factors=["beta_Mom", "beta_SMB", "beta_Mom"])
    assert legend_texts(two) == ["beta_Mom", "beta_SMB"]
    for line, place in zip(curves(two), (3, 1), strict=True):
        assert_equal(line.get_ydata(), everything[place][1])
    generator = (name for name in BETAS[:2])
    assert legend_texts(plots.cumulative_returns(french, factors=generator)) == BETAS[:2]
    matrix = plots.correlations(french, factors=["beta_Mom", "beta_SMB"])
    assert tick_texts(matrix.xaxis) == tick_texts(matrix.yaxis) == ["beta_Mom", "beta_SMB"]


def test_of_sixty_factors_the_six_that_go_furthest_have_colours():
    wide = wide_of(dates(40), 60)
    sums = wide.select(pl.exclude("period").cum_sum().abs().max())
    furthest = sorted(sums.columns, key=lambda name: -sums[name][0])[:6]
    in_order = [name for name in wide.columns if name in furthest]
    ax = plots.cumulative_returns(wide)
    assert legend_texts(ax) == [*in_order, "54 more"]
    assert colours_of(ax.get_legend()) == [c.lower() for c in (*COLOURS, LIGHT_GREY)]
    assert len(curves(ax)) == 60
    by_name = dict(zip(wide.columns[1:], curves(ax), strict=True))
    for name, line in by_name.items():
        expected = COLOURS[in_order.index(name)] if name in in_order else LIGHT_GREY
        assert line.get_color() == expected
    assert min(by_name[name].get_zorder() for name in in_order) > by_name["f0"].get_zorder()
    assert legend_texts(plots.cumulative_returns(wide.select(wide.columns[:7]))) == [
        f"f{j}" for j in range(6)
    ]
    assert legend_texts(plots.cumulative_returns(wide.select(wide.columns[:8])))[-1] == "1 more"


def test_a_factor_without_a_number_has_no_colour_before_those_with():
    wide = wide_of(dates(20), 7).with_columns(f2=pl.lit(None, dtype=pl.Float64))
    ax = plots.cumulative_returns(wide)
    assert legend_texts(ax) == ["f0", "f1", "f3", "f4", "f5", "f6", "1 more"]
