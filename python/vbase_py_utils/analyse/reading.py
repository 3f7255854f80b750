"""Read frames of factor returns and fits: check them, and give their keys our names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import polars as pl

from vbase_py_utils.arguments import check_name, shown
from vbase_py_utils.errors import PanelError
from vbase_py_utils.fit.results import CrossSectionFits
from vbase_py_utils.fit.schema import FACTOR
from vbase_py_utils.forks import check_process
from vbase_py_utils.kernel.losses import FloatArray
from vbase_py_utils.keys import ASSET, PERIOD, check_key_type, increases, label, missing_keys
from vbase_py_utils.panel import ArrowStream, as_frame, by_position, holds_numbers
from vbase_py_utils.periods.order import check_time_order

Fits: TypeAlias = CrossSectionFits[pl.DataFrame] | CrossSectionFits[pl.LazyFrame]
# A row per period and a column per factor, or fits, which have such a frame.
FactorReturns: TypeAlias = pl.DataFrame | pl.LazyFrame | ArrowStream | Fits


def read_factor_returns(
    factor_returns: FactorReturns,
    period: str | None,
    use: str | None = None,
    argument: str = "factor_returns",
) -> tuple[pl.Series, dict[str, pl.Series]]:
    """Collect the periods and the values of each factor, both in the order of the periods.

    ``period``: as for ``key_column``. ``use``: what needs the order of time, for the message, if
    anything does. ``argument``: what messages call the frame. Raises as ``fama_macbeth`` unless
    there is one row of numbers per period.
    """
    check_process()
    if isinstance(factor_returns, CrossSectionFits):
        frame: pl.DataFrame | pl.LazyFrame = factor_returns.factor_returns
        period = own_key(PERIOD, period, factor_returns.estimated.period)
    else:
        frame = as_frame(
            factor_returns,
            lambda names: [key_column(PERIOD, period, names, 0)],
            argument,
            others="need",
        )
    wide = frame.lazy().collect()
    if not wide.columns:
        raise PanelError.not_wide({})
    period = key_column(PERIOD, period, wide.columns, 0)
    if period not in wide.columns:
        raise PanelError.missing_columns("period", [period], wide.columns, "the factor returns")
    # Under names of our own: Polars would read a name such as "^x$" as a pattern.
    factors = {column.name: column.alias(FACTOR) for column in wide.get_columns()}
    keys = factors.pop(period).alias(PERIOD)
    odd = {name: v.dtype for name, v in factors.items() if not holds_numbers(v.dtype)}
    if odd or not factors:
        raise PanelError.not_wide(odd)
    check_key_type("period", period, keys.dtype)
    missing = missing_keys(keys).arg_true()
    if not missing.is_empty():
        name, values = next(iter(factors.items()))
        example = f"{name} is {values[missing[0]]}"
        raise PanelError.missing_keys("period", period, len(missing), example)
    repeats = keys.filter(keys.is_duplicated())
    if not repeats.is_empty():
        raise PanelError.repeated_periods(period, len(repeats), label(repeats))
    if use is not None:
        check_time_order(keys, period, use)
    order = keys.arg_sort()
    return keys.gather(order), {name: values.gather(order) for name, values in factors.items()}


def key_column(key: str, name: str | None, columns: Sequence[str], position: int) -> str:
    """Name the column of a key: ``name``, else one called ``key``, else that at ``position``."""
    if name is not None:
        return check_name(key, name)
    return key if key in columns or position >= len(columns) else columns[position]


def own_key(key: str, name: str | None, own: str) -> str:
    """Give the key column of the fits; raise ValueError if the user named another column."""
    if name is not None and check_name(key, name) != own:
        raise ValueError(
            f"{key}={shown(name)} does not match the fits, whose {key} column is {shown(own)}; "
            "drop the argument"
        )
    return own


AnyFrame: TypeAlias = pl.DataFrame | pl.LazyFrame | ArrowStream


def read_table(
    source: AnyFrame | Fits,
    frame: str,
    asked: Mapping[str, str | None],
    values: Sequence[str],
    use: str | None = None,
    *,
    optional: Sequence[str] = (),
    may_repeat: bool = False,
) -> pl.DataFrame:
    """Collect a frame of the fits, or one like it: keys under our names, values as Float64.

    ``asked``: maps our names of the keys to names in the frame, the period first if there is one;
    ``None`` is resolved by ``key_column``. ``optional``: values that are null if the frame has no
    such column. ``may_repeat``: the caller looks for keys that repeat. ``use``: what needs the
    order of time, for the message, if anything does. Raises PanelError for a missing column, values
    that are not numbers, and keys that are missing or repeat.
    """
    check_process()

    def keys_in(names: list[str]) -> dict[str, str]:
        # In a frame without the key, a value column may be at its position.
        others = [name for name in names if name not in (*values, *optional)]
        return {
            key: key_column(key, name, others, position)
            for position, (key, name) in enumerate(asked.items())
        }

    if isinstance(source, CrossSectionFits):
        given = getattr(source, frame)
        own = {PERIOD: source.estimated.period, ASSET: source.estimated.asset}
        keys = {key: own_key(key, name, own.get(key, key)) for key, name in asked.items()}
    else:
        there = [*values, *optional]

        def needed(names: list[str]) -> list[str]:
            return [*keys_in(names).values(), *(name for name in there if name in names)]

        given = as_frame(source, needed, frame)
        keys = keys_in(given.collect_schema().names())
    schema = given.collect_schema()
    absent = [name for name in optional if name not in schema]
    values = [*values, *(name for name in optional if name in schema)]
    columns = [*keys.values(), *values]
    missing = [name for name in columns if name not in schema]
    if missing:
        raise PanelError.missing_columns("", missing, schema.names(), frame)
    for name in values:
        if not holds_numbers(schema[name]):
            raise PanelError.not_numeric("value", name, schema[name])
    for role, name in keys.items():
        check_key_type(role, name, schema[name])
    column_of = by_position(schema.names())
    inner = zip([*keys, *values], columns, strict=True)
    chosen = (column_of[column].alias(name) for name, column in inner)
    table: pl.DataFrame = given.lazy().select(chosen).collect()
    _check_keys(table, keys, may_repeat=may_repeat)
    if use is not None:
        check_time_order(table[PERIOD], keys[PERIOD], use)
    numbers = pl.col(values).cast(pl.Float64)
    nothing = (pl.lit(None, pl.Float64).alias(name) for name in absent)
    return table.with_columns(pl.when(numbers.is_finite()).then(numbers), *nothing)


def _check_keys(table: pl.DataFrame, keys: Mapping[str, str], *, may_repeat: bool) -> None:
    """Raise PanelError for keys that are missing or repeat; ``keys``: our names to the user's."""
    for role, column in keys.items():
        absent = missing_keys(table[role])
        if absent.any():
            row = table.filter(absent).select(pl.exclude(role)).head(1)
            example = ", ".join(f"{name} is {label(row[name])}" for name in row.columns)
            raise PanelError.missing_keys(role, column, int(absent.sum()), example)
    if may_repeat or increases(table, *keys):
        return
    repeats = table.filter(table.select(*keys).is_duplicated())
    if not repeats.is_empty():
        example = ", ".join(label(repeats[role]) for role in keys)
        raise PanelError.repeated_keys(list(keys.values()), repeats.height, example)


def floats(values: pl.Series) -> FloatArray:
    """Turn numbers into an array, NaN where they are missing or infinite."""
    array = values.cast(pl.Float64).to_numpy().copy()
    array[~np.isfinite(array)] = np.nan
    return array
