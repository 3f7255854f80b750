"""The rules of the Newton phase, on the state of a stack."""

from __future__ import annotations

import numpy as np
import pytest

from vbase_py_utils.kernel.irls import _start
from vbase_py_utils.kernel.losses import Huber
from vbase_py_utils.kernel.newton import begin_newton, go_back, out_of_reach
from vbase_py_utils.kernel.stacks import Block, columns_of, stack_periods

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
