"""The rules of the Newton phase, on the state of a stack."""

from __future__ import annotations

import numpy as np
import pytest

from vbase_py_utils.kernel.irls import _advance, _start
from vbase_py_utils.kernel.losses import Huber
from vbase_py_utils.kernel.newton import (
    SETTLED,
    begin_newton,
    go_back,
    middle_row,
    out_of_reach,
    settled,
)
from vbase_py_utils.kernel.period_fits import SolverOptions
from vbase_py_utils.kernel.stacks import Block, columns_of, stack_periods
from vbase_py_utils.kernel.steps import find_sides

ALL = np.array([True, True])


@pytest.fixture
def live(rng):
    """Two periods of 20 rows at the least-squares start, in Newton's phase."""
    X, y = rng.standard_normal((40, 2)), rng.standard_normal(40)
    block = Block(columns_of(X), y, None, np.array([0, 20, 40]))
    live = _start(stack_periods(block, np.arange(2))[0], Huber())
    live.last_change = np.full(2, 0.02)
    begin_newton(live, ALL, np.full(2, 0.01))
    return live


@pytest.mark.parametrize(
    ("factor", "out"), [(0.49, True), (0.51, False), (1.9, False), (2.1, True)]
)
def test_a_phase_may_not_halve_or_double_the_scale(live, factor, out):
    live.s = live.s * [1.0, factor]
    assert out_of_reach(live).tolist() == [False, out]


def test_a_phase_may_go_eight_times_as_far_as_irls_would(live):
    # Steps that halve have as far to go as the last one: 0.01, and eight times that.
    np.testing.assert_allclose(live.newton.reach, 0.08)
    live.newton.travelled = np.array([0.079, 10.0])
    live.u = live.u + np.array([[0.0], [0.079]])
    assert out_of_reach(live).tolist() == [False, False]  # the second came back part of its path
    live.u = live.u + np.array([[0.0], [0.002]])
    assert out_of_reach(live).tolist() == [False, True]


@pytest.mark.parametrize(("last", "reach"), [(np.inf, 3.0), (4.0, 3.0), (1.0, 8.0 * 999)])
def test_the_reach_is_bounded_on_both_sides(live, last, reach):
    live.last_change = np.full(2, last)
    begin_newton(live, ALL, np.ones(2))
    np.testing.assert_allclose(live.newton.reach, reach, rtol=1e-9)


def test_going_back_restores_the_saved_point_and_waits_longer(live):
    b, u, fresh, switch = (x.copy() for x in (live.b, live.u, live.fresh, live.switch))
    live.b, live.u, live.fresh = live.b + 1, live.u * 3, live.fresh + 1
    go_back(live, np.array([False, True]))
    assert live.newton.on.tolist() == [True, False]
    np.testing.assert_array_equal(live.b, b + np.array([[1], [0]]))
    np.testing.assert_array_equal(live.u, u * [[3], [1]])
    np.testing.assert_array_equal(live.fresh, fresh + np.array([1, 0]))
    np.testing.assert_allclose(live.switch, switch * [1, 0.1])
    # The scale is that of the residuals again.
    assert live.s[1] == pytest.approx(0.5 * (live.low[1] + live.high[1]) / 0.6744897501960817)


TOL = 1e-10


@pytest.fixture
def at_rest(live):
    """The two periods as if a step of Newton had just led from here to here."""
    find_sides(live, Huber())
    assert live.side.any()
    live.last_side = live.side.copy()
    middle_row(live)
    live.newton.rounding = 0.9 * SETTLED * TOL * live.s
    return live


def test_a_phase_settles_where_the_equations_of_its_last_step_still_hold(at_rest):
    assert settled(at_rest, Huber(), TOL).tolist() == [True, True]


def put_at_corner(live):
    # A row that is neither in the middle nor outlying.
    free = (live.side[1] == 0) & (np.abs(live.u[1]) > live.high[1])
    live.u[1, np.argmax(free)] = Huber().t * live.s[1]


CHANGES = {
    "done": lambda live: live.done.__setitem__(1, True),
    "not in the phase": lambda live: live.newton.on.__setitem__(1, False),
    "rounding": lambda live: live.newton.rounding.__setitem__(1, 2 * live.newton.rounding[1]),
    "a row on the other side": lambda live: live.last_side.__setitem__((1, 3), 1 - live.side[1, 3]),
    "another row in the middle": lambda live: live.low.__setitem__(1, 0.9 * live.low[1]),
    "another second row": lambda live: live.high.__setitem__(1, 1.1 * live.high[1]),
    "the middle row on the other side": lambda live: live.newton.positive.__setitem__(
        (1, 0), ~live.newton.positive[1, 0]
    ),
    "a row at the corner": put_at_corner,
    "a phase that begins": lambda live: begin_newton(live, ~ALL | [False, True], 0.01 * np.ones(2)),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_phase_goes_on_after_any_change(what, at_rest):
    CHANGES[what](at_rest)
    assert settled(at_rest, Huber(), TOL).tolist() == [True, False]


def test_the_rounding_left_grows_with_the_condition_and_with_lost_pivots(rng):
    X, y = rng.standard_normal((40, 2)), rng.standard_normal(40)
    X[:, 1] = X[:, 0] + 0.1 * X[:, 1]
    y[:8] += 9.0 * X[:8, 1]  # outlying rows, which leave less of the second pivot
    stack, _ = stack_periods(Block(columns_of(X), y, None, np.array([0, 40])), np.arange(1))
    live = _start(stack, Huber())
    begin_newton(live, np.array([True]), np.full(1, 0.01))
    live.newton.reach[:] = np.inf
    find_sides(live, Huber())
    A, u = live.A[0].copy(), live.u.copy()
    inlying = A * (live.side[0] == 0)
    kept, whole = (np.diag(np.linalg.cholesky(gram)) for gram in (inlying @ A.T, A @ A.T))
    left = ((kept / whole) ** 2).min()
    assert left < 0.9
    _advance(stack, live, SolverOptions())
    moved = np.abs(live.u - u).max()
    condition = np.linalg.cond(A @ A.T, 1)
    assert condition > 100
    assert live.newton.rounding[0] == pytest.approx(2.0**-52 * condition / left * moved, rel=1e-6)
