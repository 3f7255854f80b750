"""Convert frames of other libraries to Polars, but only the columns that the caller names.

A frame of another library may hold columns for which Polars has no type. They are harmless unless
the caller names them.
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias
from weakref import WeakSet

import polars as pl
import pyarrow as pa

from vbase_py_utils.arguments import shown
from vbase_py_utils.errors import PanelError
from vbase_py_utils.frames import Columns, Others, needed_names, plain_frame
from vbase_py_utils.text import first_line, listed, one_line, quoted, type_name

# Frames and columns of libraries that may not be installed.
Foreign: TypeAlias = Any
# Columns that a warning names, and characters of each name and type.
MOST_NAMED, WARNED_CHARACTERS = 3, 30
# Arrow types that Polars refuses, or panics at.
UNREADABLE = (
    pa.types.is_decimal256,
    pa.types.is_run_end_encoded,
    pa.types.is_union,
    pa.types.is_interval,
    pa.types.is_list_view,
    pa.types.is_large_list_view,
)
# What pyarrow and Polars raise for values for which they have no type.
REFUSALS = (
    pa.ArrowException,
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
    NotImplementedError,
    OverflowError,
    TypeError,
    ValueError,
)
# Readers that have been read: they would look like frames without rows.
ALREADY_READ: WeakSet[pa.RecordBatchReader] = WeakSet()


@dataclass(frozen=True, slots=True)
class Source:
    """A frame of another library, whose columns are converted when they are read.

    ``names``: of the columns. ``kinds``: their types, as text. ``read``: takes positions and gives
    a Polars column for each, or ``None`` if it cannot be converted. ``index``: names of the levels
    of a pandas index that may hold keys; a level without a name is ``None``.
    """

    names: list[str]
    kinds: list[str]
    read: Callable[[list[int]], list[pl.Series | None]]
    index: tuple[object, ...] = ()


def read_foreign(
    source: object, columns: Columns, argument: str, others: Others = "drop"
) -> pl.DataFrame:
    """Make a Polars frame of a frame of another library.

    ``columns``: the needed columns, keys first, or a function that picks them from all names;
    anything but strings is skipped. ``others`` decides about the columns that are not needed. If a
    needed column is missing, the answer has all names and no rows, so that the caller can report
    it. Pandas periods become labels in the needed columns and, with "keep", in the others too.

    Raises TypeError for anything but a frame. Raises PanelError if a needed column cannot be
    converted, occurs twice, or is in a pandas index. Both errors name ``argument``.
    """
    refuse_spark(source, argument)
    opened = _opened(source, argument)
    # If the index may hold the keys, no column is taken as a key because of its place.
    needed = needed_names(columns, [] if opened.index else opened.names)
    if opened.index and others == "need" and not needed:
        raise PanelError(
            f"{argument} has a pandas index that {_held(opened)} and would be lost: "
            "turn it into columns with reset_index()"
        )
    absent = [name for name in needed if name not in opened.names]
    if absent:
        _refuse_index(opened, absent, needed[:2], argument)
        return pl.DataFrame(schema=dict.fromkeys(opened.names, pl.Null))
    return plain_frame(_converted(opened, needed, argument, others), needed, others)


def refuse_spark(source: object, argument: str) -> None:
    """Raise TypeError for a Spark frame, whose rows an Arrow stream pulls to one machine."""
    if any(kind.__module__.partition(".")[0] == "pyspark" for kind in type(source).__mro__):
        raise TypeError(
            f"{argument} is a Spark {one_line(type(source).__name__)}, all of which would be "
            "pulled to one machine: if it fits there, pass frame.toArrow(); else write it as "
            "parquet and pass pl.scan_parquet(...)"
        )


def _refuse_index(opened: Source, absent: list[str], keys: list[str], argument: str) -> None:
    """Raise PanelError when a missing column seems to be in the pandas index."""
    if any(name in opened.index for name in absent) or (
        opened.index and any(name in keys for name in absent)
    ):
        columns = "column" if len(absent) == 1 else "columns"
        raise PanelError(
            f"{argument} has no {columns} {listed(absent, 2)}, but its pandas index "
            f"{_held(opened)}: turn the index into columns with reset_index()"
        )


def _held(opened: Source) -> str:
    levels = [name for name in opened.index if name is not None]
    return f"holds {listed(levels, 4)}" if levels else "has no name"


def _converted(opened: Source, needed: list[str], argument: str, others: Others) -> pl.DataFrame:
    """Convert the needed columns and, to "offer" or "keep", any other that can be converted."""
    counts = Counter(opened.names)
    required = opened.names if others == "need" else needed
    for name in required:
        if counts[name] > 1:
            raise PanelError(
                f"{argument} has {counts[name]} columns named {quoted(name)}, expected one"
            )
    wanted = opened.names if others in ("offer", "keep") else required
    positions = [i for i, name in enumerate(opened.names) if name in wanted and counts[name] == 1]
    try:
        columns = dict(zip(positions, opened.read(positions), strict=True))
    except pa.ArrowException as error:
        raise PanelError(f"{argument} cannot be read: {first_line(error)}") from error
    for position, column in columns.items():
        if column is None and opened.names[position] in required:
            raise PanelError(
                f"{argument} column {quoted(opened.names[position])} is "
                f"{type_name(opened.kinds[position])}, which cannot be converted to a "
                "Polars column: cast it to a plain type first"
            )
    if others == "keep":
        _warn_of_left_out(opened, [i for i in range(len(opened.names)) if columns.get(i) is None])
    # As a dictionary: in a list, Polars would rename a column whose name is empty.
    return pl.DataFrame(
        {
            opened.names[position]: column
            for position, column in columns.items()
            if column is not None
        }
    )


def _warn_of_left_out(opened: Source, positions: list[int]) -> None:
    if not positions:
        return
    named = [
        f"{quoted(opened.names[i], WARNED_CHARACTERS)} "
        f"({type_name(opened.kinds[i], WARNED_CHARACTERS)})"
        for i in positions[:MOST_NAMED]
    ]
    rest = len(positions) - len(named)
    warnings.warn(
        "columns that cannot be converted, or share a name, are left out of the answer: "
        f"{', '.join(named)}{f' and {rest} more' if rest else ''}",
        stacklevel=6,  # for lag_exposures and the like
    )


def _opened(source: Foreign, argument: str) -> Source:
    """List the columns of a frame of another library without converting them."""
    pandas, datasets = sys.modules.get("pandas"), sys.modules.get("pyarrow.dataset")
    if pandas is not None and isinstance(source, pandas.DataFrame):
        return _of_pandas(source)
    if datasets is not None and isinstance(source, datasets.Dataset):
        return _of_dataset(source, argument)
    if datasets is not None and isinstance(source, datasets.Scanner):
        return _of_reader(source.to_reader(), source, argument)
    if isinstance(source, pa.Table):
        return _of_arrow(source.schema, source.select)
    if hasattr(source, "__arrow_c_stream__") and not isinstance(source, pl.Series):
        try:
            return _of_reader(pa.RecordBatchReader.from_stream(source), source, argument)
        except pa.ArrowException as error:
            return _of_stream(source, argument, error)
    raise _no_frame(source, argument)


def _no_frame(source: object, argument: str) -> TypeError:
    return TypeError(
        f"{argument} is {shown(source)}, "
        "expected a Polars DataFrame or LazyFrame, or an object that exports an Arrow stream"
    )


def _of_stream(source: Foreign, argument: str, error: pa.ArrowException) -> Source:
    """Let Polars read a stream that pyarrow cannot read, one of Int128 for example."""
    try:
        frame = pl.DataFrame(source)
    except pl.exceptions.SchemaError:
        raise _no_frame(source, argument) from None
    except REFUSALS:
        raise PanelError(f"{argument} cannot be read: {first_line(error)}") from error

    def read(positions: list[int]) -> list[pl.Series | None]:
        return [frame.to_series(i) for i in positions]

    return Source(frame.columns, [str(dtype) for dtype in frame.dtypes], read)


def _of_pandas(frame: Foreign) -> Source:
    def read(positions: list[int]) -> list[pl.Series | None]:
        # Copies: pandas changes its numbers in place, and Arrow and Polars would share them.
        return [_pandas_column(frame.iloc[:, i].copy()) for i in positions]

    index = frame.index
    # An unnamed index of numbers only counts the rows.
    is_count = index.nlevels == 1 and index.name is None and index.dtype.kind in "iu"
    return Source(
        [str(name) for name in frame.columns],
        [str(dtype) for dtype in frame.dtypes],
        read,
        () if is_count else tuple(index.names),
    )


def _pandas_column(series: Foreign) -> pl.Series | None:
    """Convert a column of pandas; missing values, NaN included, are null."""
    try:
        values = pa.array(series, from_pandas=True)
    except REFUSALS:
        if getattr(series.dtype, "tz", None) is None:
            return None
        # An offset with seconds has no name in Arrow; in UTC, the instants are the same.
        values = pa.array(series.dt.tz_convert("UTC"), from_pandas=True)
    if pa.types.is_null(values.type) and series.dtype == object:
        values = values.cast(pa.large_string())
    return None if _is_unreadable(values.type) else _column(pa.table([values], names=[""]))


def _of_dataset(dataset: Foreign, argument: str) -> Source:
    names = dataset.schema.names
    for name, count in Counter(names).items():
        if count > 1:
            raise PanelError(
                f"{argument} is a pyarrow Dataset with {count} columns named {quoted(name)}, "
                "which pyarrow cannot read: rename one, or pass a Table"
            )
    return _of_arrow(
        dataset.schema,
        # Only these columns are read from the files.
        lambda positions: dataset.to_table(columns=[names[i] for i in positions]),
    )


def _of_reader(reader: pa.RecordBatchReader, source: Foreign, argument: str) -> Source:
    once = isinstance(source, pa.RecordBatchReader)
    if once and source in ALREADY_READ:
        raise PanelError(
            f"{argument} is a RecordBatchReader that has been read before and has no rows left; "
            "expected the Table that its read_all() gives, which can be used again"
        )

    def select(positions: list[int]) -> pa.Table:
        if once:
            ALREADY_READ.add(source)
        schema = pa.schema([reader.schema.field(i) for i in positions])
        return pa.Table.from_batches((batch.select(positions) for batch in reader), schema)

    return _of_arrow(reader.schema, select)


def _of_arrow(schema: pa.Schema, select: Callable[[list[int]], pa.Table]) -> Source:
    def read(positions: list[int]) -> list[pl.Series | None]:
        readable = [
            position for position in positions if not _is_unreadable(schema.field(position).type)
        ]
        table = select(readable)
        columns = {at: _column(table.select([i])) for i, at in enumerate(readable)}
        return [columns.get(i) for i in positions]

    return Source(schema.names, [str(dtype) for dtype in schema.types], read)


def _is_unreadable(dtype: pa.DataType) -> bool:
    """Whether Polars cannot hold an Arrow type, or a type inside it."""
    if any(check(dtype) for check in UNREADABLE):
        return True
    if isinstance(dtype, pa.BaseExtensionType):
        return _is_unreadable(dtype.storage_type)
    if pa.types.is_dictionary(dtype):
        return _is_unreadable(dtype.value_type)
    return any(_is_unreadable(dtype.field(i).type) for i in range(dtype.num_fields))


def _column(table: pa.Table) -> pl.Series | None:
    """Convert the one column of an Arrow table, in UTC if Polars does not know its time zone."""
    values = table.column(0)
    dtype = values.type
    try:
        if pa.types.is_timestamp(dtype):
            zone = dtype.tz if dtype.tz is None or _is_known(dtype.tz) else "UTC"
            # Polars has no unit of seconds, and turns seconds beyond its range into wrong times.
            plain = pa.timestamp("ms" if dtype.unit == "s" else dtype.unit, zone)
        elif pa.types.is_duration(dtype) and dtype.unit == "s":
            plain = pa.duration("ms")
        else:
            plain = dtype
        if plain != dtype:
            table = pa.table([values.cast(plain)], names=[""])
        return pl.DataFrame(table).to_series()
    except REFUSALS:
        return None


@lru_cache(maxsize=32)
def _is_known(zone: str) -> bool:
    try:
        pl.Series([0]).cast(pl.Datetime("us", zone))
    except pl.exceptions.PolarsError:
        return False
    return True
