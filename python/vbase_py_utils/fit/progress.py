"""A progress bar on request, where somebody can see it; tqdm draws it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from vbase_py_utils.kernel.period_fits import Done
from vbase_py_utils.text import needs


def check_progress(*, progress: bool) -> None:
    """Raise ImportError when a bar is asked for and tqdm, which draws it, is not installed."""
    if progress and importlib.util.find_spec("tqdm") is None:
        raise ImportError(needs("progress=True", "tqdm", "progress"))


@contextmanager
def counting(n_periods: int | None = None, *, progress: bool = True) -> Iterator[Done | None]:
    """Show a bar while the block runs, and give the function that counts fitted periods.

    Without ``progress`` there is neither: the block gets ``None``. ``n_periods``: the number to
    come, if it is known. The bar is shown on a terminal or in a notebook only. The function may be
    called from several threads.
    """
    if not progress:
        yield None
        return
    lock = Lock()
    notebook = _in_notebook()
    widgets = notebook and importlib.util.find_spec("ipywidgets") is not None
    tqdm = importlib.import_module("tqdm.notebook" if widgets else "tqdm").tqdm
    # None: shown on a terminal only.
    with tqdm(total=n_periods, unit=" periods", disable=False if notebook else None) as bar:

        def done(n: int) -> None:
            with lock:
                bar.update(n)

        yield done


def _in_notebook() -> bool:
    """Whether this runs in the kernel of a notebook; asks IPython only if that is loaded."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and "IPKernelApp" in shell.config
