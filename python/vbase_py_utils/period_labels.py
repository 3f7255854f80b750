"""Columns of pandas periods, which Polars holds as their number, as the labels that pandas prints.

pandas counts periods of any frequency from 1970: 648 is 2024-01 in months, 1971-10-11 in days. The
multiple of a frequency, as in "3M", changes neither the number nor the label.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import polars as pl

from vbase_py_utils.errors import PanelError
from vbase_py_utils.text import one_line

PANDAS_PERIOD = "pandas.period"
# Labels sort as time where years have four digits.
FIRST_YEAR, LAST_YEAR = 1, 9999
# Days of 0001-01-01 and 9999-12-31, counted from 1970-01-01.
FIRST_DAY, LAST_DAY = -719_162, 2_932_896
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
DAY = "%Y-%m-%d"
# Per unit: those of a day, in which unit Polars counts it, by which factor, and its format.
CLOCK = {
    "h": (24, "ms", 3_600_000, f"{DAY} %H:00"),
    "min": (1_440, "ms", 60_000, f"{DAY} %H:%M"),
    "s": (86_400, "ms", 1_000, f"{DAY} %H:%M:%S"),
    "ms": (86_400_000, "ms", 1, f"{DAY} %H:%M:%S%.3f"),
    "us": (86_400_000_000, "us", 1, f"{DAY} %H:%M:%S%.6f"),
    "ns": (86_400_000_000_000, "ns", 1, f"{DAY} %H:%M:%S%.9f"),
}
# As pandas wrote them before its version 2.2.
FORMER = {"A": "Y", "H": "h", "T": "min", "S": "s", "L": "ms", "U": "us", "N": "ns"}
LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Frequency:
    """How periods of a kind are labelled: the numbers of the first and the last, and the text."""

    first: int
    last: int
    text: Callable[[pl.Expr], pl.Expr]


def is_period(dtype: pl.DataType) -> bool:
    """Whether a column holds pandas periods."""
    return isinstance(dtype, pl.BaseExtension) and dtype.ext_name() == PANDAS_PERIOD


def period_labels(column: pl.Expr, name: str, dtype: pl.BaseExtension) -> pl.Expr:
    """Express a column of pandas periods as labels, String, null for NaT.

    Raises PanelError, when the query runs, for years that have not four digits, and here for a
    frequency that pandas did not have when this was written.
    """
    frequency = frequency_of(name, dtype.ext_metadata())
    return column.ext.storage().map_batches(
        partial(labels_of, name=name, frequency=frequency),
        return_dtype=pl.String,
        is_elementwise=True,
    )


def labels_of(numbers: pl.Series, name: str, frequency: Frequency) -> pl.Series:
    """Give the labels of periods; each distinct one is written once."""
    distinct = numbers.unique().drop_nulls()
    outside = distinct.filter(~distinct.is_between(frequency.first, frequency.last))
    if not outside.is_empty():
        count = int(numbers.is_in(outside.implode()).sum())
        raise PanelError(
            f"column {name!r} has pandas periods outside the years {FIRST_YEAR} to {LAST_YEAR} in "
            f"{count} row{'' if count == 1 else 's'}, for example number {outside[0]}; "
            "expected years whose labels sort as time"
        )
    labels = distinct.to_frame("n").select(frequency.text(pl.col("n"))).to_series()
    return numbers.replace_strict(distinct, labels, default=None, return_dtype=pl.String)


def frequency_of(name: str, metadata: str | None) -> Frequency:
    """Read the frequency that pandas wrote beside its periods, such as '{"freq": "Q-DEC"}'."""
    try:
        written = str(json.loads(metadata or "")["freq"])
    except (ValueError, KeyError, TypeError):
        written = ""
    parts = re.fullmatch(r"\d*([A-Za-z]+)(?:-([A-Z]{3}))?", written)
    unit, anchor = (FORMER.get(parts[1], parts[1]), parts[2]) if parts else ("", None)
    if unit == "Y":
        return _by_year(1, _year)
    if unit == "Q":
        return _by_year(4, _quarter)
    if unit == "M":
        return _by_year(12, _month)
    if unit == "W" and (anchor or WEEKDAYS[0]) in WEEKDAYS:
        # Week 1 ends on the first such day from 1970-01-03 on; day 3 is a Sunday.
        end = WEEKDAYS.index(anchor or WEEKDAYS[0]) - 4
        return Frequency(_up(FIRST_DAY + 6 - end, 7), (LAST_DAY - end) // 7, partial(_week, end))
    if unit == "B":
        # 1970-01-01 is a Thursday, 0001-01-01 a Monday, 9999-12-31 a Friday.
        return Frequency(5 * (FIRST_DAY + 3) // 7 - 3, 5 * (LAST_DAY - 1) // 7 + 1, _business_day)
    if unit == "D":
        return Frequency(FIRST_DAY, LAST_DAY, _date)
    if unit in CLOCK:
        per_day = CLOCK[unit][0]
        return Frequency(
            max(FIRST_DAY * per_day, -LARGEST),
            min((LAST_DAY + 1) * per_day - 1, LARGEST),
            partial(_time, unit),
        )
    raise PanelError(
        f"column {name!r} has pandas periods of the unknown frequency {one_line(written)!r}: "
        "make it text first, with .astype(str) in pandas"
    )


def _by_year(per_year: int, text: Callable[[pl.Expr], pl.Expr]) -> Frequency:
    first, last = (per_year * (year - 1970) for year in (FIRST_YEAR, LAST_YEAR + 1))
    return Frequency(first, last - 1, text)


def _up(number: int, by: int) -> int:
    return -(-number // by)


def _digits(number: pl.Expr, width: int) -> pl.Expr:
    return number.cast(pl.String).str.zfill(width)


def _year(number: pl.Expr) -> pl.Expr:
    return _digits(number + 1970, 4)


def _quarter(number: pl.Expr) -> pl.Expr:
    year = number // 4
    return pl.concat_str(_year(year), pl.lit("Q"), number - 4 * year + 1)


def _month(number: pl.Expr) -> pl.Expr:
    year = number // 12
    return pl.concat_str(_year(year), pl.lit("-"), _digits(number - 12 * year + 1, 2))


def _week(end: int, number: pl.Expr) -> pl.Expr:
    last = 7 * number + end
    return pl.concat_str(_date(last - 6), pl.lit("/"), _date(last))


def _business_day(number: pl.Expr) -> pl.Expr:
    # Counted from Monday 1969-12-29.
    week = (number + 3) // 5
    return _date(number + 2 * week)


def _date(day: pl.Expr) -> pl.Expr:
    return day.cast(pl.Int32).cast(pl.Date).dt.strftime(DAY)


def _time(unit: str, number: pl.Expr) -> pl.Expr:
    _, counted, factor, form = CLOCK[unit]
    return (number * factor).cast(pl.Datetime(counted)).dt.strftime(form)  # type: ignore[arg-type]
