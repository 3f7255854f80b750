"""The forecast risk of portfolios, and which factors and assets it comes from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar, Unpack, overload

import polars as pl

from vbase_py_utils.analyse.reading import AnyFrame, Fits
from vbase_py_utils.arguments import check_flag, check_number
from vbase_py_utils.errors import PanelError
from vbase_py_utils.fit.results import CrossSectionFits
from vbase_py_utils.keys import PERIOD
from vbase_py_utils.panel import ArrowStream, as_frame
from vbase_py_utils.risk.answers import (
    Frames,
    PeriodIndex,
    Run,
    at_once,
    in_blocks,
    is_lazy,
    lazily,
    no_run,
)
from vbase_py_utils.risk.exposures import HoldingArguments, read_positions
from vbase_py_utils.risk.holdings import KeyNames, Weights
from vbase_py_utils.risk.options import check_factors
from vbase_py_utils.risk.positions import AssetFrame
from vbase_py_utils.risk.reading import Covariances, read_covariances
from vbase_py_utils.risk.risk_frames import ASSETS, RiskOfPeriod, frames_of, risk_schemas
from vbase_py_utils.text import counted

COVARIANCE = "factor_covariance"
Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)


class RiskArguments(HoldingArguments, total=False):
    """The keyword arguments of ``portfolio_risk``; meanings there."""

    periods_per_year: float


@dataclass(frozen=True, eq=False, repr=False)
class PortfolioRisk(Generic[Frame]):
    """The forecast risk of portfolios, as frames sorted by period and portfolio.

    Attributes
    ----------
    summary
        A row per period and portfolio: period, portfolio, risk, factor_risk, specific_risk,
        covered; with a benchmark also active_risk, beta and active_covered. Risk is a standard
        deviation of return. It is null if a position has no exposures or no specific risk, the
        portfolio is exposed to a factor without a covariance, or the matrix is not positive
        semi-definite; ``covered`` is the share of gross
        weight in assets that have both.
    factors
        A row per period, portfolio and factor, the last one called "specific": period, portfolio,
        factor, exposure, volatility, correlation (with the portfolio), contribution and share.
        Contributions add up to the risk of one period. Each factor's is exposure times volatility
        times correlation; specific returns have no exposure. With a benchmark also active_exposure,
        active_correlation, active_contribution and active_share, which add up to the active risk.
    assets
        A row per position: period, portfolio, asset, weight, marginal (the change of risk per
        weight), contribution; these also add up to the risk of one period. With a benchmark its
        positions have rows as well, and there are active_weight, active_marginal and
        active_contribution.

    Examples
    --------
    See ``portfolio_risk``.
    """

    summary: Frame
    factors: Frame
    assets: Frame
    _run: Run
    _schemas: dict[str, pl.Schema]

    def collect(self) -> PortfolioRisk[pl.DataFrame]:
        """Run once and hold all frames in memory; an eager result stays as it is."""
        if isinstance(self.summary, pl.DataFrame):
            return self
        frames = at_once(self._run, self._schemas)
        return PortfolioRisk(**frames, _run=no_run, _schemas=self._schemas)

    def __repr__(self) -> str:
        if isinstance(self.summary, pl.LazyFrame):
            return "PortfolioRisk, lazy: collect() computes it"
        return f"PortfolioRisk, {counted(self.summary.height, 'row')} of the summary"


@overload
def portfolio_risk(
    weights: pl.DataFrame | ArrowStream,
    panel: pl.DataFrame | ArrowStream,
    fits: CrossSectionFits[pl.DataFrame],
    factor_covariance: pl.DataFrame | ArrowStream,
    specific_risk: pl.DataFrame | ArrowStream,
    **arguments: Unpack[RiskArguments],
) -> PortfolioRisk[pl.DataFrame]: ...
@overload
def portfolio_risk(
    weights: AnyFrame,
    panel: AnyFrame,
    fits: Fits,
    factor_covariance: AnyFrame,
    specific_risk: AnyFrame,
    **arguments: Unpack[RiskArguments],
) -> PortfolioRisk[pl.DataFrame] | PortfolioRisk[pl.LazyFrame]: ...
def portfolio_risk(
    weights: AnyFrame,
    panel: AnyFrame,
    fits: Fits,
    factor_covariance: AnyFrame,
    specific_risk: AnyFrame,
    *,
    benchmark: AnyFrame | None = None,
    periods_per_year: float = 1,
    weight: str = "weight",
    portfolio: str = "portfolio",
    sorted_by_period: bool = False,
) -> PortfolioRisk[pl.DataFrame] | PortfolioRisk[pl.LazyFrame]:
    """Forecast the risk of portfolios, and say which factors and assets it comes from.

    With weights w, exposures X, factor covariance F and specific risk s, the variance is
    x'F x + sum w^2 s^2 with x = X'w. Everything is taken at the period of the weights.

    Parameters
    ----------
    weights, panel, fits, weight, portfolio
        As in ``factor_exposures``. A period to come has rows with exposures in the panel.
    factor_covariance
        A frame like that of the function of this name: of all factors of the fits.
    specific_risk
        A frame like that of the function of this name: period, asset and specific_risk.
    benchmark
        Weights of one portfolio, to measure active risk and beta against.
    periods_per_year
        Multiplies the squared risks of ``summary``, and only those.
    sorted_by_period
        LazyFrames are sorted by period: read them in one pass, in little memory. The covariances
        are held in memory all the same.

    Returns
    -------
    PortfolioRisk
        The frames ``summary``, ``factors`` and ``assets``, lazy if anything given is lazy.

    Raises
    ------
    PanelError
        As ``factor_exposures``. The covariance of a period is not a symmetric block of all factors
        of the fits; a factor is called "factor", "specific" or
        "unattributed".
    ValueError, TypeError
        An argument is out of range or has a wrong type.
    RuntimeError
        As ``factor_returns``.

    Notes
    -----
    Sources: Menchero, Orr and Wang (2011), The Barra US Equity Model (USE4); Menchero and Davis
    (2011), Journal of Portfolio Management 37 (2), 97-107. The page "A risk model" has all
    formulas.

    Examples
    --------
    >>> import polars as pl
    >>> from vbase_py_utils import fit_cross_sections, portfolio_risk
    >>> keys = {"period": [1, 1, 1], "asset": ["A", "B", "C"]}
    >>> panel = pl.DataFrame({**keys, "return": [0.01, 0.02, 0.04], "value": [1.0, 2.0, 4.0]})
    >>> fits = fit_cross_sections(panel, ["value"])
    >>> covariance = pl.DataFrame({"period": [1], "factor": ["value"], "value": [0.0004]})
    >>> specific = pl.DataFrame({**keys, "specific_risk": [0.02, 0.04, 0.04]})
    >>> weights = pl.DataFrame({**keys, "weight": [0.5, 0.5, 0.0]})
    >>> risk = portfolio_risk(weights, panel, fits, covariance, specific)
    >>> risk.summary.select(pl.col("risk", "factor_risk", "specific_risk").round(4)).row(0)
    (0.0374, 0.03, 0.0224)
    >>> risk.factors.select("factor", pl.col("contribution").round(4)).rows()
    [('value', 0.0241), ('specific', 0.0134)]
    """
    in_order = check_flag("sorted_by_period", sorted_by_period)
    expected = "a number of periods > 0"
    check_number("periods_per_year", periods_per_year, expected, at_least=math.ulp(0))
    names = KeyNames.of(fits, portfolio, weight)
    table = Weights.of(weights, "weights", names)
    risks = AssetFrame.of_risk(specific_risk, "specific_risk", names)
    positions = read_positions(table, benchmark, panel, fits, others=[risks])
    factors = check_factors(fits)
    root = math.sqrt(periods_per_year)
    given = as_frame(factor_covariance, list, COVARIANCE, others="need")
    # The checks of names and types, before a lazy query runs.
    names.check_types(COVARIANCE, given.collect_schema(), PERIOD)
    _covariances(given.collect_schema().to_frame(), factors)
    schemas = risk_schemas(table, active=benchmark is not None)

    def run(wanted: frozenset[str]) -> Iterator[Frames]:
        blocks = _covariances(given, factors)
        index = PeriodIndex(blocks.periods)
        kept = (
            RiskOfPeriod.of(held, blocks, index, with_assets=ASSETS in wanted)
            for held in positions.held(in_order=in_order)
        )
        for some in in_blocks(kept, lambda one: one.size):
            yield frames_of(wanted, table, some, factors, root)

    sources = [weights, panel, fits, factor_covariance, specific_risk, benchmark]
    if is_lazy(sources):
        return PortfolioRisk(**lazily(run, schemas), _run=run, _schemas=schemas)
    return PortfolioRisk(**at_once(run, schemas), _run=no_run, _schemas=schemas)


def _covariances(factor_covariance: AnyFrame, factors: tuple[str, ...]) -> Covariances:
    """Read the blocks, and put factors in the order of the fits."""
    given = read_covariances(factor_covariance, COVARIANCE)
    lacking = [name for name in factors if name not in given.factors]
    unknown = [name for name in given.factors if name not in factors]
    if lacking or unknown:
        raise PanelError.other_factors(COVARIANCE, lacking, unknown)
    order = [given.factors.index(name) for name in factors]
    return Covariances(given.periods, factors, given.blocks[:, order][:, :, order])
