"""One step of every period of a stack, IRLS or Newton: its linear systems, and their solution."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vbase_py_utils.kernel.linalg import (
    dots,
    least_squares,
    outer_products,
    products,
    solve,
    weighted_products,
)
from vbase_py_utils.kernel.losses import FloatArray, Loss
from vbase_py_utils.kernel.newton import MIN_NEWTON_PIVOT, NEWTON_MIN_DENOMINATOR, middle_row
from vbase_py_utils.kernel.scale import MAD_PER_SIGMA
from vbase_py_utils.kernel.state import Live

# Periods with at least this many cells (n x k) are updated by _downdated: its NumPy calls for each
# period pay off from about here.
GATHER_CELLS = 10_000
# Smallest squared pivot of A W A', relative to that of A A', at which the normal equations of an
# IRLS step are used: half the digits are left, enough for a step that the next one corrects. Below
# it the step comes from a QR decomposition. Any value from 0 to 1e-3 gives the same answers to the
# 48,000 problems of `just campaign`: it is for the rare period whose outlying rows carry a
# direction nearly alone.
MIN_IRLS_PIVOT = 1e-8


class Step(NamedTuple):
    """A step of P periods.

    The change ``db`` (P, k) of b, the new scale ``s`` (P,) of Newton periods, a mask ``refused``
    (P,) of periods for which no safe step exists, and the share ``left`` (P,) of the least pivot of
    A A' that is left in the matrix of the step.
    """

    db: FloatArray
    s: FloatArray
    refused: NDArray[np.bool_]
    left: FloatArray


def find_sides(live: Live, loss: Loss) -> None:
    """Compute psi, and on which side rows are outlying."""
    live.psi, live.last_side = loss.psi(live.u, live.s[:, None]), live.side
    outlying = live.psi != live.u
    negative = (outlying & np.signbit(live.u)).view(np.int8)
    live.side = outlying.view(np.int8) - 2 * negative


def step(live: Live, loss: Loss) -> Step:
    """Compute one step of every period."""
    A, u, s, newton = live.A, live.u, live.s, live.newton.on
    if loss.is_quadratic:
        _, db = solve(live.gram, products(A, u)[:, None])
        return Step(db[:, 0], s, np.zeros_like(newton), np.ones_like(s))

    # --- The systems H p = A psi and H q s = outer. Of IRLS, H = A W A' with W the robustness
    # weights; of Newton, W = psi', one for inlying rows, and outer = A (psi - psi' u) is what the
    # outlying rows, whose psi is +-t s, add to A psi. Psi is in units of the returns.
    some_newton = bool(newton.any())
    if not loss.has_newton:
        weights = loss.weight(u, s[:, None])
        H, right = weighted_products(A, weights, weights * u, None)
    elif A[0].size >= GATHER_CELLS:
        H, outer = _downdated(live, loss)
        right = np.stack([products(A, live.psi), outer], axis=1)
    else:
        weights, beyond = loss.weight(u, s[:, None]), None
        if some_newton:
            ones = (live.side == 0).astype(np.float64)
            weights = ones if newton.all() else np.where(newton[:, None], ones, weights)
            beyond = 1.0 - weights
            beyond *= live.psi
        H, right = weighted_products(A, weights, live.psi, beyond)
    # Both right sides always: solving for one rounds differently.
    pivots, solution = solve(H, right)
    left = (pivots / live.pivots).min(axis=1)
    refused = np.asarray(~(left >= np.where(newton, MIN_NEWTON_PIVOT, MIN_IRLS_PIVOT)))

    # --- The step of IRLS, in delta form: db = p.
    p = solution[:, 0]
    for i in (refused & ~newton & ~live.done).nonzero()[0]:
        p[i] = least_squares(A[i], u[i], loss.weight(u[i], s[i]))
    if not some_newton:
        return Step(p, s, refused, left)

    # --- The step of Newton, for A psi_s(u) = 0 and median|u| = MAD_PER_SIGMA s together:
    # db = p + (s' - s) q. The median is linear along the one or two rows in the middle, which
    # gives the new scale s'.
    q = solution[:, 1] / s[:, None]
    middle = middle_row(live)
    along_p, along_q = (dots(middle, direction) for direction in (p, q))
    denominator = MAD_PER_SIGMA + along_q
    s_new = (0.5 * (live.low + live.high) - along_p + s * along_q) / denominator
    refused = np.asarray(refused | ~(denominator > NEWTON_MIN_DENOMINATOR))
    # Where IRLS found its step another way, q may be infinite.
    db = p + np.where(newton[:, None], (s_new - s)[:, None] * q, 0.0)
    return Step(db, s_new, refused, left)


def _downdated(live: Live, loss: Loss) -> tuple[FloatArray, FloatArray]:
    """Compute A W A' (P, k, k) from A A', and for Newton the outlying rows' part of A psi (P, k).

    Reads outlying rows alone, and after the first Newton step only those that have changed sides:
    it pays for long cross-sections.
    """
    A, phase, side, last_side = live.A, live.newton, live.side, live.last_side
    newton, irls = (some & ~live.done for some in (phase.on, ~phase.on))
    if newton.any():
        index, columns = _by_period((side != last_side) & newton[:, None])
        new, old = side.take(index), last_side.take(index)
        change = (new - old).astype(np.float64)
        beyond = (np.abs(new) - np.abs(old)).astype(np.float64)
        for i, own, some in columns:
            rows = A[i].take(some, axis=1)
            phase.outer[i] += rows @ change[own]
            phase.inner[i] -= outer_products(rows, beyond[own])
    H = np.where(phase.on[:, None, None], phase.inner, live.gram)
    index, columns = _by_period((side != 0) & irls[:, None])
    lost = 1.0 - live.psi.take(index) / live.u.take(index)
    for i, own, some in columns:
        rows = A[i].take(some, axis=1)
        H[i] -= outer_products(rows, lost[own])
    return H, (loss.largest_psi * live.s)[:, None] * phase.outer


def _by_period(
    which: NDArray[np.bool_],
) -> tuple[NDArray[np.intp], list[tuple[int, slice, NDArray[np.intp]]]]:
    """List where a mask (P, n) is true, as positions in its flat form.

    And for each period that has any: its number, the slice of its positions, their columns.
    """
    n = which.shape[1]
    index = np.flatnonzero(which)
    bounds = np.searchsorted(index, np.arange(len(which) + 1) * n).tolist()
    columns = index % n
    parts = [
        (i, slice(first, last), columns[first:last])
        for i, (first, last) in enumerate(pairwise(bounds))
        if last > first
    ]
    return index, parts
