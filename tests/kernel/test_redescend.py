"""The last stage of the MM estimate: R's numbers from R's starts, plain IRLS on random problems."""

from __future__ import annotations

import numpy as np
import pytest

import mm_oracle
import problems
import robust_data
from vbase_py_utils.kernel import redescend as module
from vbase_py_utils.kernel.losses import Bisquare
from vbase_py_utils.kernel.period_fits import SolverOptions, Status
from vbase_py_utils.kernel.redescend import fixed_weights, redescend
from vbase_py_utils.kernel.stacks import Block, columns_of, stack_periods


def finish(X, y, start, scale, *, loss, **options):
    """Bisquare estimate from a start at a scale, with no row held, of one period."""
    stack, _ = stack_periods(Block(columns_of(X), y, None, np.array([0, len(y)])), np.array([0]))
    b = stack.from_coefficients(np.ldexp(np.asarray(start)[None], -stack.to_b))
    u = stack.y - (b[:, None] @ stack.A)[:, 0]
    free, floor = np.full(u.shape, np.nan), np.full(u.shape, 1e-12)
    s = np.ldexp(np.array([scale]), -stack.to_s)
    end = redescend(stack.A, b, u, s, free, floor, loss, SolverOptions(**options))
    return np.ldexp(stack.coefficients_of(end.b), stack.to_b)[0], end


@pytest.mark.parametrize("name", robust_data.IN_R)
@pytest.mark.parametrize("efficiency", [0.95, 0.85])
def test_from_the_s_estimate_of_r_it_ends_where_lmrob_does(name, efficiency):
    X, y = robust_data.data(name)
    in_r = robust_data.IN_R[name]
    b, end = finish(X, y, in_r.start, in_r.scale, loss=Bisquare.of(efficiency))
    theirs = in_r.mm95 if efficiency == 0.95 else in_r.mm85
    assert np.abs(X @ (b - theirs)).max() <= 1e-10 * in_r.scale
    assert end.status[0] == Status.converged


@pytest.mark.parametrize("name", robust_data.IN_R)
def test_from_least_squares_it_ends_where_lmrob_does(name):
    X, y = robust_data.data(name)
    in_r = robust_data.IN_R[name]
    start = np.linalg.lstsq(X, y, rcond=None)[0]
    b, _ = finish(X, y, start, in_r.ls_scale, loss=Bisquare.of(0.95))
    assert np.abs(X @ (b - in_r.from_ls)).max() <= 1e-10 * in_r.ls_scale


@pytest.mark.parametrize("kind", ["mild", *problems.HARD_KINDS])
def test_random_problems_end_where_plain_irls_does(kind, rng):
    for case in range(60):
        k = int(rng.integers(1, 8))
        n = int(k * rng.choice([2, 4, 10])) + 2
        draw = problems.mild if kind == "mild" else problems.hard
        X, y, _ = draw(rng, n, k) if kind == "mild" else draw(rng, kind, n, k)
        start = np.linalg.lstsq(X, y, rcond=None)[0]
        s = mm_oracle.m_scale(y - X @ start, k)
        b, _ = finish(X, y, start, s, loss=Bisquare.of(0.95))
        Q, R = np.linalg.qr(X)
        expected = mm_oracle.bisquare(Q, y, R @ start, s)
        assert np.abs(X @ b - Q @ expected).max() <= 1e-7 * s, (kind, case)


def test_newton_saves_steps_and_changes_nothing(rng, monkeypatch):
    X, y, _ = problems.mild(rng, 80, 5)
    start = np.linalg.lstsq(X, y, rcond=None)[0]
    scale = mm_oracle.m_scale(y - X @ start, 5)
    fast, short = finish(X, y, start, scale, loss=Bisquare.of(0.95))
    monkeypatch.setattr(module, "SWITCH", 0.0)
    slow, long = finish(X, y, start, scale, loss=Bisquare.of(0.95))
    np.testing.assert_allclose(X @ fast, X @ slow, atol=1e-9 * scale)
    assert short.n_iter[0] < long.n_iter[0]


@pytest.mark.parametrize("seed", [3, 24, 101, 137])
def test_a_step_of_newton_that_does_not_close_in_is_taken_back(seed, monkeypatch):
    # From far out Newton leads elsewhere, or nowhere, since psi' is below zero there.
    rng = np.random.default_rng(seed)
    n = int(rng.integers(8, 30))
    X, y = np.column_stack([np.ones(n), rng.standard_normal(n)]), rng.standard_normal(n)
    y[: n // 3] += 6
    start = np.array([rng.uniform(0, 7), rng.normal()])
    expected, _ = finish(X, y, start, 1.0, loss=Bisquare.of(0.95))
    monkeypatch.setattr(module, "SWITCH", 1e9)
    b, end = finish(X, y, start, 1.0, loss=Bisquare.of(0.95), max_iter=300)
    np.testing.assert_allclose(b, expected, atol=1e-8)
    assert end.status[0] == Status.converged


def test_no_tolerance_is_below_rounding(rng):
    X, y, _ = problems.mild(rng, 80, 5)
    start = np.linalg.lstsq(X, y, rcond=None)[0]
    _, end = finish(X, y, start, 0.01, loss=Bisquare.of(0.95), tol=1e-300)
    assert end.status[0] == Status.converged
    assert end.n_iter[0] < 50


def test_a_direction_that_only_rows_without_weight_tell_apart():
    rng = np.random.default_rng(6)
    X = np.ones((40, 2))
    X[:3, 1] = [2.0, 3.0, 5.0]
    y = rng.standard_normal(40)
    y[:3] += [50.0, -60.0, 80.0]
    start = np.array([0.0, 0.0])
    b, end = finish(X, y, start, 1.0, loss=Bisquare.of(0.95))
    Q, R = np.linalg.qr(X)
    expected = mm_oracle.bisquare(Q, y, R @ start, 1.0, steps=300)
    assert end.status[0] == Status.converged
    np.testing.assert_allclose((X @ b)[3:], (Q @ expected)[3:], atol=1e-8)


def test_out_of_steps_is_said_so(rng):
    X, y, _ = problems.mild(rng, 50, 3)
    start = np.zeros(3)
    _, end = finish(X, y, start, 0.01, loss=Bisquare.of(0.95), max_iter=2)
    assert end.status[0] == Status.max_iter
    assert end.n_iter[0] == 2


def test_rows_of_at_least_half_the_leverage_keep_their_weight():
    A = np.zeros((1, 2, 8))
    A[0, 0, :2] = 1.0  # two rows with half of the leverage each,
    A[0, 1, 2:] = 1.0  # and six that share another factor.
    weights = np.linspace(0.9, 0.2, 8)[None]
    weights[0, :2] = 0.5
    fixed = fixed_weights(A, weights, np.full((1, 8), 1e-12))
    assert fixed[0, :2].tolist() == [0.5, 0.5]
    assert np.isnan(fixed[0, 2:]).all()
    weights[0, 0] = 0.0  # without weight, a row has no leverage
    fixed = fixed_weights(A, weights, np.full((1, 8), 1e-12))
    assert np.isnan(fixed[0]).tolist() == [True, False, *[True] * 6]
