"""The covariance of factors: published numbers, explicit sums, and nothing of the future."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import risk_oracle
from vbase_py_utils.kernel.factor_covariances import CovarianceOptions, covariances
from vbase_py_utils.kernel.series import Moments

PLAIN = {
    "half_life": 20.0,
    "correlation_half_life": 20.0,
    "lags": 0,
    "correlation_lags": 0,
    "min_periods": 5,
    "shrink": False,
    "regime_half_life": None,
}


def after(returns, errors=None, **options):
    """The forecast for the period after the last."""
    wanted = np.zeros(len(returns) + 1, dtype=bool)
    wanted[-1] = True
    return covariances(returns, wanted, CovarianceOptions(**PLAIN | options), errors)[:, 0, :]


def every(returns, errors=None, **options):
    wanted = np.ones(len(returns) + 1, dtype=bool)
    return covariances(returns, wanted, CovarianceOptions(**PLAIN | options), errors)


def with_holes(rng, n_periods, k, share):
    returns = rng.standard_t(4, (n_periods, k)) * rng.lognormal(0, 1, k)
    return np.where(rng.random(returns.shape) < share, np.nan, returns)


@pytest.mark.parametrize("lags", [(0, 0), (3, 3), (4, 0), (0, 2), (3, 2)])
@pytest.mark.parametrize("half_lives", [(30.0, 30.0), (20.0, 70.0), (np.inf, np.inf)])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_forecasts_are_explicit_sums(rng, lags, half_lives, missing):
    returns = with_holes(rng, 90, 4, missing)
    ours = after(
        returns,
        half_life=half_lives[0],
        correlation_half_life=half_lives[1],
        lags=lags[0],
        correlation_lags=lags[1],
    )
    names = ("half_life", "correlation_half_life", "lags", "correlation_lags")
    expected = risk_oracle.covariance(
        returns, **dict(zip(names, (*half_lives, *lags), strict=True))
    )
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    assert_allclose(ours / scale, expected / scale, rtol=0, atol=1e-13)
    assert_array_equal(ours, ours.T)


@pytest.mark.parametrize("lags", [0, 4, 12])
def test_equal_weights_are_newey_and_wests_sums_of_statsmodels(rng, lags):
    from statsmodels.stats.sandwich_covariance import S_hac_simple

    returns = rng.standard_normal((300, 3)).cumsum(axis=0)[5:] / 10
    ours = after(returns, half_life=np.inf, correlation_half_life=np.inf, lags=lags,
                 correlation_lags=lags)  # fmt: skip
    assert_allclose(ours * len(returns), S_hac_simple(returns, nlags=lags), rtol=1e-10)


@pytest.mark.parametrize("lags", [0, 3])
@pytest.mark.parametrize("shrink", [False, True])
def test_no_period_knows_a_later_one(rng, lags, shrink):
    returns = with_holes(rng, 60, 4, 0.2)
    errors = np.abs(rng.standard_normal(returns.shape)) / 4
    options = {
        "lags": lags, "correlation_lags": lags, "shrink": shrink, "regime_half_life": 9.0,
        "correlation_half_life": 40.0,
    }  # fmt: skip
    first = every(returns, errors, **options)
    for t in (5, 21, 59):
        changed = returns.copy(), errors.copy()
        changed[0][t:] = rng.standard_normal(returns[t:].shape) * 1e6
        changed[1][t:] = 1e5
        again = every(*changed, **options)
        assert first[:, : t + 1].tobytes() == again[:, : t + 1].tobytes()
        assert not np.array_equal(first[:, -1], again[:, -1])


def test_a_period_that_is_asked_for_alone_has_the_same_bits(rng):
    returns = with_holes(rng, 60, 4, 0.2)
    options = CovarianceOptions(**PLAIN | {"shrink": True, "regime_half_life": 9.0})
    whole = covariances(returns, np.ones(61, dtype=bool), options)
    for t in (7, 33, 60):
        one = covariances(returns, np.arange(61) == t, options)
        assert one[:, 0].tobytes() == whole[:, t].tobytes()


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), k=st.integers(1, 12), lags=st.integers(0, 8),
    share=st.floats(0, 0.9), shrink=st.booleans(),
)  # fmt: skip
def test_no_forecast_is_indefinite(seed, k, lags, share, shrink):
    rng = np.random.default_rng(seed)
    returns = with_holes(rng, rng.integers(2, 60), k, share)
    options = {"min_periods": 1, "lags": lags, "correlation_lags": lags, "shrink": shrink}
    block = after(returns, **options | {"half_life": rng.uniform(1, 50)})
    known = np.isfinite(np.diag(block))
    assert np.isfinite(block[np.ix_(known, known)]).all()
    values = np.linalg.eigvalsh(block[np.ix_(known, known)])
    if len(values):
        assert values[0] >= -1e-12 * values[-1]


@pytest.mark.campaign
def test_none_of_10_000_panels_is_indefinite():
    for seed in range(10_000):
        test_no_forecast_is_indefinite.hypothesis.inner_test(
            seed, 1 + seed % 12, seed % 9, (seed % 91) / 100, bool(seed % 2)
        )


def test_too_few_returns_are_nan_and_leave_the_others_alone(rng):
    returns = rng.standard_normal((30, 3))
    returns[:26, 1] = np.nan
    block = after(returns)
    assert np.isnan(block[1]).all()
    assert np.isnan(block[:, 1]).all()
    rest = [0, 2]
    assert_array_equal(block[np.ix_(rest, rest)], after(returns[:, rest]))
    assert np.isfinite(after(returns, min_periods=4)).all()
    assert np.isnan(every(returns[:5])[:, :5]).all()


@pytest.mark.parametrize("power", [-1000, -600, -40, 40, 400, 500])
@pytest.mark.parametrize("shrink", [False, True])
def test_units_of_a_power_of_two_change_no_bit(rng, power, shrink):
    returns = with_holes(rng, 60, 3, 0.1)
    options = {"lags": 2, "shrink": shrink, "regime_half_life": 9.0}
    units = np.array([power, 0, -power // 4])
    scaled = after(np.ldexp(returns, units), **options)
    expected = after(returns, **options)
    shift = units[:, None] + units
    with np.errstate(under="ignore"):
        assert_array_equal(scaled, np.ldexp(expected, shift))


def test_one_that_never_moves_has_no_variance_and_no_covariance(rng):
    returns = rng.standard_normal((40, 3))
    returns[:, 1] = 0.0
    for shrink in (False, True):
        block = after(returns, shrink=shrink)
        assert_array_equal(block[1], 0)
        rest = [0, 2]
        assert_array_equal(block[np.ix_(rest, rest)], after(returns[:, rest], shrink=shrink))


def test_one_factor_is_a_mean_square(rng):
    returns = rng.standard_normal((40, 1))
    block = after(returns, half_life=np.inf, correlation_half_life=np.inf, shrink=True)
    assert_allclose(block, np.mean(returns**2), rtol=1e-14)


@pytest.mark.parametrize("half_life", [15.0, 60.0])
@pytest.mark.parametrize("kind", ["wild", "calm", "one is new"])
def test_shrinkage_is_that_of_the_observations_that_count(rng, half_life, kind):
    noise = rng.standard_t(3, (150, 6)) if kind == "wild" else rng.standard_normal((150, 6))
    returns = noise @ rng.standard_normal((6, 6))
    if kind == "one is new":
        returns[:120, 2] = np.nan
    raw = after(returns, half_life=half_life, correlation_half_life=half_life)
    ours = after(returns, half_life=half_life, correlation_half_life=half_life, shrink=True)
    sd = np.sqrt(np.diag(raw))
    correlation = raw / np.outer(sd, sd)
    n = risk_oracle.effective_number(returns, correlation, half_life)
    shrunk = risk_oracle.quadratic_inverse(correlation, n)
    scale = np.sqrt(np.diag(shrunk))
    # Days of hardly any weight are left out.
    assert_allclose(ours, shrunk / np.outer(scale, scale) * np.outer(sd, sd), rtol=1e-4)
    assert_allclose(np.diag(ours), np.diag(raw), rtol=1e-14)


def test_a_regime_multiplies_every_variance(rng):
    returns = with_holes(rng, 70, 3, 0.2)
    returns[50:] *= 3
    plain = after(returns)
    ours = after(returns, regime_half_life=8.0)
    expected = risk_oracle.regime(returns, 20.0, 5, 8.0)
    assert expected > 1.3
    assert_allclose(ours, expected * plain, rtol=1e-13)


def test_one_wild_return_counts_as_ten_standard_deviations(rng):
    returns = rng.standard_normal((40, 1))
    returns[-1] = 1e6
    ours = after(returns, regime_half_life=8.0) / after(returns)
    assert_allclose(ours, risk_oracle.regime(returns, 20.0, 5, 8.0), rtol=1e-12)
    assert 5 < ours < 100


def test_a_regime_leaves_autocovariances_in_the_variance():
    rng = np.random.default_rng(5)
    shocks = rng.standard_normal((20_001, 2))
    returns = shocks[1:] + 0.5 * shocks[:-1]  # long-run variance 2.25, of one period 1.25
    options = {"half_life": np.inf, "correlation_half_life": np.inf, "lags": 10}
    ours = np.diag(after(returns, **options, regime_half_life=np.inf))
    assert_allclose(ours, np.diag(after(returns, **options)), rtol=0.02)
    assert (ours > 2).all()


def test_errors_are_subtracted_from_variances_alone(rng):
    returns = with_holes(rng, 60, 3, 0.2)
    errors = np.full(returns.shape, 0.1)
    errors[:, 2] = 1e6
    plain, ours = after(returns), after(returns, errors)
    expected = np.diag(plain) - np.array([0.01, 0.01, 0.9 * plain[2, 2]])
    assert_allclose(np.diag(ours), expected, rtol=1e-12)
    sd = np.sqrt(np.diag(ours)), np.sqrt(np.diag(plain))
    assert_allclose(ours / np.outer(sd[0], sd[0]), plain / np.outer(sd[1], sd[1]), rtol=1e-12)
    assert_array_equal(after(returns, np.full(returns.shape, np.nan)), plain)


def test_white_noise_with_lags_keeps_its_variance():
    returns = np.random.default_rng(2).standard_normal((2000, 30))
    blocks = every(returns, lags=5, half_life=84.0, correlation_half_life=84.0)
    variance = np.einsum("ktk->tk", blocks)[500:]
    assert 0.97 < variance.mean() < 1.03


def test_moments_without_a_value_are_nan():
    moments = Moments(2, 10.0)
    assert np.isnan(moments.means()).all()
    assert np.isnan(moments.effective_number()).all()
    moments.add(np.zeros((0, 2)), np.array([2.0, 0.0]), np.array([1.0, 0.0]))
    assert moments.means()[0, 0] == 4
    assert moments.effective_number()[0] == 1
