"""Processes: a forked one that cannot work says so at once, all others give the same numbers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not fork")

# Python 3.12 and later warn of every fork in a process with threads.
SCRIPT = """
import concurrent.futures, multiprocessing, os, sys, threading, time, warnings
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
import numpy as np
import pandas as pd
import polars as pl
import vbase_py_utils as v
from vbase_py_utils import plots
from vbase_py_utils.kernel import threads
from vbase_py_utils.demo import FACTORS, simulated_panel
from vbase_py_utils.stats import cross_section_regression as functions

panel = simulated_panel()[0]


def fit(factor):
    return v.factor_returns(panel, factor, weights="weight")[factor].to_list()


def answers_of(jobs, seconds=20):
    '''What each job says in a forked child, and its CPU seconds; "hangs" if it does not end.'''
    found = []
    for job in jobs:
        reading, writing = os.pipe()
        begin = time.perf_counter()
        child = os.fork()
        if child == 0:
            try:
                job()
                said = "an answer"
            except BaseException as error:
                said = f"{type(error).__name__}: {error}"
            os.write(writing, said.encode())
            os._exit(0)
        os.close(writing)
        while not (ended := os.wait4(child, os.WNOHANG))[0]:
            if time.perf_counter() - begin > seconds:
                os.kill(child, 9)
            time.sleep(0.001)
        # Of its own work: under load a process also waits for its turn.
        taken = ended[2].ru_utime + ended[2].ru_stime
        found.append((os.read(reading, 10_000).decode() or "hangs", taken))
        os.close(reading)
    return found
"""
# Seconds after which a script is taken to wait for ever.
HANGS = 300
SENTENCE = (
    "RuntimeError: this process was forked after Polars had started its threads, which a fork does "
    "not copy, so a query would wait for ever: start processes with the methods 'spawn' or "
    "'forkserver' of multiprocessing, or with joblib's loky"
)


def run(code, tmp_path, script=SCRIPT):
    # A file, since processes that are spawned import the main module.
    path = tmp_path / "script.py"
    path.write_text(script + code, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, "-W", "error", path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=HANGS)
        except subprocess.TimeoutExpired:
            # With its children, which hold the pipes open.
            os.killpg(process.pid, signal.SIGKILL)
            pytest.fail("the script hangs")
    assert process.returncode == 0, err
    return out.splitlines()


def test_children_forked_after_use_say_so_within_a_second(tmp_path):
    code = """
fits = v.fit_cross_sections(panel, FACTORS)
lazy = v.fit_cross_sections(panel.lazy(), FACTORS)
table = panel.to_arrow()
frame = panel.to_pandas().set_index(["period", "asset"])
returns = frame["return"].unstack("period")
month = frame.loc["2023-01"]
premia = v.fama_macbeth(fits)
one = panel.lazy().sort("return")
jobs = [
    lambda: v.factor_returns(panel, "Factor_0"),
    lambda: v.factor_returns(panel.lazy(), "Factor_0"),
    lambda: v.factor_returns(table, "Factor_0"),
    lambda: v.fit_cross_sections(panel, "Factor_0"),
    lambda: fits.coefficients,
    lambda: fits.factor_portfolios,
    lambda: lazy.collect(),
    lambda: repr(fits),
    lambda: v.fama_macbeth(fits),
    lambda: v.fama_macbeth(premia),
    lambda: v.lag_exposures(panel, "Factor_0"),
    lambda: v.inverse_variance_weights(panel, fits),
    lambda: v.huber_regression("return", "Factor_0"),
    lambda: v.zscore("Factor_0"),
    lambda: v.sink_file(one, "answer.parquet"),
    lambda: v.write_report(fits, "report.html"),
    lambda: plots.t_values(premia),
    lambda: plots.cumulative_returns(fits),
    lambda: v.factor_covariance(fits),
    lambda: v.specific_risk(fits),
    lambda: v.bias_statistics([0.1, 0.2], [0.1, 0.1]),
    lambda: plots.rolling_bias([0.1, 0.2], [0.1, 0.1], window=2),
    lambda: functions.run_cross_sectional_regression(
        month["return"], month[FACTORS], month["weight"]),
    lambda: functions.run_monthly_factor_returns(returns, frame[FACTORS], frame["weight"]),
]
for said, seconds in answers_of(jobs):
    print(seconds, said)
"""
    lines = [line.partition(" ") for line in run(code, tmp_path)]
    assert [said for _, _, said in lines] == [SENTENCE] * 24
    assert max(float(seconds) for seconds, _, _ in lines) < 1


def test_a_child_of_polars_alone_and_a_grandchild_say_so_too(tmp_path):
    code = """
panel.sort("return")  # a query of the user's own, none of this library


def grandchild():
    [(said, _)] = answers_of([lambda: fit("Factor_0")])
    raise RuntimeError(said.removeprefix("RuntimeError: "))


for said, _ in answers_of([lambda: fit("Factor_0"), grandchild]):
    print(said)
"""
    assert run(code, tmp_path) == [SENTENCE] * 2


def test_forks_before_the_first_use_work(tmp_path):
    code = """
def child():
    assert len(fit("Factor_0")) == 12
    raise ValueError(fit("Factor_0"))

answers = answers_of([child, child])
expected = f"ValueError: {fit('Factor_0')}"
for said, _ in answers:
    print(said == expected)
"""
    assert run(code, tmp_path) == ["True"] * 2


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_start_methods_of_multiprocessing(method, tmp_path):
    code = f"""
if __name__ == "__main__":
    expected = [fit(factor) for factor in FACTORS]
    context = multiprocessing.get_context({method!r})
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        try:
            print(list(pool.map(fit, FACTORS)) == expected)
        except RuntimeError as error:
            print("RuntimeError:", error)
"""
    assert run(code, tmp_path) == [SENTENCE if method == "fork" else "True"]


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_joblib(backend, tmp_path):
    code = f"""
import joblib
if __name__ == "__main__":
    expected = [fit(factor) for factor in FACTORS]
    with warnings.catch_warnings():
        # loky's own helpers: not a word about this library.
        warnings.simplefilter("ignore")
        found = joblib.Parallel(2, backend={backend!r})(joblib.delayed(fit)(f) for f in FACTORS)
    print(found == expected)
"""
    assert run(code, tmp_path) == ["True"]


def test_threads(tmp_path):
    code = """
expected = [fit(factor) for factor in FACTORS]
with concurrent.futures.ThreadPoolExecutor(3) as pool:
    print(list(pool.map(fit, FACTORS * 10)) == expected * 10)
"""
    assert run(code, tmp_path) == ["True"]


def test_a_fork_while_another_thread_fits_counts_from_zero(tmp_path):
    code = """
large = pl.concat(panel.with_columns(pl.col("period") + str(i)) for i in range(100))
stop = threading.Event()


def work():
    while not stop.is_set():
        v.factor_returns(large, FACTORS)


def child():
    counts = threads._users, threads._working, threads._lock.locked()
    np.ones((300, 300)) @ np.ones((300, 300))
    # The thread that fits is not here: all cores but this one are idle.
    threads.run_together(print, [])
    raise ValueError(f"{counts} {threads.idle_cores() == threads._cores() - 1}")


worker = threading.Thread(target=work)
worker.start()
try:
    found, busy = [], 0
    for _ in range(1000):
        time.sleep(0.003)
        busy += threads._users > 0
        found += answers_of([child])
        if busy == 20:
            break
finally:
    stop.set()
    worker.join()
print(busy, {said for said, _ in found}, threads._users, threads._working)
"""
    assert run(code, tmp_path) == ["20 {'ValueError: (0, 0, False) True'} 0 0"]
