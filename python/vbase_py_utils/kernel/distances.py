"""Weights against bad exposures: how far the exposures of a row lie from those of the others.

For the start of the MM estimate. Robust distances of the continuous columns, from the wrapped data
of Raymaekers and Rousseeuw (2021), Technometrics 63, 184-198, and two concentration steps on the
half of the rows that lies nearest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vbase_py_utils.kernel.linalg import invert, quadratic_forms, weighted_gram
from vbase_py_utils.kernel.losses import FloatArray
from vbase_py_utils.kernel.scale import MAD_PER_SIGMA
from vbase_py_utils.kernel.stacks import Block, Layout

# Where the wrapping function begins to fall, where it is zero, and its shape between; from the
# paper.
WRAP_FROM, WRAP_TO, WRAP_HEIGHT, WRAP_SLOPE = 1.5, 4.0, 1.540793, 0.8622731
# A least variance in any direction, in units of the squared MAD: columns may be collinear.
RIDGE = 1e-12
CONCENTRATIONS = 2
# Rows whose distances differ by rounding alone, as in symmetric designs, are near or far together.
TIED = 1e-9
# Rows beyond this quantile of chi squared lose weight, with this power of the distance: with power
# one the estimate broke at a fifth of bad rows. A weight of zero would leave the row out; this one
# times the square of an exposure of 1e46 MADs is still next to nothing.
OUTLYING, POWER, LEAST_EXPOSURE_WEIGHT = 0.975, 3, 1e-280
# Standardised values are clipped here, so that their squares and products do not overflow.
FARTHEST = 1e75


def exposure_weights(
    block: Block, periods: NDArray[np.intp], width: int, columns: Sequence[FloatArray]
) -> FloatArray:
    """Weights (P, width) in (0, 1] of the rows of ``periods`` by their exposures alone.

    ``columns`` (N,) are the numeric ones. The weights are 1 in periods with no continuous column;
    entries beyond the rows of a period have no meaning.
    """
    weights = np.ones((len(periods), width))
    if not columns:
        return weights
    layout = Layout(block, periods, width)
    sizes = block.sizes[periods]
    x = np.stack([layout.of(column) for column in columns], axis=1)
    inside = np.arange(width) < sizes[:, None]
    low, high = _middle(x, sizes)
    # How many rows hold the lower, and the upper, median itself.
    held = np.maximum(*(((x == m[:, :, None]) & inside[:, None]).sum(axis=2) for m in (low, high)))
    continuous = 2 * held < sizes[:, None]
    x -= (0.5 * low + 0.5 * high)[:, :, None]
    low, high = _middle(np.abs(x), sizes)
    x /= ((0.5 * low + 0.5 * high) / MAD_PER_SIGMA)[:, :, None]
    np.clip(x, -FARTHEST, FARTHEST, out=x)
    kinds, kind = np.unique(continuous, axis=0, return_inverse=True)
    for number, chosen in enumerate(kinds):
        if chosen.any():
            alike = kind == number
            weights[alike] = _weights(x[alike][:, chosen], sizes[alike])
    return weights


def _middle(x: FloatArray, sizes: NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
    """Find the lower and the upper median (P, p) of the first ``sizes`` (P,) of x (P, p, n).

    Of an odd number of rows both are the median.
    """
    width = x.shape[2]
    column = np.arange(width)
    below = sizes + (width - sizes) // 2
    padding = np.where(column < below[:, None], -np.inf, np.inf)
    padding[column < sizes[:, None]] = 0.0
    values = x + padding[:, None]
    half = width // 2
    values.partition(half, axis=2)
    low = values[:, :, :half].max(axis=2)
    return low, np.where((sizes % 2 == 1)[:, None], low, values[:, :, half])


def _weights(z: FloatArray, sizes: NDArray[np.intp]) -> FloatArray:
    """Weights (P, n) by the distances of rows z (P, p, n), standardised columns."""
    from scipy.special import chdtri  # noqa: PLC0415 - takes as long to load as Polars

    n_columns, width = z.shape[1:]
    inside = np.arange(width) < sizes[:, None]
    d = _distances(z, _wrapped(z), inside)
    nearest = (sizes + n_columns + 1) // 2
    for _ in range(CONCENTRATIONS):
        d[~inside] = np.inf
        farthest = np.take_along_axis(np.sort(d, axis=1), nearest[:, None] - 1, axis=1)
        d = _distances(z, z, (d <= (1.0 + TIED) * farthest) & inside)
    low, high = _middle(d[:, None], sizes)
    d *= 2.0 * float(chdtri(n_columns, 0.5)) / (low + high)
    weights = np.minimum(float(chdtri(n_columns, 1.0 - OUTLYING)) / d, 1.0) ** POWER
    return np.where(np.isnan(weights), 1.0, np.maximum(weights, LEAST_EXPOSURE_WEIGHT))


def _wrapped(z: FloatArray) -> FloatArray:
    """Pull values in: as they are up to WRAP_FROM, then falling to zero at WRAP_TO."""
    far = np.abs(z) >= WRAP_FROM
    left = np.maximum(WRAP_TO - np.abs(z[far]), 0.0)
    wrapped = z.copy()
    wrapped[far] = np.copysign(WRAP_HEIGHT * np.tanh(WRAP_SLOPE * left), z[far])
    return wrapped


def _distances(z: FloatArray, from_rows: FloatArray, chosen: NDArray[np.bool_]) -> FloatArray:
    """Squared distances (P, n) of z (P, p, n) in the mean and covariance of ``chosen`` rows."""
    share = chosen / np.count_nonzero(chosen, axis=1)[:, None]
    center = from_rows @ share[:, :, None]
    spread = weighted_gram(from_rows - center, share, positive=True) + RIDGE * np.eye(z.shape[1])
    _, inverse, _ = invert(spread)
    return np.maximum(quadratic_forms(inverse, z - center), 0.0)
