"""Robust cross-sectional factor returns over long Polars panels."""

from vbase_py_utils.errors import FitError, PanelError, VbaseError
from vbase_py_utils.estimation import factor_returns

__all__ = ["FitError", "PanelError", "VbaseError", "factor_returns"]
