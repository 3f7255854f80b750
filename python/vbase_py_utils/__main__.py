"""Factor returns from the command line: of the simulated panel, or of a parquet or csv file."""

from __future__ import annotations

import argparse
import io
import os
import sys
from pathlib import Path
from typing import NoReturn

import polars as pl

from vbase_py_utils.demo import FACTORS, comparison, simulated_panel
from vbase_py_utils.errors import VbaseError
from vbase_py_utils.estimation import fit_frame
from vbase_py_utils.files import check_kind, read_panel, write_answer
from vbase_py_utils.irls import SolverOptions, Status
from vbase_py_utils.panel import PERIOD, PanelSpec, label
from vbase_py_utils.results import REASON, STATUS, wide_factor_returns
from vbase_py_utils.text import one_line


class UsageError(Exception):
    """What the user asked for cannot be done; the message is the one line to show."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (--help lists the arguments)")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when it worked, 2 after one line about what did not."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A label the terminal's encoding lacks is no reason to fail.
            stream.reconfigure(errors="backslashreplace")
    try:
        given = _parser().parse_args(arguments)
        if given.panel is None:
            _run_demo(given)
        else:
            _run_file(given)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader went away, as `head` does: nothing to say, and nothing left to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (UsageError, VbaseError, OSError, pl.exceptions.PolarsError) as error:
        line = " ".join(str(error).split()) or type(error).__name__
        print(f"vbase_py_utils: {line}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m vbase_py_utils",
        description="Robust cross-sectional factor returns. Without --panel: a simulated panel, "
        "whose true factor returns are known.",
        allow_abbrev=False,
    )
    parser.add_argument("--panel", type=Path, metavar="FILE", help="parquet or csv, long format")
    parser.add_argument("--exposures", metavar="A,B", help="exposure columns")
    parser.add_argument("--returns", metavar="R", help="return column")
    parser.add_argument("--weights", metavar="W", help="regression weight column (default: equal)")
    parser.add_argument("--period", metavar="P", help="period column (default: period)")
    parser.add_argument("--asset", metavar="I", help="asset column (default: asset)")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="write .parquet or .csv (default: csv, printed)"
    )
    return parser


def _run_demo(given: argparse.Namespace) -> None:
    for name in ("exposures", "returns", "weights", "period", "asset", "out"):
        if getattr(given, name) is not None:
            raise UsageError(f"--{name} needs --panel FILE")
    panel, truth = simulated_panel()
    spec = PanelSpec.from_names(
        FACTORS, returns="return", weights="weight", period="period", asset="asset"
    )
    fits = fit_frame(panel, spec, SolverOptions())
    table = comparison(truth, wide_factor_returns(fits, spec))
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
    if given.out is not None:
        # Before any work is done.
        check_kind(given.out)
        if given.out.is_dir():
            raise UsageError(f"{given.out} is a directory, expected a file to write")
        if not given.out.parent.is_dir():
            raise UsageError(f"{given.out.parent} is not a directory")
    spec = PanelSpec.from_names(
        [name.strip() for name in given.exposures.split(",")],
        returns=given.returns,
        weights=given.weights,
        period="period" if given.period is None else given.period,
        asset="asset" if given.asset is None else given.asset,
    )
    panel = read_panel(given.panel, spec)
    fits = fit_frame(panel, spec, SolverOptions())
    answer = wide_factor_returns(fits, spec)
    if given.out is None:
        print(answer.write_csv(), end="")
    else:
        write_answer(answer, given.out)
    print(_convergence(fits), file=sys.stderr)


def _convergence(fits: pl.DataFrame) -> str:
    """Count the periods that converged, and say of a few others why they did not."""
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
