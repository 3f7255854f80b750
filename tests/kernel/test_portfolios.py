"""Holdings on arrays: against exact fractions, in any units, and in the order of the rows."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from vbase_py_utils.kernel.categories import Members
from vbase_py_utils.kernel.portfolios import factor_holdings


def exact(X, v):
    """(X'VX)^-1 X'V (k, n) by Cramer's rule, for k = 2."""
    X, v = [[Fraction(x) for x in row] for row in X.tolist()], [Fraction(x) for x in v.tolist()]
    a, b, d = (
        sum(weight * row[i] * row[j] for row, weight in zip(X, v, strict=True))
        for i, j in ((0, 0), (0, 1), (1, 1))
    )
    size = a * d - b * b
    return np.array(
        [
            [float(weight * (d * row[0] - b * row[1]) / size),
             float(weight * (a * row[1] - b * row[0]) / size)]
            for row, weight in zip(X, v, strict=True)
        ]
    ).T  # fmt: skip


def of_period(held, k):
    """Holdings (k, n) of a block of one period in which all rows are held."""
    assert held.factors.tolist() == list(range(k)) * (len(held.factors) // k)
    return held.holdings.reshape(-1, k).T


@pytest.mark.parametrize("units", [(1.0, 1.0), (2.0**-700, 2.0**600), (2.0**500, 2.0**-500)])
@pytest.mark.parametrize("least", [1.0, 1e-30, 1e-90])
def test_every_row_has_its_digits(rng, units, least):
    X = rng.standard_normal((12, 2))
    robustness = rng.uniform(0.1, 1, 12)
    w = rng.lognormal(0, 1, 12)
    w[3] *= least
    starts = np.array([0, 12])
    held = factor_holdings(X * units, [], w, starts, robustness, intercept=False)
    expected = exact(X, w * robustness) / np.array(units)[:, None]
    own = of_period(held, 2)
    size = np.abs(expected).max(axis=0) if units == (1.0, 1.0) else np.abs(expected)
    assert (np.abs(own - expected) <= 1e-12 * size).all()


def test_nearly_collinear_exposures_lose_no_more_digits_than_they_must(rng):
    first = rng.standard_normal(30)
    X = np.column_stack([first, first + 1e-5 * rng.standard_normal(30)])
    v = rng.uniform(0.1, 1, 30)
    held = factor_holdings(X, [], None, np.array([0, 30]), v, intercept=False)
    expected = exact(X, v)
    assert np.abs(of_period(held, 2) - expected).max() <= 1e-9 * np.abs(expected).max()


def test_periods_without_an_answer_have_no_rows_and_the_others_stay_as_they_are(rng):
    X, v = rng.standard_normal((60, 3)), rng.uniform(0.2, 1, 60)
    starts = np.array([0, 20, 20, 45, 60])
    every = factor_holdings(X, [], None, starts, v, intercept=False)
    assert every.usable.tolist() == np.repeat(np.arange(60), 3).tolist()
    v[20:45] = np.nan
    some = factor_holdings(X, [], None, starts, v, intercept=False)
    kept = (every.usable < 20) | (every.usable >= 45)
    np.testing.assert_array_equal(some.usable, every.usable[kept])
    np.testing.assert_array_equal(some.factors, every.factors[kept])
    np.testing.assert_array_equal(some.holdings, every.holdings[kept])
    v[:] = np.nan
    none = factor_holdings(X, [], None, starts, v, intercept=False)
    assert none.usable.size == none.factors.size == none.holdings.size == 0


def test_rows_may_stand_anywhere(rng):
    X, v, w = rng.standard_normal((40, 2)), rng.uniform(0.2, 1, 25), rng.lognormal(0, 1, 40)
    rows, starts = rng.permutation(40)[:25], np.array([0, 10, 25])
    held = factor_holdings(X, [], w, starts, v, rows, intercept=False)
    plain = factor_holdings(X[rows], [], w[rows], starts, v, intercept=False)
    for one, other in zip(held, plain, strict=True):
        np.testing.assert_array_equal(one, other)


def test_parts_of_unlike_periods_are_put_in_the_order_of_the_rows(rng):
    """The second of three periods lacks a category, so that it is a part by itself."""
    codes = np.tile([0, 1, 2], 20)
    codes[20:40] = np.tile([0, 2], 10)
    X, v = rng.standard_normal((60, 1)), rng.uniform(0.2, 1, 60)
    starts = np.array([0, 20, 40, 60])
    held = factor_holdings(X, [Members(codes, 3, None)], None, starts, v, intercept=False)
    assert (np.diff(held.usable) >= 0).all()
    for row in range(60):
        expected = [0, 1, 3] if 20 <= row < 40 else [0, 1, 2, 3]
        assert held.factors[held.usable == row].tolist() == expected
    alone = factor_holdings(
        X[20:40], [Members(codes[20:40], 3, None)], None, np.array([0, 20]), v[20:40],
        intercept=False,
    )  # fmt: skip
    inside = (held.usable >= 20) & (held.usable < 40)
    np.testing.assert_array_equal(held.holdings[inside], alone.holdings)


def test_an_exposure_of_nothing_spoils_its_own_period_only(rng):
    X, v = rng.standard_normal((20, 2)), np.ones(20)
    X[:10, 1] = 2.0**-1040  # whose holdings are no numbers
    held = factor_holdings(X, [], None, np.array([0, 10, 20]), v, intercept=False)
    second = held.usable >= 10
    assert second.sum() == 20
    assert (held.factors[~second] == 0).all()


@pytest.mark.parametrize("second", [0.0, 1.0])
def test_a_singular_design_has_no_portfolios(second):
    X = np.zeros((3, 2))
    X[0] = 1.0, second  # to the second factor no asset is exposed, or only as to the first
    held = factor_holdings(X, [], None, np.array([0, 3]), np.ones(3), intercept=False)
    assert held.holdings.size == 0
