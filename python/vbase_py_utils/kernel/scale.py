"""The scale of residuals: the median absolute residual about zero, of many periods at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vbase_py_utils.kernel.losses import Bisquare, FloatArray

MAD_PER_SIGMA = 0.6744897501960817
"""Median of |z| for a standard normal z, the 0.75 quantile: makes the MAD estimate sigma."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """Where the middle of the rows of P periods is, in arrays (P, n) padded with zeros, n even.

    Half of the padding sorts below the rows of its period and half above, so that the middle of the
    width is the middle of the rows. Of an odd number of rows it is the lower of the two middle
    columns.

    Attributes
    ----------
    beyond
        (P, n) infinity for the padding that sorts above, otherwise 0.
    odd
        (P,) whether the number of rows is odd.
    """

    beyond: FloatArray
    odd: NDArray[np.bool_]

    @classmethod
    def of(cls, sizes: NDArray[np.intp], width: int) -> Ranks:
        """For periods of ``sizes`` (P,) rows, which come first, in ``width`` columns."""
        below = sizes + (width - sizes) // 2
        beyond = np.where(np.arange(width) < below[:, None], 0.0, np.inf)
        return cls(beyond, sizes % 2 == 1)

    def __getitem__(self, which: NDArray[np.bool_]) -> Ranks:
        """Only the periods selected."""
        return Ranks(self.beyond[which], self.odd[which])

    def middle(self, u: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Find the one or two values of |u| whose mean is the median, of each period."""
        size = np.abs(u)
        size += self.beyond
        half = u.shape[1] // 2
        size.partition(half, axis=1)
        low = size[:, :half].max(axis=1)
        return low, np.where(self.odd, low, size[:, half])


def scale_of(low: FloatArray, high: FloatArray) -> FloatArray:
    """Scale of residuals from the values in the middle of their sizes."""
    return 0.5 * (low + high) / MAD_PER_SIGMA


def mad_about_zero(u: FloatArray, ranks: Ranks | None = None) -> FloatArray:
    """Scale of residuals: median(|u|) / 0.67449, with no centring.

    ``u`` (n,) with n >= 1, or (P, n) with the ``ranks`` of its periods.
    """
    if ranks is None:
        n = u.size
        u = np.append(u, np.zeros(n % 2))[None, :]
        return np.asarray(mad_about_zero(u, Ranks.of(np.array([n]), u.size))[0])
    return scale_of(*ranks.middle(u))


# Half of the residuals may be wrong before this scale breaks; the constant makes it consistent at
# the normal. Rounded as in robustbase's lmrob.S.
S_LOSS, S_SHARE = Bisquare(1.547645), 0.5
S_STEPS, LONGEST_STEP = 200, 4.0


def s_scale(u: FloatArray, sizes: NDArray[np.intp], n_factors: int) -> FloatArray:
    """Scale s (P,) with sum rho(u / s) = 0.5 (n - k), rho the bisquare of S_LOSS, at most one.

    Residuals u (P, n), zero beyond their ``sizes``. Zero where too few residuals are above zero,
    so that no positive scale is small enough, and where n = k. The sum falls as s grows, so that
    the solution is unique.
    Source: Rousseeuw and Yohai (1984), Robust regression by means of S-estimators.
    """
    wanted = S_SHARE * (sizes - n_factors)
    s = np.zeros(len(u))
    todo = np.flatnonzero((np.count_nonzero(u, axis=1) > wanted) & (wanted > 0.0))
    size, wanted = np.abs(u[todo]), wanted[todo]
    # Newton's steps in log s from the mean size, between two values that contain the solution: at
    # the lower one every residual above zero is beyond c, at the upper one all are far inside. A
    # step that leads outside, or far, is replaced by the middle.
    x = np.log(size.sum(axis=1) / sizes[todo])
    low = np.log(size.min(axis=1, where=size > 0.0, initial=np.inf) / S_LOSS.c)
    high = np.log(size.max(axis=1)) + 0.5 * np.log(8.0 * sizes[todo])
    for _ in range(S_STEPS):
        q = np.square(size / (S_LOSS.c * np.exp(x))[:, None])
        np.minimum(q, 1.0, out=q)
        left = 1.0 - q
        excess = (1.0 - left**3).sum(axis=1) - wanted
        low, high = np.where(excess > 0, x, low), np.where(excess < 0, x, high)
        slope = 6.0 * (q * left**2).sum(axis=1)
        new = x + np.divide(excess, slope, out=np.full_like(x, np.inf), where=slope > 0.0)
        out = ~((low <= new) & (new <= high) & (np.abs(new - x) <= LONGEST_STEP))
        new[out] = 0.5 * (low + high)[out]
        done = np.abs(new - x) <= 2.0**-50
        s[todo] = np.exp(new)
        if done.all():
            break
        todo, size, wanted = todo[~done], size[~done], wanted[~done]
        x, low, high = new[~done], low[~done], high[~done]
    return s
