# The recipes of this project; `just` alone lists them.

# Most tests keep one core busy.
two_at_once := "-n 2 --dist worksteal"

_default:
    @just --list --unsorted

# simulate a panel, estimate its factor returns, compare them with the truth
demo:
    uv run python -m vbase_py_utils

# everything: lint, types, tests, doctests, examples, pages, notebooks
test: lint type
    uv run pytest {{ two_at_once }}

# formatting and lint
lint:
    uv run ruff format --check
    uv run ruff check

# strict type check
type:
    uv run mypy

# the tests on the lowest versions pyproject.toml allows
test-lowest:
    uv venv --quiet --clear --python '>=3.11,<3.14' build/lowest
    uv pip install --quiet --python build/lowest --resolution lowest-direct --group dev --editable '.[pandas,plot,progress,notebook]'
    build/lowest/bin/python -m pytest {{ two_at_once }}

# the tests on another Python: `just test-python 3.13`
test-python version:
    uv run --isolated --python {{ version }} pytest {{ two_at_once }}

# long random campaigns: 48,000 hard problems against plain IRLS, some minutes
campaign:
    uv run pytest -m campaign

# what p-values are worth with few assets, and what bad exposures do: tables and their tests, 3 minutes
simulate-errors *options:
    uv run python tests/benchmarks/simulate_errors.py {{ options }}
    uv run pytest -m slow {{ two_at_once }}

# forecasts of risk on simulated markets, beside what they should be: tables and tests, 3 minutes
simulate-risk *options:
    uv run python tests/benchmarks/simulate_risk.py {{ options }}
    uv run pytest -m slow {{ two_at_once }} tests/whole/test_simulated_risk.py

# the library beside its peers, as markdown tables, some five minutes; `just bench --quick` is short
bench *options:
    uv run --isolated --group bench python tests/benchmarks/bench.py {{ options }}

# panels larger than memory: peak memory and time of one pass; writes 5 GB to a temporary folder
bench-memory *options:
    uv run python tests/benchmarks/bench_memory.py {{ options }}

# open the notebooks
notebooks:
    uv run --with jupyterlab jupyter lab notebooks

# the pages and the reference as a web site in build/docs
docs:
    rm -rf build/docs
    uv run sphinx-build -W -n --keep-going -q -E -b html notebooks/pages build/docs
    @echo "open build/docs/index.html"

# draw the picture of the README
picture:
    uv run python notebooks/picture.py notebooks/picture.png

# rewrite the sources in the project's format
format:
    uv run ruff format
    uv run ruff check --fix
