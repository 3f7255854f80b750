"""Weights of rows by their exposures, against a slow oracle and by their meaning."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

import mm_oracle
import robust_data
from vbase_py_utils.kernel.distances import exposure_weights
from vbase_py_utils.kernel.stacks import Block, widths

OUTLYING = {  # by a prototype in NumPy that shares no code, counting from 1
    "stackloss": [1, 2, 3],
    "coleman": [1, 6, 9, 10, 11, 18],
    "hbk": list(range(1, 15)),
    "delivery": [9, 11, 20, 22],
    "phones": [],
    "starsCYG": [7, 11, 14, 20, 30, 34],
    "wood": [7, 9, 10, 13, 20],
}


def weights_of(X, starts=None):
    """Weights (N,) of the rows of X (N, p), period by period."""
    starts = np.array([0, len(X)]) if starts is None else np.asarray(starts)
    columns = list(np.ascontiguousarray(X.T))
    block = Block(columns, np.zeros(len(X)), None, starts)
    found = []
    with np.errstate(all="ignore"):
        for t in range(len(starts) - 1):
            width = int(widths(block.sizes[[t]])[0])
            own = exposure_weights(block, np.array([t]), width, columns)
            found.append(own[0, : block.sizes[t]])
    return np.concatenate(found)


@pytest.mark.parametrize("name", OUTLYING)
def test_rows_of_classical_data_that_lie_out(name):
    X, _ = robust_data.data(name)
    weights = weights_of(X)
    assert (np.flatnonzero(weights < 1) + 1).tolist() == OUTLYING[name]
    np.testing.assert_allclose(weights, mm_oracle.exposure_weights(X), rtol=1e-9)


def test_random_exposures_have_the_weights_of_the_oracle(rng):
    for case in range(100):
        p = int(rng.integers(1, 9))
        n = int(rng.integers(p + 2, 60))
        X = rng.standard_t(2, (n, p)) * rng.lognormal(0, 3, p)
        X[:, rng.random(p) < 0.2] = rng.integers(0, 2)  # columns that hold no numbers
        expected = mm_oracle.exposure_weights(X)
        np.testing.assert_allclose(weights_of(X), expected, rtol=1e-6, err_msg=str(case))


def test_a_value_that_half_of_the_rows_hold_makes_a_column_no_number(rng):
    x = rng.standard_normal(20)
    x[0] = 1e6
    assert weights_of(x[:, None])[0] < 1e-9
    x[10:] = 0.0  # half
    assert (weights_of(x[:, None]) == 1.0).all()
    x[10] = 0.1  # less than half
    assert weights_of(x[:, None])[0] < 1e-9
    assert (weights_of(np.ones((20, 2))) == 1.0).all()


@pytest.mark.parametrize("unit", [1e-300, 1e-6, 1e6, 1e300])
def test_units_and_shifts_of_exposures_do_not_matter(unit, rng):
    X = rng.standard_t(2, (40, 3))
    expected = weights_of(X)
    assert (expected < 1).any()
    np.testing.assert_allclose(weights_of(X * [unit, 1.0, 1 / unit]), expected, rtol=1e-9)
    np.testing.assert_allclose(weights_of(X + np.array([5.0, -3.0, 0.0])), expected, rtol=1e-9)


def test_the_order_of_rows_does_not_matter_even_where_distances_tie(rng):
    # The mean, and so every distance, is rounded anew in another order.
    for _ in range(20):
        sides = rng.integers(2, 5, 2)
        grid = np.meshgrid(*(np.arange(-side, side + 1.0) for side in sides))
        X = np.stack(grid, axis=-1).reshape(-1, 2) * [0.1, 0.7] + [1 / 3, np.pi]
        X = np.vstack([X, [[30.0, 1.0]]])
        order = rng.permutation(len(X))
        np.testing.assert_allclose(weights_of(X[order]), weights_of(X)[order], rtol=1e-12)


@pytest.mark.parametrize("wild", [[1e308, -1e308], [1e308, 1e308], [-1e200, 1e308]])
def test_a_row_however_far_out_keeps_a_weight_above_zero(wild, rng):
    X = rng.standard_normal((30, 2))
    X[:, 1] = X[:, 0] + 0.5 * X[:, 1]
    X[3] = wild
    weights = weights_of(X)
    assert weights[3] == 1e-280
    expected = mm_oracle.exposure_weights(np.clip(X, -1e60, 1e60))
    np.testing.assert_allclose(np.delete(weights, 3), np.delete(expected, 3), rtol=1e-9)


def test_periods_do_not_see_each_other(rng):
    sizes = [7, 12, 30, 31, 8]
    starts = np.append(0, np.cumsum(sizes))
    X = rng.standard_t(2, (starts[-1], 3))
    together = weights_of(X, starts)
    for first, last in pairwise(starts):
        np.testing.assert_array_equal(together[first:last], weights_of(X[first:last]))
    # In one stack, where periods of another kind of columns are beside them.
    X = rng.standard_t(2, (90, 2))
    X[30:60, 1] = 1.0
    columns = list(np.ascontiguousarray(X.T))
    block = Block(columns, np.zeros(90), None, np.array([0, 30, 60, 90]))
    with np.errstate(all="ignore"):
        stacked = exposure_weights(block, np.arange(3), 30, columns)
    np.testing.assert_array_equal(stacked.ravel(), weights_of(X, [0, 30, 60, 90]))
