"""Real data, end to end: 30 portfolios on four betas, 759 months."""

from __future__ import annotations

import warnings

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm
from polars.testing import assert_frame_equal

from vbase_py_utils import factor_returns, fama_macbeth, fit_cross_sections

BETAS = ["beta_MktRF", "beta_SMB", "beta_HML", "beta_Mom"]


def test_every_month_equals_statsmodels_at_its_fixed_point(french_panel):
    answer = factor_returns(french_panel, BETAS, on_failure="raise")
    assert answer.height == 759
    for row, (_, month) in zip(
        answer.rows(), french_panel.group_by("period", maintain_order=True), strict=True
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = sm.RLM(month["return"].to_numpy(), month.select(BETAS).to_numpy())
            theirs = model.fit(tol=1e-14, maxiter=5000, conv="coefs")
        np.testing.assert_allclose(row[1:], theirs.params, rtol=1e-8, err_msg=str(row[0]))


def test_the_premia_follow_the_published_factors(french_panel):
    # What a month pays for beta must move with the factor that the betas are on.
    from linearmodels.datasets import french

    published = pl.from_pandas(french.load()).tail(759)
    answer = factor_returns(french_panel, BETAS)
    for beta, least in zip(BETAS, (0.99, 0.94, 0.85, 0.90), strict=True):
        factor = published[beta.removeprefix("beta_")].to_numpy()
        assert np.corrcoef(answer[beta].to_numpy(), factor)[0, 1] > least


def test_what_the_readme_and_the_notebook_say_in_words(french_panel):
    robust = fit_cross_sections(french_panel, BETAS)
    least_squares = fit_cross_sections(french_panel, BETAS, huber_t=float("inf"))

    january = robust.diagnostics.filter(period=pl.date(1990, 1, 1)).row(0, named=True)
    assert january["r_squared"] < 0
    assert round(january["robust_r_squared"], 2) == 0.37
    gain = robust.diagnostics["robust_r_squared"] - robust.diagnostics["r_squared"]
    assert robust.diagnostics["period"][gain.arg_max()] == january["period"]

    shares = (
        robust.specific_returns.group_by("asset")
        .agg((pl.col("robustness_weight") < 1).mean().round(2))
        .sort("robustness_weight", descending=True)
    )
    share = dict(shares.rows())
    assert shares["asset"].head(5).to_list()[:2] == ["Enrgy", "Durbl"]
    assert not any(name.startswith("S") and name != "Shops" for name in shares["asset"].head(8))
    assert (share["Enrgy"], share["Durbl"], share["S1V1"]) == (0.43, 0.39, 0.24)
    assert (share["S5V5"], share["S5V1"]) == (0.23, 0.04)
    assert min(share.values()) == share["S5V1"]

    august = pl.col("period") == pl.date(1960, 8, 1)
    small_growth = robust.specific_returns.filter(august, asset="S1V1")
    assert round(small_growth["specific_return"].item(), 2) == 0.16
    momentum = pl.col("factor") == "beta_Mom"
    ours, theirs = (f.coefficients.filter(august & momentum) for f in (robust, least_squares))
    assert round(ours["factor_return"].item(), 3) == -0.010
    assert round(theirs["factor_return"].item(), 3) == -0.045
    apart = ours["factor_return"].item() - theirs["factor_return"].item()
    assert round(apart / ours["std_error"].item(), 1) == 1.4

    paid, paid_ls = (fama_macbeth(f, lags="auto") for f in (robust, least_squares))
    assert [abs(t) > 2 for t in paid["t_stat"]] == [True, False, True, True]
    assert ((paid["premium"] - paid_ls["premium"]).abs() < 0.25 * paid["std_error"]).all()
    assert_frame_equal(paid, fama_macbeth(robust, lags=6))

    zero_beta = fama_macbeth(fit_cross_sections(french_panel, BETAS, intercept=True))
    rows = {row["factor"]: row for row in zero_beta.iter_rows(named=True)}
    assert (round(rows["beta_MktRF"]["premium"], 4), round(rows["beta_MktRF"]["t_stat"], 2)) == (
        -0.0010,
        -0.53,
    )
    assert (round(rows["intercept"]["premium"], 4), round(rows["intercept"]["t_stat"], 2)) == (
        0.0073,
        4.54,
    )
    for beta in ("beta_HML", "beta_Mom"):
        without = paid.filter(factor=beta)["premium"].item()
        assert 0.8 * without < rows[beta]["premium"] < without

    beyond = robust.coefficients.group_by("factor").agg((pl.col("t_stat").abs() > 2).mean())
    share = dict(beyond.rows())
    assert share["beta_MktRF"] > 0.8
    assert max(share["beta_HML"], share["beta_Mom"]) < 0.5


@pytest.mark.parametrize("intercept", [False, True])
def test_premia_with_and_without_intercept_equal_linearmodels(french_panel, intercept):
    from linearmodels.panel import FamaMacBeth

    least_squares = fit_cross_sections(
        french_panel, BETAS, intercept=intercept, huber_t=float("inf")
    )
    ours = fama_macbeth(least_squares)
    frame = french_panel.with_columns(intercept=1.0).to_pandas()
    frame["period"] = frame["period"].astype("datetime64[ns]")
    data = frame.set_index(["asset", "period"])
    columns = ["intercept", *BETAS] if intercept else BETAS
    model = FamaMacBeth(data["return"], data[columns])
    theirs = model.fit(cov_type="kernel", kernel="bartlett", bandwidth=6, debiased=True)
    assert ours["factor"].to_list() == columns
    np.testing.assert_allclose(ours["premium"], theirs.params, rtol=1e-9)
    np.testing.assert_allclose(ours["std_error"], theirs.std_errors, rtol=1e-9)
    market = ours.filter(factor="beta_MktRF").row(0, named=True)
    assert (abs(market["t_stat"]) > 2) is not intercept
