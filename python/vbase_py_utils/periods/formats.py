"""Periods as text in files: read dates, times and months, and write them back readably."""

from __future__ import annotations

import re

import polars as pl

from vbase_py_utils.errors import PanelError
from vbase_py_utils.text import counted, first_line, quoted, type_name

DATETIME_FORMATS = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"]
DIRECTIVE = re.compile(r"%[-_0.:#]?[0-9]?([A-Za-z+%])")
# Directives of strptime that give a year, month, day or time of day, and those of week numbers.
YEAR, MONTH, DAY = set("YyGgFDxcsv+"), set("mbBhjFDxcsv+"), set("dejFDxcsv+")
TIME, WEEK, WEEKDAY = set("HIklMSTRXrfczs+"), set("GgVUW"), set("uwaA")
QUARTER = set("Qq")
# How to read a format without a day: text and directives to append for the first day, and a format
# of labels that sort in the order of time.
MONTHS, YEARS, WEEKS = (" 1", " %d", "%Y-%m"), (" 1 1", " %m %d", "%Y"), (" 1", " %u", "%G-W%V")
ARGUMENT = "--period-format"
NO_QUARTERS = "no format reads quarters: write them as 2024Q1, which needs no format"


def typed_periods(text: pl.Series) -> pl.Series:
    """Turn text into whole numbers, dates or times if all of it can be; else leave it."""
    whole = text.cast(pl.Int64, strict=False)
    # "007" is a label: as a number it would lose its zeros.
    if (whole.cast(pl.String).eq_missing(text)).all():
        return whole
    for parsed in (
        text.str.to_date("%Y-%m-%d", strict=False),
        *(text.str.to_datetime(form, strict=False) for form in DATETIME_FORMATS),
    ):
        if parsed.null_count() == text.null_count():
            return parsed
    return text


def periods_of_format(keys: pl.Series, form: str) -> pl.Series:
    """Turn text or whole numbers into dates or times, or into labels if the format has no day.

    Months become text such as 2024-01, weeks 2024-W05, years 2024. Raises PanelError for a format
    without a year, and for periods that do not match the format.
    """
    text = _as_text(keys)
    extra, directives, shown = _completed(form)
    used = _directives(form)
    try:
        texts = text.str.strip_chars() + extra
        if used & TIME:
            parsed = texts.str.to_datetime(form + directives, strict=False)
        else:
            parsed = texts.str.to_date(form + directives, strict=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, ValueError) as error:
        reason = first_line(error).removeprefix("Invalid format string: ")
        raise PanelError(f"{_named(form)} cannot be used: {reason}") from error
    bad = text.filter(parsed.is_null() & text.is_not_null())
    if not bad.is_empty():
        quarters = f"; {NO_QUARTERS}" if re.search("[Qq][1-4]|[1-4][Qq]", bad[0]) else ""
        raise PanelError(
            f"period column {_short(keys.name)} does not match {_named(form)} in "
            f"{counted(len(bad), 'row')}, for example {_short(bad[0])}{quarters}"
        )
    return parsed if shown is None else parsed.dt.strftime(shown)


def check_format(form: str) -> None:
    """Raise PanelError for a format that cannot describe periods."""
    used = _directives(form)
    if used & QUARTER:
        raise PanelError(f"{_named(form)} cannot be used: {NO_QUARTERS}")
    if not used & YEAR:
        raise PanelError(f"{_named(form)} has no year, expected a format such as '%m/%d/%Y'")


def readable(periods: pl.Series) -> pl.Series:
    """Write times as dates if all are midnight, else drop fractions of seconds if all are zero."""
    if periods.dtype != pl.Datetime or periods.null_count() == len(periods):
        return periods
    local = periods.dt.replace_time_zone(None)
    micro = local.dt.cast_time_unit("us").to_physical()
    if (local.dt.date().cast(local.dtype) == local).all():
        return local.dt.date()
    if (micro % 1_000_000 == 0).all() and (local.dt.nanosecond() == 0).all():
        zone = "" if periods.dtype.time_zone is None else "%:z"  # type: ignore[attr-defined]
        return periods.dt.strftime(f"%Y-%m-%dT%H:%M:%S{zone}")
    return periods


def _as_text(keys: pl.Series) -> pl.Series:
    if not (
        keys.dtype in (pl.String, pl.Categorical)
        or isinstance(keys.dtype, pl.Enum)
        or keys.dtype.is_integer()
    ):
        raise PanelError(
            f"period column {_short(keys.name)} is {type_name(keys.dtype)}, "
            f"expected text with {ARGUMENT}"
        )
    return keys.cast(pl.String)


def _completed(form: str) -> tuple[str, str, str | None]:
    """Give the text and the directives that complete a date, and the format of its label."""
    check_format(form)
    used = _directives(form)
    if used & DAY or used & TIME:
        return "", "", None
    if used & MONTH:
        return MONTHS
    if used & WEEK:
        return ("", "", None) if used & WEEKDAY else WEEKS
    return YEARS


def _directives(form: str) -> set[str]:
    return set(DIRECTIVE.findall(form))


def _named(form: str) -> str:
    return f"{ARGUMENT} {_short(form)}"


def _short(text: str) -> str:
    return quoted(text, 40)
