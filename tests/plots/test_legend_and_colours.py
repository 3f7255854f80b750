"""Legends are whole, and colours differ for every kind of colour vision."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from charts import ALONG, OF_TWO, dates, draw, frame_for, wide_of
from vbase_py_utils.plots.axes import COLOURS, LIGHT_GREY


@pytest.mark.parametrize("chart", [*ALONG, *OF_TWO])
@pytest.mark.parametrize("n_factors", [1, 60])
def test_the_legend_covers_nothing_and_is_not_cut(chart, n_factors):
    wide = wide_of(dates(30), n_factors).rename({"f0": "a name that is longer than labels are"})
    ax = draw(chart, frame_for(chart, wide))
    ax.figure.canvas.draw()
    legend, axes = ax.get_legend().get_window_extent(), ax.get_window_extent()
    assert legend.x0 >= axes.x1
    figure = ax.figure.bbox
    assert legend.x1 <= figure.x1
    assert figure.y0 <= legend.y0 < legend.y1 <= figure.y1
    assert axes.width > 0.4 * figure.width


def in_lab(colours):
    """CIELAB coordinates, white D65, of linear RGB."""
    to_xyz = [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
    ratios = np.asarray(colours) @ np.transpose(to_xyz) / [0.95047, 1.0, 1.08883]
    cut = (6 / 29) ** 3
    f = np.where(ratios > cut, np.cbrt(ratios), ratios / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = f.T
    return np.column_stack([116 * y - 16, 500 * (x - y), 200 * (y - z)])


# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
VISIONS = {
    "full": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


@pytest.mark.parametrize("vision", VISIONS)
def test_colours_are_told_apart(vision):
    rgb = np.array([to_rgb(colour) for colour in (*COLOURS, LIGHT_GREY, "white")])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = in_lab(np.clip(linear @ np.transpose(VISIONS[vision]), 0, 1))
    distances = [math.dist(a, b) for a, b in itertools.combinations(seen, 2)]
    assert min(distances) > LEAST_DISTANCE


# The first six of matplotlib's own cycle come to 5, ours to 16.
LEAST_DISTANCE = 15
