"""Huber's loss: pointwise functions of scaled residuals, no regression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

HUBER_T = 1.345
"""Default tuning constant: asymptotic efficiency 0.95 at the normal, E[psi']^2 / E[psi^2]."""


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


# Residuals within this share of huber_t scales are there exactly but for the end of the iteration:
# among few assets with one exposure, balance often holds some of them at the corner of psi.
CORNER_SHARE = 1e-8
