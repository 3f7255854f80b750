"""The quality of fits over time."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_equal

from charts import curves, legend_texts
from vbase_py_utils import plots
from vbase_py_utils.plots.axes import COLOURS


def test_quality_of_single_periods(demo):
    ax = plots.fit_quality(demo.fits)
    frame = demo.fits.diagnostics
    plain, robust, share = curves(ax)
    assert_equal(plain.get_ydata(), frame["r_squared"].to_numpy())
    assert_equal(robust.get_ydata(), frame["robust_r_squared"].to_numpy())
    expected = [d / n for d, n in zip(frame["n_downweighted"], frame["n_assets"], strict=True)]
    assert_allclose(share.get_ydata(), expected, rtol=1e-12)
    assert max(expected) > 0
    assert legend_texts(ax) == ["R squared", "robust R squared", "down-weighted assets"]
    assert [line.get_color() for line in curves(ax)] == colours_of_first(3)
    assert not ax.get_ylabel()
    assert ax.get_ylim() == pytest.approx((0, 1), abs=0.05)
    assert ax.get_ylim()[0] < 0
    assert ax.get_ylim()[1] > 1


def colours_of_first(n):
    return list(COLOURS[:n])


def test_quality_of_many_periods_as_running_medians(french):
    frame = french.diagnostics
    ax = plots.fit_quality(frame)
    share = (frame["n_downweighted"] / frame["n_assets"]).to_numpy()
    columns = [frame["r_squared"].to_numpy(), frame["robust_r_squared"].to_numpy(), share]
    for line, values in zip(curves(ax), columns, strict=True):
        expected = [np.median(values[max(0, i - 7) : i + 8]) for i in range(759)]
        assert_allclose(line.get_ydata(), expected, rtol=1e-12)
    assert ax.get_ylabel() == "median of 15 periods"


def test_gaps_and_limits_of_quality():
    frame = pl.DataFrame(
        {
            "period": range(6),
            "r_squared": [0.5, None, 0.4, -0.3, math.nan, 0.2],
            "robust_r_squared": [0.5, None, 0.4, -7.0, -math.inf, 0.2],
            "n_downweighted": [1, None, 2, 3, 0, 4],
            "n_assets": [10, 0, 10, 10, 0, 10],
        }
    )
    ax = plots.fit_quality(frame)
    plain, robust, share = (line.get_ydata() for line in curves(ax))
    assert_equal(plain, [0.5, np.nan, 0.4, -0.3, np.nan, 0.2])
    assert_equal(robust, [0.5, np.nan, 0.4, -7.0, np.nan, 0.2])
    assert_allclose(share[[0, 2, 3, 5]], [0.1, 0.2, 0.3, 0.4])
    assert np.isnan(share[1])
    assert curves(ax)[0].get_markevery() == [0, 5]
    # Below -0.5 is off the chart.
    assert -0.6 < ax.get_ylim()[0] < -0.5
    low, _ = plots.fit_quality(frame.with_columns(robust_r_squared=0.5)).get_ylim()
    assert -0.4 < low < -0.3
