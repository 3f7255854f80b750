"""Quadratic-inverse shrinkage: against a slow form, and at its limits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import risk_oracle
from vbase_py_utils.kernel.shrinkage import quadratic_inverse, shrunk_eigenvalues


@pytest.mark.parametrize("n", [9.0, 30.5, 400.0])
def test_it_is_that_of_a_loop(rng, n):
    matrix = np.cov(rng.standard_normal((60, 8)).T)
    assert_allclose(
        quadratic_inverse(matrix, n), risk_oracle.quadratic_inverse(matrix, n), rtol=1e-10,
        atol=1e-13,
    )  # fmt: skip


@pytest.mark.parametrize("n", [3, 7])
def test_with_more_series_than_observations_it_is_that_of_a_loop_too(rng, n):
    matrix = np.cov(rng.standard_normal((60, 8)).T)
    assert_allclose(
        quadratic_inverse(matrix, n), risk_oracle.quadratic_inverse(matrix, n), rtol=1e-10,
        atol=1e-13,
    )  # fmt: skip


def test_small_eigenvalues_are_not_taken_for_zeros(rng):
    scale = np.array([1.0, 1e-3, 1e-5, 1.0])
    matrix = np.cov(rng.standard_normal((60, 4)).T) * np.outer(scale, scale)
    ours, expected = quadratic_inverse(matrix, 50), risk_oracle.quadratic_inverse(matrix, 50)
    assert_allclose(ours / np.outer(scale, scale), expected / np.outer(scale, scale), rtol=1e-4)


@pytest.mark.parametrize("k", [1, 2, 5, 30, 80])
@pytest.mark.parametrize("n", [3.0, 29.5, 31.0, 1000.0])
def test_the_trace_stays_and_nothing_becomes_negative(rng, k, n):
    sample = rng.standard_normal((max(2, int(n)), k)) * rng.lognormal(0, 1, k)
    matrix = sample.T @ sample / len(sample)
    shrunk = quadratic_inverse(matrix, n)
    assert_allclose(np.trace(shrunk), np.trace(matrix), rtol=1e-12)
    assert np.linalg.eigvalsh(shrunk)[0] >= -1e-13 * np.trace(matrix)
    assert_array_equal(shrunk, shrunk.T)


def test_with_more_series_than_observations_the_hidden_ones_are_alike(rng):
    sample = rng.standard_normal((20, 50))
    shrunk = shrunk_eigenvalues(np.linalg.eigvalsh(sample.T @ sample / 20), 20)
    assert np.ptp(shrunk[:30]) == 0
    assert shrunk[0] > 0


def test_an_exact_zero_is_the_limit_of_a_small_eigenvalue():
    values = np.array([0.0, 1.0, 2.0, 3.0])
    close = values + np.array([1e-12, 0, 0, 0])
    assert_allclose(shrunk_eigenvalues(values, 50), shrunk_eigenvalues(close, 50), atol=1e-10)


def test_many_observations_change_nothing(rng):
    matrix = np.cov(rng.standard_normal((60, 5)).T)
    assert_allclose(quadratic_inverse(matrix, 1e9), matrix, rtol=1e-6, atol=1e-8)


def test_shrunk_is_nearer_to_the_truth_than_the_sample():
    rng = np.random.default_rng(3)
    truth = np.diag(np.linspace(0.5, 2, 40))
    errors = []
    for _ in range(20):
        sample = rng.standard_normal((80, 40)) @ np.sqrt(truth)
        matrix = sample.T @ sample / 80
        errors.append([np.abs(m - truth).sum() for m in (quadratic_inverse(matrix, 80), matrix)])
    ours, raw = np.mean(errors, axis=0)
    assert ours < raw / 2


def test_nothing_is_shrunk_to_nothing():
    assert_array_equal(quadratic_inverse(np.zeros((3, 3)), 10), 0)
    assert quadratic_inverse(np.zeros((0, 0)), 10).shape == (0, 0)
    assert_allclose(quadratic_inverse(np.array([[4.0]]), 10), 4.0)


def test_published_numbers():
    """risk/ref of the contract: the matrix of 60 observations of 8 series, about their means."""
    root = Path(__file__).parents[1] / "risk" / "data"
    sample, expected = (
        np.loadtxt(root / name, delimiter=",") for name in ("qis_60x8.csv", "qis_60x8_shrunk.csv")
    )
    assert_allclose(quadratic_inverse(np.cov(sample.T), 59), expected, rtol=0, atol=1e-12)
