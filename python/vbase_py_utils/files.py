"""Panels and answers as parquet and csv files."""

from __future__ import annotations

import tempfile
from pathlib import Path

import polars as pl

from vbase_py_utils.errors import PanelError
from vbase_py_utils.panel import PanelSpec

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
    return panel


def write_answer(answer: pl.DataFrame, path: Path) -> None:
    """Write beside the target and rename, so that the file is there whole or not at all."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        part = Path(folder) / path.name
        if path.suffix.lower() == CSV:
            answer.write_csv(part)
        else:
            answer.write_parquet(part)
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
