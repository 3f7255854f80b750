"""Threads: one in BLAS, whose solves are small, and as many as there are cores on stacks."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache
from itertools import islice
from threading import Lock
from typing import TypeVar

from threadpoolctl import ThreadpoolController

Item = TypeVar("Item")
Answer = TypeVar("Answer")

_lock = Lock()
_users = 0
_working = 0
_limit = ExitStack()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit BLAS to one thread until the last of the threads that asked for it leaves.

    The limit is the process's: were each thread to save and restore it for itself, the last one
    out could restore what another had set.
    """
    global _users  # noqa: PLW0603 - the count belongs to the process, like the limit
    with _lock:
        if _users == 0:
            _limit.enter_context(_controller().limit(limits=1, user_api="blas"))
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _limit.close()


@cache
def limit_blas_of_scipy() -> None:
    """Limit also the BLAS that scipy.linalg brings; call this once that has been imported."""
    with _lock:
        _controller.cache_clear()
        if _users > 0:
            _limit.enter_context(_controller().limit(limits=1, user_api="blas"))


def run_together(
    task: Callable[[Item], object], items: Sequence[Item], *, short_calls: bool = False
) -> None:
    """Call ``task`` on every item, on this thread and on as many more as there are idle cores.

    Items are independent of each other. The first exception ends the work and is raised.
    ``short_calls``: the task makes many calls to NumPy that take some microseconds each, and at
    each of them threads wait for Python's lock. It then gets half of the cores: on two, a second
    thread costs up to two fifths more CPU time, and saves hardly any by the clock.
    """
    waiting = deque(items)

    def work() -> None:
        while True:
            try:
                item = waiting.popleft()
            except IndexError:
                return
            try:
                task(item)
            except BaseException:
                waiting.clear()
                raise

    helpers = _claim(len(items) - 1, _cores(short_calls=short_calls))
    try:
        if helpers == 0:
            work()
            return
        with ThreadPoolExecutor(helpers) as pool:
            jobs = [pool.submit(work) for _ in range(helpers)]
            work()
        for job in jobs:
            job.result()
    finally:
        _release(helpers)


def map_ahead(task: Callable[[Item], Answer], items: Iterator[Item]) -> Iterator[Answer]:
    """Give the answers of ``task`` in the order of ``items``, working on one on every idle core.

    Items are taken when they are about to be needed. The first exception, in their order, ends the
    work and is raised. A lone item is worked on by this thread, which others can help.
    """
    first = deque(islice(items, 2))
    if len(first) < 2:
        yield from map(task, first)
        return
    helpers = _claim(_cores() - 1, _cores())
    running: deque[Future[Answer]] = deque()
    pool = ThreadPoolExecutor(1 + helpers)
    try:
        for item in _emptied(first, items):
            running.append(pool.submit(task, item))
            del item  # which may be large, and done before the next one is wanted
            if len(running) > helpers:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        # Without waiting: a generator that is given up may be closed on any thread, also its own.
        pool.shutdown(wait=False, cancel_futures=True)
        _release(helpers)


def _emptied(first: deque[Item], others: Iterator[Item]) -> Iterator[Item]:
    while first:
        yield first.popleft()
    yield from others


def idle_cores(*, short_calls: bool = False) -> int:
    """How many cores could help this thread in ``run_together``."""
    with _lock:
        return max(0, _cores(short_calls=short_calls) - max(1, _working))


def _claim(wanted: int, cores: int) -> int:
    """Count the calling thread as working, and give the number of threads that may help it."""
    global _working  # noqa: PLW0603 - the cores belong to the process
    with _lock:
        _working += 1
        helpers = max(0, min(wanted, cores - _working))
        _working += helpers
    return helpers


def _release(helpers: int) -> None:
    global _working  # noqa: PLW0603 - as above
    with _lock:
        _working -= 1 + helpers


def _start_anew() -> None:
    """Count from zero in a forked process, which has none of the threads counted before."""
    global _lock, _users, _working, _limit
    _lock, _users, _working = Lock(), 0, 0
    limit, _limit = _limit, ExitStack()
    limit.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)


def _cores(*, short_calls: bool = False) -> int:
    """How many cores this process may use: as many as Polars does, or half of them."""
    cores = _cores_of_polars()
    return max(1, cores // 2) if short_calls else cores


def _cores_of_polars() -> int:
    limit = os.environ.get("POLARS_MAX_THREADS", "")
    if limit.isdecimal() and int(limit) > 0:
        return int(limit)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def _controller() -> ThreadpoolController:
    """Look up the loaded BLAS libraries, once."""
    return ThreadpoolController()
