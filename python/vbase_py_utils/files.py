"""Panels and answers as parquet and csv files."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from vbase_py_utils.errors import PanelError
from vbase_py_utils.forks import check_process
from vbase_py_utils.panel import PanelSpec
from vbase_py_utils.sources import plain_frame

PARQUET, CSV = ".parquet", ".csv"

# What csv files write where a number is missing, in lower case.
MISSING = ["", "na", "n/a", "#n/a", "nan", "null", "none", ".", "-"]
DATETIME_FORMATS = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"]


def check_kind(path: Path) -> None:
    """Raise PanelError when the name does not end like a file that can be read and written."""
    if path.suffix.lower() not in (PARQUET, CSV):
        raise PanelError(f"{path} is neither a {PARQUET} nor a {CSV} file")


def read_panel(path: Path, spec: PanelSpec) -> pl.DataFrame:
    """Read the columns of ``spec``. Raises PanelError for a file or column that is of no use.

    In csv files, returns, weights and exposures are numbers, with the usual signs for a missing
    one; assets are text; periods are whole numbers, dates or times if all of them are, else text.
    """
    check_kind(path)
    if not path.is_file():
        raise PanelError(f"{path} is not a file" if path.exists() else f"{path} does not exist")
    try:
        if path.suffix.lower() == CSV:
            scan = pl.scan_csv(path, glob=False, infer_schema=False)
        else:
            scan = pl.scan_parquet(path, glob=False)
        schema = scan.collect_schema()
        spec.check_names(schema)
        panel = scan.select(pl.nth(schema.names().index(name)) for name in spec.columns).collect()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise PanelError(f"{path} cannot be read: {reason}") from error
    if path.suffix.lower() == CSV:
        keys = {spec.period: typed_periods(panel[spec.period]), spec.asset: panel[spec.asset]}
        values = {name: numbers(panel[name]) for name in panel.columns if name not in keys}
        panel = pl.DataFrame(keys | values)
    return plain_frame(panel, spec.columns)


def sink_file(query: pl.LazyFrame, path: str | Path) -> None:
    """Write a query into a file that is there whole or not at all.

    Polars' own sinks may leave a file that reads as if it were whole when the query fails. This
    one writes beside the target and renames.

    Parameters
    ----------
    query
        Any lazy frame; it is sunk, not collected, so that it need not fit in memory.
    path
        A file whose name ends in .parquet or .csv; one that exists is replaced at the end.

    Raises
    ------
    PanelError
        The name ends otherwise, is that of a directory, or its directory is not there.
    Exception
        Whatever the query raises; then there is no file, or still the one that was there.

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
    check_process()
    path = Path(path)
    check_kind(path)
    check_place(path)
    with whole_file(path) as part:
        if path.suffix.lower() == CSV:
            query.sink_csv(part)
        else:
            query.sink_parquet(part)


def check_place(path: Path) -> None:
    """Raise PanelError where no file can be written: a directory, or in none."""
    if path.is_dir():
        raise PanelError(f"{path} is a directory, expected a file to write")
    if not path.parent.is_dir():
        raise PanelError(f"{path.parent} is not a directory")


def write_answer(answer: pl.DataFrame, path: Path) -> None:
    """Write a frame into a file that is there whole or not at all."""
    with whole_file(path) as part:
        if path.suffix.lower() == CSV:
            answer.write_csv(part)
        else:
            answer.write_parquet(part)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a place beside ``path`` to write to, which is renamed if all goes well.

    A link stays one, and who may read a file that is replaced may read the new one.
    """
    path = path.resolve()
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        part = Path(folder) / path.name
        yield part
        if path.exists():
            shutil.copymode(path, part)
        part.replace(path)


def numbers(text: pl.Series) -> pl.Series:
    """Turn text into Float64, signs for a missing number into null."""
    text = text.str.strip_chars()
    text = text.set(text.str.to_lowercase().is_in(MISSING).fill_null(value=False), None)
    values = text.cast(pl.Float64, strict=False)
    bad = text.filter(values.is_null() & text.is_not_null())
    if not bad.is_empty():
        raise PanelError.no_numbers(text.name, len(bad), bad[0])
    return values


def typed_periods(text: pl.Series) -> pl.Series:
    """Turn text into whole numbers, dates or times where every one is such, else leave it."""
    whole = text.cast(pl.Int64, strict=False)
    # "007" is a label: as a number it would come back as another text.
    if (whole.cast(pl.String).eq_missing(text)).all():
        return whole
    for parsed in (
        text.str.to_date("%Y-%m-%d", strict=False),
        *(text.str.to_datetime(form, strict=False) for form in DATETIME_FORMATS),
    ):
        if parsed.null_count() == text.null_count():
            return parsed
    return text
