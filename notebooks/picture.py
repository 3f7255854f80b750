"""Draw the picture of the README: `just picture`."""

from __future__ import annotations

import sys

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from vbase_py_utils import factor_returns, fit_cross_sections, plots

N_MONTHS, N_ASSETS, WRONG = 120, 300, 0.005
FACTORS = ["market", "value", "momentum"]


def simulated():
    """Simulate a panel, one return of 200 wrong by a factor of ten or minus ten, and its truth."""
    rng = np.random.default_rng(20261123)
    months = pl.date_range(pl.date(2016, 1, 1), pl.date(2025, 12, 1), "1mo", eager=True)
    truth = rng.normal([0.006, 0.002, 0.003], [0.04, 0.01, 0.015], (N_MONTHS, 3))
    exposures = rng.standard_normal((N_MONTHS, N_ASSETS, 3))
    exposures[:, :, 0] = 1
    returns = np.einsum("tik,tk->ti", exposures, truth)
    returns += 0.06 * rng.standard_t(4, returns.shape)
    wrong = rng.random(returns.shape) < WRONG
    returns[wrong] *= rng.choice([10, -10], wrong.sum())
    columns = {name: exposures[:, :, j].ravel() for j, name in enumerate(FACTORS)}
    panel = pl.DataFrame(
        {
            "period": np.repeat(months.to_numpy(), N_ASSETS),
            "asset": [f"Stock {i:03}" for i in range(N_ASSETS)] * N_MONTHS,
            "return": returns.ravel(),
            **columns,
        }
    )
    return panel, pl.DataFrame({"period": months, **dict(zip(FACTORS, truth.T, strict=True))})


def main(path):
    """Draw least squares and the robust fit over the truth, and what the latter did not trust."""
    panel, truth = simulated()
    fits = fit_cross_sections(panel, FACTORS)
    estimates = {
        "Least squares": factor_returns(panel, FACTORS, huber_t=np.inf),
        "Robust": fits.factor_returns,
    }
    figure = Figure(figsize=(12, 4), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=[1, 1, 1.5])
    for ax, (name, estimate) in zip((left, middle), estimates.items(), strict=True):
        plots.true_against_estimated(truth, estimate, factors=FACTORS[1:], ax=ax)
        error = (estimate.select(FACTORS[1:]) - truth.select(FACTORS[1:])).select(
            pl.mean_horizontal(pl.all().pow(2).mean()).sqrt()
        )
        ax.set_title(f"{name}: off by {100 * error.item():.2f} % a month")
    left.get_legend().remove()
    middle.set(xlim=left.get_xlim(), ylim=left.get_ylim())
    legend = middle.get_legend()
    legend.set_loc("upper left")
    legend.set_bbox_to_anchor((0, 1))
    plots.robustness_weights(fits, most=20, ax=right)
    right.set_title("What the robust fit does not trust")
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main(sys.argv[1])
