"""Charts of portfolios: exposures, where risk and returns came from, and active risk."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
import polars as pl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from vbase_py_utils.analyse.reading import AnyFrame, floats, read_table
from vbase_py_utils.arguments import shown
from vbase_py_utils.errors import PanelError
from vbase_py_utils.fit.schema import FACTOR
from vbase_py_utils.kernel.linking import carino_factors
from vbase_py_utils.keys import PERIOD, label
from vbase_py_utils.panel import as_frame
from vbase_py_utils.plots.axes import (
    COLOURS,
    GREY,
    LIGHT_GREY,
    axes_for,
    draw_lines,
    foremost,
    label_names,
    largest,
    limit_to,
    lone,
    name_label,
    span,
    x_of,
)
from vbase_py_utils.plots.data import FloatArray, chosen
from vbase_py_utils.risk.attribution import Attribution
from vbase_py_utils.risk.holdings import PORTFOLIO
from vbase_py_utils.risk.options import SPECIFIC, UNATTRIBUTED, as_labels
from vbase_py_utils.risk.portfolio import PortfolioRisk
from vbase_py_utils.text import listed, one_line

RiskResult: TypeAlias = PortfolioRisk[pl.DataFrame] | PortfolioRisk[pl.LazyFrame]
AttributionResult: TypeAlias = Attribution[pl.DataFrame] | Attribution[pl.LazyFrame]
Area: TypeAlias = tuple[str, FloatArray, str]  # a name, heights and a colour

OTHERS = "other factors"
# The most factors with a bar, and with an area, of their own: the last colour is for "specific".
MOST_BARS, MOST_AREAS, DARK_GREY = 30, len(COLOURS) - 1, "#404040"


def risk_contributions(
    risk: AnyFrame | RiskResult,
    *,
    portfolio: object = None,
    at: object = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw which factors the risk of a portfolio at a period comes from, as bars that add up to it.

    Parameters
    ----------
    risk
        The result of ``portfolio_risk``, or a frame like its ``factors``: the first two columns are
        the period and the portfolio, others are factor and contribution.
    portfolio
        The portfolio to draw; ``None`` takes the only one.
    at
        The period to draw; ``None`` takes the last of the portfolio.
    ax
        Axes to draw on; ``None`` makes a new figure.

    Returns
    -------
    Axes
        Each bar begins where the one above ends: factors from the largest contribution down (of
        more than 30, the 30 furthest from zero, then "other factors"), "specific", and the sum,
        "risk", in units of returns per period. An unknown contribution and its sum have no bar.

    Raises
    ------
    PanelError
        A column is missing or of a wrong type, a key is null or repeats; ``portfolio`` is not one
        of the frame, or ``None`` and there are several; it has no rows at ``at``; without ``at``,
        the periods are text that does not sort in the order of time.
    TypeError
        No frame is given.

    Examples
    --------
    >>> import polars as pl
    >>> from vbase_py_utils import plots
    >>> keys = {"period": [1] * 3, "portfolio": ["fund"] * 3, "factor": ["x", "y", "specific"]}
    >>> ax = plots.risk_contributions(pl.DataFrame({**keys, "contribution": [0.25, -0.5, 1.0]}))
    >>> [float(bar.get_width()) for bar in ax.patches]
    [0.25, -0.5, 1.0, 0.75]
    """
    given = risk.factors if isinstance(risk, PortfolioRisk) else risk
    use = "the last period" if at is None else None
    rows, periods, column = _read(given, "risk", [FACTOR, "contribution"], portfolio, use)
    wanted = periods.tail(1) if at is None else as_labels("at", [at], column, periods.dtype)
    rows = rows.filter(rows[PERIOD].is_in(wanted.implode()))
    if at is not None and rows.is_empty():
        raise PanelError(f"at is {one_line(label(wanted))}, where the portfolio has no rows")
    names, values = _bars(rows)
    ends = np.cumsum(np.nan_to_num(values))
    # The last bar is the sum, unknown if a part of it is.
    bars = np.append(values, values.sum() if len(values) else np.nan)
    starts = np.append(ends - np.nan_to_num(values), 0.0)
    colours = np.append(np.where(values < 0, COLOURS[1], COLOURS[0]), GREY)
    names.append("risk")
    ax = axes_for(ax, height=min(12, 1.6 + 0.25 * len(names)))
    there = np.flatnonzero(np.isfinite(bars))
    ax.barh(there, bars[there], left=starts[there], color=colours[there].tolist())
    places = np.arange(len(ends))
    ax.vlines(ends, places, places + 1, color=GREY, linewidth=0.8, zorder=0.9)
    ax.axvline(0, color=GREY, linewidth=0.8, zorder=0.9)
    label_names(ax.yaxis, names)
    # The first on top.
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlim(*span(np.append(ends, 0.0)))
    end = f" at {name_label(label(wanted))}" if len(wanted) else ""
    ax.set_xlabel(f"contribution to risk{end}")
    return ax


def exposures_over_time(
    exposures: AnyFrame | RiskResult | AttributionResult,
    *,
    portfolio: object = None,
    factors: str | Iterable[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the exposures of a portfolio to factors over time, a line per factor.

    Parameters
    ----------
    exposures
        The frame of ``factor_exposures``, or one like it: the first two columns are the period and
        the portfolio, others are factor and exposure. Or the result of ``portfolio_risk`` or
        ``attribution``, which has such a frame, ``factors``.
    factors
        Names of the factors to draw; ``None`` draws all. Of more than six, the six whose exposures
        go furthest from zero have colours.
    portfolio, ax
        As in ``risk_contributions``.

    Returns
    -------
    Axes
        A missing exposure is a gap, and so is a period in which only other portfolios have rows.
        "specific", to which ``portfolio_risk`` gives no exposure, is drawn only if it has some.

    Raises
    ------
    PanelError, TypeError
        As ``risk_contributions``; ``factors`` are not names of factors.

    Examples
    --------
    >>> import polars as pl
    >>> from vbase_py_utils import plots
    >>> keys = {"period": [1, 2, 3], "portfolio": ["fund"] * 3, "factor": ["x"] * 3}
    >>> ax = plots.exposures_over_time(pl.DataFrame({**keys, "exposure": [0.5, None, 1.0]}))
    >>> ax.lines[0].get_ydata().tolist()
    [0.5, nan, 1.0]
    """
    if isinstance(exposures, PortfolioRisk | Attribution):
        exposures = exposures.factors
    rows, periods, _ = _read(exposures, "exposures", [FACTOR, "exposure"], portfolio)
    curves = _by_factor(periods, rows, "exposure")
    if not np.isfinite(curves.get(SPECIFIC, np.zeros(1))).any():
        del curves[SPECIFIC]
    curves = {name: curves[name] for name in chosen(list(curves), factors)}
    ax = axes_for(ax)
    coloured = foremost({name: largest(values) for name, values in curves.items()})
    draw_lines(ax, periods, curves, coloured)
    _show_periods(ax, periods)
    ax.set_ylabel("exposure")
    return ax


def cumulative_attribution(
    attribution: AttributionResult,
    *,
    portfolio: object = None,
    factors: str | Iterable[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw where the compounded return of a portfolio came from, as areas that add up to it.

    Parameters
    ----------
    attribution
        The result of ``attribution``. If it has a benchmark, the return is the compounded one of
        the portfolio less that of the benchmark.
    factors
        Names of the factors that have areas of their own; ``None`` takes all. Of more than five,
        the five whose contributions go furthest from zero have them.
    portfolio, ax
        As in ``risk_contributions``.

    Returns
    -------
    Axes
        Contributions from the first period up to each, linked as in ``Attribution.linked`` and
        stacked upwards if above zero, else downwards: they add up to the line, "total". The factors
        without an area are "other factors"; "specific" and "unattributed" always have one. A period
        without a total is a gap and adds nothing later; a missing contribution adds nothing.

    Raises
    ------
    PanelError, TypeError
        As ``exposures_over_time``.

    Examples
    --------
    >>> import polars as pl
    >>> from vbase_py_utils import attribution, fit_cross_sections, plots
    >>> keys = {"period": [1, 1, 2, 2], "asset": ["A", "B"] * 2}
    >>> panel = pl.DataFrame({**keys, "return": [0.1, 0.2, 0.1, 0.2], "value": [1.0, 2.0] * 2})
    >>> weights = pl.DataFrame({**keys, "weight": [1.0, 0.0] * 2})
    >>> answer = attribution(fit_cross_sections(panel, "value"), weights, panel)
    >>> plots.cumulative_attribution(answer).lines[0].get_ydata().round(4).tolist()
    [0.1, 0.21]
    """
    if not isinstance(attribution, Attribution):
        raise TypeError(f"attribution is {shown(attribution)}, expected an Attribution")
    held = attribution.collect()
    active = "benchmark_return" in held.returns.columns[2:]
    own = ["portfolio_return", "benchmark_return"] if active else ["total"]
    names = [SPECIFIC, UNATTRIBUTED, *own]
    rows, periods, _ = _read(held.returns, "attribution", names, portfolio)
    parts, *_ = _read(held.factors, "attribution", [FACTOR, "contribution"], portfolio)
    by_factor = _by_factor(periods, parts, "contribution")
    specific, unattributed, returns, *against = (_along(periods, rows, name) for name in names)
    columns = np.column_stack([*by_factor.values(), specific, unattributed])
    sums = _linked(columns, returns, against[0] if active else 0.0 * returns)
    scores = {name: largest(sums[:, i]) for i, name in enumerate(by_factor)}
    wanted = {name: scores[name] for name in chosen(list(scores), factors)}
    areas = _areas(list(scores), sums, foremost(wanted, MOST_AREAS))
    ax = axes_for(ax)
    _draw_stack(ax, periods, areas, sums[:, -1])
    ax.set_ylabel("compounded active return" if active else "compounded return")
    return ax


def active_and_total(
    risk: AnyFrame | RiskResult, *, portfolio: object = None, ax: Axes | None = None
) -> Axes:
    """Draw the forecast risk, active risk and specific risk of a portfolio over time.

    Parameters
    ----------
    risk
        The result of ``portfolio_risk`` with a benchmark, or a frame like its ``summary``: period,
        portfolio, and columns of the names risk, active_risk and specific_risk.
    portfolio, ax
        As in ``risk_contributions``.

    Returns
    -------
    Axes
        Vertical in the units of the frame, from zero. An unknown risk is a gap, and so is a period
        in which only other portfolios have rows.

    Raises
    ------
    PanelError, TypeError
        As ``risk_contributions``; there was no benchmark.

    Examples
    --------
    >>> import polars as pl
    >>> from vbase_py_utils import plots
    >>> summary = {"period": [1, 2], "portfolio": ["fund"] * 2, "risk": [0.2, 0.25]}
    >>> summary |= {"active_risk": [0.05, None], "specific_risk": [0.02, 0.03]}
    >>> plots.active_and_total(pl.DataFrame(summary)).lines[1].get_ydata().tolist()
    [0.05, nan]
    """
    given = risk.summary if isinstance(risk, PortfolioRisk) else risk
    columns = ["risk", "active_risk", "specific_risk"]
    rows, periods, _ = _read(given, "risk", columns, portfolio)
    curves = {name.replace("_", " "): _along(periods, rows, name) for name in columns}
    ax = axes_for(ax)
    draw_lines(ax, periods, curves, list(curves))
    _show_periods(ax, periods)
    ax.set_ylim(0, span(np.concatenate([[0.0], *curves.values()]))[1])
    ax.set_ylabel("forecast risk")
    return ax


def _read(
    given: AnyFrame,
    argument: str,
    columns: list[str],
    portfolio: object,
    use: str | None = "a chart over time",
) -> tuple[pl.DataFrame, pl.Series, str]:
    """Collect columns of a portfolio, with the periods that it spans and their name."""
    frame = as_frame(given, list, argument, others="need")
    there = frame.collect_schema().names()
    if "active_risk" in {*columns} - {*there} and "risk" in there:
        raise PanelError("risk has no column 'active_risk': give portfolio_risk a benchmark")
    first = there[:2]
    if len(first) < 2 or {*first} & {*columns}:
        raise PanelError(
            f"the first two columns of {argument} are {listed(first)}, expected those of the "
            "period and the portfolio"
        )
    keys = dict(zip((PERIOD, PORTFOLIO), first, strict=True))
    keys |= {FACTOR: FACTOR} if FACTOR in columns else {}
    names = [name for name in columns if name != FACTOR]
    table = read_table(frame, argument, keys, names, use)
    rows = _rows_of(portfolio, table, first[1], argument).sort(PERIOD, maintain_order=True)
    every = table[PERIOD].unique().sort()
    own = every.is_in(rows[PERIOD].implode()).arg_true()
    periods = every.slice(own[0], own[-1] - own[0] + 1) if len(own) else every
    return rows, periods, first[0]


def _by_factor(periods: pl.Series, rows: pl.DataFrame, values: str) -> dict[str, FloatArray]:
    groups = rows.group_by(FACTOR, maintain_order=True)
    return {str(name): _along(periods, some, values) for (name,), some in groups}


def _along(periods: pl.Series, rows: pl.DataFrame, values: str) -> FloatArray:
    """Put the values of rows, of which a period has one, along all periods; NaN elsewhere."""
    along = np.full(len(periods), np.nan)
    along[periods.is_in(rows[PERIOD].implode()).to_numpy()] = floats(rows[values])
    return along


def _rows_of(portfolio: object, table: pl.DataFrame, column: str, argument: str) -> pl.DataFrame:
    """Keep the rows of the wanted portfolio; raise PanelError if it is not clear or not there."""
    portfolios = table[PORTFOLIO].unique(maintain_order=True)
    if portfolio is None and len(portfolios) <= 1:
        return table
    labels = (label(portfolios.slice(i, 1)) for i in range(len(portfolios)))
    names = listed(int(one) if portfolios.dtype.is_integer() else one for one in labels)
    if portfolio is None:
        several = f"{len(portfolios)} portfolios, {names}"
        raise PanelError(f"{argument} has {several}: name one of them as portfolio")
    try:
        wanted = as_labels("portfolio", [portfolio], column, portfolios.dtype)
    except PanelError:  # of another type than the column
        wanted = portfolios.clear()
    rows = table.filter(table[PORTFOLIO].is_in(wanted.implode()))
    if rows.is_empty():
        raise PanelError(f"no such portfolio: {shown(portfolio)}; the portfolios are {names}")
    return rows


def _bars(rows: pl.DataFrame) -> tuple[list[str], FloatArray]:
    """Give the names and lengths of bars: factors from the largest down, others, specific."""
    values = dict(zip(map(str, rows[FACTOR]), floats(rows["contribution"]), strict=True))
    last = {name: values.pop(name) for name in [SPECIFIC] if name in values}
    own = foremost({name: abs(value) for name, value in values.items()}, MOST_BARS)
    rest = [value for name, value in values.items() if name not in own]
    # Unknown ones come after the smallest.
    order = np.argsort([-values[name] for name in own], kind="stable")
    bars = [(own[i], values[own[i]]) for i in order]
    bars += [(OTHERS, sum(rest))] * bool(rest) + list(last.items())
    return [name for name, _ in bars], np.array([value for _, value in bars], dtype=float)


def _linked(parts: FloatArray, returns: FloatArray, benchmark: FloatArray) -> FloatArray:
    """Link contributions (T, k) up to each period, beside the return (T, 1) they add up to."""
    known = np.nan_to_num(np.column_stack([parts, returns, benchmark]), nan=0.0)
    missing = ~np.isfinite(returns + benchmark)
    known[missing] = 0.0
    r, b = known.T[-2:]
    until = np.expm1(np.cumsum(np.log1p(known[:, -2:]), axis=0))
    # Factors of all periods have the same divisor, the ratio of the whole. That of a first period
    # without returns is the reciprocal of the ratio of the second.
    ratios = np.array([carino_factors(*np.array([[0, x], [0, y]]))[0] for x, y in until])
    sums = np.cumsum(carino_factors(r, b)[:, None] * known[:, :-2], axis=0)
    linked = np.column_stack([sums * (ratios / ratios[-1:])[:, None], until[:, 0] - until[:, 1]])
    linked[missing] = np.nan
    return linked


def _areas(names: list[str], sums: FloatArray, coloured: list[str]) -> list[Area]:
    """Give the areas of sums (T, k + 3): of factors, specific, unattributed and the total."""
    columns = dict(zip(names, sums.T, strict=False))
    areas = [(name, columns.pop(name), c) for name, c in zip(coloured, COLOURS, strict=False)]
    if columns:
        name = OTHERS if len(columns) > 1 else next(iter(columns))
        areas.append((name, np.sum(list(columns.values()), axis=0), LIGHT_GREY))
    specific, unattributed = sums.T[-3:-1]
    return [*areas, (SPECIFIC, specific, COLOURS[-1]), (UNATTRIBUTED, unattributed, DARK_GREY)]


def _draw_stack(ax: Axes, periods: pl.Series, areas: list[Area], total: FloatArray) -> None:
    """Stack areas away from zero, with the line of their total and a legend beside."""
    x, alone, ends = x_of(periods), lone(total), np.zeros((2, len(periods)))
    # Points that a column is wide which stands for an area of a period by itself.
    width = max(3, 40 / max(len(periods), 1))
    draw_lines(ax, periods, {"total": total}, ["total"])[0].set(color="black", linewidth=1.4)
    handles: list[Artist] = [Line2D([], [], color="black")]
    for _, height, colour in areas:
        # A part that changes its sign between periods has an area on either side.
        for side, part in enumerate((np.maximum(height, 0), np.minimum(height, 0))):
            low, high = ends[side], ends[side] + part
            area = ax.fill_between(x, low, high, color=colour, linewidth=0)
            ax.vlines(x[alone], low[alone], high[alone], color=colour, linewidth=width)
            ends[side] = high
        handles.append(area)
    _show_periods(ax, periods)
    limit_to(ax, np.concatenate([[0.0], total, *ends]))
    names = ["total", *(name_label(name) for name, _, _ in areas)]
    ax.legend(handles, names, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)


def _show_periods(ax: Axes, periods: pl.Series) -> None:
    """Let the axis reach over its periods, also those without a number."""
    if len(periods) > 1:
        x = x_of(periods)
        margin = (x[-1] - x[0]) / 20
        ax.set_xlim(x[0] - margin, x[-1] + margin)
