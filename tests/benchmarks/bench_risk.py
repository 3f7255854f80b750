"""Forecasts of risk beside skfolio's: all periods, each from those before it.

skfolio's estimators go on from period to period with ``partial_fit``; here that is done for every
period, as a backtest does. Figures are CPU seconds, medians of rounds in which all take their turn.
"""

from __future__ import annotations

import warnings
from statistics import median

import memory
import numpy as np
import polars as pl
import workloads
from timing import cpu, ratio, table, time_in_turn

from vbase_py_utils import (
    attribution,
    factor_covariance,
    factor_exposures,
    fit_cross_sections,
    portfolio_risk,
    specific_risk,
)

HALF_LIFE, REGIME = 84, 42


def simulated_factors(n_periods, n_factors):
    """Factor returns, t distributed, in a wide frame."""
    rng = np.random.default_rng(20261129)
    returns = 0.01 * rng.standard_t(5, (n_periods, n_factors))
    return pl.DataFrame({"period": np.arange(n_periods)}).hstack(
        [pl.Series(f"f{i}", column) for i, column in enumerate(returns.T)]
    )


def simulated_specific(n_periods, n_assets, *, text):
    """Specific returns, t distributed, of the same assets in every period."""
    rng = np.random.default_rng(20261130)
    sd = 0.02 * rng.lognormal(0, 0.4, n_assets)
    numbers = rng.permutation(n_assets)
    assets = pl.Series([f"asset {i:05}" for i in numbers] if text else numbers)
    return pl.DataFrame(
        {
            "period": np.repeat(np.arange(n_periods), n_assets),
            "asset": assets.gather(np.tile(np.arange(n_assets), n_periods)),
            "specific_return": (sd * rng.standard_t(4, (n_periods, n_assets))).ravel(),
        }
    )


def covariance_calls(frame):
    """Ways to the covariances of all periods."""
    values = frame.drop("period").to_numpy()
    calls = {
        "`factor_covariance`, raw": lambda: factor_covariance(frame, shrink=False),
        "shrunk": lambda: factor_covariance(frame),
        "shrunk, 5 lags, regime": lambda: factor_covariance(
            frame, lags=5, correlation_lags=5, correlation_half_life=252, regime_half_life=REGIME
        ),
    }
    moments = contestants_of_skfolio()
    if moments:
        calls["skfolio `EWCovariance`"] = lambda: one_by_one(
            moments.EWCovariance(half_life=HALF_LIFE), values, "covariance_"
        )
        calls["skfolio `RegimeAdjustedEWCovariance`, 5 lags"] = lambda: one_by_one(
            moments.RegimeAdjustedEWCovariance(
                half_life=HALF_LIFE, corr_half_life=252, hac_lags=5, regime_half_life=REGIME
            ),
            values,
            "covariance_",
        )
    return calls


def specific_calls(numbers, text):
    """Ways to the specific risk of all assets in all periods."""
    regime = {"regime_half_life": REGIME}
    calls = {
        "`specific_risk`, integer assets": lambda: specific_risk(numbers),
        "text assets": lambda: specific_risk(text),
        "integer assets, 5 lags, regime": lambda: specific_risk(numbers, lags=5, **regime),
    }
    moments = contestants_of_skfolio()
    if moments:
        values = numbers["specific_return"].to_numpy().reshape(numbers["period"].n_unique(), -1)
        calls["skfolio `RegimeAdjustedEWVariance`, an array"] = lambda: one_by_one(
            moments.RegimeAdjustedEWVariance(half_life=HALF_LIFE, regime_half_life=REGIME),
            values,
            "variance_",
        )
        calls["the same with 5 lags"] = lambda: one_by_one(
            moments.RegimeAdjustedEWVariance(
                half_life=HALF_LIFE, hac_lags=5, regime_half_life=REGIME
            ),
            values,
            "variance_",
        )
    return calls


def contestants_of_skfolio():
    """skfolio's estimators; None if it is not installed."""
    try:
        from skfolio import moments
    except ImportError:
        return None
    return moments


def one_by_one(estimator, values, name):
    """Take in the rows one by one, and keep what the estimator says after each."""
    answers = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of every covariance that it repairs
        for i in range(len(values)):
            estimator.partial_fit(values[i : i + 1])
            answers.append(np.array(getattr(estimator, name)))
    return answers


def forecasts_of_risk(quick, repetitions):
    """Print CPU times of both, and the peak memory of specific risk."""
    n_periods, n_factors, n_assets = (125, 60, 500) if quick else (2500, 60, 5000)
    frame = simulated_factors(n_periods, n_factors)
    print_times(
        f"{n_periods} covariances of {n_factors} factors", covariance_calls(frame), repetitions
    )
    numbers, text = (simulated_specific(n_periods, n_assets, text=t) for t in (False, True))
    size = f"{n_periods} periods x {n_assets} assets"
    print_times(size, specific_calls(numbers, text), repetitions)
    peaks = [f"{memory.peak(f, 'specific_risk'):.1f}" for f in (numbers, text)]
    table(
        [size, "integer assets", "text assets"],
        [["peak memory of `specific_risk` over the panel", *peaks]],
    )


def of_portfolios(quick, repetitions):
    """Print CPU times of risk and attribution, per portfolio and period."""
    n_assets, n_factors, n_periods = (500, 10, 5) if quick else (5000, 60, 100)
    panel = workloads.balanced(n_assets, n_factors, n_periods)
    fits = fit_cross_sections(panel.frame, panel.exposures, huber_t=np.inf)
    names = panel.exposures
    blocks = pl.DataFrame(
        {"period": np.repeat(np.arange(n_periods), n_factors), "factor": names * n_periods}
    ).hstack([pl.Series(name, np.tile(row, n_periods)) for name, row in
              zip(names, 1e-4 * np.eye(n_factors), strict=True)])  # fmt: skip
    keys = panel.frame.select("period", "asset")
    risks = keys.with_columns(specific_risk=0.02)
    rows = []
    for count, held in ((1, n_assets), (20, n_assets), (20, n_assets // 20)):
        weights = pl.concat(
            keys.filter((pl.col("asset") + i) % n_assets < held).with_columns(
                portfolio=pl.lit(f"p{i:02}"), weight=1 / held
            )
            for i in range(count)
        ).sort("period", "portfolio", maintain_order=True)
        lazy = portfolio_risk(weights.lazy(), panel.frame, fits, blocks, risks)
        calls = {
            "factor_exposures": lambda w=weights: factor_exposures(w, panel.frame, fits),
            "summary": lambda r=lazy: r.summary.collect(),
            "all frames": lambda w=weights: portfolio_risk(w, panel.frame, fits, blocks, risks),
            "attribution": lambda w=weights: attribution(fits, w, panel.frame),
        }
        times = time_in_turn(calls, repetitions)
        each = 1000 / count / n_periods
        shown = (f"{each * median(took.cpu for took in times[name]):.2f} ms" for name in calls)
        rows.append([f"{count} x {held} assets", *shown])
    title = f"portfolios in {n_assets} assets x {n_factors} factors, per portfolio and period"
    header = ["`factor_exposures`", "`portfolio_risk`, summary", "all frames", "`attribution`"]
    table([title, *header], rows)


def print_times(title, calls, repetitions):
    times = time_in_turn(calls, repetitions)
    first = next(iter(calls))
    table(
        [title, "CPU seconds", "over the first"],
        [[name, cpu(times[name]), f"{ratio(times, name, first):.2f}"] for name in calls],
    )
