"""Robust cross-sectional factor returns over long Polars panels."""

from importlib import import_module as _import_module
from importlib.metadata import version as _version
from types import ModuleType as _ModuleType
from typing import TYPE_CHECKING as _TYPE_CHECKING

from vbase_py_utils.analyse.premia import fama_macbeth
from vbase_py_utils.errors import FitError, PanelError, VbaseError
from vbase_py_utils.files import sink_file
from vbase_py_utils.fit.cross_sections import FitArguments, factor_returns, fit_cross_sections
from vbase_py_utils.fit.expressions import huber_regression, huber_residuals
from vbase_py_utils.fit.results import CrossSectionFits, Estimated
from vbase_py_utils.prepare.exposures import (
    cap_weights,
    fill_missing_by_group,
    neutralize,
    rank_normal,
    winsorize,
    zscore,
)
from vbase_py_utils.prepare.history import inverse_variance_weights, lag_exposures
from vbase_py_utils.report.page import write_report
from vbase_py_utils.risk.attribution import Attribution, attribution
from vbase_py_utils.risk.bias import bias_statistics
from vbase_py_utils.risk.covariance import factor_covariance
from vbase_py_utils.risk.exposures import factor_exposures
from vbase_py_utils.risk.portfolio import PortfolioRisk, portfolio_risk
from vbase_py_utils.risk.specific_risk import specific_risk

if _TYPE_CHECKING:
    from vbase_py_utils import plots as plots

__version__ = _version("vbase-py-utils")

__all__ = [
    "Attribution",
    "CrossSectionFits",
    "Estimated",
    "FitArguments",
    "FitError",
    "PanelError",
    "PortfolioRisk",
    "VbaseError",
    "attribution",
    "bias_statistics",
    "cap_weights",
    "factor_covariance",
    "factor_exposures",
    "factor_returns",
    "fama_macbeth",
    "fill_missing_by_group",
    "fit_cross_sections",
    "huber_regression",
    "huber_residuals",
    "inverse_variance_weights",
    "lag_exposures",
    "neutralize",
    "portfolio_risk",
    "rank_normal",
    "sink_file",
    "specific_risk",
    "winsorize",
    "write_report",
    "zscore",
]


def __getattr__(name: str) -> _ModuleType:
    # plots loads matplotlib, so it is imported only when it is first used.
    if name == "plots":
        return _import_module("vbase_py_utils.plots")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, "plots", *(name for name in globals() if name.startswith("__"))})
