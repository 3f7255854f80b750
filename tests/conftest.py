from __future__ import annotations

import sys

import numpy as np
import polars as pl
import pytest
from threadpoolctl import threadpool_limits

from vbase_py_utils.demo import simulated_panel

FRENCH_FACTORS = ("MktRF", "SMB", "HML", "Mom")


@pytest.fixture(scope="session", autouse=True)
def one_blas_thread():
    """The oracles solve thousands of small systems."""
    with threadpool_limits(1, user_api="blas"):
        yield


@pytest.fixture(autouse=True)
def closed_figures():
    """Close what a test has drawn: matplotlib warns of more than twenty open figures."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def rng():
    return np.random.default_rng(20260101)


@pytest.fixture
def panel() -> pl.DataFrame:
    """The simulated panel of the demo."""
    return simulated_panel()[0]


@pytest.fixture(scope="session")
def french_panel() -> pl.DataFrame:
    """Excess returns of 30 portfolios on betas over the 60 months before, one month a period."""
    from linearmodels.datasets import french

    data = french.load()
    factors = data[list(FRENCH_FACTORS)].to_numpy()
    assets = [name for name in data.columns if name not in {"dates", "RF", *FRENCH_FACTORS}]
    excess = data[assets].to_numpy() - data[["RF"]].to_numpy()
    frames = []
    for month in range(60, len(data)):
        past = slice(month - 60, month)
        regressors = np.column_stack([np.ones(60), factors[past]])
        betas = np.linalg.lstsq(regressors, excess[past], rcond=None)[0][1:]
        frames.append(
            pl.DataFrame(
                {
                    "period": [data["dates"][month].date()] * len(assets),
                    "asset": assets,
                    "return": excess[month],
                    **{f"beta_{f}": betas[j] for j, f in enumerate(FRENCH_FACTORS)},
                }
            )
        )
    return pl.concat(frames)


@pytest.fixture
def file(panel, tmp_path):
    """Write the demo's panel to a file of the suffix given."""

    def write(suffix, frame=panel):
        path = tmp_path / f"panel{suffix}"
        frame.write_csv(path) if suffix == ".csv" else frame.write_parquet(path)
        return str(path)

    return write
