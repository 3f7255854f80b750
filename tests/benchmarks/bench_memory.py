"""Panels larger than memory: what reading them in one pass takes, in memory and in time.

Run by `just bench-memory`, which writes panels of 4.5 GB into a temporary folder; `--quick` uses
small ones, `--folder` another place. Every figure of memory is that of a process of its own, at
its peak, all that Python and Polars need for themselves included.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
from memory import STATUS, resident
from timing import ratio, table, time_in_turn, wall
from workloads import balanced

# As many rows as Polars' own sink puts into a group.
GROUP_ROWS = 100_000
PERIODS_AT_ONCE = 50
ATTRIBUTED = {"quick": (60, 3, 60), "full": (5000, 60, 2500)}
SIZES = {"quick": (60, 3, 200, 100), "full": (3000, 10, 7000, 1000)}


def write_panel(file, n_assets, n_factors, periods):
    """Write a panel of these periods, a range, without ever holding much of it."""
    writer = None
    for first in range(periods.start, periods.stop, PERIODS_AT_ONCE):
        n_periods = min(PERIODS_AT_ONCE, periods.stop - first)
        panel = balanced(n_assets, n_factors, n_periods, seed=first)
        table = panel.frame.with_columns(pl.col("period") + first).to_arrow()
        writer = writer or pq.ParquetWriter(file, table.schema)
        writer.write_table(table, row_group_size=GROUP_ROWS)
    writer.close()
    return panel.exposures


def one_pass(files, exposures, frame):
    """Write one of the answer's frames to a file beside the panel."""
    from vbase_py_utils import (
        attribution,
        factor_returns,
        fit_cross_sections,
        sink_file,
        specific_risk,
    )

    arguments = {"weights": "weight", "sorted_by_period": True}
    panel = pl.scan_parquet(files)
    if frame == "factor_returns":
        answer = factor_returns(panel, exposures, **arguments)
    elif frame == "attribution":
        fits = fit_cross_sections(panel, exposures, **arguments)
        weights = panel.select("period", "asset", weight=pl.lit(1e-4))
        attribution(fits, weights, panel, sorted_by_period=True).collect()
        return
    elif frame == "specific_risk":
        fits = fit_cross_sections(panel, exposures, **arguments)
        answer = specific_risk(fits, exposures=exposures[:2], panel=panel, sorted_by_period=True)
    else:
        answer = getattr(fit_cross_sections(panel, exposures, **arguments), frame)
    sink_file(answer, files[0].with_name("answer.parquet"))


def peak(files, exposures, frame):
    """Peak memory in MB of a process that calls ``one_pass``; NaN outside Linux."""
    if not STATUS.exists():
        return float("nan")
    command = [sys.executable, __file__, "--peak-of", frame, *map(str, files), "--", *exposures]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(run.stdout)


def ways(file, exposures):
    """Fit a panel that fits in memory in each way."""
    from vbase_py_utils import factor_returns

    panel, weights = pl.scan_parquet(file), {"weights": "weight"}
    return {
        "one pass": lambda: factor_returns(
            panel, exposures, sorted_by_period=True, **weights
        ).collect(),
        "lazy": lambda: factor_returns(panel, exposures, **weights).collect(),
        "read, then eager": lambda: factor_returns(panel.collect(), exposures, **weights),
    }


def attribute(folder, n_assets, n_factors, n_periods):
    """Print the peak of lazy fits and of the attribution of a portfolio of all assets."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        file = Path(place) / "panel.parquet"
        exposures = write_panel(file, n_assets, n_factors, range(n_periods))
        took = f"{peak([file], exposures, 'attribution'):.0f} MB"
        shape = f"{n_assets} x {n_factors} x {n_periods}"
        size = f"{n_assets * n_periods * (n_factors + 4) * 8 / 1e9:.2f} GB"
        table(
            ["assets x exposures x periods", "in memory", "peak of attribution"],
            [[shape, size, took]],
        )


def main(arguments=None):
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small panels: that it runs, no more")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to put the temporary folder")
    parser.add_argument(
        "--attribution", action="store_true", help="attribution alone, of a panel of 6 GB"
    )
    options = parser.parse_args(arguments)
    size = "quick" if options.quick else "full"
    if options.attribution:
        attribute(options.folder, *ATTRIBUTED[size])
        return
    n_assets, n_factors, n_periods, n_fitting = SIZES[size]
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        halves = [Path(folder) / f"{half}.parquet" for half in range(2)]
        for half, file in enumerate(halves):
            periods = range(half * n_periods, (half + 1) * n_periods)
            exposures = write_panel(file, n_assets, n_factors, periods)
        row_bytes = pl.read_parquet(halves[0], n_rows=1000).estimated_size() / 1000
        rows = []
        for files in (halves[:1], halves):
            length = len(files) * n_periods
            size = f"{length * n_assets * row_bytes / 1e9:.2f} GB"
            for frame in ("factor_returns", "specific_returns", "specific_risk"):
                took = f"{peak(files, exposures, frame):.0f} MB"
                rows.append([f"{n_assets} x {n_factors} x {length}", size, frame, took])
        table(["assets x exposures x periods", "in memory", "sunk", "peak of one pass"], rows)
        small = Path(folder) / "small.parquet"
        exposures = write_panel(small, n_assets, n_factors, range(n_fitting))
        times = time_in_turn(ways(small, exposures), options.repetitions)
        table(
            [f"{n_assets} x {n_factors} x {n_fitting}", "time", "one pass over it"],
            [[way, wall(t), f"{ratio(times, 'one pass', way):.2f}"] for way, t in times.items()],
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peak-of"]:
        mark = sys.argv.index("--")
        one_pass([Path(file) for file in sys.argv[3:mark]], sys.argv[mark + 1 :], sys.argv[2])
        print(resident("VmHWM") / 1e6)
    else:
        main()
