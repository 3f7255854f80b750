"""Panels in csv files: find the separator and the header, read the rows, and name what is wrong."""

from __future__ import annotations

import csv
import gzip
import itertools
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import polars as pl
import pyarrow as pa
import pyarrow.csv as arrow_csv

from vbase_py_utils.errors import PanelError
from vbase_py_utils.panel import Roles
from vbase_py_utils.periods.formats import periods_of_format, typed_periods
from vbase_py_utils.storage.places import named
from vbase_py_utils.text import counted, first_line, one_line, quoted

# How csv files mark a missing number, in lower case.
MISSING = ["", "na", "n/a", "#n/a", "nan", "null", "none", ".", "-"]
# Separators that are found from the header, and others that a message proposes.
FOUND, PROPOSED = (",", ";", "\t"), ("|", ":", "^", "~", " ")
# The longest line that is read, in bytes.
LONGEST_LINE = 1 << 24
EXAMPLE_CHARACTERS = 40
GZIP, UTF_16 = b"\x1f\x8b", (b"\xff\xfe", b"\xfe\xff")
DECIMAL_COMMA = r"^[-+]?[0-9]*,[0-9]+([eE][-+]?[0-9]+)?$"


@dataclass(frozen=True, slots=True)
class Header:
    """The names of the columns as written, the separator, and how many lines the header takes."""

    names: list[str]
    separator: str
    n_lines: int


def read_csv_panel(
    path: Path, roles: Roles, *, separator: str | None, period_format: str | None
) -> pl.DataFrame:
    """Read the columns of ``roles`` as keys and numbers; see ``read_panel``.

    Raises PanelError that names the fault and its line, OSError if the system refuses.
    """
    try:
        with _opened(path) as file:
            header = _read_header(file, path, roles, separator)
            table = _read_rows(file, path, header, roles.columns)
    except (EOFError, zlib.error) as error:
        raise _unreadable(path, "its gzip data is damaged or cut short") from error
    texts = {name: table.get_column(name) for name in roles.columns}
    keys = {name: text.set(text == "", None) for name, text in texts.items()}
    period = keys[roles.period]
    columns = {
        roles.period: typed_periods(period)
        if period_format is None
        else periods_of_format(period, period_format),
        roles.asset: keys[roles.asset],
    }
    return pl.DataFrame(
        {name: columns[name] if name in columns else numbers(texts[name]) for name in texts}
    )


def numbers(text: pl.Series) -> pl.Series:
    """Turn text into Float64, and marks of a missing number into null."""
    text = text.str.strip_chars()
    text = text.set(text.str.to_lowercase().is_in(MISSING).fill_null(value=False), None)
    values = text.cast(pl.Float64, strict=False)
    bad = text.filter(values.is_null() & text.is_not_null())
    if not bad.is_empty():
        raise _no_numbers(text.name, bad)
    return values


def _no_numbers(name: str, bad: pl.Series) -> PanelError:
    column, commas = quoted(name), bad.filter(bad.str.contains(DECIMAL_COMMA))
    if not commas.is_empty():
        example = commas[0]
        point = example.replace(",", ".")
        return PanelError(
            f"column {column} has a decimal comma in {counted(len(commas), 'row')}, for example "
            f"{quoted(example, EXAMPLE_CHARACTERS)}; expected a decimal point, {one_line(point)}"
        )
    repeats = int((bad == name.strip()).sum())
    if repeats:
        return PanelError(
            f"column {column} holds its own name in {counted(repeats, 'row')}: "
            "the header is repeated, expected it only at the top of the file"
        )
    return PanelError.no_numbers(name, len(bad), one_line(bad[0], EXAMPLE_CHARACTERS))


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file to read bytes: unpack gzip, and skip a byte order mark."""
    with ExitStack() as stack:
        raw = stack.enter_context(path.open("rb"))
        packed = raw.read(2) == GZIP
        raw.seek(0)
        if path.suffix.lower() == ".gz" and not packed:
            raise _unreadable(path, "it is not a gzip file, although its name ends in .gz")
        file = cast("BinaryIO", stack.enter_context(gzip.open(raw))) if packed else raw
        start = file.read(3)
        if start[:2] in UTF_16:
            raise _unreadable(path, "it is UTF-16, expected UTF-8")
        if start != b"\xef\xbb\xbf":
            file.seek(0)
        yield file


def _read_header(file: BinaryIO, path: Path, roles: Roles, separator: str | None) -> Header:
    """Read the names of the columns from the first line that is not blank, and check them."""
    text, n_lines = "", 0
    while not text.strip() or text.count('"') % 2:
        line = file.readline(LONGEST_LINE)
        if not line:
            open_quote = "a quote in its header is never closed"
            raise _unreadable(path, open_quote if text.strip() else "it is empty")
        if len(line) == LONGEST_LINE or len(text) > LONGEST_LINE:
            raise _unreadable(path, f"its header is longer than {LONGEST_LINE >> 20} MB")
        n_lines += 1
        text = text if text.strip() else ""
        text += _decoded(line, path, n_lines)
    if "\r" in text.removesuffix("\n").removesuffix("\r"):
        raise _unreadable(path, "its lines end in carriage returns without line feeds")
    if "\0" in text:
        raise _unreadable(path, "its header has NUL characters, expected text")
    separator = separator or _separator(text, path, roles.columns)
    names = _fields(text, separator, path)
    try:
        roles.check_present(names)
    except PanelError:
        others = [s for s in (*FOUND, *PROPOSED) if _has_all(text, s, path, roles.columns)]
        if others:
            raise _separated(path, others[0], f"not {separator!r}") from None
        raise
    for name in roles.columns:
        if names.count(name) > 1:
            raise PanelError(
                f"{quoted(name)} stands {names.count(name)} times in the header of "
                f"{named(path)}, expected once"
            )
    return Header(names, separator, n_lines)


def _separator(text: str, path: Path, wanted: list[str]) -> str:
    """Find the separator with which the header has all wanted columns."""
    found = [separator for separator in FOUND if _has_all(text, separator, path, wanted)]
    if len(found) > 1:
        raise PanelError(
            f"{named(path)} has the columns with the separator {found[0]!r} and with {found[1]!r}: "
            "choose one with --separator"
        )
    # If there is none, a message lists the columns, so take the separator that gives most of them.
    return found[0] if found else max(FOUND, key=lambda s: len(_fields(text, s, path)))


def _has_all(text: str, separator: str, path: Path, wanted: list[str]) -> bool:
    return set(wanted) <= set(_fields(text, separator, path))


def _separated(path: Path, separator: str, but: str) -> PanelError:
    return PanelError(
        f"the columns of {named(path)} are separated by {separator!r}, {but}: "
        f"give --separator {'tab' if separator == chr(9) else repr(separator)}"
    )


def _fields(text: str, separator: str, path: Path) -> list[str]:
    try:
        return next(csv.reader([text], delimiter=separator))
    except csv.Error as error:
        raise _unreadable(path, f"its header {_not_csv(error)}") from error


def _read_rows(file: BinaryIO, path: Path, header: Header, wanted: list[str]) -> pl.DataFrame:
    """Read the wanted columns as text, and skip blank lines."""
    inner = {f"c{header.names.index(name)}": name for name in wanted}
    try:
        table = _parse(file, header, list(inner), skip_blank=False)
    except pa.ArrowInvalid as error:
        if "Empty CSV" in str(error):
            return pl.DataFrame(schema=dict.fromkeys(wanted, pl.String))
        with _opened(path) as again:
            fault = _fault(again, path, header)
        if fault is not None:
            raise fault from error
        table = _parse_again(path, header, list(inner))
    frame = cast("pl.DataFrame", pl.from_arrow(table))
    return frame.rename(inner)


def _parse_again(path: Path, header: Header, columns: list[str]) -> pa.Table:
    """Parse a file again, skipping lines of blanks, its only ragged lines."""
    try:
        with _opened(path) as file:
            for _ in range(header.n_lines):
                file.readline()
            return _parse(file, header, columns, skip_blank=True)
    except pa.ArrowInvalid as error:
        if "straddling" in str(error):
            raise _unreadable(
                path, f"one of its lines is longer than {LONGEST_LINE >> 20} MB"
            ) from error
        raise _unreadable(path, first_line(error)) from error


def _parse(file: BinaryIO, header: Header, columns: list[str], *, skip_blank: bool) -> pa.Table:
    """Parse the lines below the header as text; raises ArrowInvalid.

    Empty lines are skipped; ``skip_blank`` also skips lines of blanks. Use it only if no other line
    is ragged: Arrow would print a complaint about a ragged line that Python cannot decode.
    """

    def handle(row: arrow_csv.InvalidRow) -> str:
        return "error" if row.text.strip() else "skip"

    return arrow_csv.read_csv(
        file,
        arrow_csv.ReadOptions(
            column_names=[f"c{i}" for i in range(len(header.names))],
            block_size=LONGEST_LINE,
        ),
        arrow_csv.ParseOptions(
            delimiter=header.separator,
            newlines_in_values=True,
            invalid_row_handler=handle if skip_blank else None,
        ),
        arrow_csv.ConvertOptions(
            include_columns=columns,
            column_types=dict.fromkeys(columns, pa.large_string()),
            strings_can_be_null=False,
        ),
    )


def _fault(file: BinaryIO, path: Path, header: Header) -> PanelError | None:
    """Find the first line that is not text, or has more or fewer fields than the header."""
    lines = itertools.islice(file, header.n_lines, None)
    decoded = (_decoded(line, path, header.n_lines + i) for i, line in enumerate(lines, 1))
    rows = csv.reader(decoded, delimiter=header.separator)
    start = header.n_lines + 1
    limit = csv.field_size_limit(LONGEST_LINE)
    try:
        for row in rows:
            end = header.n_lines + rows.line_num
            if len(row) != len(header.names) and "".join(row).strip():
                return _ragged(path, row, (start, end), len(header.names))
            start = end + 1
    except csv.Error as error:
        return PanelError(f"line {start} of {named(path)} {_not_csv(error)}")
    except PanelError as error:
        return error
    finally:
        csv.field_size_limit(limit)
    return None


def _not_csv(error: csv.Error) -> str:
    """Give in words why Python's csv reader failed."""
    text = str(error)
    if "new-line" in text:
        return "holds a carriage return outside quotes"
    if "limit" in text:
        return "begins a field that is too long: is a quote not closed?"
    return f"is not csv ({one_line(text, 80)})"


def _ragged(path: Path, row: list[str], lines: tuple[int, int], expected: int) -> PanelError:
    start, end = lines
    hint = f"; it goes on to line {end}: is a quote not closed?" if end > start else ""
    return PanelError(
        f"line {start} of {named(path)} has {counted(len(row), 'field')}, "
        f"expected {expected} as in the header{hint}"
    )


def _decoded(line: bytes, path: Path, number: int) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        byte = line[error.start]
        raise PanelError(
            f"line {number} of {named(path)} is not UTF-8 text (byte 0x{byte:02x}): "
            "save the file as UTF-8"
        ) from None


def _unreadable(path: Path, why: str) -> PanelError:
    return PanelError(f"{named(path)} cannot be read: {why}")
