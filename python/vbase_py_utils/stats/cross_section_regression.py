"""Cross-sectional factor returns from pandas objects, under the caller's labels.

An adapter over ``vbase_py_utils.fit``: labels are turned into positions, positions and
values go to Polars, and the answer gets the caller's own index objects.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vbase_py_utils.text import needs

try:
    import pandas as pd
except ImportError as error:
    raise ImportError(needs(__name__, "pandas", "pandas")) from error

from vbase_py_utils.arguments import check_choice
from vbase_py_utils.errors import FitError, PanelError
from vbase_py_utils.fit.block import fit_period
from vbase_py_utils.fit.query import fit_frame
from vbase_py_utils.fit.schema import REASON, STATUS
from vbase_py_utils.forks import check_process
from vbase_py_utils.kernel.losses import HUBER_T, FloatArray
from vbase_py_utils.kernel.period_fits import ANSWERED, Estimator, SolverOptions, Status
from vbase_py_utils.keys import PERIOD
from vbase_py_utils.panel import PanelSpec
from vbase_py_utils.stats.checks import (
    as_floats,
    column_as_floats,
    require,
    require_finite,
    require_no_negative,
    require_unique,
)
from vbase_py_utils.text import one_line, quoted

Positions = NDArray[np.intp]

# The most periods that a warning lists for one reason.
WARNED_PERIODS = 20


def run_cross_sectional_regression(
    asset_returns: pd.Series[Any],
    factor_loadings: pd.DataFrame,
    weights: pd.Series[Any],
    huber_t: float = HUBER_T,
    *,
    estimator: Estimator = SolverOptions.estimator,
    efficiency: float = SolverOptions.efficiency,
) -> pd.Series[float]:
    """Estimate the factor returns of one cross-section by a weighted Huber regression.

    Parameters
    ----------
    asset_returns
        Return per asset.
    factor_loadings
        Assets x factors: the exposures; no intercept is added.
    weights
        Regression weight per asset, >= 0, proportional to 1 / variance; 0 leaves the asset out.
    huber_t
        Tuning constant in units of the residual scale; infinity gives weighted least squares.
    estimator, efficiency
        "huber", or "mm" for an estimate that wrong exposures cannot move either, and its asymptotic
        efficiency at the normal; as in ``factor_returns``.

    Returns
    -------
    Series
        Named "factor_returns", indexed by the columns of ``factor_loadings``.

    Raises
    ------
    ValueError
        The indexes differ in more than the order of unique labels; empty input; a missing or
        infinite value; a negative weight; values that are not numbers.
    FitError
        Fewer assets than factors, or collinear exposures.
    TypeError
        An argument is not a pandas Series or DataFrame; ``huber_t`` is not a number.
    RuntimeError
        In a process that was forked after Polars had started its threads.

    Warns
    -----
    RuntimeWarning
        The iteration did not converge; the result is its last step.

    Examples
    --------
    >>> import pandas as pd
    >>> assets = ["A", "B", "C", "D", "E"]
    >>> run_cross_sectional_regression(
    ...     asset_returns=pd.Series([0.010, 0.021, 0.500, 0.041, 0.049], index=assets),
    ...     factor_loadings=pd.DataFrame({"beta": [0.5, 1.0, 1.5, 2.0, 2.5]}, index=assets),
    ...     weights=pd.Series(1.0, index=assets),
    ... ).round(4)
    beta    0.0203
    Name: factor_returns, dtype: float64
    """
    check_process()
    require(asset_returns, pd.Series, "asset_returns")
    require(factor_loadings, pd.DataFrame, "factor_loadings")
    require(weights, pd.Series, "weights")
    index = factor_loadings.index
    if len(index) == 0:
        raise ValueError("factor_loadings is empty, expected at least one asset")
    X = as_floats(factor_loadings, "factor_loadings")
    y = _aligned(asset_returns, index, "asset_returns")
    w = _aligned(weights, index, "weights")
    for name, values in (("factor_loadings", X), ("asset_returns", y), ("weights", w)):
        require_finite(values, name, index, factor_loadings.columns)
    require_no_negative(w, index, "weights")
    n = len(index)
    rows = _LongPanel(np.zeros(n, np.intp), np.arange(n), y, X, w)
    options = _options(huber_t, estimator, efficiency)
    panel, spec = _panel(rows, factor_loadings.columns)
    values, status, reason = fit_period(spec.rows_of(panel), spec, options)
    if status == Status.max_iter:
        warnings.warn(f"{status.name}: {reason}", RuntimeWarning, stacklevel=2)
    elif status.name not in ANSWERED:
        raise FitError(f"{status.name}: {reason}")
    return pd.Series(values, index=factor_loadings.columns, name="factor_returns")


def run_monthly_factor_returns(
    returns_df: pd.DataFrame,
    exposures_df: pd.DataFrame,
    weights_df: pd.DataFrame | pd.Series[Any],
    huber_t: float = HUBER_T,
    *,
    estimator: Estimator = SolverOptions.estimator,
    efficiency: float = SolverOptions.efficiency,
) -> pd.DataFrame:
    """Estimate the factor returns of every period by weighted Huber regressions.

    Parameters
    ----------
    returns_df
        Assets x periods: the returns, one column per period.
    exposures_df
        MultiIndex (period, asset) x factors; no intercept is added.
    weights_df
        Regression weights, >= 0, proportional to 1 / variance, on a MultiIndex (period, asset):
        a Series, or a DataFrame, whose first column is used.
    huber_t
        Tuning constant in units of the residual scale; infinity gives weighted least squares.
    estimator, efficiency
        "huber", or "mm" for an estimate that wrong exposures cannot move either, and its asymptotic
        efficiency at the normal; as in ``factor_returns``.

    Returns
    -------
    DataFrame
        Periods (columns of ``returns_df``) x factors (columns of ``exposures_df``), in order.
        Assets are matched by label; rows with a missing or infinite value, or with weight 0, are
        left out. A period that is not in exposures_df or weights_df, or that has no answer (fewer
        assets than factors, collinear exposures), is a row of NaN.

    Raises
    ------
    ValueError
        Labels that should be unique repeat, an index is not a MultiIndex (period, asset), a weight
        is negative, values are not numbers.
    TypeError, RuntimeError
        As ``run_cross_sectional_regression``.

    Warns
    -----
    RuntimeWarning
        Once, listing the periods that have no answer or did not converge, with the reasons.

    Examples
    --------
    >>> import pandas as pd
    >>> assets = ["A", "B", "C", "D", "E"]
    >>> index = pd.MultiIndex.from_product([["2023-01", "2023-02"], assets])
    >>> run_monthly_factor_returns(
    ...     returns_df=pd.DataFrame(
    ...         {
    ...             "2023-01": [0.010, 0.021, 0.500, 0.041, 0.049],
    ...             "2023-02": [0.020, 0.041, 0.059, 0.081, 0.099],
    ...         },
    ...         index=assets,
    ...     ),
    ...     exposures_df=pd.DataFrame({"beta": [0.5, 1.0, 1.5, 2.0, 2.5] * 2}, index=index),
    ...     weights_df=pd.DataFrame({"weight": 1.0}, index=index),
    ... ).round(4)
               beta
    2023-01  0.0203
    2023-02  0.0399
    """
    check_process()
    require(returns_df, pd.DataFrame, "returns_df")
    require(exposures_df, pd.DataFrame, "exposures_df")
    weights = _first_column(weights_df)
    periods, assets, factors = returns_df.columns, returns_df.index, exposures_df.columns
    for labels, whose in ((periods, "the columns"), (assets, "the index")):
        if isinstance(labels, pd.MultiIndex):
            raise ValueError(
                f"{whose} of returns_df is a MultiIndex with {labels.nlevels} levels, "
                "expected assets x periods with one label each"
            )
        require_unique(labels, f"{whose} of returns_df")

    t, i = _positions(exposures_df.index, periods, assets, "exposures_df")
    w, weighted = _weights_at(t, i, exposures_df.index, weights, returns_df)
    known = (t >= 0) & (i >= 0)
    t_known, i_known = t[known], i[known]
    y = as_floats(returns_df, "returns_df")[i_known, t_known]
    X = as_floats(exposures_df, "exposures_df")[known]
    options = _options(huber_t, estimator, efficiency)
    try:
        panel, spec = _panel(_LongPanel(t_known, i_known, y, X, w[known]), factors)
        fits = fit_frame(panel, spec, options)
    except PanelError:
        # The panel has positions only: report repeated keys under the caller's labels.
        require_unique(exposures_df.index, "the index of exposures_df")
        raise
    values = np.full((len(periods), len(factors)), np.nan)
    values[fits[PERIOD].to_numpy()] = fits[spec.inner_exposures].to_numpy()
    reasons = _reasons(fits, t, weighted, len(periods))
    if reasons:
        message = _spelled_out(reasons, periods)
        if (t < 0).all():
            message += _label_hint(periods, exposures_df.index)
        warnings.warn(message, RuntimeWarning, stacklevel=2)
    return pd.DataFrame(values, index=periods, columns=factors)


def _options(huber_t: float, estimator: Estimator, efficiency: float) -> SolverOptions:
    """Check the options of the estimate."""
    check_choice("estimator", estimator, get_args(Estimator))
    return SolverOptions(huber_t, estimator=estimator, efficiency=efficiency)


class _LongPanel(NamedTuple):
    """A long panel in positions: period and asset (N,), returns (N,), exposures (N, k), weights."""

    t: Positions
    i: Positions
    y: FloatArray
    X: FloatArray
    w: FloatArray


def _panel(rows: _LongPanel, factors: pd.Index[Any]) -> tuple[pl.DataFrame, PanelSpec]:
    """Make a frame of the panel, with names for its columns, and say what they are."""
    names = _exposure_names(factors)
    # Names that no factor is likely to have.
    period, asset, returns, weights = (f"\0{role}" for role in ("t", "i", "y", "w"))
    columns = {period: rows.t, asset: rows.i, returns: rows.y, weights: rows.w}
    columns |= {name: rows.X[:, j] for j, name in enumerate(names)}
    panel = pl.DataFrame(columns)
    _, spec = PanelSpec.resolve(
        panel, names, returns=returns, weights=weights, period=period, asset=asset
    )
    return panel, spec


def _exposure_names(factors: pd.Index[Any]) -> list[str]:
    """Column names for Polars, as close to the labels as strings can be."""
    if not factors.is_unique:
        raise PanelError.repeated_exposures(factors[factors.duplicated()].unique().tolist())
    names = [str(label) for label in factors]
    return names if len(set(names)) == len(names) else [repr(label) for label in factors]


def _positions(
    index: pd.Index[Any], periods: pd.Index[Any], assets: pd.Index[Any], name: str
) -> tuple[Positions, Positions]:
    """Positions of every (period, asset) of ``index`` in periods and assets, -1 if absent."""
    if not isinstance(index, pd.MultiIndex) or index.nlevels != 2:
        raise ValueError(
            f"the index of {name} is {type(index).__name__} with {index.nlevels} level(s), "
            "expected a MultiIndex (period, asset)"
        )
    found = []
    for labels, level, codes in zip((periods, assets), index.levels, index.codes, strict=True):
        missing = np.flatnonzero(labels.isna())
        # Code -1 is a missing label and picks the last entry.
        positions = np.append(labels.get_indexer(level), missing[0] if missing.size else -1)
        found.append(positions[np.asarray(codes)])
    return found[0], found[1]


def _weights_at(
    t: Positions,
    i: Positions,
    index: pd.Index[Any],
    weights: pd.Series[Any],
    returns_df: pd.DataFrame,
) -> tuple[FloatArray, Positions]:
    """Weight of every row of the exposures (NaN if it has none), and the weighted periods.

    ``t`` and ``i``: the positions of the exposures' ``index`` in the labels of ``returns_df``.
    """
    w = column_as_floats(weights, "weights_df")
    require_no_negative(w, weights.index, "weights_df")
    if weights.index.equals(index):
        return w, t
    require_unique(weights.index, "the index of weights_df")
    periods, assets = returns_df.columns, returns_df.index
    t_weight, i_weight = _positions(weights.index, periods, assets, "weights_df")
    known = (t_weight >= 0) & (i_weight >= 0)
    # One more row and column, which stay NaN, for position -1.
    table = np.full((len(assets) + 1, len(periods) + 1), np.nan)
    table[i_weight[known], t_weight[known]] = w[known]
    return table[i, t], t_weight


def _reasons(
    fits: pl.DataFrame, exposed: Positions, weighted: Positions, n_periods: int
) -> dict[int, str]:
    """Why a period has no converged answer, by its position; the first cause wins."""
    every = np.arange(n_periods)
    unanswered = fits.filter(~pl.col(STATUS).is_in(ANSWERED))
    ending = pl.concat_str(pl.col(STATUS).cast(pl.String), pl.lit(": "), REASON)
    reasons = dict(unanswered.select(PERIOD, ending).rows())
    for why, present in (
        ("no asset of returns_df is in exposures_df", fits[PERIOD].to_numpy()),
        ("not in weights_df", weighted),
        ("not in exposures_df", exposed),
    ):
        reasons |= dict.fromkeys(np.setdiff1d(every, present).tolist(), why)
    return reasons


def _aligned(series: pd.Series[Any], index: pd.Index[Any], name: str) -> FloatArray:
    """Values of ``series`` in the order of ``index``, the index of factor_loadings."""
    values = column_as_floats(series, name)
    if series.index.equals(index):
        return values
    if len(series) != len(index):
        raise ValueError(
            f"{name} has {len(series)} rows and factor_loadings has {len(index)}, "
            "expected the same labels"
        )
    for whose, labels in ((name, series.index), ("factor_loadings", index)):
        require_unique(labels, f"the index of {whose}, which differs from the others")
    order = series.index.get_indexer(index)
    if (order < 0).any():
        strangers = index[order < 0]
        raise ValueError(
            f"{name} lacks {len(strangers)} of the labels of factor_loadings, "
            f"for example {quoted(strangers[0])}; expected the same labels"
        )
    return values[order]


def _first_column(weights: pd.DataFrame | pd.Series[Any]) -> pd.Series[Any]:
    if isinstance(weights, pd.Series):
        return weights
    require(weights, pd.DataFrame, "weights_df")
    if weights.shape[1] == 0:
        raise ValueError("weights_df has no column, expected the weights in its first")
    return weights.iloc[:, 0]


def _spelled_out(reasons: dict[int, str], periods: pd.Index[Any]) -> str:
    """Write one sentence per reason, with its periods in order."""
    groups: dict[str, list[str]] = {}
    for position in sorted(reasons):
        groups.setdefault(reasons[position], []).append(one_line(str(periods[position])))
    sentences = []
    for reason, labels in groups.items():
        more = len(labels) - WARNED_PERIODS
        listed = ", ".join(labels[:WARNED_PERIODS]) + (f" and {more} more" if more > 0 else "")
        sentences.append(f"{listed}: {reason}")
    count = f"{len(reasons)} of {len(periods)} periods"
    return f"{count} without a converged answer. " + "; ".join(sentences)


def _label_hint(periods: pd.Index[Any], index: pd.Index[Any]) -> str:
    if len(index) == 0:
        return ""
    return (
        f". No period matches: returns_df has labels like {quoted(periods[0])}, "
        f"exposures_df like {quoted(index[0][0])}"
    )
