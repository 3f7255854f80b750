"""The scale of residuals against its definition."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import robust_data
from vbase_py_utils.kernel.scale import MAD_PER_SIGMA, Ranks, mad_about_zero, s_scale
from vbase_py_utils.kernel.stacks import widths


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


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("longest", [50, 300, 2000, 3001])
def test_a_guess_of_the_median_changes_no_bit(longest, ties, rng):
    width = int(widths(np.array([longest]))[0])
    alike = [n for n in range(longest // 2, width + 1) if widths(np.array([n]))[0] == width]
    sizes = rng.choice(alike, 40)
    u = rng.standard_t(1.5, (40, width)) * 10.0 ** rng.integers(-200, 200, (40, 1))
    if ties:
        unit = np.median(np.abs(u), axis=1, keepdims=True)
        u = np.round(u / unit, 1) * unit
    u[np.arange(width) >= sizes[:, None]] = 0.0
    ordered = [np.sort(np.abs(own[:n])) for own, n in zip(u, sizes, strict=True)]
    low = np.array([own[(len(own) - 1) // 2] for own in ordered])
    high = np.array([own[len(own) // 2] for own in ordered])
    ranks = Ranks.of(sizes, width)
    near, off = low * np.exp(rng.normal(0, 0.02, 40)), rng.choice([0.0, 1.0, np.inf, np.nan], 40)
    guesses = [(near, 0.05), (near, 0.0), (low, 0.0), (low * 3, 0.05), (low / 3, 9.0)]
    for guess, reach in [*guesses, (low * off, 0.1), (near, np.nan)]:
        with np.errstate(all="ignore"):
            found = ranks.middle(u, guess, np.full(40, reach))
        np.testing.assert_array_equal(found, (low, high))
    np.testing.assert_array_equal(ranks.middle(u), (low, high))


def test_residuals_that_are_no_numbers_sort_last(rng):
    u = rng.standard_normal((8, 2000))
    u[:, ::3] = np.nan
    expected = np.sort(np.abs(u), axis=1)[:, 999:1001].T
    ranks = Ranks.of(np.full(8, 2000), 2000)
    for guess in ((), (expected[0], np.full(8, 0.05))):
        np.testing.assert_array_equal(ranks.middle(u, *guess), expected)


# --- the scale of the MM estimate


def share_beyond(u, s, k):
    """How much of sum rho(u / (1.547645 s)) = 0.5 (n - k) is missing."""
    t = np.minimum(np.abs(u) / (1.547645 * s), 1.0)
    return np.sum(1 - (1 - t**2) ** 3) / (0.5 * (len(u) - k)) - 1


@pytest.mark.parametrize("name", robust_data.IN_R)
def test_s_scale_is_that_of_lmrob_at_its_coefficients(name):
    X, y = robust_data.data(name)
    in_r = robust_data.IN_R[name]
    u = y - X @ in_r.start
    s = s_scale(u[None], np.array([len(y)]), X.shape[1])[0]
    assert s == pytest.approx(in_r.scale, rel=1e-9)  # as far as their steps went
    assert abs(share_beyond(u, s, X.shape[1])) < 1e-12


def test_s_scale_solves_its_equation_whatever_the_residuals(rng):
    for _ in range(200):
        n, k = int(rng.integers(5, 60)), int(rng.integers(1, 4))
        u = rng.standard_cauchy(n) ** 3 * 10.0 ** rng.uniform(-100, 100)
        u[rng.random(n) < 0.2] = 0.0
        if np.count_nonzero(u) <= 0.5 * (n - k):
            continue
        s = s_scale(u[None], np.array([n]), k)[0]
        assert abs(share_beyond(u, s, k)) < 1e-12
        padded = np.append(u, [0.0, 0.0])[None]
        assert s_scale(padded, np.array([n]), k)[0] == pytest.approx(s, rel=1e-13)


def test_s_scale_is_zero_where_no_scale_is_small_enough():
    u = np.zeros((2, 10))
    u[0, :4] = u[1, :5] = 1.0  # the sum wanted is 4.5
    s = s_scale(u, np.array([10, 10]), 1)
    assert s[0] == 0.0
    assert s[1] > 0.0


def test_s_scale_is_sigma_at_the_normal(rng):
    u = rng.standard_normal((1, 100_000))
    assert s_scale(u, np.array([100_000]), 1)[0] == pytest.approx(1.0, abs=0.01)
