"""Simulate what forecasts of risk are worth: `python tests/benchmarks/simulate_risk.py`.

Prints volatilities and variances that came true over those that were forecast, on markets whose
truth is known; in parentheses what the contract of the risk wing measured or allows. Every cell has
its own seed, so that any of them alone gives the same numbers.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import numpy as np
import polars as pl
from other_forecasts import monte_carlo_eigenfactors, variances_of_weighted_returns

from vbase_py_utils import bias_statistics, factor_covariance, fit_cross_sections, specific_risk
from vbase_py_utils.kernel.factor_covariances import CovarianceOptions, covariances

TAILS = {"normal": np.inf, "t4": 4, "t3": 3}


def draws(rng, df, shape):
    """Student's t, or normal numbers for infinite ``df``, of variance one."""
    if np.isinf(df):
        return rng.standard_normal(shape)
    return rng.standard_t(df, shape) * np.sqrt((df - 2) / df)


def options(**changed):
    """Options of the covariance: a half-life of 84 and nothing else."""
    defaults = {
        "half_life": 84.0,
        "correlation_half_life": changed.get("half_life", 84.0),
        "lags": 0,
        "correlation_lags": changed.get("lags", 0),
        "min_periods": 60,
        "shrink": False,
        "regime_half_life": None,
    }
    return CovarianceOptions(**(defaults | changed))


# Line 3: 60 factors, half-life 90. True over predicted volatility: raw, shrunk.
MONTE_CARLO_SCALES = (1.0, 1.4)
EXPECTED_FACTORS = {"optimal": ("1.260", "0.992"), "pure": ("1.005", "1.005")}


def true_covariance(rng, k):
    """Covariance of a market, whose eigenvalues fall as in practice: some large, many small."""
    loadings = rng.standard_normal((k, 5)) * np.array([0.8, 0.6, 0.5, 0.4, 0.3])
    correlation = loadings @ loadings.T + np.diag(np.exp(0.5 * rng.standard_normal(k)))
    scale = np.sqrt(np.diagonal(correlation)) / (0.005 * np.exp(0.5 * rng.standard_normal(k)))
    return correlation / np.outer(scale, scale)


def factor_bias(shrink, df=np.inf, n_draws=60, k=60, half_life=90, periods=700, scale=None):
    """True over predicted volatility of optimal portfolios of factors, and of pure factors.

    With a ``scale``, eigenfactors are adjusted by Monte Carlo.
    """
    rng = np.random.default_rng([3, k, half_life])
    wanted = np.arange(periods + 1) == periods
    ratios = {"optimal": [], "pure": []}
    for _ in range(n_draws):
        truth = true_covariance(rng, k)
        returns = draws(rng, df, (periods, k)) @ np.linalg.cholesky(truth).T
        forecast = covariances(returns, wanted, options(half_life=half_life, shrink=shrink))[:, 0]
        if scale is not None:
            own = np.random.default_rng(len(ratios["pure"]))
            forecast = monte_carlo_eigenfactors(forecast, half_life, periods, own, scale=scale)
        alpha = rng.standard_normal((k, 50)) * np.sqrt(np.diagonal(truth))[:, None]
        weights = np.linalg.solve(forecast, alpha)
        true, predicted = ((weights * (m @ weights)).sum(axis=0) for m in (truth, forecast))
        ratios["optimal"].append(true / predicted)
        ratios["pure"].append(np.diagonal(truth) / np.diagonal(forecast))
    return {name: float(np.sqrt(np.mean(values))) for name, values in ratios.items()}


# Line 6: the simulated market. Bias with errors subtracted and regime; MRAD of all at most 0.21.
EXPECTED_MARKET = {
    "equal-weight market": "1.007",
    "60 stocks": "1.003",
    "60 stocks, active": "0.998",
    "style tilts": "1.011",
    "optimal": "0.997",
}
EXPECTED_MRAD = {True: "at most 0.21", False: "0.27-0.29"}
N_STYLES = 8
STYLES = [f"style{j}" for j in range(N_STYLES)]
TESTED = 748
PORTFOLIOS = 20


class Market(NamedTuple):
    """T periods of N assets: exposures (T, N, 9), correct returns, and those that are seen."""

    exposures: np.ndarray
    returns: np.ndarray
    seen: np.ndarray


def log_volatility(rng, periods, shock, jump, start):
    """A first-order autoregression, and a jump for 50 periods."""
    path = np.empty(periods)
    path[0] = shock / np.sqrt(1 - 0.985**2) * rng.standard_normal()
    for t in range(1, periods):
        path[t] = 0.985 * path[t - 1] + shock * rng.standard_normal()
    path[start : start + 50] += jump
    return path


def simulated_market(rng, n=400, periods=1000):
    """A market factor and eight styles, volatilities that move and jump, and wrong returns."""
    exposures = np.ones((periods, n, 1 + N_STYLES))
    styles = rng.standard_normal((n, N_STYLES))
    for t in range(periods):
        styles = 0.99 * styles + np.sqrt(1 - 0.99**2) * rng.standard_normal(styles.shape)
        exposures[t, :, 1:] = styles - styles.mean(axis=0)
    start = int(rng.integers(periods // 2, periods - 150))
    factor_scale = np.exp(log_volatility(rng, periods, 0.06, 0.8, start))
    specific_scale = np.exp(log_volatility(rng, periods, 0.04, 0.6, start))
    volatility = np.r_[0.01, rng.uniform(0.0015, 0.004, N_STYLES)]
    mixing = np.linalg.cholesky(np.corrcoef(rng.standard_normal((1 + N_STYLES, 40))))
    factors = rng.standard_normal((periods, 1 + N_STYLES)) @ mixing.T * volatility
    factors *= factor_scale[:, None]
    own = 0.02 * np.exp(0.4 * rng.standard_normal(n))
    specific = draws(rng, 4, (periods, n)) * own * specific_scale[:, None]
    returns = np.einsum("tnk,tk->tn", exposures, factors) + specific
    wrong = rng.random(returns.shape) < 0.0005
    return Market(exposures, returns, np.where(wrong, 10.0, 1.0) * returns)


def fitted(market):
    """Robust fits of the returns that are seen."""
    periods, n, _ = market.exposures.shape
    panel = pl.DataFrame(
        {
            "period": np.repeat(np.arange(periods), n),
            "asset": np.tile(np.arange(n), periods),
            "return": market.seen.ravel(),
            **dict(zip(STYLES, market.exposures[:, :, 1:].reshape(-1, N_STYLES).T, strict=True)),
        }
    )
    return fit_cross_sections(panel, STYLES, intercept=True)


def forecasts(fits, n, regime, subtract_errors=True):
    """Covariances (T, 9, 9) and specific risks (T, N), missing at first."""
    covariance = factor_covariance(
        fits,
        half_life=84,
        correlation_half_life=252,
        regime_half_life=regime,
        subtract_errors=subtract_errors,
    )
    blocks = covariance.drop("period", "factor").to_numpy()
    k = blocks.shape[1]
    risk = specific_risk(fits, regime_half_life=regime, cut=10).sort("period", "asset")
    return blocks.reshape(-1, k, k), risk["specific_risk"].to_numpy().reshape(-1, n)


def portfolios(rng, n):
    """Weights that stay, (portfolios, N) by kind, and what is drawn for the others."""
    market = np.full((1, n), 1 / n)
    some = np.zeros((PORTFOLIOS, n))
    for row in some:
        row[rng.choice(n, 60, replace=False)] = rng.uniform(0.5, 1.5, 60)
    some /= some.sum(axis=1, keepdims=True)
    fixed = {
        "equal-weight market": market,
        "60 stocks": some,
        "60 stocks, active": some - market,
    }
    return fixed, rng.standard_normal((PORTFOLIOS, 1 + N_STYLES + n))


def moving_weights(alphas, exposures, covariance, risk):
    """Style tilts, and portfolios that are optimal for expected returns that factors explain."""
    tilts = exposures[:, 1:].T / np.abs(exposures[:, 1:]).sum(axis=0)[:, None]
    k = exposures.shape[1]
    factor_alphas = alphas[:, :k] * np.sqrt(np.diagonal(covariance))
    # Of the Sharpe ratios to be had, half is in factors and half in assets.
    own_alphas = alphas[:, k:] * risk * np.sqrt(k / len(risk))
    alpha = (factor_alphas @ exposures.T + own_alphas).T
    scaled = exposures / np.square(risk)[:, None]
    inner = np.linalg.inv(covariance) + exposures.T @ scaled
    weights = alpha / np.square(risk)[:, None]
    weights -= scaled @ np.linalg.solve(inner, exposures.T @ weights)
    return {"style tilts": tilts, "optimal": weights.T}


def market_tests(fits, market, regime, seed, subtract_errors=True):
    """Bias and MRAD by kind of portfolio, over the last periods: means over its portfolios."""
    periods, n, _ = market.exposures.shape
    blocks, risks = forecasts(fits, n, regime, subtract_errors)
    fixed, alphas = portfolios(np.random.default_rng([6, seed, 1]), n)
    rows = []
    for t in range(periods - TESTED, periods):
        exposures, covariance, risk = market.exposures[t], blocks[t], risks[t]
        moving = moving_weights(alphas, exposures, covariance, risk)
        for kind, weights in {**fixed, **moving}.items():
            x = weights @ exposures
            variance = ((x @ covariance) * x).sum(axis=1) + np.square(weights) @ np.square(risk)
            returns = weights @ market.returns[t]
            rows += [
                (t, f"{kind}/{i}", r, np.sqrt(v))
                for i, (r, v) in enumerate(zip(returns, variance, strict=True))
            ]
    frame = pl.DataFrame(rows, schema=["period", "portfolio", "return", "risk"], orient="row")
    pairs = frame.drop("risk"), frame.drop("return")
    whole = bias_statistics(*pairs, by="portfolio").select("portfolio", "bias")
    windows = bias_statistics(*pairs, window=63, by="portfolio").select("portfolio", "mrad")
    kind = pl.col("portfolio").str.split("/").list.first().alias("kind")
    tests = whole.join(windows, on="portfolio").group_by(kind)
    means = tests.agg(pl.col("bias", "mrad").mean())
    return {kind: (bias, mrad) for kind, bias, mrad in means.rows()}


def market_bias(seeds, regimes=(42.0, None), subtract_errors=True):
    """Bias and MRAD by regime and kind: means over markets."""
    tests = {regime: [] for regime in regimes}
    for seed in seeds:
        market = simulated_market(np.random.default_rng([6, seed]))
        fits = fitted(market)
        for regime in regimes:
            tests[regime].append(market_tests(fits, market, regime, seed, subtract_errors))
    return {
        regime: {
            kind: tuple(np.mean([test[kind] for test in some], axis=0)) for kind in EXPECTED_MARKET
        }
        for regime, some in tests.items()
    }


# Line 7: mean forecast variance over true variance, with regime.
EXPECTED_LEVEL = "0.93 to 1.09"


def variance_levels(tails, k, samples=15, periods=3000):
    """Mean forecast variance over true variance of independent returns, in each sample.

    At t3 squares have no variance, and a single return can double the mean of a sample: the median
    over the samples is what can be tested.
    """
    levels = []
    for sample in range(samples):
        rng = np.random.default_rng([7, k, sample, len(tails), ord(tails[-1])])
        returns = draws(rng, TAILS[tails], (periods, k))
        levels.append(mean_variance(returns, regime_half_life=42.0))
    return levels


def mean_variance(returns, **changed):
    """Mean of the variances that are forecast every fifth period, after 500."""
    periods = len(returns)
    wanted = (np.arange(periods + 1) >= 500) & (np.arange(periods + 1) % 5 == 0)
    return float(np.einsum("iti->it", covariances(returns, wanted, options(**changed))).mean())


# Line 1: 5 lags of white noise, and moving averages of one lag, by Bartlett's exact weights.
THETAS = (0.0, 0.2, -0.2)
LAGS = (0, 2, 5, 10)


def bartlett_variance(theta, lags):
    """What the weights give of x_t = e_t + theta e_{t-1}."""
    return 1 + theta**2 + 2 * theta * (1 - 1 / (lags + 1))


def lagged_variance(theta, lags, periods=5000, k=40):
    """Mean variance of moving averages with autocovariances."""
    noise = np.random.default_rng([1, lags, int(10 * abs(theta))]).standard_normal((periods + 1, k))
    return mean_variance(noise[1:] + theta * noise[:-1], lags=lags)


# Line 8: specific risk.
EXPECTED_SPECIFIC = {
    "portfolios": "0.98 to 1.03",
    "fifths": "0.96 to 1.04",
    "QLIKE": "no limit",
    "QLIKE, wrong returns": "at most 0.030",
}


def qlike(truth, forecast):
    """Mean of v / s2 - ln(v / s2) - 1."""
    ratio = truth / forecast
    return float(np.mean(ratio - np.log(ratio) - 1))


def as_frame(specific):
    """Make a long frame of specific returns (T, n), those that are NaN left out."""
    periods, n = specific.shape
    frame = pl.DataFrame(
        {
            "period": np.repeat(np.arange(periods), n),
            "asset": np.tile(np.arange(n), periods),
            "specific_return": specific.ravel(),
        }
    )
    return frame.filter(pl.col("specific_return").is_not_nan())


OWN_CUT, NO_CUT, WEIGHTED = "cut at its own risk", "not cut", "times robustness weights"


def specific_tests(wrong=0.0, n=1000, periods=700, tested=200, way=OWN_CUT):
    """Bias of portfolios, fifths by volatility, and QLIKE of specific risk at t4."""
    rng = np.random.default_rng([8, n, round(1e4 * wrong)])
    volatility = 0.02 * np.exp(0.4 * rng.standard_normal(n))
    specific = draws(rng, 4, (periods, n)) * volatility
    specific[rng.random(specific.shape) < wrong] *= 10
    if way == WEIGHTED:
        forecast = variances_of_weighted_returns(specific, half_life=84)[-tested:]
    else:
        cut = {} if way == OWN_CUT else {"cut": np.inf}
        risk = specific_risk(as_frame(specific), **cut).sort("period", "asset")["specific_risk"]
        forecast = np.square(risk.to_numpy().reshape(periods, n)[-tested:])
    truth = np.broadcast_to(np.square(volatility), forecast.shape)
    squares = np.zeros((100, n))
    for row in squares:
        row[rng.choice(n, 60, replace=False)] = rng.uniform(0.5, 1.5, 60) ** 2
    bias = np.sqrt(np.mean((truth @ squares.T) / (forecast @ squares.T)))
    fifths = [
        float(np.sqrt(forecast[:, own].mean() / truth[:, own].mean()))
        for own in np.array_split(np.argsort(volatility), 5)
    ]
    return {"portfolios": float(bias), "fifths": fifths, "QLIKE": qlike(truth, forecast)}


# Assets without history, or a short one: tails, and the standard deviation of log volatilities
# about their structure.
YOUNG_MARKETS = (("normal", 0.25), ("t4", 0.05), ("t4", 0.25), ("t4", 0.6))
SLOPES = np.array([-0.25, 0.15, -0.1, 0.1])  # of log volatilities; the first is of size
EXPOSURES = ["size", "x1", "x2", "x3"]
MIN_PERIODS = 20
BAYES = "empirical Bayes"
WAYS = ("median", "median of size decile", "mean of size decile")


class Young(NamedTuple):
    """Assets with a short history, and those without any: QLIKE of each by way to fill.

    ``missing`` of ``rows`` have no forecast.
    """

    short: dict[str, float]
    new: dict[str, float]
    missing: int
    rows: int


def young_market(tails, residual, seed, n=500, periods=400):
    """Log volatilities that exposures explain, half of the assets new in the last 40 periods."""
    rng = np.random.default_rng([88, len(tails), round(100 * residual), seed])
    exposures = rng.standard_normal((n, len(SLOPES)))
    log_volatility = exposures @ SLOPES + residual * rng.standard_normal(n)
    specific = 0.02 * np.exp(log_volatility) * draws(rng, TAILS[tails], (periods, n))
    first = np.where(rng.random(n) < 0.5, 0, rng.integers(periods - 40, periods, n))
    specific[np.arange(periods)[:, None] < first] = np.nan
    return exposures, np.square(0.02 * np.exp(log_volatility)), specific


def tested_panel(exposures, specific, tested):
    """The exposures of the last periods, for assets that are there."""
    frame = as_frame(specific).drop("specific_return")
    frame = frame.filter(pl.col("period") >= len(specific) - tested)
    at = frame["asset"].to_numpy()
    return frame.with_columns(pl.Series(name, exposures[at, j]) for j, name in enumerate(EXPOSURES))


def young_rows(tails, residual, seed, tested=20, **market):
    """Forecasts of young assets in the last periods by empirical Bayes and by other ways."""
    exposures, truth, specific = young_market(tails, residual, seed, **market)
    panel = tested_panel(exposures, specific, tested)
    long = as_frame(specific)
    shrunk = specific_risk(long, exposures=EXPOSURES, panel=panel, min_periods=MIN_PERIODS)
    own = specific_risk(long, min_periods=MIN_PERIODS).select(
        "period", "asset", own="specific_risk"
    )
    keys = ["period", "asset"]
    rank = pl.col("size").rank("ordinal").over("period") - 1
    known = pl.col("own")
    return (
        panel.join(shrunk.rename({"specific_risk": BAYES}), on=keys, how="left")
        .join(own, on=keys, how="left")
        .with_columns((rank * 10 // pl.len().over("period")).alias("decile"))
        .with_columns(
            known.median().over("period").alias("median"),
            known.median().over("period", "decile").alias("median of size decile"),
            known.mean().over("period", "decile").alias("mean of size decile"),
            pl.Series("truth", truth[panel["asset"].to_numpy()]),
        )
        .filter(pl.col("n_periods") < MIN_PERIODS)
    )


def young_tests(tails, residual, seeds, **market):
    """Compare empirical Bayes with the median and with deciles of size, over several markets."""
    rows = pl.concat(young_rows(tails, residual, seed, **market) for seed in seeds)
    new = rows.filter(pl.col("n_periods") == 0)
    some = rows.filter(pl.col("n_periods") > 0)
    short, without = (
        {way: qlike(part["truth"].to_numpy(), part[way].to_numpy() ** 2) for way in (BAYES, *WAYS)}
        for part in (some, new)
    )
    return Young(short, without, rows[BAYES].null_count(), rows.height)


def table(*columns):
    print("\n| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))


def row(*cells):
    print("| " + " | ".join(cells) + " |", flush=True)


def print_factors(quick):
    print("True over predicted volatility, 60 factors, half-life 90:")
    adjusted = [f"Monte Carlo, {scale:g} times" for scale in MONTE_CARLO_SCALES]
    table("portfolios", "returns", "raw", "shrunk", *adjusted)
    for tails in ("normal", "t4"):
        raw, shrunk = (factor_bias(s, TAILS[tails], 8 if quick else 60) for s in (False, True))
        simulated = [
            factor_bias(False, TAILS[tails], 2 if quick else 20, scale=scale)
            for scale in MONTE_CARLO_SCALES
        ]
        for name, theirs in EXPECTED_FACTORS.items():
            ours = [
                f"{a[name]:.3f}" + f" ({b})" * (tails == "normal")
                for a, b in zip((raw, shrunk), theirs, strict=True)
            ]
            row(name, tails, *ours, *(f"{other[name]:.3f}" for other in simulated))


def print_market(quick):
    print("\nSimulated market, with regime and without:")
    table("portfolios", "bias", "MRAD", "bias without", "MRAD without")
    tests = market_bias(range(1 if quick else 8))
    for kind, theirs in EXPECTED_MARKET.items():
        (bias, mrad), (other, worse) = tests[42.0][kind], tests[None][kind]
        row(
            kind,
            f"{bias:.3f} ({theirs})",
            f"{mrad:.3f} ({EXPECTED_MRAD[True]})",
            f"{other:.3f}",
            f"{worse:.3f} ({EXPECTED_MRAD[False]})",
        )


def print_levels(quick):
    print("\nMean forecast variance over true variance, with regime:")
    table("returns", "factors", "median over samples", "mean over samples")
    for tails in TAILS:
        for k in (10, 40):
            levels = variance_levels(tails, k, *((5, 1500) if quick else (15, 3000)))
            median, mean = f"{np.median(levels):.3f} ({EXPECTED_LEVEL})", f"{np.mean(levels):.3f}"
            row(tails, str(k), median, mean)
    print("\nVariance of moving averages of one lag, by lags and theta:")
    table("lags", *map(str, THETAS))
    for lags in LAGS:
        ours = [lagged_variance(theta, lags, 2000 if quick else 5000) for theta in THETAS]
        exact = [bartlett_variance(theta, lags) for theta in THETAS]
        row(str(lags), *(f"{a:.3f} ({b:.3f})" for a, b in zip(ours, exact, strict=True)))


def print_specific(quick):
    print("\nSpecific risk at t4, from returns that are")
    ways = OWN_CUT, NO_CUT, WEIGHTED
    table("measure", *ways)
    n = 300 if quick else 1000
    right, wrong = ([specific_tests(share, n, way=way) for way in ways] for share in (0, 0.001))
    shown = {
        "portfolios": [f"{test['portfolios']:.3f}" for test in right],
        "fifths": [" ".join(f"{fifth:.2f}" for fifth in test["fifths"]) for test in right],
        "QLIKE": [f"{test['QLIKE']:.3f}" for test in right],
        "QLIKE, wrong returns": [f"{test['QLIKE']:.3f}" for test in wrong],
    }
    for name, (ours, *others) in shown.items():
        row(name, f"{ours} ({EXPECTED_SPECIFIC[name]})", *others)
    print("\nQLIKE of assets with a short history, and of those without any (least is best):")
    table("market", BAYES, *WAYS, "missing")
    for tails, residual in YOUNG_MARKETS:
        young = young_tests(tails, residual, range(2 if quick else 12))
        shown_ways = (f"{young.short[way]:.3f}, {young.new[way]:.3f}" for way in (BAYES, *WAYS))
        row(f"{tails}, {residual}", *shown_ways, f"{young.missing} of {young.rows} (0)")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer draws, periods and assets")
    quick = parser.parse_args(arguments).quick
    for part in (print_factors, print_market, print_levels, print_specific):
        part(quick)


if __name__ == "__main__":
    main()
