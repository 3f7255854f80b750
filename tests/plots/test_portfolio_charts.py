"""Charts of portfolios: what adds up does so as it is drawn."""

from __future__ import annotations

import datetime as dt
import math

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
import pytest
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_hex
from numpy.testing import assert_allclose, assert_equal

from charts import as_label, band_edges, colours_of, dates, legend_texts, tick_texts
from charts import drawing as drawing_of
from charts import written_out as written
from vbase_py_utils import (
    Attribution,
    PanelError,
    attribution,
    factor_exposures,
    fit_cross_sections,
    plots,
    portfolio_risk,
)
from vbase_py_utils.plots.axes import COLOURS, LIGHT_GREY
from vbase_py_utils.plots.portfolio_charts import DARK_GREY

FACTORS = ["market", "value", "momentum"]
OVER_TIME = ["exposures_over_time", "cumulative_attribution", "active_and_total"]
CHARTS = ["risk_contributions", *OVER_TIME]
BLUE, ORANGE = (colour.lower() for colour in COLOURS[:2])


def long_of(values, periods=None, names=None, column="contribution", portfolio="fund"):
    """A frame of values (T, k) of factors; NaN is null."""
    n, k = values.shape
    periods = pl.Series(range(n) if periods is None else periods)
    names = names or [f"f{i}" for i in range(k)]
    return pl.DataFrame(
        {
            "period": periods.gather(np.repeat(np.arange(n), k)),
            "portfolio": [portfolio] * (n * k),
            "factor": names * n,
            column: pl.Series(values.ravel(), dtype=pl.Float64, nan_to_null=True),
        }
    )


def attributed(parts, periods=None, names=None, benchmark=None, total=None, portfolio="fund"):
    """An attribution whose parts (T, k + 2) end with specific and unattributed."""
    n = len(parts)
    total = parts.sum(axis=1) if total is None else total
    columns = {"total": total, "specific": parts[:, -2], "unattributed": parts[:, -1]}
    if benchmark is not None:
        columns |= {"portfolio_return": total + benchmark, "benchmark_return": benchmark}
    values = [pl.Series(name, v, dtype=pl.Float64, nan_to_null=True) for name, v in columns.items()]
    periods = pl.Series("period", range(n) if periods is None else periods)
    keys = [periods, pl.Series("portfolio", [portfolio] * n, dtype=pl.String)]
    factors = long_of(parts[:, :-2], periods, names, portfolio=portfolio)
    return Attribution(pl.DataFrame([*keys, *values]), factors, pl.DataFrame(), None, {})


def parts_of(n, k, seed=0):
    return 0.02 * np.random.default_rng(seed).standard_normal((n, k + 2))


def linked_until(parts, returns, benchmark):
    """Carino's linking up to each period, number by number."""

    def ratio(r, b):
        return 1 / (1 + r) if r == b else (math.log(1 + r) - math.log(1 + b)) / (r - b)

    rows = []
    for t in range(1, len(parts) + 1):
        whole = [math.prod(1 + r for r in some[:t]) - 1 for some in (returns, benchmark)]
        rows.append(
            [
                sum(p[i] * ratio(r, b) for p, r, b in zip(parts[:t], returns, benchmark))  # noqa: B905
                / ratio(*whole)
                for i in range(parts.shape[1])
            ]
        )
    return np.array(rows)


def stack_of(ax):
    """The heights (T,) of areas in their order, those below zero negative; gaps are left out."""
    sides = [band_edges(c) for c in ax.collections if isinstance(c, PolyCollection)]
    heights = []
    for up, down in zip(sides[::2], sides[1::2], strict=True):
        assert all(low >= -1e-15 for low, _ in up.values())
        assert all(high <= 1e-15 for _, high in down.values())
        heights.append([np.ptp(up[x]) - np.ptp(down[x]) for x in sorted(up)])
    return np.array(heights)


def drawing(ax):
    """All that is on the axes; of the legend the texts, since a line in it has no face."""
    if (legend := ax.get_legend()) is None:
        return drawing_of(ax)
    texts = legend_texts(ax)
    legend.remove()
    return drawing_of(ax) | {"legend": texts}


def bars_of(ax):
    return [(bar.get_x(), bar.get_width()) for bar in ax.patches]


@pytest.fixture(scope="module")
def market():
    """A panel, fits and weights of two portfolios, and of a benchmark."""
    random, n, days = np.random.default_rng(5), 30, dates(8, days=30)
    keys = {"period": [day for day in days for _ in range(n)], "asset": [*range(n)] * len(days)}
    size = len(days) * n
    panel = pl.DataFrame(
        {**keys, "return": 0.02 * random.standard_normal(size)}
        | {name: random.standard_normal(size) for name in FACTORS}
    )
    fits = fit_cross_sections(panel, FACTORS)
    weights = pl.concat(
        pl.DataFrame({**keys, "portfolio": name, "weight": random.random(size) / n})
        for name in ("a", "b")
    )
    benchmark = pl.DataFrame({**keys, "weight": 1 / n})
    blocks = np.array([[4.0, 1, 0], [1, 2, 0], [0, 0, 3]]) / 1e4
    covariance = pl.DataFrame(
        {"period": [day for day in days for _ in FACTORS], "factor": FACTORS * len(days)}
        | {name: np.tile(blocks[:, i], len(days)) for i, name in enumerate(FACTORS)}
    )
    specific = pl.DataFrame({**keys, "specific_risk": 0.02})
    return {
        "risk": portfolio_risk(weights, panel, fits, covariance, specific, benchmark=benchmark),
        "lazy": portfolio_risk(weights.lazy(), panel, fits, covariance, specific),
        "exposures": factor_exposures(weights, panel, fits),
        "attribution": attribution(fits, weights, panel),
        "active": attribution(fits, weights.lazy(), panel, benchmark=benchmark),
    }


# Contributions to risk ----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("k", [1, 2, 7, 30, 31, 60])
def test_each_bar_begins_where_the_last_one_ended_and_they_add_up(seed, k):
    values = np.random.default_rng(seed).standard_normal((1, k + 1))
    names = [*(f"f{i}" for i in range(k)), "specific"]
    ax = plots.risk_contributions(long_of(values, names=names))
    *bars, (start, risk) = bars_of(ax)
    assert start == 0
    assert risk == pytest.approx(values.sum(), rel=1e-12)
    at = 0.0
    for left, width in bars:
        assert left == pytest.approx(at, abs=1e-12)
        at += width
    assert at == pytest.approx(risk, abs=1e-12)
    assert bars[-1][1] == values[0, -1]
    own = min(k, 30)
    assert len(bars) == own + (k > 30) + 1
    largest = sorted(values[0, :-1], key=abs)[-own:]
    assert_equal([width for _, width in bars[:own]], sorted(largest, reverse=True))
    low, high = ax.get_xlim()
    assert low < min(left + min(width, 0) for left, width in bars)
    assert high > max(left + max(width, 0) for left, width in bars)


def test_names_colours_and_joints_of_bars():
    frame = long_of(np.array([[0.1, 0.3, -0.2, 0.05]]), names=["x", "y", "z", "specific"])
    ax = plots.risk_contributions(frame)
    assert tick_texts(ax.yaxis) == ["y", "x", "z", "specific", "risk"]
    assert ax.get_ylim() == (4.5, -0.5)
    colours = [to_hex(bar.get_facecolor()) for bar in ax.patches]
    assert colours[:4] == [BLUE, BLUE, ORANGE, BLUE]
    assert colours[4] not in colours[:4]
    joints = ax.collections[0].get_segments()
    ends = np.cumsum([0.3, 0.1, -0.2, 0.05])
    assert_allclose([segment[0, 0] for segment in joints], ends)
    assert ax.get_xlabel() == "contribution to risk at 0"


@pytest.mark.parametrize("portfolio", ["a", "b"])
def test_bars_add_up_to_the_risk_of_the_summary(market, portfolio):
    risk = market["risk"]
    for at, *_, expected in (
        risk.summary.filter(portfolio=portfolio).select("period", "portfolio", "risk").rows()
    ):
        ax = plots.risk_contributions(risk, portfolio=portfolio, at=at)
        assert ax.patches[-1].get_width() == pytest.approx(expected, rel=1e-12)
        assert ax.get_xlabel() == f"contribution to risk at {at}"
    last = plots.risk_contributions(risk, portfolio=portfolio)
    assert_equal(drawing(last), drawing(ax))
    lazy = plots.risk_contributions(market["lazy"], portfolio=portfolio)
    assert_equal(drawing(lazy), drawing(last))


def test_other_factors_are_one_bar_that_is_their_sum():
    values = np.append(np.arange(1.0, 41), 7.0)[None]
    names = [*(f"f{i}" for i in range(40)), "specific"]
    ax = plots.risk_contributions(long_of(values, names=names))
    shown = tick_texts(ax.yaxis)
    assert shown[:2] + shown[29:] == ["f39", "f38", "f10", "other factors", "specific", "risk"]
    assert ax.patches[30].get_width() == sum(range(1, 11))


@pytest.mark.parametrize("unknown", [None, math.nan, math.inf])
def test_an_unknown_contribution_and_its_sum_have_no_bar(unknown):
    frame = long_of(np.array([[0.1, 0.0, 0.3]]), names=["x", "y", "specific"])
    frame = frame.with_columns(contribution=pl.Series([0.1, unknown, 0.3]))
    ax = plots.risk_contributions(frame)
    assert bars_of(ax) == [(0, 0.1), (pytest.approx(0.1), 0.3)]
    assert tick_texts(ax.yaxis) == ["x", "y", "specific", "risk"]
    assert [bar.get_y() + bar.get_height() / 2 for bar in ax.patches] == [0, 2]


def test_at_refused():
    frame = long_of(np.ones((3, 2)))
    other = long_of(np.ones((1, 2)), [7], portfolio="other")
    for at in (9, 7):
        message = f"^at is {at}, where the portfolio has no rows$"
        with pytest.raises(PanelError, match=message):
            plots.risk_contributions(pl.concat([frame, other]), portfolio="fund", at=at)
    with pytest.raises(PanelError, match=r"^at is 'x', expected Int64 as in period column 'day'$"):
        plots.risk_contributions(frame.rename({"period": "day"}), at="x")
    # The last period is that of the portfolio.
    ax = plots.risk_contributions(pl.concat([frame, other]), portfolio="fund")
    assert ax.get_xlabel() == "contribution to risk at 2"


# Exposures ----------------------------------------------------------------------------------------


def test_a_line_of_exposures_for_each_factor():
    values = np.random.default_rng(2).standard_normal((9, 8)) * np.arange(1, 9)
    frame = long_of(values, dates(9), column="exposure").sample(fraction=1, shuffle=True, seed=1)
    ax = plots.exposures_over_time(frame.sort("factor"))
    for i, line in enumerate(ax.lines[:8]):
        assert_equal(line.get_ydata(), values[:, i])
        assert_equal(line.get_xdata(), np.array(dates(9), dtype="datetime64"))
    furthest = sorted(np.argsort(np.abs(values).max(axis=0))[-6:])
    assert legend_texts(ax) == [f"f{i}" for i in furthest] + ["2 more"]
    assert ax.get_ylabel() == "exposure"
    chosen = plots.exposures_over_time(frame, factors=["f5", "f0"])
    assert legend_texts(chosen) == ["f5", "f0"]
    assert_equal(chosen.lines[1].get_ydata(), values[:, 0])


def test_exposures_of_each_result(market):
    for result in ("risk", "lazy", "exposures", "attribution"):
        ax = plots.exposures_over_time(market[result], portfolio="b")
        assert legend_texts(ax) == FACTORS
        expected = market["exposures"].filter(portfolio="b", factor="value")["exposure"]
        assert_allclose(ax.lines[1].get_ydata(), expected.to_numpy(), rtol=1e-12)


def test_missing_exposures_and_absent_periods_are_gaps():
    values = np.array([[1.0, 2], [np.nan, 3], [4, 5], [6, np.nan]])
    frame = long_of(values, [1, 2, 4, 5], column="exposure")
    others = long_of(np.ones((4, 1)), [0, 3, 4, 9], column="exposure", portfolio="other")
    ax = plots.exposures_over_time(pl.concat([frame, others]), portfolio="fund")
    assert_equal(ax.lines[0].get_ydata(), [1, np.nan, np.nan, 4, 6])
    assert_equal(ax.lines[1].get_ydata(), [2, 3, np.nan, 5, np.nan])
    assert tick_texts(ax.xaxis) == ["1", "2", "3", "4", "5"]


def test_specific_is_drawn_if_it_has_exposures():
    values = np.array([[1.0, np.nan], [2.0, np.nan]])
    frame = long_of(values, names=["x", "specific"], column="exposure")
    assert legend_texts(plots.exposures_over_time(frame)) == ["x"]
    known = frame.with_columns(pl.col("exposure").fill_null(1))
    assert legend_texts(plots.exposures_over_time(known)) == ["x", "specific"]
    with pytest.raises(PanelError, match=r"^no such factors: 'specific'; the factors are 'x'$"):
        plots.exposures_over_time(frame, factors="specific")


# Attribution --------------------------------------------------------------------------------------


@pytest.mark.parametrize("active", [False, True])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("n", "k"), [(1, 1), (2, 3), (25, 5), (25, 7), (25, 12)])
def test_the_stack_adds_up_to_the_compounded_total_at_each_period(n, k, seed, active):
    parts = parts_of(n, k, seed)
    benchmark = 0.03 * np.random.default_rng(99).standard_normal(n) if active else np.zeros(n)
    ax = plots.cumulative_attribution(attributed(parts, benchmark=benchmark if active else None))
    returns = parts.sum(axis=1) + benchmark
    compounded = [
        math.prod(1 + r for r in returns[: t + 1]) - math.prod(1 + b for b in benchmark[: t + 1])
        for t in range(n)
    ]
    assert_allclose(ax.lines[0].get_ydata(), compounded, rtol=1e-10, atol=1e-15)
    heights = stack_of(ax)
    assert_allclose(heights.sum(axis=0), compounded, rtol=1e-9, atol=1e-14)
    expected = linked_until(parts, returns, benchmark).T
    assert_allclose(heights[-2:], expected[-2:], rtol=1e-9, atol=1e-14)
    names = legend_texts(ax)[1:]
    assert names[-2:] == ["specific", "unattributed"]
    own = [int(name[1:]) for name in names[:-2] if name != "other factors"][:5]
    assert_allclose(heights[: len(own)], expected[own], rtol=1e-9, atol=1e-14)
    furthest = sorted(np.argsort(np.abs(expected[:k]).max(axis=1))[-5:])
    assert own == furthest
    low, high = ax.get_ylim()
    assert low < np.minimum(heights, 0).sum(axis=0).min()
    assert high > np.maximum(heights, 0).sum(axis=0).max()
    kind = "compounded active return" if active else "compounded return"
    assert ax.get_ylabel() == kind


@pytest.mark.parametrize("result", ["attribution", "active"])
@pytest.mark.parametrize("portfolio", ["a", "b"])
def test_the_last_areas_are_those_that_the_library_links(market, result, portfolio):
    given = market[result]
    ax = plots.cumulative_attribution(given, portfolio=portfolio)
    linked = given.collect().linked.filter(portfolio=portfolio)
    assert legend_texts(ax)[1:] == linked["factor"].to_list()
    assert_allclose(stack_of(ax)[:, -1], linked["contribution"].to_numpy(), atol=1e-14)


def test_colours_and_names_of_areas():
    parts = parts_of(9, 8)
    ax = plots.cumulative_attribution(attributed(parts), factors=["f7", "f1"])
    shown = ["total", "f7", "f1", "other factors", "specific", "unattributed"]
    assert legend_texts(ax) == shown
    colours = [BLUE, ORANGE, LIGHT_GREY.lower(), COLOURS[5].lower(), DARK_GREY]
    assert [to_hex(h.get_facecolor()) for h in ax.get_legend().legend_handles[1:]] == colours
    areas = [c for c in ax.collections if isinstance(c, PolyCollection)]
    assert [to_hex(area.get_facecolor()[0]) for area in areas[::2]] == colours
    assert to_hex(ax.lines[0].get_color()) == "#000000"
    # A single other factor keeps its name.
    three = plots.cumulative_attribution(attributed(parts_of(9, 3)), factors=["f0", "f2"])
    assert legend_texts(three)[1:4] == ["f0", "f2", "f1"]


def test_factors_may_be_called_like_what_is_drawn():
    names = ["total", "other factors", "risk", "period", "portfolio", "contribution", "factor_"]
    parts = parts_of(6, 7)
    ax = plots.cumulative_attribution(attributed(parts, names=names))
    total = ax.lines[0].get_ydata()
    assert_allclose(stack_of(ax).sum(axis=0), total, atol=1e-14)
    bars = plots.risk_contributions(long_of(parts[:, :7], names=names))
    assert bars.patches[-1].get_width() == pytest.approx(parts[-1, :7].sum())


def test_what_is_unattributed_has_an_area_even_if_it_is_nothing():
    parts = parts_of(5, 2)
    parts[:, -1] = 0
    ax = plots.cumulative_attribution(attributed(parts))
    assert legend_texts(ax)[-1] == "unattributed"
    assert_equal(stack_of(ax)[-1], np.zeros(5))


@pytest.mark.parametrize("known", [False, True])
def test_a_period_without_a_total_is_a_gap_and_left_out_of_later_ones(known):
    parts = parts_of(9, 3)
    total = parts.sum(axis=1)
    parts[4], total[4] = parts[4] if known else np.nan, np.nan
    ax = plots.cumulative_attribution(attributed(parts, total=total))
    line = ax.lines[0].get_ydata()
    assert np.flatnonzero(np.isnan(line)).tolist() == [4]
    areas = [c for c in ax.collections if isinstance(c, PolyCollection)]
    assert all(4 not in band_edges(area) for area in areas)
    assert all(len(area.get_paths()) == 2 for area in areas)
    rest = np.delete(parts, 4, axis=0)
    expected = linked_until(rest, rest.sum(axis=1), np.zeros(8))
    assert_allclose(stack_of(ax), expected.T, atol=1e-14)


def test_a_period_without_factor_returns_is_unattributed():
    parts = parts_of(6, 2)
    parts[3] = [np.nan, np.nan, np.nan, 0.05]
    ax = plots.cumulative_attribution(attributed(parts, total=np.nansum(parts, axis=1)))
    known = np.nan_to_num(parts)
    expected = linked_until(known, known.sum(axis=1), np.zeros(6))
    assert_allclose(stack_of(ax), expected.T, atol=1e-14)
    assert_allclose(ax.lines[0].get_ydata(), expected.sum(axis=1), atol=1e-14)


def test_periods_by_themselves_have_columns():
    parts = np.abs(parts_of(5, 1))
    parts[[1, 3]] = np.nan
    ax = plots.cumulative_attribution(attributed(parts, total=parts.sum(axis=1)))
    segments = [
        line.get_segments()
        for line in ax.collections
        if isinstance(line, LineCollection) and len(line.get_segments())
    ]
    heights = [[np.ptp(segment[:, 1]) for segment in some] for some in segments[::2]]
    assert_allclose(heights, stack_of(ax), atol=1e-15)
    assert [segment[0, 0] for segment in segments[0]] == [0, 2, 4]


def test_areas_of_parts_that_change_their_sign_do_not_overlap():
    parts = np.array([[0.02, 0.01, 0.0, 0.0], [-0.05, 0.01, 0.0, 0.0], [0.06, -0.04, 0.0, 0.0]])
    ax = plots.cumulative_attribution(attributed(parts))
    areas = [band_edges(c) for c in ax.collections if isinstance(c, PolyCollection)]
    for one, two in ((areas[0], areas[2]), (areas[1], areas[3])):
        for x in one:
            edges = sorted([one[x], two[x]])
            assert edges[0][1] <= edges[1][0] + 1e-15
    assert_allclose(stack_of(ax).sum(axis=0), ax.lines[0].get_ydata(), atol=1e-15)


@pytest.mark.parametrize("given", [None, 3, pl.DataFrame({"a": [1]})])
def test_something_else_than_an_attribution_is_refused(given):
    with pytest.raises(TypeError, match=r"^attribution is .*, expected an Attribution$"):
        plots.cumulative_attribution(given)


# Active and total risk ----------------------------------------------------------------------------


def summary_of(n, periods=None, seed=3, portfolio="fund"):
    random = np.random.default_rng(seed)
    names = ["risk", "active_risk", "specific_risk"]
    keys = {"period": range(n) if periods is None else periods, "portfolio": [portfolio] * n}
    return pl.DataFrame(keys | {name: random.random(n) for name in names})


def test_three_lines_of_risk(market):
    summary = market["risk"].summary.filter(portfolio="a")
    for given in (market["risk"], market["risk"].summary.lazy()):
        ax = plots.active_and_total(given, portfolio="a")
        names = ["risk", "active_risk", "specific_risk"]
        for line, name in zip(ax.lines, names, strict=False):
            assert_equal(line.get_ydata(), summary[name].to_numpy())
        assert legend_texts(ax) == ["risk", "active risk", "specific risk"]
        assert colours_of(ax.get_legend()) == [colour.lower() for colour in COLOURS[:3]]
        assert ax.get_ylim()[0] == 0
        assert ax.get_ylim()[1] > summary["risk"].max()


def test_unknown_risk_is_a_gap():
    frame = summary_of(4).with_columns(active_risk=pl.Series([0.1, None, math.nan, 0.2]))
    ax = plots.active_and_total(frame)
    assert_equal(ax.lines[1].get_ydata(), [0.1, np.nan, np.nan, 0.2])


def test_without_a_benchmark_there_is_no_active_risk(market):
    message = r"^risk has no column 'active_risk': give portfolio_risk a benchmark$"
    for given in (market["lazy"], summary_of(2).drop("active_risk")):
        with pytest.raises(PanelError, match=message):
            plots.active_and_total(given, portfolio="a")


# All ----------------------------------------------------------------------------------------------


def frame_for(chart, n, periods=None, portfolio="fund", names=None):
    """What a chart takes, with n periods of two factors."""
    values = parts_of(n, 2)
    if chart == "cumulative_attribution":
        return attributed(values, periods, names, portfolio=portfolio)
    if chart == "active_and_total":
        return summary_of(n, periods, portfolio=portfolio)
    column = "exposure" if chart == "exposures_over_time" else "contribution"
    return long_of(values[:, :2], periods, names, column, portfolio)


def both(chart, one, other):
    if chart != "cumulative_attribution":
        return pl.concat([one, other])
    frames = (pl.concat([getattr(a, f) for a in (one, other)]) for f in ("returns", "factors"))
    return Attribution(*frames, pl.DataFrame(), None, {})


def changed(given, change):
    if not isinstance(given, Attribution):
        return change(given)
    return Attribution(change(given.returns), change(given.factors), pl.DataFrame(), None, {})


@pytest.mark.parametrize("chart", CHARTS)
def test_any_frame_in_any_order_of_any_key_names_is_the_same(chart):
    given, draw = frame_for(chart, 5), getattr(plots, chart)
    expected = drawing(draw(given))
    new = {"period": "^month$", "portfolio": "*"}
    assert_equal(drawing(draw(changed(given, lambda frame: frame.rename(new)))), expected)
    backwards = changed(given, lambda frame: frame.sort("period", descending=True))
    assert_equal(drawing(draw(backwards)), expected)
    if chart != "cumulative_attribution":
        for other in (given.lazy(), given.to_arrow(), given.to_pandas()):
            assert_equal(drawing(draw(other)), expected)


@pytest.mark.parametrize("chart", CHARTS)
def test_given_axes_are_drawn_on(chart):
    _, given = plt.subplots()
    assert getattr(plots, chart)(frame_for(chart, 3), ax=given) is given
    with pytest.raises(TypeError, match=r"^ax is 3, expected matplotlib Axes or None$"):
        getattr(plots, chart)(frame_for(chart, 3), ax=3)


LABELS = {
    "text": (["a", "b"], pl.String),
    "Enum": (["a", "b"], pl.Enum(["b", "a"])),
    "Categorical": (["a", "b"], pl.Categorical),
    "integers": ([1, 2], pl.Int16),
    "dates": (dates(2), pl.Date),
    "hostile": (["$x$\n<b>", "_" * 200], pl.String),
}


@pytest.mark.parametrize("chart", CHARTS)
@pytest.mark.parametrize("kind", LABELS)
def test_one_of_several_portfolios(chart, kind):
    labels, dtype = LABELS[kind]
    draw = getattr(plots, chart)

    def typed(given, name):
        column = pl.lit(pl.Series([name], dtype=dtype)).first().alias("portfolio")
        return changed(given, lambda frame: frame.with_columns(column))

    one, other = frame_for(chart, 4), frame_for(chart, 2)
    pair = both(chart, typed(one, labels[0]), typed(other, labels[1]))
    for given, name in zip((one, other), labels, strict=True):
        assert_equal(drawing(draw(pair, portfolio=name)), drawing(draw(given)))
    with pytest.raises(PanelError, match=r"^\w+ has 2 portfolios, .*: name one of them as ") as e:
        draw(pair)
    assert len(str(e.value)) < 300
    for unknown in ("nope", 7, True, [labels[0]], math.nan):
        with pytest.raises(PanelError, match=r"^no such portfolio: .*; the portfolios are ") as e:
            draw(pair, portfolio=unknown)
        assert len(str(e.value)) < 300
        assert "\n" not in str(e.value)


def test_messages_list_the_portfolios_as_they_are_given():
    frame = both("", frame_for("", 1, portfolio="a"), frame_for("", 1, portfolio="b"))
    with pytest.raises(PanelError) as text:
        plots.risk_contributions(frame)
    assert str(text.value) == "risk has 2 portfolios, 'a', 'b': name one of them as portfolio"
    numbered = frame.with_columns(portfolio=(pl.col("portfolio") == "b").cast(pl.Int64))
    with pytest.raises(PanelError) as number:
        plots.risk_contributions(numbered, portfolio="a")
    assert str(number.value) == "no such portfolio: 'a'; the portfolios are 0, 1"


@pytest.mark.parametrize("chart", CHARTS)
@pytest.mark.parametrize("n", [0, 1, 2, 30])
@pytest.mark.parametrize("start", [None, dt.date(2000, 1, 1), dt.datetime(2000, 1, 1, 12)])
@pytest.mark.parametrize("null", [False, True])
def test_few_periods_and_nothing_known(chart, n, start, null):
    given = frame_for(chart, n, None if start is None else dates(n, start))
    if null:
        numbers = pl.when(False).then(pl.col(pl.Float64))
        given = changed(given, lambda frame: frame.with_columns(numbers))
    ax = getattr(plots, chart)(given)
    assert np.isfinite([*ax.get_xlim(), *ax.get_ylim()]).all()
    if null:
        assert not ax.patches
        numbers = [line.get_ydata() for line in ax.lines if len(line.get_ydata()) == n > 2]
        assert not any(np.isfinite(values).any() for values in numbers)
    if start is not None and n == 30 and chart != "risk_contributions":
        # Days since 1970: the axis is that of the periods.
        low, high = ax.get_xlim()
        assert low <= 10957.5
        assert 10986 <= high < 10990
    written(ax)


@pytest.mark.parametrize("chart", CHARTS[:3])
def test_names_of_factors(chart):
    names = ["x" * 100 + "$y$", "_a\nb <b>bold</b> & $c_1"]
    ax = getattr(plots, chart)(frame_for(chart, 3, names=names))
    texts = tick_texts(ax.yaxis) if chart == "risk_contributions" else legend_texts(ax)
    shown = {text.replace("\\$", "$") for text in texts}
    assert shown >= {as_label(name) for name in names}
    written(ax)


@pytest.mark.parametrize("chart", CHARTS)
def test_text_periods(chart):
    months = ["1/2020", "2/2020", "10/2020"]
    given = frame_for(chart, 3, months)
    use = "the last period" if chart == "risk_contributions" else "a chart over time"
    with pytest.raises(PanelError, match=rf"^{use} needs the order of time"):
        getattr(plots, chart)(given)
    in_order = pl.col("period").cast(pl.Enum(months))
    ax = getattr(plots, chart)(changed(given, lambda frame: frame.with_columns(in_order)))
    if chart == "risk_contributions":
        assert ax.get_xlabel() == "contribution to risk at 10/2020"
        assert_equal(drawing(plots.risk_contributions(given, at="10/2020")), drawing(ax))
    else:
        assert tick_texts(ax.xaxis) == months


FRAME = long_of(np.ones((2, 2)), dates(2))
P = pl.col("factor") == "f1"


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (FRAME.drop("factor"), r"column 'factor' is not in risk"),
        (FRAME.drop("contribution"), r"column 'contribution' is not in risk"),
        (FRAME.drop("portfolio"),
         r"the first two columns of risk are 'period', 'factor', expected those of the period and "
         r"the portfolio$"),
        (FRAME.select("period"), r"the first two columns of risk are 'period', expected those"),
        (pl.DataFrame(), r"the first two columns of risk are none, expected those"),
        (pl.concat([FRAME, FRAME.head(1)]),
         r"2 rows share a \('period', 'portfolio', 'factor'\) key, for example \(2000-01-01, fund, "
         r"f0\); expected one row for each"),
        (FRAME.with_columns(contribution=pl.lit("a")), r"value column 'contribution' is String"),
        (FRAME.with_columns(factor=pl.when(~P).then("factor")),
         r"factor column 'factor' is null in 2 rows"),
        (FRAME.with_columns(portfolio=pl.when(P).then("portfolio")),
         r"portfolio column 'portfolio' is null in 2 rows"),
        (FRAME.with_columns(period=pl.when(P).then("period")),
         r"period column 'period' is null in 2 rows"),
        (FRAME.with_columns(portfolio=pl.concat_list("portfolio")),
         r"portfolio column 'portfolio' is List\(String\), expected a plain type"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("lazy", [False, True])
def test_frames_refused(frame, message, lazy):
    with pytest.raises(PanelError, match=f"^{message}") as caught:
        plots.risk_contributions(frame.lazy() if lazy else frame)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("chart", "argument"),
    [("risk_contributions", "risk"), ("exposures_over_time", "exposures"),
     ("active_and_total", "risk")],
)  # fmt: skip
def test_no_frame(chart, argument):
    for given in (None, 3, [[1.0]], "risk"):
        with pytest.raises(TypeError, match=f"^{argument} is "):
            getattr(plots, chart)(given)


def test_factors_refused():
    for chart in ("exposures_over_time", "cumulative_attribution"):
        draw, given = getattr(plots, chart), frame_for(chart, 3)
        with pytest.raises(PanelError, match=r"^no such factors: 'z'; the factors are 'f0', 'f1'$"):
            draw(given, factors=["f0", "z"])
        with pytest.raises(PanelError, match=r"^no factors given; the factors are 'f0', 'f1'$"):
            draw(given, factors=[])
        with pytest.raises(TypeError, match=r"^factors holds 3, expected names of factors"):
            draw(given, factors=[3])
