"""The frames of a fit, all derived from one frame that has a row per period."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import isinf
from typing import Generic, overload

import polars as pl

from vbase_py_utils.errors import PanelError
from vbase_py_utils.fit.schema import (
    COEFFICIENTS,
    DF,
    DIAGNOSTICS,
    FACTOR,
    FACTOR_RETURN,
    HOLDING,
    MAX_LEVERAGE,
    N_ASSETS,
    P_VALUE,
    R_SQUARED,
    REASON,
    ROBUST_R_SQUARED,
    SPECIFIC_RETURNS,
    STATUS,
    STD_ERROR,
    T_STAT,
    Frame,
    inner_of,
    wide,
)
from vbase_py_utils.forks import check_process
from vbase_py_utils.kernel.covariance import CovType
from vbase_py_utils.kernel.losses import DOWNWEIGHTED, Bisquare
from vbase_py_utils.kernel.period_fits import Estimator, SolverOptions
from vbase_py_utils.keys import ASSET, PERIOD, label
from vbase_py_utils.panel import Family, PanelSpec
from vbase_py_utils.text import one_line

# Frames, and their columns, under the names inside.
INNER_COLUMNS = {
    "coefficients": (PERIOD, *COEFFICIENTS),
    "specific_returns": (PERIOD, ASSET, *SPECIFIC_RETURNS),
    "diagnostics": (PERIOD, *DIAGNOSTICS),
    "bad_periods": (PERIOD, STATUS, REASON),
}
# What a line of the summary holds.
SHOWN_FACTORS = 6


@dataclass(frozen=True, slots=True)
class Estimated:
    """What was estimated, and how: the arguments of ``fit_cross_sections``.

    Attributes
    ----------
    period, asset, returns
        Column names.
    weights
        Column of regression weights; ``None``: all rows weighted equally.
    exposures
        Column names, in the order of the answer.
    intercept
        Whether there is a factor "intercept".
    families
        The families of categories: of each its ``column``, the column of its ``weights`` or
        ``None``, and its ``categories``.
    factors
        Names of all factors, in the order of the answer.
    estimator, efficiency
        "huber" or "mm", and the asymptotic efficiency of the MM estimate at the normal.
    huber_t
        Tuning constant in units of the residual scale, of an MM estimate that of its start;
        infinity: weighted least squares.
    cov_type
        Kind of standard errors; an MM estimate has its own, whose name here is "HC2".
    """

    period: str
    asset: str
    returns: str
    weights: str | None
    exposures: tuple[str, ...]
    intercept: bool
    families: tuple[Family, ...]
    factors: tuple[str, ...]
    estimator: Estimator
    efficiency: float
    huber_t: float
    cov_type: CovType

    @property
    def downweighted_below(self) -> float:
        """The robustness weight below which an asset counts as down-weighted."""
        return DOWNWEIGHTED if self.estimator == "mm" else 1.0

    @property
    def downweighted_beyond(self) -> float:
        """How many scales from zero a residual is beyond which an asset is down-weighted."""
        if self.estimator == "mm":
            return Bisquare.of(self.efficiency).downweighted_beyond
        return self.huber_t


@dataclass(frozen=True, eq=False, repr=False)
class CrossSectionFits(Generic[Frame]):
    """The results of a cross-sectional fit, as frames sorted by period.

    The frames are lazy if the panel was. Each then runs the whole fit when it is collected;
    ``collect()`` runs it once for all frames but ``factor_portfolios``.
    A number that does not exist is null, and ``status`` in ``diagnostics`` gives the reason.

    Examples
    --------
    >>> from vbase_py_utils import fit_cross_sections
    >>> from vbase_py_utils.demo import simulated_panel
    >>> fits = fit_cross_sections(simulated_panel()[0].lazy(), ["Factor_0", "Factor_1"])
    >>> fits.factor_returns.collect_schema().names()
    ['period', 'Factor_0', 'Factor_1']
    >>> fits.collect().diagnostics["status"].unique().to_list()
    ['converged']
    """

    _fits: Frame
    _spec: PanelSpec
    _options: SolverOptions
    _cov_type: CovType
    _portfolios: Callable[[], pl.LazyFrame]

    @property
    def estimated(self) -> Estimated:
        """What was estimated, and how."""
        spec = self._spec
        return Estimated(
            period=spec.period,
            asset=spec.asset,
            returns=spec.returns,
            weights=spec.weights,
            exposures=spec.exposures,
            intercept=spec.intercept,
            families=spec.families,
            factors=spec.factors,
            estimator=self._options.estimator,
            efficiency=self._options.efficiency,
            huber_t=self._options.huber_t,
            cov_type=self._cov_type,
        )

    @cached_property
    def factor_returns(self) -> Frame:
        """A row per period: period, then a Float64 column per factor, as from factor_returns."""
        return wide(self._periods, self._spec)

    @cached_property
    def coefficients(self) -> Frame:
        """A row per period and factor, with its error and a test that it is zero.

        Columns: period, factor, factor_return, std_error, t_stat, df, p_value. Factors are in the
        order given: intercept, exposures, categories. Standard errors are in units of the factor
        return. p_value is two-sided, by Student's t with df degrees of freedom. Under "HC2" and for
        the MM estimate, df is computed per factor, between 1 and n - k; otherwise it is n - k.

        std_error, t_stat, df and p_value are null for an exact fit. Except under "H1", they are
        also null if the residuals carry no information about the factor: only one asset, or only
        outlying assets, are exposed to it. With categories: if such assets could add more than 1 %
        to the variance. A category without a
        usable row has no return and no error; the only category of its family has a return and an
        error of zero, and no t-value.
        """
        return self._under_own_names("coefficients")

    @cached_property
    def specific_returns(self) -> Frame:
        """A row per row of the panel: what the fit makes of it.

        Columns: period, asset, fitted, specific_return, robustness_weight, leverage. Assets are in
        the order of the panel. The leverage, from 0 to 1, is the share of a change of the return
        that a least-squares fit with the same regression weights would follow: near 1, the fit goes
        through the row whatever its return. A row that was left out has a fitted value if none of
        its exposures is missing, a specific return if its return is not missing either, and neither
        weight nor leverage. In an exact fit there is a leverage but no robustness weight; in a
        period without an answer there is neither.
        """
        return self._under_own_names("specific_returns")

    @cached_property
    def diagnostics(self) -> Frame:
        """A row per period: its assets, the quality of the fit, and how the fit ended.

        Columns: period, n_assets (used), n_excluded, n_downweighted (residual beyond huber_t
        scales; of an MM estimate, with a robustness weight below one half), scale (of residuals
        times sqrt of the weight), r_squared, robust_r_squared (about the weighted mean return;
        below zero where that mean would fit better), max_leverage (the largest leverage of the
        period; above 0.99, check that asset's exposures), condition_number (of the weighted
        exposures, columns scaled to unit norm; one category of each family has no column, and the
        number depends on which), n_iter, and status, one of

        - converged;
        - max_iter: out of steps; the numbers are those of the last step;
        - exact_fit: as many assets as factors to estimate, or most residuals zero: the estimate
          stands, but there is no error to estimate;
        - rank_deficient: collinear exposures or categories, no estimate;
        - too_few_assets: fewer assets than factors to estimate, no estimate.
        """
        return self._under_own_names("diagnostics")

    @cached_property
    def bad_periods(self) -> Frame:
        """A row per period with another status than converged: period, status, reason in words."""
        return self._under_own_names("bad_periods")

    @property
    def factor_portfolios(self) -> Frame:
        """A row per period, used asset and factor: period, asset, factor, holding.

        Holdings times returns give the factor return, robustness weights included. The portfolio
        has an exposure of 1 to its own factor and 0 to the other exposures. Holdings are in units
        of 1 / exposure. Periods that did not converge have no rows. This is a large frame, with a
        row for every usable exposure of the panel: each access computes it anew from the panel.
        Raises PanelError when a key column is named "factor" or "holding".
        """
        names = {PERIOD: self._spec.period, ASSET: self._spec.asset}
        for role, column in names.items():
            if column in (FACTOR, HOLDING):
                raise PanelError.taken_name(role, column)
        query = self._portfolios().select(
            *(pl.col(inside).alias(name) for inside, name in names.items()), FACTOR, HOLDING
        )
        if isinstance(self._periods, pl.LazyFrame):
            return query
        return query.collect(engine="in-memory")

    def collect(self) -> CrossSectionFits[pl.DataFrame]:
        """Run the fit once and hold its frames in memory; an eager result stays as it is.

        Only ``factor_portfolios`` goes back to the query of the panel. Raises what
        ``fit_cross_sections`` raises for the values of a panel.
        """
        return CrossSectionFits(
            self._periods.lazy().collect(),
            self._spec,
            self._options,
            self._cov_type,
            self._portfolios,
        )

    @property
    def _periods(self) -> Frame:
        check_process()
        return self._fits

    def _inner(self, frame: str) -> Frame:
        periods, names = self._periods, INNER_COLUMNS[frame]
        match frame:
            case "coefficients":
                wide = {
                    FACTOR: pl.lit(list(self._spec.factors), dtype=pl.List(pl.String)),
                    FACTOR_RETURN: pl.concat_list(self._spec.inner_factors),
                    **{
                        kind: pl.concat_list(inner_of(kind, self._spec))
                        for kind in (STD_ERROR, DF, P_VALUE)
                    },
                }
                t_stat = pl.col(FACTOR_RETURN) / pl.col(STD_ERROR)
                periods = periods.select(PERIOD, **wide).explode(*wide)
                periods = periods.with_columns(
                    pl.when(t_stat.is_finite()).then(t_stat).alias(T_STAT)
                )
            case "specific_returns":
                periods = periods.select(names).explode(names[1:])
            case "bad_periods":
                periods = periods.filter(pl.col(REASON).is_not_null())
        return periods.select(names)

    def _under_own_names(self, frame: str) -> Frame:
        keys = {PERIOD: self._spec.period, ASSET: self._spec.asset}
        return self._inner(frame).select(
            pl.col(name).alias(keys.get(name, name)) for name in INNER_COLUMNS[frame]
        )

    def __repr__(self) -> str:
        return _as_text(*self._summary)

    def _repr_html_(self) -> str:
        return _as_html(*self._summary)

    @property
    def _summary(self) -> tuple[str, dict[str, str]]:
        return _summary(self._periods, self.estimated, inner_of(P_VALUE, self._spec))


@overload
def inner_frame(fits: CrossSectionFits[pl.DataFrame], frame: str) -> pl.DataFrame: ...
@overload
def inner_frame(fits: CrossSectionFits[pl.LazyFrame], frame: str) -> pl.LazyFrame: ...
def inner_frame(
    fits: CrossSectionFits[pl.DataFrame] | CrossSectionFits[pl.LazyFrame], frame: str
) -> pl.DataFrame | pl.LazyFrame:
    """Give a frame of INNER_COLUMNS, with the keys PERIOD and ASSET whatever the user's names are.

    For the rest of the package: the frames that users see have their own names for the keys.
    """
    return fits._inner(frame)


def _summary(
    periods: pl.DataFrame | pl.LazyFrame, estimated: Estimated, p_values: list[str]
) -> tuple[str, dict[str, str]]:
    """Write what was fitted on one screen; nothing is computed for a lazy result.

    ``p_values``: the columns of periods that hold them.
    """
    factors = {"factors": _factor_names(estimated.factors)}
    if isinstance(periods, pl.LazyFrame):
        return "CrossSectionFits, lazy: collect() runs the fit", factors
    if periods.is_empty():
        return "CrossSectionFits", {"periods": "0"} | factors
    first, last = (one_line(label(end[PERIOD])) for end in (periods.head(1), periods.tail(1)))
    assets = periods[ASSET].explode().n_unique()
    usable, *medians = periods.select(pl.median(N_ASSETS, R_SQUARED, ROBUST_R_SQUARED)).row(0)
    r_squared, robust = ("none" if value is None else f"{value:.3g}" for value in medians)
    counts = periods.group_by(STATUS).len().sort(STATUS).rows()
    return "CrossSectionFits", {
        "periods": f"{periods.height:,} from {first} to {last}",
        **factors,
        "assets": f"{assets:,}, median {usable:,.0f} used in a period",
        "status": ", ".join(f"{count:,} {status}" for status, count in counts),
        "R squared": f"median {r_squared}, robust {robust}",
        "estimator": _method(estimated),
        "p < 0.05": _rejected(periods.select(pl.concat_list(p_values).explode()).to_series()),
        "leverage": _largest_leverage(periods),
    }


def _method(estimated: Estimated) -> str:
    """Name the estimator and the kind of its standard errors."""
    if estimated.estimator == "mm":
        return f"MM, efficiency {estimated.efficiency:g}"
    if isinf(estimated.huber_t):
        return f"least squares, {estimated.cov_type} errors"
    return f"Huber {estimated.huber_t:g}, {estimated.cov_type} errors"


def _rejected(p_values: pl.Series) -> str:
    """Say how many factor returns differ from zero at 5 %."""
    values = p_values.drop_nulls()
    if values.is_empty():
        return "no factor return has a p-value"
    share = int((values < 0.05).sum()) / len(values)
    return f"{100 * share:.0f} % of {len(values):,} factor returns"


def _largest_leverage(periods: pl.DataFrame) -> str:
    """Say which period has the largest leverage."""
    row = periods.select(pl.col(MAX_LEVERAGE).arg_max()).item()
    if row is None:
        return "no period has a fit"
    period = one_line(label(periods[PERIOD].slice(row, 1)))
    return f"at most {periods[MAX_LEVERAGE][row]:.3g}, in {period}"


def _as_text(title: str, lines: dict[str, str]) -> str:
    margin = max(map(len, lines))
    return "\n".join([title, *(f"  {name:<{margin}}  {text}" for name, text in lines.items())])


def _as_html(title: str, lines: dict[str, str]) -> str:
    rows = "".join(
        f'<tr><th style="text-align:left">{html.escape(name)}</th>'
        f'<td style="text-align:left">{html.escape(text)}</td></tr>'
        for name, text in lines.items()
    )
    return f"<table><caption>{html.escape(title)}</caption><tbody>{rows}</tbody></table>"


def _factor_names(names: tuple[str, ...]) -> str:
    shown = ", ".join(one_line(name) for name in names[:SHOWN_FACTORS])
    rest = len(names) - SHOWN_FACTORS
    return f"{len(names)}: {shown}" + (f" and {rest} more" if rest > 0 else "")
