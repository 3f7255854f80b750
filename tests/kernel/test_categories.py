"""Categories on arrays: the constrained fit against the oracle in other coordinates."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.linalg import null_space

import oracle
from vbase_py_utils.kernel.categories import (
    Members,
    fit_and_assess_families,
    fit_families,
    fitted_with_families,
)
from vbase_py_utils.kernel.period_fits import SolverOptions, Status
from vbase_py_utils.kernel.portfolios import factor_holdings

STARTS = np.array([0, 60, 110])
ABSENT = 2  # a category that the second period lacks


@pytest.fixture(params=[False, True], ids=["equal weights", "weighted"])
def problem(request, rng):
    """Two styles, four categories with weights, regression weights: 60 and 50 rows."""
    codes = rng.integers(0, 4, 110)
    codes[60:][codes[60:] == ABSENT] = 0
    styles = rng.standard_normal((110, 2))
    y = styles @ [0.5, -1.0] + np.array([1.0, 2.0, -1.0, 0.0])[codes] + rng.standard_t(3, 110)
    caps = rng.lognormal(0, 1, 110) if request.param else None
    return styles, Members(codes, 4, caps), y, rng.lognormal(0, 1, 110)


def constraint(members, rows):
    """Weights of the categories present in some rows, and which these are."""
    caps = np.ones(110) if members.weights is None else members.weights
    present = np.unique(members.codes[rows])
    sums = [caps[rows][members.codes[rows] == j].sum() for j in present]
    return present, np.array(sums) if members.weights is not None else np.ones(len(present))


@pytest.mark.parametrize("intercept", [False, True])
def test_categories_have_the_fit_of_the_oracle_on_the_constrained_columns(problem, intercept):
    styles, members, y, w = problem
    X = np.column_stack([np.ones(110), styles]) if intercept else styles
    fits = fit_families(X, [members], y, w, STARTS, SolverOptions(), intercept=intercept)
    for period, (first, end) in enumerate(pairwise(STARTS)):
        rows = slice(first, end)
        present, c = constraint(members, rows)
        dummies = (members.codes[rows, None] == present).astype(float)
        free = null_space(c[None])  # every f with c'f = 0 is a combination of these columns
        slow = oracle.huber(np.column_stack([X[rows], dummies @ free]), y[rows], w[rows])
        assert fits.status[period] == Status.converged
        estimates = fits.coefficients[period]
        np.testing.assert_allclose(estimates[: X.shape[1]], slow.b[: X.shape[1]], atol=1e-7)
        factors = estimates[X.shape[1] :]
        np.testing.assert_allclose(factors[present], free @ slow.b[X.shape[1] :], atol=1e-7)
        assert abs(c @ factors[present]) < 1e-12 * np.abs(c).sum()
    assert np.isnan(fits.coefficients[1, X.shape[1] + ABSENT])
    assert np.isfinite(np.delete(fits.coefficients[1], X.shape[1] + ABSENT)).all()


@pytest.mark.parametrize("cov_type", ["HC2", "sandwich", "H1"])
def test_assessed_fits_are_the_fits(problem, cov_type):
    styles, members, y, w = problem
    X, options = np.column_stack([np.ones(110), styles]), SolverOptions()
    alone = fit_families(X, [members], y, w, STARTS, options, intercept=True)
    fits, trust = fit_and_assess_families(
        X, [members], y, w, STARTS, options, intercept=True, cov_type=cov_type
    )
    for name in ("coefficients", "scale", "n_iter", "status", "collinear", "n_estimated"):
        np.testing.assert_array_equal(getattr(alone, name), getattr(fits, name))
    # Seven factors under one constraint, and one category fewer in the second period.
    assert fits.n_estimated.tolist() == [6, 5]
    np.testing.assert_array_equal(np.isnan(trust.std_errors), np.isnan(fits.coefficients))
    assert (trust.robustness_weights > 0).all()
    # R squared and the counts by their definitions, period by period.
    fitted = fitted_with_families(X, [members], fits.coefficients, STARTS)
    for period, (first, end) in enumerate(pairwise(STARTS)):
        rows = slice(first, end)
        v = trust.robustness_weights[rows]
        assert trust.n_downweighted[period] == np.count_nonzero(v < 1)
        for weights, found in ((w[rows], trust.r_squared), (w[rows] * v, trust.robust_r_squared)):
            apart = y[rows] - np.average(y[rows], weights=weights)
            left = (weights * (y[rows] - fitted[rows]) ** 2).sum()
            assert found[period] == pytest.approx(1 - left / (weights * apart**2).sum(), rel=1e-9)
    assert (trust.condition_numbers > 1).all()


def test_fitted_values_are_those_of_styles_and_category(problem):
    styles, members, _, _ = problem
    estimates = np.array([[1.0, 2.0, 10.0, 20.0, 30.0, 40.0], [1.0, 2.0, 5.0, 6.0, np.nan, 8.0]])
    codes = members.codes.copy()
    codes[0], codes[-1] = -1, ABSENT
    fitted = fitted_with_families(styles, [Members(codes, 4, None)], estimates, STARTS)
    period = np.repeat([0, 1], [60, 50])
    expected = styles @ [1.0, 2.0] + estimates[period, 2 + codes]
    expected[[0, -1]] = np.nan
    np.testing.assert_allclose(fitted, expected, rtol=1e-14)


@pytest.mark.parametrize("intercept", [False, True])
def test_holdings_times_returns_are_the_factor_returns(problem, intercept):
    styles, members, y, w = problem
    X = np.column_stack([np.ones(110), styles]) if intercept else styles
    fits, trust = fit_and_assess_families(
        X, [members], y, w, STARTS, SolverOptions(), intercept=intercept, cov_type="H1"
    )
    held = factor_holdings(X, [members], w, STARTS, trust.robustness_weights, intercept=intercept)
    sums = np.zeros_like(fits.coefficients)
    period = np.repeat([0, 1], [60, 50])
    np.add.at(sums, (period[held.usable], held.factors), held.holdings * y[held.usable])
    np.testing.assert_allclose(sums, np.nan_to_num(fits.coefficients), atol=1e-8)
