"""Charts of two estimates, one against the other."""

from __future__ import annotations

from collections.abc import Iterable

from matplotlib.axes import Axes

from vbase_py_utils.analyse.reading import FactorReturns
from vbase_py_utils.plots.axes import axes_for, draw_points
from vbase_py_utils.plots.data import read_both


def true_against_estimated(
    truth: FactorReturns,
    estimated: FactorReturns,
    *,
    factors: str | Iterable[str] | None = None,
    period: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw estimated against true factor returns, a point per period and factor.

    Parameters
    ----------
    truth, estimated
        Frames like that of ``factor_returns``, or fits; periods and factors in both are drawn.
    factors, period, ax
        As in ``cumulative_returns``. With more than six factors, the six with the largest
        difference in a period have colours.

    Returns
    -------
    Axes
        Both axes in units of returns, with the line where both are equal.

    Raises
    ------
    PanelError, ValueError, TypeError
        As ``fama_macbeth``; no period or factor is in both, or the types of the periods differ.

    Examples
    --------
    >>> from vbase_py_utils import factor_returns, plots
    >>> from vbase_py_utils.demo import simulated_panel
    >>> panel, truth = simulated_panel()
    >>> estimated = factor_returns(panel, ["Factor_0", "Factor_1", "Factor_2"])
    >>> ax = plots.true_against_estimated(truth, estimated)
    >>> ax.get_xlabel(), ax.get_ylabel(), len(ax.collections)
    ('true factor return', 'estimated factor return', 3)
    """
    both = read_both(truth, estimated, factors, period, ("truth", "estimated"))
    ax = axes_for(ax, height=5)
    draw_points(ax, both)
    ax.set(xlabel="true factor return", ylabel="estimated factor return")
    return ax


def robust_against_least_squares(
    robust: FactorReturns,
    least_squares: FactorReturns,
    *,
    factors: str | Iterable[str] | None = None,
    period: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw robust against least squares factor returns, a point per period and factor.

    Points far from the line are periods in which outliers distort least squares.

    Parameters
    ----------
    robust, least_squares
        Frames like that of ``factor_returns``, or fits: the first with the default ``huber_t``, the
        second with infinity.
    factors, period, ax
        As in ``true_against_estimated``.

    Returns
    -------
    Axes
        Both axes in units of returns, with the line where both are equal.

    Raises
    ------
    PanelError, ValueError, TypeError
        As ``true_against_estimated``.

    Examples
    --------
    >>> import math
    >>> from vbase_py_utils import factor_returns, plots
    >>> from vbase_py_utils.demo import simulated_panel
    >>> panel, _ = simulated_panel()
    >>> fits = [factor_returns(panel, "Factor_0", huber_t=t) for t in (1.345, math.inf)]
    >>> ax = plots.robust_against_least_squares(*fits)
    >>> ax.get_xlabel(), len(ax.collections[0].get_offsets())
    ('least squares', 12)
    """
    both = read_both(least_squares, robust, factors, period, ("least_squares", "robust"))
    ax = axes_for(ax, height=5)
    draw_points(ax, both)
    ax.set(xlabel="least squares", ylabel="robust")
    return ax
