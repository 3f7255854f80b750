"""Variances of coefficients, their degrees of freedom, and where residuals carry no information.

On the whitened, scaled design, with z = u / s the residuals in units of the scale, so that no unit
of the caller's matters. HC2, the default, divides each squared residual by what the leverage of its
row leaves of its variance, and has degrees of freedom of its own for every coefficient.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vbase_py_utils.kernel.linalg import EPS, dots, invert, quadratic_forms, tiles, weighted_gram
from vbase_py_utils.kernel.losses import FloatArray, Loss
from vbase_py_utils.kernel.stacks import COLLINEAR_SHARE, Stack

CovType = Literal["HC2", "sandwich", "H1"]
DEFAULT_COV_TYPE: CovType = "HC2"

# An eigenvalue of the inlying rows' A'A below this share of the largest is zero up to rounding: the
# sums of thousands of rows leave some 1e-14 of it.
SINGULAR_SHARE = 1e-12
# Zero eigenvalues are looked for only above this condition number; below it there are none: the
# condition of a matrix with one is 1 / rounding, at least 1e12.
MAX_INLYING_CONDITION = 1e10
# A residual below NO_RESIDUAL scales, or ROUNDINGS times its rounding error, is suspected to be
# zero only because the fit is forced through its row. The thresholds are loose, since a suspect
# costs a QR decomposition and no more: the row's leverage (FULL_LEVERAGE) decides.
NO_RESIDUAL, ROUNDINGS, FULL_LEVERAGE = 1e-8, 1e4, 1 - 1e-8
# Under the sum-to-zero constraint every factor of a family depends a little on every asset. A
# variance is kept if at most this share of it comes from uninformative residuals (1 % of the
# variance, half a percent of the error).
UNKNOWN_SHARE = 0.01
# Without a constraint a coefficient is unknown that depends on such a row beyond rounding.
LONE_SHARE = 1e-6


@dataclass(frozen=True, slots=True)
class Wanted:
    """The quantities whose standard errors are wanted.

    Attributes
    ----------
    of_design
        (P, q, k) combinations of the coefficients of the design; ``None``: the coefficients.
    exponents
        (P, q) binary exponents that lead from their units to those of (X, y).
    """

    of_design: FloatArray | None
    exponents: NDArray[np.int32]

    @classmethod
    def of(cls, stack: Stack, combinations: FloatArray | None) -> Wanted:
        """Take combinations (T, q, k) of the coefficients of X to those of the design."""
        if combinations is None:
            return cls(None, stack.to_b)
        own = combinations[stack.periods]
        # Every combination in the largest unit of those that are in it.
        lowest = np.iinfo(np.int32).min
        exponents = np.where(own != 0, stack.to_b[:, None, :], lowest).max(axis=2, initial=lowest)
        exponents[exponents == lowest] = 0
        return cls(np.ldexp(own, stack.to_b[:, None, :] - exponents[:, :, None]), exponents)

    def directions(self, stack: Stack) -> FloatArray:
        """Rows (P, q, k) whose products with a row a of A are q = c' (A A')^-1 a.

        That is how far a change of the row's return moves what is wanted in a least-squares fit.
        They are in units in which every sum q^2 is one.
        """
        directions = self.combined(stack.coefficients(stack.inverse))
        spread = ((directions @ stack.gram) * directions).sum(axis=2)
        return np.asarray(directions / np.sqrt(spread)[:, :, None])

    def combined(self, of_coefficients: FloatArray) -> FloatArray:
        """Combine (P, k, m) of the coefficients of the design to (P, q, m) of what is wanted."""
        if self.of_design is None:
            return of_coefficients
        return np.asarray(self.of_design @ of_coefficients)

    def from_design(self, directions: FloatArray, position: np.intp) -> FloatArray:
        """Combine directions (k, m) in the coefficients of the design of a period, to (q, m)."""
        return directions if self.of_design is None else self.of_design[position] @ directions

    def forget(self, variances: FloatArray, unknown: FloatArray) -> None:
        """Set variances (q,) to NaN where too large a part is ``unknown`` (q,).

        That is the variance which uninformative rows would add if they behaved like the rest.
        """
        share = 0.0 if self.of_design is None else UNKNOWN_SHARE
        variances[~(unknown <= share * variances)] = np.nan

    @property
    def unknown_share(self) -> float:
        """The largest share of sum q^2 that may stand on rows without a residual.

        ``forget`` measures unweighted rows, of which a coefficient may need none at all; this is of
        weighted ones, where rounding leaves a little.
        """
        return LONE_SHARE if self.of_design is None else UNKNOWN_SHARE


def leverages_and_freedom(stack: Stack, wanted: Wanted) -> tuple[FloatArray, FloatArray]:
    """Leverages (P, n) of the rows, a' (A A')^-1 a, and degrees of freedom (P, q) of HC2.

    The latter are (sum q^2)^2 / sum(q^4 / (1 - h)), with q as in ``Wanted.directions``, but at
    least 1 and at most n - k: a lower bound of those of Bell and McCaffrey (2002) for independent
    rows, by Cauchy and Schwarz. They equal n - k where all rows have the same leverage and the same
    |q|, and g - 1 for the mean of g rows that have no other factor. NaN where every q is zero.
    """
    if wanted.of_design is not None:
        h, fourth = _leverages_and_fourths(stack, wanted.directions(stack))
    else:
        h, fourth = _leverages_and_fourths(stack, None)
        if stack.ill.any():
            # The coefficients of A are others than those of the design.
            ill = stack[stack.ill]
            fourth[stack.ill] = _leverages_and_fourths(ill, wanted.directions(ill))[1]
    return h, kept_freedom(1.0 / fourth, stack.sizes - stack.A.shape[1])


def leverages(stack: Stack) -> FloatArray:
    """Leverages (P, n) of the rows, a' (A A')^-1 a, in [0, 1]; their sum over a period is k."""
    return np.clip(quadratic_forms(stack.inverse, stack.A), 0.0, 1.0)


def _leverages_and_fourths(
    stack: Stack, wanted: FloatArray | None
) -> tuple[FloatArray, FloatArray]:
    """Leverages (P, n), and sum q^4 / (1 - h) (P, q), a tile of A at a time.

    ``wanted`` (P, q, k): as ``Wanted.directions``; ``None``: those of the coefficients of A.
    """
    unit = np.sqrt(np.einsum("pii->pi", stack.inverse))[:, None]
    own = stack.inverse / unit.transpose(0, 2, 1)
    h = np.empty(stack.y.shape)
    fourth = np.zeros((own if wanted is None else wanted).shape[:2])
    for some, rows in tiles(stack.A):
        A = stack.A[some, :, rows]
        q = own[some] @ A
        part = np.clip((unit[some] @ (q * A))[:, 0], 0.0, 1.0)
        h[some, rows] = part
        if wanted is not None:
            q = wanted[some] @ A
        fourth[some] += _sum_of_fourths(q, part)
    return h, fourth


def _sum_of_fourths(q: FloatArray, h: FloatArray) -> FloatArray:
    """Sum q^4 / (1 - h) over the rows, of q (P, q, n), which is overwritten."""
    np.square(q, out=q)
    np.square(q, out=q)
    return np.asarray((q @ (1.0 / left_by(h))[:, :, None])[:, :, 0])


def left_by(h: FloatArray) -> FloatArray:
    """1 - h: the share of a row's variance that is left in its residual, but for rounding > 0."""
    return np.maximum(1.0 - h, EPS)


def kept_freedom(freedom: FloatArray, most: NDArray[np.intp]) -> FloatArray:
    """Keep degrees of freedom (P, q) between 1 and ``most`` (P,)."""
    return np.asarray(np.clip(freedom, 1.0, np.maximum(most, 1)[:, None]))


def share_and_freedom_without(
    stack: Stack, wanted: Wanted, position: np.intp, h: FloatArray, without: NDArray[np.intp]
) -> tuple[FloatArray, FloatArray]:
    """Share (q,) of sum q^2 of rows ``without`` a residual, and degrees of freedom of the others.

    Of the period at ``position``, whose leverages are h (n,).
    """
    moved = stack.inverse[position] @ stack.A[position, :, : stack.sizes[position]]
    if stack.triangle is not None:
        moved = np.linalg.solve(stack.triangle[position], moved)
    squares = wanted.from_design(moved, position) ** 2
    squares /= squares.sum(axis=1, keepdims=True)
    share = squares[:, without].sum(axis=1)
    rest = np.delete(np.arange(stack.sizes[position]), without)
    freedom = (1.0 - share) ** 2 / (squares[:, rest] ** 2 / left_by(h[rest])).sum(axis=1)
    most = stack.sizes[[position]] - stack.A.shape[1]
    return share, np.asarray(kept_freedom(freedom[None, :], most)[0])


def without_residual(
    stack: Stack, b: FloatArray, u: FloatArray, unit: FloatArray
) -> Iterator[tuple[np.intp, NDArray[np.intp]]]:
    """Find periods with rows whose residual may be zero but for rounding: positions, rows."""
    # A bound on the size of rows: no exposure of the design and no return exceeds one.
    largest = np.maximum(1.0, np.abs(b).sum(axis=1))
    zero = np.maximum(NO_RESIDUAL * unit, ROUNDINGS * EPS * largest)
    inside = np.arange(u.shape[1]) < stack.sizes[:, None]
    for position in np.flatnonzero(((np.abs(u) <= zero[:, None]) & inside).any(axis=1)):
        rounding = ROUNDINGS * EPS * stack.row_sizes(position, stack.design[position], b[position])
        size = np.abs(u[position, : stack.sizes[position]])
        yield position, np.flatnonzero(size <= np.maximum(NO_RESIDUAL * unit[position], rounding))


def h1_variances(stack: Stack, z: FloatArray, loss: Loss, wanted: Wanted) -> FloatArray:
    """H1 variances (P, q) of what is wanted, in units of the squared scale."""
    n, k = stack.sizes, stack.A.shape[1]
    psi = loss.psi(z)
    m = 1 - np.count_nonzero(loss.psi_prime(z) == 0.0, axis=1) / n  # the zeros beyond n are inlying
    correction = 1 + (k / n) * (1 - m) / m  # psi' is 0 or 1: its variance is m (1 - m)
    inflated = correction**2 * dots(psi, psi) / (n - k) / m**2
    bread = stack.coefficients(stack.inverse)
    covariance = bread
    if stack.triangle is not None:
        covariance = stack.coefficients(bread.transpose(0, 2, 1))
    if wanted.of_design is None:
        return np.asarray(inflated[:, None] * np.einsum("pii->pi", covariance))
    spread = wanted.of_design @ covariance
    return np.asarray(inflated[:, None] * (spread * wanted.of_design).sum(axis=2))


def sandwich_variances(
    stack: Stack, z: FloatArray, loss: Loss, wanted: Wanted, h: FloatArray | None = None
) -> FloatArray:
    """Sandwich variances (P, q) of what is wanted, in units of the squared scale.

    With leverages ``h`` (P, n) those of HC2, else with the factor n / (n - k). NaN where the
    inlying rows carry too little information.
    """
    A, n, k = stack.A, stack.sizes, stack.A.shape[1]
    inlying = weighted_gram(A, loss.psi_prime(z), positive=True)
    _, inverse, condition = invert(inlying)
    null: dict[np.intp, FloatArray] = {}
    for position in np.flatnonzero(~(condition <= MAX_INLYING_CONDITION)):
        inverse[position], directions = _pseudo_inverse(inlying[position])
        # As far as the outlying rows might let the estimate move along each direction.
        known = np.linalg.cholesky(directions.T @ stack.gram[position] @ directions)
        triangle = np.eye(k) if stack.triangle is None else stack.triangle[position]
        directions = _without_rounding(np.linalg.solve(triangle, directions))
        null[position] = np.abs(z[position]).max() * np.linalg.solve(known, directions.T).T
    squares = loss.psi(z) ** 2
    if h is None:
        squares *= (n / (n - k))[:, None]
    else:
        squares /= left_by(h)
    bread = wanted.combined(stack.coefficients(inverse))
    meat = weighted_gram(A, squares, positive=True)
    variances: FloatArray = ((bread @ meat) * bread).sum(axis=2)
    for position, directions in null.items():
        unknown = (wanted.from_design(directions, position) ** 2).sum(axis=1)
        wanted.forget(variances[position], unknown)
    return variances


def moved_alone(
    stack: Stack, position: np.intp, X: FloatArray, suspects: NDArray[np.intp]
) -> tuple[NDArray[np.intp], FloatArray]:
    """Find the m rows among the ``suspects`` of X (n, k) through which the fit must go.

    Without one of them the coefficients it moves are not determined, and its residual has no
    information about their error. Also gives how far (k, m) each moves the coefficients of the
    design if it moves by one scale.
    """
    if not suspects.size:
        return suspects, np.zeros((X.shape[1], 0))
    # Without weights, which would hide rows of little weight.
    exponents = np.frexp(np.abs(X).max(axis=0))[1]
    scaled = np.ldexp(X, -exponents)
    norms = np.sqrt((scaled**2).sum(axis=0))
    Q, R = np.linalg.qr(scaled / norms)
    forced = suspects[(Q[suspects] ** 2).sum(axis=1) >= FULL_LEVERAGE]
    moved = _without_rounding(np.linalg.pinv(R) @ Q[forced].T) / norms[:, None]
    moved = np.ldexp(moved, (stack.exponents[position] - exponents)[:, None])
    return forced, np.asarray(moved / stack.root_w[position, forced])


def _without_rounding(directions: FloatArray) -> FloatArray:
    """Put zero for components of the columns of ``directions`` (k, m) that are rounding."""
    lengths = np.sqrt((directions**2).sum(axis=0))
    return np.where(np.abs(directions) > COLLINEAR_SHARE * lengths, directions, 0.0)


def _pseudo_inverse(matrix: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Pseudo-inverse of a symmetric matrix (k, k) >= 0, and its null vectors (k, m)."""
    values, vectors = np.linalg.eigh(matrix)
    regular = values > SINGULAR_SHARE * values[-1]
    kept = vectors[:, regular]
    inverse: FloatArray = kept / values[regular] @ kept.T
    return inverse, vectors[:, ~regular]
