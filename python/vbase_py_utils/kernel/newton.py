"""The Newton phase: when it begins, how far it may go, when it goes back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vbase_py_utils.kernel.linalg import solve, weighted_gram
from vbase_py_utils.kernel.losses import CORNER_SHARE, FloatArray
from vbase_py_utils.kernel.state import MIN_NEWTON_PIVOT, Live, max_abs, rescale

# The Newton phase, see _advance. A constant switch of 0.1 led to another solution than IRLS in 11
# of 48,000 hard random problems, 0.03 in 1 to 4; this rule in 0 or 1, at 7 steps in the median.
NEWTON_SWITCH, NEWTON_STEPS = 0.1, 8
FAST_RATE = 0.4
NEWTON_MIN_DENOMINATOR = 1e-6
NEWTON_SCALE_RANGE = 0.5, 2.0


def at_the_end_of_many(live: Live, which: NDArray[np.bool_], huber_t: float) -> NDArray[np.intp]:
    """List the periods of ``which`` whose solution is the end of a whole line of solutions.

    When the outlying rows of a few assets balance and no row of theirs is inlying, any point
    between is a solution. Newton stops at the first one, where a row is at the corner of psi; the
    limit of IRLS may lie further on.
    """
    places = np.flatnonzero(which & ~live.done)
    cut = huber_t * live.s[places, None]
    beyond = np.abs(live.u[places]) - cut
    at_corner = np.abs(beyond) <= CORNER_SHARE * cut
    some = at_corner.any(axis=1)
    if not some.any():
        return places[:0]
    places, inlying = places[some], (beyond < 0)[some] & ~at_corner[some]
    A = live.A[places]
    pivots, _ = solve(weighted_gram(A, inlying.astype(np.float64)), live.outer[places, None])
    unique = (pivots >= MIN_NEWTON_PIVOT * live.pivots[places]).all(axis=1)
    return np.asarray(places[~unique])


def _reach(change: FloatArray, last_change: FloatArray) -> FloatArray:
    """How far from its start Newton may go: 8 times as far as IRLS would, at its present rate.

    A linear iteration whose last step was ``change`` and whose steps shrink by ``rate`` has
    change * rate / (1 - rate) to go. At least three times the last step, as the rate may rise.
    """
    rate = np.minimum(change / last_change, 0.999)
    return change * np.maximum(3.0, 8.0 * rate / (1.0 - rate))


def out_of_reach(live: Live) -> NDArray[np.bool_]:
    """Which Newton phases have left the neighbourhood of the point where they began."""
    low, high = NEWTON_SCALE_RANGE
    out = ~((low * live.saved_s <= live.s) & (live.s <= high * live.saved_s))
    # The length of the path bounds the distance, and is nearly always enough.
    far = np.flatnonzero(live.newton & ~(live.travelled <= live.reach))
    if far.size:
        out[far] |= ~(max_abs(live.u[far] - live.saved_u[far]) <= live.reach[far])
    return out


def begin_newton(live: Live, which: NDArray[np.bool_], change: FloatArray) -> None:
    """Save the point that IRLS has reached, and let ``which`` go on from it by Newton steps."""
    if which.any():
        live.newton = live.newton | which
        live.saved_b[which], live.saved_u[which] = live.b[which], live.u[which]
        live.saved_fresh[which], live.saved_s[which] = live.fresh[which], live.s[which]
        live.reach[which] = _reach(change[which], live.last_change[which])
        live.steps[which], live.travelled[which] = 0, 0.0
        live.side[which], live.inner[which], live.outer[which] = 0, live.gram[which], 0.0


def go_back(live: Live, which: NDArray[np.bool_]) -> None:
    """Return ``which`` to the saved point, from where Newton begins ten times later."""
    if which.any():
        live.newton = live.newton & ~which
        live.b[which], live.u[which] = live.saved_b[which], live.saved_u[which]
        live.fresh[which] = live.saved_fresh[which]
        rescale(live, which)
        live.switch[which] /= 10


def middle_row(A: FloatArray, u: FloatArray, size: FloatArray, live: Live) -> FloatArray:
    """Mean of sign(u) a over the one or two rows in the middle (P, k)."""
    every = np.arange(len(u))
    first = (size == live.low[:, None]).argmax(axis=1)
    if live.ranks.odd.all():
        second = first
    else:
        second = (size == live.high[:, None]).argmax(axis=1)
        # Of rows that tie, the first and the last.
        for i in np.flatnonzero((live.low == live.high) & ~live.ranks.odd):
            second[i] = np.flatnonzero(size[i] == live.high[i])[-1]
    mean = np.zeros_like(live.b)
    for i in (first, second):
        mean += np.copysign(0.5, u[every, i])[:, None] * A[every, :, i]
    return mean
