"""How far to trust a fit: standard errors, R squared, robustness weights.

Arrays in, arrays out; nothing is estimated again. The formulas are on the whitened, scaled design,
with z = u / s the residuals in units of the scale, so that no unit of the caller's matters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vbase_py_utils.kernel.covariance import (
    FULL_LEVERAGE,
    CovType,
    Wanted,
    h1_variances,
    leverages_and_freedom,
    moved_alone,
    sandwich_variances,
    share_and_freedom_without,
    without_residual,
)
from vbase_py_utils.kernel.linalg import EPS, dots
from vbase_py_utils.kernel.losses import FloatArray, Loss
from vbase_py_utils.kernel.period_fits import PeriodFits, Status
from vbase_py_utils.kernel.scale import mad_about_zero
from vbase_py_utils.kernel.stacks import (
    Block,
    Exposures,
    Room,
    Stack,
    columns_of,
    plan_stacks,
    put_rows,
    stack_periods,
)
from vbase_py_utils.kernel.threads import run_together


@dataclass(frozen=True, slots=True)
class Inference:
    """How far to trust the fits of T periods on k exposures over N rows.

    All are float, NaN in a period without an answer; in an exact fit only ``r_squared``,
    ``condition_numbers`` and ``leverages`` are numbers.

    Attributes
    ----------
    std_errors
        (T, k) in units of the coefficients, or (T, q) of q combinations of them. NaN also where
        residuals carry no information.
    freedom
        Degrees of freedom, of the shape of ``std_errors``; NaN where these are not above zero.
    r_squared
        (T,) with the regression weights; NaN where all returns are equal.
    robust_r_squared
        (T,) with the regression weights times the robustness weights.
    condition_numbers
        (T,) of the weighted exposures, columns scaled to unit norm.
    n_downweighted
        (T,) rows with a robustness weight below one, of an MM estimate below one half.
    robustness_weights
        (N,) in (0, 1]; of an MM estimate also zero.
    leverages
        (N,) of the weighted exposures, in [0, 1]; their sum over a period is k.
    """

    std_errors: FloatArray
    freedom: FloatArray
    r_squared: FloatArray
    robust_r_squared: FloatArray
    condition_numbers: FloatArray
    n_downweighted: FloatArray
    robustness_weights: FloatArray
    leverages: FloatArray

    @classmethod
    def unknown(cls, n_periods: int, n_errors: int, n_rows: int) -> Inference:
        """Nothing known yet of T periods, q standard errors each, over N rows."""
        shapes = (*[(n_periods, n_errors)] * 2, *[(n_periods,)] * 4, *[(n_rows,)] * 2)
        return cls(*(np.full(shape, np.nan) for shape in shapes))

    def forget_unknown(self) -> None:
        """Put NaN for errors that are no numbers, and for degrees of freedom without an error."""
        self.std_errors[~np.isfinite(self.std_errors)] = np.nan
        self.freedom[~(self.std_errors > 0.0)] = np.nan


def p_values(estimates: FloatArray, trust: Inference) -> FloatArray:
    """Two-sided p-values (T, q) of estimates, by Student's t; NaN without a finite t-value."""
    from scipy.special import stdtr  # noqa: PLC0415 - takes as long to load as Polars

    with np.errstate(all="ignore"):
        t = np.abs(estimates / trust.std_errors)
        return np.where(np.isfinite(t), 2.0 * stdtr(trust.freedom, -t), np.nan)


def assess_periods(
    X: Exposures,
    y: FloatArray,
    w: FloatArray | None,
    starts: NDArray[np.intp],
    fits: PeriodFits,
    *,
    loss: Loss,
    cov_type: CovType | None,
    rows: NDArray[np.intp] | None = None,
    combinations: FloatArray | None = None,
) -> Inference:
    """Assess every period of a block; X, y, w, starts and rows as ``fit_periods`` got them.

    ``combinations`` (T, q, k): linear combinations of a period's coefficients whose standard errors
    are wanted instead of their own. Without ``cov_type``: the robustness weights and nothing else.

    Standard errors: "HC2", W^-1 [sum psi_s(u)^2 / (1 - h) a a'] W^-1 with W = sum psi' a a' and h
    the leverage, and degrees of freedom for each; "sandwich", without 1 - h but times n/(n-k). Both
    are consistent whatever the weights. "H1", statsmodels' default, for inverse-variance weights.
    The latter two have n - k degrees of freedom.
    R squared is 1 - sum w u^2 / sum w (y - mean_w y)^2; robust: w times the robustness weights.
    Sources: Huber and Ronchetti (2009), Robust Statistics, section 7.6; MacKinnon and White (1985),
    Journal of Econometrics 29, 305-325, for HC2.
    """
    block = Block(columns_of(X), y, w, starts, rows)
    n_periods, n_factors = fits.coefficients.shape
    n_errors = n_factors if combinations is None else combinations.shape[1]
    record = Inference.unknown(n_periods, n_errors, starts[-1])

    room = Room()

    def assess(periods: NDArray[np.intp]) -> None:
        with np.errstate(all="ignore"):
            stack, dependent = stack_periods(block, periods, room)
            if len(dependent.periods):
                raise AssertionError("a period that was fitted has a design of full rank")
            b = np.ldexp(fits.coefficients[periods], -stack.to_b)
            u = stack.y - (b[:, None, :] @ stack.design)[:, 0]
            held = np.isfinite(u).all(axis=1)  # else the estimate was too large to hold
            if cov_type is None:
                held &= fits.status[periods] != Status.exact_fit
                if not held.all():
                    stack, u = stack[held], u[held]
                _weigh_residuals(block, stack, u, record, loss)
                return
            record.condition_numbers[periods] = condition_numbers(stack)
            wanted = Wanted.of(stack, combinations)
            h, freedom = leverages_and_freedom(stack, wanted)
            put_rows(block, periods, h, record.leverages)
            record.r_squared[periods] = np.where(held, r_squared(stack, u), np.nan)
            held &= fits.status[periods] != Status.exact_fit
            if not held.all():
                stack, b, u, h, freedom = stack[held], b[held], u[held], h[held], freedom[held]
                wanted = Wanted.of(stack, combinations)
            _assess_residuals(block, stack, b, u, record, loss, cov_type, wanted, h, freedom)

    sizes = np.where(np.isnan(fits.scale), 0, block.sizes)
    run_together(assess, plan_stacks(sizes, n_factors))
    record.forget_unknown()
    return record


def _weigh_residuals(
    block: Block, stack: Stack, u: FloatArray, record: Inference, loss: Loss
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Fill in the robustness weights at residuals u (P, n).

    Also gives these in units of the scale (P, n), the scale (P,), and the weights (P, n).
    """
    if loss.is_quadratic:
        # Least squares has no use for the scale, which may then be zero.
        unit = np.sqrt(dots(u, u) / stack.sizes)
    else:
        unit = mad_about_zero(u, stack.ranks)
    z = u / unit[:, None]
    if not unit.all():
        # A period that ran out of steps may have a scale of zero: its zero residuals are inlying.
        z[u == 0.0] = 0.0
    z = _at_corners(z, loss)
    weights = loss.weight(z)
    record.n_downweighted[stack.periods] = np.count_nonzero(weights < 1.0, axis=1)
    put_rows(block, stack.periods, weights, record.robustness_weights)
    return z, unit, weights


def _assess_residuals(
    block: Block,
    stack: Stack,
    b: FloatArray,
    u: FloatArray,
    record: Inference,
    loss: Loss,
    cov_type: CovType,
    wanted: Wanted,
    h: FloatArray,
    freedom: FloatArray,
) -> None:
    """Fill in what depends on the scale.

    b (P, k) of the design, residuals u (P, n), leverages h (P, n), degrees of freedom (P, q).
    """
    periods = stack.periods
    z, unit, weights = _weigh_residuals(block, stack, u, record, loss)
    record.robust_r_squared[periods] = r_squared(stack, u, weights)
    if cov_type == "H1":
        variances = h1_variances(stack, z, loss, wanted)
    else:
        own = h if cov_type == "HC2" else None
        variances = sandwich_variances(stack, z, loss, wanted, own)
        for position, suspects in without_residual(stack, b, u, unit):
            X = block.exposures(periods[position])
            forced, moved = moved_alone(stack, position, X, suspects)
            moved = wanted.from_design(moved, position)
            wanted.forget(variances[position], (moved**2).sum(axis=1))
            # Nor does a row whose weight alone makes the fit go through it have a residual.
            heavy = suspects[h[position, suspects] >= FULL_LEVERAGE]
            without = np.union1d(forced, heavy)
            if without.size:
                share, freedom[position] = share_and_freedom_without(
                    stack, wanted, position, h[position], without
                )
                variances[position][share > wanted.unknown_share] = np.nan
    errors = np.where(unit > 0.0, unit, np.nan)[:, None] * np.sqrt(variances)
    record.std_errors[periods] = np.ldexp(errors, wanted.exponents)
    if cov_type != "HC2":
        freedom = np.broadcast_to((stack.sizes - stack.A.shape[1])[:, None], freedom.shape)
    record.freedom[periods] = freedom


def condition_numbers(stack: Stack) -> FloatArray:
    """Ratio of the extreme singular values of each design, its rows scaled to unit norm."""
    norms = np.sqrt(np.einsum("pii->pi", stack.gram))
    squares = np.linalg.eigvalsh(stack.gram / (norms[:, :, None] * norms[:, None, :]))
    conditions: FloatArray = np.sqrt(squares[:, -1] / squares[:, 0])
    if stack.triangle is not None:
        R = stack.triangle / np.sqrt((stack.triangle**2).sum(axis=1))[:, None, :]
        lengths = np.linalg.svd(R, compute_uv=False)
        conditions = np.where(stack.ill, lengths[:, 0] / lengths[:, -1], conditions)
    return conditions


def r_squared(stack: Stack, u: FloatArray, weights: FloatArray | None = None) -> FloatArray:
    """Share (P,) of the weighted variance explained, by residuals u (P, n); ``weights`` more.

    The mean of returns is that with all weights, and NaN stands for returns that are all equal.
    """
    y, root_w = stack.y, stack.root_w
    if weights is None:
        weights = np.ones_like(u)
    mean = dots(weights * root_w, y) / dots(weights * root_w, root_w)
    apart = y - mean[:, None] * root_w
    left, total, size = (dots(weights * v, v) for v in (u, apart, y))
    return np.where(total > (8 * EPS) ** 2 * size, 1.0 - left / total, np.nan)


def _at_corners(z: FloatArray, loss: Loss) -> FloatArray:
    """Put z exactly at the corner of psi where it is there up to rounding: it is then inlying."""
    return np.where(loss.is_at_corner(z), np.copysign(loss.largest_psi, z), z)
