"""Forked processes: raise an error at once where Polars would wait for ever.

A fork copies only the thread that calls it. Once Polars has started its threads, a forked child
waits for threads that it does not have.
"""

from __future__ import annotations

import os
from pathlib import Path

# Where Linux lists the threads of this process, and prefixes of the names of threads that Polars
# starts with its first query. The threads that it starts on import are harmless.
THREADS = Path("/proc/self/task")
STARTED_BY_POLARS = ("polars-0", "tokio-rt-worker", "async-executor")

_worked = False  # whether this library has been called in this process
_started = False  # whether Polars had its threads when this process was last forked
_lost = False  # whether this process is a fork without them


def check_process() -> None:
    """Raise RuntimeError in a process that was forked after Polars had started its threads."""
    global _worked  # noqa: PLW0603 - one state per process
    if _lost:
        raise RuntimeError(
            "this process was forked after Polars had started its threads, which a fork does not "
            "copy, so a query would wait for ever: start processes with the methods 'spawn' or "
            "'forkserver' of multiprocessing, or with joblib's loky"
        )
    _worked = True


def _has_started() -> bool:
    """Whether Polars has started its threads; if they cannot be listed, whether we were called."""
    try:
        names = [(task / "comm").read_text() for task in THREADS.iterdir()]
    except OSError:
        return _worked
    return any(name.startswith(STARTED_BY_POLARS) for name in names)


def _before_fork() -> None:
    global _started  # noqa: PLW0603 - as above
    _started = _has_started()


def _in_child() -> None:
    global _lost  # noqa: PLW0603 - as above
    _lost = _lost or _started


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_in_child)
