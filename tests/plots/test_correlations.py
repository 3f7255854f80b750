"""Correlations of factor returns."""

from __future__ import annotations

import itertools
import math

import numpy as np
import polars as pl
import pytest
from matplotlib.colors import to_hex

from charts import BETAS, tick_texts, wide_of
from vbase_py_utils import plots
from vbase_py_utils.plots.axes import LIGHT_GREY


def test_correlations_over_common_periods(french):
    place = pl.int_range(pl.len())
    wide = french.factor_returns.with_columns(
        beta_SMB=pl.when(place % 7 != 3).then("beta_SMB"),
        beta_HML=pl.when(place % 5 != 2).then("beta_HML").otherwise(math.nan),
    )
    ax = plots.correlations(wide.sample(fraction=1, shuffle=True, seed=2))
    image = ax.images[0].get_array()
    values = wide.select(BETAS).cast(pl.Float64).to_numpy()
    for a, b in itertools.product(range(4), repeat=2):
        both = np.isfinite(values[:, [a, b]]).all(axis=1)
        expected = np.corrcoef(values[both, a], values[both, b])[0, 1]
        assert image[a, b] == pytest.approx(expected, rel=1e-9)
    assert tick_texts(ax.xaxis) == tick_texts(ax.yaxis) == BETAS
    assert ax.images[0].get_clim() == (-1, 1)
    texts = {text.get_position(): text for text in ax.texts}
    assert len(texts) == 16
    for (column, row), text in texts.items():
        assert float(text.get_text().replace("−", "-")) == pytest.approx(
            image[row, column], abs=0.0051
        )
        assert text.get_color() == ("white" if abs(image[row, column]) > 0.6 else "black")


def test_pairs_without_a_correlation_are_grey():
    wide = pl.DataFrame(
        {
            "period": range(6),
            "a": [0.1, 0.2, 0.4, None, None, None],
            "b": [None, 0.4, 0.3, 0.1, 0.2, 0.5],
            "c": [0.7] * 6,
            "d": [0.3, 0.1, 0.2, 0.5, 0.3, None],
        }
    )
    ax = plots.correlations(wide)
    image = np.ma.filled(ax.images[0].get_array(), np.nan)
    there = np.isfinite(image)
    names = "abcd"
    assert {names[a] + names[b] for a, b in np.argwhere(there)} == {
        "aa", "bb", "dd", "ad", "da", "bd", "db"
    }  # fmt: skip
    assert len(ax.texts) == 7
    assert image[0, 3] == pytest.approx(np.corrcoef([0.1, 0.2, 0.4], [0.3, 0.1, 0.2])[0, 1])
    assert to_hex(ax.images[0].cmap.get_bad()) == LIGHT_GREY.lower()


def test_numbers_are_white_on_the_dark_of_either_end():
    wide = pl.DataFrame(
        {"period": range(4), "a": [1.0, 2.0, 3.0, 4.5], "b": [-1.0, -2.0, -3.0, -4.6]}
    )
    ax = plots.correlations(wide)
    assert [text.get_text() for text in ax.texts] == ["1.00", "−1.00", "−1.00", "1.00"]
    assert {text.get_color() for text in ax.texts} == {"white"}


def test_no_correlation_is_written_as_minus_zero(rng):
    x, y = np.linalg.qr(np.column_stack([np.ones(9), rng.standard_normal((9, 2))]))[0][:, 1:].T
    ax = plots.correlations(pl.DataFrame({"period": range(9), "x": x, "y": y - 1e-4 * x}))
    assert [text.get_text() for text in ax.texts] == ["1.00", "0.00", "0.00", "1.00"]


def test_numbers_in_the_cells_of_twelve_factors_at_most():
    assert len(plots.correlations(wide_of(range(20), 12)).texts) == 144
    thirteen = plots.correlations(wide_of(range(20), 13))
    assert not thirteen.texts
    assert thirteen.images[0].get_array().shape == (13, 13)
