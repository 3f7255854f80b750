"""The scale of residuals: the median absolute residual about zero, of many periods at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vbase_py_utils.kernel.losses import Bisquare, FloatArray

MAD_PER_SIGMA = 0.6744897501960817
"""Median of |z| for a standard normal z, the 0.75 quantile: makes the MAD estimate sigma."""


# From this many rows in a period, and in a stack, a median is looked for near a guess, which saves
# the partition of all: NumPy takes 9 ns a row for it with AVX-512 on Zen 4, and 1.5 with AVX2; the
# search takes 2 to 3. Fewer rows cost less than the calls.
LEAST_LENGTH, LEAST_ROWS = 256, 2**12
# Without a guess, the median of every SAMPLED-th row is one, if that leaves LEAST_SAMPLE rows. Its
# relative error has a standard deviation of 1.16 / sqrt(rows) at the normal.
SAMPLED, LEAST_SAMPLE, SAMPLE_REACH = 8, 100, 3.0
# How far around a guess is looked, as a share of it: at least LEAST_REACH / n, where some 7 rows
# are, and at most as far as a fifth of the rows.
LEAST_REACH, MOST_REACH = 8.0, 0.25


@dataclass(frozen=True, slots=True)
class Ranks:
    """Where the middle of the rows of P periods is, in arrays (P, n) padded with zeros, n even.

    Attributes
    ----------
    sizes
        (P,) rows of each period, which come first.
    padding
        (P, m) which of the last m columns are the half of the padding that is to sort above the
        rows, where the other half sorts below: the middle of the width is then that of the rows.
    odd
        (P,) whether the number of rows is odd.
    """

    sizes: NDArray[np.intp]
    padding: NDArray[np.bool_]
    odd: NDArray[np.bool_]

    @classmethod
    def of(cls, sizes: NDArray[np.intp], width: int) -> Ranks:
        """For periods of ``sizes`` (P,) rows in ``width`` columns."""
        below = sizes + (width - sizes) // 2
        padding = np.arange(below.min(initial=width), width) >= below[:, None]
        return cls(sizes, padding, sizes % 2 == 1)

    def __getitem__(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> Ranks:
        """Only the periods selected."""
        return Ranks(self.sizes[which], self.padding[which], self.odd[which])

    def middle(
        self, u: FloatArray, guess: FloatArray | None = None, reach: FloatArray | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Find the one or two values of |u| whose mean is the median, of each period.

        A ``guess`` (P,) of the median, and its relative error ``reach`` (P,), change the time this
        takes and nothing else.
        """
        size = np.abs(u)
        n = u.shape[1]
        if n < LEAST_LENGTH or u.size < LEAST_ROWS:
            return self._partitioned(size)
        if guess is None or reach is None:
            if n < SAMPLED * LEAST_SAMPLE:
                return self._partitioned(size)
            sample = size[:, ::SAMPLED].copy()
            m = sample.shape[1]
            sample.partition(m // 2, axis=1)
            guess, reach = sample[:, m // 2], np.full(len(u), SAMPLE_REACH / math.sqrt(m))
        low, high, found = self._near(size, guess, np.clip(reach, LEAST_REACH / n, MOST_REACH))
        if not found.all():
            other = ~found
            low[other], high[other] = self[other]._partitioned(size[other])
        return low, high

    def _partitioned(self, size: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Find the middle of ``size`` (P, n), which this reorders."""
        if self.padding.any():
            np.copyto(size[:, -self.padding.shape[1] :], np.inf, where=self.padding)
        half = size.shape[1] // 2
        size.partition(half, axis=1)
        low = size[:, :half].max(axis=1)
        return low, np.where(self.odd, low, size[:, half])

    def _near(
        self, size: FloatArray, guess: FloatArray, reach: FloatArray
    ) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
        """Find the middle of ``size`` (P, n) among the rows near a guess; which were found (P,)."""
        n_periods, n = size.shape
        below = size < (guess * (1.0 - reach))[:, None]
        near = size <= (guess * (1.0 + reach))[:, None]
        n_below = below.view(np.uint8).sum(axis=1, dtype=np.int32)
        near &= ~below
        index = np.flatnonzero(near)
        bounds = np.searchsorted(index, np.arange(n_periods + 1) * n)
        counts = np.diff(bounds)
        # The rows near the guess, period by period, side by side and in order.
        some = np.full((n_periods, max(1, counts.max(initial=0))), np.inf)
        some[np.arange(some.shape[1]) < counts[:, None]] = size.ravel().take(index)
        some.sort(axis=1)
        # The padding is zero, and sorts below.
        first = (n - self.sizes) + (self.sizes - 1) // 2 - n_below
        second = first + ~self.odd
        found = (first >= 0) & (second < counts)
        every = np.arange(n_periods)
        first[~found] = second[~found] = 0
        return some[every, first], some[every, second], found


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
