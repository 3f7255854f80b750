"""Charts of factor returns and of what stands behind them, drawn by matplotlib.

Every function takes the frames of a fit, or the fits themselves, and optionally the axes to draw
on; it gives back the axes. Missing numbers are gaps; colours are told apart with any colour vision;
names of the data are cut, and never read as mathematics.
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
