"""Charts of factor returns and of the fits behind them, drawn by matplotlib.

Every function takes the frames of a fit, or the fits themselves, and optionally the axes to draw
on; it returns the axes. Missing numbers are gaps. The palette is colour-blind safe. Long names are
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

__all__ = [
    "confidence_bands",
    "correlations",
    "cumulative_returns",
    "fit_quality",
    "robust_against_least_squares",
    "robustness_weights",
    "t_values",
    "true_against_estimated",
]
