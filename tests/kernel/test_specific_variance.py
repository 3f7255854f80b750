"""Past variances of assets: those of a loop, in any company, blocks and units."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import risk_oracle
from vbase_py_utils.kernel.specific_variance import (
    AssetHistory,
    VarianceOptions,
    blended,
    log_variances,
)

PLAIN = {"half_life": 8.0, "lags": 0, "min_periods": 4, "cut": 10.0, "regime_half_life": None}


def ragged(rng, n_periods=40, n_assets=7, present=0.7):
    """Rows (returns, assets, starts) in which assets come and go; some returns are missing."""
    there = rng.random((n_periods, n_assets)) < present
    returns = rng.standard_t(3, there.shape) * rng.lognormal(-4, 1, n_assets)
    returns[rng.random(there.shape) < 0.05] = np.nan
    returns[rng.random(there.shape) < 0.05] = 0.0
    periods, assets = np.nonzero(there)
    starts = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
    return returns[there], assets, starts, periods


def run(returns, assets, starts, **options):
    history = AssetHistory(VarianceOptions(**PLAIN | options))
    return plain(history.past_variances(returns, assets, starts, effective=True), starts)


def plain(past, starts):
    """The same with variances in the unit of the returns."""
    unit = np.repeat(past.unit, np.diff(starts))
    return replace(past, variance=np.ldexp(past.variance, 2 * unit), unit=np.zeros(0))


@pytest.mark.parametrize("lags", [0, 1, 3])
@pytest.mark.parametrize("cut", [1.5, 10.0, np.inf])
@pytest.mark.parametrize("half_life", [8.0, np.inf])
def test_variances_are_those_of_a_loop(rng, lags, cut, half_life):
    returns, assets, starts, periods = ragged(rng)
    ours = run(returns, assets, starts, lags=lags, cut=cut, half_life=half_life)
    rows = dict(zip(zip(periods.tolist(), assets.tolist(), strict=True), returns, strict=True))
    expected = risk_oracle.specific_variances(
        rows, half_life=half_life, lags=lags, min_periods=4, cut=cut
    )
    variance, count, _ = np.array([expected[key] for key in rows]).T
    assert_array_equal(ours.count, count)
    assert_allclose(ours.variance, variance, rtol=1e-11, atol=1e-13 * np.nanmax(variance))
    lam = 2 ** (-1 / half_life)
    effective = [(lam ** np.arange(n)).sum() ** 2 / (lam ** (2 * np.arange(n))).sum() if n else
                 np.nan for n in count.astype(int)]  # fmt: skip
    assert_allclose(ours.effective, effective, rtol=1e-12)


def test_a_regime_is_the_mean_of_squares_over_forecasts(rng):
    returns, assets, starts, periods = ragged(rng, n_periods=60)
    returns[periods > 45] *= 4
    ours = run(returns, assets, starts, regime_half_life=5.0, cut=np.inf)
    ratios, expected = [], []
    for period in range(60):
        expected.append(
            np.average(ratios, weights=0.5 ** (np.arange(len(ratios))[::-1] / 5)) if ratios else 1.0
        )
        own = slice(starts[period], starts[period + 1])
        x = returns[own]
        with np.errstate(invalid="ignore"):
            some = (ours.count[own] >= 4) & (np.abs(x) > 1e-8 * np.nanmedian(np.abs(x)))
        if some.any():
            ratios.append(np.mean(x[some] ** 2 / ours.variance[own][some]))
    assert_allclose(ours.regime, expected, rtol=1e-11)
    assert ours.regime[-1] > 2


@pytest.mark.parametrize("lags", [0, 2])
def test_blocks_change_no_bit(rng, lags):
    returns, assets, starts, _ = ragged(rng)
    options = {"lags": lags, "regime_half_life": 6.0}
    whole = run(returns, assets, starts, **options)
    history = AssetHistory(VarianceOptions(**PLAIN | options))
    parts = []
    for first, last in ((0, 1), (1, 13), (13, 40)):
        rows = slice(starts[first], starts[last])
        own = returns[rows], assets[rows], starts[first : last + 1] - starts[first]
        parts.append(plain(history.past_variances(*own, effective=True), own[2]))
    for name in ("variance", "count", "effective", "regime", "kurtosis"):
        together = np.concatenate([getattr(part, name) for part in parts])
        assert together.tobytes() == getattr(whole, name).tobytes()


def test_no_row_knows_its_own_or_a_later_period(rng):
    returns, assets, starts, periods = ragged(rng)
    options = {"lags": 2, "regime_half_life": 6.0}
    first = run(returns, assets, starts, **options)
    for t in (0, 9, 39):
        changed = np.where(periods >= t, rng.standard_normal(len(returns)) * 100, returns)
        again = run(changed, assets, starts, **options)
        rows = periods <= t
        for name in ("variance", "count", "effective"):
            assert getattr(first, name)[rows].tobytes() == getattr(again, name)[rows].tobytes()
        for name in ("regime", "kurtosis"):
            assert getattr(first, name)[: t + 1].tobytes() == (
                getattr(again, name)[: t + 1].tobytes()
            )


@pytest.mark.parametrize("power", [-500, -60, 60, 400])
def test_units_of_a_power_of_two_change_no_bit(rng, power):
    returns, assets, starts, _ = ragged(rng)
    one = run(returns, assets, starts, lags=2, regime_half_life=6.0)
    other = run(np.ldexp(returns, power), assets, starts, lags=2, regime_half_life=6.0)
    assert_array_equal(other.variance, np.ldexp(one.variance, 2 * power))
    assert_array_equal(other.regime, one.regime)
    assert_array_equal(other.kurtosis, one.kurtosis)


def test_a_wrong_return_is_cut_at_the_asset_s_own_past():
    returns = np.array([1.0, -1.0] * 10 + [1000.0, 1.0])
    starts, assets = np.arange(23), np.zeros(22, dtype=int)
    ours = run(returns, assets, starts, half_life=np.inf)
    assert ours.variance[20] == 1
    assert_allclose(ours.variance[21], (20 + 100) / 21)


def test_returns_that_are_rounding_beside_the_others_do_not_count(rng):
    returns = rng.standard_normal((12, 5))
    returns[:, 3] *= 1e-11
    ours = run(returns.ravel(), np.tile(np.arange(5), 12), np.arange(13) * 5)
    assert ours.count.reshape(12, 5)[-1].tolist() == [11, 11, 11, 0, 11]


def test_squares_that_underflow_do_not_cut_what_follows():
    returns = np.array([1.0] + [1e-200] * 10 + [1.0, 1.0])
    ours = run(returns, np.zeros(13, dtype=int), np.arange(14), half_life=1e-3, min_periods=2)
    assert ours.variance[-1] > 0.4


def test_kurtosis_is_at_least_two():
    returns = np.array([1.0, -1.0] * 20)
    ours = run(returns, np.tile([0, 1], 20), np.arange(21) * 2)
    assert ours.kurtosis[-1] == 2


def test_kurtosis_is_that_of_returns_about_their_own_scale():
    rng = np.random.default_rng(8)
    returns = rng.standard_normal((400, 200)) * rng.lognormal(0, 1, 200)
    returns *= rng.lognormal(0, 1, (400, 1))  # calm and wild periods
    assets, starts = np.tile(np.arange(200), 400), np.arange(401) * 200
    ours = run(returns.ravel(), assets, starts, half_life=np.inf, cut=np.inf)
    assert ours.kurtosis[0] == 3
    fixed = run(
        (returns / np.abs(returns).mean(axis=1, keepdims=True)).ravel(), assets, starts,
        half_life=np.inf,
    )  # fmt: skip
    assert 2.9 < fixed.kurtosis[-1] < 3.4


def test_an_uncertain_log_variance_is_shrunk_to_its_prior():
    rng = np.random.default_rng(4)
    truth = rng.normal(0, 0.5, 5000)
    effective = np.repeat([5.0, 50.0, 500.0, 1.0, 10.0], 1000)
    logs = truth + rng.standard_normal(5000) * np.sqrt(2 / effective)
    everyone = np.ones(5000, dtype=bool)
    answer = blended(logs, np.zeros(5000), effective, 3.0, everyone)
    own = 0.25 / (0.25 + 2 / effective)
    assert_allclose(1 - answer.prior_weight, own, atol=0.05)
    share = 1 - answer.prior_weight
    # The spread of true values that these shares imply, and half of what is left of it.
    spread = share / (1 - share) * 2 / effective
    assert_allclose(spread, 0.25, rtol=0.1)
    assert_allclose(np.log(answer.variance), share * logs + (1 - share) * spread / 2, atol=1e-12)
    # So the mean of true variances is that of the forecasts, for known and for unknown assets.
    for some in (effective == 1, effective == 500):
        assert_allclose(answer.variance[some].mean(), np.exp(truth[some]).mean(), rtol=0.06)


def test_what_is_not_known_is_left_to_what_is():
    logs = np.array([0.1, np.nan, 0.3, np.nan, -0.2])
    prior = np.array([0.0, 0.5, np.nan, np.nan, 0.0])
    effective = np.array([50.0, np.nan, 50.0, np.nan, 50.0])
    answer = blended(logs, prior, effective, 3.0, np.isfinite(logs))
    share = 1 - answer.prior_weight[0]
    spread = share / (1 - share) * 2 / 50
    assert_allclose(answer.variance[[1, 2]], np.exp([0.5 + spread / 2, 0.3]))
    assert np.isnan(answer.variance[3])
    assert_array_equal(answer.prior_weight[[1, 2]], [1, 0])
    assert np.isnan(answer.prior_weight[3])
    nobody = blended(logs[1:2], prior[1:2], effective[1:2], 3.0, np.zeros(1, dtype=bool))
    assert_allclose(nobody.variance, np.exp(0.5), rtol=1e-4)


def test_without_a_spread_beyond_sampling_the_prior_has_nearly_all_weight():
    effective = np.full(50, 30.0)
    answer = blended(np.zeros(50), np.zeros(50), effective, 3.0, np.ones(50, dtype=bool))
    assert ((answer.prior_weight > 0.99) & (answer.prior_weight < 1)).all()
    assert_allclose(answer.variance, 1, rtol=1e-4)


def test_log_variances_lose_the_bias_of_their_sampling():
    rng = np.random.default_rng(6)
    sample = np.square(rng.standard_normal((40_000, 30))).mean(axis=1)
    logs = log_variances(sample, np.full(40_000, 30.0), np.full(40_000, 3.0))
    assert abs(logs.mean()) < 0.005 < abs(np.log(sample).mean())
    assert np.isnan(log_variances(np.zeros(1), np.ones(1), np.full(1, 3.0))).all()
