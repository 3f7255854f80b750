"""The periods of a stack in the middle of the iteration."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from vbase_py_utils.kernel.losses import FloatArray
from vbase_py_utils.kernel.scale import Ranks, scale_of

# Smallest squared pivot, relative to that of A'A, at which a downdated matrix is still trusted.
MIN_IRLS_PIVOT, MIN_NEWTON_PIVOT = 1e-8, 1e-10


@dataclass(slots=True)
class Live:
    """The state of the periods of a stack that take part in the steps; the first axis of all.

    ``place`` in the stack; ``done`` if the period only waits to be dropped. ``spread``: root mean
    square of the least-squares residuals. ``low``, ``high``: the values in the middle of |u|.
    ``fresh``: the scale when u was last computed from b instead of updated. A scale below
    ``suspect`` may have collapsed. ``newton``: in that phase, which began ``steps`` ago at
    ``saved_*``, has gone a path of length ``travelled`` and may go ``reach`` far. Of long periods
    in that phase, ``side``: sign of the rows that were outlying in the step before, else 0;
    ``inner``: A W A' then; ``outer``: sum of side times row.
    """

    place: NDArray[np.intp]
    done: NDArray[np.bool_]
    A: FloatArray
    gram: FloatArray
    pivots: FloatArray
    ranks: Ranks
    b: FloatArray
    u: FloatArray
    spread: FloatArray
    low: FloatArray
    high: FloatArray
    s: FloatArray
    fresh: FloatArray
    suspect: FloatArray
    switch: FloatArray
    last_change: FloatArray
    newton: NDArray[np.bool_]
    saved_b: FloatArray
    saved_u: FloatArray
    saved_s: FloatArray
    saved_fresh: FloatArray
    reach: FloatArray
    travelled: FloatArray
    steps: NDArray[np.int32]
    side: NDArray[np.int8]
    inner: FloatArray
    outer: FloatArray

    def drop_done(self) -> None:
        """Leave out the periods that are done."""
        for field in fields(self):
            if field.name != "done":
                setattr(self, field.name, getattr(self, field.name)[~self.done])
        self.done = self.done[~self.done]


def products(matrices: FloatArray, vectors: FloatArray) -> FloatArray:
    """Multiply matrices (P, i, j) by vectors (P, j)."""
    return np.asarray((vectors[:, None, :] @ matrices.transpose(0, 2, 1))[:, 0])


def combined(A: FloatArray, b: FloatArray) -> FloatArray:
    """Fit (P, n) of coefficients b (P, k) on A."""
    return np.asarray((b[:, None, :] @ A)[:, 0])


def max_abs(values: FloatArray) -> FloatArray:
    """Largest |value| (P,) of each period."""
    return np.asarray(np.maximum(values.max(axis=1), -values.min(axis=1)))


def rescale(live: Live, which: NDArray[np.bool_]) -> None:
    """Compute the scale of the residuals anew."""
    low, high = live.ranks[which].middle(live.u[which])
    live.low[which], live.high[which], live.s[which] = low, high, scale_of(low, high)
