"""One BLAS thread while periods are fitted: many small solves are slower with more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from threading import Lock

from threadpoolctl import ThreadpoolController

_lock = Lock()
_users = 0
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
def _controller() -> ThreadpoolController:
    """Look up the loaded BLAS libraries, once."""
    return ThreadpoolController()
