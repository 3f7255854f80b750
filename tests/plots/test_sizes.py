"""One period and five thousand, empty frames, huge and tiny units."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose

from charts import (
    ALONG,
    CHARTS,
    COEFFICIENTS,
    OF_TWO,
    band_edges,
    curves,
    dates,
    draw,
    frame_for,
    frame_of,
    tick_texts,
    wide_of,
)
from vbase_py_utils import fit_cross_sections, plots
from vbase_py_utils.plots.axes import GREY


@pytest.mark.parametrize("n_factors", [1, 60])
@pytest.mark.parametrize("chart", CHARTS)
def test_one_period(chart, n_factors):
    ax = draw(chart, frame_for(chart, wide_of([dt.date(2020, 1, 31)], n_factors)))
    if n_factors == 1:
        ax.figure.canvas.draw()
    if chart in ALONG:
        assert tick_texts(ax.xaxis) == ["2020-01-31"]
        assert all(line.get_markevery() == [0] for line in curves(ax))
    for low, high in (ax.get_xlim(), ax.get_ylim()):
        assert math.isfinite(low)
        assert math.isfinite(high)
        assert low != high


@pytest.mark.parametrize("n_factors", [1, 60])
@pytest.mark.parametrize("chart", [c for c in CHARTS if c not in ("t_values", "fit_quality")])
def test_five_thousand_periods(chart, n_factors):
    wide = wide_of(dates(5000), n_factors)
    ax = draw(chart, frame_for(chart, wide))
    if n_factors > 1:
        ax.figure.canvas.draw()
    if chart in ALONG:
        low, high = ax.get_ylim()
        for line in curves(ax):
            assert len(line.get_ydata()) == 5000
            assert low < line.get_ydata().min() < line.get_ydata().max() < high
    if chart in OF_TWO:
        assert sum(len(points.get_offsets()) for points in ax.collections) == 5000 * n_factors
        # Vector formats hold a picture of them.
        assert all(points.get_rasterized() for points in ax.collections)
    if chart == "robustness_weights":
        assert ax.images[0].get_array().shape == (min(40, n_factors), 500)
        assert len(tick_texts(ax.xaxis)) <= 10
    if chart == "correlations":
        assert len(tick_texts(ax.xaxis)) == n_factors


def are_finite(ax):
    ax.figure.canvas.draw()
    return np.isfinite([*ax.get_xlim(), *ax.get_ylim()]).all() and (
        ax.get_xlim()[0] != ax.get_xlim()[1] and ax.get_ylim()[0] != ax.get_ylim()[1]
    )


@pytest.mark.parametrize("chart", [c for c in CHARTS if c not in OF_TWO])
def test_empty_frames(chart, demo):
    assert are_finite(draw(chart, frame_of(chart, demo.fits).clear()))


@pytest.mark.parametrize("chart", CHARTS)
@pytest.mark.parametrize("nothing", [None, math.nan])
def test_frames_without_a_number(chart, nothing, demo):
    frame = frame_of(chart, demo.fits)
    keys = {"period", "factor", "asset", "status"}
    frame = frame.with_columns(pl.lit(nothing).alias(c) for c in frame.columns if c not in keys)
    ax = draw(chart, frame)
    assert are_finite(ax)
    seen = [line.get_ydata() for line in curves(ax)] if chart in ALONG else []
    assert np.isnan(np.concatenate([[np.nan], *seen])).all()
    assert not ax.patches


def test_numbers_without_any_standard_error():
    ax = plots.confidence_bands(COEFFICIENTS.with_columns(std_error=pl.lit(None)))
    assert len(curves(ax)) == 2
    assert not any(band_edges(area) for area in ax.collections)
    low, high = ax.get_ylim()
    assert low < 0.1
    assert high > 0.4


@pytest.mark.parametrize("chart", CHARTS)
def test_one_asset_and_one_row(chart, demo):
    panel = demo.panel.filter(asset="Asset_7")
    assert are_finite(draw(chart, fit_cross_sections(panel, "Factor_0")))
    assert are_finite(draw(chart, frame_of(chart, demo.fits).head(1)))


@pytest.mark.parametrize("n", [30, 300])
@pytest.mark.parametrize("unit", [1e200, 1e-200])
@pytest.mark.parametrize(
    "chart", ["cumulative_returns", "confidence_bands", "correlations", *OF_TWO]
)
def test_units(chart, unit, n):
    wide = wide_of(range(n), 2)
    frame = frame_for(chart, wide)
    columns = [c for c in ("f0", "f1", "factor_return", "std_error", "t_stat") if c in frame]
    scaled = frame.with_columns(pl.col(columns) * unit)
    ax = draw(chart, scaled)
    if n == 300:
        assert are_finite(ax)
    plain = draw(chart, frame)
    if chart not in ("correlations", *OF_TWO):
        for drawn, line in zip(ax.lines, plain.lines, strict=True):
            assert_allclose(np.divide(drawn.get_ydata(), unit), line.get_ydata(), rtol=1e-9)
        assert_allclose(np.divide(ax.get_ylim(), unit), plain.get_ylim(), rtol=1e-6)
    if chart == "confidence_bands":
        for drawn, area in zip(ax.collections, plain.collections, strict=True):
            edges, expected = (list(band_edges(a).values()) for a in (drawn, area))
            assert_allclose(np.divide(edges, unit), expected, rtol=1e-6)
    if chart == "correlations":
        assert_allclose(ax.images[0].get_array(), plain.images[0].get_array(), rtol=1e-9)


def test_the_line_at_zero_is_grey(demo):
    for chart in ALONG:
        line = draw(chart, demo.fits).lines[-1]
        assert list(line.get_ydata()) == [0, 0]
        assert line.get_color() == GREY


def test_keys_that_are_not_those_of_the_fits(demo):
    with pytest.raises(ValueError, match="asset='stock' does not match the fits, whose asset col"):
        plots.robustness_weights(demo.fits, asset="stock")
