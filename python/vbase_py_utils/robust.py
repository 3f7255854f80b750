"""Huber's loss and the scale that goes with it: pointwise functions of residuals, no regression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

HUBER_T = 1.345
"""Default tuning constant: asymptotic efficiency 0.95 at the normal, E[psi']^2 / E[psi^2]."""

MAD_PER_SIGMA = 0.6744897501960817
"""Median of |z| for a standard normal z, the 0.75 quantile: makes the MAD estimate sigma."""


@dataclass(frozen=True, slots=True)
class Huber:
    """Huber's rho, its derivatives and the weights of IRLS, elementwise over u / s.

    ``t`` is the tuning constant, in units of the scale; infinity gives least squares.
    Source: Huber (1964), Annals of Mathematical Statistics 35, 73-101.
    """

    t: float = HUBER_T

    def rho(self, z: FloatArray) -> FloatArray:
        """Loss: z^2/2 up to ``t``, then t|z| - t^2/2."""
        size = np.abs(z)
        clipped = np.minimum(size, self.t)
        return clipped * (size - 0.5 * clipped)

    def psi(self, z: FloatArray) -> FloatArray:
        """First derivative of rho: ``z`` clipped to [-t, t]."""
        return np.clip(z, -self.t, self.t)

    def psi_prime(self, z: FloatArray) -> FloatArray:
        """Second derivative of rho: 1 where |z| <= t, else 0."""
        return (np.abs(z) <= self.t).astype(np.float64)

    def weight(self, z: FloatArray) -> FloatArray:
        """Robustness weight psi(z)/z, in (0, 1]; 1 at z = 0."""
        size = np.abs(z)
        return np.divide(np.minimum(size, self.t), size, out=np.ones_like(size), where=size > 0)


@dataclass(frozen=True, slots=True)
class Ranks:
    """Where the middle of the rows of P periods is, in arrays (P, n) padded with zeros, n even.

    Padding is made to sort half below and half above the rows of its period, so that the middle of
    the width is that of the rows: ``beyond`` (P, n) is infinity where it sorts above, else 0. Of
    an ``odd`` number of rows the middle is the lower of the two in the middle of the width.
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

    Of u (n,), n >= 1, or of each period (P, n), whose rows ``ranks`` knows.
    """
    if ranks is None:
        n = u.size
        u = np.append(u, np.zeros(n % 2))[None, :]
        return np.asarray(mad_about_zero(u, Ranks.of(np.array([n]), u.size))[0])
    return scale_of(*ranks.middle(u))
