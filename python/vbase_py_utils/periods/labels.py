"""Turn pandas periods, which Polars stores as numbers, into the labels that pandas prints.

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
from vbase_py_utils.text import counted, quoted

PANDAS_PERIOD = "pandas.period"
# Labels sort in the order of time if years have four digits.
FIRST_YEAR, LAST_YEAR = 1, 9999
# Days of 0001-01-01 and 9999-12-31, counted from 1970-01-01.
FIRST_DAY, LAST_DAY = -719_162, 2_932_896
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
DAY = "%Y-%m-%d"
# For each unit: how many a day has, the unit in which Polars counts it, the factor between the two,
# and the format of the label.
CLOCK = {
    "h": (24, "ms", 3_600_000, f"{DAY} %H:00"),
    "min": (1_440, "ms", 60_000, f"{DAY} %H:%M"),
    "s": (86_400, "ms", 1_000, f"{DAY} %H:%M:%S"),
    "ms": (86_400_000, "ms", 1, f"{DAY} %H:%M:%S%.3f"),
    "us": (86_400_000_000, "us", 1, f"{DAY} %H:%M:%S%.6f"),
    "ns": (86_400_000_000_000, "ns", 1, f"{DAY} %H:%M:%S%.9f"),
}
# Names of units before pandas 2.2.
FORMER = {"A": "Y", "H": "h", "T": "min", "S": "s", "L": "ms", "U": "us", "N": "ns"}
LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Frequency:
    """How to label periods: the numbers of the first and the last, and the text of a number."""

    first: int
    last: int
    text: Callable[[pl.Expr], pl.Expr]


def is_period(dtype: pl.DataType) -> bool:
    """Whether a column holds pandas periods."""
    return isinstance(dtype, pl.BaseExtension) and dtype.ext_name() == PANDAS_PERIOD


def has_labels(dtype: pl.BaseExtension) -> bool:
    """Whether the frequency of a column of pandas periods is known."""
    return _frequency(_written(dtype.ext_metadata())) is not None


def period_labels(column: pl.Expr, name: str, dtype: pl.BaseExtension) -> pl.Expr:
    """Express a column of pandas periods as labels, String; NaT is null.

    Raises PanelError for an unknown frequency; when the query runs, for years outside 1 to 9999.
    """
    frequency = frequency_of(name, dtype.ext_metadata())
    return column.ext.storage().map_batches(
        partial(labels_of, name=name, frequency=frequency),
        return_dtype=pl.String,
        is_elementwise=True,
    )


def labels_of(numbers: pl.Series, name: str, frequency: Frequency) -> pl.Series:
    """Give the labels of periods; each distinct label is written once."""
    outside = numbers.filter(~numbers.is_between(frequency.first, frequency.last))
    if not outside.is_empty():
        # The query may pass only a part of the column.
        raise PanelError(
            f"column {quoted(name)} has pandas periods outside the years {FIRST_YEAR} to "
            f"{LAST_YEAR} in at least {counted(len(outside), 'row')}, for example "
            f"period number {outside[0]}; expected years whose labels sort in the order of time"
        )
    distinct = numbers.unique().drop_nulls()
    labels = distinct.to_frame("n").select(frequency.text(pl.col("n"))).to_series()
    return numbers.replace_strict(distinct, labels, default=None, return_dtype=pl.String)


def frequency_of(name: str, metadata: str | None) -> Frequency:
    """Read the frequency from the metadata that pandas writes, such as '{"freq": "Q-DEC"}'.

    ``name``: the column's. Raises PanelError for an unknown frequency.
    """
    written = _written(metadata)
    frequency = _frequency(written)
    if frequency is None:
        raise PanelError(
            f"column {quoted(name)} has pandas periods of the unknown frequency "
            f"{quoted(written, 40)}: turn it into text first, with .astype(str) in pandas"
        )
    return frequency


def _written(metadata: str | None) -> str:
    try:
        return str(json.loads(metadata or "")["freq"])
    except (ValueError, KeyError, TypeError):
        return ""


def _frequency(written: str) -> Frequency | None:
    parts = re.fullmatch(r"\d*([A-Za-z]+)(?:-([A-Z]{3}))?", written)
    if parts is None:
        return None
    unit, anchor = FORMER.get(parts[1], parts[1]), parts[2] or WEEKDAYS[0]
    if unit in PER_YEAR:
        per_year, text = PER_YEAR[unit]
        first, after = (per_year * (year - 1970) for year in (FIRST_YEAR, LAST_YEAR + 1))
        return Frequency(first, after - 1, text)
    if unit == "W" and anchor in WEEKDAYS:
        # Week 1 of the weeks that end on Sunday ends on day 3, 1970-01-04.
        end = WEEKDAYS.index(anchor) - 4
        # The first week that begins, and the last that ends, inside the years.
        return Frequency(-((end - 6 - FIRST_DAY) // 7), (LAST_DAY - end) // 7, partial(_week, end))
    if unit == "B":
        # 0001-01-01 is a Monday, 1970-01-01 a Thursday, 9999-12-31 a Friday.
        return Frequency(5 * (FIRST_DAY + 3) // 7 - 3, 5 * (LAST_DAY - 1) // 7 + 1, _business_day)
    if unit == "D":
        return Frequency(FIRST_DAY, LAST_DAY, _date)
    if unit in CLOCK:
        per_day = CLOCK[unit][0]
        first, last = FIRST_DAY * per_day, (LAST_DAY + 1) * per_day - 1
        return Frequency(max(first, -LARGEST), min(last, LARGEST), partial(_time, unit))
    return None


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


PER_YEAR = {"Y": (1, _year), "Q": (4, _quarter), "M": (12, _month)}


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
