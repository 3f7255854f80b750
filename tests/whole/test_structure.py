"""What importing the package loads, and which module may know which."""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

import vbase_py_utils

PACKAGE = Path(vbase_py_utils.__file__).parent

# Who may import whom, and why. A name with a dot is a single module.
WINGS = {
    "text": ("", "turns words and names into lines of text"),
    "errors": ("text", "the sentences of what can be wrong with a panel"),
    "arguments": ("text", "checks of single arguments"),
    "forks": ("", "asks the operating system only"),
    "demo": ("", "a simulated panel, as any user would make it"),
    "kernel": ("", "arrays in, arrays out: no frames, no messages"),
    "periods": ("errors text", "what the order of keys is, without a panel"),
    "frames": ("periods errors text", "Polars frames as users have them"),
    "sources": ("frames arguments errors text", "foreign tables become Polars frames"),
    "keys": ("errors text", "which keys rows can have, and whether they are those of a panel"),
    "panel": (
        "keys frames sources forks arguments errors text",
        "roles, names and types of columns",
    ),
    "fit": ("kernel panel keys periods forks arguments errors text", "frames to arrays and back"),
    "storage": ("panel keys periods arguments errors text", "where files are, and panels in csv"),
    "files": (
        "storage frames panel keys periods errors text",
        "the documented functions on files",
    ),
    "prepare": (
        "fit kernel panel keys periods arguments errors text",
        "before the fit, by expressions",
    ),
    "analyse": ("fit kernel panel keys periods forks arguments errors text", "what many fits show"),
    "risk": (
        "analyse.reading fit kernel panel keys periods forks arguments errors text",
        "forecasts from what fits give, and tests of them",
    ),
    "plots": (
        "analyse risk.attribution risk.bias risk.holdings risk.options risk.portfolio risk.reading "
        "kernel.linking fit.schema fit.results panel keys arguments errors text",
        "draws frames and results of risk, and links them over time; knows neither how frames were "
        "computed nor the solver",
    ),
    "report": (
        "plots analyse risk.portfolio risk.attribution risk.bias risk.holdings risk.options "
        "risk.risk_frames fit.schema fit.results storage panel keys arguments errors text",
        "charts and tables in a file, also of results of risk, whose forecasts it tests",
    ),
    "stats": ("fit kernel panel keys forks arguments errors text", "pandas in, pandas out"),
    "__main__": (
        "fit kernel files storage panel keys periods demo errors text",
        "the command line",
    ),
    "__init__": (
        "analyse errors files fit forks plots prepare report risk",
        "shows what is public, and watches forks",
    ),
}
# Inside two wings a line may import those above it, and nothing on its own line.
ORDER = {
    "kernel": (
        ("threads losses", "functions of numbers; what runs them side by side"),
        (
            "linalg scale series shrinkage linking",
            "small systems, medians, series and eigenvalues of arrays; returns over time",
        ),
        (
            "specific_variance factor_covariances portfolio_risk",
            "forecasts of risk, from series; the risk of portfolios, given those",
        ),
        ("attribution", "returns in parts, by the same exposures, and linked over time"),
        ("stacks state", "periods side by side: as they are given; as the iteration sees them"),
        (
            "newton period_fits covariance distances",
            "a phase; the record of fits; variances given a fit; how far exposures lie out",
        ),
        ("steps", "one step of every period, by the rules of its phase"),
        (
            "irls inference redescend mm_covariance",
            "estimates the record; assesses it; the same of the last stage of MM",
        ),
        ("mm", "a Huber fit for its start, then downhill from there"),
        ("estimators", "either estimate by one call"),
        ("categories", "factors under a constraint are fits and assessments of other columns"),
        ("portfolios", "holdings of factors, those of categories included"),
    ),
    "fit": (
        ("progress schema block_rows", "a bar; names and types; frames as arrays"),
        ("block one_pass results", "a block is fitted without knowing who reads or shows it"),
        ("query expressions", "blocks in one query; groups in an expression"),
        ("cross_sections", "the public functions"),
    ),
}
# Arrows inside the other wings that would be a door left open.
NEVER = {("analyse.reading", "analyse.premia"), ("plots.data", "plots.axes")}
FRAMES = {"polars", "pandas", "pyarrow", "matplotlib"}
MOST_LINES, MOST_LINES_OF_FUNCTION = 420, 40


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


# What nothing loads before it is needed. Of those, Polars itself is what every fit needs.
LATE = "jinja2 pandas matplotlib pyarrow scipy scipy.linalg scipy.optimize scipy.special polars"


def loaded_by(code):
    """List the modules of LATE that are loaded once ``code`` has run in a new process."""
    shown = run(f"{code}\nimport sys\nprint([n for n in {LATE.split()} if n in sys.modules])")
    assert not shown.stderr
    return ast.literal_eval(shown.stdout.splitlines()[-1])


def test_import_loads_nothing_large():
    assert loaded_by("import vbase_py_utils") == []


def test_a_huber_fit_needs_polars_alone():
    code = (
        "from vbase_py_utils import factor_returns, huber_regression\n"
        "from vbase_py_utils.demo import simulated_panel\n"
        "panel, _ = simulated_panel()\n"
        "factor_returns(panel, ['Factor_0', 'Factor_1'], weights='weight')\n"
        "panel.select(huber_regression('return', 'Factor_0'))"
    )
    assert loaded_by(code) == ["polars"]


@pytest.mark.parametrize(
    "name", [name for name in vbase_py_utils.__all__ if name != "write_report"]
)
def test_public_names_load_neither_scipy_nor_what_draws(name):
    there = {"polars", "pyarrow"}  # pyarrow reads files of the functions on files
    assert set(loaded_by(f"from vbase_py_utils import {name}")) <= there


def test_modules_of_public_names_are_attributes():
    code = "import vbase_py_utils as v; print(v.errors.PanelError.__name__, v.risk.__name__)"
    assert run(code).stdout.split() == ["PanelError", "vbase_py_utils.risk"]


def test_public_names_are_where_a_type_checker_finds_them():
    tree = ast.parse(MODULES["__init__"].read_text(encoding="utf-8"))
    [seen] = [
        n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"
    ]
    written = {
        node.module: tuple(alias.name for alias in node.names)
        for node in seen.body
        if isinstance(node, ast.ImportFrom) and node.module != "vbase_py_utils"
    }
    modules = {f"vbase_py_utils.{name}": names for name, names in vbase_py_utils._MODULES.items()}
    assert written == modules
    assert sorted(name for names in modules.values() for name in names) == vbase_py_utils.__all__


def test_threads_may_load_scipy_at_once():
    """Each thread imports, at its first need, what another thread may be importing."""
    code = (
        "import numpy as np\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from threading import Barrier\n"
        "from vbase_py_utils.kernel import inference, linalg, losses\n"
        "A, u = np.random.default_rng(1).standard_normal((2, 9)), np.ones(9)\n"
        "trust = inference.Inference.unknown(1, 1, 1)\n"
        "calls = [lambda: linalg.least_squares(A, u, u), lambda: losses.Bisquare.of(0.9),\n"
        "    lambda: inference.p_values(np.ones((1, 1)), trust)] * 4\n"
        "barrier = Barrier(len(calls))\n"
        "def together(call):\n"
        "    barrier.wait()\n"
        "    call()\n"
        "with ThreadPoolExecutor(len(calls)) as pool:\n"
        "    list(pool.map(together, calls))\n"
    )
    assert "scipy.optimize" in loaded_by(code)


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
    assert run(code).stdout.strip() == "vbase_py_utils.plots.charts True"


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


def wing_of(module):
    wing, _, name = module.partition(".")
    return wing, name


def imported_by(module):
    """List the modules of the package that a module imports, also inside functions."""
    for name in imports_of(MODULES[module]):
        top, _, rest = name.partition(".")
        if top == "vbase_py_utils":
            rest = f"{rest}.__init__" if f"{rest}.__init__" in MODULES else rest
            if rest in MODULES and rest != module:
                yield rest


def test_every_module_has_a_place():
    assert {wing_of(module)[0] for module in MODULES} == set(WINGS)
    for wing, lines in ORDER.items():
        there = {name for own, name in map(wing_of, MODULES) if own == wing} - {"__init__"}
        assert sorted(there) == sorted(" ".join(names for names, _ in lines).split())


@pytest.mark.parametrize("module", MODULES)
def test_imports_follow_the_tables(module):
    wing, name = wing_of(module)
    allowed = WINGS[wing][0].split()
    for other in imported_by(module):
        theirs, their_name = wing_of(other)
        if theirs != wing:
            # A package stands for its face alone, which has the names of its wing.
            assert theirs in allowed or other in allowed, (module, other)
        elif wing in ORDER:
            level = {n: i for i, (names, _) in enumerate(ORDER[wing]) for n in names.split()}
            assert level[their_name] < level[name], (module, other)
        assert (module, other) not in NEVER
    for imported in imports_of(MODULES[module]):
        top = imported.partition(".")[0]
        if wing in {"kernel", "text", "errors", "arguments", "forks"}:
            assert top not in FRAMES, (module, imported)
        assert top != "pandas" or wing == "stats", (module, imported)
        assert top not in {"matplotlib", "jinja2"} or wing in {"plots", "report"}, module


def test_no_imports_run_in_circles():
    graph = {module: set(imported_by(module)) for module in MODULES}
    # The face of a package imports its modules, which import no face of their own.
    while leaves := {module for module, others in graph.items() if not others}:
        graph = {m: others - leaves for m, others in graph.items() if m not in leaves}
    assert not graph


@pytest.mark.parametrize("module", MODULES)
def test_modules_are_short(module):
    count = MODULES[module].read_text(encoding="utf-8").count("\n")
    assert count <= MOST_LINES


def lines_of_code(source):
    """Numbers of the lines that hold more than comments."""
    aside = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    return {
        line
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in aside
        for line in range(token.start[0], token.end[0] + 1)
    }


@pytest.mark.parametrize("module", MODULES)
def test_functions_are_short(module):
    source = MODULES[module].read_text(encoding="utf-8")
    code = lines_of_code(source)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            own = range(body[0].lineno, node.end_lineno + 1) if body else ()
            assert len(code.intersection(own)) <= MOST_LINES_OF_FUNCTION, node.name
