"""The tables and sentences about what portfolios hold, their risk and their returns."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import polars as pl

from vbase_py_utils.fit.schema import FACTOR
from vbase_py_utils.keys import PERIOD, label
from vbase_py_utils.report.portfolio_frames import Attributed, Risked
from vbase_py_utils.report.words import number, percent
from vbase_py_utils.risk.holdings import PORTFOLIO
from vbase_py_utils.risk.options import SPECIFIC
from vbase_py_utils.risk.risk_frames import ACTIVE

# Relative rounding of sums of contributions.
ROUNDING = 1e-9
# Numbers below this share of the largest in their column are written as zero.
NOISE = 1e-12
# Headings of an exposure at the last period and of its mean.
WHOLE, DIFFERENCE = ("Exposure", "Mean"), ("Active", "Active mean")
# Columns and numbers of risk, and their headings.
SHARES = {
    "exposure": "Exposure",
    "volatility": "Volatility",
    "correlation": "Correlation",
    "contribution": "Contribution",
    "share": "Share",
}
ACTIVE_SHARES = {f"{ACTIVE}{n}": h for n, h in SHARES.items() if n != "volatility"}
NUMBERS = {
    "risk": "Risk",
    "factor_risk": "Risk of factors",
    "specific_risk": "Specific risk",
    "active_risk": "Active risk",
    "beta": "Beta to the benchmark",
}


@dataclass(frozen=True, slots=True)
class Table:
    """A table as text: a name and numbers in each row, of the last perhaps their sums."""

    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    sums: tuple[str, ...] | None = None

    @classmethod
    def of(
        cls, names: pl.Series, columns: Mapping[str, pl.Series], added: Collection[str] = ()
    ) -> Table:
        """Write columns by heading, and the sums of those that are ``added``, if any are."""
        write = {heading: percent if heading == "Share" else number for heading in columns}
        texts = [[write[h](value) for value in _cleaned(columns[h])] for h in columns]
        sums = tuple(write[h](_sum(columns[h])) if h in added else "" for h in columns)
        rows = list(zip(names.to_list(), *texts, strict=True))
        return cls(tuple(columns), rows, sums if added else None)


@dataclass(frozen=True, slots=True)
class Exposures:
    """What a portfolio holds of each factor; ``last``: the last of ``n_periods``.

    ``only_active``: only the difference from a benchmark is known.
    """

    last: str
    n_periods: int
    only_active: bool
    table: Table

    @classmethod
    def of(cls, risked: Risked | None, attributed: Attributed | None) -> Exposures | None:
        """Take exposures from the risk if it is known, else from the attribution."""
        if risked is not None:
            columns = {"exposure": WHOLE} | (
                {"active_exposure": DIFFERENCE} if risked.active else {}
            )
            return cls._of(risked.shares.filter(pl.col(FACTOR) != SPECIFIC), columns)
        if attributed is not None:
            columns = {"exposure": DIFFERENCE if attributed.active else WHOLE}
            return cls._of(attributed.parts, columns)
        return None

    @classmethod
    def _of(cls, rows: pl.DataFrame, columns: dict[str, tuple[str, str]]) -> Exposures:
        last = rows.filter(rows[PERIOD].is_in(rows[PERIOD].tail(1).implode()))
        means = rows.group_by(FACTOR, maintain_order=True).agg(pl.col(*columns).mean())
        shown: dict[str, pl.Series] = {}
        for name, headings in columns.items():
            shown |= dict(zip(headings, (last[name], means[name]), strict=True))
        table = Table.of(last[FACTOR], shown)
        only_active = WHOLE not in columns.values()
        return cls(_last(rows), rows[PERIOD].n_unique(), only_active, table)


@dataclass(frozen=True, slots=True)
class Unknown:
    """Why a risk is not known at a period: weights (share of gross) or factors without it."""

    period: str
    uncovered: str | None
    factors: list[str]

    @classmethod
    def of(cls, risked: Risked, prefix: str = "") -> Unknown | None:
        """Look at the only period of this risk; ``None`` if it is known."""
        (row,) = risked.summary.drop(PERIOD, PORTFOLIO).to_dicts()
        if row[f"{prefix}risk"] is not None:
            return None
        share = row[f"{prefix}covered"]
        exposed = (pl.col(f"{prefix}exposure") != 0) & pl.col("volatility").is_null()
        names = risked.shares.filter(exposed, pl.col(FACTOR) != SPECIFIC)[FACTOR].to_list()
        uncovered = percent(1 - share) if share is not None and share < 1 else None
        return cls(_last(risked.summary), uncovered, names)


@dataclass(frozen=True, slots=True)
class KnownRisk:
    """The forecast risk at a period at which it is known, and which factors it comes from.

    Attributes
    ----------
    at
        The period.
    numbers
        Names and numbers of the summary.
    scale
        How many periods these are of, ``None`` for one.
    active_unknown
        Why the active risk is not known.
    no_beta
        Whether there is a benchmark, but no beta to it.
    table, active
        By factor, the sums being the risk and the active risk of one period.
    """

    at: str
    numbers: list[tuple[str, str]]
    scale: str | None
    active_unknown: Unknown | None
    no_beta: bool
    table: Table
    active: Table | None

    @classmethod
    def of(cls, known: Risked, scale: str | None) -> KnownRisk:
        """Show the only period of this risk."""
        active_unknown = Unknown.of(known, ACTIVE) if known.active else None
        return cls(
            _last(known.summary),
            _summary(known),
            scale,
            active_unknown,
            known.active and known.summary["beta"][0] is None,
            _by_factor(known.shares, SHARES),
            _by_factor(known.shares, ACTIVE_SHARES)
            if known.active and active_unknown is None
            else None,
        )


@dataclass(frozen=True, slots=True)
class RiskShown:
    """The forecast risk at the last period, or at the last one at which it is known.

    Attributes
    ----------
    last
        The last period.
    unknown
        Why the risk is not known there.
    n_periods, n_unknown
        How many periods there are, and how many of them have no known risk.
    known
        The last risk that is known; ``None`` if none is.
    """

    last: str
    unknown: Unknown | None
    n_periods: int
    n_unknown: int
    known: KnownRisk | None

    @classmethod
    def of(cls, risked: Risked) -> RiskShown:
        """Show the last period, and the last one that is known."""
        summary, known = risked.summary, at_last_known(risked)
        return cls(
            _last(summary),
            Unknown.of(risked.at(summary[PERIOD].tail(1))),
            summary.height,
            summary["risk"].null_count(),
            None if known is None else KnownRisk.of(known, _scale(risked)),
        )


def at_last_known(risked: Risked) -> Risked | None:
    """Keep the last period with a known risk; ``None`` if there is none."""
    known = risked.summary.filter(pl.col("risk").is_not_null())
    return None if known.is_empty() else risked.at(known[PERIOD].tail(1))


def _summary(known: Risked) -> list[tuple[str, str]]:
    """Give the numbers of the summary of one period, with their names."""
    (row,) = known.summary.drop(PERIOD, PORTFOLIO).to_dicts()
    names = [n for n in NUMBERS if known.active or n not in ("active_risk", "beta")]
    return [(NUMBERS[name], number(row[name])) for name in names]


def _scale(risked: Risked) -> str | None:
    """Find how many periods the summary is of: its squared risk over that of one period."""
    both = risked.summary.select(PERIOD, pl.col("risk").alias("of_many")).join(
        risked.per_period(), on=PERIOD, maintain_order="left"
    )
    ratio = (pl.col("of_many") / pl.col("risk")) ** 2
    scale = both.filter(pl.col("risk") > 0).select(ratio.median()).item()
    return None if scale is None or abs(scale - 1) < ROUNDING else number(scale)


def _by_factor(rows: pl.DataFrame, columns: dict[str, str]) -> Table:
    """Show the risk of one period by factor, with the sum of what adds up."""
    shown = {heading: rows[name] for name, heading in columns.items()}
    return Table.of(rows[FACTOR], shown, ("Contribution", "Share"))


@dataclass(frozen=True, slots=True)
class Uncovered:
    """Weights that no factor explains: in how many periods, and the mean and largest share."""

    n_periods: int
    mean: str
    most: str
    worst: str

    @classmethod
    def of(cls, returns: pl.DataFrame) -> Uncovered | None:
        """Look at all periods; ``None`` if everything is covered."""
        rows = returns.filter(pl.col("n_uncovered") > 0)
        if rows.is_empty():
            return None
        lost = 1 - rows["covered"]
        worst = int(lost.arg_max() or 0)
        mean = float(lost.sum()) / rows.height
        period = label(rows[PERIOD].slice(worst, 1))
        return cls(rows.height, percent(mean), percent(lost[worst]), period)


@dataclass(frozen=True, slots=True)
class ReturnsShown:
    """Where the returns of a portfolio came from, over all of its periods.

    Attributes
    ----------
    first, last, n_periods, n_without, n_failed
        The periods; in how many nothing held has a return, or factors have none.
    active
        Whether everything is of the difference from a benchmark.
    uncovered
        Weights that no factor explains.
    compounded
        Names and compounded returns.
    table
        Linked contributions, which add up to the compounded return; ``None`` without a return.
    """

    first: str
    last: str
    n_periods: int
    n_without: int
    n_failed: int
    active: bool
    uncovered: Uncovered | None
    compounded: list[tuple[str, str]]
    table: Table | None

    @classmethod
    def of(cls, attributed: Attributed) -> ReturnsShown:
        """Summarise the frame of returns, and show the linked one."""
        returns = attributed.returns
        there = returns.filter(pl.col("total").is_not_null())
        named = {"Compounded return": there["total"]}
        if attributed.active:
            named = {
                "Compounded return of the portfolio": there["portfolio_return"],
                "Compounded return of the benchmark": there["benchmark_return"],
            }
        return cls(
            label(returns[PERIOD].head(1)),
            _last(returns),
            returns.height,
            returns["total"].null_count(),
            there["factors"].null_count(),
            attributed.active,
            Uncovered.of(returns),
            [(name, number(_compounded(values))) for name, values in named.items()],
            None if there.is_empty() else _linked(attributed.linked),
        )


def _linked(linked: pl.DataFrame) -> Table:
    shown = {
        "Contribution": linked["contribution"],
        "Volatility contribution": linked["volatility_contribution"],
    }
    return Table.of(linked[FACTOR], shown, shown)


def _last(rows: pl.DataFrame) -> str:
    return label(rows[PERIOD].tail(1))


def _cleaned(values: pl.Series) -> list[float | None]:
    """Replace what is only the rounding of larger numbers by zero."""
    rows = values.alias("value").to_frame()
    size = pl.col("value").abs()
    small = size < NOISE * size.max()
    return rows.select(pl.when(small).then(0.0).otherwise("value")).to_series().to_list()


def _sum(values: pl.Series) -> float | None:
    """Add numbers up; ``None`` if one is missing, unless it has nothing to add."""
    return None if values.null_count() or values.is_empty() else float(values.sum())


def _compounded(returns: pl.Series) -> float | None:
    return None if returns.is_empty() else float((1 + returns).product() - 1)
