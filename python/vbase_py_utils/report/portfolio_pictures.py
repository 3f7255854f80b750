"""Charts of a portfolio as pictures in a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import polars as pl
from matplotlib.axes import Axes
from matplotlib.colors import same_color
from matplotlib.lines import Line2D

from vbase_py_utils import plots
from vbase_py_utils.keys import PERIOD
from vbase_py_utils.plots.portfolio_charts import MOST_BARS
from vbase_py_utils.report.pictures import INK, WIDTH, Picture, any_finite, source_of
from vbase_py_utils.report.portfolio_forecasts import WINDOW, Comparison
from vbase_py_utils.report.portfolio_frames import Attributed, Portfolio, Portfolios, Risked
from vbase_py_utils.report.portfolios import at_last_known

HEIGHT = 340
# Beside the factors' own bars: other factors, specific, and the sum.
MORE_BARS = 3


def pictures_of_holdings(every: Portfolios, portfolio: Portfolio) -> Iterator[Picture]:
    """Draw exposures over time, of several periods."""
    held: Risked | Attributed | None = every.attributed
    rows = None if portfolio.attributed is None else portfolio.attributed.parts
    if portfolio.risked is not None:
        held, rows = every.risked, portfolio.risked.shares
    if held is None or rows is None or rows[PERIOD].n_unique() < 2:
        return
    active = isinstance(held, Attributed) and held.active
    yield _picture(
        "Active exposures over time" if active else "Exposures over time",
        "With more than six factors, the six furthest from zero have colours.",
        partial(plots.exposures_over_time, held.given, portfolio=portfolio.label),
    )


def pictures_of_risk(every: Portfolios, portfolio: Portfolio) -> Iterator[Picture]:
    """Draw the contributions of the last known risk, and with a benchmark risks over time."""
    if every.risked is None or portfolio.risked is None:
        return
    known = at_last_known(portfolio.risked)
    if known is not None and (known.shares["contribution"] != 0).any():
        bars = min(known.shares.height + 1, MOST_BARS + MORE_BARS)
        yield _picture(
            "Contributions to risk",
            "Each bar begins where the one above it ends; together they are the risk of a period.",
            partial(plots.risk_contributions, known.given),
            90 + 22 * bars,
        )
    if portfolio.risked.active and portfolio.risked.summary["risk"].count() > 1:
        yield _picture(
            "Active and total risk",
            "As forecast for each period. An unknown risk is a gap.",
            partial(plots.active_and_total, every.risked.given, portfolio=portfolio.label),
        )


def pictures_of_returns(every: Portfolios, portfolio: Portfolio) -> Iterator[Picture]:
    """Draw where the compounded return came from."""
    if every.attributed is None or portfolio.attributed is None:
        return
    if any_finite(portfolio.attributed.returns["total"]):
        yield _picture(
            "Cumulative attribution",
            "Linked contributions up to each period: areas above and below zero, which add up to "
            "the line. With more than five factors, the five furthest from zero have areas.",
            partial(
                plots.cumulative_attribution, every.attributed.given, portfolio=portfolio.label
            ),
        )


def pictures_of_forecasts(compared: Sequence[Comparison]) -> Iterator[Picture]:
    """Draw the bias, and forecast beside realised volatility, over windows of periods."""
    long = [one for one in compared if one.pairs.height >= WINDOW]
    if not long:
        return
    rows = pl.concat([one.pairs.with_columns(pl.lit(one.what).alias("of")) for one in long])
    returns, risk = rows.select(PERIOD, "of", "return"), rows.select(PERIOD, "of", "risk")
    limits = f"Over the {WINDOW} periods up to each. Dashed: limits of 95 % if forecasts are right."
    yield _picture(
        "Bias over time",
        limits,
        partial(plots.rolling_bias, returns, risk, window=WINDOW, by="of"),
    )
    for one in long:
        own = one.pairs
        yield _picture(
            f"{one.what}: forecast and realised volatility",
            f"Over the {WINDOW} periods up to each.",
            partial(
                plots.forecast_and_realised,
                own.select(PERIOD, "return"),
                own.select(PERIOD, "risk"),
                window=WINDOW,
            ),
        )


def _picture(heading: str, note: str, draw: Callable[..., Axes], height: int = HEIGHT) -> Picture:
    source = source_of(partial(_drawn, draw), WIDTH, height)
    return Picture(heading, note, source, WIDTH, height)


def _drawn(draw: Callable[..., Axes], ax: Axes) -> None:
    """Draw a chart, its black lines in the ink that is light in dark mode."""
    draw(ax=ax)
    legend = ax.get_legend()
    handles = [] if legend is None else legend.legend_handles
    for line in [*ax.lines, *handles]:
        if isinstance(line, Line2D) and same_color(line.get_color(), "black"):
            line.set_color(INK)
