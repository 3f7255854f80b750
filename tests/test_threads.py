"""Work in threads: all of it is done, no more of them than cores, errors come through."""

from __future__ import annotations

import threading
import time

import pytest

from vbase_py_utils import threads
from vbase_py_utils.threads import run_together


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
