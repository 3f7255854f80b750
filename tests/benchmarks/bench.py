"""Measure the library beside its peers and print markdown: `just bench`, or with `--quick`.

All contestants of a workload run in this process in turn, one BLAS thread each, every repetition
anew; figures are medians over the repetitions, of times and of the ratios within a repetition.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from statistics import median

import bench_risk
import contestants
import memory
import numpy as np
import workloads
from threadpoolctl import threadpool_limits
from timing import ratio, seconds, table, time_in_turn

QUICK = 20  # a quick run has so many times fewer periods


def against_peers(panels, repetitions):
    """Compare `factor_returns` with compiled peers and with bare NumPy."""
    peers = {
        name: call
        for name, (package, call) in contestants.PEERS.items()
        if contestants.version(package)
    }
    rows, agreements = [], []
    for panel in panels:
        calls = {"factor_returns": lambda p=panel: contestants.ours(p)}
        calls["everything"] = lambda p=panel: contestants.everything(p)
        calls |= {name: lambda p=panel, c=call: c(p) for name, call in peers.items()}
        times = time_in_turn(calls, repetitions)
        rows.append(
            [
                panel.name,
                seconds(times["factor_returns"]),
                *(f"{seconds(times[n])} ({ratio(times, 'factor_returns', n):.2f})" for n in peers),
                f"{ratio(times, 'everything', 'factor_returns'):.2f}",
                f"{memory.peak(panel.frame, 'factor_returns', *panel.exposures):.1f}",
            ]
        )
        agreements.append([panel.name, *agreement(panel, peers)])
    table(
        [
            "assets x exposures x periods",
            "`factor_returns`",
            *peers,
            "`fit_cross_sections` over `factor_returns`",
            "peak memory over the panel",
        ],
        rows,
    )
    print("In parentheses our time over theirs. Largest difference in a coefficient:", end="\n\n")
    table(
        ["panel", *(f"{name}, {what}" for name, what in SAME.items() if name in peers)], agreements
    )


SAME = {
    "ps.huber": "both without weights, t = 1.35",
    "polars-ols": "`huber_t` infinite",
    "floor": "`huber_t` infinite",
}


def agreement(panel, peers):
    """Largest difference between our coefficients and each peer's where the estimator is one."""
    options = {
        "ps.huber": {"weights": None, "huber_t": 1.35},
        "polars-ols": {"huber_t": np.inf},
        "floor": {"huber_t": np.inf},
    }
    for name, call in peers.items():
        difference = np.abs(contestants.ours(panel, **options[name]) - call(panel)).max()
        yield f"{difference:.1e}"


def against_statsmodels(panels, repetitions):
    """Compare the documented pandas function with a loop over periods."""
    rows = []
    for panel in panels:
        frames = workloads.as_pandas(panel)
        calls = {
            "ours": lambda f=frames: contestants.pandas_function(f),
            "loop": lambda f=frames: contestants.statsmodels_loop(f),
        }
        difference = np.abs(calls["ours"]() - calls["loop"]()).max()
        times = time_in_turn(calls, repetitions)
        rows.append(
            [
                panel.name,
                seconds(times["ours"]),
                seconds(times["loop"]),
                f"{1 / ratio(times, 'ours', 'loop'):.1f}",
                f"{difference:.1e}",
            ]
        )
    table(
        [
            "pandas to pandas",
            "`run_monthly_factor_returns`",
            "statsmodels loop",
            "times faster",
            "largest difference",
        ],
        rows,
    )


def estimators(panels, repetitions):
    """Compare HC2 with the sandwich, and the MM estimate with Huber's, by CPU time."""
    rows = []
    for panel in panels:
        model = {}
        if "sector" in panel.frame.columns:
            model = {"intercept": True, "categories": {"sector": None}}
        calls = {
            "Huber": lambda p=panel, m=model: contestants.ours(p, **m),
            "MM": lambda p=panel, m=model: contestants.ours(p, **m, estimator="mm"),
            "HC2": lambda p=panel, m=model: contestants.everything(p, **m),
            "sandwich": lambda p=panel, m=model: contestants.everything(
                p, **m, cov_type="sandwich"
            ),
            "MM in full": lambda p=panel, m=model: contestants.everything(p, **m, estimator="mm"),
        }
        times = time_in_turn(calls, repetitions, time.process_time)
        pairs = ("MM", "Huber"), ("MM in full", "HC2"), ("HC2", "sandwich")
        rows.append([panel.name, *(f"{ratio(times, *pair):.2f}" for pair in pairs)])
    table(
        [
            "CPU time",
            "`factor_returns`, MM over Huber",
            "`fit_cross_sections`, MM over Huber",
            "HC2 over sandwich",
        ],
        rows,
    )


def other_panels(n_assets, n_factors, n_periods, repetitions):
    """Compare a ragged and a hard panel with the plain one."""
    panels = {
        "plain": workloads.balanced(n_assets, n_factors, n_periods),
        "ragged": workloads.ragged(n_assets, n_factors, n_periods),
        "hard": workloads.balanced(n_assets, n_factors, n_periods, kind="hard"),
    }
    times = time_in_turn(
        {name: lambda p=panel: contestants.ours(p) for name, panel in panels.items()}, repetitions
    )
    plain = panels["plain"].n_usable
    rows = []
    for name, panel in panels.items():
        per_row = ratio(times, name, "plain") * plain / panel.n_usable
        rows.append([panel.name, seconds(times[name]), panel.n_usable, f"{per_row:.2f}"])
    table(["panel", "time", "usable rows", "time per usable row over the plain panel's"], rows)


def factor_model(panel, repetitions):
    """Compare a model with market, sectors and styles with its parts, and with toraniko."""
    dummies = workloads.with_dummies(panel)
    calls = {
        "robust, `categories`": lambda: contestants.with_sectors(panel),
        "as many exposures, no constraint": lambda: contestants.sectors_by_hand(dummies),
        "`huber_t` infinite": lambda: contestants.with_sectors(panel, huber_t=np.inf),
    }
    if contestants.version("toraniko"):
        frames = workloads.as_toraniko(panel)
        calls["toraniko, least squares"] = lambda: contestants.toraniko(frames)
    times = time_in_turn(calls, repetitions)
    first, *others = calls
    ratios = (f"{seconds(times[n])} ({ratio(times, first, n):.2f})" for n in others)
    table(
        ["assets x (market + sectors + styles) x periods", *calls],
        [[panel.name, seconds(times[first]), *ratios]],
    )


def growth(quick, repetitions):
    """Print how time grows: slopes of log time on log size."""
    fewer = QUICK if quick else 1
    series = {
        "periods, 100 assets x 5": [(100, 5, n // fewer) for n in (1000, 2000, 4000, 8000, 16000)],
        "assets, 5 exposures x 400 periods": [
            (n, 5, 400 // fewer) for n in (100, 200, 400, 800, 1600, 3200)
        ],
        "exposures, 1000 assets x 100 periods": [
            (1000, k, 100 // fewer) for k in (2, 4, 8, 16, 32, 64)
        ],
    }
    rows = []
    for name, sizes in series.items():
        panels = [workloads.balanced(*size) for size in sizes]
        for cores in (1, os.cpu_count()):
            calls = {
                size: lambda p=panel, c=cores: on_cores(c, contestants.ours, p)
                for size, panel in zip(sizes, panels, strict=True)
            }
            times = time_in_turn(calls, repetitions)
            medians = [median(times[size]) for size in sizes]
            varied = next(i for i in range(3) if len({size[i] for size in sizes}) > 1)
            values = [size[varied] for size in sizes]
            slope = np.polyfit(np.log(values), np.log(medians), 1)[0]
            shown = ", ".join(f"{v}: {m:.3g}" for v, m in zip(values, medians, strict=True))
            rows.append([name, cores, f"{slope:.2f}", shown])
    table(["time grows with", "threads", "slope", "seconds"], rows)


def on_cores(cores, call, *arguments):
    """Call with so many threads in the library's kernel; Polars' own are what they are."""
    before = os.environ.get("POLARS_MAX_THREADS")
    os.environ["POLARS_MAX_THREADS"] = str(cores)
    try:
        return call(*arguments)
    finally:
        if before is None:
            del os.environ["POLARS_MAX_THREADS"]
        else:
            os.environ["POLARS_MAX_THREADS"] = before


def versions():
    packages = ("polars", "numpy", "polars-statistics", "polars-ols", "statsmodels", "pandas")
    packages += ("toraniko",)
    named = [f"{package} {contestants.version(package) or 'not installed'}" for package in packages]
    python = ".".join(map(str, sys.version_info[:3]))
    return f"Python {python}, {', '.join(named)}; {os.cpu_count()} cores, one BLAS thread"


def main(arguments=None):
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="small panels: that it runs, no more")
    options = parser.parse_args(arguments)
    with threadpool_limits(1, user_api="blas"):
        report(options)


def report(options):
    fewer = QUICK if options.quick else 1
    large = [(2000, 8, 630), (3000, 40, 60), (100, 5, 5000)]
    panels = [workloads.balanced(n, k, max(3, t // fewer)) for n, k, t in [*large, (50, 3, 12)]]
    print(versions(), end="\n\n")
    against_peers(panels, options.repetitions)
    sizes = [(50, 3, 12), (3000, 10, 240), (3000, 40, 60), (100, 5, 5000)]
    against_statsmodels(
        [workloads.balanced(n, k, max(3, t // fewer)) for n, k, t in sizes],
        max(1, options.repetitions // 2),
    )
    factor_model(
        workloads.with_sectors(1500, 6, max(3, 240 // fewer)), max(1, options.repetitions // 2)
    )
    sectors = workloads.with_sectors(3000, 40, max(3, 60 // fewer))
    estimators([*panels[:3], sectors], max(1, options.repetitions // 2))
    for n, k, t in large:
        other_panels(n, k, max(3, t // fewer), options.repetitions)
    growth(options.quick, options.repetitions)
    bench_risk.forecasts_of_risk(options.quick, max(1, options.repetitions // 2))
    bench_risk.of_portfolios(options.quick, max(1, options.repetitions // 2))


if __name__ == "__main__":
    main()
