"""Periods read by a format of strptime, and as a person reads them in the answer."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from vbase_py_utils import PanelError
from vbase_py_utils.periods.formats import check_format, periods_of_format, readable

DAYS = [date(y, m, monthrange(y, m)[1]) for y in (1999, 2000, 2023) for m in range(1, 13)]
DAY_FORMATS = ["%m/%d/%Y", "%d.%m.%Y", "%d-%b-%y", "%B %d, %Y", "%Y%m%d", "%j/%Y", "%d%m%y", "%D"]
MONTH_FORMATS = ["%m/%Y", "%b-%y", "%B %Y", "%m%Y", "%Y-%m", "%y%m"]


@pytest.mark.parametrize("form", DAY_FORMATS)
def test_dates_come_back(form):
    texts = pl.Series("p", [day.strftime(form) for day in DAYS] + [None])
    assert periods_of_format(texts, form).to_list() == [*DAYS, None]


@pytest.mark.parametrize("form", MONTH_FORMATS)
def test_months_become_text_that_sorts_as_time(form):
    texts = pl.Series("p", [day.strftime(form) for day in reversed(DAYS)])
    answer = periods_of_format(texts, form)
    assert answer.to_list() == [day.isoformat()[:7] for day in reversed(DAYS)]
    assert answer.sort().to_list() == [day.isoformat()[:7] for day in DAYS]


def test_times_weeks_and_years():
    times = pl.Series("p", ["31.01.2024 14:30", " 01.02.2024 09:05 "])
    assert periods_of_format(times, "%d.%m.%Y %H:%M").to_list() == [
        datetime(2024, 1, 31, 14, 30),
        datetime(2024, 2, 1, 9, 5),
    ]
    weeks = [date(2020, 12, 28) + timedelta(weeks=i) for i in range(60)]
    texts = pl.Series("p", [day.strftime("W%V/%G") for day in weeks])
    assert periods_of_format(texts, "W%V/%G").to_list() == [day.strftime("%G-W%V") for day in weeks]
    assert periods_of_format(pl.Series("p", ["99", "01"]), "%y").to_list() == ["1999", "2001"]


def test_whole_numbers_and_categories_are_read_as_their_text():
    assert periods_of_format(pl.Series("p", [20240131]), "%Y%m%d").to_list() == [date(2024, 1, 31)]
    text = pl.Series("p", ["1/2024"])
    for dtype in (pl.Categorical, pl.Enum(["1/2024"])):
        assert periods_of_format(text.cast(dtype), "%m/%Y").to_list() == ["2024-01"]


@pytest.mark.parametrize(
    ("values", "form", "message"),
    [
        (
            ["01/31/2024", "2024-13", "x\ny"],
            "%m/%d/%Y",
            "period column 'p' does not match --period-format '%m/%d/%Y' in 2 rows, "
            "for example '2024-13'",
        ),
        (
            ["1Q24"],
            "%m/%Y",
            "period column 'p' does not match --period-format '%m/%Y' in 1 row, "
            "for example '1Q24'; "
            "no format reads quarters: write them as 2024Q1, which needs no format",
        ),
        (
            ["02/30/2024"],
            "%m/%d/%Y",
            "period column 'p' does not match --period-format '%m/%d/%Y' in 1 row, "
            "for example '02/30/2024'",
        ),
        (
            ["2024-01-31 10"],
            "%Y-%m-%d %H",
            "--period-format '%Y-%m-%d %H' cannot be used: "
            "Please either specify both hour and minute, or neither.",
        ),
        (
            [date(2024, 1, 31)],
            "%m/%d/%Y",
            "period column 'p' is Date, expected text with --period-format",
        ),
        (
            [1.5],
            "%Y",
            "period column 'p' is Float64, expected text with --period-format",
        ),
    ],
)
def test_what_is_not_of_the_format(values, form, message):
    with pytest.raises(PanelError) as caught:
        periods_of_format(pl.Series("p", values), form)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "form", ["", "abc", "%", "%m/%d", "%d.%m.", "%%Y", "Y", "%H:%M", "\n" * 99]
)
def test_a_format_without_a_year_is_refused(form):
    with pytest.raises(
        PanelError, match=r"has no year, expected a format such as '%m/%d/%Y'$"
    ) as e:
        check_format(form)
    assert str(e.value).isprintable()


@pytest.mark.parametrize("form", ["%YQ%q", "%Y-Q%Q"])
def test_quarters_have_no_format(form):
    with pytest.raises(PanelError, match="no format reads quarters: write them as 2024Q1"):
        check_format(form)


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_times_as_a_person_reads_them(unit):
    days = pl.Series("p", [datetime(2024, 1, 31), None, datetime(1960, 2, 29)])
    days = days.cast(pl.Datetime(unit))
    assert readable(days).to_list() == [date(2024, 1, 31), None, date(1960, 2, 29)]
    seconds = pl.Series("p", [datetime(2024, 1, 31), datetime(1960, 2, 29, 9, 30, 1)])
    seconds = seconds.cast(pl.Datetime(unit))
    assert readable(seconds).to_list() == ["2024-01-31T00:00:00", "1960-02-29T09:30:01"]
    parts = pl.Series("p", [datetime(2024, 1, 31, 0, 0, 0, 500_000)]).cast(pl.Datetime(unit))
    assert readable(parts).equals(parts)


def test_times_of_a_zone_keep_its_offset():
    zoned = pl.Series("p", [datetime(2024, 7, 1, 12, tzinfo=UTC)]).dt.convert_time_zone(
        "Europe/Vienna"
    )
    assert readable(zoned).to_list() == ["2024-07-01T14:00:00+02:00"]


@pytest.mark.parametrize(
    "keys", [pl.Series("p", [1, 2]), pl.Series("p", ["a"]), pl.Series("p", [])]
)
def test_other_periods_stay(keys):
    assert readable(keys).equals(keys)
