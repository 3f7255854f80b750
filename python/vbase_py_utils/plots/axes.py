"""Shared parts of charts: axes, colours, names as labels, and periods along an axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import matplotlib.dates as mdates
import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedFormatter, FixedLocator
from numpy.typing import NDArray

from vbase_py_utils.arguments import shown
from vbase_py_utils.keys import label
from vbase_py_utils.plots.data import FloatArray
from vbase_py_utils.text import one_line

# The colour-blind safe palette of Okabe and Ito (2008), without black and the yellow that fades on
# white.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9")
GREY, LIGHT_GREY = "#808080", "#C0C0C0"

# The most ticks on an axis of periods.
MOST_TICKS = 10
# Years whose dates, with a margin, stay within matplotlib's range, 1 to 9999.
CALENDAR = (1000, 3000)
# The most names beside a chart that is as high as a page.
MOST_NAMES = 60
# The most columns of a heat map that a screen can show; of more, neighbours share one.
MOST_COLUMNS = 500
# With more factors than this, correlations are colours only.
MOST_NUMBERS = 12
# The most characters of a label, and of all labels that fit side by side below an axis.
NAME_CHARACTERS, AXIS_CHARACTERS = 30, 45


def axes_for(ax: Axes | None, width: float = 8, height: float = 4) -> Axes:
    """Return the given axes, or the axes of a new figure of this size in inches."""
    if not isinstance(ax, Axes | None):
        raise TypeError(f"ax is {shown(ax)}, expected matplotlib Axes or None")
    if ax is None:
        _, ax = plt.subplots(figsize=(width, height), layout="constrained")
    return ax


def name_label(name: str) -> str:
    """Make a label from a name: on one line, shortened, and not read as mathtext."""
    return one_line(name, NAME_CHARACTERS).replace("$", r"\$")


def x_of(periods: pl.Series) -> NDArray[Any]:
    """Place periods on an axis: dates and times to scale, others in equal steps."""
    if not is_dated(periods):
        return np.arange(len(periods))
    if isinstance(periods.dtype, pl.Datetime) and periods.dtype.time_zone:
        # One hour of an autumn night occurs twice: the axis runs in UTC and shows local time.
        periods = periods.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return periods.to_numpy()


def label_periods(ax: Axes, periods: pl.Series) -> None:
    """Put ticks on the horizontal axis of a chart whose points are at ``x_of(periods)``."""
    at = x_of(periods)
    steps = np.diff(at)
    few = len(periods) <= MOST_TICKS and not (steps * MOST_TICKS < steps.sum() / 2).any()
    if few or not is_dated(periods):
        label_steps(ax, periods, at)
        return
    # Else labels would be in the time zone of matplotlib's settings.
    tz = ZoneInfo(getattr(periods.dtype, "time_zone", None) or "UTC")
    locator = mdates.AutoDateLocator(tz=tz)  # type: ignore[no-untyped-call]
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator, tz=tz))  # type: ignore[no-untyped-call]


def label_steps(ax: Axes, periods: pl.Series, at: NDArray[Any]) -> None:
    """Put labelled ticks at some periods, slanted if the labels would touch."""
    steps = thinned(len(periods), MOST_TICKS)
    labels = [name_label(label(periods.slice(step, 1))) for step in steps]
    ax.set_xticks(at[steps], labels)
    if sum(map(len, labels)) > AXIS_CHARACTERS:
        for text in ax.get_xticklabels():
            text.set(rotation=35, ha="right", rotation_mode="anchor")


def label_names(axis: Axis, names: Sequence[str], *, rotation: float = 0) -> None:
    """Put a tick with each name at 0, 1, 2, ...; with very many names, at some."""
    steps = thinned(len(names), MOST_NAMES)
    # Unlike ``set_ticks`` this makes no tick before it is drawn.
    axis.set_major_locator(FixedLocator(steps))
    axis.set_major_formatter(FixedFormatter([name_label(names[step]) for step in steps]))
    axis.set_tick_params(rotation=rotation, labelsize="medium" if len(steps) <= 25 else "x-small")


def thinned(n: int, most: int) -> list[int]:
    """Give at most ``most`` of 0, ..., n - 1, in equal steps from 0."""
    return list(range(0, n, max(1, -(-n // most))))


def lone(values: FloatArray) -> NDArray[np.bool_]:
    """Find numbers between two missing ones: a line does not show them."""
    there = np.concatenate([[False], np.isfinite(values), [False]])
    alone: NDArray[np.bool_] = there[1:-1] & ~there[:-2] & ~there[2:]
    return alone


def foremost(scores: Mapping[str, float], most: int = len(COLOURS)) -> list[str]:
    """Give the names of the ``most`` largest scores, in their given order."""
    rank = sorted(scores, key=lambda name: -np.nan_to_num(scores[name], nan=-np.inf))
    first = set(rank[:most])
    return [name for name in scores if name in first]


def draw_lines(
    ax: Axes,
    periods: pl.Series,
    curves: dict[str, FloatArray],
    coloured: Sequence[str],
    title: str = "",
) -> list[Line2D]:
    """Draw a line per curve over the periods, grey unless ``coloured``, with a legend beside."""
    x, lines = x_of(periods), []
    colours = dict(zip(coloured, COLOURS, strict=False))
    for name, values in curves.items():
        lines += ax.plot(
            x,
            values,
            color=colours.get(name, LIGHT_GREY),
            linewidth=1.2 if name in colours else 0.7,
            zorder=2.5 if name in colours else 2.0,
            marker="o",
            markersize=4,
            markevery=np.flatnonzero(lone(values)).tolist(),
        )
    ax.axhline(0, color=GREY, linewidth=0.8, zorder=1)
    label_periods(ax, periods)
    _legend_beside(ax, colours, len(curves), title)
    return lines


def draw_points(ax: Axes, points: dict[str, tuple[FloatArray, FloatArray]]) -> None:
    """Draw a scatter of pairs in the same unit, with the line where both are equal.

    Of many names, those with the largest difference have colours.
    """
    bounds = [*ax.get_xlim(), *ax.get_ylim()] if ax.has_data() else []
    off = {name: largest(y - x) for name, (x, y) in points.items()}
    coloured = foremost(off)
    colours = dict(zip(coloured, COLOURS, strict=False))
    count = sum(len(x) for x, _ in points.values())
    few = count <= 500
    for name, (x, y) in points.items():
        ax.scatter(
            x,
            y,
            s=18 if few or (name in colours and len(points) > len(colours)) else 6,
            color=colours.get(name, LIGHT_GREY),
            alpha=0.8 if few else 0.4,
            linewidth=0,
            zorder=2.5 if name in colours else 2.0,
            rasterized=count > 2000,
        )
    low, high = span(np.concatenate([part for pair in points.values() for part in pair]))
    low, high = min([low, *bounds]), max([high, *bounds])
    ax.axline((0, 0), slope=1, color=GREY, linewidth=0.8, zorder=1)
    # The square is at the left, which leaves room for the legend.
    ax.set(xlim=(low, high), ylim=(low, high), aspect="equal", anchor="W")
    ax.locator_params(nbins=6)
    _legend_beside(ax, colours, len(points))


def draw_heat_map(
    ax: Axes, cells: FloatArray, colours: str, least: float, name: str, *, square: bool
) -> None:
    """Draw cells from ``least`` to 1 with a colour map and its bar; missing cells are grey."""
    colour_map = colormaps[colours].with_extremes(bad=LIGHT_GREY)
    if not cells.size:
        return
    # With fewer pixels than cells, matplotlib would average, even over neighbouring rows.
    every = -(-cells.shape[1] // MOST_COLUMNS)
    image = ax.imshow(
        _least(cells, every),
        cmap=colour_map,
        vmin=least,
        vmax=1,
        aspect="equal" if square else "auto",
        interpolation="nearest",
        extent=(-0.5, every * -(-cells.shape[1] // every) - 0.5, len(cells) - 0.5, -0.5),
    )
    ax.set_xlim(-0.5, cells.shape[1] - 0.5)
    of_columns = f", least of {every} periods" if every > 1 else ""
    ax.figure.colorbar(image, ax=ax, label=name + of_columns, shrink=0.8)


def draw_correlations(
    ax: Axes | None, names: Sequence[str], matrix: FloatArray, name: str = "correlation"
) -> Axes:
    """Draw correlations as a heat map, with numbers if they are few; give the axes."""
    side = min(12, 3 + 0.3 * len(names))
    ax = axes_for(ax, width=side + 1, height=side)
    draw_heat_map(ax, matrix, "PuOr", -1, name, square=True)
    if len(names) <= MOST_NUMBERS:
        for (row, column), value in np.ndenumerate(matrix):
            if np.isfinite(value):
                colour = "white" if abs(value) > 0.6 else "black"
                ax.text(
                    column,
                    row,
                    f"{round(value, 2) + 0.0:.2f}".replace("-", "−"),
                    ha="center",
                    va="center",
                    color=colour,
                )
    label_names(ax.xaxis, names, rotation=90)
    label_names(ax.yaxis, names)
    return ax


def _least(cells: FloatArray, every: int) -> FloatArray:
    """Take the least of each ``every`` cells of a row, skipping missing ones."""
    rows, columns = cells.shape
    parts = np.pad(cells, ((0, 0), (0, -columns % every)), constant_values=np.nan)
    least: FloatArray = np.fmin.reduce(parts.reshape(rows, -1, every), axis=2)
    return least


def limit_to(ax: Axes, values: FloatArray) -> None:
    """Make the vertical axis reach all values, and no further."""
    ax.set_ylim(*span(values))


def largest(values: FloatArray) -> float:
    """Give the largest absolute number, NaN if there is none."""
    return float(np.max(np.abs(values[np.isfinite(values)]), initial=-np.inf))


def span(values: FloatArray) -> tuple[float, float]:
    """Give an interval that holds the numbers, with a margin; (-1, 1) if there are none."""
    values = values[np.isfinite(values)]
    if not len(values):
        return -1.0, 1.0
    low, high = values.min(), values.max()
    margin = 0.05 * (high - low) or abs(high) or 1.0
    return float(low - margin), float(high + margin)


def _legend_beside(ax: Axes, colours: Mapping[str, str], count: int, title: str = "") -> None:
    """Put a legend to the right of the axes; curves without a colour share a grey entry."""
    names = [name_label(name) for name in colours]
    if count > len(colours):
        names.append(f"{count - len(colours)} more")
    handles = [Patch(color=colour) for colour in [*colours.values(), LIGHT_GREY][: len(names)]]
    ax.legend(
        handles,
        names,
        title=title or None,
        loc="upper left",
        bbox_to_anchor=(1.01, 1),
        borderaxespad=0,
        frameon=False,
        handlelength=1.2,
    )


def is_dated(periods: pl.Series) -> bool:
    """Whether these are dates or times in the years that a date axis can show."""
    if not (isinstance(periods.dtype, pl.Date | pl.Datetime)):
        return False
    years = periods.dt.year()
    return not periods.is_empty() and years.is_between(*CALENDAR).fill_null(value=False).all()
