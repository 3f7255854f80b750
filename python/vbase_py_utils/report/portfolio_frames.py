"""Read what is known of portfolios, check that it belongs to the fits, and take it apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

import polars as pl

from vbase_py_utils.analyse.reading import read_table
from vbase_py_utils.arguments import shown as in_words
from vbase_py_utils.errors import PanelError
from vbase_py_utils.fit.results import CrossSectionFits, inner_frame
from vbase_py_utils.fit.schema import FACTOR
from vbase_py_utils.keys import PERIOD, label
from vbase_py_utils.risk.attribution import Attribution
from vbase_py_utils.risk.holdings import PORTFOLIO
from vbase_py_utils.risk.portfolio import PortfolioRisk
from vbase_py_utils.text import type_name

USE = "a report"
# Of more portfolios, the first are shown.
MOST_PORTFOLIOS = 10
# Numbers of the frames; without a benchmark, frames lack those of the second list.
Numbers: TypeAlias = tuple[list[str], list[str]]
RETURNS: Numbers = (
    ["total", "factors", "specific", "unattributed", "covered", "n_uncovered"],
    ["portfolio_return", "benchmark_return"],
)
PARTS: Numbers = (["exposure"], [])
LINKED = ["contribution", "volatility_contribution"]
SUMMARY: Numbers = (
    ["risk", "factor_risk", "specific_risk", "covered"],
    ["active_risk", "beta", "active_covered"],
)
SHARES: Numbers = (
    ["exposure", "volatility", "correlation", "contribution", "share"],
    ["active_exposure", "active_correlation", "active_contribution", "active_share"],
)

AnyAttribution: TypeAlias = Attribution[pl.DataFrame] | Attribution[pl.LazyFrame]
AnyRisk: TypeAlias = PortfolioRisk[pl.DataFrame] | PortfolioRisk[pl.LazyFrame]


@dataclass(frozen=True, slots=True)
class Attributed:
    """An attribution: as it was given, and its frames with PERIOD and PORTFOLIO as keys.

    ``active``: there is a benchmark, and everything is of the difference from it.
    """

    given: Attribution[pl.DataFrame]
    returns: pl.DataFrame
    parts: pl.DataFrame
    linked: pl.DataFrame
    active: bool

    @classmethod
    def of(cls, given: Attribution[pl.DataFrame]) -> Attributed:
        """Give the keys our names."""
        linked = given.linked
        keys = {PORTFOLIO: linked.columns[0], FACTOR: FACTOR}
        return cls(
            given,
            _read(given.returns, "attribution.returns", RETURNS),
            _read(given.factors, "attribution.factors", PARTS, FACTOR),
            read_table(linked, "attribution.linked", keys, LINKED),
            "benchmark_return" in given.returns.columns,
        )

    def only(self, portfolios: pl.Series) -> Attributed:
        """Keep the rows of these portfolios."""
        returns, factors, linked = self.given.returns, self.given.factors, self.given.linked
        given = replace(
            self.given,
            returns=returns.filter(_is(self.returns, portfolios)),
            factors=factors.filter(_is(self.parts, portfolios)),
            linked=linked.filter(_is(self.linked, portfolios)),
        )
        return Attributed(
            given,
            self.returns.filter(_is(self.returns, portfolios)),
            self.parts.filter(_is(self.parts, portfolios)),
            self.linked.filter(_is(self.linked, portfolios)),
            self.active,
        )


@dataclass(frozen=True, slots=True)
class Risked:
    """Forecasts of risk: as they were given, and frames with PERIOD and PORTFOLIO as keys.

    ``active``: there is a benchmark.
    """

    given: PortfolioRisk[pl.DataFrame]
    summary: pl.DataFrame
    shares: pl.DataFrame
    active: bool

    @classmethod
    def of(cls, given: PortfolioRisk[pl.DataFrame]) -> Risked:
        """Give the keys our names."""
        return cls(
            given,
            _read(given.summary, "risk.summary", SUMMARY),
            _read(given.factors, "risk.factors", SHARES, FACTOR),
            "active_risk" in given.summary.columns,
        )

    def only(self, portfolios: pl.Series) -> Risked:
        """Keep the rows of these portfolios; those of assets are dropped."""
        return self._filtered(_is(self.summary, portfolios), _is(self.shares, portfolios))

    def at(self, period: pl.Series) -> Risked:
        """Keep the rows of one period (1,)."""
        wanted = period.implode()
        return self._filtered(self.summary[PERIOD].is_in(wanted), self.shares[PERIOD].is_in(wanted))

    def _filtered(self, summary: pl.Series, shares: pl.Series) -> Risked:
        given = replace(
            self.given,
            summary=self.given.summary.filter(summary),
            factors=self.given.factors.filter(shares),
            assets=self.given.assets.clear(),
        )
        return Risked(given, self.summary.filter(summary), self.shares.filter(shares), self.active)

    def per_period(self, prefix: str = "") -> pl.DataFrame:
        """Give the risk of one period for each: PERIOD and "risk", null if unknown.

        That of ``summary`` may be of a year; contributions are of a period, and add up.
        """
        part = pl.col(f"{prefix}contribution")
        known = pl.when(part.is_not_null().all()).then(part.sum())
        return self.shares.group_by(PERIOD, maintain_order=True).agg(known.alias("risk"))


@dataclass(frozen=True, slots=True)
class Portfolio:
    """What is known of one portfolio: its label and name, and its part of what was given."""

    label: object
    name: str
    attributed: Attributed | None
    risked: Risked | None


@dataclass(frozen=True, slots=True)
class Portfolios:
    """What is known of the portfolios that are shown.

    ``labels``: the portfolios, sorted; ``n_left_out``: how many more there are.
    """

    attributed: Attributed | None
    risked: Risked | None
    labels: pl.Series
    n_left_out: int

    def each(self) -> Iterator[Portfolio]:
        """Give the portfolios in order."""
        for number in range(len(self.labels)):
            own = self.labels.slice(number, 1)
            attributed = None if self.attributed is None else self.attributed.only(own)
            risked = None if self.risked is None else self.risked.only(own)
            if attributed is not None and attributed.returns.is_empty():
                attributed = None
            if risked is not None and risked.summary.is_empty():
                risked = None
            yield Portfolio(own[0], label(own), attributed, risked)


def check_portfolios(attribution: object, risk: object) -> None:
    """Raise TypeError unless these are results of the functions of these names, or ``None``."""
    if not isinstance(attribution, Attribution | None):
        raise TypeError(
            f"attribution is {in_words(attribution)}, expected the result of attribution, or None"
        )
    if not isinstance(risk, PortfolioRisk | None):
        raise TypeError(f"risk is {in_words(risk)}, expected the result of portfolio_risk, or None")


def read_portfolios(
    fits: CrossSectionFits[pl.DataFrame],
    attribution: AnyAttribution | None,
    risk: AnyRisk | None,
) -> Portfolios | None:
    """Collect what is given once; ``None`` if nothing is.

    Raises PanelError if the types of periods, or the factors, are not those of the fits, if the two
    name portfolios by different types, or if periods do not sort in the order of time.
    """
    attributed = None if attribution is None else Attributed.of(attribution.collect())
    risked = None if risk is None else Risked.of(risk.collect())
    labels = []
    if attributed is not None:
        _check(fits, "attribution", attributed.returns, attributed.parts, ())
        labels.append(attributed.returns[PORTFOLIO])
    if risked is not None:
        _check(fits, "risk", risked.summary, risked.shares, ("specific",))
        labels.append(risked.summary[PORTFOLIO])
    if not labels:
        return None
    one, other = labels[0].dtype, labels[-1].dtype
    if one != other:
        raise PanelError(
            f"portfolios are {type_name(one)} in attribution and {type_name(other)} in risk, "
            "expected one type: cast one of them first"
        )
    every = pl.concat(labels).unique().sort()
    shown = every.head(MOST_PORTFOLIOS)
    return Portfolios(
        None if attributed is None else attributed.only(shown),
        None if risked is None else risked.only(shown),
        shown,
        len(every) - len(shown),
    )


def _read(frame: pl.DataFrame, name: str, numbers: Numbers, *others: str) -> pl.DataFrame:
    """Give the keys of a frame our names: the first columns are the period and the portfolio."""
    keys = {PERIOD: frame.columns[0], PORTFOLIO: frame.columns[1]} | {key: key for key in others}
    return read_table(frame, name, keys, numbers[0], USE, optional=numbers[1])


def _check(
    fits: CrossSectionFits[pl.DataFrame],
    argument: str,
    periods: pl.DataFrame,
    parts: pl.DataFrame,
    beside: tuple[str, ...],
) -> None:
    """Raise PanelError if the periods, or the names of factors, are not those of the fits."""
    theirs, own = periods[PERIOD].dtype, inner_frame(fits, "diagnostics")[PERIOD].dtype
    if theirs != own:
        raise PanelError(
            f"the periods of {argument} are {type_name(theirs)}, expected {type_name(own)} as in "
            "the fits"
        )
    names = parts[FACTOR].unique(maintain_order=True).to_list()
    expected = [*fits.estimated.factors, *beside]
    unknown = [name for name in names if name not in expected]
    lacking = [name for name in expected if name not in names] if names else []
    if unknown or lacking:
        raise PanelError.other_factors(argument, lacking, unknown)


def _is(frame: pl.DataFrame, portfolios: pl.Series) -> pl.Series:
    return frame[PORTFOLIO].is_in(portfolios.implode())
