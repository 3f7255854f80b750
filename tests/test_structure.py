"""What importing the package loads, and which module may know which."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import vbase_py_utils

PACKAGE = Path(vbase_py_utils.__file__).parent

# Tiers, lowest first: a module may import from those below its own.
TIERS = {
    "text": 0,
    "errors": 1,
    "forks": 0,
    "arguments": 1,
    "period_text": 4.1,
    "past_variance": 1,
    "periods": 4.2,
    "period_labels": 4.2,
    "sources": 4.3,
    "robust": 0,
    "threads": 0,
    "progress": 1,
    "design": 1,
    "irls": 2,
    "inference": 3,
    "families": 4,
    "panel": 4.5,
    "portfolios": 5,
    "blocks": 5,
    "one_pass": 5,
    "results": 5,
    "fitting": 6,
    "estimation": 7,
    "premia": 6,
    "history": 6,
    "expressions": 7,
    "chart_data": 7,
    "drawing": 7,
    "plots": 8,
    "exposures": 8,
    "demo": 8,
    "places": 4.3,
    "period_formats": 4.4,
    "csv_panel": 7,
    "files": 8,
    "stats.cross_section_regression": 8,
    "pictures": 9,
    "report": 10,
    "__init__": 11,
    "__main__": 11,
    "stats.__init__": 11,
}
FRAMES = {"polars", "pandas", "pyarrow", "matplotlib"}


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_import_loads_neither_pandas_nor_what_draws():
    code = (
        "import sys, vbase_py_utils; "
        "print(sorted({'jinja2', 'pandas', 'matplotlib', 'polars'} & set(sys.modules)))"
    )
    assert run(code).stdout.strip() == "['polars']"


def test_the_command_line_loads_neither():
    code = (
        "import sys; from vbase_py_utils.__main__ import main; main([]); "
        "print(sorted({'pandas', 'matplotlib'} & set(sys.modules)))"
    )
    assert run(code).stdout.splitlines()[-1] == "[]"


def test_without_pandas_the_adapter_names_the_extra():
    code = (
        "import sys; sys.modules['pandas'] = None; "
        "import vbase_py_utils.stats.cross_section_regression"
    )
    last = run(code).stderr.strip().splitlines()[-1]
    assert last == (
        "ImportError: vbase_py_utils.stats.cross_section_regression needs pandas, which the "
        "extra 'pandas' installs: from a checkout, pip install '.[pandas]'"
    )


def test_the_package_shows_its_public_names_and_loads_plots_when_asked():
    code = (
        "import sys, vbase_py_utils as v; "
        "shown = [name for name in dir(v) if not name.startswith('__')]; "
        "assert shown == sorted([*v.__all__, 'plots']), shown; "
        "assert 'matplotlib' not in sys.modules; "
        "from importlib.metadata import version; "
        "assert v.__version__ == version('vbase-py-utils'); "
        "print(v.plots.cumulative_returns.__module__, 'matplotlib' in sys.modules)"
    )
    assert run(code).stdout.strip() == "vbase_py_utils.plots True"


def test_an_attribute_that_the_package_has_not_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'plot'"):
        vbase_py_utils.plot  # noqa: B018 - the access is the subject


def test_without_matplotlib_the_lazy_plots_name_the_extra():
    code = "import sys; sys.modules['matplotlib'] = None; import vbase_py_utils as v; v.plots"
    assert run(code).stderr.strip().splitlines()[-1] == (
        "ImportError: vbase_py_utils.plots needs matplotlib, which the extra 'plot' installs: "
        "from a checkout, pip install '.[plot]'"
    )


def test_no_module_is_hidden_by_a_public_name():
    names = [name for name in MODULES if not name.endswith("__")]
    lines = [
        f"import vbase_py_utils.{name} as m; print({name!r}, type(m).__name__)" for name in names
    ]
    shown = run("\n".join(lines)).stdout.splitlines()
    assert shown == [f"{name} module" for name in names]


@pytest.mark.parametrize("missing", ["matplotlib", "jinja2"])
def test_without_what_draws_the_report_names_the_extra(missing, tmp_path):
    code = (
        f"import sys; sys.modules['{missing}'] = None; "
        "from vbase_py_utils import fit_cross_sections, write_report; "
        "from vbase_py_utils.demo import simulated_panel; "
        "fits = fit_cross_sections(simulated_panel()[0], 'Factor_0'); "
        f"write_report(fits, {str(tmp_path / 'report.html')!r})"
    )
    assert run(code).stderr.strip().splitlines()[-1] == (
        "ImportError: write_report needs matplotlib and Jinja2, which the extra 'plot' installs: "
        "from a checkout, pip install '.[plot]'"
    )
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_the_charts_name_the_extra():
    code = "import sys; sys.modules['matplotlib'] = None; from vbase_py_utils import plots"
    assert run(code).stderr.strip().splitlines()[-1] == (
        "ImportError: vbase_py_utils.plots needs matplotlib, which the extra 'plot' installs: "
        "from a checkout, pip install '.[plot]'"
    )


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name the package"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def test_every_module_has_a_tier():
    assert set(MODULES) == set(TIERS)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_downwards(module):
    for name in imports_of(MODULES[module]):
        top, _, rest = name.partition(".")
        if top == "vbase_py_utils" and rest in TIERS:
            assert TIERS[rest] < TIERS[module], (module, rest)
            assert rest != "stats.cross_section_regression", module
        if TIERS[module] < TIERS["period_text"]:
            assert top not in FRAMES, (module, name)
        if module != "stats.cross_section_regression":
            assert top != "pandas", (module, name)
        if module not in {"drawing", "plots", "pictures", "report"}:
            assert top not in {"matplotlib", "jinja2"}, (module, name)
