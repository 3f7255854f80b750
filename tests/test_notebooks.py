"""Every notebook runs from start to end and draws; none carries outputs in git."""

from __future__ import annotations

import ast
from pathlib import Path

import nbformat
import polars as pl
import pytest
from nbclient import NotebookClient
from polars.testing import assert_frame_equal

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
NAMES = [path.stem for path in NOTEBOOKS]


def read(path):
    return nbformat.read(path, as_version=4)


def test_the_notebooks_are_there():
    assert {"equity_market", "factor_regression_demo", "fama_french_portfolios"} <= set(NAMES)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_runs_and_draws(path, tmp_path, french_panel):
    notebook = read(path)
    # Warnings are errors here as in the other tests.
    notebook.cells.insert(
        0, nbformat.v4.new_code_cell("import warnings\nwarnings.simplefilter('error')")
    )
    french = path.stem == "fama_french_portfolios"
    if french:
        save = nbformat.v4.new_code_cell("panel.collect().write_parquet('panel.parquet')")
        notebook.cells.insert(-1, save)
    if path.stem == "equity_market":
        # What the picture's title says, and the truth that it is measured by.
        check = (
            "assert rmse_ratio <= 0.7\n"
            "assert truth.height == 240 and largest < 1e-10\n"
            "assert off['robust'][0] < off['least squares'][0]\n"
            "momentum, value = (lag.filter(pl.col('factor') == f) for f in ('momentum', 'value'))\n"
            "assert momentum['unlagged'][0] > 3 * momentum['lagged'][0] > 0\n"
            "assert value['unlagged'][0] < 0 < value['lagged'][0]\n"
            "assert overall_rmse(second_pass) < overall['robust'] < overall_rmse(equal)\n"
        )
        notebook.cells.insert(-1, nbformat.v4.new_code_cell(check))
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": tmp_path}})
    client.execute()
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    assert any("image/png" in out.get("data", {}) for out in outputs)
    assert not [out for out in outputs if out.get("name") == "stderr"]
    if french:
        # The panel that the other tests and the README call the notebook's.
        keys = ["period", "asset"]
        panel = pl.read_parquet(tmp_path / "panel.parquet").sort(keys)
        assert_frame_equal(panel, french_panel.sort(keys), rel_tol=1e-8, abs_tol=1e-10)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_carries_no_outputs(path):
    for cell in read(path).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_imports_public_names_only(path):
    public = {"vbase_py_utils", "vbase_py_utils.stats.cross_section_regression"}
    for cell in read(path).cells:
        if cell.cell_type == "code":
            assert "import vbase_py_utils" not in cell.source
            for node in ast.walk(ast.parse(cell.source)):
                if isinstance(node, ast.ImportFrom) and node.module.startswith("vbase_py_utils"):
                    assert node.module in public
                    assert not [a.name for a in node.names if a.name.startswith("_")]
