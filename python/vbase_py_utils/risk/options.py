"""Arguments that the functions of risk share, and labels of periods."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import polars as pl

from vbase_py_utils.analyse.reading import Fits
from vbase_py_utils.arguments import check_number, shown
from vbase_py_utils.errors import PanelError
from vbase_py_utils.keys import label, missing_keys
from vbase_py_utils.periods.order import check_time_order

# The widest integers of Polars.
INTEGER_BITS = 128
# Names of what is not a factor in the frames of risk.
SPECIFIC, UNATTRIBUTED = "specific", "unattributed"
NOT_FACTORS = ("factor", SPECIFIC, UNATTRIBUTED)


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


def check_factors(fits: Fits) -> tuple[str, ...]:
    """Give the names of the factors of fits; raise PanelError if one means something else here."""
    factors = fits.estimated.factors
    for name in NOT_FACTORS:
        if name in factors:
            raise PanelError.taken_factor(name)
    return factors


def as_labels(argument: str, values: object, column: str, dtype: pl.DataType) -> pl.Series:
    """Make periods of the type of a column: of one label, or of several in a list or Series.

    Dates and times without a zone are local times of a column that has one. Raises PanelError for a
    label that is null, NaN or of another type.
    """
    if isinstance(values, pl.Series) and values.dtype == dtype and not missing_keys(values).any():
        return values.alias("")
    one = isinstance(values, str | bytes) or not isinstance(values, Iterable)
    # An array of no dimension cannot be listed.
    one = one or getattr(values, "ndim", 1) == 0
    given = [values] if one else list(values)  # type: ignore[call-overload]
    labels = [pl.Series("", [], dtype=dtype)]
    for value in given:
        label = _as_label(value, dtype)
        if label is None:
            raise PanelError.odd_period(argument, shown(value), column, dtype)
        labels.append(label)
    return pl.concat(labels)


def _as_label(value: object, dtype: pl.DataType) -> pl.Series | None:
    """Make a column of one label; ``None`` if it is not of this type."""
    # Polars would take True as 1, and does not survive integers of thousands of digits.
    odd = isinstance(value, bool) and dtype != pl.Boolean
    if odd or (isinstance(value, int) and value.bit_length() > INTEGER_BITS):
        return None
    try:
        # NumPy's moments keep their unit in an array.
        found = pl.Series("", np.asarray(value).reshape(1) if hasattr(value, "dtype") else [value])
        if found.dtype.is_temporal():
            label = _as_time(found, dtype)
        elif found.dtype.is_numeric() and dtype.is_temporal():
            return None
        else:
            label = pl.Series("", found.to_list(), dtype=dtype, strict=True)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
        return None
    return label if label.dtype == dtype and not missing_keys(label).any() else None


def _as_time(found: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Cast to a type in which it is the same; an answer of another type, or null, is none."""
    if isinstance(found.dtype, pl.Date | pl.Datetime) and isinstance(dtype, pl.Datetime):
        zone = found.dtype.time_zone if isinstance(found.dtype, pl.Datetime) else None
        moment = found.cast(pl.Datetime(dtype.time_unit, zone))
        if dtype.time_zone is None:
            return moment
        if zone is None:
            return moment.dt.replace_time_zone(dtype.time_zone)
        return moment.dt.convert_time_zone(dtype.time_zone)
    if isinstance(found.dtype, pl.Datetime) and found.dtype.time_zone is None and dtype == pl.Date:
        day = found.dt.date()
        return day if (day.cast(found.dtype) == found).all() else found
    return found.cast(dtype) if isinstance(dtype, type(found.dtype)) else found


def check_there(argument: str, labels: pl.Series, periods: pl.Series, column: str) -> None:
    """Raise PanelError unless all labels are among the periods."""
    absent = labels.filter(~labels.is_in(periods.implode()))
    if not absent.is_empty():
        raise PanelError.unknown_periods(argument, len(absent), label(absent), column)


def check_later(next_period: pl.Series, periods: pl.Series, column: str, use: str) -> None:
    """Raise PanelError unless the one ``next_period`` comes after all periods."""
    end = periods.drop_nulls().sort().tail(1)
    if end.is_empty():
        return
    check_time_order(pl.concat([periods.unique(), next_period]), column, use)
    both = pl.concat([end.alias(""), next_period])
    if not both.is_sorted() or both.n_unique() == 1:
        raise PanelError.not_later(label(next_period), label(end), column)
