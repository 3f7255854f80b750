"""Room for labels and legends around a chart, and its axes, drawn once and by few artists.

matplotlib's own layouts measure every label several times, and each tick is five artists. Here only
the longest label of an axis is measured: browsers have other fonts anyway. Lengths are in points.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, radians, sin
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.textpath import text_to_path

POINTS = 72  # per inch
EDGE = 5.0  # around everything
TICK, GAP = 3.5, 3.5  # the length of a tick, and the space to its label
PAD = 4.0  # before the name of an axis
LINE = 1.3  # height of a line, in font sizes
BAR, BESIDE = 12.0, 10.0  # a colour bar's width, and the space before it
BAR_HEIGHT = 0.8  # of the chart's
LEFT: Literal[0] = 0  # matplotlib's numbers of the ticks that are markers
RIGHT: Literal[1] = 1
DOWN: Literal[3] = 3
NARROW = "ijltrf.,:;!|'()[]\\/ "


def lay_out(figure: Figure, ax: Axes, legend: Legend | None) -> None:
    """Place the axes of a figure, and those of its colour bar, below a legend on top."""
    width, height = (float(inches) * POINTS for inches in figure.get_size_inches())
    bar = next((other for other in figure.axes if other is not ax), None)
    top = EDGE + _height_of(legend)
    # Which ticks there are depends on the size, which depends little on the ticks.
    figure.subplots_adjust(0.1, 0.12, 0.97, 1 - top / height)
    x, y = _Labels.of(ax.xaxis), _Labels.of(ax.yaxis)
    top += y.line
    left = EDGE + max(y.longest + TICK + GAP + y.name_height, x.before(0.87 * width))
    bottom = EDGE + TICK + GAP + x.depth + x.line + x.name_height
    right = EDGE + x.after(0.87 * width)
    beside = None
    if bar is not None:
        beside = _Labels.of(bar.yaxis, right=True)
        right = EDGE + BESIDE + BAR + TICK + GAP + beside.longest + beside.name_height
    wide, high = max(width - left - right, 1.0), max(height - top - bottom, 1.0)
    if beside and ax.get_aspect() != "auto":
        # Cells are squares: the bar stands beside them, not at the end of the room.
        wide = high = min(wide, high)
    ax.set_position((left / width, bottom / height, wide / width, high / height))
    x.draw_below(ax, high)
    y.draw_beside(ax, wide, high)
    if bar is not None and beside is not None:
        low, share = bottom + (1 - BAR_HEIGHT) / 2 * high, BAR_HEIGHT * high
        bar.set_box_aspect(None)
        bar.set_position(
            ((left + wide + BESIDE) / width, low / height, BAR / width, share / height)
        )
        bar.xaxis.set_visible(False)
        beside.draw_beside(bar, BAR, share, right=True)


def _height_of(legend: Legend | None) -> float:
    """Height of a legend in rows of three, with its title."""
    if legend is None:
        return 0.0
    size = legend.prop.get_size_in_points()
    rows = -(-len(legend.get_texts()) // 3) + bool(legend.get_title().get_text())
    return size * (rows * LINE + (rows - 1) * legend.labelspacing + 2 * legend.borderpad)


@dataclass(frozen=True, slots=True)
class _Labels:
    """The labels of an axis, drawn like ``model``: ``texts`` at ``places``, 0 to 1 along it."""

    axis: Axis
    model: Text
    places: list[float]
    texts: list[str]
    offset: str

    @classmethod
    def of(cls, axis: Axis, *, right: bool = False) -> _Labels:
        """Find the ticks within the limits of an axis; ``right``: labels are on that side."""
        formatter, at = axis.get_major_formatter(), axis.get_majorticklocs().tolist()
        tick = axis.get_major_ticks(1)[0]
        # The limits of an axis whose first label is on top fall.
        first, last = axis.get_view_interval()
        ticks = [
            (float((place - first) / (last - first)), text)
            for place, text in zip(at, formatter.format_ticks(at), strict=True)
            if min(first, last) <= place <= max(first, last)
        ]
        return cls(
            axis,
            tick.label2 if right else tick.label1,
            [place for place, _ in ticks],
            [text for _, text in ticks],
            formatter.get_offset(),
        )

    @property
    def size(self) -> float:
        """Font size of the labels."""
        return float(self.model.get_fontsize())

    @property
    def line(self) -> float:
        """Height of the line that says what the labels are multiples of; 0 without one."""
        return LINE * self.size if self.offset else 0.0

    @property
    def name_height(self) -> float:
        """Height of the name of the axis and the space before it; 0 without one."""
        name = self.axis.label
        return PAD + LINE * float(name.get_fontsize()) if name.get_text() else 0.0

    @property
    def slope(self) -> float:
        """Angle of the labels."""
        return radians(self.model.get_rotation())

    @property
    def longest(self) -> float:
        """Width of the longest label: that of the two that look longest."""
        return max(map(self._width, sorted(self.texts, key=_seeming_length)[-2:]), default=0.0)

    @property
    def depth(self) -> float:
        """Height of the labels below an axis."""
        return self.longest * sin(self.slope) + LINE * self.size * cos(self.slope)

    def before(self, length: float) -> float:
        """How far the first label reaches beyond an axis of this length."""
        if not self.texts:
            return 0.0
        # A slanted label ends at its tick.
        own = self._width(self.texts[0]) * cos(self.slope)
        return (own + self.size if self.slope else own / 2) - self.places[0] * length

    def after(self, length: float) -> float:
        """How far the last label reaches beyond the other end."""
        if not self.texts or self.slope:
            return 0.0
        return max(0.0, self._width(self.texts[-1]) / 2 - (1 - self.places[-1]) * length)

    def _width(self, text: str) -> float:
        shown, font = text.replace(r"\$", "$"), self.model.get_fontproperties()
        return float(text_to_path.get_text_width_height_descent(shown, font, ismath=False)[0])

    def draw_below(self, ax: Axes, high: float) -> None:
        """Draw the axis below a chart of this height."""
        self._put(ax, [(x, 0.0) for x in self.places], DOWN)
        for x, text in zip(self.places, self.texts, strict=True):
            self._write(ax, (x, -(TICK + GAP) / high), text)
        below = TICK + GAP + self.depth
        if self.offset:
            ax.text(1.0, -below / high, self.offset, transform=ax.transAxes, ha="right", va="top")
        self._name(ax, (0.5, -(below + self.line + PAD) / high), "top")

    def draw_beside(self, ax: Axes, wide: float, high: float, *, right: bool = False) -> None:
        """Draw the axis beside a chart of this size."""
        side, sign = (1.0, 1.0) if right else (0.0, -1.0)
        self._put(ax, [(side, y) for y in self.places], RIGHT if right else LEFT)
        for y, text in zip(self.places, self.texts, strict=True):
            self._write(ax, (side + sign * (TICK + GAP) / wide, y), text)
        if self.offset:
            ax.text(side, 1 + GAP / high, self.offset, transform=ax.transAxes)
        apart = TICK + GAP + self.longest + PAD
        self._name(ax, (side + sign * apart / wide, 0.5), "top" if right else "bottom")

    def _put(self, ax: Axes, places: list[tuple[float, float]], marker: Literal[0, 1, 3]) -> None:
        """Draw ticks at these places in place of the axis."""
        self.axis.set_visible(False)
        if places:
            ticks = Line2D(
                *zip(*places, strict=True),
                color=self.model.get_color(),
                linestyle="",
                marker=marker,
                markersize=TICK,
                markeredgewidth=0.8,
                clip_on=False,
                transform=ax.transAxes,
            )
            ax.add_artist(ticks)

    def _write(self, ax: Axes, place: tuple[float, float], text: str) -> None:
        like = self.model
        ax.text(
            *place,
            text,
            transform=ax.transAxes,
            ha=like.get_horizontalalignment(),
            va=like.get_verticalalignment(),
            rotation=like.get_rotation(),
            rotation_mode=like.get_rotation_mode(),
            fontsize=self.size,
            color=like.get_color(),
        )

    def _name(self, ax: Axes, place: tuple[float, float], va: Literal["top", "bottom"]) -> None:
        like = self.axis.label
        if like.get_text():
            ax.text(
                *place,
                like.get_text(),
                transform=ax.transAxes,
                ha="center",
                va=va,
                rotation=like.get_rotation(),
                rotation_mode=like.get_rotation_mode(),
                fontsize=like.get_fontsize(),
                color=like.get_color(),
            )


def _seeming_length(text: str) -> float:
    """Count letters, narrow ones as less."""
    return len(text) - 0.5 * sum(text.count(letter) for letter in NARROW)
