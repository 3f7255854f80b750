"""The bisquare estimate from a start, at a fixed scale: the last stage of the MM estimate.

IRLS, which goes downhill at every step, finds the solution that belongs to the start; Newton steps
finish, and are taken back when they do not close in. A, u and stacks as in ``irls``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vbase_py_utils.kernel.linalg import (
    combined,
    each,
    least_squares,
    products,
    quadratic_forms,
    scaled_inverse,
    scaled_solve,
    weighted_gram,
)
from vbase_py_utils.kernel.losses import Bisquare, FloatArray
from vbase_py_utils.kernel.period_fits import SolverOptions, Status
from vbase_py_utils.kernel.state import MAX_DONE, NOISE, Descent, max_abs

# Least weight of a row in the matrix of IRLS, in units of its exposure weight. It changes the way,
# not the end, and keeps the matrix regular when a factor has no weight left.
IRLS_FLOOR = 1e-12
# Rows of at least this leverage keep the weight they had at the start. Without that the bisquare
# has a saddle between the two assets of a small sector, and rounding decides where it ends.
HELD_LEVERAGE = 0.5 - 1e-9
# Newton begins when a step of IRLS moves no residual by more than SWITCH scales. Its first step may
# be REACH times as long as the rest of the way at the present rate, each later one half as long as
# the one before. Of 21,000 problems, hard ones and clusters of bad rows, none then ended elsewhere
# than plain IRLS, at a median of 7 steps; from 0.03 scales 4 did, from 0.1, at 6 steps, 9. A
# smaller reach or shrinkage changed little but the number of steps.
SWITCH, REACH, SLOWEST_RATE, SHRINKAGE = 0.01, 2.0, 0.95, 0.5
# Smallest pivot of the matrix of IRLS at which its normal equations are used.
MIN_PIVOT = 1e-8


class Descended(NamedTuple):
    """How P periods ended: coefficients of A (P, k), residuals (P, n), steps and status (P,)."""

    b: FloatArray
    u: FloatArray
    n_iter: NDArray[np.int32]
    status: NDArray[np.uint8]


def fixed_weights(A: FloatArray, weights: FloatArray, floor: FloatArray) -> FloatArray:
    """Give the weights (P, n) of rows whose leverage is too high to let them change, else NaN.

    ``weights`` (P, n) are those at the start.
    """
    floored = np.maximum(weights, floor)
    inverse = scaled_inverse(weighted_gram(A, floored, positive=True))
    return np.where(floored * quadratic_forms(inverse, A) >= HELD_LEVERAGE, weights, np.nan)


def redescend(
    A: FloatArray,
    b: FloatArray,
    u: FloatArray,
    s: FloatArray,
    fixed: FloatArray,
    floor: FloatArray,
    loss: Bisquare,
    options: SolverOptions,
) -> Descended:
    """Iterate from b (P, k), with residuals u (P, n), until no fitted value moves.

    s (P,), ``fixed`` and ``floor`` (P, n) as in ``Descent``. Ends ``converged`` or ``max_iter``.
    """
    live = _start(A, b, u, s, fixed, floor)
    ended = Descended(
        b.copy(), u.copy(), np.zeros(len(b), dtype=np.int32), np.zeros(len(b), dtype=np.uint8)
    )

    def end(which: NDArray[np.bool_], n_iter: int, status: Status) -> None:
        which = which & ~live.done
        position = live.position[which]
        ended.b[position], ended.u[position] = live.b[which], live.u[which]
        ended.n_iter[position], ended.status[position] = n_iter, status
        live.done |= which

    for n_iter in range(1, options.max_iter + 1):
        if np.count_nonzero(live.done) > MAX_DONE * len(live.done):
            live.drop_done()
        if not len(live.done):
            return ended
        end(_advance(live, loss, options.tol), n_iter, Status.converged)
    end(~live.done, options.max_iter, Status.max_iter)
    return ended


def _start(
    A: FloatArray, b: FloatArray, u: FloatArray, s: FloatArray, fixed: FloatArray, floor: FloatArray
) -> Descent:
    """Begin every period at IRLS; arguments as for ``redescend``."""
    n_periods = len(b)
    return Descent(
        position=np.arange(n_periods),
        done=np.zeros(n_periods, dtype=np.bool_),
        A=A,
        b=b,
        u=u,
        s=s,
        fixed=fixed,
        floor=floor,
        newton=np.zeros(n_periods, dtype=np.bool_),
        saved_b=b.copy(),
        saved_u=u.copy(),
        switch=np.full(n_periods, SWITCH),
        last_change=np.full(n_periods, np.inf),
        reach=np.zeros(n_periods),
    )


def _advance(live: Descent, loss: Bisquare, tol: float) -> NDArray[np.bool_]:
    """Take one step with every period; give a mask of those that converged."""
    newton, s = live.newton, live.s

    # --- The step: db solves H db = A psi, with the weights in H (IRLS) or psi' (Newton).
    db, weights = _step(live, loss)
    u = live.u - combined(live.A, db)
    # Of rows that have weight: in those far out, rounding of b is large and moves nothing.
    change = max_abs(np.where(weights > 0.0, u - live.u, 0.0))
    change[np.isnan(db).any(axis=1)] = np.nan
    small = change <= max(tol, NOISE * loss.largest_psi) * s

    # --- Newton steps that do not close in are taken back, to where it began.
    back = newton & ~small & ~(change <= live.reach)
    live.b = np.where(back[:, None], live.saved_b, live.b + db)
    live.u = np.where(back[:, None], live.saved_u, u)
    live.switch[back] /= 10.0

    # --- IRLS that has come close goes on by Newton.
    begins = ~newton & ~small & (change <= live.switch * s)
    live.saved_b[begins], live.saved_u[begins] = live.b[begins], live.u[begins]
    rate = np.minimum(change / live.last_change, SLOWEST_RATE)
    first = change * np.maximum(1.0, REACH * rate / (1.0 - rate))
    live.reach = np.where(newton, SHRINKAGE * change, first)
    live.last_change = np.where(newton, live.last_change, change)
    live.newton = (newton & ~back) | begins
    return small


def _step(live: Descent, loss: Bisquare) -> tuple[FloatArray, FloatArray]:
    """Compute one step (P, k) of every period; also gives the weights (P, n) before it."""
    A, u, newton = live.A, live.u, live.newton
    fixed = ~np.isnan(live.fixed)
    weights = np.where(fixed, live.fixed, loss.weight(u, live.s[:, None]))
    score = products(A, weights * u)
    in_matrix = np.maximum(weights, live.floor)
    if newton.any():
        slopes = loss.psi_prime(u[newton], live.s[newton, None])
        in_matrix[newton] = np.where(fixed[newton], live.fixed[newton], slopes)
    H = weighted_gram(A, in_matrix)
    db = np.empty_like(score)
    # H need not be positive definite in Newton's steps.
    db[newton] = each(np.linalg.solve, H[newton], score[newton, :, None])[:, :, 0]
    irls = np.flatnonzero(~newton)
    pivots, db[irls] = scaled_solve(H[irls], score[irls])
    for i in irls[~(pivots >= MIN_PIVOT).all(axis=1)]:
        if not live.done[i]:
            db[i] = least_squares(A[i], u[i] * (weights[i] / in_matrix[i]), in_matrix[i])
    return db, weights
