"""Forecasts of risk against returns, and forecast covariances."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import polars as pl
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from numpy.testing import assert_allclose, assert_equal
from polars.testing import assert_series_equal

from charts import as_label, dates, drawing, legend_texts, tick_texts, wide_of, written_out
from vbase_py_utils import PanelError, bias_statistics, factor_covariance, plots
from vbase_py_utils.plots.axes import COLOURS, LIGHT_GREY
from vbase_py_utils.risk.reading import read_covariance, read_covariances

OF_BLOCKS = ["factor_volatilities", "factor_correlations"]
OF_WINDOWS = ["rolling_bias", "forecast_and_realised"]


def forecasts(n, portfolios, start=dt.date(2000, 1, 1), seed=3):
    """Returns and risk of portfolios over n days, rows in no order."""
    random = np.random.default_rng(seed)
    keys = {
        "period": [day for day in dates(n, start) for _ in portfolios],
        "portfolio": list(portfolios) * n,
    }
    risk = pl.DataFrame({**keys, "risk": random.lognormal(-4, 0.3, n * len(portfolios))})
    size = np.tile(1 + np.arange(len(portfolios)), n) / 2
    z = random.standard_normal(n * len(portfolios)) * size
    returns = risk.select("period", "portfolio", total=pl.col("risk") * z)
    return returns.sample(fraction=1, shuffle=True, seed=1), risk


def biases_of(z, window):
    return [z[i : i + window].std(ddof=1) for i in range(len(z) - window + 1)]


def covariance_of(n_periods=3, n_factors=4, seed=0, unit=0.01):
    """Blocks (T, K, K) and the frame that holds them, rows and columns in no order."""
    root = unit * np.random.default_rng(seed).standard_normal((n_periods, n_factors, n_factors))
    blocks = root @ root.swapaxes(1, 2)
    return blocks, frame_of_blocks(blocks).sample(fraction=1, shuffle=True, seed=2)


def frame_of_blocks(blocks, names=None, periods=None):
    n, k, _ = blocks.shape
    names = names or [f"f{i}" for i in range(k)]
    periods = pl.Series("period", range(n) if periods is None else periods)
    values = {name: blocks[:, :, i].ravel() for i, name in enumerate(names)}
    keys = {"period": periods.gather(np.repeat(np.arange(n), k)), "factor": names * n}
    return pl.DataFrame({**keys, **values})


def image_of(ax):
    return np.ma.filled(ax.images[0].get_array(), np.nan)


def widths(ax):
    return [bar.get_width() for bar in ax.patches]


# Windows ------------------------------------------------------------------------------------------


def test_bias_of_each_portfolio_at_the_ends_of_windows():
    returns, risk = forecasts(50, ["a", "b", "c"])
    ax = plots.rolling_bias(returns, risk, window=20, by="portfolio")
    both = returns.join(risk, on=["period", "portfolio"]).sort("period")
    for line, name in zip(ax.lines, "abc", strict=False):
        own = both.filter(portfolio=name)
        expected = biases_of((own["total"] / own["risk"]).to_numpy(), 20)
        assert_allclose(line.get_ydata(), expected, rtol=1e-12)
        assert_equal(line.get_xdata(), own["period"].to_numpy()[19:])
    assert legend_texts(ax) == ["a", "b", "c"]
    zero, one, low, high = (line.get_ydata()[0] for line in ax.lines[3:])
    assert (zero, one) == (0, 1)
    assert_allclose([low, high], [1 - math.sqrt(0.1), 1 + math.sqrt(0.1)])
    assert [line.get_linestyle() for line in ax.lines[4:]] == ["-", "--", "--"]
    assert ax.get_ylim()[0] < low
    assert ax.get_ylim()[1] > max(line.get_ydata().max() for line in ax.lines[:3])
    assert ax.get_ylabel() == "bias of 20 periods, dashed: 95 % limits"


def test_the_biases_are_those_of_bias_statistics():
    returns, risk = forecasts(30, ["a", "b"])
    ax = plots.rolling_bias(returns, risk, window=30)
    test = bias_statistics(returns, risk)
    assert_allclose(ax.lines[0].get_ydata(), test["bias"].to_numpy(), rtol=1e-12)
    limits = [line.get_ydata()[0] for line in ax.lines[-2:]]
    assert_allclose(limits, test.select("lower", "upper").row(0))


def test_of_many_lines_the_six_furthest_from_one_have_colours():
    names = [f"p{i}" for i in range(9)]
    returns, risk = forecasts(80, names)
    ax = plots.rolling_bias(returns, risk, by=["portfolio"])
    off = [np.abs(line.get_ydata() - 1).max() for line in ax.lines[:9]]
    furthest = sorted(np.argsort(off)[-6:])
    assert legend_texts(ax) == [names[i] for i in furthest] + ["3 more"]
    coloured = [i for i in range(9) if to_hex(ax.lines[i].get_color()) != LIGHT_GREY.lower()]
    assert coloured == furthest


def test_a_period_without_a_pair_is_a_gap_and_in_no_window():
    returns, risk = forecasts(12, ["a", "b"])
    lost = dt.date(2000, 1, 8)
    gone = (pl.col("portfolio") == "a") & (pl.col("period") == lost)
    returns = returns.with_columns(total=pl.when(~gone).then("total"))
    ax = plots.rolling_bias(returns, risk, window=4, by="portfolio")
    a, b = (line.get_ydata() for line in ax.lines[:2])
    assert len(a) == len(b) == 9
    assert np.flatnonzero(np.isnan(a)).tolist() == [4]
    assert np.isfinite(b).all()
    both = returns.join(risk, on=["period", "portfolio"]).drop_nulls().sort("period")
    own = both.filter(portfolio="a")
    expected = biases_of((own["total"] / own["risk"]).to_numpy(), 4)
    assert_allclose(a[np.isfinite(a)], expected, rtol=1e-12)


def test_groups_that_read_alike_have_a_line_each():
    n = 4
    keys = {"period": [*range(n)] * 2, "p": ["a, b"] * n + ["a"] * n, "q": ["c"] * n + ["b, c"] * n}
    returns = pl.DataFrame({**keys, "return": np.arange(8.0)})
    risk = pl.DataFrame({**keys, "risk": [1.0] * 8})
    ax = plots.rolling_bias(returns, risk, window=2, by=["p", "q"])
    assert legend_texts(ax) == ["a, b, c", "a, b, c (2)"]


def test_forecast_and_realised_volatility():
    returns, risk = forecasts(100, ["a"])
    ax = plots.forecast_and_realised(returns, risk)
    both = returns.join(risk, on=["period", "portfolio"]).sort("period")
    r, s = both["total"].to_numpy(), both["risk"].to_numpy()
    forecast, realised = ax.lines[:2]
    expected = [math.sqrt(np.mean(s[i : i + 63] ** 2)) for i in range(38)]
    assert_allclose(forecast.get_ydata(), expected, rtol=1e-12)
    assert_allclose(realised.get_ydata(), biases_of(r, 63), rtol=1e-10)
    assert_equal(forecast.get_xdata(), both["period"].to_numpy()[62:])
    assert legend_texts(ax) == ["forecast", "realised"]
    assert ax.get_ylim()[0] == 0
    assert ax.get_ylim()[1] > max(expected)
    assert ax.get_ylabel() == "volatility over 63 periods"


def test_arrays_and_lazy_frames():
    r, s = [0.02, -0.02, 0.03, 0.01], [0.01, 0.02, 0.01, 0.02]
    wide = pl.DataFrame({"period": range(4), "return": r})
    risk = pl.DataFrame({"period": range(4), "risk": s})
    for chart in OF_WINDOWS:
        draw = getattr(plots, chart)
        expected = drawing(draw(r, s, window=2))
        for one, other in ((wide, risk), (wide.lazy(), risk.lazy()), (wide.to_arrow(), risk)):
            assert_equal(drawing(draw(one, other, window=2))["lines"][:2], expected["lines"][:2])


@pytest.mark.parametrize("chart", OF_WINDOWS)
@pytest.mark.parametrize("n", [0, 1, 2, 40])
def test_fewer_periods_than_the_window(chart, n):
    returns, risk = forecasts(n, ["a"])
    types = {"period": pl.Date, "portfolio": pl.String}
    returns = returns.cast({**types, "total": pl.Float64})
    risk = risk.cast({**types, "risk": pl.Float64})
    ax = getattr(plots, chart)(returns, risk)
    assert np.isfinite([*ax.get_xlim(), *ax.get_ylim()]).all()
    if chart == "rolling_bias":
        assert_allclose(ax.lines[-1].get_ydata()[0], 1 + math.sqrt(2 / 63))
        assert not np.isfinite(ax.lines[0].get_ydata()).any()
        assert legend_texts(plots.rolling_bias(returns, risk, by="portfolio")) == ["a"] * (n > 0)
    else:
        assert not np.isfinite(np.concatenate([line.get_ydata() for line in ax.lines[:2]])).any()
    if n == 40:
        # Days since 1970.
        assert ax.get_xlim() == (10957, 10957 + 39)
    written_out(ax)


@pytest.mark.parametrize("unit", [1e200, 1e-200])
@pytest.mark.parametrize("chart", OF_WINDOWS)
def test_units_of_returns(chart, unit):
    returns, risk = forecasts(20, ["a"])
    scaled = [
        frame.with_columns(pl.col(column) * unit)
        for frame, column in ((returns, "total"), (risk, "risk"))
    ]
    plain = getattr(plots, chart)(returns, risk, window=5)
    ax = getattr(plots, chart)(*scaled, window=5)
    by = 1 if chart == "rolling_bias" else unit
    for i in range(1 if chart == "rolling_bias" else 2):
        assert_allclose(ax.lines[i].get_ydata(), plain.lines[i].get_ydata() * by, rtol=1e-9)


def test_returns_that_do_not_vary():
    ax = plots.forecast_and_realised([0.0] * 5, [0.1] * 5, window=3)
    assert ax.lines[1].get_ydata().tolist() == [0, 0, 0]
    assert (
        plots.rolling_bias([0.0] * 5, [0.1] * 5, window=3).lines[0].get_ydata().tolist() == [0] * 3
    )


def test_long_names_of_portfolios():
    name = "x" * 100 + "$y$"
    ax = plots.rolling_bias(*forecasts(9, [name]), window=3, by="portfolio")
    assert [text.replace("\\$", "$") for text in legend_texts(ax)] == [as_label(name)]
    written_out(ax)


RETURNS, RISK = forecasts(4, ["a", "b"])


@pytest.mark.parametrize("chart", OF_WINDOWS)
@pytest.mark.parametrize("window", [1, 2.5, None, "63", True])
def test_windows_refused(chart, window):
    error = ValueError if window in (1, 2.5) and window is not True else TypeError
    with pytest.raises(error, match=r"^window is .*, expected a whole number of periods >= 2$"):
        getattr(plots, chart)(RETURNS, RISK, window=window)


@pytest.mark.parametrize("lazy", [False, True])
def test_several_rows_in_a_period_are_no_single_series(lazy):
    frames = (RETURNS.lazy(), RISK.lazy()) if lazy else (RETURNS, RISK)
    message = (
        r"^period column 'period' repeats a period in 8 rows, for example 2000-01-01; expected one "
        r"row per period: filter to one portfolio$"
    )
    with pytest.raises(PanelError, match=message):
        plots.forecast_and_realised(*frames, window=2)


@pytest.mark.parametrize("chart", OF_WINDOWS)
def test_returns_and_risk_refused(chart):
    draw = getattr(plots, chart)
    with pytest.raises(PanelError, match=r"^risk column 'risk' is not above zero in 1 row"):
        draw([0.1, 0.2], [0.1, 0.0], window=2)
    months = [f"{month}/2020" for month in range(1, 13)]
    returns = pl.DataFrame({"period": months, "return": 0.1})
    risk = pl.DataFrame({"period": months, "risk": 0.1})
    with pytest.raises(PanelError, match=r"^a chart over time needs the order of time"):
        draw(returns, risk, window=2)
    with pytest.raises(ValueError, match="returns has 1 values and risk 2"):
        draw([0.1], [0.1, 0.2])
    with pytest.raises(TypeError, match=r"^ax is 3, expected matplotlib Axes or None$"):
        draw([0.1] * 3, [0.1] * 3, window=2, ax=3)


def test_by_refused():
    with pytest.raises(PanelError, match=r"^by column 'asset' is not in returns"):
        plots.rolling_bias(RETURNS, RISK, by="asset")
    with pytest.raises(TypeError, match=r"^by holds 3, expected names of key columns, or None$"):
        plots.rolling_bias(RETURNS, RISK, by=[3])


# Blocks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [None, 0, 1, 2])
def test_volatilities_at_a_period(at):
    blocks, frame = covariance_of()
    ax = plots.factor_volatilities(frame, at=at)
    expected = np.sqrt(np.diagonal(blocks[2 if at is None else at]))
    assert_allclose(widths(ax), expected, rtol=1e-15)
    assert tick_texts(ax.yaxis) == ["f0", "f1", "f2", "f3"]
    assert ax.get_ylim() == (3.5, -0.5)
    assert_allclose(ax.get_xlim(), (0, 1.05 * expected.max()))
    assert ax.get_xlabel() == f"volatility at {2 if at is None else at}"
    assert {to_hex(bar.get_facecolor()) for bar in ax.patches} == {COLOURS[0].lower()}


@pytest.mark.parametrize("at", [None, 1])
def test_correlations_at_a_period(at):
    blocks, frame = covariance_of()
    ax = plots.factor_correlations(frame, at=at)
    block = blocks[2 if at is None else at]
    risk = np.sqrt(np.diag(block))
    assert_allclose(image_of(ax), block / np.outer(risk, risk), rtol=1e-12)
    assert len(ax.texts) == 16
    for text in ax.texts:
        column, row = text.get_position()
        shown = float(text.get_text().replace("−", "-"))
        assert shown == pytest.approx(image_of(ax)[row, column], abs=0.0051)
    assert tick_texts(ax.xaxis) == tick_texts(ax.yaxis) == ["f0", "f1", "f2", "f3"]
    bar = ax.figure.axes[1]
    assert bar.get_ylabel() == f"correlation at {2 if at is None else at}"
    assert ax.images[0].get_clim() == (-1, 1)


def test_the_frame_of_factor_covariance():
    returns = wide_of(dates(90), 3)
    frame = factor_covariance(returns, half_life=math.inf, shrink=False)
    last = returns.head(89).drop("period").to_numpy()
    second = last.T @ last / 89
    expected = np.sqrt(np.diag(second))
    assert_allclose(widths(plots.factor_volatilities(frame)), expected, rtol=1e-10)
    ax = plots.factor_correlations(frame.lazy(), at=dates(90)[-1])
    assert_allclose(image_of(ax), second / np.outer(expected, expected), rtol=1e-10)
    assert ax.figure.axes[1].get_ylabel() == "correlation at 2000-03-30"
    # Before there is a history.
    assert not plots.factor_volatilities(frame, at=dt.date(2000, 1, 5)).patches
    early = plots.factor_correlations(frame, at=dt.date(2000, 1, 5))
    assert np.isnan(image_of(early)).all()
    assert not early.texts
    written_out(early)


@pytest.mark.parametrize("chart", OF_BLOCKS)
def test_any_frame_of_any_order_is_the_same(chart):
    blocks, frame = covariance_of()
    draw = getattr(plots, chart)
    expected = drawing(draw(frame_of_blocks(blocks)))
    names = pl.Enum(["f3", "f2", "f1", "f0"])
    for other in (
        frame,
        frame.lazy(),
        frame.to_arrow(),
        frame.to_pandas(),
        frame.with_columns(pl.col("factor").cast(names)),
        frame.with_columns(pl.col("factor").cast(pl.Categorical)),
        frame.rename({"period": "^month$"}),
        frame.select("factor", "f0", "f1", "period", "f2", "f3"),
    ):
        assert_equal(drawing(draw(other)), expected)


@pytest.mark.parametrize("chart", OF_BLOCKS)
def test_chosen_factors_in_their_order_on_given_axes(chart):
    import matplotlib.pyplot as plt

    blocks, frame = covariance_of()
    _, given = plt.subplots()
    ax = getattr(plots, chart)(frame, factors=["f2", "f0"], ax=given)
    assert ax is given
    assert isinstance(ax, Axes)
    assert tick_texts(ax.yaxis) == ["f2", "f0"]
    risk = np.sqrt(np.diag(blocks[2]))[[2, 0]]
    if chart == "factor_volatilities":
        assert_allclose(widths(ax), risk)
    else:
        assert image_of(ax)[0, 1] == pytest.approx(blocks[2, 2, 0] / risk.prod())


@pytest.mark.parametrize("chart", OF_BLOCKS)
def test_one_factor(chart):
    ax = getattr(plots, chart)(frame_of_blocks(np.array([[[0.04]]])))
    if chart == "factor_volatilities":
        assert widths(ax) == [0.2]
    else:
        assert image_of(ax).tolist() == [[1]]
    written_out(ax)


def test_unknown_and_constant_factors():
    blocks = np.array([[[0.04, np.nan, 0], [np.nan, np.nan, np.nan], [0, np.nan, 0]]])
    frame = frame_of_blocks(blocks).fill_nan(None)
    ax = plots.factor_volatilities(frame)
    assert widths(ax) == [0.2, 0]
    assert [bar.get_y() + bar.get_height() / 2 for bar in ax.patches] == [0, 2]
    ax = plots.factor_correlations(frame)
    assert_equal(image_of(ax), [[1, np.nan, np.nan]] + [[np.nan] * 3] * 2)
    assert to_hex(ax.images[0].cmap.get_bad()) == LIGHT_GREY.lower()
    assert len(ax.texts) == 1
    zero = plots.factor_volatilities(frame_of_blocks(np.zeros((1, 2, 2))))
    assert zero.get_xlim() == (0, 1)


@pytest.mark.parametrize("unit", [1e140, 1e-140])
def test_units_of_covariances(unit):
    blocks, _ = covariance_of(unit=1)
    scaled = frame_of_blocks(blocks * unit * unit)
    assert_allclose(
        widths(plots.factor_volatilities(scaled)), np.sqrt(np.diag(blocks[2])) * unit, rtol=1e-12
    )
    plain = image_of(plots.factor_correlations(frame_of_blocks(blocks)))
    assert_allclose(image_of(plots.factor_correlations(scaled)), plain, rtol=1e-12)


@pytest.mark.parametrize("chart", OF_BLOCKS)
def test_names_of_factors(chart):
    names = ["x" * 100, "$x$", "^x$", "*", "", "period ", "c0", "position"]
    blocks, _ = covariance_of(1, 8)
    ax = getattr(plots, chart)(frame_of_blocks(blocks, names))
    assert [t.replace("\\$", "$") for t in tick_texts(ax.yaxis)] == [as_label(n) for n in names]
    written_out(ax)


def test_numbers_in_the_cells_of_twelve_factors_at_most():
    assert len(plots.factor_correlations(covariance_of(1, 12)[1]).texts) == 144
    assert not plots.factor_correlations(covariance_of(1, 13)[1]).texts


@pytest.mark.parametrize("chart", OF_BLOCKS)
def test_a_frame_without_rows(chart):
    ax = getattr(plots, chart)(covariance_of()[1].clear())
    assert np.isfinite([*ax.get_xlim(), *ax.get_ylim()]).all()
    assert tick_texts(ax.yaxis) == ["f0", "f1", "f2", "f3"]
    written_out(ax)


def test_text_periods():
    blocks, _ = covariance_of(3)
    months = ["1/2020", "2/2020", "10/2020"]
    frame = frame_of_blocks(blocks, periods=months)
    for chart in OF_BLOCKS:
        with pytest.raises(PanelError, match=r"^the last period needs the order of time"):
            getattr(plots, chart)(frame)
    ax = plots.factor_volatilities(frame, at="10/2020")
    assert_allclose(widths(ax), np.sqrt(np.diag(blocks[2])))
    in_order = frame.with_columns(pl.col("period").cast(pl.Enum(months)))
    assert plots.factor_volatilities(in_order).get_xlabel() == "volatility at 10/2020"


FRAME = covariance_of()[1].sort("period", "factor")
X = pl.col("factor")


def with_cell(column, factor, value):
    cell = (factor == X) & (pl.col("period") == 1)
    return FRAME.with_columns(pl.when(cell).then(value).otherwise(column).alias(column))


@pytest.mark.parametrize(
    ("frame", "options", "message"),
    [
        (FRAME.filter(~((X == "f2") & (pl.col("period") > 0))), {"at": 1},
         r"period column 'period' has 1 period without a row for every factor, for example 1 "
         r"without 'f2'; expected 4 rows per period, as many as columns"),
        (FRAME.drop("f3"), {},
         r"factor column 'factor' names a factor that has no column in 1 row, for example 'f3' at "
         r"2; expected a row and a column for each factor"),
        (FRAME.with_columns(f4=0.1), {}, r"period column 'period' has 1 period .* without 'f4'"),
        (pl.concat([FRAME, FRAME.head(1)]), {},
         r"2 rows share a \('period', 'factor'\) key, for example \(0, f0\); expected one row"),
        (with_cell("f0", "f1", 7.0), {"at": 1},
         r"factor column 'f0' has the first of 1 pair of factors whose two covariances differ, 7 "
         r"and .* with 'f1' at 1; expected symmetric blocks"),
        (with_cell("f0", "f1", None), {"at": 1}, r".*differ, null and .* with 'f1' at 1"),
        (with_cell("f1", "f1", -0.5), {"at": 1},
         r"factor column 'f1' has the first of 1 variance below zero, -0.5 at 1; expected"),
        (FRAME, {"at": 7},
         r"at has 1 period that period column 'period' does not have, for example 7"),
        (FRAME.clear(), {"at": 7}, r"at has 1 period that period column"),
        (FRAME, {"at": "x"}, r"at is 'x', expected Int64 as in period column 'period'"),
        (FRAME, {"at": [1]}, r"at is a list, expected Int64 as in period column 'period'"),
        (FRAME, {"factors": "f9"}, r"no such factors: 'f9'; the factors are 'f0'"),
        (FRAME.drop("factor"), {}, r"factor column 'factor' is not in covariance"),
        (FRAME.drop("period"), {}, r"period column 'period' is not in covariance"),
        (FRAME.select("factor"), {}, r"period column 'period' is not in covariance"),
        (FRAME.select("period", "factor"), {}, r"covariance has no column of a factor"),
        (FRAME.with_columns(f1=pl.lit("a")), {}, r"factor column 'f1' is String, expected a num"),
        (FRAME.with_columns(factor=1), {},
         r"factor column 'factor' is Int32, expected text or an Enum: cast it first"),
        (FRAME.with_columns(factor=pl.when(X != "f1").then("factor")), {},
         r"factor column 'factor' is null in 3 rows, for example where period is 0"),
        (FRAME.with_columns(period=pl.when(X != "f1").then("period")), {},
         r"period column 'period' is null in 3 rows, for example where factor is f1"),
        (FRAME.with_columns(period=pl.concat_list("period")), {},
         r"period column 'period' is List\(Int64\), expected a plain type"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("chart", OF_BLOCKS)
@pytest.mark.parametrize("lazy", [False, True])
def test_covariances_refused(chart, frame, options, message, lazy):
    with pytest.raises(PanelError, match=f"^{message}") as caught:
        getattr(plots, chart)(frame.lazy() if lazy else frame, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("chart", OF_BLOCKS)
def test_no_frame(chart):
    with pytest.raises(TypeError, match=r"^covariance is "):
        getattr(plots, chart)([[1.0]])


def test_rounding_is_symmetric_enough_in_any_unit():
    blocks, _ = covariance_of(1, 3)
    for unit in (1, 1e-12, 1e12):
        for relative, passes in ((3e-9, True), (1e-7, False)):
            odd = blocks.copy()
            odd[0, 0, 1] += relative * math.sqrt(odd[0, 0, 0] * odd[0, 1, 1])
            frame = frame_of_blocks(odd * unit)
            if passes:
                assert len(plots.factor_correlations(frame).images) == 1
            else:
                with pytest.raises(PanelError, match="two covariances differ"):
                    plots.factor_correlations(frame)


def test_reading_every_period_and_one():
    blocks, frame = covariance_of(5, 3)
    every = read_covariances(frame)
    assert_equal(every.blocks, blocks)
    assert every.factors == ("f0", "f1", "f2")
    assert_series_equal(every.periods, pl.Series("period", range(5)))
    one = read_covariance(frame.lazy(), 3)
    assert_equal(one.blocks, blocks[3:4])
    assert one.periods.to_list() == [3]
    nothing = read_covariances(frame.clear())
    assert nothing.blocks.shape == (0, 3, 3)


def test_other_periods_are_checked_only_if_all_are_read():
    broken = with_cell("f0", "f1", 7.0)
    assert read_covariance(broken, 0).periods.to_list() == [0]
    with pytest.raises(PanelError, match="two covariances differ"):
        read_covariances(broken)


def test_a_factor_may_be_called_period():
    returns = pl.DataFrame({"day": range(20), "period": np.arange(20.0), "b": np.ones(20)})
    covariance = factor_covariance(returns, min_periods=2, period="day")
    ax = plots.factor_volatilities(covariance)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["period", "b"]
    assert "19" in ax.get_xlabel()
