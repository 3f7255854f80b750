"""The whitened, scaled design of one period, and coordinates in which it can be solved.

Rows are multiplied by sqrt(w), columns and returns brought to a common magnitude by powers of two.
A design whose normal equations would lose digits is replaced by the Q of its QR decomposition; one
that is rank deficient is refused, with the columns that depend on each other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack, qr, solve_triangular, svd

from vbase_py_utils.robust import FloatArray

EPS = float(np.finfo(np.float64).eps)

# Below this reciprocal condition of A'A the normal equations are given up for a QR decomposition:
# up to a condition number of 1e3 they leave an error far below the tolerance.
MIN_GRAM_RCOND = 1e-6
# A component of a null vector (unit length) above this names a collinear column.
COLLINEAR_SHARE = 1e-6


class Problem(NamedTuple):
    """A whitened period in the coordinates it is solved in.

    ``A`` (n, k), ``y`` (n,), ``gram`` A'A and ``factor``, its lower Cholesky factor. ``design``
    (n, k) is A, or the ill-conditioned A = QR that Q stands for; then ``triangle`` is R (k, k).
    """

    A: FloatArray
    y: FloatArray
    gram: FloatArray
    factor: FloatArray
    design: FloatArray
    triangle: FloatArray | None

    def coefficients(self, b: FloatArray) -> FloatArray:
        """Coefficients of ``design`` from those of A, in a vector (k,) or in columns (k, m)."""
        if self.triangle is None:
            return b
        return np.asarray(solve_triangular(self.triangle, b, check_finite=False))

    def row_sizes(self, b: FloatArray) -> FloatArray:
        """Magnitude of what a row's residual is the difference of; times EPS, its rounding.

        ``b``: coefficients of ``design``.
        """
        fitted: FloatArray = np.abs(self.design) @ np.abs(b)
        return np.maximum(np.abs(self.y), fitted)


def whiten(
    X: FloatArray, y: FloatArray, root_w: FloatArray | None
) -> tuple[FloatArray, FloatArray, NDArray[np.int32], int]:
    """Scale rows by sqrt(w), then columns and returns by powers of two, which is exact.

    Returns A (columns of norm in [0.5, 1), or zero), v (largest |v| in [0.5, 1), or zero), and the
    binary exponents that lead from the coefficients and the scale of (A, v) to those of (X, y, w).
    """
    weight_exponent = 0
    y_exponent = _exponent(y)
    v = np.ldexp(y, -y_exponent)
    A = X
    if root_w is not None:
        weight_exponent = _exponent(root_w)
        relative = np.ldexp(root_w, -weight_exponent)
        v = v * relative
        A = X * relative[:, None]
    squares = np.einsum("ij,ij->j", A, A)
    if np.all((squares > 1e-280) & (squares < 1e280)):
        exponents = np.frexp(np.sqrt(squares))[1]
        A = A * np.ldexp(1.0, -exponents)
    else:
        exponents = np.frexp(np.abs(A).max(axis=0))[1]
        A = np.ldexp(A, -exponents)
        more = np.frexp(np.sqrt(np.einsum("ij,ij->j", A, A)))[1]
        A, exponents = np.ldexp(A, -more), exponents + more
    v_exponent = _exponent(v)
    v = np.ldexp(v, -v_exponent)
    to_b = (y_exponent + v_exponent - exponents).astype(np.int32)
    return A, v, to_b, y_exponent + v_exponent + weight_exponent


def _exponent(values: FloatArray) -> int:
    """Binary exponent e of the largest |value| m, so that m / 2^e is in [0.5, 1)."""
    return int(np.frexp(np.abs(values).max())[1])


def prepare(A: FloatArray, y: FloatArray) -> Problem | NDArray[np.bool_]:
    """Choose coordinates in which A (n, k) can be solved, or say which columns are dependent."""
    gram = A.T @ A
    factor = cholesky(gram)
    if factor is not None:
        norm = np.abs(gram).sum(axis=0).max()
        rcond, _ = lapack.dpocon(factor, norm, uplo="L")
        if rcond >= MIN_GRAM_RCOND:
            return Problem(A, y, gram, factor, A, None)
    Q, R = (
        np.asarray(part, dtype=np.float64) for part in qr(A, mode="economic", check_finite=False)
    )
    _, lengths, directions = svd(R, check_finite=False)
    null = lengths <= max(A.shape) * EPS * lengths[0]
    if null.any():
        columns: NDArray[np.bool_] = (np.abs(directions[null]) > COLLINEAR_SHARE).any(axis=0)
        return columns
    identity = np.eye(A.shape[1])
    return Problem(Q, y, identity, identity, A, R)


def cholesky(matrix: FloatArray) -> FloatArray | None:
    """Lower Cholesky factor (k, k), upper triangle undefined; None if not positive definite."""
    factor, info = lapack.dpotrf(matrix, lower=1, clean=0)
    return None if info else factor
