"""The losses against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from vbase_py_utils.kernel import losses
from vbase_py_utils.kernel.losses import HUBER_T, Bisquare, Huber

GRID = np.linspace(-6, 6, 241)
TUNING = [0.5, HUBER_T, 3.0, np.inf]


def normal_mean(function):
    return integrate.quad(
        lambda z: float(function(np.array([z]))[0]) * stats.norm.pdf(z),
        -12,
        12,
        points=[-HUBER_T, HUBER_T],
        epsabs=1e-13,
    )[0]


def test_default_tuning_constant_has_95_percent_efficiency():
    huber = Huber()
    variance = normal_mean(lambda z: huber.psi(z) ** 2)
    slope = normal_mean(huber.psi_prime)
    assert variance == pytest.approx(0.7101645, abs=5e-8)
    assert slope == pytest.approx(0.8213748, abs=5e-8)
    assert slope**2 / variance == pytest.approx(0.9500, abs=5e-5)


@pytest.mark.parametrize("t", TUNING)
def test_derivatives_are_derivatives(t):
    huber, h = Huber(t), 1e-6
    inside = GRID[np.abs(np.abs(GRID) - t) > 1e-3]
    slope = (huber.rho(inside + h) - huber.rho(inside - h)) / (2 * h)
    np.testing.assert_allclose(huber.psi(inside), slope, atol=1e-8)
    curvature = (huber.psi(inside + h) - huber.psi(inside - h)) / (2 * h)
    np.testing.assert_allclose(huber.psi_prime(inside), curvature, atol=1e-8)


@pytest.mark.parametrize("t", TUNING)
def test_weight_is_psi_over_z_and_one_at_zero(t):
    huber = Huber(t)
    np.testing.assert_allclose(huber.weight(GRID) * GRID, huber.psi(GRID), rtol=1e-15)
    assert huber.weight(np.zeros(1))[0] == 1.0
    assert np.all((huber.weight(GRID) > 0) & (huber.weight(GRID) <= 1))


@pytest.mark.parametrize("t", TUNING)
def test_the_scale_may_be_given_beside_the_residuals(t):
    huber, s = Huber(t), np.array([[0.5], [4.0]])
    u = GRID * s
    np.testing.assert_array_equal(huber.weight(u, s), np.stack([huber.weight(GRID)] * 2))
    np.testing.assert_array_equal(huber.psi_prime(u, s), np.stack([huber.psi_prime(GRID)] * 2))
    np.testing.assert_array_equal(
        huber.is_at_corner(u, s), np.stack([huber.is_at_corner(GRID)] * 2)
    )


def test_the_corner_is_where_psi_prime_jumps_and_a_hundred_millionth_of_it_around():
    near = np.array([1.0, -1.0, 1 + 0.9e-8, 1 - 0.9e-8, 1 + 1.1e-8, 1 - 1.1e-8, 0.0])
    assert Huber().is_at_corner(HUBER_T * near).tolist() == [True] * 4 + [False] * 3
    assert not Huber(np.inf).is_at_corner(np.array([0.0, np.inf])).any()


def test_least_squares_at_infinity():
    huber = Huber(np.inf)
    assert huber.is_quadratic
    assert not huber.has_newton
    np.testing.assert_array_equal(huber.weight(GRID), np.ones_like(GRID))
    np.testing.assert_array_equal(huber.rho(GRID), GRID**2 / 2)
    np.testing.assert_array_equal(huber.psi(GRID), GRID)


# --- the bisquare


@pytest.mark.parametrize("efficiency", [0.3, 0.5, 0.85, 0.9, 0.95, 0.99, 0.9999])
def test_a_bisquare_has_the_efficiency_asked_for(efficiency):
    loss = Bisquare.of(efficiency)

    def mean(function):
        values = integrate.quad(
            lambda z: float(function(np.array([z]))[0]) * stats.norm.pdf(z),
            -loss.c,
            loss.c,
            epsabs=1e-13,
        )
        return values[0]

    reached = mean(loss.psi_prime) ** 2 / mean(lambda z: (z * loss.weight(z)) ** 2)
    assert reached == pytest.approx(efficiency, abs=2e-7)


def test_the_constants_in_use_are_the_roots_rounded(monkeypatch):
    rounded = dict(losses.BISQUARE_CONSTANTS)
    monkeypatch.setattr(losses, "BISQUARE_CONSTANTS", {})
    for efficiency, constant in rounded.items():
        root = losses._bisquare_constant.__wrapped__(efficiency)
        assert root == pytest.approx(constant, abs=5e-6)
        assert Bisquare.of(efficiency).c == constant or Bisquare.of(efficiency).c == root


@pytest.mark.parametrize("c", [1.547645, 4.685061])
def test_the_derivatives_of_the_bisquare_are_derivatives(c):
    loss, h = Bisquare(c), 1e-6

    def psi(z):
        return z * loss.weight(z)

    # By its definition: the derivative of 1 - (1 - (z/c)^2)^3, capped, times c^2 / 6.
    rho = 1 - (1 - np.minimum((np.stack([GRID - h, GRID + h]) / c) ** 2, 1)) ** 3
    np.testing.assert_allclose(psi(GRID), (rho[1] - rho[0]) / (2 * h) * c**2 / 6, atol=1e-8)
    curvature = (psi(GRID + h) - psi(GRID - h)) / (2 * h)
    np.testing.assert_allclose(loss.psi_prime(GRID), curvature, atol=1e-5)
    assert (loss.weight(GRID)[np.abs(GRID) >= c] == 0.0).all()
    assert psi(GRID).max() <= loss.largest_psi
    assert psi(np.array([c / np.sqrt(5)]))[0] == pytest.approx(loss.largest_psi, rel=1e-14)
    beyond = loss.downweighted_beyond
    assert loss.weight(np.array([beyond]))[0] == pytest.approx(0.5, rel=1e-14)
    u = GRID * 3.0
    np.testing.assert_allclose(loss.weight(u, 3.0), loss.weight(GRID), rtol=1e-12)
