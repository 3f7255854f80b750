"""Variances of the MM estimate and their degrees of freedom.

HC2 and its degrees of freedom, computed on the design weighted by the final weights. Unweighted
leverages would let rows that lost their weight still count, and make intervals several times too
long.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vbase_py_utils.kernel.covariance import (
    FULL_LEVERAGE,
    LONE_SHARE,
    Wanted,
    kept_freedom,
    left_by,
)
from vbase_py_utils.kernel.linalg import (
    EPS,
    equal_units,
    invert,
    pieces,
    quadratic_forms,
    scaled_inverse,
    weighted_gram,
)
from vbase_py_utils.kernel.losses import Bisquare, FloatArray
from vbase_py_utils.kernel.stacks import Stack

# The slopes psi' can add up to little or less than nothing in a direction; the bread has at least
# this share of the information that the final weights have.
LEAST_INFORMATION = 0.25


class FinalWeights(NamedTuple):
    """How P periods ended: all (P, n), residuals z in units of the scale.

    ``weights`` are those of the bisquare, ``slopes`` its psi', ``floored`` the weights with a least
    value above zero.
    """

    z: FloatArray
    weights: FloatArray
    slopes: FloatArray
    floored: FloatArray

    @classmethod
    def of(
        cls, z: FloatArray, fixed: FloatArray, floor: FloatArray, loss: Bisquare
    ) -> FinalWeights:
        """Take weights and slopes of the loss, but where weights are ``fixed``, not NaN."""
        free = np.isnan(fixed)
        weights = np.where(free, loss.weight(z), fixed)
        slopes = np.where(free, loss.psi_prime(z), fixed)
        return cls(z, weights, slopes, np.maximum(weights, floor))


def mm_variances(
    stack: Stack, final: FinalWeights, wanted: Wanted
) -> tuple[FloatArray, FloatArray]:
    """Variances (P, q) of what is wanted, in units of the squared scale; degrees of freedom.

    W^-1 [sum psi^2 / (1 - h) a a'] W^-1 with W = sum psi' a a' and h the leverage under the final
    weights V; with q = sqrt(V) c' (A V A')^-1 a the degrees of freedom are those of HC2. NaN where
    a coefficient rests on rows without weight, or on one with a leverage of one.
    """
    A, k = stack.A, stack.A.shape[1]
    V = final.floored
    gram = weighted_gram(A, V, positive=True)
    inverse = scaled_inverse(gram)
    directions = wanted.combined(stack.coefficients(inverse))
    unit = np.sqrt(((directions @ gram) * directions).sum(axis=2))[:, :, None]
    h = V * quadratic_forms(inverse, A)
    left, full = left_by(h), h >= FULL_LEVERAGE
    # Of sum q^2 = 1: sum q^4 / (1 - h), what stands on rows without weight, and on those through
    # which the fit must go.
    fourth, lost, forced = (np.empty(directions.shape[:2]) for _ in range(3))
    for some in pieces(A):
        q = (directions[some] / unit[some]) @ A[some]
        np.square(q, out=q)
        q *= V[some, None]
        lost[some] = _sums(q, final.weights[some] == 0.0)
        forced[some] = _sums(q, full[some])
        np.square(q, out=q)
        fourth[some] = _sums(q, np.where(full[some], 0.0, 1.0 / left[some]))
    psi = final.weights * final.z
    meat = weighted_gram(A, psi * psi / left, positive=True)
    bread = wanted.combined(stack.coefficients(invert(_bread(A, final, gram))[1]))
    variances = ((bread @ meat) * bread).sum(axis=2)
    variances[~((lost <= LONE_SHARE) & (forced <= wanted.unknown_share))] = np.nan
    # What no coefficient is in, such as the only category of a family, is zero for certain.
    variances[unit[:, :, 0] == 0.0] = 0.0
    return variances, kept_freedom((1.0 - forced) ** 2 / fourth, stack.sizes - k)


def _sums(q: FloatArray, factors: FloatArray | NDArray[np.bool_]) -> FloatArray:
    """Sum q (P, q, n) times factors (P, n) over the rows."""
    return np.asarray((q @ factors[:, :, None].astype(np.float64))[:, :, 0])


def _bread(A: FloatArray, final: FinalWeights, gram: FloatArray) -> FloatArray:
    """Sum of psi' a a' (P, k, k), with at least LEAST_INFORMATION of ``gram`` in any direction."""
    bread = weighted_gram(A, np.where(final.weights == 0.0, final.floored, final.slopes))
    least = invert(bread - LEAST_INFORMATION * gram)[0]
    for i in np.flatnonzero(~(least > 0.0).all(axis=1)):
        bread[i] = _raised(bread[i], gram[i])
    return bread


def _raised(bread: FloatArray, gram: FloatArray) -> FloatArray:
    """Raise the eigenvalues of a bread (k, k) relative to ``gram`` to LEAST_INFORMATION."""
    both, _ = equal_units(gram[None])
    values, vectors = np.linalg.eigh(gram * both[0])
    roots = np.sqrt(np.maximum(values, EPS * values[-1]))
    relative, turned = np.linalg.eigh((vectors / roots).T @ (bread * both[0]) @ (vectors / roots))
    back = (vectors * roots) @ turned
    raised = (back * np.maximum(relative, LEAST_INFORMATION)) @ back.T
    return np.asarray(raised / both[0])
