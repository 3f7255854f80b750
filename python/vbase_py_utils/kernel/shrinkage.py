"""Shrinkage of covariance matrices towards what the sampling of their eigenvalues has hidden."""

from __future__ import annotations

import numpy as np

from vbase_py_utils.kernel.losses import FloatArray

# Eigenvalues below this share of the largest are zero up to rounding.
NO_VARIANCE = 1e-13
# How fast the bandwidth of the kernel falls with the number of series: Ledoit and Wolf's choice.
BANDWIDTH_POWER = 0.35


def quadratic_inverse(matrix: FloatArray, n: float) -> FloatArray:
    """Shrink a covariance or correlation matrix by quadratic-inverse shrinkage; keep its trace.

    ``matrix`` (k, k) is symmetric and positive semi-definite, of ``n`` > 0 independent
    observations; ``n`` may be a fraction, the effective number of weighted ones. The eigenvectors
    stay as they are. With k > n the smallest eigenvalues, k - n of them, become one and the same.
    Source: Ledoit and Wolf (2022), Bernoulli 28, 1519-1547.
    """
    values, vectors = np.linalg.eigh(matrix)
    shrunk = shrunk_eigenvalues(values, n)
    return symmetric_product(vectors, shrunk)


def shrunk_eigenvalues(values: FloatArray, n: float) -> FloatArray:
    """Shrink ascending eigenvalues (k,) of a matrix of ``n`` observations; their sum stays."""
    k = len(values)
    largest = float(values[-1]) if k else 0.0
    if not largest > 0:
        return np.zeros(k)
    c = k / n
    n_hidden = max(0, k - max(1, int(n)))
    # An exact zero is the limit of a small eigenvalue.
    inverse = 1 / np.maximum(values[n_hidden:] / largest, NO_VARIANCE)
    h = min(c**2, c**-2) ** BANDWIDTH_POWER / k**BANDWIDTH_POWER
    # Row m, column j: the kernel of the m-th inverse eigenvalue at the j-th.
    apart = inverse[:, None] - inverse
    width = h * inverse[:, None]
    density = inverse[:, None] / (apart**2 + width**2)
    theta = np.mean(apart * density, axis=0)
    hilbert = np.mean(width * density, axis=0)
    amplitude = theta**2 + hilbert**2
    if c <= 1:
        tilt = (1 - c) ** 2 + 2 * c * (1 - c) * theta + c**2 * amplitude
        shrunk = 1 / (inverse * tilt)
    else:
        hidden = np.full(n_hidden, 1 / ((c - 1) * inverse.mean()))
        shrunk = np.concatenate([hidden, 1 / (inverse * amplitude)])
    total: FloatArray = shrunk * (values.sum() / shrunk.sum())
    return total


def symmetric_product(vectors: FloatArray, values: FloatArray) -> FloatArray:
    """Multiply vectors (k, k), one a column, with values (k,) >= 0 and their transpose."""
    half = vectors * np.sqrt(np.maximum(values, 0))
    product = half @ half.T
    # BLAS need not give both halves the same bits.
    symmetric: FloatArray = (product + product.T) / 2
    return symmetric
