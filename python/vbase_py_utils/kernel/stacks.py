"""Periods side by side in stacks: whitened, scaled, in coordinates in which they can be solved.

A stack holds periods of about the same number of rows in one array, so that a NumPy call serves
all of them. Rows are multiplied by sqrt(w), columns and returns brought to a common magnitude by
powers of two. A design whose normal equations would lose digits is replaced by the Q of its QR
decomposition; one that is rank deficient is refused, with the columns that depend on each other.

What becomes of a period depends on its own rows alone, to the last bit: the width it is padded to
follows from its own number of rows, never from its neighbours'.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vbase_py_utils.kernel.linalg import EPS, dots, gram_of, invert, products
from vbase_py_utils.kernel.losses import FloatArray
from vbase_py_utils.kernel.scale import Ranks
from vbase_py_utils.kernel.threads import idle_cores

# Above this condition of A A' the normal equations are given up for a QR decomposition: up to a
# condition number of 1e3 they leave an error far below the tolerance.
MAX_GRAM_CONDITION = 1e6
# A component of a null vector (unit length) above this names a collinear column.
COLLINEAR_SHARE = 1e-6
# Exposures in a stack: 8 MB, or where other cores could help a fifth of the block's, but 2 MB. On
# two cores with 2 MB of L2 each, 1 MB costs a third more than 8 MB, since the time then goes into
# calls and into waiting for the interpreter; but a stack takes several times its size while it is
# worked on.
LEAST_CELLS, STACK_CELLS, STACKS = 2**18, 2**20, 5
# Sums of squares in this range have lost no digits.
SAFE_SQUARES = 1e-280, 1e280
SMALLEST_NORMAL = float(np.finfo(np.float64).tiny)


# A matrix (N, k), or a sequence of its k columns, which need not lie side by side in memory.
Exposures = FloatArray | Sequence[FloatArray]


def columns_of(X: Exposures) -> Sequence[FloatArray]:
    """List the k columns (N,) of X."""
    return list(np.ascontiguousarray(X.T)) if isinstance(X, np.ndarray) else X


@dataclass(frozen=True, slots=True)
class Block:
    """The arrays of whole periods, as ``fit_periods`` gets them; X as its k ``columns``."""

    columns: Sequence[FloatArray]
    y: FloatArray
    w: FloatArray | None
    starts: NDArray[np.intp]
    rows: NDArray[np.intp] | None = None

    @property
    def sizes(self) -> NDArray[np.intp]:
        """Rows of each period (T,)."""
        return np.diff(self.starts)

    def exposures(self, period: np.intp) -> FloatArray:
        """X (n, k) of one period."""
        rows: slice | NDArray[np.intp] = slice(self.starts[period], self.starts[period + 1])
        if self.rows is not None:
            rows = self.rows[rows]
        return np.column_stack([column[rows] for column in self.columns])


@dataclass(frozen=True, slots=True)
class Stack:
    """P periods of k exposures, whitened; a row of the panel is a column of a period here.

    Attributes
    ----------
    periods
        (P,) positions in the block.
    sizes
        (P,) rows of each period; the columns beyond are zero.
    ranks
        Where the middle of the rows of each period is.
    root_w
        (P, n) square roots of the weights up to a factor.
    A
        (P, k, n) the design, or in ``ill`` periods the Q of design = (Q R)'.
    y
        (P, n) returns.
    gram
        (P, k, k) A A'.
    score
        (P, k) A y.
    inverse
        (P, k, k) inverse of A A'.
    pivots
        (P, k) squares of the pivots of the Cholesky factor of A A'.
    condition
        (P,) bounds of the condition numbers of A A'.
    design
        (P, k, n) exposures times root_w, scaled.
    triangle
        (P, k, k) R in ``ill`` periods and I in others; ``None`` if no period is ill.
    ill
        (P,) whether the design is ill-conditioned.
    exponents
        (P, k) X is the design times 2 to their power, but for weights.
    to_u, to_s
        (P,) binary exponents that lead to the units of y, and to those of the scale.
    """

    periods: NDArray[np.intp]
    sizes: NDArray[np.intp]
    ranks: Ranks
    root_w: FloatArray
    A: FloatArray
    y: FloatArray
    gram: FloatArray
    score: FloatArray
    inverse: FloatArray
    pivots: FloatArray
    condition: FloatArray
    design: FloatArray
    triangle: FloatArray | None
    ill: NDArray[np.bool_]
    exponents: NDArray[np.int32]
    to_u: NDArray[np.int32]
    to_s: NDArray[np.int32]

    def __getitem__(self, which: NDArray[np.bool_]) -> Stack:
        """Only the periods selected."""
        values: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            values[field.name] = None if value is None else value[which]
        return Stack(**values)

    @property
    def to_b(self) -> NDArray[np.int32]:
        """Binary exponents (P, k) from the coefficients of the design to those of X."""
        return np.asarray(self.to_u[:, None] - self.exponents)

    def coefficients(self, b: FloatArray) -> FloatArray:
        """Coefficients of the design from those of A, both (P, k, m)."""
        if self.triangle is None:
            return b
        return np.asarray(np.linalg.solve(self.triangle, b), dtype=np.float64)

    def coefficients_of(self, b: FloatArray) -> FloatArray:
        """Coefficients of the design from those of A, both (P, k)."""
        return self.coefficients(b[:, :, None])[:, :, 0]

    def from_coefficients(self, b: FloatArray) -> FloatArray:
        """Coefficients of A from those of the design, both (P, k)."""
        if self.triangle is None:
            return b
        return np.asarray((self.triangle @ b[:, :, None])[:, :, 0])

    def row_sizes(self, position: np.intp, design: FloatArray, b: FloatArray) -> FloatArray:
        """Give the larger of |y| and |x|'|b|; times EPS it bounds the rounding of a residual.

        One for each row of the period at ``position``, which has the ``design`` (k, n); ``b`` (k,)
        are coefficients of it.
        """
        n = self.sizes[position]
        fitted: FloatArray = np.abs(b) @ np.abs(design[:, :n])
        return np.maximum(np.abs(self.y[position, :n]), fitted)


def put_rows(
    block: Block,
    periods: NDArray[np.intp],
    values: FloatArray,
    where: FloatArray,
    rows: NDArray[np.intp] | None = None,
) -> None:
    """Put values (P, n) of the rows of periods where they stand among all usable rows (M,).

    With ``rows`` (M,), that list of the usable rows, where they stand among all rows (N,).
    """
    for own, period in zip(values, periods, strict=True):
        place: slice | NDArray[np.intp] = slice(block.starts[period], block.starts[period + 1])
        if rows is not None:
            place = rows[place]
        where[place] = own[: block.starts[period + 1] - block.starts[period]]


def plan_stacks(
    sizes: NDArray[np.intp], n_factors: int, *, short_calls: bool = False
) -> list[NDArray[np.intp]]:
    """Group periods of equal width into stacks, small enough for memory and for sharing.

    Gives arrays of positions in ``sizes`` (T,). Periods with fewer rows than factors are left out.
    ``short_calls`` as in ``run_together``.
    """
    enough = np.flatnonzero(sizes >= n_factors)
    width = widths(sizes[enough])
    cells = STACK_CELLS
    if idle_cores(short_calls=short_calls):
        cells = min(cells, max(LEAST_CELLS, int(sizes.sum()) * n_factors // STACKS))
    stacks = []
    for n in np.unique(width):
        alike = enough[width == n]
        most = max(1, cells // int(n * n_factors))
        stacks += [alike[i : i + most] for i in range(0, len(alike), most)]
    # The longest first, so that threads end at about the same time.
    return sorted(stacks, key=lambda stack: -int(sizes[stack].sum()))


def widths(sizes: NDArray[np.intp]) -> NDArray[np.intp]:
    """Give the width for periods of ``sizes``: even, and at most 1 or an eighth too large."""
    step = np.left_shift(1, np.maximum(np.frexp(sizes)[1] - 4, 1))
    return np.asarray(-(-sizes // step) * step)


class Dependent(NamedTuple):
    """Periods (D,) that are rank deficient, and which ``columns`` (D, k) are linearly dependent."""

    periods: NDArray[np.intp]
    columns: NDArray[np.bool_]


class Room(threading.local):
    """Memory for one array at a time, which each thread uses again for its next stack.

    New memory is given to the process page by page, which takes as long as filling it.
    """

    def __init__(self) -> None:
        self._memory = np.empty(0)

    def array(self, shape: tuple[int, ...]) -> FloatArray:
        """Give an array with any values; the one given before must no longer be in use."""
        size = math.prod(shape)
        if self._memory.size < size:
            self._memory = np.empty(size)
        return self._memory[:size].reshape(shape)


def stack_periods(
    block: Block, periods: NDArray[np.intp], room: Room | None = None
) -> tuple[Stack, Dependent]:
    """Stack ``periods`` of one width, all that have full rank.

    Exposures of a period get a norm in [0.5, 1), returns a largest magnitude in [0.5, 1), if any.
    With a ``room``, the stack is in its memory.
    """
    sizes = block.sizes[periods]
    width = int(widths(sizes[:1])[0])
    values = Layout(block, periods, width)
    A = (room or Room()).array((len(periods), len(block.columns), width))
    y = values.of(block.y)
    y_exponent = _bring_near_one(y)
    if block.w is None:
        root_w = (np.arange(width) < sizes[:, None]).astype(np.float64)
        weight_exponent = np.zeros(len(periods), dtype=np.int32)
    else:
        root_w = values.of(block.w)
        np.sqrt(root_w, out=root_w)
        weight_exponent = _bring_near_one(root_w)
    y *= root_w
    v_exponent = _bring_near_one(y)
    values.put_weighted(block.columns, root_w, A)
    gram, exponents = _scale_rows(A)
    pivots, inverse, condition = invert(gram)
    stack = Stack(
        periods,
        sizes,
        Ranks.of(sizes, width),
        root_w,
        A,
        y,
        gram,
        products(A, y),
        inverse,
        pivots,
        condition,
        design=A,
        triangle=None,
        ill=~(condition <= MAX_GRAM_CONDITION),
        exponents=exponents,
        to_u=y_exponent + v_exponent,
        to_s=y_exponent + v_exponent + weight_exponent,
    )
    return _in_orthogonal_coordinates(stack, np.flatnonzero(stack.ill))


class Layout:
    """The rows of periods, to be laid side by side and padded with zeros to ``width`` columns."""

    def __init__(self, block: Block, periods: NDArray[np.intp], width: int) -> None:
        sizes, first = block.sizes[periods], block.starts[periods]
        n_periods, longest = len(sizes), int(sizes.max())
        self.shape, self.own_shape = (n_periods, width), (n_periods, longest)
        self.beyond = np.arange(longest) >= sizes[:, None]
        self.index: slice | NDArray[np.intp] = slice(first[0], first[0] + n_periods * longest)
        if self.beyond.any() or np.any(np.diff(first) != longest):
            # Beyond the rows of a period stands its last.
            self.index = first[:, None] + np.minimum(np.arange(longest), sizes[:, None] - 1)
        if block.rows is not None:
            self.index = block.rows[self.index]

    def _own(self, values: FloatArray) -> FloatArray:
        if isinstance(self.index, slice):
            return values[self.index].reshape(self.own_shape)
        return values.take(self.index).reshape(self.own_shape)

    def of(self, values: FloatArray) -> FloatArray:
        """Lay out values (N,) as (P, n)."""
        laid_out = np.zeros(self.shape)
        laid_out[:, : self.own_shape[1]] = self._own(values)
        laid_out[:, : self.own_shape[1]][self.beyond] = 0.0
        return laid_out

    def put_weighted(
        self, columns: Sequence[FloatArray], root_w: FloatArray, A: FloatArray
    ) -> None:
        """Lay out k columns (N,), each times root_w (P, n), into A (P, k, n)."""
        longest = self.own_shape[1]
        for j, column in enumerate(columns):
            np.multiply(self._own(column), root_w[:, :longest], out=A[:, j, :longest])
        A[:, :, longest:] = 0.0


def exponents_of(values: FloatArray) -> NDArray[np.int32]:
    """Binary exponents e of the largest |value| m along the last axis: m / 2^e is in [0.5, 1)."""
    return np.asarray(np.frexp(np.maximum(values.max(axis=-1), -values.min(axis=-1)))[1])


def _bring_near_one(values: FloatArray) -> NDArray[np.int32]:
    """Divide rows (P, n) by the powers of two (P,) that ``exponents_of`` gives, in place."""
    exponents = exponents_of(values)
    factors = np.ldexp(1.0, -exponents)
    if np.isfinite(factors).all() and (factors >= SMALLEST_NORMAL).all():
        values *= factors[:, None]
    else:
        values[...] = np.ldexp(values, -exponents[:, None])
    return exponents


def _scale_rows(A: FloatArray) -> tuple[FloatArray, NDArray[np.int32]]:
    """Divide the rows of every A[p] by powers of two, in place; the new A A' and the exponents."""
    gram = gram_of(A)
    squares = np.einsum("pii->pi", gram)
    exponents = np.frexp(np.sqrt(squares))[1]
    low, high = SAFE_SQUARES
    safe = ((squares > low) & (squares < high)).all(axis=1)
    factors = np.where(safe[:, None], np.ldexp(1.0, -exponents), 1.0)
    A *= factors[:, :, None]
    gram *= factors[:, :, None]
    gram *= factors[:, None, :]
    for p in np.flatnonzero(~safe):
        coarse = exponents_of(A[p])
        A[p] = np.ldexp(A[p], -coarse[:, None])
        exponents[p] = np.frexp(np.sqrt(dots(A[p], A[p])))[1]
        exponents[p], A[p] = coarse + exponents[p], np.ldexp(A[p], -exponents[p][:, None])
        gram[p] = gram_of(A[p : p + 1])[0]
    return gram, exponents


def _in_orthogonal_coordinates(
    stack: Stack, positions: NDArray[np.intp]
) -> tuple[Stack, Dependent]:
    """Replace the designs at ``positions`` by the Q of their QR decompositions, if of full rank."""
    k = stack.A.shape[1]
    if not positions.size:
        return stack, Dependent(positions, np.empty((0, k), dtype=np.bool_))
    Q, R = np.linalg.qr(stack.A[positions].transpose(0, 2, 1))
    _, lengths, directions = np.linalg.svd(R)
    rounding = np.maximum(stack.sizes[positions], k) * EPS * lengths[:, 0]
    null = lengths <= rounding[:, None]
    columns = (null[:, :, None] & (np.abs(directions) > COLLINEAR_SHARE)).any(axis=1)
    deficient = null.any(axis=1)
    dependent = Dependent(stack.periods[positions[deficient]], columns[deficient])
    A, triangle = stack.A.copy(), np.tile(np.eye(k), (len(stack.periods), 1, 1))
    A[positions], triangle[positions] = Q.transpose(0, 2, 1), R
    stack.gram[positions] = stack.inverse[positions] = np.eye(k)
    stack.score[positions] = products(A[positions], stack.y[positions])
    stack.pivots[positions] = stack.condition[positions] = 1.0
    stack = replace(stack, A=A, triangle=triangle)
    if deficient.any():
        full_rank = np.ones(len(A), dtype=np.bool_)
        full_rank[positions[deficient]] = False
        stack = stack[full_rank]
    return stack, dependent
