"""The MM estimate: a wrong exposure cannot move it far, nor can a wrong return.

A Huber fit bounds what a wrong return does. This estimate starts from a Huber fit in which rows of
outlying exposures have next to no weight, takes a scale that half of the rows may not spoil, and
ends at the solution of the bisquare, which ignores rows far out, that lies downhill from the start.
Nothing in it is random. Sources: Yohai (1987), Annals of Statistics 15, 642-656; for the start,
Raymaekers and Rousseeuw (2021), see ``distances``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vbase_py_utils.kernel.covariance import Wanted, leverages
from vbase_py_utils.kernel.distances import exposure_weights
from vbase_py_utils.kernel.inference import Inference, condition_numbers, r_squared
from vbase_py_utils.kernel.irls import COLLAPSED, ROUNDED, fit_periods, least_scale
from vbase_py_utils.kernel.linalg import combined, dots
from vbase_py_utils.kernel.losses import DOWNWEIGHTED, Bisquare, FloatArray
from vbase_py_utils.kernel.mm_covariance import FinalWeights, mm_variances
from vbase_py_utils.kernel.period_fits import Done, PeriodFits, SolverOptions, Status
from vbase_py_utils.kernel.redescend import IRLS_FLOOR, fixed_weights, redescend
from vbase_py_utils.kernel.scale import s_scale
from vbase_py_utils.kernel.stacks import (
    Block,
    Layout,
    Room,
    Stack,
    exponents_of,
    plan_stacks,
    put_rows,
    stack_periods,
    widths,
)
from vbase_py_utils.kernel.threads import run_together

# A scale below SUSPECT times the rounding error may be zero. It is then computed anew with
# residuals below MARGIN * least_scale() set to zero, because the start stops with residuals of
# about least_scale().
SUSPECT, MARGIN = 1e4, 100.0
# The least weight of a row in the start, in units of the largest of its period.
TINY = 1e-300


def fit_mm(
    block: Block, options: SolverOptions, n_numeric: int | None, done: Done | None = None
) -> PeriodFits:
    """Estimate every period of a block; ``options`` and ``done`` as for ``fit_periods``.

    The first ``n_numeric`` columns, ``None``: all, hold numbers, in which a value can lie far out;
    the others are categories.
    """
    return _fit(block, options, n_numeric, done, None, None)


def fit_and_assess_mm(
    block: Block,
    options: SolverOptions,
    n_numeric: int | None,
    done: Done | None = None,
    combinations: FloatArray | None = None,
) -> tuple[PeriodFits, Inference]:
    """Estimate every period of a block as ``fit_mm``, and assess how far to trust it.

    ``combinations`` as for ``assess_periods``. Weights below DOWNWEIGHTED count as down-weighted.
    """
    n_errors = len(block.columns) if combinations is None else combinations.shape[1]
    trust = Inference.unknown(len(block.sizes), n_errors, block.starts[-1])
    fits = _fit(block, options, n_numeric, done, trust, combinations)
    trust.forget_unknown()
    return fits, trust


def _fit(
    block: Block,
    options: SolverOptions,
    n_numeric: int | None,
    done: Done | None,
    trust: Inference | None,
    combinations: FloatArray | None,
) -> PeriodFits:
    """Estimate every period, and fill in ``trust`` if there is one."""
    start_weights, in_start = _start_weights(block, block.columns[:n_numeric])
    huber = replace(options, estimator="huber")
    fits = fit_periods(block.columns, block.y, start_weights, block.starts, huber, block.rows, done)
    _mark_start_deficient(block, fits)

    room = Room()

    def finish(periods: NDArray[np.intp]) -> None:
        with np.errstate(all="ignore"):
            stack, dependent = stack_periods(block, periods, room)
            for lost in (fits.coefficients, fits.scale):
                lost[dependent.periods] = np.nan
            fits.status[dependent.periods] = Status.rank_deficient
            fits.collinear[dependent.periods] = dependent.columns
            _finish(block, stack, in_start, fits, options, trust, combinations)

    answered = np.isfinite(fits.coefficients).all(axis=1)
    sizes = np.where(answered, block.sizes, 0)
    run_together(finish, plan_stacks(sizes, len(block.columns)))
    return fits


def _mark_start_deficient(block: Block, fits: PeriodFits) -> None:
    """Mark the periods whose columns are collinear in the start alone, without rows far out."""
    deficient = np.where(fits.status == Status.rank_deficient, block.sizes, 0)
    for periods in plan_stacks(deficient, len(block.columns)):
        with np.errstate(all="ignore"):
            stack, _ = stack_periods(block, periods)
        fits.only_start_deficient[stack.periods] = True


def _start_weights(
    block: Block, numeric: Sequence[FloatArray]
) -> tuple[FloatArray | None, FloatArray]:
    """Regression weights of the start (N,), and by the exposures of the usable rows (M,) alone."""
    by_exposure = np.ones(block.starts[-1])
    start_weights = np.ones(len(block.y)) if block.w is None else block.w.copy()

    def weigh(periods: NDArray[np.intp]) -> None:
        with np.errstate(all="ignore"):
            width = int(widths(block.sizes[periods[:1]])[0])
            own = exposure_weights(block, periods, width, numeric)
            put_rows(block, periods, own, by_exposure)
            if block.w is not None:
                w = Layout(block, periods, width).of(block.w)
                own = np.maximum(np.ldexp(w, -exponents_of(w)[:, None]) * own, TINY)
            put_rows(block, periods, own, start_weights, block.rows)

    run_together(weigh, plan_stacks(block.sizes, len(block.columns)))
    if block.w is None and (by_exposure == 1.0).all():
        return None, by_exposure
    return start_weights, by_exposure


def _finish(
    block: Block,
    stack: Stack,
    in_start: FloatArray,
    fits: PeriodFits,
    options: SolverOptions,
    trust: Inference | None,
    combinations: FloatArray | None,
) -> None:
    """Take the periods of a stack from their starts, in ``fits``, to the end."""
    # --- The scale, at the residuals of the start.
    b = stack.from_coefficients(np.ldexp(fits.coefficients[stack.periods], -stack.to_b))
    u = stack.y - combined(stack.A, b)
    s = _scale(stack, b, u)
    fits.scale[stack.periods] = np.ldexp(s, stack.to_s)
    if trust is not None:
        _assess_design(block, stack, u, trust)

    # --- Periods whose scale has collapsed keep the coefficients of the start.
    exact = ~(s > 0.0)
    late = fits.status[stack.periods] == Status.max_iter
    fits.status[stack.periods[exact]] = Status.exact_fit
    if exact.all():
        return
    if exact.any():
        stack, b, u, s, late = stack[~exact], b[~exact], u[~exact], s[~exact], late[~exact]

    # --- Downhill from the start, at this scale.
    loss = Bisquare.of(options.efficiency)
    floor = IRLS_FLOOR * _laid_out(block, stack, in_start)
    fixed = fixed_weights(stack.A, loss.weight(u, s[:, None]), floor)
    end = redescend(stack.A, b, u, s, fixed, floor, loss, options)
    fits.coefficients[stack.periods] = np.ldexp(stack.coefficients_of(end.b), stack.to_b)
    fits.n_iter[stack.periods] += end.n_iter
    # A start that ran out of steps may not be where the way down should have begun.
    fits.status[stack.periods] = np.where(late, Status.max_iter, end.status)
    if trust is not None:
        final = FinalWeights.of(end.u / s[:, None], fixed, floor, loss)
        _assess_residuals(block, stack, end.u, s, final, trust, combinations)


def _scale(stack: Stack, b: FloatArray, u: FloatArray) -> FloatArray:
    """Scale (P,) of residuals u (P, n) of coefficients b (P, k) of A; zero if it has collapsed."""
    s = s_scale(u, stack.sizes, b.shape[1])
    # A bound on the magnitude of rows: no exposure of the design and no return exceeds one.
    largest = np.maximum(1.0, np.abs(stack.coefficients_of(b)).sum(axis=1))
    spread = np.sqrt(dots(u, u) / stack.sizes)
    suspect = s <= SUSPECT * np.maximum(ROUNDED * largest, COLLAPSED * spread)
    for i in np.flatnonzero(suspect & (s > 0.0)):
        # Residuals that are rounding, of the row or of where the start stopped, are zero.
        least = MARGIN * least_scale(stack, stack.A[i], i, b[i], float(spread[i]))
        clean = np.where(np.abs(u[i]) <= least, 0.0, u[i])
        s[i] = s_scale(clean[None], stack.sizes[[i]], b.shape[1])[0]
    return s


def _assess_design(block: Block, stack: Stack, u: FloatArray, trust: Inference) -> None:
    """Fill in what exact fits have too; residuals u (P, n), which others will have changed."""
    trust.condition_numbers[stack.periods] = condition_numbers(stack)
    trust.r_squared[stack.periods] = r_squared(stack, u)
    put_rows(block, stack.periods, leverages(stack), trust.leverages)


def _assess_residuals(
    block: Block,
    stack: Stack,
    u: FloatArray,
    s: FloatArray,
    final: FinalWeights,
    trust: Inference,
    combinations: FloatArray | None,
) -> None:
    """Fill in what depends on the scale s (P,), at the final residuals u (P, n)."""
    periods = stack.periods
    put_rows(block, periods, final.weights, trust.robustness_weights)
    trust.n_downweighted[periods] = np.count_nonzero(final.weights < DOWNWEIGHTED, axis=1)
    trust.r_squared[periods] = r_squared(stack, u)
    trust.robust_r_squared[periods] = r_squared(stack, u, final.weights)
    wanted = Wanted.of(stack, combinations)
    variances, freedom = mm_variances(stack, final, wanted)
    trust.std_errors[periods] = np.ldexp(s[:, None] * np.sqrt(variances), wanted.exponents)
    trust.freedom[periods] = freedom


def _laid_out(block: Block, stack: Stack, values: FloatArray) -> FloatArray:
    """Lay out values (M,) of the usable rows as (P, n), zero beyond."""
    layout = Layout(replace(block, rows=None), stack.periods, stack.A.shape[2])
    return layout.of(values)
