"""Where the returns of portfolios came from: factors, specific returns, and what is left."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar, Unpack, overload

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vbase_py_utils.analyse.reading import AnyFrame, Fits, floats
from vbase_py_utils.arguments import check_flag, check_name
from vbase_py_utils.errors import PanelError
from vbase_py_utils.fit.results import CrossSectionFits, inner_frame
from vbase_py_utils.fit.schema import FACTOR_RETURN
from vbase_py_utils.kernel.attribution import Attributed, attributed, linked
from vbase_py_utils.kernel.losses import FloatArray
from vbase_py_utils.kernel.portfolio_risk import Assets
from vbase_py_utils.kernel.specific_variance import Integers
from vbase_py_utils.keys import PERIOD, label
from vbase_py_utils.panel import ArrowStream
from vbase_py_utils.risk.answers import (
    Frames,
    PeriodIndex,
    Run,
    as_columns,
    at_once,
    frame_of,
    in_blocks,
    is_lazy,
    key_columns,
    lazily,
    no_run,
    schema_of,
    with_factors,
)
from vbase_py_utils.risk.exposures import HoldingArguments, read_positions
from vbase_py_utils.risk.holdings import PORTFOLIO, KeyNames, Weights
from vbase_py_utils.risk.options import SPECIFIC, UNATTRIBUTED, check_factors
from vbase_py_utils.risk.portfolio_returns import PortfolioReturns
from vbase_py_utils.risk.positions import Held
from vbase_py_utils.text import counted, one_line

RETURNS, FACTORS, LINKED = "returns", "factors", "linked"
Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)


class AttributionArguments(HoldingArguments, total=False):
    """The keyword arguments of ``attribution``; meanings there."""

    returns: str
    portfolio_returns: AnyFrame | None


@dataclass(frozen=True, eq=False, repr=False)
class Attribution(Generic[Frame]):
    """Where the returns of portfolios came from, as frames sorted by period and portfolio.

    With a benchmark, everything is of the difference from it.

    Attributes
    ----------
    returns
        A row per period and portfolio: period, portfolio, total, factors, specific and
        unattributed, which add up to the total, covered and n_uncovered. ``covered`` is the share
        of gross weight in assets with exposures, a return and a specific return; the returns of
        the ``n_uncovered`` others are unattributed. A missing return counts as nothing; the total
        is null if nothing held has a return. With a benchmark also portfolio_return and
        benchmark_return, whose difference is the total.
    factors
        A row per period, portfolio and factor: period, portfolio, factor, exposure (of what is
        covered), factor_return, contribution: their product.
    linked
        A row per portfolio and factor, the last two called "specific" and "unattributed":
        portfolio, factor, contribution, which adds up to the compounded return, and
        volatility_contribution, which adds up to the standard deviation of the total. Periods
        without a total are left out.

    Examples
    --------
    See ``attribution``.
    """

    returns: Frame
    factors: Frame
    linked: Frame
    _run: Run
    _schemas: dict[str, pl.Schema]

    def collect(self) -> Attribution[pl.DataFrame]:
        """Run once and hold all frames in memory; an eager result stays as it is."""
        if isinstance(self.returns, pl.DataFrame):
            return self
        frames = at_once(self._run, self._schemas)
        return Attribution(**frames, _run=no_run, _schemas=self._schemas)

    def __repr__(self) -> str:
        if isinstance(self.returns, pl.LazyFrame):
            return "Attribution, lazy: collect() computes it"
        return f"Attribution, {counted(self.returns.height, 'row')} of returns"


@overload
def attribution(
    fits: CrossSectionFits[pl.DataFrame],
    weights: pl.DataFrame | ArrowStream,
    panel: pl.DataFrame | ArrowStream,
    **arguments: Unpack[AttributionArguments],
) -> Attribution[pl.DataFrame]: ...
@overload
def attribution(
    fits: Fits, weights: AnyFrame, panel: AnyFrame, **arguments: Unpack[AttributionArguments]
) -> Attribution[pl.DataFrame] | Attribution[pl.LazyFrame]: ...
def attribution(
    fits: Fits,
    weights: AnyFrame,
    panel: AnyFrame,
    *,
    returns: str = "return",
    portfolio_returns: AnyFrame | None = None,
    benchmark: AnyFrame | None = None,
    weight: str = "weight",
    portfolio: str = "portfolio",
    sorted_by_period: bool = False,
) -> Attribution[pl.DataFrame] | Attribution[pl.LazyFrame]:
    """Split the returns of portfolios into those of factors, specific returns, and the rest.

    The return of a portfolio is the sum of its exposures times factor returns, plus the sum of
    weights times specific returns, plus what is unattributed.

    Parameters
    ----------
    fits
        The result of ``fit_cross_sections``.
    weights, weight, portfolio
        As in ``factor_exposures``: held at the beginning of the period.
    panel
        Frame of the exposures of the fits, of the returns that they were fitted to, and of
        ``returns``.
    returns
        Column of ``panel`` with the returns of the period.
    portfolio_returns
        The returns of the portfolios, if known, such as those net of costs: period,
        portfolio, and a column of numbers called like ``returns``, or the only one. The difference,
        such as costs, is unattributed.
    benchmark
        Weights of one portfolio, with which the others are compared.
    sorted_by_period
        LazyFrames are sorted by period: read them in one pass, in little memory.

    Returns
    -------
    Attribution
        The frames ``returns``, ``factors`` and ``linked``, lazy if anything given is lazy.

    Raises
    ------
    PanelError
        As ``factor_exposures``. A return of a portfolio or benchmark is -1 or less, so that
        returns cannot be linked; a portfolio with returns has none in ``portfolio_returns``; a
        factor is called "factor", "specific" or "unattributed".
    TypeError
        An argument has a wrong type.
    RuntimeError
        As ``factor_returns``.

    Notes
    -----
    Source of the linking: Carino (1999), Journal of Performance Measurement 3 (4), 5-14.
    The page "A risk model" has all formulas.

    Examples
    --------
    >>> import polars as pl
    >>> from vbase_py_utils import attribution, fit_cross_sections
    >>> keys = {"period": [1, 1, 1], "asset": ["A", "B", "C"]}
    >>> panel = pl.DataFrame({**keys, "return": [0.01, 0.02, 0.06], "value": [1.0, 2.0, 4.0]})
    >>> fits = fit_cross_sections(panel, ["value"], huber_t=float("inf"))
    >>> weights = pl.DataFrame({**keys, "weight": [0.5, 0.0, 0.5]})
    >>> answer = attribution(fits, weights, panel)
    >>> answer.returns.select(pl.col("total", "factors", "specific").round(4)).row(0)
    (0.035, 0.0345, 0.0005)
    """
    in_order = check_flag("sorted_by_period", sorted_by_period)
    names = KeyNames.of(fits, portfolio, weight)
    table = Weights.of(weights, "weights", names)
    columns = [fits.estimated.returns]
    if check_name("returns", returns) not in columns:
        columns.append(returns)
    positions = read_positions(table, benchmark, panel, fits, returns=columns)
    factors = check_factors(fits)
    given = None
    if portfolio_returns is not None:
        given = PortfolioReturns.of(portfolio_returns, returns, table)
    schemas = _schemas(table, active=benchmark is not None)

    def run(wanted: frozenset[str]) -> Iterator[Frames]:
        known = _FactorReturns.of(fits)
        read = None if given is None else given.collect()
        kept = (_OfPeriod.of(held, known, read) for held in positions.held(in_order=in_order))
        totals = _Totals(table, factors)
        for some in in_blocks(kept, lambda one: 2 * one.parts.exposures.size):
            if LINKED in wanted:
                totals.add(some)
            makers = {RETURNS: _returns, FACTORS: _factors}
            yield {
                name: maker(table, some, factors)
                for name, maker in makers.items()
                if name in wanted
            }
        if LINKED in wanted:
            yield {LINKED: totals.linked()}

    if is_lazy([fits, weights, panel, portfolio_returns, benchmark]):
        return Attribution(**lazily(run, schemas), _run=run, _schemas=schemas)
    return Attribution(**at_once(run, schemas), _run=no_run, _schemas=schemas)


def _schemas(table: Weights, *, active: bool) -> dict[str, pl.Schema]:
    number, keys = pl.Float64(), [PERIOD, PORTFOLIO]
    returns = dict.fromkeys(("total", "factors", "specific", "unattributed", "covered"), number)
    beside = dict.fromkeys(("portfolio_return", "benchmark_return"), number) if active else {}
    factors = dict.fromkeys(("exposure", "factor_return", "contribution"), number)
    both = dict.fromkeys(("contribution", "volatility_contribution"), number)
    return {
        RETURNS: schema_of(table, keys, {**returns, "n_uncovered": pl.UInt32(), **beside}),
        FACTORS: schema_of(table, keys, {"factor": pl.String(), **factors}),
        LINKED: schema_of(table, [PORTFOLIO], {"factor": pl.String(), **both}),
    }


@dataclass(frozen=True, slots=True)
class _FactorReturns:
    """Factor returns (T, k) and how to find their periods."""

    index: PeriodIndex
    values: FloatArray

    @classmethod
    def of(cls, fits: Fits) -> _FactorReturns:
        k = len(fits.estimated.factors)
        long = inner_frame(fits, "coefficients").lazy().select(PERIOD, FACTOR_RETURN).collect()
        index = PeriodIndex(long[PERIOD].gather_every(max(k, 1)))
        return cls(index, floats(long[FACTOR_RETURN]).reshape(-1, k))

    def at(self, held: Held) -> FloatArray:
        """Give the factor returns (k,) of the period of holdings, NaN if it has none."""
        row = self.index.of(held)
        return np.full(self.values.shape[1], np.nan) if row is None else self.values[row]


@dataclass(frozen=True, slots=True)
class _OfPeriod:
    """What is attributed in a period; ``portfolio`` and ``benchmark`` (p,) are their returns."""

    period: pl.Series
    portfolios: pl.Series | None
    parts: Attributed
    factor_returns: FloatArray
    portfolio: FloatArray
    benchmark: FloatArray | None

    @classmethod
    def of(cls, held: Held, known: _FactorReturns, given: PortfolioReturns | None) -> _OfPeriod:
        assets, f = Assets.of(held.exposures), known.at(held)
        fitted, returns = held.values[0], held.values[-1]
        there = np.isfinite(returns)
        earned = np.where(there, returns, 0.0)
        of_holdings = _returns_of(held.weights, earned, there)
        # What holdings did not earn: nothing, or NaN where the return is unknown.
        portfolio, beside = of_holdings, 0 * of_holdings
        if given is not None:
            portfolio = given.known(held, there)
            beside = portfolio - np.nan_to_num(of_holdings)
        weights, benchmark = held.weights, None
        if held.benchmark is not None:
            weights = held.weights - held.benchmark
            of_bench = _returns_of(held.benchmark[None], earned, there)
            benchmark = np.repeat(of_bench, len(weights))
            beside = beside + 0 * benchmark
        parts = attributed(weights, assets, fitted, returns, f, beside)
        return cls(held.period, held.portfolios, parts, f, portfolio, benchmark)


def _returns_of(weights: FloatArray, earned: FloatArray, there: NDArray[np.bool_]) -> FloatArray:
    """Give the returns (p,) of holdings; NaN where none of them has one."""
    held = weights != 0
    returns: FloatArray = weights @ earned
    returns[held.any(axis=1) & ~(held & there).any(axis=1)] = np.nan
    return returns


def _counts(kept: list[_OfPeriod], n: int) -> list[Integers]:
    return [np.full(len(one.parts.total), n) for one in kept]


def _returns(table: Weights, kept: list[_OfPeriod], factors: tuple[str, ...]) -> pl.DataFrame:
    """Make a row per period and portfolio."""
    k = len(factors)
    contributions = np.concatenate([one.parts.contributions for one in kept])
    values = {
        "total": np.concatenate([one.parts.total for one in kept]),
        "factors": contributions[:, :k].sum(axis=1),
        "specific": contributions[:, k],
        "unattributed": contributions[:, k + 1],
        "covered": np.concatenate([one.parts.covered for one in kept]),
    }
    uncovered = np.concatenate([one.parts.n_uncovered for one in kept])
    columns = [
        *key_columns(table, kept, _counts(kept, 1)),
        *as_columns(values),
        pl.Series("n_uncovered", uncovered, dtype=pl.UInt32),
    ]
    benchmark = [one.benchmark for one in kept if one.benchmark is not None]
    if benchmark:
        portfolio = np.concatenate([one.portfolio for one in kept])
        both = {"portfolio_return": portfolio, "benchmark_return": np.concatenate(benchmark)}
        columns += as_columns(both)
    return frame_of(columns)


def _factors(table: Weights, kept: list[_OfPeriod], factors: tuple[str, ...]) -> pl.DataFrame:
    """Make a row per period, portfolio and factor."""
    k = len(factors)
    returns = [np.tile(one.factor_returns, (len(one.parts.total), 1)) for one in kept]
    values = {
        "exposure": np.concatenate([one.parts.exposures.ravel() for one in kept]),
        "factor_return": np.concatenate([some.ravel() for some in returns]),
        "contribution": np.concatenate([one.parts.contributions[:, :k].ravel() for one in kept]),
    }
    return with_factors(key_columns(table, kept, _counts(kept, k)), factors, values)


class _Totals:
    """Collects what is to be linked over all periods."""

    def __init__(self, table: Weights, factors: tuple[str, ...]) -> None:
        self.table, self.factors = table, factors
        self.keys: list[pl.DataFrame] = []
        self.contributions: list[FloatArray] = []
        self.returns: list[FloatArray] = []
        self.benchmark: list[FloatArray] = []

    def add(self, kept: list[_OfPeriod]) -> None:
        """Take in some periods."""
        periods, portfolios = key_columns(self.table, kept, _counts(kept, 1))
        self.keys.append(pl.DataFrame({PERIOD: periods, PORTFOLIO: portfolios}))
        self.contributions += [one.parts.contributions for one in kept]
        self.returns += [one.portfolio for one in kept]
        self.benchmark += [
            np.zeros(len(one.portfolio)) if one.benchmark is None else one.benchmark for one in kept
        ]

    def linked(self) -> pl.DataFrame:
        """Link the contributions of each portfolio."""
        names = (*self.factors, SPECIFIC, UNATTRIBUTED)
        if not self.keys:
            return _schemas(self.table, active=False)[LINKED].to_frame()
        keys = pl.concat(self.keys)
        returns, benchmark = np.concatenate(self.returns), np.concatenate(self.benchmark)
        contributions = np.concatenate(self.contributions)
        there = np.isfinite(returns) & np.isfinite(benchmark)
        for what, values in (("portfolio", returns), ("benchmark", benchmark)):
            self._check(what, values, keys)
        rows = keys.select(PORTFOLIO).with_row_index("row").sort(PORTFOLIO, maintain_order=True)
        parts = []
        for _, group in rows.group_by(PORTFOLIO, maintain_order=True):
            own = group["row"].to_numpy()
            own = own[there[own]]
            answer = linked(contributions[own], returns[own], benchmark[own])
            named = group[PORTFOLIO].head(1).new_from_index(0, len(names))
            columns = {
                "contribution": answer.contribution,
                "volatility_contribution": answer.volatility_contribution,
            }
            parts.append(with_factors([named.alias(self.table.names.portfolio)], names, columns))
        return pl.concat(parts)

    def _check(self, what: str, values: FloatArray, keys: pl.DataFrame) -> None:
        """Raise PanelError for returns that cannot be linked."""
        bad = np.flatnonzero(values <= -1)
        if len(bad):
            row = keys[int(bad[0])]
            example = f"{values[bad[0]]:.6g} of {one_line(label(row.to_series(1)))} at "
            example += one_line(label(row.to_series(0)))
            raise PanelError(
                f"the return of the {what} is -1 or less in {counted(len(bad), 'period')}, for "
                f"example {example}; expected returns above -1, which can be compounded"
            )
