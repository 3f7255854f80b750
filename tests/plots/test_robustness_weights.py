"""The heat map of robustness weights."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from matplotlib.colors import to_hex
from numpy.testing import assert_equal

from charts import tick_texts
from vbase_py_utils import fit_cross_sections, plots
from vbase_py_utils.demo import FACTORS
from vbase_py_utils.plots.axes import LIGHT_GREY


def test_the_heat_map_of_weights_has_the_most_downweighted_on_top(demo):
    gone = (pl.col("asset") == "Asset_3") & (pl.col("period") == "2023-05")
    unused = (pl.col("asset") == "Asset_4") & (pl.col("period") == "2023-06")
    panel = demo.panel.filter(~gone).with_columns(
        pl.when(~unused).then("return"),
    )
    panel = panel.with_columns(
        pl.when(asset="Asset_4").then(pl.col("return") + 1).otherwise("return").alias("return")
    ).sample(fraction=1, shuffle=True, seed=5)
    fits = fit_cross_sections(panel, FACTORS)
    ax = plots.robustness_weights(fits, most=50)
    rows = fits.specific_returns.select("period", "asset", "robustness_weight").rows()
    weights = {(asset, period): w for period, asset, w in rows if w is not None}
    months = sorted({period for period, _, _ in rows})
    lost = {asset: 0.0 for _, asset, _ in rows}
    for (asset, _), weight in weights.items():
        lost[asset] += 1 - weight
    order = sorted(lost, key=lambda asset: (-round(lost[asset], 9), asset))
    expected = np.array([[weights.get((a, m), np.nan) for m in months] for a in order])
    assert order[0] == "Asset_4"
    image = np.ma.filled(ax.images[0].get_array(), np.nan)
    assert image.shape == (50, 12)
    assert_equal(image, expected)
    assert np.isnan(image).sum() == 2
    assert tick_texts(ax.yaxis) == order
    assert to_hex(ax.images[0].cmap.get_bad()) == LIGHT_GREY.lower()
    assert ax.images[0].get_clim() == (0, 1)
    # The first row is on top.
    ax.figure.canvas.draw()
    assert ax.transData.transform((0, 0))[1] > ax.transData.transform((0, 49))[1]
    few = plots.robustness_weights(fits, most=5)
    assert_equal(np.ma.filled(few.images[0].get_array(), np.nan), expected[:5])
    assert tick_texts(few.yaxis) == order[:5]
    assert plots.robustness_weights(fits, most=np.int64(3)).images[0].get_array().shape == (3, 12)
    assert plots.robustness_weights(fits).images[0].get_array().shape == (40, 12)


@pytest.mark.parametrize("missing", [None, math.nan])
def test_missing_weights_are_not_lost_weight(missing):
    frame = pl.DataFrame(
        {
            "period": [1, 2, 1, 2, 1, 2],
            "asset": ["a", "a", "b", "b", "c", "c"],
            "robustness_weight": [1.0, missing, 0.5, 1.0, 1.0, 1.0],
        }
    )
    ax = plots.robustness_weights(frame)
    assert tick_texts(ax.yaxis) == ["b", "a", "c"]
    image = np.ma.filled(ax.images[0].get_array(), np.nan)
    assert_equal(image, [[0.5, 1.0], [1.0, np.nan], [1.0, 1.0]])


def test_many_assets_are_some_names(rng):
    frame = pl.DataFrame(
        {
            "period": np.tile(np.arange(3), 200),
            "asset": np.repeat(np.arange(200), 3),
            "robustness_weight": rng.random(600),
        }
    )
    ax = plots.robustness_weights(frame, most=150)
    assert ax.images[0].get_array().shape == (150, 3)
    assert len(tick_texts(ax.yaxis)) <= 60
    lost = frame.group_by("asset").agg(pl.col("robustness_weight").sum())
    order = lost.sort("robustness_weight")["asset"].to_list()
    for place, name in zip(ax.get_yticks(), tick_texts(ax.yaxis), strict=True):
        assert name == str(order[int(place)])
