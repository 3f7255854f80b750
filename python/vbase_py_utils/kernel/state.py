"""The periods of a stack in the middle of the iteration."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from vbase_py_utils.kernel.linalg import EPS
from vbase_py_utils.kernel.losses import FloatArray
from vbase_py_utils.kernel.scale import Ranks, scale_of

# Rounding in the sums of a step: that of 4,000 rows, which adds up like the root of their number.
NOISE = 64 * EPS
# Periods that are done leave the stack when they are more than this share of it: others are copied
# into their places. From 0.1 to 0.7 the time is the same within noise; below FEW rows, where the
# copies cost more than a step, they stay a little longer.
MAX_DONE, MAX_DONE_OF_FEW, FEW = 0.5, 0.75, 2**12


@dataclass(slots=True)
class Saved:
    """The points that IRLS had reached when Newton began.

    Attributes
    ----------
    b
        (P, k) coefficients.
    u
        (P, n) residuals.
    s
        (P,) scale of u.
    fresh
        (P,) scale when u was last computed from b.
    """

    b: FloatArray
    u: FloatArray
    s: FloatArray
    fresh: FloatArray


@dataclass(slots=True)
class NewtonPhase:
    """Which periods are in the Newton phase, and what is known of them.

    Attributes
    ----------
    on
        (P,) whether the period is in this phase; the other attributes have a meaning only then.
    saved
        The points at which the phases began.
    steps
        (P,) Newton steps taken.
    reach
        (P,) how far the residuals may get from where they were.
    travelled
        (P,) length of the path of the residuals so far.
    rows
        (P, 2) the one or two rows in the middle of |u| before the last step.
    positive
        (P, 2) whether their residuals were positive then.
    rounding
        (P,) how far the next step would move the residuals for the rounding of the last.
    inner
        (P, k, k) of long periods: A W A' in the step before.
    outer
        (P, k) sum of the outlying rows, each times its sign.
    """

    on: NDArray[np.bool_]
    saved: Saved
    steps: NDArray[np.int32]
    reach: FloatArray
    travelled: FloatArray
    rows: NDArray[np.intp]
    positive: NDArray[np.bool_]
    rounding: FloatArray
    inner: FloatArray
    outer: FloatArray

    @classmethod
    def not_begun(cls, b: FloatArray, u: FloatArray) -> NewtonPhase:
        """No period of b (P, k) and u (P, n) is in the phase."""
        n_periods, k = b.shape
        number = np.empty(n_periods)
        return cls(
            on=np.zeros(n_periods, dtype=np.bool_),
            saved=Saved(np.empty_like(b), np.empty_like(u), number.copy(), number.copy()),
            steps=np.zeros(n_periods, dtype=np.int32),
            reach=number.copy(),
            travelled=number.copy(),
            rows=np.zeros((n_periods, 2), dtype=np.intp),
            positive=np.zeros((n_periods, 2), dtype=np.bool_),
            rounding=np.full(n_periods, np.inf),
            inner=np.empty((n_periods, k, k)),
            outer=np.zeros_like(b),
        )


@dataclass(slots=True)
class Live:
    """The P periods of a stack that still take steps, with n rows and k exposures each.

    Attributes
    ----------
    position
        (P,) which periods of the stack they are.
    done
        (P,) whether the period has ended and only waits to be dropped.
    A
        (P, k, n) exposures, whitened and scaled: in the memory of the stack, which loses its order.
    gram
        (P, k, k) A A'.
    pivots
        (P, k) squares of the pivots of the Cholesky factor of A A'.
    condition
        (P,) bounds of the condition numbers of A A'.
    ranks
        Where the middle of the rows of each period is.
    b
        (P, k) coefficients.
    u
        (P, n) residuals.
    psi
        (P, n) psi at u, in its units; this and the sides are of losses with a Newton phase.
    side
        (P, n) sign of the outlying rows, else 0.
    last_side
        (P, n) the same before the last step, all 0 before the first step of Newton.
    spread
        (P,) root mean square of the least-squares residuals.
    low, high
        (P,) the one or two values in the middle of |u|.
    middle_moved
        (P,) by which share of itself the middle moved last.
    s
        (P,) scale: of u in IRLS, of the joint iteration in Newton's phase.
    fresh
        (P,) scale when u was last computed from b instead of updated.
    suspect
        (P,) a scale below this may have collapsed.
    switch
        (P,) Newton begins when a step moves no residual by more than ``switch`` scales.
    last_change
        (P,) how far the last IRLS step moved the residuals.
    newton
        The state of Newton's phase.
    """

    position: NDArray[np.intp]
    done: NDArray[np.bool_]
    A: FloatArray
    gram: FloatArray
    pivots: FloatArray
    condition: FloatArray
    ranks: Ranks
    b: FloatArray
    u: FloatArray
    psi: FloatArray
    side: NDArray[np.int8]
    last_side: NDArray[np.int8]
    spread: FloatArray
    low: FloatArray
    high: FloatArray
    middle_moved: FloatArray
    s: FloatArray
    fresh: FloatArray
    suspect: FloatArray
    switch: FloatArray
    last_change: FloatArray
    newton: NewtonPhase

    def is_mostly_done(self) -> bool:
        """Whether the periods that are done should leave."""
        most = MAX_DONE if self.u.size >= FEW else MAX_DONE_OF_FEW
        return bool(np.count_nonzero(self.done) > most * len(self.done))

    def drop_done(self) -> None:
        """Leave out the periods that are done: others take their places in the arrays."""
        n_left = int(np.count_nonzero(~self.done))
        places = self.done[:n_left].nonzero()[0]
        movers = (~self.done[n_left:]).nonzero()[0] + n_left
        left = np.arange(n_left)
        left[places] = movers
        self.ranks = self.ranks[left]
        for record in (self, self.newton, self.newton.saved):
            for field in fields(record):
                value = getattr(record, field.name)
                if isinstance(value, np.ndarray):
                    value[places] = value[movers]
                    setattr(record, field.name, value[:n_left])


@dataclass(slots=True)
class Descent:
    """The P periods of a stack whose bisquare estimate still takes steps, at a fixed scale.

    Attributes
    ----------
    position
        (P,) which periods of the stack they are.
    done
        (P,) whether the period has ended and only waits to be dropped.
    A
        (P, k, n) exposures, whitened and scaled.
    b
        (P, k) coefficients.
    u
        (P, n) residuals.
    s
        (P,) scale.
    fixed
        (P, n) the weights of rows that keep theirs, NaN for the others.
    floor
        (P, n) least weights in the matrix of IRLS.
    newton
        (P,) whether the next step is Newton's.
    saved_b, saved_u
        b and u where Newton began.
    switch
        (P,) Newton begins when a step moves no residual by more than ``switch`` scales.
    last_change
        (P,) how far the last step of IRLS moved the residuals.
    reach
        (P,) how far the next step of Newton may move them.
    """

    position: NDArray[np.intp]
    done: NDArray[np.bool_]
    A: FloatArray
    b: FloatArray
    u: FloatArray
    s: FloatArray
    fixed: FloatArray
    floor: FloatArray
    newton: NDArray[np.bool_]
    saved_b: FloatArray
    saved_u: FloatArray
    switch: FloatArray
    last_change: FloatArray
    reach: FloatArray

    def drop_done(self) -> None:
        """Leave out the periods that are done."""
        going = ~self.done
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name)[going])


def max_abs(values: FloatArray) -> FloatArray:
    """Largest |value| (P,) of each period."""
    return np.asarray(np.abs(values).max(axis=1))


def rescale(live: Live, which: NDArray[np.bool_]) -> None:
    """Compute the scale of the residuals anew."""
    low, high = live.ranks[which].middle(live.u[which])
    live.low[which], live.high[which], live.s[which] = low, high, scale_of(low, high)
