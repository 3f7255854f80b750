"""Simulate what the p-values of factor returns are worth: `just simulate-errors`.

Prints how often a nominal 5 % test rejects a factor return that is zero, for every kind of standard
error, and how far bad rows move the estimates; beside them in parentheses what a prototype in NumPy
gave. Every cell has its own seed, so that any of them alone gives the same numbers.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import polars as pl

from vbase_py_utils import factor_returns, fit_cross_sections

RATIOS = (2, 3, 4, 6, 10, 20)
PERIODS = 2000
N_SECTORS = 12


class Market(NamedTuple):
    """Periods of n assets: exposures (T, n, k), returns without factors (T, n), weights or None."""

    X: np.ndarray
    y: np.ndarray
    w: np.ndarray | None = None


def normal(rng, periods, n, k):
    """A constant and k - 1 exposures."""
    X = rng.standard_normal((periods, n, k))
    X[:, :, 0] = 1.0
    return Market(X, rng.standard_normal((periods, n)))


def heavy_tails(rng, periods, n, k):
    return normal(rng, periods, n, k)._replace(y=rng.standard_t(3, (periods, n)))


def contaminated(rng, periods, n, k):
    market = normal(rng, periods, n, k)
    wild = rng.random((periods, n)) < 0.1
    return market._replace(y=np.where(wild, 5.0, 1.0) * market.y)


def inverse_variance(rng, periods, n, k):
    market = normal(rng, periods, n, k)
    variance = rng.lognormal(0, 1, (periods, n))
    return market._replace(y=market.y * np.sqrt(variance), w=1 / variance)


def wrong_weights(rng, periods, n, k):
    return normal(rng, periods, n, k)._replace(w=rng.lognormal(0, 1, (periods, n)))


def wide_weights(rng, periods, n, k):
    """Weights that are no inverse variances, as wide as market values can be."""
    return normal(rng, periods, n, k)._replace(w=rng.lognormal(0, 2, (periods, n)))


def heavy_exposures(rng, periods, n, k):
    market = normal(rng, periods, n, k)
    market.X[:, :, 1:] = rng.standard_t(3, (periods, n, k - 1))
    return market


def sectors(rng, periods, n, k):
    """Twelve sectors, a dummy each, to which assets belong at random, and k - 12 styles."""
    market = normal(rng, periods, n, k - N_SECTORS + 1)
    sector = rng.integers(0, N_SECTORS, (periods, n))
    sector[:, : 2 * N_SECTORS] = np.arange(2 * N_SECTORS) % N_SECTORS  # no sector of one asset
    styles = market.X[:, :, 1:]
    return market._replace(X=np.concatenate([np.eye(N_SECTORS)[sector], styles], axis=2))


def with_cluster(market, n_bad, distance, slope, rng):
    """Give some rows an exposure at ``distance``, and returns that follow another slope."""
    periods = len(market.X)
    market.X[:, :n_bad] = 0.1 * rng.standard_normal((periods, n_bad, market.X.shape[2]))
    market.X[:, :n_bad, 0] = 1.0
    market.X[:, :n_bad, -1] += distance
    market.y[:, :n_bad] = slope * distance + 0.1 * rng.standard_normal((periods, n_bad))
    return market


def far_rows(rng, periods, n, k):
    """One row in twenty has an exposure of 1000 and a return of 1000."""
    return with_cluster(normal(rng, periods, n, k), max(1, round(n / 20)), 1000, 1, rng)


def near_rows(rng, periods, n, k):
    """One row in twenty has an exposure of 10 and a return of 10; noise has heavy tails."""
    return with_cluster(heavy_tails(rng, periods, n, k), max(1, round(n / 20)), 10, 1, rng)


class Cell(NamedTuple):
    """A row of the table: how markets are drawn, on how many factors, and which are ``tested``."""

    name: str
    draw: Callable[..., Market]
    k: int
    tested: slice


CELLS = (
    Cell("normal, k = 2", normal, 2, slice(None)),
    Cell("normal, k = 5", normal, 5, slice(None)),
    Cell("t3, k = 5", heavy_tails, 5, slice(None)),
    Cell("10 % at 5 sigma, k = 5", contaminated, 5, slice(None)),
    Cell("inverse-variance weights, normal, k = 5", inverse_variance, 5, slice(None)),
    Cell("weights that are no inverse variances, k = 5", wrong_weights, 5, slice(None)),
    Cell("t3 exposures, normal, k = 5", heavy_exposures, 5, slice(None)),
    Cell("12 sectors and 3 styles: the sectors", sectors, N_SECTORS + 3, slice(N_SECTORS)),
)
# Weights so wide that the MM estimate does not keep its size.
WIDE = Cell(
    "weights lognormal(2) that are no inverse variances, k = 5", wide_weights, 5, slice(None)
)
# Cells for the MM estimate alone, of the slope that the bad rows attack.
ATTACKED = (
    Cell("5 % bad rows at 1000, k = 5", far_rows, 5, slice(4, 5)),
    Cell("5 % bad rows at 10, t3, k = 5", near_rows, 5, slice(4, 5)),
)
# Percent at n/k = 2, 3, 4, 6, 10, 20, measured with a prototype in NumPy, by kind of error; "MM" is
# the MM estimate.
KINDS = ("sandwich, 1.96", "H1", "HC2", "MM")
EXPECTED = {
    "normal, k = 2": {
        "sandwich, 1.96": (34.5, 22.9, 17.1, 12.8, 9.5, 6.8),
        "H1": (10.2, 8.5, 7.3, 6.2, 5.9, 5.2),
        "HC2": (6.1, 4.0, 4.4, 4.7, 5.7, 5.1),
    },
    "normal, k = 5": {
        "sandwich, 1.96": (22.2, 13.5, 10.3, 7.7, 7.1, 5.3),
        "H1": (13.2, 7.9, 6.4, 5.9, 5.6, 4.8),
        "HC2": (3.8, 3.5, 3.9, 4.2, 4.8, 4.4),
        "MM": (1.7, 2.7, 3.3, 4.1, 4.5, 4.6),
    },
    "t3, k = 5": {
        "sandwich, 1.96": (21.4, 11.8, 8.9, 7.0, 5.9, 5.0),
        "H1": (13.5, 8.1, 6.3, 6.1, 5.3, 5.0),
        "HC2": (3.4, 2.9, 3.0, 3.6, 4.1, 4.1),
        "MM": (1.4, 2.4, 2.6, 3.4, 4.2, 4.4),
    },
    "10 % at 5 sigma, k = 5": {
        "sandwich, 1.96": (21.3, 11.1, 8.4, 6.5, 5.6, 5.3),
        "H1": (12.9, 7.8, 6.2, 5.5, 4.9, 4.9),
        "HC2": (3.1, 2.5, 3.0, 3.5, 3.6, 4.4),
    },
    "inverse-variance weights, normal, k = 5": {
        "sandwich, 1.96": (27.6, 16.1, 13.5, 10.7, 8.7, 6.7),
        "H1": (15.0, 7.6, 6.5, 5.9, 5.6, 4.9),
        "HC2": (4.4, 2.9, 3.2, 3.9, 4.4, 4.1),
        "MM": (1.1, 2.2, 2.7, 3.1, 3.9, 4.4),
    },
    "weights that are no inverse variances, k = 5": {
        "sandwich, 1.96": (30.8, 19.8, 16.2, 12.8, 9.6, 7.1),
        "H1": (20, 15, 16, 17, 19, 20),
        "HC2": (4.9, 3.4, 3.9, 4.5, 4.4, 4.5),
        "MM": (1.4, 3.0, 3.6, 4.9, 5.9, 5.6),
    },
    "t3 exposures, normal, k = 5": {
        "sandwich, 1.96": (24.3, 15.2, 12.8, 10.7, 9.2, 8.3),
        "H1": (13.6, 8.1, 6.5, 5.7, 5.2, 5.2),
        "HC2": (3.7, 3.0, 3.1, 3.3, 3.9, 4.5),
        "MM": (1.1, 2.0, 2.9, 2.9, 3.2, 3.9),
    },
    "12 sectors and 3 styles: the sectors": {
        "sandwich, 1.96": (18.8, 15.9, 14.2, 11.6, 9.5, 7.6),
        "H1": (7.0, 6.0, 5.5, 5.1, 5.2, 5.0),
        "HC2": (1.0, 2.5, 3.3, 4.1, 4.8, 5.1),
        "MM": (1.1, 2.5, 3.4, 4.0, 4.5, 4.7),
    },
    "5 % bad rows at 1000, k = 5": {
        "MM": (1.5, 2.5, 2.5, 3.7, 4.2, 4.0),
    },
    "5 % bad rows at 10, t3, k = 5": {
        "MM": (8.3, 4.3, 3.5, 21.6, 8.9, 3.9),
    },
}
# Rms errors of the slopes of 200 assets on 6 exposures, by distance and share of bad rows: of Huber
# and of the MM estimate, the worst over SLOPES; without bad rows 0.17 to 0.18.
SLOPES = {5: (0.5, 1, 2, 5), 10: (0.5, 1, 2, 5), 1000: (0.5, 1)}
EXPECTED_ERRORS = {
    (10, 0.1): (4.7, 0.46),
    (10, 0.2): (5.0, 0.53),
    (10, 0.3): (5.0, 0.99),
    (10, 0.4): (5.1, 4.9),
    (1000, 0.1): (1.0, 0.19),
    (1000, 0.2): (1.0, 0.20),
    (1000, 0.3): (1.0, 0.22),
    (1000, 0.4): (1.1, 0.23),
    (5, 0.1): (3.7, 0.80),
    (5, 0.2): (4.5, 4.4),
}


def as_panel(market):
    """Make a long frame of a market, and name its exposures and its weights."""
    periods, n, k = market.X.shape
    names = [f"f{j}" for j in range(k)]
    columns = {
        "period": np.repeat(np.arange(periods), n),
        "asset": np.tile(np.arange(n), periods),
        "return": market.y.ravel(),
        **dict(zip(names, market.X.reshape(-1, k).T, strict=True)),
    }
    if market.w is not None:
        columns["weight"] = market.w.ravel()
    return pl.DataFrame(columns), names, "weight" if market.w is not None else None


def fitted_coefficients(cell, ratio, periods=PERIODS, **options):
    """Fit a cell of the table; the coefficients whose factor returns are zero, as a frame."""
    rng = np.random.default_rng([len(cell.name), ratio])
    panel, names, weights = as_panel(cell.draw(rng, periods, ratio * cell.k, cell.k))
    fits = fit_cross_sections(panel, names, weights=weights, **options)
    return fits.coefficients.filter(pl.col("factor").is_in(names[cell.tested]))


def size(coefficients, *, normal=False):
    """Percent of the tests at 5 % that reject; ``normal``: by |t| > 1.96."""
    rejected = pl.col("t_stat").abs() > 1.96 if normal else pl.col("p_value") < 0.05
    return 100 * coefficients.drop_nulls("p_value").select(rejected.mean()).item()


def size_of(cell, kind, ratio, periods=PERIODS):
    """Size of a nominal 5 % test in a cell, in percent, by one of KINDS."""
    if kind == "MM":
        return size(fitted_coefficients(cell, ratio, periods, estimator="mm"))
    cov_type = kind.split(",")[0]
    coefficients = fitted_coefficients(cell, ratio, periods, cov_type=cov_type)
    return size(coefficients, normal=cov_type == "sandwich")


def error_of_slopes(market, estimator):
    """Root mean square, over the periods, of the length of all slopes, which are zero."""
    panel, names, _ = as_panel(market)
    slopes = factor_returns(panel, names, estimator=estimator).select(names[1:]).to_numpy()
    return float(np.sqrt((slopes**2).sum(axis=1).mean()))


def worst_error(distance, share, estimator, periods=200, n=200, n_slopes=6):
    """Error of slopes beside a cluster of bad rows, the worst over SLOPES."""
    errors = []
    for slope in SLOPES[distance]:
        rng = np.random.default_rng([distance, round(100 * share)])
        market = normal(rng, periods, n, 1 + n_slopes)
        market = with_cluster(market, round(share * n), distance, slope, rng)
        errors.append(error_of_slopes(market, estimator))
    return max(errors)


def print_sizes(periods):
    print("Percent of tests at 5 % that reject a factor return of zero, at n/k:\n")
    print("| cell | errors | " + " | ".join(map(str, RATIOS)) + " |")
    print("|---|---|" + "---|" * len(RATIOS))
    for cell in (*CELLS, WIDE, *ATTACKED):
        for kind in ("MM",) if cell in ATTACKED else KINDS:
            ours = [f"{size_of(cell, kind, ratio, periods):.1f}" for ratio in RATIOS]
            theirs = EXPECTED.get(cell.name, {}).get(kind)
            if theirs:
                ours = [f"{a} ({b})" for a, b in zip(ours, theirs, strict=True)]
            print(f"| {cell.name} | {kind} | " + " | ".join(ours) + " |", flush=True)


def print_errors(periods):
    print("\nRms errors of slopes beside bad rows, worst over their slopes:\n")
    print("| distance | share of bad rows | Huber | MM |\n|---|---|---|---|")
    for (distance, share), theirs in EXPECTED_ERRORS.items():
        ours = (worst_error(distance, share, name, periods) for name in ("huber", "mm"))
        shown = [f"{a:.2f} ({b})" for a, b in zip(ours, theirs, strict=True)]
        print(f"| {distance} | {100 * share:.0f} % | " + " | ".join(shown) + " |", flush=True)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--periods", type=int, default=PERIODS, help="periods a cell of sizes")
    options = parser.parse_args(arguments)
    print_sizes(options.periods)
    print_errors(max(10, options.periods // 10))


if __name__ == "__main__":
    main()
