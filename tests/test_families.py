"""Intercept and categorical factors whose returns sum to zero, against solutions with constraints.

The oracles work in the full coordinates with one dummy for every category: least squares by the
system of Karush, Kuhn and Tucker, the robust fit on an orthonormal basis of what the constraints
allow. Neither drops a category.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose
from polars.testing import assert_frame_equal
from scipy.linalg import null_space

import oracle
from vbase_py_utils import factor_returns
from vbase_py_utils import families as families_module
from vbase_py_utils import fit_cross_sections as fit

SECTORS = ["Energy", "Health", "Tech", "Utilities", "Never"]
COUNTRIES = ["DE", "FR", "IT"]
STYLES = ["value", "size"]
TWO = {"sector": "cap", "country": None}


def market(seed=1, n_periods=6, n_assets=60, gaps=0.05, weights=True):
    """Panel with sectors and countries, some absent in some periods, and gaps in every column."""
    rng = np.random.default_rng(seed)
    n = n_periods * n_assets
    period = np.repeat(np.arange(n_periods), n_assets)
    sector = rng.choice(4, n, p=[0.4, 0.3, 0.2, 0.1])
    sector[(period % 3 == 1) & (sector == 3)] = 0
    country = rng.choice(3, n)
    X = rng.standard_normal((n, 2))
    noise = rng.standard_t(3, n) * 0.01
    effect = np.array([0.01, -0.01, 0.02, 0.0])[sector] + np.array([0.01, 0.0, -0.01])[country]
    columns = {
        "return": effect + X @ [0.01, -0.02] + noise,
        "value": X[:, 0],
        "size": X[:, 1],
        "cap": rng.lognormal(0, 1.5, n),
        "w": rng.lognormal(0, 1, n) if weights else np.ones(n),
    }
    frame = pl.DataFrame(
        {
            "period": period,
            "asset": np.tile(np.arange(n_assets), n_periods),
            **columns,
            "sector": pl.Series(np.array(SECTORS)[sector]).cast(pl.Enum(SECTORS)),
            "country": pl.Series(np.array(COUNTRIES)[country]).cast(pl.Enum(COUNTRIES)),
        }
    )
    kept = {name: pl.Series(rng.random(n) >= gaps) for name in (*columns, "sector", "country")}
    return frame.with_columns(
        pl.when(mask).then(pl.col(name)).alias(name) for name, mask in kept.items()
    )


class Dense(NamedTuple):
    """One period in full coordinates: constraints C f = 0 on the factors that are there."""

    names: list[str]
    X: np.ndarray
    y: np.ndarray
    w: np.ndarray
    C: np.ndarray


def dense(rows, exposures, categories, weights="w", intercept=True):
    """Lay one period out with a dummy for every category that a complete row has."""
    used = [*exposures, *categories, *(c for c in categories.values() if c), "return"]
    used += [weights] if weights else []
    rows = rows.drop_nulls(used)
    rows = rows.filter(pl.col(weights) > 0) if weights else rows
    names, columns = [], []
    if intercept:
        names, columns = ["intercept"], [np.ones(rows.height)]
    names += exposures
    columns += [rows[name].to_numpy() for name in exposures]
    constraints = []
    for family, cap in categories.items():
        sums = {}
        for category in rows[family].dtype.categories:
            inside = (rows[family] == category).to_numpy()
            if inside.any():
                sums[f"{family}={category}"] = rows[cap].to_numpy()[inside].sum() if cap else 1.0
                columns.append(inside.astype(float))
        constraints.append(sums)
        names += sums
    C = np.array([[sums.get(name, 0.0) for name in names] for sums in constraints])
    w = rows[weights].to_numpy() if weights else np.ones(rows.height)
    return Dense(names, np.column_stack(columns), rows["return"].to_numpy(), w, C)


def by_kkt(one: Dense):
    """Weighted least squares under the constraints."""
    k, m = one.X.shape[1], len(one.C)
    system = np.zeros((k + m, k + m))
    system[:k, :k] = (one.X * one.w[:, None]).T @ one.X
    system[:k, k:], system[k:, :k] = one.C.T, one.C
    right = np.append(one.X.T @ (one.w * one.y), np.zeros(m))
    return np.linalg.solve(system, right)[:k]


def by_irls(one: Dense, t=1.345):
    """Plain IRLS on an orthonormal basis of the factor returns that are allowed."""
    basis = null_space(one.C / np.abs(one.C).max(axis=1, keepdims=True))
    return basis, oracle.huber(one.X @ basis, one.y, one.w, t)


def check_periods(answer, panel, exposures, categories, expected, tolerance, **ways):
    """Compare every period of wide factor returns with ``expected(dense period)``."""
    names = answer.columns[1:]
    for row in answer.rows(named=True):
        one = dense(panel.filter(pl.col("period") == row["period"]), exposures, categories, **ways)
        values = expected(one)
        scale = np.abs(values).max()
        for name, value in zip(one.names, values, strict=True):
            assert abs(row[name] - value) <= tolerance * scale, (row["period"], name)
        assert [row[name] for name in names if name not in one.names] == [None] * (
            len(names) - len(one.names)
        )


CASES = {
    "one family": {"sector": None},
    "one family by cap": {"sector": "cap"},
    "two families": {"sector": None, "country": None},
    "two families by cap": {"country": "cap", "sector": "cap"},
    "two ways": TWO,
}


@pytest.mark.parametrize("categories", CASES.values(), ids=CASES)
@pytest.mark.parametrize("weights", ["w", None])
def test_least_squares_is_the_solution_under_constraints(categories, weights):
    panel = market()
    answer = factor_returns(
        panel,
        STYLES,
        intercept=True,
        categories=categories,
        weights=weights,
        huber_t=np.inf,
        on_failure="raise",
    )
    check_periods(answer, panel, STYLES, categories, by_kkt, 1e-10, weights=weights)


@pytest.mark.parametrize("categories", CASES.values(), ids=CASES)
def test_robust_fit_is_plain_irls_where_the_constraints_allow(categories):
    panel = market(seed=2)
    answer = factor_returns(
        panel, STYLES, intercept=True, categories=categories, weights="w", on_failure="raise"
    )

    def expected(one):
        basis, plain = by_irls(one)
        assert plain.status == "converged"
        return basis @ plain.b

    check_periods(answer, panel, STYLES, categories, expected, 1e-9)


@pytest.mark.parametrize("huber_t", [1.345, np.inf])
def test_factor_returns_of_a_family_sum_to_zero(huber_t):
    panel = market(seed=3)
    answer = factor_returns(
        panel, STYLES, intercept=True, categories=TWO, weights="w", huber_t=huber_t
    )
    for row in answer.rows(named=True):
        one = dense(panel.filter(pl.col("period") == row["period"]), STYLES, TWO)
        f = np.array([row[name] for name in one.names])
        assert_allclose(one.C @ f / (np.abs(one.C) @ np.abs(f)), 0, atol=1e-12)


def test_without_an_intercept_the_constraint_is_the_same():
    panel = market(seed=4)
    answer = factor_returns(panel, STYLES, categories=TWO, weights="w", huber_t=np.inf)
    check_periods(answer, panel, STYLES, TWO, by_kkt, 1e-10, intercept=False)


def test_two_categories_and_no_styles_are_the_textbook_answer():
    panel = pl.DataFrame(
        {
            "period": [1] * 5,
            "asset": list("abcde"),
            "return": [0.01, 0.03, 0.05, 0.10, 0.20],
            "sector": ["A", "A", "A", "B", "B"],
            "cap": [1.0, 2.0, 3.0, 4.0, 20.0],
        }
    )
    ways = {"intercept": True, "huber_t": float("inf")}
    answer = factor_returns(panel, [], categories={"sector": None}, **ways)
    assert answer.columns == ["period", "intercept", "sector=A", "sector=B"]
    # Means 0.03 and 0.15: their middle, and half their distance.
    assert_allclose(answer.row(0)[1:], [0.09, -0.06, 0.06], rtol=1e-14)
    answer = factor_returns(panel, [], categories={"sector": "cap"}, **ways)
    # A fifth of the market is A.
    assert_allclose(answer.row(0)[1:], [0.126, -0.096, 0.024], rtol=1e-14)
    # Two more facts: the fit is the mean of the sector, its standard error that of H1.
    fits = fit(panel, [], categories={"sector": None}, cov_type="H1", **ways)
    assert_allclose(fits.specific_returns["fitted"], [0.03] * 3 + [0.15] * 2, rtol=1e-13)
    s2 = (0.02**2 * 2 + 0.05**2 * 2) / 3
    middle = np.sqrt(s2 * (1 / 3 + 1 / 2)) / 2
    assert_allclose(fits.coefficients["std_error"], [middle] * 3, rtol=1e-13)


@pytest.mark.parametrize("huber_t", [1.345, np.inf])
def test_no_order_of_the_categories_changes_the_answer(huber_t):
    """Of equal weights the first category of a period is the one without a column."""
    panel = market(seed=5)
    ways = {"intercept": True, "weights": "w", "huber_t": huber_t}
    first = factor_returns(panel, STYLES, categories={"sector": None, "country": None}, **ways)
    for shift in range(1, 5):
        turned = panel.with_columns(
            pl.col("sector").cast(pl.String).cast(pl.Enum(SECTORS[shift:] + SECTORS[:shift])),
            pl.col("country").cast(pl.String).cast(pl.Enum(COUNTRIES[::-1])),
        )
        other = factor_returns(turned, STYLES, categories={"country": None, "sector": None}, **ways)
        assert other.columns != first.columns
        assert_frame_equal(other.select(first.columns), first, rel_tol=1e-9, abs_tol=1e-9 * 0.01)


@pytest.mark.parametrize("dropped", [0, 1, 2, 3])
@pytest.mark.parametrize("cov_type", ["sandwich", "H1"])
def test_nothing_depends_on_the_category_that_has_no_column(dropped, cov_type, monkeypatch):
    panel = market(seed=6, n_periods=1)
    ways = {"intercept": True, "categories": TWO, "weights": "w", "cov_type": cov_type}
    fits = fit(panel, STYLES, **ways)
    greatest = families_module._greatest

    def chosen(sums):
        sectors = sums.shape[1] == len(SECTORS)
        return np.full(len(sums), dropped) if sectors else greatest(sums)

    monkeypatch.setattr(families_module, "_greatest", chosen)
    other = fit(panel, STYLES, **ways)
    for name in ("factor_returns", "coefficients", "specific_returns"):
        one, its = getattr(fits, name), getattr(other, name)
        assert_frame_equal(one, its, rel_tol=1e-9, abs_tol=1e-11)
