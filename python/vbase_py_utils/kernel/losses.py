"""Losses: pointwise functions of residuals in units of their scale. No regression here.

A new loss goes here: the solver and the inference take whatever is a ``Loss``, which gives psi,
psi' and the weights of IRLS, and whether the Newton phase may finish. Newton as it stands needs a
psi' of one or zero. The bisquare is no ``Loss``: its solutions depend on the start, so that
``redescend`` iterates it, at a fixed scale.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

HUBER_T = 1.345
"""Default tuning constant: asymptotic efficiency 0.95 at the normal, E[psi']^2 / E[psi^2]."""
# A residual this close to the corner of psi, as a share of where that is, is treated as being
# exactly there: the gap is only where the iteration stopped, which at tol=1e-10 is within some
# 1e-10 scales. With few assets on one exposure the solution often puts residuals on the corner.
CORNER_SHARE = 1e-8


class Loss(Protocol):
    """What the solver and the inference ask of a loss; all functions are elementwise.

    Methods take residuals ``z`` in units of the scale, or residuals ``u`` and their scale ``s``, a
    number or an array that broadcasts, > 0.
    """

    @property
    def is_quadratic(self) -> bool:
        """Whether this is least squares: one step ends the iteration, and no scale is needed."""
        ...

    @property
    def has_newton(self) -> bool:
        """Whether the solver may finish with Newton steps.

        They, and the updating of the matrices of long periods, need a psi' of one or zero.
        """
        ...

    @property
    def largest_psi(self) -> float:
        """The supremum of |psi|."""
        ...

    def psi(self, u: FloatArray, s: FloatArray | float = 1.0) -> FloatArray:
        """First derivative of the loss at u / s, times s."""
        ...

    def psi_prime(self, u: FloatArray, s: FloatArray | float = 1.0) -> FloatArray:
        """Second derivative of the loss, >= 0: it is convex."""
        ...

    def weight(self, u: FloatArray, s: FloatArray | float = 1.0) -> FloatArray:
        """Robustness weight psi(z)/z, in (0, 1]; 1 at zero."""
        ...

    def is_at_corner(self, u: FloatArray, s: FloatArray | float = 1.0) -> NDArray[np.bool_]:
        """Whether psi' jumps here, but for the end of the iteration."""
        ...


@dataclass(frozen=True, slots=True)
class Huber:
    """Huber's loss and its derivatives; meanings of the methods as in ``Loss``.

    ``t`` is the tuning constant, in units of the scale; infinity gives least squares.
    Source: Huber (1964), Annals of Mathematical Statistics 35, 73-101.
    """

    t: float = HUBER_T

    @property
    def is_quadratic(self) -> bool:
        """Whether ``t`` is infinite."""
        return math.isinf(self.t)

    @property
    def has_newton(self) -> bool:
        """Whether there is anything to finish: least squares is done in a step."""
        return not self.is_quadratic

    @property
    def largest_psi(self) -> float:
        """The tuning constant."""
        return self.t

    def rho(self, z: FloatArray) -> FloatArray:
        """Loss: z^2/2 up to ``t``, then t|z| - t^2/2. Its derivatives define the estimate."""
        size = np.abs(z)
        clipped = np.minimum(size, self.t)
        return clipped * (size - 0.5 * clipped)

    def psi(self, u: FloatArray, s: FloatArray | float = 1.0) -> FloatArray:
        """First derivative of rho at u / s, times s: ``u`` clipped to [-t s, t s]."""
        corner = self.t * s
        # The two together take less time than np.clip, which branches.
        psi = np.minimum(u, corner)
        return np.maximum(psi, -corner, out=psi)

    def psi_prime(self, u: FloatArray, s: FloatArray | float = 1.0) -> FloatArray:
        """Second derivative of rho: 1 where |u| <= t s, else 0."""
        return (np.abs(u) <= self.t * s).astype(np.float64)

    def weight(self, u: FloatArray, s: FloatArray | float = 1.0) -> FloatArray:
        """Robustness weight psi(z)/z at z = u/s, in (0, 1]; 1 at zero."""
        weights = np.abs(u)
        with np.errstate(divide="ignore"):
            np.divide(self.t * s, weights, out=weights)
        return np.minimum(weights, 1.0, out=weights)

    def is_at_corner(self, u: FloatArray, s: FloatArray | float = 1.0) -> NDArray[np.bool_]:
        """Whether |u| is t s, up to CORNER_SHARE."""
        if self.is_quadratic:
            return np.zeros(u.shape, dtype=np.bool_)
        corner = self.t * s
        return np.asarray(np.abs(np.abs(u) - corner) <= CORNER_SHARE * corner)


# A row with less weight than this counts as down-weighted by a bisquare, which takes a little from
# every row. At an efficiency of 0.95 it is 2.5 scales out, as 1 % of normal residuals are.
DOWNWEIGHTED = 0.5


@dataclass(frozen=True, slots=True)
class Bisquare:
    """Tukey's bisquare by its weights and psi(z) = z * weight(z), for ``redescend``.

    Methods take residuals as those of ``Loss``. Beyond ``c`` scales a row has no weight at all.
    Source: Beaton and Tukey (1974), Technometrics 16, 147-185.
    """

    c: float

    @classmethod
    def of(cls, efficiency: float) -> Bisquare:
        """Choose the constant by the asymptotic efficiency at the normal, from 0.3 to 0.9999."""
        return cls(_bisquare_constant(efficiency))

    @property
    def largest_psi(self) -> float:
        """The value of psi at z = c / sqrt(5), where it turns down."""
        return self.c * 16 / (25 * math.sqrt(5))

    @property
    def downweighted_beyond(self) -> float:
        """How many scales out the weight falls below DOWNWEIGHTED."""
        return self.c * math.sqrt(1.0 - math.sqrt(DOWNWEIGHTED))

    def psi_prime(self, u: FloatArray, s: FloatArray | float = 1.0) -> FloatArray:
        """Slope of psi: (1 - q) (1 - 5 q) with q = min((z/c)^2, 1)."""
        inside = self._inside(u, s)
        return np.asarray(inside * (5.0 * inside - 4.0))

    def weight(self, u: FloatArray, s: FloatArray | float = 1.0) -> FloatArray:
        """Robustness weight psi(z)/z at z = u/s, in [0, 1]; 1 at zero."""
        inside = self._inside(u, s)
        return np.square(inside, out=inside)

    def _inside(self, u: FloatArray, s: FloatArray | float) -> FloatArray:
        """1 - (z/c)^2 where that is above zero, else zero."""
        inside = u / (self.c * s)
        np.square(inside, out=inside)
        np.subtract(1.0, inside, out=inside)
        return np.maximum(inside, 0.0, out=inside)


# The constants in use everywhere, which are rounded: those of robustbase's lmrob.
BISQUARE_CONSTANTS = {0.95: 4.685061, 0.85: 3.443689}


@cache
def _bisquare_constant(efficiency: float) -> float:
    """Solve E[psi']^2 / E[psi^2] = efficiency at the normal for the tuning constant."""
    if efficiency in BISQUARE_CONSTANTS:
        return BISQUARE_CONSTANTS[efficiency]

    from scipy.optimize import brentq  # noqa: PLC0415 - takes as long to load as Polars
    from scipy.special import gamma, gammainc  # noqa: PLC0415 - the same

    def excess(c: float) -> float:
        # E[z^m; |z| <= c] = 2^(m/2) gamma((m+1)/2) P((m+1)/2, c^2/2) / sqrt(pi).
        def moment(m: int) -> float:
            a = (m + 1) / 2
            return float(2 ** (m / 2) * gamma(a) * gammainc(a, c * c / 2) / math.sqrt(math.pi))

        slope = moment(0) - 6 * moment(2) / c**2 + 5 * moment(4) / c**4
        signs = (1, -4, 6, -4, 1)
        square = sum(t * moment(2 + 2 * j) / c ** (2 * j) for j, t in enumerate(signs))
        return slope**2 / square - efficiency

    return float(brentq(excess, 1.0, 100.0, xtol=1e-12))
