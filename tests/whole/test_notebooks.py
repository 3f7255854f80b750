"""Every notebook runs from start to end and draws; none carries outputs in git."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import nbformat
import polars as pl
import pytest
from nbclient import NotebookClient
from polars.testing import assert_frame_equal

import vbase_py_utils
from vbase_py_utils import plots
from vbase_py_utils.stats import cross_section_regression

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
NAMES = [path.stem for path in NOTEBOOKS]


def read(path):
    return nbformat.read(path, as_version=4)


def test_the_notebooks_are_there():
    assert {"equity_market", "factor_regression_demo", "fama_french_portfolios"} <= set(NAMES)


# What the notebooks say in words, run before their last cells.
CLAIMS = {
    "equity_market": """
# What the picture's title says, and the truth that it is measured by.
assert rmse_ratio <= 0.7
assert truth.height == 240 and largest < 1e-10
assert off['robust'][0] < off['least squares'][0]
momentum, value = (lag.filter(pl.col('factor') == f) for f in ('momentum', 'value'))
assert momentum['unlagged'][0] > 3 * momentum['lagged'][0] > 0
assert value['unlagged'][0] < 0 < value['lagged'][0]
assert overall_rmse(second_pass) < overall['robust'] < overall_rmse(equal)
told = fama_macbeth(robust, lags='auto').filter(pl.col('t_stat').abs() > 2)
assert told['factor'].to_list() == ['intercept', 'value', 'momentum', 'quality']
assert not page.exists()
""",
    "factor_regression_demo": """
gaps = (robust - least_squares).abs().max(axis=1)
assert gaps[month] > 0.08 and gaps.drop(month).max() < 0.0025
""",
    "fama_french_portfolios": """
# The panel that the other tests and the README call the notebook's.
panel.collect().write_parquet('panel.parquet')
assert 0.18 < fits.diagnostics['n_downweighted'].mean() / 30 < 0.22
assert (months['gain'] > 0).mean() > 0.9 and months['gain'].median() < 0.1
held = recent.group_by('factor').agg((pl.col('t_stat').abs() < 1.96).mean())
held = dict(held.rows())
assert recent.height == 4 * 60 and held['beta_MktRF'] < 0.25 and held['beta_Mom'] > 0.5
assert worst.year == 1990
year = fits.specific_returns.filter(pl.col('period').dt.year() == 1989)
for asset, first, last in (('Durbl', 3, 9), ('Telcm', 1, 4)):
    row = year.filter(pl.col('asset') == asset).sort('period')['robustness_weight']
    assert (row[first - 1 : last] < 1).all()
apart = gaps.filter(pl.col('factor') == 'beta_Mom').sort('gap')
assert str(apart['period'][-1]) == '1960-08-01'
assert (apart['gap'].abs() < 0.01).mean() >= 0.95
pairs = fits.factor_returns.select(BETAS).corr().to_numpy()
pairs[range(4), range(4)] = 0
assert abs(pairs).max() < 0.3 and abs(pairs).argmax() in (1, 4) and pairs[0, 1] > 0
assert page.stat().st_size < 3e6
own = {row['portfolio']: row for row in shares.to_dicts()}
assert shares['beta_MktRF'].min() > 0.44
assert 0.35 < own['S1V3']['beta_SMB'] < 0.45 and 0.22 < own['S5M1']['beta_Mom'] < 0.28
assert set(shares['portfolio'].tail(3)) == {'Utils', 'Enrgy', 'Telcm'}
assert shares['specific'].tail(3).min() > 0.35
sums = shares.select(pl.sum_horizontal(*BETAS, 'specific')).to_series()
assert abs(sums - 1).max() < 1e-12
""",
    "polars_lazy_queries": """
sums = sunk.select(pl.sum(EXPOSURES[1:])).row(0, named=True)
assert sums['value'] > 0.4 and max(abs(sums['momentum']), abs(sums['volatility'])) < 0.1
assert correlation > 0.98
""",
    "risk_model": """
of = of_portfolios
assert of.height == 3
assert ((of['lower'] < of['bias']) & (of['bias'] < of['upper'])).all()
own = risk.summary.filter(portfolio='market')
assert (own['beta'] - 1).abs().max() < 1e-9 and own['active_risk'].max() < 1e-9
assert parts.returns['unattributed'].abs().max() < 1e-12
whole = parts.linked.group_by('portfolio', maintain_order=True).agg(pl.sum('contribution'))
assert (whole['contribution'] - compounded['compounded']).abs().max() < 1e-12
assert correlation > 0.98 and abs(sums['contribution'][0] - sums['true'][0]) < 0.02
assert not page.exists()
for column in ('bias', 'bias without'):
    assert tested[column].is_between(0.9, 1.1).all()
assert (tested['mrad'] < tested['mrad without']).all()
crisis = true_volatility[CRISIS].select('day', 'momentum')
late = volatility_of('momentum', slow).join(crisis, on='day')
assert (late['risk'] < late['momentum']).mean() > 0.9
groups = young.sort('shrunk')
assert groups['with_own'][-1] == 0 and groups['blended'].is_sorted()
assert (groups['blended'] < groups['own']).drop_nulls().all()
assert by_fifth['bias'].is_between(0.93, 1.05).all()
""",
}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_runs_and_draws(path, tmp_path, french_panel):
    notebook = read(path)
    # Warnings are errors here as in the other tests.
    notebook.cells.insert(
        0, nbformat.v4.new_code_cell("import warnings\nwarnings.simplefilter('error')")
    )
    notebook.cells.insert(-1, nbformat.v4.new_code_cell(CLAIMS[path.stem]))
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": tmp_path}})
    client.execute()
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    assert any("image/png" in out.get("data", {}) for out in outputs)
    assert not [out for out in outputs if out.get("name") == "stderr"]
    if path.stem == "fama_french_portfolios":
        keys = ["period", "asset"]
        panel = pl.read_parquet(tmp_path / "panel.parquet").sort(keys)
        assert_frame_equal(panel, french_panel.sort(keys), rel_tol=1e-8, abs_tol=1e-10)


def headings(notebook):
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return [line for line in text.splitlines() if line.startswith("#")]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_opens_with_what_the_reader_will_learn(path):
    notebook = read(path)
    titles = [line for line in headings(notebook) if line.startswith("# ")]
    first = notebook.cells[0]
    assert first.cell_type == "markdown"
    assert titles == first.source.splitlines()[:1]
    assert "\n\nYou will learn how to\n\n- " in first.source
    assert 3 <= sum(line.startswith("- ") for line in first.source.splitlines()) <= 5


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_ends_with_something_to_change(path):
    notebook = read(path)
    last = [cell for cell in notebook.cells if cell.cell_type == "markdown"][-1]
    assert headings(notebook).count("## Now change something") == 1
    assert last.source.startswith("## Now change something\n\n- ")
    assert 2 <= sum(line.startswith("- ") for line in last.source.splitlines()) <= 3
    # Whatever follows is at most one cell to try it in or to clean up.
    assert notebook.cells.index(last) >= len(notebook.cells) - 2


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_carries_no_outputs(path):
    for cell in read(path).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_imports_public_names_only(path):
    documented = "vbase_py_utils.stats.cross_section_regression"
    public = {
        "vbase_py_utils": {*vbase_py_utils.__all__, "plots"},
        "vbase_py_utils.plots": functions_of(plots),
        documented: functions_of(cross_section_regression),
    }
    for cell in read(path).cells:
        if cell.cell_type == "code":
            for node in ast.walk(ast.parse(cell.source)):
                if isinstance(node, ast.Import):
                    assert not [a.name for a in node.names if a.name.startswith("vbase_py_utils")]
                elif isinstance(node, ast.ImportFrom) and node.module.startswith("vbase_py_utils"):
                    assert {alias.name for alias in node.names} <= public[node.module]


def functions_of(module):
    """The public functions that are written there."""
    members = inspect.getmembers(module, inspect.isfunction)
    return {name for name, f in members if f.__module__ == module.__name__ and name[0] != "_"}
