"""Arguments that the functions of risk share, and labels of periods."""

from __future__ import annotations

import math
from collections.abc import Iterable

import polars as pl

from vbase_py_utils.arguments import check_number, shown
from vbase_py_utils.errors import PanelError
from vbase_py_utils.keys import label
from vbase_py_utils.periods.order import check_time_order

# The widest integers of Polars.
INTEGER_BITS = 128
# Names of what is not a factor in the frames of risk.
NOT_FACTORS = ("factor", "specific", "unattributed")


def check_half_life(name: str, value: object, *, optional: bool = False) -> None:
    """Raise TypeError or ValueError unless ``value`` is a number of periods > 0."""
    if optional and value is None:
        return
    expected = "a number of periods > 0" + (", or None" if optional else "")
    check_number(name, value, expected, at_least=math.ulp(0), at_most=math.inf)


def check_history(lags: dict[str, object], min_periods: object) -> None:
    """Raise TypeError or ValueError unless lags, by name, are fewer than ``min_periods`` >= 1."""
    check_number("min_periods", min_periods, "a whole number >= 1", at_least=1, whole=True)
    for name, value in lags.items():
        check_number(name, value, "a whole number >= 0", at_least=0, whole=True)
        if value >= min_periods:  # type: ignore[operator]
            raise ValueError(
                f"{name} is {shown(value)}, expected less than min_periods={min_periods}"
            )


def as_labels(argument: str, values: object, column: str, dtype: pl.DataType) -> pl.Series:
    """Make periods of the type of a column: of one label, or of several in a list or Series."""
    one = isinstance(values, str | bytes) or not isinstance(values, Iterable)
    given = [values] if one else list(values)  # type: ignore[call-overload]
    for value in given:
        # Polars would take True as 1, and does not survive integers of thousands of digits.
        odd = isinstance(value, bool) and dtype != pl.Boolean
        if value is None or odd or (isinstance(value, int) and value.bit_length() > INTEGER_BITS):
            raise PanelError.odd_period(argument, shown(value), column, dtype)
    try:
        labels = pl.Series("", given, dtype=dtype, strict=True)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
        example = shown(given[0]) if given else "empty"
        raise PanelError.odd_period(argument, example, column, dtype) from None
    return labels


def check_there(argument: str, labels: pl.Series, periods: pl.Series, column: str) -> None:
    """Raise PanelError unless all labels are among the periods."""
    absent = labels.filter(~labels.is_in(periods.implode()))
    if not absent.is_empty():
        raise PanelError.unknown_periods(argument, len(absent), label(absent), column)


def check_later(next_period: pl.Series, periods: pl.Series, column: str, use: str) -> None:
    """Raise PanelError unless the one ``next_period`` comes after all periods."""
    last = periods.max()
    if last is None:
        return
    end = periods.filter(periods == last).head(1)
    check_time_order(pl.concat([periods.unique(), next_period]), column, use)
    if not (next_period > end).all():
        raise PanelError.not_later(label(next_period), label(end), column)
