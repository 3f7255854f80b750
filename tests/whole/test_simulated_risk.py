"""What forecasts of risk are worth, simulated: the contract's limits; all with `pytest -m slow`."""

from __future__ import annotations

import numpy as np
import pytest
import simulate_risk
from simulate_risk import (
    BAYES,
    EXPECTED_MARKET,
    NO_CUT,
    OWN_CUT,
    TAILS,
    THETAS,
    WAYS,
    WEIGHTED,
    YOUNG_MARKETS,
)

slow = pytest.mark.slow
# Two standard errors of a bias over the periods that are tested.
TWO_ERRORS = 0.052
REGIME = 42.0


@pytest.mark.parametrize(
    ("tails", "n_draws"),
    [("normal", 12), pytest.param("normal", 100, marks=slow), pytest.param("t4", 100, marks=slow)],
)
def test_shrunk_correlations_are_right_about_optimal_portfolios(tails, n_draws):
    raw, shrunk = (simulate_risk.factor_bias(s, TAILS[tails], n_draws) for s in (False, True))
    assert 0.95 <= shrunk["optimal"] <= 1.05
    assert 0.98 <= shrunk["pure"] <= 1.02
    assert raw["optimal"] > 1.2
    assert raw["optimal"] == pytest.approx(1.26, abs=0.02) or tails != "normal"


def check_market(tests):
    for kind in EXPECTED_MARKET:
        bias, mrad = tests[REGIME][kind]
        assert bias == pytest.approx(1, abs=TWO_ERRORS), kind
        assert mrad <= 0.21, kind
        assert mrad < tests[None][kind][1], kind


def test_risk_of_portfolios_is_right_in_a_simulated_market():
    check_market(simulate_risk.market_bias(range(2)))


@slow
def test_risk_of_portfolios_is_right_over_many_markets():
    check_market(simulate_risk.market_bias(range(12)))


@pytest.mark.parametrize("k", [10, pytest.param(40, marks=slow)])
@pytest.mark.parametrize("tails", TAILS)
def test_the_regime_leaves_the_level_of_variances(tails, k):
    assert 0.93 <= np.median(simulate_risk.variance_levels(tails, k)) <= 1.09


@slow
@pytest.mark.parametrize("tails", TAILS)
def test_the_regime_leaves_the_level_of_variances_in_many_samples(tails):
    assert 0.93 <= np.median(simulate_risk.variance_levels(tails, 10, samples=60)) <= 1.09


@pytest.mark.parametrize("k", [40, pytest.param(160, marks=slow)])
def test_lags_leave_the_variance_of_white_noise(k):
    assert 0.98 <= simulate_risk.lagged_variance(0.0, 5, k=k) <= 1.02


MOVING = [
    pytest.param(theta, lags, marks=() if (theta, lags) in [(0.2, 5), (-0.2, 2)] else slow)
    for theta in THETAS
    for lags in simulate_risk.LAGS
]


@pytest.mark.parametrize(("theta", "lags"), MOVING)
def test_lags_give_the_variance_of_moving_averages(theta, lags):
    exact = simulate_risk.bartlett_variance(theta, lags)
    assert simulate_risk.lagged_variance(theta, lags) == pytest.approx(exact, rel=0.03)


SIZES = [500, pytest.param(2000, marks=slow)]


@pytest.mark.parametrize("n", SIZES)
def test_specific_risk_is_right_at_t4(n):
    tests = simulate_risk.specific_tests(n=n)
    assert 0.98 <= tests["portfolios"] <= 1.03
    assert tests["fifths"] == pytest.approx([1] * 5, abs=0.04)


@pytest.mark.parametrize("n", SIZES)
def test_wrong_returns_do_specific_risk_little_harm(n):
    assert simulate_risk.specific_tests(0.001, n)["QLIKE"] <= 0.03


def test_robustness_weights_would_hide_how_volatile_an_asset_is():
    tests = simulate_risk.specific_tests(n=500, way=WEIGHTED)
    assert tests["portfolios"] > 1.5
    assert tests["fifths"][-1] < 0.6
    wrong = [simulate_risk.specific_tests(0.001, 500, way=w)["QLIKE"] for w in (OWN_CUT, NO_CUT)]
    assert wrong[0] < wrong[1]


def test_monte_carlo_adjusts_what_shrinkage_does():
    """The same direction as shrinkage; how far depends on a scale that nobody knows."""
    raw = simulate_risk.factor_bias(False, n_draws=2)["optimal"]
    adjusted = [
        simulate_risk.factor_bias(False, n_draws=2, scale=s)["optimal"] for s in (0.0, 1.0, 1.4)
    ]
    assert adjusted[0] == pytest.approx(raw, rel=1e-9)
    assert raw > adjusted[1] > adjusted[2] > 0.95


@pytest.mark.parametrize("n_markets", [3, pytest.param(16, marks=slow)])
@pytest.mark.parametrize(("tails", "residual"), YOUNG_MARKETS)
def test_exposures_tell_most_about_assets_with_a_short_history(tails, residual, n_markets):
    young = simulate_risk.young_tests(tails, residual, range(n_markets))
    assert young.missing == 0
    for way in WAYS:
        assert young.short[BAYES] < young.short[way], way
        assert young.new[BAYES] < young.new[way], way


def test_the_recipe_prints_its_tables(capsys):
    simulate_risk.main(["--quick"])
    printed = capsys.readouterr().out
    for text in (*EXPECTED_MARKET, *TAILS, *WAYS, "optimal", "fifths"):
        assert text in printed
    assert printed.count("(") > 40  # the contract's figures beside ours
    assert "nan" not in printed
