"""Names of the data are drawn as they are."""

from __future__ import annotations

import io
from xml.etree import ElementTree as ET

import matplotlib as mpl
import matplotlib.pyplot as plt
import polars as pl
import pytest
from numpy.testing import assert_equal

from charts import (
    CHARTS,
    FRAMES,
    OF_SERIES,
    OF_TWO,
    as_label,
    draw,
    drawing,
    frame_for,
    legend_texts,
    long_of,
    tick_texts,
    weights_of,
    wide_of,
    written_out,
)
from vbase_py_utils import plots

NAMES = [
    "\"quotes\" and 'more'",
    "$x$ \\frac{1}{2} $$",
    "\\$5 or $6",
    "_underscore",
    "\U0001f600 smile",
    "\u05d7\u05d1\u05e8\u05d4",
    "\u0634\u0631\u0643\u0629",
    "x" * 200,
    "two\nlines\tand a tab",
    "^x$",
    "*",
    "",
    "place",
    "period ",
    "<script>alert(1)</script>",
    "--><!--&amp;",
]


def seen_text(text):
    """What matplotlib draws of a text without mathematics."""
    assert not mpl.cbook.is_math_text(text)
    return text.replace(r"\$", "$")


def labels_of_names(chart, names):
    """Draw a chart with these names in it; give the axes and the labels that show them."""
    of_periods = chart == "fit_quality"
    frame = wide_of(
        pl.Series(names, dtype=pl.Enum(names)) if of_periods else range(3),
        1 if of_periods else len(names),
    )
    if not of_periods:
        frame.columns = ["nr", *names]
    if FRAMES[chart] == "factor_returns":
        ax = draw(chart, frame, period="nr")
    else:
        frame = frame if of_periods else frame.rename({"nr": "period"})
        ax = draw(chart, frame_for(chart, frame))
    if chart in ("cumulative_returns", "confidence_bands", *OF_TWO):
        return ax, legend_texts(ax)
    return ax, tick_texts(ax.xaxis if of_periods else ax.yaxis)


@pytest.mark.parametrize("chart", CHARTS)
def test_names_are_drawn_as_they_stand(chart):
    at_once = {"cumulative_returns": 6, "confidence_bands": 3, "fit_quality": 10}
    at_once |= dict.fromkeys(OF_TWO, 6)
    step = at_once.get(chart, 30)
    for names in (NAMES[i : i + step] for i in range(0, len(NAMES), step)):
        # The heat map has assets of the same lost weight in the order of their names.
        expected = sorted(names) if chart == "robustness_weights" else list(names)
        ax, labels = labels_of_names(chart, names)
        assert [seen_text(text) for text in labels] == [as_label(name) for name in expected]
        ax.figure.canvas.draw()
    svg = written_out(ax)
    if chart == "correlations":
        assert tick_texts(ax.xaxis) == tick_texts(ax.yaxis)
    elements = [element.tag for element in ET.fromstring(svg).iter()]
    assert not [tag for tag in elements if "script" in str(tag).lower()]


@pytest.mark.parametrize("name", ["\U0001f680 rocket", "\u6f22\u5b57"], ids=ascii)
def test_of_names_in_characters_that_the_font_lacks_matplotlib_says_so(name):
    ax = plots.cumulative_returns(wide_of(range(3)).rename({"f0": name}))
    with pytest.warns(UserWarning, match="missing from font"):
        ax.figure.savefig(io.BytesIO(), format="png")
    assert legend_texts(ax) == [name]


def test_names_of_columns_are_no_patterns():
    for name in ("^.*$", "*", "^x$", ""):
        wide = wide_of(range(5), 2)
        expected = drawing(plots.cumulative_returns(wide))
        renamed = wide.rename({"period": name})
        assert_equal(drawing(plots.cumulative_returns(renamed, period=name)), expected)
        for chart in ("confidence_bands", "fit_quality", "robustness_weights"):
            frame = frame_for(chart, wide)
            expected_of_keys = drawing(draw(chart, frame))
            renamed = frame.rename({"period": name})
            assert_equal(drawing(draw(chart, renamed, period=name)), expected_of_keys)
        plt.close("all")


def test_keys_named_like_other_columns():
    wide = wide_of(range(5), 2)
    frame = weights_of(wide)
    expected = drawing(plots.robustness_weights(frame))
    for names in (
        {"period": "asset", "asset": "period"},
        {"period": "row", "asset": "column"},
        {"period": "lost", "asset": "place"},
    ):
        keys = {"period": names["period"], "asset": names["asset"]}
        assert_equal(drawing(plots.robustness_weights(frame.rename(names), **keys)), expected)
    bands = long_of(wide)
    expected = drawing(plots.confidence_bands(bands))
    for name in ("place", "one", "std error"):
        renamed = bands.rename({"period": name})
        assert_equal(drawing(plots.confidence_bands(renamed, period=name)), expected)
    for factor in ("period", "factor", "one", "other", "index"):
        frame = wide.rename({"period": "month", "f0": factor})
        for chart in (*OF_SERIES, *OF_TWO):
            ax = draw(chart, frame, period="month")
            seen = tick_texts(ax.xaxis) if chart == "correlations" else legend_texts(ax)
            assert seen == [factor, "f1"]
        plt.close("all")
