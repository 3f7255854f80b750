"""How periods of every type stand along an axis."""

from __future__ import annotations

import datetime as dt
import itertools

import matplotlib.dates as mdates
import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_equal

from charts import ALONG, as_label, curves, dates, draw, frame_for, tick_texts, wide_of
from panels import PERIOD_TYPES
from vbase_py_utils import plots


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
