"""How the returns of portfolios compare with the risk that was forecast for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from vbase_py_utils.keys import PERIOD
from vbase_py_utils.report.portfolio_frames import Attributed, Risked
from vbase_py_utils.report.portfolios import Table
from vbase_py_utils.report.words import number
from vbase_py_utils.risk.bias import bias_statistics
from vbase_py_utils.risk.risk_frames import ACTIVE

# Periods in a window: a quarter of trading days.
WINDOW = 63


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where the bias of a forecast is: within its limits, above or below them."""

    what: str
    where: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Returns beside the risk that was forecast for them.

    ``pairs``: PERIOD, "return" and "risk", in the order of time; ``n_zero``: periods that are left
    out, since their risk is zero.
    """

    what: str
    pairs: pl.DataFrame
    n_zero: int


@dataclass(frozen=True, slots=True)
class Forecasts:
    """How well forecasts of risk did, of the whole return and of the active one.

    ``absent``: what has no period with both. ``enough``: there are as many periods as a window.
    ``n_zero`` as in ``Comparison``.
    """

    table: Table
    verdicts: list[Verdict]
    absent: list[str]
    enough: bool
    n_zero: int

    @classmethod
    def of(cls, compared: Sequence[Comparison]) -> Forecasts | None:
        """Compute the statistics; ``None`` if no period has both a return and a risk."""
        absent = [one.what for one in compared if one.pairs.is_empty()]
        n_zero = max((one.n_zero for one in compared), default=0)
        compared = [one for one in compared if not one.pairs.is_empty()]
        if not compared:
            return None
        rows, verdicts = [], []
        for one in compared:
            window = WINDOW if one.pairs.height >= WINDOW else None
            answer = bias_statistics(one.pairs["return"], one.pairs["risk"], window=window)
            (row,) = answer.lazy().collect().to_dicts()
            if window is None:
                row["mrad"] = None
            values = [row[name] for name in ("bias", "lower", "upper", "mrad", "qlike")]
            rows.append((one.what, *map(number, values), f"{row['n_periods']:,}"))
            verdicts.append(Verdict(one.what, _where(row["bias"], row["lower"], row["upper"])))
        columns = ("Bias", "Lower limit", "Upper limit", "MRAD", "QLIKE", "Periods")
        enough = max(one.pairs.height for one in compared) >= WINDOW
        return cls(Table(columns, rows), verdicts, absent, enough, n_zero)


def comparisons(attributed: Attributed, risked: Risked) -> list[Comparison]:
    """Pair returns with their risk; active ones if both have a benchmark."""
    whole = "portfolio_return" if attributed.active else "total"
    wanted = [("Return", whole, "")]
    if attributed.active and risked.active:
        wanted.append(("Active return", "total", ACTIVE))
    compared = []
    for what, column, prefix in wanted:
        pairs = attributed.returns.select(PERIOD, pl.col(column).alias("return")).join(
            risked.per_period(prefix), on=PERIOD, maintain_order="left"
        )
        pairs = pairs.drop_nulls()
        there = pairs.filter(pl.col("risk") > 0)
        compared.append(Comparison(what, there, pairs.height - there.height))
    return compared


def _where(bias: float | None, lower: float, upper: float) -> str:
    if bias is None:
        return "unknown"
    return "above" if bias > upper else "below" if bias < lower else "within"
