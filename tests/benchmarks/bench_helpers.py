"""What goes with a fit beside it: expressions, factor portfolios and the report.

CPU time, medians of rounds in which all take their turn. An expression is compared with the obvious
one of Polars, which knows nothing of missing values, weights of zero or caps that move.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import polars as pl
import workloads
from scipy.special import ndtri
from timing import cpu, ratio, table, time_in_turn

from vbase_py_utils import (
    cap_weights,
    factor_returns,
    fit_cross_sections,
    rank_normal,
    winsorize,
    write_report,
    zscore,
)
from vbase_py_utils.demo import simulated_panel


def expressions():
    """Each helper, and the obvious expression."""
    x, w = pl.col("f0"), pl.col("weight")
    sd = (x - x.median()).abs().median() / 0.6745
    rank = (x.rank() - 0.5) / x.count()
    return {
        "`zscore`": (zscore(x), (x - x.mean()) / x.std()),
        "`zscore`, weights": (
            zscore(x, weights=w),
            (x - (w * x).sum() / w.sum()) / x.std(),
        ),
        "`winsorize`, robust_sds": (
            winsorize(x, robust_sds=3),
            x.clip(x.median() - 3 * sd, x.median() + 3 * sd),
        ),
        "`winsorize`, quantiles": (
            winsorize(x, quantiles=(0.01, 0.99)),
            x.clip(x.quantile(0.01, "linear"), x.quantile(0.99, "linear")),
        ),
        "`cap_weights`": (cap_weights(w), w.sqrt() / w.sqrt().mean()),
        "`cap_weights`, max_share": (
            cap_weights(w, max_share=0.01),
            pl.min_horizontal(w, 0.01 * w.sum()),
        ),
        "`rank_normal`": (rank_normal(x), rank),
    }


def of_helpers(quick, repetitions):
    """Print CPU times of the helpers, over what is obvious or over a fit."""
    n_assets, n_periods = (200, 60) if quick else (2000, 630)
    frame = workloads.balanced(n_assets, 1, n_periods).frame
    rows = []
    for name, (ours, obvious) in expressions().items():
        calls = {
            "ours": lambda e=ours: frame.select(e.over("period")),
            "obvious": lambda e=obvious, n=name: obvious_answer(frame, e, n),
        }
        rows.append((name, calls))
    title = f"{n_assets} assets x {n_periods} periods"
    table([title, "CPU", "over the obvious expression"], shown(rows, repetitions))
    of_fits(quick, repetitions)


def obvious_answer(frame, expression, name):
    """Normal quantiles are taken of the whole column."""
    answer = frame.select(expression.over("period")).to_series()
    return ndtri(answer.to_numpy()) if "rank" in name else answer


def of_fits(quick, repetitions):
    """Print CPU times of factor portfolios and of reports."""
    n_assets = 200 if quick else 2000
    panel = workloads.balanced(n_assets, 8, 126)
    lazy = fit_cross_sections(panel.frame.lazy(), panel.exposures, weights="weight")
    calls = {
        "ours": lazy.factor_portfolios.collect,
        "obvious": lambda: factor_returns(panel.frame, panel.exposures, weights="weight"),
    }
    rows = [(f"`factor_portfolios`, {panel.name}, over `factor_returns`", calls)]
    panels = {n: dated(workloads.balanced(n, 8, 120)) for n in (n_assets, n_assets // 4)}
    large = panels[n_assets]
    fits = {
        **{p.name: fit_cross_sections(p.frame, p.exposures, weights="weight").collect()
           for p in panels.values()},
        "the demo": fit_cross_sections(simulated_panel()[0], ["Factor_0", "Factor_1", "Factor_2"]),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        for name, given in fits.items():
            calls = {
                "ours": lambda f=given: write_report(f, path),
                "obvious": lambda: fit_cross_sections(
                    large.frame, large.exposures, weights="weight"
                ).collect(),
            }
            rows.append((f"`write_report`, {name}, over the fit of {large.name}", calls))
        answers = shown(rows, repetitions)
    table(["", "CPU", "over the other"], answers)


def dated(panel):
    """Months in place of numbers, as in most panels."""
    month = pl.date(2010, 1, 1).dt.offset_by(pl.col("period").cast(pl.String) + "mo")
    return workloads.Panel(panel.name, panel.frame.with_columns(period=month), panel.exposures)


def shown(rows, repetitions):
    """Measure and give the lines of a table."""
    lines = []
    for name, calls in rows:
        times = time_in_turn(calls, repetitions)
        lines.append([name, cpu(times["ours"]), f"{ratio(times, 'ours', 'obvious'):.2f}"])
    return lines


if __name__ == "__main__":
    of_helpers(quick=False, repetitions=7)
