"""Panels and fits that the tests of charts draw."""

from __future__ import annotations

import math
from types import SimpleNamespace

import matplotlib.pyplot as plt
import pytest

from charts import BETAS
from vbase_py_utils import fit_cross_sections
from vbase_py_utils.demo import FACTORS, simulated_panel


@pytest.fixture(scope="module", autouse=True)
def no_screen():
    plt.switch_backend("agg")


@pytest.fixture(scope="module")
def demo():
    panel, truth = simulated_panel()
    return SimpleNamespace(
        panel=panel,
        truth=truth,
        fits=fit_cross_sections(panel, FACTORS),
        plain=fit_cross_sections(panel, FACTORS, huber_t=math.inf),
    )


@pytest.fixture(scope="module")
def french(french_panel):
    return fit_cross_sections(french_panel, BETAS)
