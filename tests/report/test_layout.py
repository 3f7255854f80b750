"""Room around charts: every word is in the picture, and what is drawn is drawn once."""

from __future__ import annotations

import io
import re
from base64 import b64decode

import matplotlib as mpl
import matplotlib.image
import numpy as np
import polars as pl
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from charts import dates, quality_of, wide_of
from vbase_py_utils import plots
from vbase_py_utils.plots.axes import label_names
from vbase_py_utils.report import page, pictures
from vbase_py_utils.report.layout import GAP, TICK, lay_out

LONG = [f"a rather long name of factor {i}" for i in range(6)]


def named(wide):
    return wide.rename(dict(zip(wide.columns[1:], LONG, strict=False)))


def weights(n_periods, names):
    rng = np.random.default_rng(3)
    n = n_periods * len(names)
    return pl.DataFrame(
        {
            "period": [day for day in dates(n_periods) for _ in names],
            "asset": names * n_periods,
            "robustness_weight": rng.uniform(0, 1, n),
        }
    )


def ends_with_a_label(ax):
    ax.plot([0, 1], [0, 1])
    ax.set_xlim(0, 1)
    label_names(ax.xaxis, ["first", "a label at the end of the axis"])


CHARTS = {
    "end": ends_with_a_label,
    "dates": lambda ax: plots.cumulative_returns(wide_of(dates(90), 3), ax=ax),
    "numbers": lambda ax: plots.cumulative_returns(wide_of(range(40), 7), ax=ax),
    "a period": lambda ax: plots.cumulative_returns(wide_of([1], 1), ax=ax),
    "slanted": lambda ax: plots.cumulative_returns(wide_of(list(map(str, dates(9))), 2), ax=ax),
    "large": lambda ax: plots.cumulative_returns(wide_of(range(40), 2, unit=1e12), ax=ax),
    "small": lambda ax: plots.cumulative_returns(wide_of(range(40), 2, unit=1e-12), ax=ax),
    "names": lambda ax: plots.t_values(
        pl.DataFrame({"factor": LONG, "t_stat": np.linspace(-3, 4, 6)}), ax=ax
    ),
    "weights": lambda ax: plots.robustness_weights(weights(30, LONG), ax=ax),
    "many": lambda ax: plots.robustness_weights(
        weights(9, [f"asset {i:03}" for i in range(40)]), ax=ax
    ),
    "squares": lambda ax: plots.correlations(named(wide_of(range(40), 6)), ax=ax),
    "fit": lambda ax: plots.fit_quality(quality_of(wide_of(dates(300))), ax=ax),
}
every_chart = pytest.mark.parametrize("chart", CHARTS)


def laid_out(chart, width=880, height=400):
    with mpl.style.context(["default", pictures.STYLE]):
        figure = Figure(figsize=(width / 96, height / 96))
        ax = figure.add_subplot()
        CHARTS[chart](ax)
        ticks = [
            [text.get_text() for text in axis.get_ticklabels()] for axis in (ax.xaxis, ax.yaxis)
        ]
        lay_out(figure, ax, pictures._put_legend_on_top(ax))
        FigureCanvasAgg(figure).draw()
    return figure, ax, ticks


@every_chart
@pytest.mark.parametrize("width", [880, 500])
def test_every_word_is_in_the_picture(chart, width):
    figure, ax, _ = laid_out(chart, width)
    written = [text for axes in figure.axes for text in axes.texts]
    written += [text for legend in figure.legends for text in legend.get_texts()]
    assert len(written) > 3
    edge = figure.bbox.padded(2)
    for text in written:
        box = text.get_window_extent()
        assert edge.x0 <= box.x0, text
        assert box.x1 <= edge.x1, text
        assert edge.y0 <= box.y0, text
        assert box.y1 <= edge.y1, text
    box = ax.get_window_extent()
    assert box.width > figure.bbox.width / 6
    assert box.height > figure.bbox.height / 4


@every_chart
def test_the_axes_are_drawn_by_their_words_and_marks(chart):
    _, ax, ticks = laid_out(chart)
    words = [text.get_text() for text in ax.texts]
    names = [axis.label.get_text() for axis in (ax.xaxis, ax.yaxis)]
    assert all(words.count(name) == 1 for name in names if name)
    assert not ax.xaxis.get_visible()
    assert not ax.yaxis.get_visible()
    # Ticks of numbers may be outside of the limits.
    named = {"slanted": [0], "names": [1], "many": [1], "weights": [0, 1], "squares": [0, 1]}
    for axis in named.get(chart, []):
        assert set(ticks[axis]) <= set(words)


def test_a_label_is_as_high_as_what_it_names():
    """The first on top."""
    _, ax, _ = laid_out("names")
    low, high = ax.get_ylim()
    assert low > high
    at = {text.get_text(): text.get_position() for text in ax.texts}
    marks = next(line for line in ax.lines if line.get_marker() == 0).get_xydata()
    for i, name in enumerate(LONG):
        assert at[name][1] == pytest.approx((i - low) / (high - low))
        assert at[name][0] < 0
        assert marks[i].tolist() == [0, at[name][1]]


def test_a_colour_bar_stands_beside_its_cells():
    for chart in ("weights", "squares"):
        figure, ax, _ = laid_out(chart)
        bar = figure.axes[1].get_window_extent()
        cells = ax.get_window_extent()
        assert 0 < bar.x0 - cells.x1 < 30
        assert cells.y0 < bar.y0 < bar.y1 < cells.y1
        if chart == "squares":
            assert cells.width == pytest.approx(cells.height, rel=0.01)


def test_names_of_rows_stand_beside_their_cells():
    figure, ax, _ = laid_out("squares")
    cells = ax.get_window_extent()
    beside = [text for text in ax.texts if text.get_text() in LONG and not text.get_rotation()]
    assert len(beside) == len(LONG)
    gap = (TICK + GAP) * figure.dpi / 72
    for text in beside:
        assert cells.x0 - text.get_window_extent().x1 == pytest.approx(gap, abs=2)


def test_a_picture_is_drawn_once(monkeypatch):
    count = []
    draw = Figure.draw
    monkeypatch.setattr(Figure, "draw", lambda *a: count.append(1) or draw(*a))
    pictures.source_of(CHARTS["squares"], 880, 400)
    assert len(count) == 1


def test_a_cell_is_a_pixel():
    source = pictures.source_of(CHARTS["weights"], 880, 400)
    svg = b64decode(source.partition(",")[2]).decode()
    images = re.findall(r'href="data:image/png;base64,([^"]*)"', svg)
    assert len(images) == 2
    sizes = [matplotlib.image.imread(io.BytesIO(b64decode(image))).shape[:2] for image in images]
    assert sizes[0] == (6, 30)
    assert sizes[1][1] == 1
    assert svg.count("pixelated") == 2


def test_the_template_is_read_once():
    assert page._template() is page._template()
