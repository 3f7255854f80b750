"""The library and its peers on the same panel; each function gives coefficients (T, k)."""

from __future__ import annotations

import warnings
from importlib import metadata

import numpy as np
import polars as pl

from vbase_py_utils import factor_returns, fit_cross_sections, huber_regression

FLOOR_CELLS = 2**18  # exposures solved together: measured to be the fastest


def ours(panel, **options):
    """Weighted Huber regression with all guards."""
    fits = factor_returns(panel.frame, panel.exposures, **{"weights": "weight"} | options)
    return fits.select(panel.exposures).to_numpy()


def everything(panel, **options):
    """The same, with standard errors, specific returns and diagnostics."""
    options = {"weights": "weight"} | options
    fits = fit_cross_sections(panel.frame, panel.exposures, **options).collect()
    frames = fits.coefficients, fits.specific_returns, fits.diagnostics
    assert all(frame.height for frame in frames)
    return fits.factor_returns.select(panel.exposures).to_numpy()


def with_sectors(panel, **options):
    """A market factor, sectors whose returns sum to zero, styles: all in one fit."""
    model = {"intercept": True, "categories": {"sector": None}, "weights": "weight"}
    fits = factor_returns(panel.frame, panel.exposures, **model | options)
    return fits.select("intercept", pl.col("^sector=.*$"), *panel.exposures).to_numpy()


def sectors_by_hand(panel):
    """As many columns without a constraint, ready made: what the regression itself takes."""
    sectors = panel.frame["sector"].dtype.categories.to_list()
    return factor_returns(panel.frame, [*sectors, *panel.exposures], weights="weight")


def toraniko(frames):
    """Market and sectors, then styles on what is left: weighted least squares, period by period."""
    from toraniko.model import estimate_factor_returns

    return estimate_factor_returns(*frames, winsor_factor=None)[0]


def polars_statistics_huber(panel):
    """Give Huber regression without weights, by a Rust plugin with its default tolerance."""
    import polars_statistics as ps

    fit = ps.huber("return", *panel.exposures, alpha=0.0, add_intercept=False)
    fits = panel.frame.group_by("period").agg(fit.alias("fit")).sort("period")
    return np.array(fits["fit"].struct.field("coefficients").to_list())


def polars_ols_wls(panel):
    """Give weighted least squares, by a Rust plugin."""
    import polars_ols as po

    fit = po.compute_least_squares(
        pl.col("return"),
        *map(pl.col, panel.exposures),
        sample_weights=pl.col("weight"),
        mode="coefficients",
    )
    fits = panel.frame.group_by("period").agg(fit.alias("fit")).sort("period")
    return fits["fit"].struct.unnest().to_numpy()


def polars_ds_wls(panel):
    """Give least squares of columns times the root of the weights, by a Rust plugin."""
    import polars_ds as pds

    root = pl.col("weight").sqrt()
    columns = [(pl.col(name) * root).alias(name) for name in panel.exposures]
    fit = pds.lin_reg(*columns, target=pl.col("return") * root)
    fits = panel.frame.group_by("period").agg(fit.alias("fit")).sort("period")
    return np.array(fits["fit"].to_list()).reshape(fits.height, -1)


def skfolio_wls(panel):
    """Give weighted least squares by NumPy, from one array for all periods: balanced panels."""
    from skfolio.linear_model import CSLinearRegression

    return CSLinearRegression().fit(*_as_arrays(panel)).coef_


def numpy_floor(panel):
    """Sort, copy, and solve weighted least squares for many periods at once: balanced panels."""
    X, y, w = _as_arrays(panel)
    b = np.empty((len(X), X.shape[2]))
    step = max(1, FLOOR_CELLS // X[0].size)
    for first in range(0, len(X), step):
        some = slice(first, first + step)
        weighted = (X[some] * w[some, :, None]).transpose(0, 2, 1)
        b[some] = np.linalg.solve(weighted @ X[some], weighted @ y[some, :, None])[:, :, 0]
    return b


def _as_arrays(panel):
    """Sort a balanced panel, and copy it to X (T, N, k), y and w (T, N)."""
    rows = panel.frame.sort("period")
    n_periods = rows["period"].n_unique()
    X = rows.select(panel.exposures).to_numpy(order="c")
    y, w = (rows[name].to_numpy().reshape(n_periods, -1) for name in ("return", "weight"))
    return X.reshape(n_periods, -1, len(panel.exposures)), y, w


def expression(panel):
    """Give the robust fit as an expression, in groups."""
    fit = huber_regression("return", panel.exposures, weights="weight")
    fits = panel.frame.group_by("period").agg(fit.alias("fit")).sort("period")
    return fits["fit"].struct.unnest().select(panel.exposures).to_numpy()


def one_period(frames):
    """Run the documented function for one period, on pandas frames."""
    from vbase_py_utils.stats.cross_section_regression import run_cross_sectional_regression

    returns, exposures, weights = frames
    (period,) = returns.columns
    X, w = exposures.loc[period], weights.loc[period]["weight"]
    return run_cross_sectional_regression(returns[period], X, w).to_numpy()


def pandas_function(frames):
    """Run the documented function of this library, from pandas to pandas."""
    from vbase_py_utils.stats.cross_section_regression import run_monthly_factor_returns

    return run_monthly_factor_returns(*frames).to_numpy()


def statsmodels_loop(frames):
    """Fit period by period with RLM, as one writes it by hand."""
    import statsmodels.api as sm

    returns, exposures, weights = frames
    rows = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where it runs out of steps
        for period in returns.columns:
            root = np.sqrt(weights.loc[period]["weight"])
            X, y = exposures.loc[period], returns[period]
            model = sm.RLM(y * root, X.mul(root, axis=0), M=sm.robust.norms.HuberT(1.345))
            rows.append(model.fit().params)
    return np.array(rows)


PEERS = {
    "ps.huber": ("polars-statistics", polars_statistics_huber),
    "polars-ols": ("polars-ols", polars_ols_wls),
    "polars-ds": ("polars-ds", polars_ds_wls),
    "skfolio": ("skfolio", skfolio_wls),
    "floor": ("numpy", numpy_floor),
}


def version(package):
    """Version of a package, None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
