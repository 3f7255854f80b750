"""A bar where somebody sees it, silence elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import polars as pl
import pytest
import tqdm
from nbclient import NotebookClient
from polars.testing import assert_frame_equal

from panels import EXPOSURES, panel_of
from vbase_py_utils import PanelError, factor_returns, fit_cross_sections
from vbase_py_utils.fit import one_pass, query

TESTS = str(Path(__file__).parents[1])
RUN = """
import sys; sys.path.insert(0, {tests!r})
from panels import EXPOSURES, panel_of
from vbase_py_utils import factor_returns
panel = panel_of(1, [20] * 30)
factor_returns(panel{lazy}, EXPOSURES, sorted_by_period={sorted}, progress=True){collect}
"""
WAYS = {
    "eager": {"lazy": "", "sorted": False, "collect": ""},
    "lazy": {"lazy": ".lazy()", "sorted": False, "collect": ".collect()"},
    "one pass": {"lazy": ".lazy()", "sorted": True, "collect": ".collect()"},
}


def command(way):
    code = RUN.format(tests=TESTS, **WAYS[way])
    return [sys.executable, "-W", "error", "-c", code]


@pytest.mark.parametrize("way", WAYS)
def test_silent_where_the_output_is_no_terminal(way):
    run = subprocess.run(command(way), capture_output=True, text=True, check=True)
    assert run.stdout == run.stderr == ""


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
@pytest.mark.parametrize("way", WAYS)
def test_a_bar_on_a_terminal(way):
    import pty
    import termios

    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    subprocess.run(command(way), stderr=theirs, stdout=subprocess.PIPE, check=True)
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert "30 periods" in shown if way == "one pass" else "30/30" in shown


def test_a_bar_in_a_notebook(tmp_path):
    cells = [nbformat.v4.new_code_cell(RUN.format(tests=TESTS, **WAYS[way])) for way in WAYS]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": tmp_path}}).execute()
    for cell, last in zip(notebook.cells, ["30/30", "30/30", "30 periods"], strict=True):
        assert last in "".join(out.get("text", "") for out in cell.outputs)


@pytest.fixture
def counted(monkeypatch):
    """What the bars were told: (how many there will be, how many are done) of each."""
    bars = []

    class Bar:
        def __init__(self, *, total, **_):
            self.total, self.n = total, 0
            bars.append(self)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.closed = True

        def update(self, n):
            assert n >= 0
            self.n += n

    monkeypatch.setattr(tqdm, "tqdm", Bar)
    return bars


@pytest.mark.parametrize("fit", [factor_returns, fit_cross_sections])
@pytest.mark.parametrize("lazy", [True, False])
@pytest.mark.parametrize("sorted_by_period", [True, False])
def test_every_period_is_counted_once(counted, monkeypatch, fit, lazy, sorted_by_period):
    """Also those with too few assets, or none that are usable."""
    monkeypatch.setattr(one_pass, "BLOCK_CELLS", 500)
    panel = panel_of(1, [20, 2, 9, 1, 35] * 10)
    frame = panel.lazy() if lazy else panel
    arguments = {"weights": "w", "sorted_by_period": sorted_by_period}
    answer = fit(frame, EXPOSURES, progress=True, **arguments)
    assert len(counted) == (0 if lazy else 1)
    if lazy:
        answer = answer.collect()
    (bar,) = counted
    assert bar.n == 50
    assert bar.closed
    assert bar.total == (None if lazy and sorted_by_period else 50)
    if isinstance(answer, pl.DataFrame):
        assert_frame_equal(answer, factor_returns(panel, EXPOSURES, weights="w"))


def test_a_panel_of_many_blocks_has_one_bar(counted, monkeypatch):
    monkeypatch.setattr(query, "BLOCK_ROWS", 100)
    factor_returns(panel_of(1, [20] * 30), EXPOSURES, progress=True)
    (bar,) = counted
    assert (bar.n, bar.total, bar.closed) == (30, 30, True)


def test_the_bar_is_closed_when_the_fit_fails(counted):
    panel = panel_of(1, [20] * 30).with_columns(w=-1.0)
    arguments = {"weights": "w", "progress": True}
    for frame in (panel, panel.lazy()):
        for ordered in (True, False):
            counted.clear()
            with pytest.raises(PanelError, match="negative"):
                factor_returns(frame, EXPOSURES, sorted_by_period=ordered, **arguments).collect()
            assert counted[0].closed


def test_no_bar_unless_asked_for(counted):
    factor_returns(panel_of(1, [20] * 3), EXPOSURES)
    assert counted == []


@pytest.mark.parametrize("lazy", [True, False])
def test_without_tqdm_the_message_names_the_extra(monkeypatch, lazy):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    panel = panel_of(1, [20] * 3)
    said = (
        r"^progress=True needs tqdm, which the extra 'progress' installs: "
        r"from a checkout, pip install '\.\[progress\]'$"
    )
    for function in (factor_returns, fit_cross_sections):
        with pytest.raises(ImportError, match=said):
            function(panel.lazy() if lazy else panel, EXPOSURES, progress=True)
        function(panel, EXPOSURES)
