"""Work in threads: all of it is done, no more of them than cores, errors come through."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest

from vbase_py_utils.kernel import irls, threads
from vbase_py_utils.kernel.irls import fit_periods
from vbase_py_utils.kernel.period_fits import SolverOptions
from vbase_py_utils.kernel.threads import idle_cores, run_together


@pytest.fixture
def cores(monkeypatch):
    def limit(count):
        monkeypatch.setenv("POLARS_MAX_THREADS", str(count))

    return limit


def busy(seen, lock):
    """A task that notes how many run at the same time."""
    running = []

    def task(item):
        with lock:
            running.append(item)
            seen.append((item, len(running), threading.get_ident()))
        time.sleep(0.002)
        with lock:
            running.remove(item)

    return task


@pytest.mark.parametrize("count", [1, 2, 4])
def test_every_item_is_done_once_by_no_more_threads_than_cores(count, cores):
    cores(count)
    seen = []
    run_together(busy(seen, threading.Lock()), range(40))
    assert sorted(item for item, _, _ in seen) == list(range(40))
    assert max(together for _, together, _ in seen) <= count
    assert len({thread for _, _, thread in seen}) <= count
    assert threads._working == 0


def test_more_than_one_thread_works_if_there_are_cores(cores):
    cores(3)
    meet = threading.Barrier(3, timeout=20)
    run_together(lambda _: meet.wait(), range(3))


def test_one_core_means_the_calling_thread(cores):
    cores(1)
    seen = set()
    run_together(lambda _: seen.add(threading.get_ident()), range(5))
    assert seen == {threading.get_ident()}


@pytest.mark.parametrize(("count", "most"), [(1, 1), (2, 1), (3, 1), (4, 2), (9, 4)])
def test_half_of_the_cores_are_for_short_calls(count, most, cores):
    cores(count)
    assert idle_cores(short_calls=True) == most - 1
    meet = threading.Barrier(most, timeout=20)
    threads_seen = set()

    def task(_):
        meet.wait()
        threads_seen.add(threading.get_ident())

    run_together(task, range(2 * most), short_calls=True)
    assert len(threads_seen) == most
    assert threads._working == 0


@pytest.mark.parametrize(("huber_t", "short"), [(1.345, True), (np.inf, False)])
def test_a_robust_fit_has_short_calls_and_least_squares_has_not(huber_t, short, monkeypatch, rng):
    asked = []
    monkeypatch.setattr(irls, "run_together", lambda *_, **how: asked.append(how))
    X, y = rng.standard_normal((60, 2)), rng.standard_normal(60)
    fit_periods(X, y, None, np.arange(0, 61, 10), SolverOptions(huber_t=huber_t))
    assert asked == [{"short_calls": short}]


def test_callers_share_the_cores(cores):
    cores(3)
    seen, lock = [], threading.Lock()
    task = busy(seen, lock)
    callers = [
        threading.Thread(target=run_together, args=(task, range(i * 100, i * 100 + 20)))
        for i in range(3)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(seen) == 60
    # Two may have been granted helpers before the last caller came: it works all the same.
    assert max(together for _, together, _ in seen) <= 5
    assert threads._working == 0


@pytest.mark.parametrize("count", [1, 3])
def test_an_error_ends_the_work_and_comes_through(count, cores):
    cores(count)
    done = []

    def task(item):
        if item == 3:
            raise ZeroDivisionError
        time.sleep(0.001)
        done.append(item)

    with pytest.raises(ZeroDivisionError):
        run_together(task, range(1000))
    assert len(done) < 900
    assert threads._working == 0


def test_nothing_to_do():
    run_together(lambda _: 1 / 0, [])
    assert threads._working == 0


# --- map_ahead


@pytest.fixture
def three_cores(monkeypatch):
    monkeypatch.setenv("POLARS_MAX_THREADS", "3")


@pytest.mark.parametrize("n_items", [0, 1, 2, 50])
@pytest.mark.usefixtures("three_cores")
def test_answers_come_in_the_order_of_the_items(n_items):
    def slow_at_first(item):
        time.sleep(0.002 * (item % 3 == 0))
        return item * item

    answers = threads.map_ahead(slow_at_first, iter(range(n_items)))
    assert list(answers) == [item * item for item in range(n_items)]


@pytest.mark.usefixtures("three_cores")
def test_no_more_items_are_taken_than_there_are_cores():
    taken = []

    def items():
        for item in range(50):
            taken.append(item)
            yield item

    answers = threads.map_ahead(lambda item: item, items())
    assert taken == []
    next(answers)
    assert len(taken) <= 3
    answers.close()
    assert len(taken) <= 3


@pytest.mark.usefixtures("three_cores")
def test_items_that_are_done_are_not_held():
    class Item:
        pass

    alive = weakref.WeakSet()

    def items():
        for _ in range(20):
            item = [Item()]
            alive.add(item[0])
            yield item.pop()

    for _ in threads.map_ahead(lambda _: None, items()):
        deadline = time.monotonic() + 10
        while len(alive) > 3 and time.monotonic() < deadline:
            time.sleep(0.001)
        assert len(alive) <= 3


@pytest.mark.usefixtures("three_cores")
def test_the_first_error_in_the_order_of_the_items_is_raised():
    def fail(item):
        if item >= 5:
            time.sleep(0.01 * (item == 5))
            raise ValueError(item)
        return item

    got = []
    with pytest.raises(ValueError, match=r"^5$"):
        got.extend(threads.map_ahead(fail, iter(range(20))))
    assert threads.idle_cores() == 2


@pytest.mark.usefixtures("three_cores")
def test_a_task_that_wants_help_finds_all_cores_taken():
    idle = []
    list(threads.map_ahead(lambda _: idle.append(threads.idle_cores()), iter(range(9))))
    assert idle == [0] * 9
    assert threads.idle_cores() == 2
    # But a lone item may be helped.
    list(threads.map_ahead(lambda _: idle.append(threads.idle_cores()), iter([1])))
    assert idle[-1] == 2


@pytest.mark.usefixtures("three_cores")
def test_given_up_it_gives_the_cores_back():
    answers = threads.map_ahead(lambda item: item, iter(range(50)))
    next(answers)
    assert threads.idle_cores() == 0
    del answers
    assert threads.idle_cores() == 2


BLAS_OF_SCIPY = """
import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits
from vbase_py_utils.kernel import linalg, threads

def limits():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

A, u = np.random.default_rng(1).standard_normal((2, 9)), np.ones(9)
with threads.one_blas_thread():
    first = limits()
    b = linalg.least_squares(A, u, u)
    while_fitted = limits()
threadpool_limits(2, user_api="blas")
with threads.one_blas_thread():
    again = limits()
print(first, while_fitted, again, limits(), np.allclose(A @ A.T @ b, A @ u))
"""


def test_the_blas_that_scipy_brings_late_is_limited_too():
    """SciPy is loaded by the first fit that needs it, after the limit has been set."""
    command = [sys.executable, "-c", BLAS_OF_SCIPY]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("] ")
    first, while_fitted, again, after, solved = (part.strip(" [\n") for part in shown)
    assert set(first.split(", ")) == set(while_fitted.split(", ")) == {"1"}
    assert len(while_fitted) >= len(first)
    assert set(again.split(", ")) == {"1"}
    assert set(after.split(", ")) == {"2"}
    assert solved == "True"


def test_a_limit_that_scipy_joins_late_ends_with_the_others():
    code = BLAS_OF_SCIPY.replace("import numpy", "import os\nimport numpy", 1).replace(
        "while_fitted = limits()\n", "while_fitted = limits()\nmiddle = limits()\n"
    )
    code = code.partition("threadpool_limits(2")[0] + "print(min(middle), max(middle))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    cores = threads._cores()
    assert shown.stdout.split() == [str(cores), str(cores)]
