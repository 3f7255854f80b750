"""Robust cross-sectional factor returns over long Polars panels."""

from typing import TYPE_CHECKING

# Watches forks from now on, so that a forked process can tell that it is one.
import vbase_py_utils.forks as _forks  # noqa: F401 - importing it is what it is for

if TYPE_CHECKING:
    from vbase_py_utils import plots as plots
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

    __version__: str

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

# Where the public names are, as above. A module is loaded when one of its names is first used, so
# that nobody waits for what is not used.
_MODULES = {
    "analyse.premia": ("fama_macbeth",),
    "errors": ("FitError", "PanelError", "VbaseError"),
    "files": ("sink_file",),
    "fit.cross_sections": ("FitArguments", "factor_returns", "fit_cross_sections"),
    "fit.expressions": ("huber_regression", "huber_residuals"),
    "fit.results": ("CrossSectionFits", "Estimated"),
    "prepare.exposures": (
        "cap_weights",
        "fill_missing_by_group",
        "neutralize",
        "rank_normal",
        "winsorize",
        "zscore",
    ),
    "prepare.history": ("inverse_variance_weights", "lag_exposures"),
    "report.page": ("write_report",),
    "risk.attribution": ("Attribution", "attribution"),
    "risk.bias": ("bias_statistics",),
    "risk.covariance": ("factor_covariance",),
    "risk.exposures": ("factor_exposures",),
    "risk.portfolio": ("PortfolioRisk", "portfolio_risk"),
    "risk.specific_risk": ("specific_risk",),
}

if not TYPE_CHECKING:  # a type checker would take any name for an attribute

    def __getattr__(name: str) -> object:
        """Load a public name, or a module in which public names are, when it is first used."""
        from importlib import import_module  # noqa: PLC0415 - its name would be public

        if name == "__version__":
            return import_module("importlib.metadata").version("vbase-py-utils")
        if name in {"plots", *(module.partition(".")[0] for module in _MODULES)}:
            return import_module(f"{__name__}.{name}")
        for module, names in _MODULES.items():
            if name in names:
                value = getattr(import_module(f"{__name__}.{module}"), name)
                globals()[name] = value
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    dunders = (name for name in globals() if name.startswith("__"))
    return sorted({*__all__, "plots", "__version__", *dunders})
