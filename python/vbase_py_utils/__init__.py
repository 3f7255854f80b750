"""Robust cross-sectional factor returns over long Polars panels."""

from vbase_py_utils.errors import FitError, PanelError, VbaseError
from vbase_py_utils.estimation import factor_returns, fit_cross_sections
from vbase_py_utils.expressions import huber_regression, huber_residuals
from vbase_py_utils.fama_macbeth import fama_macbeth
from vbase_py_utils.files import sink_file
from vbase_py_utils.results import CrossSectionFits

__all__ = [
    "CrossSectionFits",
    "FitError",
    "PanelError",
    "VbaseError",
    "factor_returns",
    "fama_macbeth",
    "fit_cross_sections",
    "huber_regression",
    "huber_residuals",
    "sink_file",
]
