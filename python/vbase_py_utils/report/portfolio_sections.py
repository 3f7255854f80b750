"""A section of the report for each portfolio: tables, sentences and pictures."""

from __future__ import annotations

from dataclasses import dataclass

from vbase_py_utils.report.pictures import Picture
from vbase_py_utils.report.portfolio_forecasts import Forecasts, comparisons
from vbase_py_utils.report.portfolio_frames import Portfolio, Portfolios
from vbase_py_utils.report.portfolio_pictures import (
    pictures_of_forecasts,
    pictures_of_holdings,
    pictures_of_returns,
    pictures_of_risk,
)
from vbase_py_utils.report.portfolios import Exposures, ReturnsShown, RiskShown


@dataclass(frozen=True, slots=True)
class Section:
    """What the page shows of a portfolio.

    Attributes
    ----------
    name
        Of the portfolio.
    exposures, risk, returns, forecasts
        Tables and sentences, ``None`` where nothing is known.
    pictures
        The charts of each of these.
    one_benchmark
        Only one of returns and risk has a benchmark.
    """

    name: str
    exposures: Exposures | None
    risk: RiskShown | None
    returns: ReturnsShown | None
    forecasts: Forecasts | None
    pictures: dict[str, list[Picture]]
    one_benchmark: bool


def sections_of(portfolios: Portfolios) -> list[Section]:
    """Make the sections of all portfolios that are shown."""
    return [_section(portfolios, one) for one in portfolios.each()]


def _section(portfolios: Portfolios, one: Portfolio) -> Section:
    risked, attributed = one.risked, one.attributed
    compared = []
    if risked is not None and attributed is not None:
        compared = comparisons(attributed, risked)
    return Section(
        one.name,
        Exposures.of(risked, attributed),
        None if risked is None else RiskShown.of(risked),
        None if attributed is None else ReturnsShown.of(attributed),
        Forecasts.of(compared),
        {
            "exposures": list(pictures_of_holdings(portfolios, one)),
            "risk": list(pictures_of_risk(portfolios, one)),
            "returns": list(pictures_of_returns(portfolios, one)),
            "forecasts": list(pictures_of_forecasts(compared)),
        },
        risked is not None and attributed is not None and risked.active != attributed.active,
    )
