"""Charts of factor returns, fits, forecasts of risk and portfolios, drawn by matplotlib.

Every function takes frames, or the results that have them, and optionally the axes to draw on; it
returns the axes. Missing numbers are gaps. The palette is colour-blind safe. Long names are
shortened, and ``$`` in a name is not treated as mathtext.
"""

from vbase_py_utils.text import needs

try:
    import matplotlib as _matplotlib  # noqa: F401 - what the charts need
except ImportError as error:
    raise ImportError(needs(__name__, "matplotlib", "plot")) from error

from vbase_py_utils.plots.charts import confidence_bands, correlations, cumulative_returns, t_values
from vbase_py_utils.plots.comparisons import robust_against_least_squares, true_against_estimated
from vbase_py_utils.plots.fit_charts import fit_quality, robustness_weights
from vbase_py_utils.plots.portfolio_charts import (
    active_and_total,
    cumulative_attribution,
    exposures_over_time,
    risk_contributions,
)
from vbase_py_utils.plots.risk_charts import (
    factor_correlations,
    factor_volatilities,
    forecast_and_realised,
    rolling_bias,
)

__all__ = [
    "active_and_total",
    "confidence_bands",
    "correlations",
    "cumulative_attribution",
    "cumulative_returns",
    "exposures_over_time",
    "factor_correlations",
    "factor_volatilities",
    "fit_quality",
    "forecast_and_realised",
    "risk_contributions",
    "robust_against_least_squares",
    "robustness_weights",
    "rolling_bias",
    "t_values",
    "true_against_estimated",
]
