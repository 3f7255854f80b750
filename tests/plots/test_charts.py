"""Charts: what is drawn, from which frames, with which labels and colours, and what is refused."""

from __future__ import annotations

import datetime as dt
import io
import itertools
import math
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import matplotlib as mpl
import matplotlib.dates as mdates
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pytest
from matplotlib.colors import to_hex, to_rgb
from numpy.testing import assert_allclose, assert_equal
from polars.testing import assert_frame_equal
from scipy import stats

from panels import PERIOD_TYPES
from vbase_py_utils import PanelError, fama_macbeth, fit_cross_sections, plots
from vbase_py_utils.demo import FACTORS, simulated_panel
from vbase_py_utils.plots.axes import COLOURS, GREY, LIGHT_GREY

BETAS = ["beta_MktRF", "beta_SMB", "beta_HML", "beta_Mom"]
# Each chart and the frame of the fits that it draws; the premia are no frame of the fits.
FRAMES = {
    "cumulative_returns": "factor_returns",
    "confidence_bands": "coefficients",
    "true_against_estimated": "factor_returns",
    "robust_against_least_squares": "factor_returns",
    "t_values": "premia",
    "fit_quality": "diagnostics",
    "robustness_weights": "specific_returns",
    "correlations": "factor_returns",
}
CHARTS = list(FRAMES)
OF_SERIES = ["cumulative_returns", "correlations"]
OF_TWO = ["true_against_estimated", "robust_against_least_squares"]
BAD = [None, math.nan, math.inf, -math.inf]


@pytest.fixture(scope="module", autouse=True)
def no_screen():
    plt.switch_backend("agg")


@pytest.fixture(scope="module")
def demo():
    panel, truth = simulated_panel()
    return SimpleNamespace(
        panel=panel,
        truth=truth,
        fits=fit_cross_sections(panel, FACTORS),
        plain=fit_cross_sections(panel, FACTORS, huber_t=math.inf),
    )


@pytest.fixture(scope="module")
def french(french_panel):
    return fit_cross_sections(french_panel, BETAS)


def frame_of(chart, fits):
    frame = FRAMES[chart]
    return fama_macbeth(fits, lags="auto") if frame == "premia" else getattr(fits, frame)


def draw(chart, source, other=None, **options):
    """Draw a chart of fits or frames; ``other`` is the second frame of those that take two."""
    given = [source]
    if chart == "true_against_estimated":
        given = [source if other is None else other, source]
    elif chart == "robust_against_least_squares":
        given = [source, source if other is None else other]
    return getattr(plots, chart)(*given, **options)


def drawing(ax):
    """Everything on the axes that a reader sees, to be compared."""
    legend = ax.get_legend()
    return {
        "lines": [
            [line.get_xdata(), line.get_ydata(), line.get_color(), line.get_markevery()]
            for line in ax.lines
        ],
        "areas": [
            [[path.vertices for path in c.get_paths()], c.get_facecolor(), c.get_edgecolor()]
            for c in ax.collections
        ],
        "points": [np.ma.filled(c.get_offsets(), np.nan) for c in ax.collections],
        "bars": [[p.get_y(), p.get_width(), p.get_facecolor()] for p in ax.patches],
        "images": [np.ma.filled(image.get_array(), np.nan) for image in ax.images],
        "texts": [[t.get_text(), t.get_position(), t.get_color()] for t in ax.texts],
        "limits": [ax.get_xlim(), ax.get_ylim()],
        "axes": [ax.get_xlabel(), ax.get_ylabel(), tick_texts(ax.xaxis), tick_texts(ax.yaxis)],
        "legend": legend and [[t.get_text() for t in legend.get_texts()], colours_of(legend)],
    }


def tick_texts(axis):
    return [text.get_text() for text in axis.get_ticklabels()]


def colours_of(legend):
    return [to_hex(handle.get_facecolor()) for handle in legend.legend_handles]


def legend_texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def written_out(ax):
    """Draw the figure as PNG and as SVG, warnings being errors; give the SVG."""
    ax.figure.savefig(io.BytesIO(), format="png", dpi=50)
    svg = io.BytesIO()
    ax.figure.savefig(svg, format="svg")
    return svg.getvalue().decode()


def curves(ax):
    """The lines that show numbers: not the one at zero."""
    return ax.lines[:-1]


def dates(n, start=dt.date(2000, 1, 1), days=1):
    return [start + dt.timedelta(days=days * i) for i in range(n)]


def wide_of(periods, n_factors=1, seed=0, unit=0.01):
    random = np.random.default_rng(seed)
    return pl.DataFrame(
        {"period": periods}
        | {f"f{j}": unit * random.standard_normal(len(periods)) for j in range(n_factors)}
    )


def long_of(wide, std_error=0.005):
    long = wide.unpivot(index="period", variable_name="factor", value_name="factor_return")
    return long.with_columns(std_error=pl.lit(std_error), t_stat=pl.col("factor_return") / 0.005)


def quality_of(wide):
    return wide.select(
        "period", r_squared=0.5, robust_r_squared=0.6, n_downweighted=1, n_assets=10
    )  # fmt: skip


def weights_of(wide):
    return long_of(wide).select("period", asset="factor", robustness_weight=0.5)


def frame_for(chart, wide):
    """A frame that the chart takes, with the periods and factors of factor returns."""
    return {
        "factor_returns": lambda: wide,
        "coefficients": lambda: long_of(wide),
        "premia": lambda: long_of(wide.head(1)).drop("period"),
        "diagnostics": lambda: quality_of(wide),
        "specific_returns": lambda: weights_of(wide),
    }[FRAMES[chart]]()


# --- from which frames


@pytest.mark.parametrize("chart", CHARTS)
def test_fits_and_frames_of_every_kind_give_the_same_chart(chart, demo):
    other = {"true_against_estimated": demo.truth, "robust_against_least_squares": demo.plain}
    other = other.get(chart)
    expected = drawing(draw(chart, demo.fits, other))
    lazy = fit_cross_sections(demo.panel.lazy(), FACTORS)
    once = fit_cross_sections(demo.panel.lazy(), FACTORS, sorted_by_period=True)
    frame = frame_of(chart, demo.fits)
    shuffled = frame.sample(fraction=1, shuffle=True, seed=3)
    ways = [lazy, once, frame, frame.lazy(), frame.to_arrow(), frame.to_pandas()]
    # The rows of premia and the order of factors in coefficients are those of the frame.
    ways += [] if FRAMES[chart] in ("premia", "coefficients") else [shuffled]
    for way in ways:
        assert_equal(drawing(draw(chart, way, other)), expected)


def test_coefficients_may_be_in_any_order_of_periods(demo):
    frame = demo.fits.coefficients
    expected = drawing(plots.confidence_bands(frame))
    for order in (frame.reverse().sort("factor"), frame.sort("factor", "t_stat")):
        assert_equal(drawing(plots.confidence_bands(order)), expected)


@pytest.mark.parametrize("chart", CHARTS)
def test_keys_of_other_names(chart, demo):
    names = {"period": "month", "asset": "ticker"}
    panel = demo.panel.rename(names)
    fits = fit_cross_sections(panel, FACTORS, period="month", asset="ticker")
    lazy = fit_cross_sections(panel.lazy(), FACTORS, period="month", asset="ticker")
    keys = {"asset": "ticker"} if chart == "robustness_weights" else {}
    keys |= {} if chart == "t_values" else {"period": "month"}
    expected = drawing(draw(chart, demo.fits))
    assert_equal(drawing(draw(chart, frame_of(chart, fits), **keys)), expected)
    own = {} if chart == "t_values" else {"period": "month"}
    for source, options in ((fits, own), (lazy, {})):
        assert_equal(drawing(draw(chart, source, **options)), expected)


@pytest.mark.parametrize("chart", CHARTS)
def test_neither_the_frames_nor_the_settings_change(chart, demo):
    frame = frame_of(chart, demo.fits).reverse()
    before, settings = frame.clone(), dict(mpl.rcParams)
    draw(chart, frame)
    assert_frame_equal(frame, before, check_exact=True)
    assert dict(mpl.rcParams) == settings


@pytest.mark.parametrize("chart", CHARTS)
def test_axes_given_are_drawn_on(chart, demo):
    figure, (left, right) = plt.subplots(1, 2, layout="constrained")
    assert draw(chart, demo.fits, ax=right) is right
    assert plt.get_fignums() == [figure.number]
    assert not left.has_data()
    assert right.has_data()
    new = draw(chart, demo.fits)
    assert len(plt.get_fignums()) == 2
    assert new.figure is not figure


@pytest.mark.parametrize("chart", CHARTS)
def test_axes_of_a_figure_without_a_window(chart, demo):
    ax = mpl.figure.Figure().subplots()
    assert draw(chart, demo.fits, ax=ax) is ax
    assert not plt.get_fignums()


# --- cumulative returns


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


# --- bands


def band_edges(area):
    """Lower and upper edge of an area by place on the horizontal axis."""
    edges = {}
    for path in area.get_paths():
        for x, y in path.vertices:
            low, high = edges.get(x, (math.inf, -math.inf))
            edges[x] = min(low, y), max(high, y)
    return edges


@pytest.mark.parametrize(
    ("level", "quantile"), [(0.95, 1.959964), (0.5, 0.674490), (0.999, 3.290527)]
)
def test_bands_of_single_periods(level, quantile, french):
    frame = french.coefficients.filter(pl.col("period") < dt.date(1970, 1, 1))
    n = frame["period"].n_unique()
    assert 50 < n <= 250
    ax = plots.confidence_bands(frame, factors=BETAS[:2], level=level)
    assert len(curves(ax)) == len(ax.collections) == 2
    for name, line, area in zip(BETAS, curves(ax), ax.collections, strict=False):
        rows = frame.filter(factor=name)
        assert_equal(line.get_ydata(), rows["factor_return"].to_numpy())
        edges = band_edges(area)
        assert len(edges) == n
        for day, middle, error in rows.select("period", "factor_return", "std_error").rows():
            margin = quantile * error
            expected = middle - margin, middle + margin
            assert edges[mdates.date2num(day)] == pytest.approx(expected, rel=1e-6, abs=1e-8)
        assert to_hex(area.get_facecolor()[0]) == line.get_color().lower()
        assert area.get_facecolor()[0, 3] < 0.5
    assert ax.get_ylabel() == f"factor return, {100 * level:g} % band"


@pytest.mark.parametrize(("n", "window"), [(250, 1), (251, 5), (759, 15)])
def test_bands_of_running_means(n, window, french):
    frame = french.coefficients.filter(factor="beta_SMB").head(n)
    lost = [0, 100, 101, 102, 200, n - 1]
    mask = pl.Series(np.isin(np.arange(n), lost))
    columns = [pl.when(~mask).then(name).alias(name) for name in ("factor_return", "std_error")]
    frame = frame.with_columns(columns)
    ax = plots.confidence_bands(frame)
    values, errors = (frame[c].to_numpy() for c in ("factor_return", "std_error"))
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
        expected = mean - 1.959964 * error, mean + 1.959964 * error
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


# --- points


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


# --- t-values


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


# --- quality


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


# --- weights


def test_the_heat_map_of_weights_has_the_most_downweighted_on_top(demo):
    gone = (pl.col("asset") == "Asset_3") & (pl.col("period") == "2023-05")
    unused = (pl.col("asset") == "Asset_4") & (pl.col("period") == "2023-06")
    panel = demo.panel.filter(~gone).with_columns(
        pl.when(~unused).then("return"),
    )
    panel = panel.with_columns(
        pl.when(asset="Asset_4").then(pl.col("return") + 1).otherwise("return").alias("return")
    ).sample(fraction=1, shuffle=True, seed=5)
    fits = fit_cross_sections(panel, FACTORS)
    ax = plots.robustness_weights(fits, most=50)
    rows = fits.specific_returns.select("period", "asset", "robustness_weight").rows()
    weights = {(asset, period): w for period, asset, w in rows if w is not None}
    months = sorted({period for period, _, _ in rows})
    lost = {asset: 0.0 for _, asset, _ in rows}
    for (asset, _), weight in weights.items():
        lost[asset] += 1 - weight
    order = sorted(lost, key=lambda asset: (-round(lost[asset], 9), asset))
    expected = np.array([[weights.get((a, m), np.nan) for m in months] for a in order])
    assert order[0] == "Asset_4"
    image = np.ma.filled(ax.images[0].get_array(), np.nan)
    assert image.shape == (50, 12)
    assert_equal(image, expected)
    assert np.isnan(image).sum() == 2
    assert tick_texts(ax.yaxis) == order
    assert to_hex(ax.images[0].cmap.get_bad()) == LIGHT_GREY.lower()
    assert ax.images[0].get_clim() == (0, 1)
    # The first row is on top.
    ax.figure.canvas.draw()
    assert ax.transData.transform((0, 0))[1] > ax.transData.transform((0, 49))[1]
    few = plots.robustness_weights(fits, most=5)
    assert_equal(np.ma.filled(few.images[0].get_array(), np.nan), expected[:5])
    assert tick_texts(few.yaxis) == order[:5]
    assert plots.robustness_weights(fits, most=np.int64(3)).images[0].get_array().shape == (3, 12)
    assert plots.robustness_weights(fits).images[0].get_array().shape == (40, 12)


@pytest.mark.parametrize("missing", [None, math.nan])
def test_missing_weights_are_not_lost_weight(missing):
    frame = pl.DataFrame(
        {
            "period": [1, 2, 1, 2, 1, 2],
            "asset": ["a", "a", "b", "b", "c", "c"],
            "robustness_weight": [1.0, missing, 0.5, 1.0, 1.0, 1.0],
        }
    )
    ax = plots.robustness_weights(frame)
    assert tick_texts(ax.yaxis) == ["b", "a", "c"]
    image = np.ma.filled(ax.images[0].get_array(), np.nan)
    assert_equal(image, [[0.5, 1.0], [1.0, np.nan], [1.0, 1.0]])


def test_many_assets_are_some_names(rng):
    frame = pl.DataFrame(
        {
            "period": np.tile(np.arange(3), 200),
            "asset": np.repeat(np.arange(200), 3),
            "robustness_weight": rng.random(600),
        }
    )
    ax = plots.robustness_weights(frame, most=150)
    assert ax.images[0].get_array().shape == (150, 3)
    assert len(tick_texts(ax.yaxis)) <= 60
    lost = frame.group_by("asset").agg(pl.col("robustness_weight").sum())
    order = lost.sort("robustness_weight")["asset"].to_list()
    for place, name in zip(ax.get_yticks(), tick_texts(ax.yaxis), strict=True):
        assert name == str(order[int(place)])


# --- correlations


def test_correlations_over_common_periods(french):
    place = pl.int_range(pl.len())
    wide = french.factor_returns.with_columns(
        beta_SMB=pl.when(place % 7 != 3).then("beta_SMB"),
        beta_HML=pl.when(place % 5 != 2).then("beta_HML").otherwise(math.nan),
    )
    ax = plots.correlations(wide.sample(fraction=1, shuffle=True, seed=2))
    image = ax.images[0].get_array()
    values = wide.select(BETAS).cast(pl.Float64).to_numpy()
    for a, b in itertools.product(range(4), repeat=2):
        both = np.isfinite(values[:, [a, b]]).all(axis=1)
        expected = np.corrcoef(values[both, a], values[both, b])[0, 1]
        assert image[a, b] == pytest.approx(expected, rel=1e-9)
    assert tick_texts(ax.xaxis) == tick_texts(ax.yaxis) == BETAS
    assert ax.images[0].get_clim() == (-1, 1)
    texts = {text.get_position(): text for text in ax.texts}
    assert len(texts) == 16
    for (column, row), text in texts.items():
        assert float(text.get_text().replace("−", "-")) == pytest.approx(
            image[row, column], abs=0.0051
        )
        assert text.get_color() == ("white" if abs(image[row, column]) > 0.6 else "black")


def test_pairs_without_a_correlation_are_grey():
    wide = pl.DataFrame(
        {
            "period": range(6),
            "a": [0.1, 0.2, 0.4, None, None, None],
            "b": [None, 0.4, 0.3, 0.1, 0.2, 0.5],
            "c": [0.7] * 6,
            "d": [0.3, 0.1, 0.2, 0.5, 0.3, None],
        }
    )
    ax = plots.correlations(wide)
    image = np.ma.filled(ax.images[0].get_array(), np.nan)
    there = np.isfinite(image)
    names = "abcd"
    assert {names[a] + names[b] for a, b in np.argwhere(there)} == {
        "aa", "bb", "dd", "ad", "da", "bd", "db"
    }  # fmt: skip
    assert len(ax.texts) == 7
    assert image[0, 3] == pytest.approx(np.corrcoef([0.1, 0.2, 0.4], [0.3, 0.1, 0.2])[0, 1])
    assert to_hex(ax.images[0].cmap.get_bad()) == LIGHT_GREY.lower()


def test_numbers_are_white_on_the_dark_of_either_end():
    wide = pl.DataFrame(
        {"period": range(4), "a": [1.0, 2.0, 3.0, 4.5], "b": [-1.0, -2.0, -3.0, -4.6]}
    )
    ax = plots.correlations(wide)
    assert [text.get_text() for text in ax.texts] == ["1.00", "−1.00", "−1.00", "1.00"]
    assert {text.get_color() for text in ax.texts} == {"white"}


def test_no_correlation_is_written_as_minus_zero(rng):
    x, y = np.linalg.qr(np.column_stack([np.ones(9), rng.standard_normal((9, 2))]))[0][:, 1:].T
    ax = plots.correlations(pl.DataFrame({"period": range(9), "x": x, "y": y - 1e-4 * x}))
    assert [text.get_text() for text in ax.texts] == ["1.00", "0.00", "0.00", "1.00"]


def test_numbers_in_the_cells_of_twelve_factors_at_most():
    assert len(plots.correlations(wide_of(range(20), 12)).texts) == 144
    thirteen = plots.correlations(wide_of(range(20), 13))
    assert not thirteen.texts
    assert thirteen.images[0].get_array().shape == (13, 13)


# --- periods along the axis

ALONG = ["cumulative_returns", "confidence_bands", "fit_quality"]


@pytest.mark.parametrize("chart", ALONG)
@pytest.mark.parametrize("days", [1, 31, 365])
def test_many_dates_are_an_axis_of_dates(chart, days):
    ax = draw(chart, frame_for(chart, wide_of(dates(100, days=days))))
    locator, formatter = ax.xaxis.get_major_locator(), ax.xaxis.get_major_formatter()
    assert isinstance(locator, mdates.AutoDateLocator)
    assert isinstance(formatter, mdates.ConciseDateFormatter)
    first, last = dates(100, days=days)[0], dates(100, days=days)[-1]
    low, high = (mdates.num2date(x).date() for x in ax.get_xlim())
    assert low <= first < last <= high
    assert 3 <= len([t for t in ax.get_xticks() if ax.get_xlim()[0] <= t <= ax.get_xlim()[1]]) <= 12
    assert all(line.get_xdata()[0] == first for line in curves(ax))


def test_dates_of_months_are_written_as_dates(french):
    ax = plots.cumulative_returns(french)
    ax.figure.canvas.draw()
    assert {"1960", "1980", "2000"} <= set(tick_texts(ax.xaxis))


@pytest.mark.parametrize("chart", ALONG)
def test_few_dates_all_have_ticks_at_their_places(chart):
    days = [dt.date(2020, 1, 31), dt.date(2020, 2, 29), dt.date(2020, 12, 31)]
    ax = draw(chart, frame_for(chart, wide_of(days)))
    assert tick_texts(ax.xaxis) == ["2020-01-31", "2020-02-29", "2020-12-31"]
    assert_equal(ax.get_xticks(), mdates.date2num(days))


@pytest.mark.parametrize("chart", ["robustness_weights", *ALONG])
@pytest.mark.parametrize(
    ("n", "text"), [(1, False), (10, False), (10, True), (11, True), (101, True)]
)
def test_other_periods_are_thinned_and_in_equal_steps(chart, n, text):
    periods = pl.Series([3 * i * i for i in range(n)])
    if text:
        texts = "after period number " + periods.cast(pl.String).str.zfill(6)
        periods = texts.cast(pl.Enum(texts))
    ax = draw(chart, frame_for(chart, wide_of(periods)))
    texts, places = tick_texts(ax.xaxis), ax.get_xticks()
    assert min(n, 5) <= len(texts) <= 10
    assert len(texts) == n or n > 10
    assert len(set(np.diff(places))) <= 1
    for place, name in zip(places, texts, strict=True):
        whole = str(periods[int(place)])
        assert name == as_label(whole)
    slanted = {label.get_rotation() for label in ax.get_xticklabels()}
    assert slanted == {35.0 if text and len(texts) > 2 else 0.0}
    if chart != "robustness_weights":
        assert_equal(ax.lines[0].get_xdata(), np.arange(n))


@pytest.mark.parametrize("chart", ["robustness_weights", "cumulative_returns"])
@pytest.mark.parametrize("kind", list(PERIOD_TYPES))
def test_periods_of_every_type(chart, kind):
    steps = pl.DataFrame({"t": np.arange(12)})
    periods = steps.select(PERIOD_TYPES[kind](pl.col("t"))).to_series().alias("period")
    wide = wide_of(periods).sample(fraction=1, shuffle=True, seed=1)
    ax = draw(chart, frame_for(chart, wide))
    ordered = periods.sort()
    if chart == "cumulative_returns":
        values = pl.DataFrame({"period": ordered}).join(wide, on="period", maintain_order="left")
        assert_allclose(ax.lines[0].get_ydata(), values["f0"].cum_sum().to_numpy(), rtol=1e-12)
    if not (chart in ALONG and periods.dtype.is_temporal() and kind != "Duration"):
        texts = [str(ordered[i]) for i in range(0, 12, 2)]
        assert tick_texts(ax.xaxis) == [as_label(text) for text in texts]


def test_an_enum_is_in_its_own_order():
    order = ["winter", "spring", "summer"]
    periods = pl.Series(["summer", "winter", "spring"], dtype=pl.Enum(order))
    for chart in ["robustness_weights", *ALONG]:
        assert tick_texts(draw(chart, frame_for(chart, wide_of(periods))).xaxis) == order


def test_hours_are_equal_steps_when_the_clocks_change():
    start = dt.datetime(2024, 10, 26, 20)
    hours = pl.datetime_range(
        start, start + dt.timedelta(hours=12), "1h", time_zone="Europe/Berlin", eager=True
    )
    ax = plots.cumulative_returns(wide_of(hours))
    assert_allclose(np.diff(mdates.date2num(ax.lines[0].get_xdata())), 1 / 24, rtol=1e-6)


def test_times_with_a_zone_are_written_whole():
    periods = pl.Series([dt.datetime(2024, 3, 1), dt.datetime(2024, 3, 2)])
    ax = plots.cumulative_returns(wide_of(periods.dt.replace_time_zone("Europe/Berlin")))
    assert not any("…" in text for text in tick_texts(ax.xaxis))


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_times_stand_at_their_places(unit):
    times = [dt.datetime(2024, 1, 1, 9, minute) for minute in range(0, 60, 4)]
    ax = plots.cumulative_returns(wide_of(pl.Series(times, dtype=pl.Datetime(unit))))
    assert_allclose(mdates.date2num(ax.lines[0].get_xdata()), mdates.date2num(times), rtol=1e-12)
    assert isinstance(ax.xaxis.get_major_formatter(), mdates.ConciseDateFormatter)


@pytest.mark.parametrize("n", [3, 12])
@pytest.mark.parametrize(
    ("first", "step"),
    [(-719_162, 1), (2_932_531, 1), (2_932_890, 1), (-800_000, 20_000), (-719_162, 330_000),
     (2**31 - 100, 1)],
)  # fmt: skip
def test_dates_at_the_ends_of_the_calendar_and_beyond(n, first, step):
    periods = pl.Series([first + step * i for i in range(n)], dtype=pl.Int32).cast(pl.Date)
    ax = plots.cumulative_returns(wide_of(periods))
    ax.figure.canvas.draw()
    assert tick_texts(ax.xaxis)


def boxes(texts):
    return [text.get_window_extent() for text in texts if text.get_text()]


@pytest.mark.parametrize(
    "periods",
    [
        [f"2023-{month:02d}" for month in range(1, 11)],
        [f"{i}" for i in range(10)],
        dates(9, days=31),
        dates(4, days=31),
        dates(300),
        [dt.date(2020, 1, 1), dt.date(2020, 1, 2), dt.date(2023, 1, 1), dt.date(2023, 2, 1)],
    ],
    ids=["months", "numbers", "nine dates", "four dates", "days", "irregular"],
)
@pytest.mark.parametrize("name", ["f", "a factor of twenty-four c"])
def test_labels_of_periods_do_not_touch(periods, name):
    ax = plots.cumulative_returns(wide_of(periods).rename({"f0": name}))
    ax.figure.canvas.draw()
    labels = ax.get_xticklabels()
    if any(label.get_rotation() for label in labels):
        # Slanted labels are apart if their ends are.
        ends = np.diff(sorted(ax.transData.transform((x, 0))[0] for x in ax.get_xticks()))
        assert ends.min() > 12
        return
    row = sorted(boxes(labels), key=lambda box: box.x0)
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(row))


# --- one and five thousand


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


# --- legend and colours


@pytest.mark.parametrize("chart", [*ALONG, *OF_TWO])
@pytest.mark.parametrize("n_factors", [1, 60])
def test_the_legend_covers_nothing_and_is_not_cut(chart, n_factors):
    wide = wide_of(dates(30), n_factors).rename({"f0": "a name that is longer than labels are"})
    ax = draw(chart, frame_for(chart, wide))
    ax.figure.canvas.draw()
    legend, axes = ax.get_legend().get_window_extent(), ax.get_window_extent()
    assert legend.x0 >= axes.x1
    figure = ax.figure.bbox
    assert legend.x1 <= figure.x1
    assert figure.y0 <= legend.y0 < legend.y1 <= figure.y1
    assert axes.width > 0.4 * figure.width


def in_lab(colours):
    """CIELAB coordinates, white D65, of linear RGB."""
    to_xyz = [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
    ratios = np.asarray(colours) @ np.transpose(to_xyz) / [0.95047, 1.0, 1.08883]
    cut = (6 / 29) ** 3
    f = np.where(ratios > cut, np.cbrt(ratios), ratios / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = f.T
    return np.column_stack([116 * y - 16, 500 * (x - y), 200 * (y - z)])


# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
VISIONS = {
    "full": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


@pytest.mark.parametrize("vision", VISIONS)
def test_colours_are_told_apart(vision):
    rgb = np.array([to_rgb(colour) for colour in (*COLOURS, LIGHT_GREY, "white")])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = in_lab(np.clip(linear @ np.transpose(VISIONS[vision]), 0, 1))
    distances = [math.dist(a, b) for a, b in itertools.combinations(seen, 2)]
    assert min(distances) > LEAST_DISTANCE


# The first six of matplotlib's own cycle come to 5, ours to 16.
LEAST_DISTANCE = 15


# --- names of the data

NAMES = [
    "\"quotes\" and 'more'",
    "$x$ \\frac{1}{2} $$",
    "\\$5 or $6",
    "_underscore",
    "\U0001f600 smile",
    "\u05d7\u05d1\u05e8\u05d4",
    "\u0634\u0631\u0643\u0629",
    "x" * 200,
    "two\nlines\tand a tab",
    "^x$",
    "*",
    "",
    "place",
    "period ",
    "<script>alert(1)</script>",
    "--><!--&amp;",
]


def seen_text(text):
    """What matplotlib draws of a text without mathematics."""
    assert not mpl.cbook.is_math_text(text)
    return text.replace(r"\$", "$")


def as_label(name):
    shown = name.replace("\n", "\\n").replace("\t", "\\t")
    # What is too long loses what is before its last third.
    return shown if len(shown) <= 30 else shown[:19] + "…" + shown[-10:]


def labels_of_names(chart, names):
    """Draw a chart with these names in it; give the axes and the labels that show them."""
    of_periods = chart == "fit_quality"
    frame = wide_of(
        pl.Series(names, dtype=pl.Enum(names)) if of_periods else range(3),
        1 if of_periods else len(names),
    )
    if not of_periods:
        frame.columns = ["nr", *names]
    if FRAMES[chart] == "factor_returns":
        ax = draw(chart, frame, period="nr")
    else:
        frame = frame if of_periods else frame.rename({"nr": "period"})
        ax = draw(chart, frame_for(chart, frame))
    if chart in ("cumulative_returns", "confidence_bands", *OF_TWO):
        return ax, legend_texts(ax)
    return ax, tick_texts(ax.xaxis if of_periods else ax.yaxis)


@pytest.mark.parametrize("chart", CHARTS)
def test_names_are_drawn_as_they_stand(chart):
    at_once = {"cumulative_returns": 6, "confidence_bands": 3, "fit_quality": 10}
    at_once |= dict.fromkeys(OF_TWO, 6)
    step = at_once.get(chart, 30)
    for names in (NAMES[i : i + step] for i in range(0, len(NAMES), step)):
        # The heat map has assets of the same lost weight in the order of their names.
        expected = sorted(names) if chart == "robustness_weights" else list(names)
        ax, labels = labels_of_names(chart, names)
        assert [seen_text(text) for text in labels] == [as_label(name) for name in expected]
        ax.figure.canvas.draw()
    svg = written_out(ax)
    if chart == "correlations":
        assert tick_texts(ax.xaxis) == tick_texts(ax.yaxis)
    elements = [element.tag for element in ET.fromstring(svg).iter()]
    assert not [tag for tag in elements if "script" in str(tag).lower()]


@pytest.mark.parametrize("name", ["\U0001f680 rocket", "\u6f22\u5b57"], ids=ascii)
def test_of_names_in_characters_that_the_font_lacks_matplotlib_says_so(name):
    ax = plots.cumulative_returns(wide_of(range(3)).rename({"f0": name}))
    with pytest.warns(UserWarning, match="missing from font"):
        ax.figure.savefig(io.BytesIO(), format="png")
    assert legend_texts(ax) == [name]


def test_names_of_columns_are_no_patterns():
    for name in ("^.*$", "*", "^x$", ""):
        wide = wide_of(range(5), 2)
        expected = drawing(plots.cumulative_returns(wide))
        renamed = wide.rename({"period": name})
        assert_equal(drawing(plots.cumulative_returns(renamed, period=name)), expected)
        for chart in ("confidence_bands", "fit_quality", "robustness_weights"):
            frame = frame_for(chart, wide)
            expected_of_keys = drawing(draw(chart, frame))
            renamed = frame.rename({"period": name})
            assert_equal(drawing(draw(chart, renamed, period=name)), expected_of_keys)
        plt.close("all")


def test_keys_named_like_other_columns():
    wide = wide_of(range(5), 2)
    frame = weights_of(wide)
    expected = drawing(plots.robustness_weights(frame))
    for names in (
        {"period": "asset", "asset": "period"},
        {"period": "row", "asset": "column"},
        {"period": "lost", "asset": "place"},
    ):
        keys = {"period": names["period"], "asset": names["asset"]}
        assert_equal(drawing(plots.robustness_weights(frame.rename(names), **keys)), expected)
    bands = long_of(wide)
    expected = drawing(plots.confidence_bands(bands))
    for name in ("place", "one", "std error"):
        renamed = bands.rename({"period": name})
        assert_equal(drawing(plots.confidence_bands(renamed, period=name)), expected)
    for factor in ("period", "factor", "one", "other", "index"):
        frame = wide.rename({"period": "month", "f0": factor})
        for chart in (*OF_SERIES, *OF_TWO):
            ax = draw(chart, frame, period="month")
            seen = tick_texts(ax.xaxis) if chart == "correlations" else legend_texts(ax)
            assert seen == [factor, "f1"]
        plt.close("all")


# --- what is refused

WIDE = pl.DataFrame({"period": [1, 2, 3], "x": [0.1, 0.2, 0.3], "y": [0.1, 0.2, 0.4]})
COEFFICIENTS = long_of(WIDE)
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
                (WIDE.select("period"), {}, r"there is no column beside the period"),
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
    with pytest.raises(PanelError, match="no factors asked for; the factors are 'x', 'y'"):
        draw(chart, frame_for(chart, WIDE), factors=[])


# --- little and extreme


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
