"""The scale of residuals against its definition."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from vbase_py_utils.kernel.scale import MAD_PER_SIGMA, Ranks, mad_about_zero


def test_mad_constant_is_the_normal_quartile():
    assert pytest.approx(stats.norm.ppf(0.75), rel=1e-15) == MAD_PER_SIGMA


@pytest.mark.parametrize("n", [1, 2, 3, 10, 11])
def test_scale_is_the_median_absolute_value_about_zero(n, rng):
    u = rng.standard_normal(n) + 5
    assert mad_about_zero(u) == pytest.approx(np.median(np.abs(u)) / stats.norm.ppf(0.75))


@pytest.mark.parametrize("width", [12, 14])
def test_periods_of_several_lengths_side_by_side_have_their_own_scales(width, rng):
    sizes = np.array([1, 2, 7, 8, 11, 12])
    u = np.zeros((len(sizes), width))
    for own, n in zip(u, sizes, strict=True):
        own[:n] = rng.standard_normal(n)
    expected = [np.median(np.abs(own[:n])) for own, n in zip(u, sizes, strict=True)]
    ranks = Ranks.of(sizes, width)
    found = mad_about_zero(u, ranks)
    np.testing.assert_array_equal(found, np.array(expected) / MAD_PER_SIGMA)
    some = sizes % 2 == 1
    np.testing.assert_array_equal(
        mad_about_zero(u[some], Ranks.of(sizes, width)[some]), found[some]
    )
