"""Factor returns with their bands."""

from __future__ import annotations

import datetime as dt
import math

import matplotlib.dates as mdates
import matplotlib.pyplot as plt
import numpy as np
import polars as pl
import pytest
from matplotlib.colors import to_hex
from numpy.testing import assert_equal
from scipy import stats

from charts import BETAS, band_edges, curves, legend_texts, long_of, wide_of, written_out
from vbase_py_utils import plots
from vbase_py_utils.plots.axes import COLOURS


@pytest.mark.parametrize(
    ("level", "quantile"), [(0.95, 1.959964), (0.5, 0.674490), (0.999, 3.290527)]
)
@pytest.mark.parametrize("students", [True, False])
def test_bands_of_single_periods(level, quantile, students, french):
    frame = french.coefficients.filter(pl.col("period") < dt.date(1970, 1, 1))
    if not students:
        frame = frame.drop("df")
    n = frame["period"].n_unique()
    assert 50 < n <= 250
    ax = plots.confidence_bands(frame, factors=BETAS[:2], level=level)
    assert len(curves(ax)) == len(ax.collections) == 2
    for name, line, area in zip(BETAS, curves(ax), ax.collections, strict=False):
        rows = frame.filter(factor=name)
        assert_equal(line.get_ydata(), rows["factor_return"].to_numpy())
        edges = band_edges(area)
        assert len(edges) == n
        for day, middle, error, *df in rows.drop("factor", "t_stat", "p_value").rows():
            margin = (stats.t.ppf(0.5 + level / 2, df[0]) if students else quantile) * error
            expected = middle - margin, middle + margin
            assert edges[mdates.date2num(day)] == pytest.approx(expected, rel=1e-6, abs=1e-8)
        assert to_hex(area.get_facecolor()[0]) == line.get_color().lower()
        assert area.get_facecolor()[0, 3] < 0.5
    assert ax.get_ylabel() == f"factor return, {100 * level:g} % band"


@pytest.mark.parametrize(("n", "window"), [(250, 1), (251, 5), (759, 15)])
@pytest.mark.parametrize("students", [True, False])
def test_bands_of_running_means(n, window, students, french):
    frame = french.coefficients.filter(factor="beta_SMB").head(n)
    lost = [0, 100, 101, 102, 200, n - 1]
    mask = pl.Series(np.isin(np.arange(n), lost))
    columns = [pl.when(~mask).then(name).alias(name) for name in ("factor_return", "std_error")]
    frame = frame.with_columns(columns)
    ax = plots.confidence_bands(frame)
    values, errors, df = (frame[c].to_numpy() for c in ("factor_return", "std_error", "df"))
    if not students:
        ax = plots.confidence_bands(frame.drop("df"))
    edges, half = band_edges(ax.collections[0]), window // 2
    for i, day in enumerate(frame["period"]):
        drawn = ax.lines[0].get_ydata()[i]
        if i in lost:
            assert math.isnan(drawn)
            assert mdates.date2num(day) not in edges
            continue
        inside = [j for j in range(max(0, i - half), min(n, i + half + 1)) if j not in lost]
        mean = sum(values[j] for j in inside) / len(inside)
        error = math.sqrt(sum(errors[j] ** 2 for j in inside)) / len(inside)
        assert drawn == pytest.approx(mean, rel=1e-9, abs=1e-12)
        quantile = 1.959964
        if students:  # Satterthwaite's degrees of freedom of a sum of independent variances
            spread = sum(errors[j] ** 4 / df[j] for j in inside)
            quantile = stats.t.ppf(0.975, sum(errors[j] ** 2 for j in inside) ** 2 / spread)
        expected = mean - quantile * error, mean + quantile * error
        assert edges[mdates.date2num(day)] == pytest.approx(expected, rel=1e-6, abs=1e-8)
    of_window = f", mean of {window} periods" if window > 1 else ""
    assert ax.get_ylabel() == f"factor return{of_window}, 95 % band"


def test_gaps_in_bands_and_numbers_without_errors():
    frame = pl.DataFrame(
        {
            "period": range(8),
            "factor": ["x"] * 8,
            "factor_return": [0.1, None, 0.3, math.nan, 0.5, 0.6, 0.7, math.inf],
            "std_error": [0.01, 0.01, 0.02, 0.01, None, 0.01, 0.01, 0.01],
        }
    )
    ax = plots.confidence_bands(frame)
    assert_equal(ax.lines[0].get_ydata(), [0.1, np.nan, 0.3, np.nan, 0.5, 0.6, 0.7, np.nan])
    assert ax.lines[0].get_markevery() == [0, 2]
    area, bars = ax.collections
    assert {x for x in band_edges(area) if x in (1, 3, 4, 7)} == set()
    assert set(band_edges(area)) >= {5, 6}
    segments = {s[0, 0]: sorted(s[:, 1]) for s in bars.get_segments()}
    assert segments == {
        0: pytest.approx([0.1 - 0.01959964, 0.1 + 0.01959964], rel=1e-6),
        2: pytest.approx([0.3 - 0.03919928, 0.3 + 0.03919928], rel=1e-6),
    }
    written_out(ax)


def test_an_error_without_degrees_of_freedom_has_a_normal_band():
    frame = long_of(wide_of(range(3))).with_columns(std_error=0.01, df=pl.Series([4.0, None, 9.0]))
    edges = band_edges(plots.confidence_bands(frame).collections[0])
    halves = [(edges[x][1] - edges[x][0]) / 2 for x in range(3)]
    expected = [0.01 * q for q in (stats.t.ppf(0.975, 4), 1.959964, stats.t.ppf(0.975, 9))]
    assert halves == pytest.approx(expected, rel=1e-5)


def test_three_bands_of_many_by_their_median_t(french):
    frame = french.coefficients
    t = frame.group_by("factor").agg(t=pl.col("t_stat").abs().median()).sort("t")
    weakest = t["factor"][0]
    ax = plots.confidence_bands(frame)
    assert legend_texts(ax) == [name for name in BETAS if name != weakest]
    assert ax.get_legend().get_title().get_text() == "3 of 4 factors"
    named = plots.confidence_bands(frame, factors=BETAS)
    assert legend_texts(named) == BETAS
    assert not named.get_legend().get_title().get_text()


def test_a_gap_does_not_cost_a_factor_its_band():
    frame = long_of(wide_of(range(20), 4)).with_columns(
        factor_return=pl.when(factor="f3").then(1.0).otherwise("factor_return")
    )
    gap = pl.when((pl.col("factor") != "f3") | (pl.col("period") > 0)).then("factor_return")
    for gone in (frame, frame.with_columns(factor_return=gap)):
        assert legend_texts(plots.confidence_bands(gone))[-1] == "f3"


def test_limits_of_bands():
    wide = wide_of(range(200))
    errors = pl.Series([0.01] * 200)
    errors[77] = 50.0
    frame = long_of(wide).with_columns(std_error=errors)
    low, high = plots.confidence_bands(frame).get_ylim()
    values = wide["f0"]
    assert low < values.min() - 0.0196
    assert high > values.max() + 0.0196
    assert high - low < 1
    # A line never leaves the axes.
    spike = frame.with_columns(factor_return=pl.when(period=5).then(9.0).otherwise("factor_return"))
    assert plots.confidence_bands(spike).get_ylim()[1] > 9


@pytest.mark.parametrize("n", [3, 12, 200])
def test_no_band_leaves_the_axes_unless_it_is_five_times_as_wide_as_the_median(n):
    errors = pl.Series([0.01] * n)
    errors[n // 2] = 0.049
    frame = long_of(wide_of(range(n))).with_columns(std_error=errors)
    ax = plots.confidence_bands(frame)
    low, high = ax.get_ylim()
    edges = np.array(list(band_edges(ax.collections[0]).values()))
    assert low <= edges.min()
    assert edges.max() <= high


def test_bands_have_the_colours_of_their_lines_on_axes_with_others(demo):
    _, ax = plt.subplots()
    ax.plot([0, 11], [0, 0], color="red")
    plots.confidence_bands(demo.fits, ax=ax)
    assert [to_hex(area.get_facecolor()[0]) for area in ax.collections] == [
        colour.lower() for colour in COLOURS[:3]
    ]


def test_running_means_after_a_huge_number():
    rng = np.random.default_rng(117)
    errors = np.abs(rng.standard_normal(400)) * 1e-3
    huge = rng.choice(400, 5, replace=False)
    errors[huge] = 1e10
    frame = long_of(wide_of(range(400))).with_columns(std_error=pl.Series(errors))
    edges = band_edges(plots.confidence_bands(frame).collections[0])
    for i in range(10, 390):
        if np.abs(huge - i).min() > 8:
            low, high = edges[i]
            margin = 1.959964 * math.sqrt(sum(errors[i - 4 : i + 5] ** 2)) / 9
            assert (high - low) / 2 == pytest.approx(margin, rel=1e-6)
