"""Panels and answers as parquet and csv files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import polars.selectors as cs

from vbase_py_utils.errors import PanelError
from vbase_py_utils.frames import plain_frame
from vbase_py_utils.panel import ArrowStream, Roles, as_frame, by_position
from vbase_py_utils.periods.formats import periods_of_format
from vbase_py_utils.storage.csv_panel import read_csv_panel
from vbase_py_utils.storage.places import as_path, check_place, named, reason_of, whole_file
from vbase_py_utils.text import first_line, quoted, type_name

PARQUET, CSV, CSV_GZ = ".parquet", ".csv", ".csv.gz"
# The bytes that a parquet file begins and ends with, and those of an encrypted one.
PARQUET_MARKS = (b"PAR1", b"PARE")


def read_panel(
    path: str | Path,
    roles: Roles,
    *,
    separator: str | None = None,
    period_format: str | None = None,
) -> pl.DataFrame:
    """Read the columns of ``roles``. Raises PanelError if the file or a column cannot be used.

    In csv files, returns, weights and exposures are numbers, with the usual marks of a missing
    one; assets are text; periods are whole numbers, dates or times if all of them are, else text.
    ``separator``: the character between the fields of csv; ``None`` finds it from the header.
    ``period_format``: how text periods are written, in the notation of ``strptime``.
    """
    path = as_path(path, "--panel")
    kind = _kind_of(path)
    if kind is None:
        raise PanelError(f"{named(path)} is not a {PARQUET}, {CSV} or {CSV_GZ} file")
    try:
        if not path.is_file():
            what = "is not a file" if path.exists() else "does not exist"
            raise PanelError(f"{named(path)} {what}")
        if kind != PARQUET:
            return read_csv_panel(path, roles, separator=separator, period_format=period_format)
        panel = plain_frame(_read_parquet(path, roles), roles.columns)
    except OSError as error:
        raise PanelError(f"{named(path)} cannot be read: {reason_of(error)}") from error
    if period_format is not None:
        periods = periods_of_format(panel.get_column(roles.period), period_format)
        panel = panel.with_columns(periods.alias(roles.period))
    return panel


def _read_parquet(path: Path, roles: Roles) -> pl.DataFrame:
    """Read the columns of ``roles`` from a parquet file."""
    with path.open("rb") as file:
        marks = [file.read(4)]
        file.seek(max(-4, -path.stat().st_size), os.SEEK_END)
        marks.append(file.read(4))
    if any(mark not in PARQUET_MARKS for mark in marks):
        raise PanelError(
            f"{named(path)} cannot be read: it does not begin and end as a {PARQUET} file does"
        )
    try:
        scan = pl.scan_parquet(path, glob=False)
        schema = scan.collect_schema()
        roles.check_present(schema.names())
        column = by_position(schema.names())
        return scan.select(column[name] for name in roles.columns).collect()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise PanelError(
            f"{named(path)} cannot be read: it is damaged, or of a kind that Polars does not know "
            f"({first_line(error)})"
        ) from error


def sink_file(query: pl.DataFrame | pl.LazyFrame | ArrowStream, path: str | Path) -> None:
    """Write a frame, or the answer of a query, to a file atomically: whole or not at all.

    If a query fails, Polars' own sinks may leave a file that reads as if it were whole. This
    function writes to a temporary folder beside the target, then renames.

    Parameters
    ----------
    query
        Any frame that ``factor_returns`` takes. A LazyFrame is sunk, not collected, so that the
        answer need not fit in memory.
    path
        A file whose name ends in .parquet or .csv. A file that exists is replaced at the end; it
        keeps its permissions, and a link to it stays a link.

    Raises
    ------
    PanelError
        ``path`` has another ending, is a directory, or is in one that does not exist or is not
        writable, or a column has a type that the file cannot hold: then the query does not run.
        Or the disk is full.
    TypeError
        ``query`` is not a frame, ``path`` neither a string nor a path.
    Exception
        Whatever the query raises; then no file is written or replaced.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import polars as pl
    >>> from vbase_py_utils import sink_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "answer.parquet"
    ...     sink_file(pl.LazyFrame({"beta": [0.01, 0.02]}), file)
    ...     pl.read_parquet(file)["beta"].to_list()
    [0.01, 0.02]
    """
    frame = as_frame(query, lambda names: names, "query", others="need")
    place = check_target(path)
    csv = _kind_of(place) == CSV
    _check_types(frame.collect_schema(), csv=csv)
    with whole_file(place) as part, _dates_as_text(named(place)):
        if isinstance(frame, pl.DataFrame):
            frame.write_csv(part) if csv else frame.write_parquet(part)
        else:
            frame.sink_csv(part) if csv else frame.sink_parquet(part)


def csv_text(frame: pl.DataFrame) -> str:
    """Write a frame as csv text; raises PanelError for a column of a type that csv cannot hold."""
    _check_types(frame.schema, csv=True)
    return frame.write_csv()


def check_dates(frame: pl.DataFrame, what: str) -> None:
    """Raise PanelError, which names ``what``, for dates and times that Polars cannot write."""
    dates = frame.select(cs.date() | cs.datetime())
    # A year that Polars cannot hold is null.
    if any(column.dt.year().null_count() > column.null_count() for column in dates):
        raise _beyond_text(what)


@contextmanager
def _dates_as_text(what: str) -> Iterator[None]:
    """Raise as ``check_dates``, when the dates are written."""
    try:
        yield
    except pl.exceptions.PanicException as error:
        # Only the text of the panic shows that the cause is a date.
        if "out-of-range date" not in str(error):
            raise
        raise _beyond_text(what) from error


def _beyond_text(what: str) -> PanelError:
    return PanelError(
        f"{what} cannot be written: it holds a date or time beyond the years that text can "
        f"hold; write {PARQUET}"
    )


def check_target(path: object, argument: str = "path") -> Path:
    """Give the path of a parquet or csv file that can be written.

    Raises PanelError if the file is of another kind or cannot be written, TypeError unless ``path``
    is a string or a path.
    """
    place = as_path(path, argument)
    kind = _kind_of(place)
    if kind == CSV_GZ:
        raise PanelError(f"{named(place)}: {CSV_GZ} files can only be read, write a {CSV} file")
    if kind is None:
        raise PanelError(f"{named(place)} is neither a {PARQUET} nor a {CSV} file")
    return check_place(place, argument)


def _kind_of(path: Path) -> str | None:
    """Give the ending that shows the kind of a file, if the name has one."""
    name = path.name.lower()
    # An ending alone, such as ".csv", is the name of a hidden file.
    return next((end for end in (PARQUET, CSV, CSV_GZ) if name.endswith(end) and name != end), None)


def _check_types(schema: pl.Schema, *, csv: bool) -> None:
    """Raise PanelError for a column of a type that the file cannot hold."""
    kind, other = (CSV, PARQUET) if csv else (PARQUET, "a plain type")
    for name, dtype in schema.items():
        refused = dtype in (pl.Object, pl.Unknown)
        if csv:
            refused |= dtype.is_nested() or dtype in (pl.Binary, pl.Duration)
        if refused:
            advice = f"write {other}" if csv else "cast it first"
            raise PanelError(
                f"column {quoted(name)} is {type_name(dtype)}, "
                f"which a {kind} file cannot hold: {advice}"
            )
