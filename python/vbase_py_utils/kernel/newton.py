"""The Newton phase: when it begins, how far it may go, when it goes back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vbase_py_utils.kernel.linalg import solve, weighted_gram
from vbase_py_utils.kernel.losses import FloatArray, Loss
from vbase_py_utils.kernel.state import Live, max_abs, rescale

# The constants of the phase were tried on 48,000 hard random problems, those of `just campaign`.
#
# Newton begins when an IRLS step moves no residual by more than this many scales; a tenth of it
# where steps still shrink slowly, by less than FAST_RATE from one to the next. A constant 0.1 led
# to another solution than IRLS in 11 of the problems, 0.03 in 1 to 4; this rule in 0 or 1, at 7
# steps in the median.
NEWTON_SWITCH, FAST_RATE = 0.1, 0.4
# The most steps of a phase, which bounds what one that cycles between sets of inlying rows costs:
# 3 or 30 give the same answers.
NEWTON_STEPS = 8
# Smallest squared pivot of A W A', relative to that of A A', at which a Newton step is taken: ten
# of sixteen digits may be lost, and the next step restores them. Any value from 0 to 1e-6 gives the
# same answers; it is a guard against systems that are singular up to rounding.
MIN_NEWTON_PIVOT = 1e-10
# The median condition has no solution, or one far off, where its slope is not above this. Without
# the limit 16 of the problems end at another solution.
NEWTON_MIN_DENOMINATOR = 1e-6
# A phase may not halve or double the scale: IRLS near its limit does not. A factor of ten gives the
# same answers; like the reach, this is a guard.
NEWTON_SCALE_RANGE = 0.5, 2.0
# How far a phase may go: REACH times as far as IRLS would go at its present rate, which may still
# rise, and at least LEAST_REACH times the last step. These are the largest that led to no other
# solution: twice as far led 2 of the problems to one, four times 3, no limit 4. Half as far costs
# half a step more on average. SLOWEST_RATE stands for a rate of one, at which IRLS never ends.
REACH, LEAST_REACH, SLOWEST_RATE = 8.0, 3.0, 0.999
# A phase ends without a last step if rounding would make that shorter than this share of the
# tolerance: 1e-13 scales by default.
SETTLED = 1e-3


def ends_of_intervals(live: Live, which: NDArray[np.bool_], loss: Loss) -> NDArray[np.intp]:
    """Find the periods of ``which`` whose solution is an endpoint of a whole interval of solutions.

    When the outlying rows of a few assets balance and none of their rows is inlying, any point
    between is a solution. Newton stops at the first one, where a row is at the corner of psi; the
    limit of IRLS may lie further on.
    """
    found = (which & ~live.done).nonzero()[0]
    if not found.size:
        return found
    u, s = live.u[found], live.s[found, None]
    at_corner = loss.is_at_corner(u, s)
    some = at_corner.any(axis=1)
    if not some.any():
        return found[:0]
    found = found[some]
    inlying = loss.psi_prime(u[some], s[some]) * ~at_corner[some]
    gram = weighted_gram(live.A[found], inlying)
    pivots, _ = solve(gram, live.newton.outer[found, None])
    unique = (pivots >= MIN_NEWTON_PIVOT * live.pivots[found]).all(axis=1)
    return np.asarray(found[~unique])


def _reach(change: FloatArray, last_change: FloatArray) -> FloatArray:
    """How far Newton may go from its start.

    A linear iteration whose last step was ``change`` and whose steps shrink by ``rate`` has
    change * rate / (1 - rate) to go.
    """
    rate = np.minimum(change / last_change, SLOWEST_RATE)
    return change * np.maximum(LEAST_REACH, REACH * rate / (1.0 - rate))


def out_of_reach(live: Live) -> NDArray[np.bool_]:
    """Which Newton phases have left the neighbourhood of the point where they began."""
    phase = live.newton
    low, high = NEWTON_SCALE_RANGE
    out = ~((low * phase.saved.s <= live.s) & (live.s <= high * phase.saved.s))
    # The length of the path bounds the distance, and is nearly always enough.
    far = (phase.on & ~(phase.travelled <= phase.reach)).nonzero()[0]
    if far.size:
        out[far] |= ~(max_abs(live.u[far] - phase.saved.u[far]) <= phase.reach[far])
    return out


def begin_newton(live: Live, which: NDArray[np.bool_], change: FloatArray) -> None:
    """Save the point that IRLS has reached, and let ``which`` go on from it by Newton steps."""
    if not which.any():
        return
    phase, saved = live.newton, live.newton.saved
    phase.on = phase.on | which
    saved.b[which], saved.u[which] = live.b[which], live.u[which]
    saved.s[which], saved.fresh[which] = live.s[which], live.fresh[which]
    phase.reach[which] = _reach(change[which], live.last_change[which])
    phase.steps[which], phase.travelled[which], phase.rounding[which] = 0, 0.0, np.inf
    live.side[which], phase.inner[which], phase.outer[which] = 0, live.gram[which], 0.0


def go_back(live: Live, which: NDArray[np.bool_]) -> None:
    """Return ``which`` to the saved point, from where Newton begins ten times later."""
    if not which.any():
        return
    phase, saved = live.newton, live.newton.saved
    phase.on = phase.on & ~which
    live.b[which], live.u[which] = saved.b[which], saved.u[which]
    live.fresh[which] = saved.fresh[which]
    rescale(live, which)
    live.switch[which] /= 10


def settled(live: Live, loss: Loss, tol: float) -> NDArray[np.bool_]:
    """Which periods are where the last step of Newton solved its equations, which still hold.

    They are linear as long as the same rows are outlying, on the same side, and the same rows are
    in the middle: then another step would move the residuals by rounding alone. Where a row is at
    the corner of psi that step is taken, see ``ends_of_intervals``.
    """
    phase = live.newton
    found = phase.on & (phase.rounding <= SETTLED * tol * live.s) & ~live.done
    some = found.nonzero()[0]
    if not some.size:
        return found
    middle = live.u[some[:, None], phase.rows[some]]
    size = np.sort(np.abs(middle), axis=1)
    same = (size[:, 0] == live.low[some]) & (size[:, 1] == live.high[some])
    same &= ((middle > 0.0) == phase.positive[some]).all(axis=1)
    some = some[same]
    found[:] = False
    if not some.size:
        return found
    some = some[(live.side[some] == live.last_side[some]).all(axis=1)]
    some = some[~loss.is_at_corner(live.u[some], live.s[some, None]).any(axis=1)]
    found[some] = True
    return found


def middle_row(live: Live) -> FloatArray:
    """Mean (P, k) of sign(u) a over the one or two rows in the middle of |u|, which it notes."""
    size = np.abs(live.u)
    every = np.arange(len(size))
    first = (size == live.low[:, None]).argmax(axis=1)
    if live.ranks.odd.all():
        second = first
    else:
        second = (size == live.high[:, None]).argmax(axis=1)
        # Of rows that tie, the first and the last.
        for i in ((live.low == live.high) & ~live.ranks.odd).nonzero()[0]:
            second[i] = np.flatnonzero(size[i] == live.high[i])[-1]
    mean = np.zeros_like(live.b)
    for which, row in enumerate((first, second)):
        u = live.u[every, row]
        live.newton.rows[:, which], live.newton.positive[:, which] = row, u > 0.0
        mean += np.copysign(0.5, u)[:, None] * live.A[every, :, row]
    return mean
