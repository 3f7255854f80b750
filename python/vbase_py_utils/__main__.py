"""Factor returns from the command line: of the simulated panel, or of a parquet or csv file."""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import polars as pl

from vbase_py_utils.demo import FACTORS, comparison, simulated_panel
from vbase_py_utils.errors import VbaseError
from vbase_py_utils.files import check_dates, check_target, csv_text, read_panel, sink_file
from vbase_py_utils.fit.query import fit_frame
from vbase_py_utils.fit.schema import REASON, STATUS, wide
from vbase_py_utils.kernel.period_fits import SolverOptions, Status
from vbase_py_utils.keys import PERIOD, label
from vbase_py_utils.panel import PanelSpec, RoleNames, Roles
from vbase_py_utils.periods.formats import check_format, readable
from vbase_py_utils.periods.order import warn_unless_time_order
from vbase_py_utils.storage.places import as_path, reason_of
from vbase_py_utils.text import one_line, quoted

NAME = "vbase_py_utils"
OPTIONS = (
    "exposures",
    "returns",
    "weights",
    "period",
    "asset",
    "period_format",
    "separator",
    "out",
)
# Characters of a line with an error or a warning.
LINE_CHARACTERS = 300


class UsageError(Exception):
    """The arguments cannot be used; the message is the one line to show."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (--help lists the arguments)")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return 0 if it worked, 2 after one line about the error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Do not fail on a label that the terminal's encoding lacks.
            stream.reconfigure(errors="backslashreplace")
    try:
        with _warnings_as_lines():
            given = _parser().parse_args(arguments)
            if given.panel is None:
                _run_demo(given)
            else:
                _run_file(given)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader closed the pipe, as `head` does: no message, and nothing left to flush.
        _drop_output()
    except KeyboardInterrupt:
        _say("interrupted")
        return 130
    except MemoryError:
        _say("the panel does not fit into memory")
        return 2
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _say(f"{where}{reason_of(error)}")
        if not error.filename:
            _drop_output()
        return 2
    except (UsageError, VbaseError, TypeError, ValueError, pl.exceptions.PolarsError) as error:
        _say(str(error) or type(error).__name__)
        return 2
    return 0


def _say(message: str) -> None:
    print(f"{NAME}: {one_line(' '.join(message.split()), LINE_CHARACTERS)}", file=sys.stderr)


def _drop_output() -> None:
    """Discard output that could not be written, so that Python does not try again at exit."""
    with contextlib.suppress(OSError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Show each warning of the library on one line, without the place in the code."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        _say(f"warning: {message}")

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m vbase_py_utils",
        description="Robust cross-sectional factor returns. Without --panel: a simulated panel, "
        "whose true factor returns are known.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--panel", metavar="FILE", help="long format, a .parquet, .csv or .csv.gz file"
    )
    parser.add_argument(
        "--exposures",
        metavar="A,B",
        help="exposure columns; put a name with a comma in double quotes: '\"a,b\",c'",
    )
    parser.add_argument("--returns", metavar="R", help="return column")
    parser.add_argument("--weights", metavar="W", help="regression weight column (default: equal)")
    parser.add_argument("--period", metavar="P", help="period column (default: period)")
    parser.add_argument("--asset", metavar="I", help="asset column (default: asset)")
    parser.add_argument(
        "--period-format",
        metavar="F",
        help="format of the periods, if not like 2024-01-31 or 2024-01, for example "
        "%%m/%%d/%%Y, %%d.%%m.%%Y or %%b-%%y; without a day they become months",
    )
    parser.add_argument(
        "--separator",
        metavar="S",
        help="field separator of a csv file: a character, or tab (default: comma, "
        "semicolon or tab, found from the header)",
    )
    parser.add_argument(
        "--out", metavar="FILE", help="write .parquet or .csv (default: csv, printed)"
    )
    return parser


def _run_demo(given: argparse.Namespace) -> None:
    for name in OPTIONS:
        if getattr(given, name) is not None:
            raise UsageError(f"--{name.replace('_', '-')} needs --panel FILE")
    panel, truth = simulated_panel()
    _, spec = PanelSpec.resolve(panel, FACTORS, weights="weight")
    fits = fit_frame(panel, spec, SolverOptions())
    table = comparison(truth, wide(fits, spec))
    with pl.Config(
        tbl_formatting="ASCII_MARKDOWN",
        tbl_rows=-1,
        float_precision=6,
        tbl_hide_dataframe_shape=True,
        tbl_hide_column_data_types=True,
    ):
        print(table)
    worst = table.sort(pl.col("error").abs()).row(-1, named=True)
    print(f"largest error {abs(worst['error']):.6f} ({worst['factor']}, {worst['period']})")
    print(_convergence(fits))


def _run_file(given: argparse.Namespace) -> None:
    for name in ("exposures", "returns"):
        if getattr(given, name) is None:
            raise UsageError(f"--panel needs --{name}")
    names: RoleNames = {
        "returns": given.returns,
        "weights": given.weights,
        "period": "period" if given.period is None else given.period,
        "asset": "asset" if given.asset is None else given.asset,
    }
    exposures = _names(given.exposures)
    roles = Roles.of(exposures, **names)
    separator = _separator(given.separator)
    if given.period_format is not None:
        check_format(given.period_format)
    target = None if given.out is None else _target(given.out, given.panel)
    panel = read_panel(given.panel, roles, separator=separator, period_format=given.period_format)
    _, spec = PanelSpec.resolve(panel, exposures, **names)
    _warn_of_order(panel.get_column(spec.period))
    fits = fit_frame(panel, spec, SolverOptions(), warn=False)
    answer = wide(fits, spec)
    if target is None or target.suffix.lower() == ".csv":
        check_dates(answer, "the answer")
        answer = answer.with_columns(readable(answer.get_column(spec.period)))
    if target is None:
        print(csv_text(answer), end="")
    else:
        sink_file(answer, target)
    for line in (_left_out(panel, spec), _convergence(fits)):
        if line:
            print(line, file=sys.stderr)


def _names(text: str) -> list[str]:
    """Split the names of exposures at commas outside quotes."""
    try:
        names = next(csv.reader([text], skipinitialspace=True), [])
    except csv.Error as error:
        raise UsageError(
            f"--exposures {one_line(repr(text), 80)} cannot be read, expected names of columns "
            "with commas between them, in double quotes if they hold commas or line breaks"
        ) from error
    names = [name.strip() for name in names]
    if not all(names) or not names:
        raise UsageError(
            f"--exposures {quoted(text)} has an empty name, "
            "expected names of columns with commas between them"
        )
    return names


def _separator(text: str | None) -> str | None:
    """Take one character, or a tab by name."""
    if text is None:
        return None
    text = "\t" if text in ("tab", "\\t") else text
    if len(text) != 1 or not text.isascii() or text in '"\r\n\0':
        raise UsageError(
            f"--separator {quoted(text, 40)} is not a separator, expected one character or tab"
        )
    return text


def _target(out: str, panel: str) -> Path:
    """Check, before any work, that the answer can be written and does not replace the panel."""
    target = check_target(out, "--out")
    source = as_path(panel, "--panel")
    if target.exists() and source.exists() and target.samefile(source):
        raise UsageError(f"--out {one_line(out, 80)} is the file of --panel, expected another one")
    return target


def _warn_of_order(periods: pl.Series) -> None:
    """Warn of periods that do not sort in the order of time, and name the option that helps."""
    if periods.dtype.is_integer() and periods.is_between(10**5, 10**8 - 1).all():
        # Six or eight digits may be dates in another order, such as 012024 without its zero.
        periods = periods.cast(pl.String)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_unless_time_order(periods, periods.name)
    for warning in caught:
        warnings.warn(
            f"{warning.message}; on the command line, --period-format reads dates and months",
            stacklevel=2,
        )


def _left_out(panel: pl.DataFrame, spec: PanelSpec) -> str:
    """Count the rows that no fit used, by the column at fault, to reveal a damaged file."""
    names = [name for name in spec.columns if name not in (spec.period, spec.asset)]
    missing = {
        name: ~panel.get_column(name).cast(pl.Float64).is_finite().fill_null(value=False)
        for name in names
    }
    parts = [(f"{quoted(name, 40)} missing", rows) for name, rows in missing.items()]
    if spec.weights is not None:
        parts.append((f"{quoted(spec.weights, 40)} zero", panel.get_column(spec.weights) == 0))
    unused = pl.Series([False]).new_from_index(0, panel.height)
    for _, rows in parts:
        unused |= rows.fill_null(value=False)
    counts = [f"{what} in {rows.sum()}" for what, rows in parts if rows.any()]
    if len(counts) > 6:
        counts[6:] = [f"and {len(counts) - 6} more columns"]
    total = f"{unused.sum()} of {panel.height} rows left out"
    return f"{total}: {', '.join(counts)}" if counts else ""


def _convergence(fits: pl.DataFrame) -> str:
    """Count the periods that converged, and give the reasons of a few that did not."""
    others = fits.filter(pl.col(STATUS) != Status.converged.name)
    lines = [f"{fits.height - others.height} of {fits.height} periods converged"]
    lines += [
        f"  {one_line(label(others[PERIOD].slice(row)))}: {others[STATUS][row]}: "
        f"{others[REASON][row]}"
        for row in range(min(others.height, 10))
    ]
    if others.height > 10:
        lines.append(f"  and {others.height - 10} more")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
