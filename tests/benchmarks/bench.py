"""Measure the library beside its peers and print markdown: `just bench`, or with `--quick`.

All contestants of a workload run in this process in turn, one BLAS thread each, every repetition
anew; figures are medians over the repetitions, of times and of the ratios within a repetition.
Ratios are of CPU times, which other users of the machine change less.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from statistics import median

import bench_helpers
import bench_risk
import contestants
import memory
import numpy as np
import workloads
from threadpoolctl import threadpool_limits
from timing import cpu, processor, ratio, table, time_in_turn, wall

QUICK = 20  # a quick run has so many times fewer periods
SEVERAL = 20  # short calls that are timed together


def against_peers(panels, repetitions):
    """Compare `factor_returns` with compiled peers and with bare NumPy, robust and not."""
    robust, least_squares, agreements = [], [], []
    for panel in panels:
        peers = {
            name: lambda p=panel, c=call: c(p)
            for name, (package, call) in contestants.PEERS.items()
            if contestants.version(package)
        }
        calls = {
            "robust": lambda p=panel: contestants.ours(p),
            "least squares": lambda p=panel: contestants.ours(p, huber_t=np.inf),
            "everything": lambda p=panel: contestants.everything(p),
            **peers,
        }
        times = time_in_turn(calls, repetitions)
        beside = {
            ours: [
                f"{cpu(times[name])} ({ratio(times, ours, name):.2f})"
                for name in names
                if name in peers
            ]
            for ours, names in {"robust": ROBUST, "least squares": LEAST_SQUARES}.items()
        }
        more = f"{ratio(times, 'everything', 'robust'):.2f}"
        peak = f"{memory.peak(panel.frame, 'factor_returns', *panel.exposures):.1f}"
        robust.append([*_own(panel, times["robust"]), *beside["robust"], more, peak])
        least_squares.append([*_own(panel, times["least squares"]), *beside["least squares"]])
        agreements.append([panel.name, *agreement(panel, peers)])
    own = ["assets x exposures x periods", "`factor_returns`, clock", "CPU"]
    more = ["`fit_cross_sections` over it", "peak memory over the panel"]
    table([*own, *(name for name in ROBUST if name in peers), *more], robust)
    own[1] = "`huber_t` infinite, clock"
    table([*own, *(name for name in LEAST_SQUARES if name in peers)], least_squares)
    print("CPU seconds; in parentheses ours over theirs. Largest difference in a coefficient:\n")
    table(["panel", *(f"{name}, {SAME.get(name, INFINITE)}" for name in peers)], agreements)


def _own(panel, times):
    return [panel.name, wall(times), cpu(times)]


ROBUST = "ps.huber", "polars-ols", "floor"
LEAST_SQUARES = "polars-ds", "polars-ols", "skfolio", "floor"
SAME, INFINITE = {"ps.huber": "both without weights, t = 1.35"}, "`huber_t` infinite"


def agreement(panel, peers):
    """Largest difference between our coefficients and each peer's where the estimator is one."""
    for name, call in peers.items():
        same = {"weights": None, "huber_t": 1.35} if name in SAME else {"huber_t": np.inf}
        yield f"{np.abs(contestants.ours(panel, **same) - call()).max():.1e}"


def small(repetitions):
    """Compare calls on a panel of a year, where the calls cost more than the numbers."""
    year, month = workloads.balanced(50, 3, 12), workloads.balanced(50, 3, 1)
    frames = workloads.as_pandas(month)
    pairs = {
        "`factor_returns`, 12 periods": lambda: contestants.ours(year),
        "the expression in 12 groups": lambda: contestants.expression(year),
        "`factor_returns`, one period": lambda: contestants.ours(month),
        "`run_cross_sectional_regression`, one period": lambda: contestants.one_period(frames),
        "statsmodels' RLM, one period": lambda: contestants.statsmodels_loop(frames),
    }
    # A call takes a few milliseconds: several count as one.
    calls = {name: lambda c=call: [c() for _ in range(SEVERAL)] for name, call in pairs.items()}
    times = time_in_turn(calls, repetitions)
    rows = [
        [name, *(f"{1000 * median(values) / SEVERAL:.2f} ms" for values in zip(*took, strict=True))]
        for name, took in times.items()
    ]
    table(["50 assets x 3 exposures", "clock", "CPU"], rows)


def imports(repetitions):
    """Compare importing the library with importing what it is made of."""
    calls = {
        "import polars, numpy": lambda: fresh("import polars, numpy"),
        "import vbase_py_utils": lambda: fresh("import vbase_py_utils"),
    }
    times = {name: [] for name in calls}
    for _ in range(repetitions):
        for name, call in calls.items():
            times[name].append(call())
    first = median(next(iter(times.values())))
    rows = [[name, f"{median(t):.3f} s", f"{median(t) / first:.2f}"] for name, t in times.items()]
    table(["in a new process", "CPU", "over the first"], rows)


def fresh(code):
    """CPU seconds of code in a new process."""
    code = f"import time; a = time.process_time(); {code}; print(time.process_time() - a)"
    command = [sys.executable, "-c", code]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


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
                cpu(times["ours"]),
                cpu(times["loop"]),
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
        times = time_in_turn(calls, repetitions)
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
        rows.append([panel.name, cpu(times[name]), panel.n_usable, f"{per_row:.2f}"])
    table(["panel", "CPU", "usable rows", "a usable row over the plain panel's"], rows)


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
    ratios = (f"{cpu(times[n])} ({ratio(times, first, n):.2f})" for n in others)
    table(
        ["assets x (market + sectors + styles) x periods", *calls],
        [[panel.name, cpu(times[first]), *ratios]],
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
            medians = [median(took.wall for took in times[size]) for size in sizes]
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
    packages = ("polars", "numpy", "polars-statistics", "polars-ols", "polars-ds", "skfolio")
    packages += ("statsmodels", "pandas", "toraniko")
    named = [f"{package} {contestants.version(package) or 'not installed'}" for package in packages]
    python = ".".join(map(str, sys.version_info[:3]))
    machine = f"{os.cpu_count()} cores of {processor()}"
    without = os.environ.get("NPY_DISABLE_CPU_FEATURES")
    if without:
        machine += f", NumPy without {without}"
    return f"Python {python}, {', '.join(named)}; {machine}, one BLAS thread"


def main(arguments=None):
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=7)
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
    small(options.repetitions)
    imports(1 if options.quick else 3 * options.repetitions)
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
    bench_helpers.of_helpers(options.quick, max(1, options.repetitions // 2))
    bench_risk.forecasts_of_risk(options.quick, max(1, options.repetitions // 2))
    bench_risk.of_portfolios(options.quick, max(1, options.repetitions // 2))


if __name__ == "__main__":
    main()
