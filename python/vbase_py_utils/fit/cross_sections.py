"""The public functions that estimate factor returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypedDict, Unpack, get_args, overload

import polars as pl

from vbase_py_utils.arguments import check_choice, check_flag, shown
from vbase_py_utils.fit.block import OnFailure
from vbase_py_utils.fit.progress import check_progress
from vbase_py_utils.fit.query import blocks_of, fit_frame, fit_query, portfolio_query
from vbase_py_utils.fit.results import CrossSectionFits
from vbase_py_utils.fit.schema import check_key_names, wide
from vbase_py_utils.kernel.covariance import DEFAULT_COV_TYPE, CovType
from vbase_py_utils.kernel.losses import HUBER_T
from vbase_py_utils.kernel.period_fits import Estimator, SolverOptions
from vbase_py_utils.panel import (
    ArrowStream,
    Exposures,
    PanelSpec,
    PolarsFrame,
    RoleNames,
    by_position,
)


class FitArguments(RoleNames, total=False):
    """The keyword arguments of the estimating functions, for a type checker.

    Meanings and defaults are in ``factor_returns``.

    Examples
    --------
    >>> from vbase_py_utils import FitArguments, factor_returns, fit_cross_sections
    >>> from vbase_py_utils.demo import simulated_panel
    >>> panel, _ = simulated_panel()
    >>> same: FitArguments = {"weights": "weight", "tol": 1e-8}
    >>> quick = factor_returns(panel, "Factor_0", **same)
    >>> fit_cross_sections(panel, "Factor_0", **same).factor_returns.equals(quick)
    True
    """

    estimator: Estimator
    efficiency: float
    huber_t: float
    cov_type: CovType
    on_failure: OnFailure
    tol: float
    max_iter: int
    sorted_by_period: bool
    progress: bool


@overload
def factor_returns(
    panel: pl.DataFrame | ArrowStream,
    exposures: Exposures,
    **arguments: Unpack[FitArguments],
) -> pl.DataFrame: ...
@overload
def factor_returns(
    panel: pl.LazyFrame, exposures: Exposures, **arguments: Unpack[FitArguments]
) -> pl.LazyFrame: ...
def factor_returns(
    panel: pl.DataFrame | pl.LazyFrame | ArrowStream,
    exposures: Exposures,
    *,
    intercept: bool = False,
    categories: Mapping[str, str | None] | None = None,
    returns: str = "return",
    weights: str | None = None,
    period: str = "period",
    asset: str = "asset",
    estimator: Estimator = SolverOptions.estimator,
    efficiency: float = SolverOptions.efficiency,
    huber_t: float = HUBER_T,
    cov_type: CovType = DEFAULT_COV_TYPE,
    on_failure: OnFailure = "null",
    tol: float = SolverOptions.tol,
    max_iter: int = SolverOptions.max_iter,
    sorted_by_period: bool = False,
    progress: bool = False,
) -> pl.DataFrame | pl.LazyFrame:
    """Estimate the factor returns of every period by a robust cross-sectional regression.

    In each period the returns are regressed on the exposures by weighted Huber M-estimation, which
    bounds the effect of a wrong return, or by an MM estimate, which also bounds that of a wrong
    exposure.

    Parameters
    ----------
    panel
        Long frame, one row per (period, asset), in any order. A LazyFrame stays lazy: nothing runs
        before ``collect()``. A pandas frame, a pyarrow Table or Dataset, or anything else that
        exports an Arrow stream, is taken like a DataFrame, and only the columns named here are
        converted. A pandas frame needs its keys as columns: ``reset_index()``. Columns of pandas
        periods become text such as "2024-01". Times at an offset such as +05:30, for which Polars
        has no zone, become the same instants in UTC. A Spark frame is refused.
    exposures
        Column name or a list of names, in the order of the answer; numeric or Boolean. May be empty
        beside an intercept. A Polars selector, such as ``cs.starts_with("style_")``, takes the
        columns it matches, in the order of the panel, without those that have another role here.
    intercept : default False
        Add a factor "intercept", to which every asset has an exposure of one, before the others.
    categories : default None
        Columns of categories, as ``{"sector": "market_cap", "country": None}``: an exposure of one
        or zero for each category, named "sector=Energy", family by family after the others, in the
        order of the Enum. Text, or a Categorical, is taken as the Enum of its sorted values,
        from a DataFrame only.
        Within a family the factor returns sum to zero in every period. Each is weighted by the
        total of the named column over the category's usable rows; ``None`` weights all categories
        equally. The constraint also holds without an intercept, but then no factor represents the
        market.
    returns, weights, period, asset : default "return", None, "period", "asset"
        Column names. ``weights`` are regression weights, proportional to 1 / variance; ``None``
        weights all rows equally.
    estimator, efficiency : default "huber", 0.95
        "huber": the scale is the median absolute residual about zero. "mm": starts from a Huber fit
        that gives rows of outlying exposures next to no weight, and ends at a bisquare estimate of
        this asymptotic efficiency at the normal, from 0.3 to 0.9999. It takes three to six times as
        long, and with as few as two assets per exposure it protects little.
    huber_t : default 1.345
        Tuning constant of the Huber fit, also of the one that "mm" starts from, in units of the
        residual scale; infinity gives weighted least squares.
    cov_type : default "HC2"
        Ignored here, but checked: "mm" takes no other. Accepted so that the same keyword arguments
        work for ``fit_cross_sections``.
    on_failure : default "null"
        "null": a period without an answer is a row of nulls, and one that ran out of steps keeps
        its last numbers. "raise": FitError names either.
    tol, max_iter : default 1e-10, 1000
        Stop when no fitted value moves by more than ``tol`` scales, or after ``max_iter`` steps; in
        "mm", the fitted values of assets that have weight, and as many steps for start and end
        each.
    sorted_by_period : default False
        Promise that periods ascend in time; text that sorts otherwise is refused. A LazyFrame is
        then read once, in batches, so that it need not fit in memory, nor need an answer that goes
        into a sink. Filters on the period and limits on the answer restrict what is read; rows that
        are not read are not checked.
    progress : default False
        Show a bar that counts periods, on a terminal or in a notebook (extra ``progress``).

    Returns
    -------
    DataFrame or LazyFrame, as given
        One row per period of the panel, sorted: the period in its own dtype, then a Float64 column
        per factor, in units of return per unit of exposure. Null, NaN and infinite values are all
        missing; rows with one, a missing category or the weight 0 are left out. Null if the period
        has fewer usable assets than free factors, if its exposures are collinear, and for a
        category with no usable row.

    Raises
    ------
    PanelError
        A column is missing, repeated, of the wrong type, or cannot be converted to a Polars column;
        a period or asset is null, a (period, asset) is repeated, a weight is negative, periods are
        not sorted although ``sorted_by_period=True``; a LazyFrame's categories are not an Enum.
        Values are checked when the query runs.
    FitError
        With ``on_failure="raise"``: a period has no answer, or did not converge.
    ValueError, TypeError, ImportError
        An option is out of range or of another type; names have no order, as in a set; ``panel`` is
        not a frame; ``progress`` without tqdm.
    RuntimeError
        In a process that was forked after Polars had started its threads.

    Examples
    --------
    >>> import polars as pl
    >>> from vbase_py_utils import factor_returns
    >>> panel = pl.DataFrame({
    ...     "period": ["2023-01"] * 5,
    ...     "asset": ["A", "B", "C", "D", "E"],
    ...     "return": [0.010, 0.021, 0.500, 0.041, 0.049],
    ...     "beta": [0.5, 1.0, 1.5, 2.0, 2.5],
    ... })
    >>> with pl.Config(float_precision=4):
    ...     print(factor_returns(panel, "beta"))
    shape: (1, 2)
    ┌─────────┬────────┐
    │ period  ┆ beta   │
    │ ---     ┆ ---    │
    │ str     ┆ f64    │
    ╞═════════╪════════╡
    │ 2023-01 ┆ 0.0203 │
    └─────────┴────────┘
    """
    ready = _prepared(
        panel,
        exposures,
        intercept=intercept,
        categories=categories,
        returns=returns,
        weights=weights,
        period=period,
        asset=asset,
        estimator=estimator,
        efficiency=efficiency,
        huber_t=huber_t,
        cov_type=cov_type,
        on_failure=on_failure,
        tol=tol,
        max_iter=max_iter,
        sorted_by_period=sorted_by_period,
        progress=progress,
    )
    return wide(ready.fits(), ready.spec)


@overload
def fit_cross_sections(
    panel: pl.DataFrame | ArrowStream,
    exposures: Exposures,
    **arguments: Unpack[FitArguments],
) -> CrossSectionFits[pl.DataFrame]: ...
@overload
def fit_cross_sections(
    panel: pl.LazyFrame, exposures: Exposures, **arguments: Unpack[FitArguments]
) -> CrossSectionFits[pl.LazyFrame]: ...
def fit_cross_sections(
    panel: pl.DataFrame | pl.LazyFrame | ArrowStream,
    exposures: Exposures,
    *,
    intercept: bool = False,
    categories: Mapping[str, str | None] | None = None,
    returns: str = "return",
    weights: str | None = None,
    period: str = "period",
    asset: str = "asset",
    estimator: Estimator = SolverOptions.estimator,
    efficiency: float = SolverOptions.efficiency,
    huber_t: float = HUBER_T,
    cov_type: CovType = DEFAULT_COV_TYPE,
    on_failure: OnFailure = "null",
    tol: float = SolverOptions.tol,
    max_iter: int = SolverOptions.max_iter,
    sorted_by_period: bool = False,
    progress: bool = False,
) -> CrossSectionFits[pl.DataFrame] | CrossSectionFits[pl.LazyFrame]:
    """Estimate the factor returns of every period, with errors, residuals and diagnostics.

    The estimate, the arguments and the exceptions are those of ``factor_returns``, which is faster
    if factor returns are all you need. Only the differences are described here.

    Parameters
    ----------
    panel, exposures
        As in ``factor_returns``.
    intercept, categories, returns, weights : default False, None, "return", None
        As in ``factor_returns``.
    estimator, efficiency : default "huber", 0.95
        As in ``factor_returns``.
    huber_t, on_failure, tol, max_iter : default 1.345, "null", 1e-10, 1000
        As in ``factor_returns``.
    sorted_by_period, progress : default False, False
        As in ``factor_returns``.
    period, asset : default "period", "asset"
        Key columns; their names must differ from those of the other columns of the frames below.
    cov_type : default "HC2"
        "HC2": standard errors that are consistent whatever the weights are, and that allow for the
        leverage of each asset, with degrees of freedom for every coefficient: tests keep their size
        with few assets per exposure. "sandwich": without leverage, too small for a factor to which
        few assets, or a few large weights, are exposed. "H1": the default of statsmodels, correct
        if weights are proportional to 1 / variance. The last two have n - k degrees of freedom. The
        MM estimate has its own standard errors, like HC2 but with its final weights; for it,
        ``cov_type`` must stay "HC2".

    Returns
    -------
    CrossSectionFits
        Frames ``factor_returns`` (a row per period), ``coefficients`` (per period and factor, with
        standard errors and p-values), ``specific_returns`` (per row of the panel), ``diagnostics``
        (per period), ``bad_periods`` (per period with another status, and the reason) and
        ``factor_portfolios`` (per period, asset and factor): lazy when the panel is, then
        ``collect()`` runs the fit once for all but the last.

    Raises
    ------
    PanelError, FitError, ValueError, TypeError, ImportError, RuntimeError
        As ``factor_returns``.

    Examples
    --------
    >>> import polars as pl
    >>> from vbase_py_utils import fit_cross_sections
    >>> panel = pl.DataFrame({
    ...     "period": ["2023-01"] * 5,
    ...     "asset": ["A", "B", "C", "D", "E"],
    ...     "return": [0.010, 0.021, 0.500, 0.041, 0.049],
    ...     "beta": [0.5, 1.0, 1.5, 2.0, 2.5],
    ... })
    >>> fits = fit_cross_sections(panel, "beta")
    >>> fits.specific_returns.filter(pl.col("robustness_weight") < 0.01)["asset"].to_list()
    ['C']
    >>> fits.diagnostics.select("n_assets", "n_excluded", "status").row(0)
    (5, 0, 'converged')
    """
    ready = _prepared(
        panel,
        exposures,
        intercept=intercept,
        categories=categories,
        returns=returns,
        weights=weights,
        period=period,
        asset=asset,
        estimator=estimator,
        efficiency=efficiency,
        huber_t=huber_t,
        cov_type=cov_type,
        on_failure=on_failure,
        tol=tol,
        max_iter=max_iter,
        sorted_by_period=sorted_by_period,
        progress=progress,
    )
    check_key_names(ready.spec)
    periods, beside = ready.fits(cov_type), (ready.spec, ready.options, cov_type)
    # Two equal calls: a type checker learns from the branch which kind of frame the fits hold.
    if isinstance(periods, pl.LazyFrame):
        return CrossSectionFits(periods, *beside, ready.portfolios())
    return CrossSectionFits(periods, *beside, ready.portfolios())


class _Ways(TypedDict):
    """How a query is run."""

    on_failure: OnFailure
    sorted_by_period: bool
    progress: bool


@dataclass(frozen=True)
class _Prepared:
    """A call whose arguments have been checked, and whose panel has been read."""

    frame: PolarsFrame
    spec: PanelSpec
    options: SolverOptions
    ways: _Ways

    def fits(self, cov_type: CovType | None = None) -> PolarsFrame:
        """Fit the panel, or plan the fit if it is lazy; rows as ``fit_block`` returns them."""
        if isinstance(self.frame, pl.LazyFrame):
            return fit_query(self.frame, self.spec, self.options, cov_type=cov_type, **self.ways)
        return fit_frame(self.frame, self.spec, self.options, cov_type=cov_type, **self.ways)

    def portfolios(self) -> Callable[[], pl.LazyFrame]:
        """Give a function that plans the factor portfolios when it is called."""
        if isinstance(self.frame, pl.LazyFrame):
            return partial(
                portfolio_query,
                self.frame,
                self.spec,
                self.options,
                on_failure=self.ways["on_failure"],
                sorted_by_period=self.ways["sorted_by_period"],
            )
        # What the portfolios need of the panel stays in memory with the fits.
        column = by_position(self.frame.columns)
        needed = self.frame.select(column[name] for name in self.spec.columns)
        n_blocks = blocks_of(self.frame)
        return partial(
            portfolio_query, needed, self.spec, self.options, n_blocks=n_blocks, warn=False
        )


def _prepared(
    panel: PolarsFrame | ArrowStream,
    exposures: Exposures,
    *,
    estimator: Estimator,
    efficiency: float,
    huber_t: float,
    cov_type: CovType,
    on_failure: OnFailure,
    tol: float,
    max_iter: int,
    sorted_by_period: bool,
    progress: bool,
    **names: Unpack[RoleNames],
) -> _Prepared:
    """Check the arguments of an estimating function, and read its panel; meanings there."""
    check_choice("estimator", estimator, get_args(Estimator))
    check_choice("cov_type", cov_type, get_args(CovType))
    if estimator == "mm" and cov_type != DEFAULT_COV_TYPE:
        raise ValueError(
            f"cov_type is {shown(cov_type)}, expected {DEFAULT_COV_TYPE!r} with estimator='mm', "
            "which has standard errors of its own"
        )
    check_choice("on_failure", on_failure, get_args(OnFailure))
    sorted_by_period = check_flag("sorted_by_period", sorted_by_period)
    progress = check_flag("progress", progress)
    frame, spec = PanelSpec.resolve(panel, exposures, **names)
    options = SolverOptions(
        huber_t=huber_t, tol=tol, max_iter=max_iter, estimator=estimator, efficiency=efficiency
    )
    check_progress(progress=progress)
    ways: _Ways = {
        "on_failure": on_failure,
        "sorted_by_period": sorted_by_period,
        "progress": progress,
    }
    return _Prepared(frame, spec, options, ways)
