"""The order of time: whether period keys sort as time, and what to suggest if they do not."""

from __future__ import annotations

import os
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import polars as pl

from vbase_py_utils.errors import PanelError
from vbase_py_utils.periods.forms import (
    CAST_CHARACTERS,
    Reading,
    all_read_as_dates,
    is_iso,
    read_dates,
    sorts_as_time,
    structures,
)
from vbase_py_utils.text import one_line

# Characters of a column's name in a message that has it twice.
NAME_CHARACTERS = 30
# Warnings point to the code outside these folders.
PACKAGE = Path(__file__).parents[1]
INSIDE = tuple(f"{folder}{os.sep}" for folder in (PACKAGE, Path(pl.__file__).parent))


@dataclass(frozen=True, slots=True)
class Disorder:
    """Why keys may not sort as time.

    ``dates``: they read as dates. ``what`` describes them, ``instead`` is the suggested fix.
    """

    dates: bool
    what: str
    instead: str


def check_time_order(keys: pl.Series, column: str, use: str) -> None:
    """Raise PanelError unless Polars sorts the keys in the order of time.

    ``keys``: periods, in any order, repeated or not; nulls are skipped. ``column``: their name in
    the user's frame. ``use``: what needs the order, as the subject of a sentence, such as "lags".
    """
    disorder = time_disorder(keys, column)
    if disorder is not None:
        raise PanelError.not_in_time_order(_named(column), use, disorder.what, disorder.instead)


def check_time_type(dtype: pl.DataType, column: str, use: str) -> None:
    """Raise PanelError if the type alone, an Enum, shows that it does not sort as time."""
    if isinstance(dtype, pl.Enum):
        check_time_order(pl.Series([], dtype=dtype), column, use)


def warn_unless_time_order(keys: pl.Series, column: str) -> None:
    """Warn once if the keys are text that reads as dates but does not sort as time."""
    message = order_warning(keys, column)
    if message is not None:
        warnings.warn(message, UserWarning, stacklevel=_level_outside())


def order_warning(keys: pl.Series, column: str) -> str | None:
    """Write the warning that rows are in the order of text, not of the dates it holds."""
    disorder = time_disorder(keys, column)
    if disorder is None or not disorder.dates:
        return None
    return (
        f"rows are in the order of period column {_named(column)}, not of time: {disorder.what}; "
        f"{disorder.instead}"
    )


def may_be_disordered(dtype: pl.DataType) -> bool:
    """Whether keys of a type may not sort as time: text of any kind."""
    return dtype in (pl.String, pl.Binary, pl.Categorical) or isinstance(dtype, pl.Enum)


def time_disorder(keys: pl.Series, column: str) -> Disorder | None:
    """Describe why periods do not sort as time; ``None`` if nothing is wrong."""
    if isinstance(keys.dtype, pl.Enum):
        return _enum_disorder(keys.dtype, column)
    if not may_be_disordered(keys.dtype):
        return None
    distinct = keys.alias("").drop_nulls().unique(maintain_order=True)
    if len(distinct) < 2:
        return None  # there is no order to be wrong
    texts = _decoded(distinct) if keys.dtype == pl.Binary else distinct.cast(pl.String)
    if sorts_as_time(texts):
        return None
    source = _source(column) + ("" if keys.dtype == pl.String else ".cast(pl.String)")
    readings = read_dates(texts)
    whole = [reading.cast for reading in readings if reading.count == len(texts) and reading.cast]
    if readings and readings[0].count == len(texts):
        spaced = texts.filter(texts != texts.str.strip_chars())
        example = texts[0] if spaced.is_empty() else spaced[0]
        what = f"text such as {_shown(example)} does not sort as time"
        return Disorder(dates=True, what=what, instead=_advice([c.format(source) for c in whole]))
    if readings or all_read_as_dates(texts):
        one, other = _unlike(texts, readings)
        what = (
            f"it mixes forms such as {_shown(one)} and {_shown(other)}, which do not sort as time"
        )
        return Disorder(dates=True, what=what, instead="write all of it in one form, and cast it")
    whole_numbers = texts.str.contains("^-?[0-9]{1,18}$").all()
    casts = [f"{source}.cast(pl.Int64)"] if whole_numbers else []
    what = f"text such as {_shown(texts[0])} does not read as dates"
    return Disorder(dates=False, what=what, instead=_advice(casts))


def _enum_disorder(dtype: pl.Enum, column: str) -> Disorder | None:
    """Trust the order of an Enum, unless its categories read as dates in another order."""
    texts = dtype.categories.alias("")
    casts: list[str] = []
    if texts.is_empty() or is_iso(texts):
        orders = [texts]
    else:
        readings = read_dates(texts)
        orders = [reading.times for reading in readings]
        casts = [r.cast for r in readings if r.count == len(texts) and r.cast]
    # Sorted text matches the order of some readings by accident, such as 31.01.24 read as 2031.
    right = all if texts.cast(pl.String).is_sorted() else any
    orders = sorted(orders, key=lambda times: times.drop_nulls().is_sorted())
    if right(times.drop_nulls().is_sorted() for times in orders) or not orders:
        return None
    known = orders[0].is_not_null()
    names, times = texts.filter(known), orders[0].filter(known)
    later = int((times < times.shift(1)).fill_null(value=False).arg_max() or 0)
    what = f"its Enum has {_shown(names[later])} after {_shown(names[later - 1])}"
    source = f"{_source(column)}.cast(pl.String)"
    return Disorder(dates=True, what=what, instead=_advice([c.format(source) for c in casts]))


def _decoded(keys: pl.Series) -> pl.Series:
    """Read bytes as text; bytes that are not UTF-8 become a character that no date has."""
    return pl.Series([key.decode("utf-8", "replace") for key in keys], dtype=pl.String)


def _unlike(texts: pl.Series, readings: list[Reading]) -> tuple[str, str]:
    """Give two texts of different forms: one that reads, if any does, and one that does not."""
    if readings:
        unread = readings[0].times.is_null()
        return texts.filter(~unread)[0], texts.filter(unread)[0]
    other = structures(texts) != structures(texts)[0]
    return texts[0], texts.filter(other)[0] if other.any() else texts[-1]


def _advice(casts: list[str]) -> str:
    if not casts or len(casts[0]) > CAST_CHARACTERS:
        return "cast it to dates, or to a pl.Enum whose order is that of time"
    start = casts[0].rpartition("(")[0]
    others = [
        cast.removeprefix(f"{start}(")[:-1] for cast in casts[1:] if cast.startswith(f"{start}(")
    ]
    return f"cast it first: {casts[0]}" + (f", or with {others[0]}" if others else "")


def _shown(text: str) -> str:
    return repr(one_line(text, 24))


def _named(column: str) -> str:
    return one_line(repr(column), NAME_CHARACTERS)


def _source(column: str) -> str:
    """Write the column as an expression."""
    name = one_line(column, NAME_CHARACTERS).replace("\\", "\\\\").replace('"', '\\"')
    return f'pl.col("{name}")'


def _level_outside() -> int:
    """Give the stack level of the nearest caller outside this library and Polars."""
    frame: FrameType | None = sys._getframe(1)
    level = 1
    while frame is not None and frame.f_code.co_filename.startswith(INSIDE):
        frame, level = frame.f_back, level + 1
    return level
