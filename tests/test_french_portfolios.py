"""Real data, end to end: 30 portfolios on four betas, 759 months."""

from __future__ import annotations

import warnings

import numpy as np
import polars as pl
import statsmodels.api as sm

from vbase_py_utils import factor_returns

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
            theirs = model.fit(tol=1e-14, maxiter=5000)
        np.testing.assert_allclose(row[1:], theirs.params, rtol=1e-8, err_msg=str(row[0]))


def test_the_premia_follow_the_published_factors(french_panel):
    # What a month pays for beta must move with the factor that the betas are on.
    from linearmodels.datasets import french

    published = pl.from_pandas(french.load()).tail(759)
    answer = factor_returns(french_panel, BETAS)
    for beta, least in zip(BETAS, (0.99, 0.94, 0.85, 0.90), strict=True):
        factor = published[beta.removeprefix("beta_")].to_numpy()
        assert np.corrcoef(answer[beta].to_numpy(), factor)[0, 1] > least
