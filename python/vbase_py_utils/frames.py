"""Frames of Polars as users pass them; ``sources`` reads those of other libraries."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Literal, TypeAlias, TypeVar

import polars as pl

from vbase_py_utils.errors import PanelError
from vbase_py_utils.periods.labels import has_labels, is_period, period_labels
from vbase_py_utils.text import first_line

# What to do with columns that the caller does not name: drop them; offer a selector those that can
# be converted; keep these, and warn of the rest; or need all, like the named ones.
Others: TypeAlias = Literal["drop", "offer", "keep", "need"]
# Names of columns, or a function that picks them from the names of all columns of a frame.
Columns: TypeAlias = Iterable[object] | Callable[[list[str]], Iterable[object]]
F = TypeVar("F", pl.DataFrame, pl.LazyFrame)


def read_polars(
    source: pl.DataFrame | pl.LazyFrame, columns: Columns, argument: str, others: Others = "drop"
) -> pl.DataFrame | pl.LazyFrame:
    """Read a Polars frame as ``sources.read_foreign`` reads others; it keeps all columns."""
    if isinstance(source, pl.DataFrame):
        return plain_frame(source, needed_names(columns, source.columns), others)
    try:
        names = source.collect_schema().names()
    except pl.exceptions.PanicException as error:
        raise PanelError(
            f"{argument} cannot be read by Polars ({first_line(error)}): "
            "open the file as a pyarrow Dataset"
        ) from error
    return plain_frame(source, needed_names(columns, names), others)


def needed_names(columns: Columns, names: list[str]) -> list[str]:
    """List the needed columns, each once; anything but strings is skipped."""
    asked = columns(names) if callable(columns) else columns
    return list(dict.fromkeys(name for name in asked if isinstance(name, str)))


def plain_frame(frame: F, needed: Collection[str], others: Others = "drop") -> F:
    """Turn pandas periods into labels, and other needed extension types into their storage types.

    Types that store several values, such as intervals, are left for the type checks to refuse.
    """
    plain = []
    for position, (name, dtype) in enumerate(frame.collect_schema().items()):
        is_needed = others == "need" or name in needed
        # By position: Polars would read a name such as "^x$" as a pattern.
        if not isinstance(dtype, pl.BaseExtension):
            continue
        if is_period(dtype) and (is_needed or (others == "keep" and has_labels(dtype))):
            plain.append(period_labels(pl.nth(position), name, dtype).alias(name))
        elif is_needed and not dtype.ext_storage().is_nested():
            plain.append(pl.nth(position).ext.storage().alias(name))
    return frame.with_columns(plain) if plain else frame
