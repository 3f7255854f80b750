"""The variance of each asset before every period, of squares cut at the asset's own past."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vbase_py_utils.kernel.losses import FloatArray

Integers: TypeAlias = NDArray[np.integer[Any]]


def past_mean_squares(
    squares: FloatArray,
    typical: FloatArray,
    assets: Integers,
    starts: Integers,
    *,
    decay: float,
    min_periods: int,
    cut: float,
) -> FloatArray:
    """Give for every row the mean of the asset's earlier squares, NaN where there are too few.

    Later means count a square as at most ``cut`` ** 2 times the asset's mean before it, or, if the
    asset has fewer than ``min_periods`` earlier squares, times the ``typical`` square of the
    period. No row depends on rows of its own or a later period.

    Parameters
    ----------
    squares
        (rows,) sorted by period, an asset at most once in each; NaN if it has none.
    typical
        (rows,) a robust mean square of the row's period.
    assets
        (rows,) numbers of the assets, from 0.
    starts
        (periods + 1,) where each period begins, and the number of rows.
    decay
        Weight of a square relative to the next one of the asset.
    min_periods, cut
        As above.
    """
    means = np.full(len(squares), np.nan)
    n_assets = int(assets.max(initial=-1)) + 1
    total, weight, count = np.zeros(n_assets), np.zeros(n_assets), np.zeros(n_assets, dtype=int)
    for start, end in pairwise(starts):
        rows = slice(start, end)
        own = assets[rows]
        known = count[own] >= min_periods
        mean = np.divide(total[own], weight[own], out=np.full(len(own), np.nan), where=known)
        means[rows] = mean
        # A mean that has underflowed would cut all that follows to zero.
        sd = np.sqrt(np.where(known & (mean > 0), mean, typical[rows]))
        with np.errstate(over="ignore", invalid="ignore"):
            square = np.fmin(squares[rows], np.square(cut * sd))
        there = ~np.isnan(squares[rows])
        own, square = own[there], square[there]
        total[own] = decay * total[own] + square
        weight[own] = decay * weight[own] + 1
        count[own] += 1
    return means
