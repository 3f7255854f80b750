"""Linear algebra of small systems, one for each of many periods."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from vbase_py_utils.kernel.losses import FloatArray
from vbase_py_utils.kernel.threads import limit_blas_of_scipy

EPS = float(np.finfo(np.float64).eps)
# Exposures whose weighted copy stays in the L2 cache, 1 MB.
CACHE_CELLS = 2**17
# Cells of a tile, of which several copies fit in the L2 cache, and the least number of its rows.
# From 2^14 to 2^16 cells the time is the same within a tenth.
TILE_CELLS, LEAST_WIDTH = 2**15, 64
# From this many columns, multiplying a matrix by its own transpose takes less time than a general
# product; with 8 columns it takes twice as long.
MANY_COLUMNS = 32
# Systems of at most this many unknowns are eliminated together; larger ones go to LAPACK one by
# one.
MAX_ELIMINATED = 10


def dots(a: FloatArray, b: FloatArray) -> FloatArray:
    """Sum products along the last axis (P,); unlike einsum, the rounding does not depend on P."""
    return np.asarray((a[:, None, :] @ b[:, :, None])[:, 0, 0])


def products(matrices: FloatArray, vectors: FloatArray) -> FloatArray:
    """Multiply matrices (P, i, j) by vectors (P, j)."""
    return np.asarray((vectors[:, None, :] @ matrices.transpose(0, 2, 1))[:, 0])


def combined(A: FloatArray, b: FloatArray) -> FloatArray:
    """Fit (P, n) of coefficients b (P, k) on A."""
    return np.asarray((b[:, None, :] @ A)[:, 0])


def outer_products(A: FloatArray, factors: FloatArray) -> FloatArray:
    """Compute A F A' (k, k) of A (k, n), F diagonal (n,); may change A."""
    if len(A) >= MANY_COLUMNS and (factors >= 0.0).all():
        A *= np.sqrt(factors)
        return np.asarray(A @ A.T)
    return np.asarray((A * factors) @ A.T)


def pieces(A: FloatArray) -> Iterator[slice]:
    """Cut the periods of A (P, k, n) into runs of which one copy stays in the cache."""
    step = max(1, CACHE_CELLS // A[0].size) if len(A) else 1
    for first in range(0, len(A), step):
        yield slice(first, min(first + step, len(A)))


def tiles(A: FloatArray) -> Iterator[tuple[slice, slice]]:
    """Cut A (P, k, n) into runs of periods and of rows, small enough for two copies beside them."""
    k, n = A.shape[1:]
    step, width = max(1, TILE_CELLS // (k * n)), max(LEAST_WIDTH, TILE_CELLS // k)
    for first in range(0, len(A), step):
        for row in range(0, n, width):
            yield slice(first, first + step), slice(row, row + width)


def weighted_gram(A: FloatArray, weights: FloatArray, *, positive: bool = False) -> FloatArray:
    """Compute A W A' (P, k, k) of A (P, k, n), W diagonal (P, n), a few periods at a time.

    ``positive`` promises weights >= 0: of many columns, the product of a matrix with its own
    transpose then costs a quarter less.
    """
    gram = np.empty((len(A), A.shape[1], A.shape[1]))
    squared = positive and A.shape[1] >= MANY_COLUMNS
    factors = np.sqrt(weights) if squared else weights
    weighted: FloatArray | None = None
    for some in pieces(A):
        if weighted is None:
            weighted = np.empty((some.stop, *A.shape[1:]))
        product = weighted[: some.stop - some.start]
        np.multiply(A[some], factors[some, None, :], out=product)
        other = product if squared else A[some]
        np.matmul(product, other.transpose(0, 2, 1), out=gram[some])
    return gram


def weighted_products(
    A: FloatArray, weights: FloatArray, first: FloatArray, second: FloatArray | None
) -> tuple[FloatArray, FloatArray]:
    """Compute A W A' (P, k, k), weights >= 0, and A times two columns (P, 2, k).

    ``first`` and ``second`` (P, n); ``None`` is zero. In few calls: for short periods.
    """
    k, n = A.shape[1:]
    gram, right = np.empty((len(A), k, k)), np.empty((len(A), 2, k))
    squared = k >= MANY_COLUMNS
    factors = np.sqrt(weights) if squared else weights
    step = min(len(A), max(1, CACHE_CELLS // 2 // (k * n)))
    weighted, both = np.empty((step, k, n)), np.zeros((step, 2, n))
    for begin in range(0, len(A), step):
        some = slice(begin, min(begin + step, len(A)))
        own, two = weighted[: some.stop - begin], both[: some.stop - begin]
        np.multiply(A[some], factors[some, None, :], out=own)
        np.matmul(own, (own if squared else A[some]).transpose(0, 2, 1), out=gram[some])
        two[:, 0] = first[some]
        if second is not None:
            two[:, 1] = second[some]
        np.matmul(two, A[some].transpose(0, 2, 1), out=right[some])
    return gram, right


def gram_of(A: FloatArray) -> FloatArray:
    """Compute A A' (P, k, k) of A (P, k, n)."""
    if A.shape[1] >= MANY_COLUMNS:
        return np.asarray(A @ A.transpose(0, 2, 1))
    # For one array given twice NumPy calls the product with its own transpose: hence a copy.
    gram = np.empty((len(A), A.shape[1], A.shape[1]))
    for some in pieces(A):
        np.matmul(A[some].copy(), A[some].transpose(0, 2, 1), out=gram[some])
    return gram


def quadratic_forms(matrices: FloatArray, A: FloatArray) -> FloatArray:
    """Compute a' M a (P, n) for every row a of A (P, k, n), M (P, k, k)."""
    forms = np.empty((len(A), A.shape[2]))
    for some in pieces(A):
        product = matrices[some] @ A[some]
        forms[some] = np.multiply(product, A[some], out=product).sum(axis=1)
    return forms


def solve(matrices: FloatArray, right: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Solve symmetric systems (P, k, k) for the rows of right (P, m, k), m the same in all calls.

    Returns squares of the Cholesky pivots (P, k), and solutions (P, m, k). If a matrix is not
    positive definite up to rounding, a pivot of it is NaN or not positive, and its solution has no
    meaning.
    """
    k = matrices.shape[1]
    if k > MAX_ELIMINATED:
        return _factorised(matrices, right)
    # One elimination for all periods: the period is the last axis, one product a column.
    rows = np.empty((k, k + right.shape[1], len(matrices)))
    rows[:, :k], rows[:, k:] = matrices.transpose(2, 1, 0), right.transpose(2, 1, 0)
    pivots = np.empty((k, len(matrices)))
    for j in range(k):
        pivots[j] = rows[j, j]
        row = rows[j, j:] / pivots[j]
        rows[:, j:] -= rows[:, j, None] * row
        rows[j, j:] = row
    return pivots.T, np.ascontiguousarray(rows[:, k:].transpose(2, 1, 0))


def _factorised(matrices: FloatArray, right: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Do what ``solve`` does by a Cholesky decomposition of each matrix."""
    from scipy.linalg.lapack import dposv  # noqa: PLC0415 - few exposures do without

    limit_blas_of_scipy()
    pivots, solutions = np.empty(matrices.shape[:2]), np.empty(right.shape)
    failed = np.zeros(len(matrices), dtype=np.bool_)
    for p, (matrix, sides) in enumerate(zip(matrices, right, strict=True)):
        # Of a symmetric matrix in C order LAPACK sees the transpose, which is the same.
        factor, solution, failed[p] = dposv(matrix.T, sides.T, lower=1)
        pivots[p], solutions[p] = factor.diagonal(), solution.T
    pivots **= 2
    pivots[~(pivots > EPS * np.einsum("pii->pi", matrices)) | failed[:, None]] = np.nan
    return pivots, solutions


def each(function: Callable[..., Any], *arrays: FloatArray) -> FloatArray:
    """Call a function of numpy.linalg on periods; NaN for those for which it raises."""
    try:
        return np.asarray(function(*arrays), dtype=np.float64)
    except np.linalg.LinAlgError:
        n = len(arrays[0])
        if n == 1:
            return np.full_like(arrays[-1], np.nan)
        parts = [each(function, *(a[h] for a in arrays)) for h in (slice(n // 2), slice(n // 2, n))]
        return np.concatenate(parts)


def least_squares(A: FloatArray, u: FloatArray, weights: FloatArray) -> FloatArray:
    """Solve a weighted least-squares problem (k, n) without squaring its condition.

    For a period whose outlying rows carry a direction nearly alone.
    """
    from scipy.linalg import lstsq  # noqa: PLC0415 - only such periods need it

    limit_blas_of_scipy()
    root = np.sqrt(weights)
    b = lstsq((A * root).T, u * root, check_finite=False, lapack_driver="gelsy", cond=EPS)[0]
    return np.asarray(b)


def invert(matrices: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Pivots as ``solve`` gives them, inverses, and condition numbers in the 1-norm.

    A condition number is NaN where the matrix is not positive definite.
    """
    pivots, inverse = solve(matrices, np.broadcast_to(np.eye(matrices.shape[1]), matrices.shape))
    one, other = (np.abs(m).sum(axis=2).max(axis=1) for m in (matrices, inverse))
    return pivots, inverse, np.where((pivots > 0).all(axis=1), one * other, np.nan)


def scaled_inverse(matrices: FloatArray) -> FloatArray:
    """Inverse of positive definite matrices (P, k, k) whose columns may have unlike units."""
    both, _ = equal_units(matrices)
    return np.asarray(invert(matrices * both)[1] * both)


def scaled_solve(matrices: FloatArray, right: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Solve such systems for right (P, k); pivots (P, k) in units of the diagonal, solutions."""
    both, unit = equal_units(matrices)
    pivots, solutions = solve(matrices * both, (right * unit)[:, None])
    return pivots, solutions[:, 0] * unit


def equal_units(matrices: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Powers of two that bring the diagonals near one: factors of the matrices, and of a side."""
    unit = np.ldexp(1.0, -np.frexp(np.sqrt(np.einsum("pii->pi", matrices)))[1])
    return unit[:, :, None] * unit[:, None, :], unit
