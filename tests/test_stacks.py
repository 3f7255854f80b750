"""Periods side by side: the answer of a period is its own, whatever stands beside it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oracle
import problems
from vbase_py_utils import design, irls
from vbase_py_utils.inference import assess_periods
from vbase_py_utils.irls import SolverOptions, Status, fit_periods

ALWAYS, NEVER = 0, 10**9


def ragged_block(rng, kind, k, count, sizes=(1, 8)):
    """Periods of ``sizes[0] * k + 2`` to ``sizes[1] * k + 3`` rows, end to end."""
    low, high = sizes
    every = [
        (problems.mild if kind == "mild" else lambda *a: problems.hard(a[0], kind, *a[1:]))(
            rng, int(rng.integers(low * k + 2, high * k + 4)), k
        )
        for _ in range(count)
    ]
    starts = np.cumsum([0, *(len(y) for _, y, _ in every)])
    return *(np.concatenate(part) for part in zip(*every, strict=True)), starts


def fit(block, monkeypatch, *, stack_cells=design.STACK_CELLS, gather_cells=irls.GATHER_CELLS):
    X, y, w, starts = block
    with monkeypatch.context() as patch:
        patch.setattr(design, "STACK_CELLS", stack_cells)
        patch.setattr(irls, "GATHER_CELLS", gather_cells)
        return fit_periods(X, y, w, starts, SolverOptions())


@pytest.mark.parametrize("kind", ["mild", *problems.HARD_KINDS])
def test_stacked_products_and_one_period_at_a_time_agree(kind, monkeypatch):
    rng = np.random.default_rng([21, len(kind)])
    for k in (1, 3, 6, 7, 12):
        X, y, w, starts = block = ragged_block(rng, kind, k, 120)
        stacked = fit(block, monkeypatch, gather_cells=NEVER)
        alone = fit(block, monkeypatch, stack_cells=1, gather_cells=ALWAYS)
        np.testing.assert_array_equal(stacked.status, alone.status)
        np.testing.assert_array_equal(np.isnan(stacked.scale), np.isnan(alone.scale))
        apart = []
        for t in np.flatnonzero(stacked.status == Status.converged):
            rows = slice(starts[t], starts[t + 1])
            difference = stacked.coefficients[t] - alone.coefficients[t]
            apart.append(np.abs(np.sqrt(w[rows]) * (X[rows] @ difference)).max() / alone.scale[t])
        print(kind, k, max(apart), np.sort(apart)[-4:], np.bincount(stacked.status))
