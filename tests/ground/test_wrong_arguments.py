"""Every public function with wrong values for every argument: one sentence, never a raw message."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import polars.selectors as cs
import pytest

import vbase_py_utils
from vbase_py_utils import FitError, PanelError, fit_cross_sections, plots
from vbase_py_utils.stats import cross_section_regression as pandas_functions

PANEL = pl.DataFrame(
    {
        "period": [1] * 5 + [2] * 5,
        "asset": ["A", "B", "C", "D", "E"] * 2,
        "return": [0.01, 0.03, -0.02, 0.04, 0.02, 0.05, -0.01, 0.02, 0.03, 0.0],
        "beta": [1.0, 2.0, -1.0, 3.0, 0.5, 2.0, -1.0, 1.0, 0.5, 1.5],
        "cap": [1.0, 2.0, 3.0, 4.0, 5.0] * 2,
    }
)
WIDE = pl.DataFrame({"period": [1, 2, 3], "x": [0.1, 0.3, 0.2], "y": [0.2, 0.1, 0.1]})
BIASED = pl.DataFrame({"period": [1, 2, 3], "risk": [0.1, 0.3, 0.2]})
COVARIANCE = pl.DataFrame({"period": [1], "factor": ["x"], "x": [0.01]})
OF_PORTFOLIO = {"period": [1, 2], "portfolio": ["fund", "fund"]}
CONTRIBUTIONS = pl.DataFrame({**OF_PORTFOLIO, "factor": ["x", "x"], "contribution": [0.1, 0.2]})
EXPOSURES = pl.DataFrame({**OF_PORTFOLIO, "factor": ["x", "x"], "exposure": [1.0, 2.0]})
SUMMARY = pl.DataFrame(
    {**OF_PORTFOLIO, "risk": [0.1, 0.2], "active_risk": [0.1, 0.1], "specific_risk": [0.1, 0.1]}
)
HELD = PANEL.select("period", "asset", weight=pl.lit(0.2))
VARIANCE = pl.DataFrame({"period": PANEL["period"][:1], "factor": ["beta"], "beta": [0.01]})
LABELS = ["A", "B", "C", "D", "E"]
BOTH = pd.MultiIndex.from_product([["2023-01"], LABELS], names=["period", "asset"])


@cache
def fits():
    return fit_cross_sections(PANEL, "beta")


@cache
def attributed():
    return vbase_py_utils.attribution(fits(), HELD, PANEL)


def cross_section():
    return {
        "asset_returns": pd.Series([0.01, 0.02, 0.05, 0.04, 0.05], index=LABELS),
        "factor_loadings": pd.DataFrame({"beta": [0.5, 1.0, 1.5, 2.0, 2.5]}, index=LABELS),
        "weights": pd.Series(1.0, index=LABELS),
    }


def cross_sections():
    one = cross_section()
    return {
        "returns_df": one["asset_returns"].to_frame("2023-01"),
        "exposures_df": one["factor_loadings"].set_axis(BOTH),
        "weights_df": one["weights"].set_axis(BOTH),
    }


# Arguments with which each function has an answer. Those that are not given keep their defaults.
CALLS: dict[str, tuple[Callable[..., Any], Callable[[Any], dict[str, Any]]]] = {
    name: (getattr(vbase_py_utils, name), arguments)
    for name, arguments in {
        "factor_returns": lambda _: {"panel": PANEL, "exposures": ["beta"]},
        "fit_cross_sections": lambda _: {"panel": PANEL, "exposures": ["beta"]},
        "fama_macbeth": lambda _: {"factor_returns": WIDE},
        "lag_exposures": lambda _: {"panel": PANEL, "columns": "beta"},
        "inverse_variance_weights": lambda _: {"panel": PANEL, "fits": fits()},
        "huber_regression": lambda _: {"returns": "return", "exposures": "beta"},
        "huber_residuals": lambda _: {"returns": "return", "exposures": "beta"},
        "winsorize": lambda _: {"column": "beta", "robust_sds": 3},
        "zscore": lambda _: {"column": "beta"},
        "rank_normal": lambda _: {"column": "beta"},
        "fill_missing_by_group": lambda _: {"column": "beta", "by": "asset"},
        "neutralize": lambda _: {"column": "return", "exposures": "beta"},
        "cap_weights": lambda _: {"cap": "cap"},
        "factor_covariance": lambda _: {"factor_returns": WIDE, "min_periods": 1},
        "specific_risk": lambda _: {"specific_returns": fits()},
        "factor_exposures": lambda _: {"weights": HELD, "panel": PANEL, "fits": fits()},
        "portfolio_risk": lambda _: {
            "weights": HELD,
            "panel": PANEL,
            "fits": fits(),
            "factor_covariance": VARIANCE,
            "specific_risk": HELD.rename({"weight": "specific_risk"}),
        },
        "attribution": lambda _: {"fits": fits(), "weights": HELD, "panel": PANEL},
        "bias_statistics": lambda _: {"returns": BIASED, "risk": BIASED},
        "sink_file": lambda folder: {"query": WIDE.lazy(), "path": folder / "wide.csv"},
        "write_report": lambda folder: {"fits": fits(), "path": folder / "page.html"},
    }.items()
}
CALLS |= {
    f"plots.{name}": (getattr(plots, name), arguments)
    for name, arguments in {
        "cumulative_returns": lambda _: {"factor_returns": WIDE},
        "confidence_bands": lambda _: {"coefficients": fits()},
        "true_against_estimated": lambda _: {"truth": WIDE, "estimated": WIDE},
        "robust_against_least_squares": lambda _: {"robust": WIDE, "least_squares": WIDE},
        "t_values": lambda _: {"premia": fits()},
        "fit_quality": lambda _: {"diagnostics": fits()},
        "robustness_weights": lambda _: {"specific_returns": fits()},
        "correlations": lambda _: {"factor_returns": WIDE},
        "rolling_bias": lambda _: {"returns": BIASED, "risk": BIASED},
        "forecast_and_realised": lambda _: {"returns": BIASED, "risk": BIASED},
        "factor_volatilities": lambda _: {"covariance": COVARIANCE},
        "factor_correlations": lambda _: {"covariance": COVARIANCE},
        "risk_contributions": lambda _: {"risk": CONTRIBUTIONS},
        "exposures_over_time": lambda _: {"exposures": EXPOSURES},
        "cumulative_attribution": lambda _: {"attribution": attributed()},
        "active_and_total": lambda _: {"risk": SUMMARY},
    }.items()
}
CALLS |= {
    "run_cross_sectional_regression": (
        pandas_functions.run_cross_sectional_regression,
        lambda _: cross_section(),
    ),
    "run_monthly_factor_returns": (
        pandas_functions.run_monthly_factor_returns,
        lambda _: cross_sections(),
    ),
}
# Raised, or given by fit_cross_sections: nobody calls them.
NOT_CALLED = {
    "Attribution",
    "CrossSectionFits",
    "Estimated",
    "FitArguments",
    "FitError",
    "PanelError",
    "PortfolioRisk",
    "VbaseError",
    "__version__",
}

VALUES: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "True": lambda: True,
    "False": lambda: False,
    "0": lambda: 0,
    "-1": lambda: -1,
    "0.5": lambda: 0.5,
    "nan": lambda: math.nan,
    "inf": lambda: math.inf,
    "huge": lambda: 10**5000,
    "fraction": lambda: Fraction(10) ** 400,
    "decimal": lambda: Decimal("0.5"),
    "complex": lambda: 1j,
    "empty text": str,
    "nope": lambda: "nope",
    "long": lambda: "nope" * 5000,
    "two lines": lambda: "two\nlines",
    "nul": lambda: "no\0pe",
    "bytes": lambda: b"x",
    "list": lambda: [1, None],
    "empty list": list,
    "tuple of names": lambda: ("nope", "neither"),
    "nested": lambda: [["nope"]],
    "set": lambda: {"beta", "cap"},
    "frozenset": lambda: frozenset({"beta"}),
    "dict": lambda: {"nope": 1},
    "generator": lambda: (x for x in [1]),
    "pl.DataFrame": lambda: pl.DataFrame({"a": [1, 2], "b": [3, 4]}),
    "pl.LazyFrame": lambda: pl.LazyFrame({"a": [1, 2]}),
    "pl.Series": lambda: pl.Series("a", [1.0, 2.0]),
    "expression": lambda: pl.col("beta") * 2,
    "selector": lambda: cs.starts_with("nope"),
    "pd.DataFrame": lambda: pd.DataFrame({"a": [1, 2], "b": [3, 4]}),
    "pd.Series": lambda: pd.Series([1.0, 2.0], name="beta"),
    "MultiIndex frame": lambda: cross_sections()["exposures_df"],
    "2-D array": lambda: np.arange(6.0).reshape(2, 3),
    "object": object,
    "class": lambda: int,
    "function": lambda: len,
    "datetime": lambda: datetime(2024, 1, 31),
    "date": lambda: date(2024, 1, 31),
}

TEXTS = {"empty text", "nope", "long", "two lines", "nul"}
COLUMN = {*TEXTS, "expression", "selector"}  # known to be there only when the query runs
OF_COLUMNS = {*COLUMN, "tuple of names"}
# The pairs that are no mistake: of a function's argument, else of any argument of that name.
RIGHT: dict[str, set[str]] = {
    # Flags and options that a function has.
    "intercept": {"True", "False"},
    "sorted_by_period": {"True", "False"},
    "progress": {"True", "False"},
    "huber_t": {"0.5", "inf"},
    "efficiency": {"0.5"},
    "tol": {"0.5"},
    "weights": {"None"},  # equal ones
    "categories": {"None"},
    "factors": {"None"},  # all
    "ax": {"None"},  # a new figure
    "level": {"0.5"},
    "lags": {"0"},
    "shrinkage": {"0", "0.5"},
    "half_life": {"None", "0.5"},
    "factor_covariance.half_life": {"0.5", "inf"},
    "specific_risk.half_life": {"0.5", "inf"},
    "correlation_half_life": {"None", "0.5", "inf"},
    "regime_half_life": {"None", "0.5", "inf"},
    "correlation_lags": {"0"},
    "shrink": {"True", "False"},
    "subtract_errors": {"False"},
    "periods": {"None", "empty list", "generator"},
    "next_period": {"None"},
    "window": {"None"},
    "specific_risk.exposures": {"None"},
    "specific_risk.panel": {"None"},
    "factor_exposures.benchmark": {"None"},
    "portfolio_risk.benchmark": {"None"},
    "portfolio_risk.periods_per_year": {"0.5"},
    "attribution.benchmark": {"None"},
    "attribution.portfolio_returns": {"None"},
    "at": {"None"},
    "plots.rolling_bias.by": {"None", "empty list"},
    # The only portfolio.
    "plots.risk_contributions.portfolio": {"None"},
    "plots.exposures_over_time.portfolio": {"None"},
    "plots.cumulative_attribution.portfolio": {"None"},
    "plots.active_and_total.portfolio": {"None"},
    "bias_statistics.by": {"None", "empty list"},
    "cut": {"inf"},
    "title": TEXTS,
    "name": TEXTS,  # of a new column
    # The first column, and what fits know themselves.
    "period": {"None"},
    "asset": {"None"},
    # A page may have any name that a file may have.
    "write_report.path": {"nope", "two lines"},
    # No portfolios.
    "write_report.attribution": {"None"},
    "write_report.risk": {"None"},
    # Expressions name columns that are not known yet.
    "huber_regression.returns": COLUMN,
    "huber_residuals.returns": COLUMN,
    "huber_regression.weights": {"None", *COLUMN},
    "huber_residuals.weights": {"None", *COLUMN},
    "huber_regression.exposures": OF_COLUMNS,
    "huber_residuals.exposures": OF_COLUMNS,
    "column": COLUMN,
    "cap": COLUMN,
    "by": OF_COLUMNS,
    "neutralize.exposures": OF_COLUMNS,
    "neutralize.weights": {"None", *COLUMN},
    "zscore.weights": {"None", *COLUMN},
    "robust_sds": {"0.5"},
    "quantiles": {"None"},
    "columns": {"empty list"},  # nothing is lagged
    "power": {"0", "0.5"},
    "max_share": {"None", "0.5"},
    # Periods and assets that nothing else has are rows of NaN, and a warning.
    "returns_df": {"pd.DataFrame"},
    "exposures_df": {"MultiIndex frame"},
    "weights_df": {"MultiIndex frame"},
    # The first column is the period, the others are factors.
    "factor_returns": {"pl.DataFrame", "pd.DataFrame"},
    # Any frame is written.
    "query": {"pl.DataFrame", "pl.LazyFrame", "pd.DataFrame"},
}
# A message may say it in the words of the sentence.
WORDS = {
    "exposures": r"exposures?",
    "columns": r"columns?",
    "categories": r"categor(y|ies)",
    "factor_returns": r"factor[ _]returns",
    "specific_returns": r"specific[ _]returns",
    # Of two frames: what either lacks.
    **dict.fromkeys(("truth", "estimated"), r"truth|estimated|factor returns|both frames"),
    **dict.fromkeys(
        ("robust", "least_squares"), r"robust|least_squares|factor returns|both frames"
    ),
    "path": r"path|file|directory|folder",
}
RAW = re.compile(
    r"unhashable|object is not|has no attribute|not supported between|could not|must be real|"
    r"argument must|required positional|truth value|ambiguous|cannot convert|too large|invalid lit|"
    r"expected str|operand|dtype=|0x[0-9a-f]{6}|shape: \(|not iterable|embedded null|File name|"
    r"Expected|Traceback|pyo3|python_udf|convertible|exceeds the limit|not subscriptable|InvalidOp|"
    r"conversion|<class|<built-in|<function|namespace"
)


@dataclass
class Fault:
    value: str
    why: str
    message: str = ""
    kind: str = field(default="")

    def __str__(self):
        return f"{self.value}: {self.why} [{self.kind}] {self.message[:350]!r}"


def faults_of(argument, value, error):
    """Say what is wrong with the answer to a wrong value; ``error`` None if there was none."""
    if error is None:
        return [Fault(value, "taken")]
    message, kind = str(error), type(error).__name__
    wrong = []
    if type(error) not in (PanelError, FitError, ValueError, TypeError):
        wrong.append("class")
    if len(message.splitlines()) != 1:
        wrong.append("lines")
    if len(message) > 300:
        wrong.append(f"{len(message)} characters")
    if not re.search(rf"\b{WORDS.get(argument, argument)}\b", message):
        wrong.append("not named")
    if RAW.search(message):
        wrong.append("raw")
    if not message.isprintable():
        wrong.append("not printable")
    return [Fault(value, ", ".join(wrong), message, kind)] if wrong else []


def same(one, other):
    if isinstance(one, pl.DataFrame | pl.Series | pd.DataFrame | pd.Series):
        return one.equals(other)
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    return True if not isinstance(one, list | dict | set) else one == other


PAIRS = [
    (call, argument)
    for call, (function, _) in CALLS.items()
    for argument in inspect.signature(function).parameters
]


def test_every_public_function_is_called():
    public = {name for name in vbase_py_utils.__all__ if name not in NOT_CALLED}
    public.discard("plots")
    public |= {f"plots.{name}" for name in plots.__all__}
    public |= {name for name in vars(pandas_functions) if name.startswith("run_")}
    assert set(CALLS) == public


@pytest.mark.parametrize("call", CALLS)
def test_the_right_arguments_have_an_answer(call, tmp_path):
    function, arguments = CALLS[call]
    function(**arguments(tmp_path))


@pytest.mark.filterwarnings("ignore:.*periods without a converged answer:RuntimeWarning")
@pytest.mark.parametrize(("call", "argument"), PAIRS, ids=[f"{c}-{a}" for c, a in PAIRS])
def test_a_wrong_value_is_refused_in_one_sentence(call, argument, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    function, arguments = CALLS[call]
    right = RIGHT.get(f"{call}.{argument}", RIGHT.get(argument, set()))
    faults = []
    for name, make in VALUES.items():
        if name in right:
            continue
        value, before, others = make(), make(), arguments(tmp_path)
        error = None
        try:
            function(**others | {argument: value})
        except Exception as raised:
            error = raised
        faults += faults_of(argument, name, error)
        assert same(value, before)
        for given, unchanged in zip(others.values(), arguments(tmp_path).values(), strict=True):
            assert same(given, unchanged)
    assert not faults, "\n" + "\n".join(map(str, faults))
    assert not list(tmp_path.iterdir())
