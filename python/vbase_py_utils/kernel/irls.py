"""The M-estimator over a block of periods: arrays in, one frozen record of arrays out.

The estimate of a period is the limit of iteratively reweighted least squares (IRLS) from the
weighted least-squares start, where the scale s is the median of |u| about zero over its normal
value, taken anew at every step. IRLS finds the branch, then a joint Newton iteration in (b, s)
finishes; whenever Newton strays it goes back to the saved IRLS point.

All periods of a stack take their steps together, each in its own phase, and those that are done
leave. In this module A and y are the whitened, scaled design and returns of a stack, u = y - b A;
a period is the first axis, its exposures the second, its rows the last. Residuals are updated by
what a step changes, so that rounding does not blur the end of the iteration.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vbase_py_utils.kernel.linalg import (
    EPS,
    combined,
    dots,
    products,
)
from vbase_py_utils.kernel.losses import FloatArray, Loss
from vbase_py_utils.kernel.newton import (
    FAST_RATE,
    NEWTON_STEPS,
    NEWTON_SWITCH,
    begin_newton,
    ends_of_intervals,
    go_back,
    out_of_reach,
    settled,
)
from vbase_py_utils.kernel.period_fits import Done, PeriodFits, SolverOptions, Status
from vbase_py_utils.kernel.scale import scale_of
from vbase_py_utils.kernel.stacks import (
    Block,
    Exposures,
    Room,
    Stack,
    columns_of,
    plan_stacks,
    stack_periods,
)
from vbase_py_utils.kernel.state import (
    NOISE,
    Live,
    NewtonPhase,
    max_abs,
    rescale,
)
from vbase_py_utils.kernel.steps import find_sides, step
from vbase_py_utils.kernel.threads import run_together

# The middle of the residuals is looked for within SEARCHED times what it moved last, at first as if
# it had moved by FIRST_MOVE / sqrt(n) of itself: of 2,000 assets it moves by 4 %, of 500 by 10 %.
SEARCHED, FIRST_MOVE = 3.0, 1.3
# A least-squares fit that leaves less than this share of the rows' magnitude has lost six digits of
# its residuals to rounding: a second step from them restores the digits.
NEARLY_EXACT = 1e-6
# If the scale is below COLLAPSED times the spread of the least-squares residuals, or ROUNDED times
# the size of a typical row, the exposures fit most returns exactly: the rest is rounding.
COLLAPSED, ROUNDED = 1e-12, 8 * EPS


def fit_periods(
    X: Exposures,
    y: FloatArray,
    w: FloatArray | None,
    starts: NDArray[np.intp],
    options: SolverOptions,
    rows: NDArray[np.intp] | None = None,
    done: Done | None = None,
) -> PeriodFits:
    """Fit every period of a block on its own.

    X (N, k) exposures, or a sequence of its columns; y (N,) returns; w (N,) regression weights, or
    ``None`` to weight all rows equally. ``rows`` (M,) lists the usable rows, which are finite and
    have w > 0, period by period; without it all rows are usable, as they stand. Period t has
    rows[starts[t]] up to rows[starts[t + 1]]; ``starts`` has T + 1 entries, and a period may be
    empty. Never raises for a bad period and never warns: its status shows how it ended. ``done``
    gets the number of periods fitted since its last call; any thread may call it.
    """
    block = Block(columns_of(X), y, w, starts, rows)
    n_periods, n_factors = len(starts) - 1, len(block.columns)
    fits = PeriodFits.unanswered(n_periods, n_factors)
    room = Room()

    def fit(periods: NDArray[np.intp]) -> None:
        # Underflow and overflow at the ends of the number range are the user's units, no defect.
        with np.errstate(all="ignore"):
            stack, dependent = stack_periods(block, periods, room)
            fits.status[dependent.periods] = Status.rank_deficient
            fits.collinear[dependent.periods] = dependent.columns
            endings = _fit_stack(stack, options)
            fits.coefficients[stack.periods] = np.ldexp(
                stack.coefficients_of(endings.b), stack.to_b
            )
            fits.scale[stack.periods] = np.ldexp(endings.s, stack.to_s)
            fits.n_iter[stack.periods] = endings.n_iter
            fits.status[stack.periods] = endings.status
        if done is not None:
            done(len(periods))

    short_calls = not options.loss.is_quadratic
    stacks = plan_stacks(block.sizes, n_factors, short_calls=short_calls)
    if done is not None:
        done(n_periods - sum(len(periods) for periods in stacks))
    run_together(fit, stacks, short_calls=short_calls)
    return fits


class _Endings(NamedTuple):
    """How P periods ended: coefficients of A (P, k), scale, steps and status (P,)."""

    b: FloatArray
    s: FloatArray
    n_iter: NDArray[np.int32]
    status: NDArray[np.uint8]


def _fit_stack(stack: Stack, options: SolverOptions) -> _Endings:
    """Start from least squares, then iterate until every period of the stack is done."""
    live = _start(stack, options.loss)
    n_periods, k = live.b.shape
    endings = _Endings(
        b=np.empty((n_periods, k)),
        s=np.empty(n_periods),
        n_iter=np.empty(n_periods, dtype=np.int32),
        status=np.empty(n_periods, dtype=np.uint8),
    )

    def end(which: NDArray[np.bool_], n_iter: int, status: Status) -> None:
        which = which & ~live.done
        if not np.count_nonzero(which):
            return
        position = live.position[which]
        endings.b[position] = live.b[which]
        # The scale of the record is that of the final residuals, to the last digit.
        endings.s[position] = scale_of(live.low, live.high)[which]
        endings.n_iter[position] = n_iter
        endings.status[position] = status
        live.done |= which

    def settle(n_iter: int) -> None:
        if options.loss.has_newton:
            find_sides(live, options.loss)
            end(settled(live, options.loss, options.tol), n_iter, Status.converged)

    end(_exact_at_start(stack, live), 0, Status.exact_fit)
    for n_iter in range(1, options.max_iter + 1):
        # The least-squares estimate has no scale that could collapse.
        if not options.loss.is_quadratic:
            end(_collapsed(stack, live), n_iter - 1, Status.exact_fit)
        settle(n_iter - 1)
        if live.done.all():
            return endings
        if live.is_mostly_done():
            live.drop_done()
        end(_advance(stack, live, options), n_iter, Status.converged)
    settle(options.max_iter)
    end(~live.done, options.max_iter, Status.max_iter)
    return endings


def _start(stack: Stack, loss: Loss) -> Live:
    """Begin at weighted least squares."""
    A, y, n_periods = stack.A, stack.y, len(stack.periods)
    b = products(stack.inverse, stack.score)
    u = y - combined(A, b)
    # A bound on the magnitude of rows: no exposure of the design and no return exceeds one.
    largest = np.maximum(1.0, np.abs(stack.coefficients_of(b)).sum(axis=1))
    spread = np.sqrt(dots(u, u) / stack.sizes)
    # The steps to come make up for the rounding of this one.
    close = spread <= NEARLY_EXACT * largest
    if close.any():
        b[close] += products(stack.inverse[close], products(A[close], u[close]))
        u[close] = y[close] - combined(A[close], b[close])
        spread = np.sqrt(dots(u, u) / stack.sizes)
    if loss.is_quadratic:
        # Its step needs no scale.
        low, high, s = spread, spread, spread
    else:
        low, high = stack.ranks.middle(u)
        s = scale_of(low, high)
    return Live(
        position=np.arange(n_periods),
        done=np.zeros(n_periods, dtype=np.bool_),
        A=A,
        gram=stack.gram.copy(),
        pivots=stack.pivots.copy(),
        condition=stack.condition.copy(),
        ranks=stack.ranks,
        b=b,
        u=u,
        psi=u,
        side=np.zeros(u.shape, dtype=np.int8),
        last_side=np.zeros(u.shape, dtype=np.int8),
        spread=spread.copy(),
        low=low.copy(),
        high=high.copy(),
        middle_moved=np.full(n_periods, FIRST_MOVE / math.sqrt(A.shape[2])),
        s=s.copy(),
        fresh=s.copy(),
        suspect=np.maximum(COLLAPSED * spread, ROUNDED * largest),
        switch=np.full(n_periods, NEWTON_SWITCH if loss.has_newton else 0.0),
        last_change=np.full(n_periods, np.inf),
        newton=NewtonPhase.not_begun(b, u),
    )


def _exact_at_start(stack: Stack, live: Live) -> NDArray[np.bool_]:
    """Which periods least squares fits exactly, up to rounding."""
    exact: NDArray[np.bool_] = stack.sizes == live.b.shape[1]
    for i in np.flatnonzero(~exact & (live.spread <= live.suspect)):
        sizes = _row_sizes(stack, live.A[i], i, live.b[i])
        exact[i] = live.spread[i] <= ROUNDED * sizes.max()
    return exact


def _row_sizes(stack: Stack, A: FloatArray, position: np.intp, b: FloatArray) -> FloatArray:
    """Row sizes of the period at ``position`` from its A (k, n) and coefficients of it."""
    if stack.triangle is not None:
        # Then the design is apart from A.
        A, b = stack.design[position], np.linalg.solve(stack.triangle[position], b)
    return stack.row_sizes(position, A, b)


def _collapsed(stack: Stack, live: Live) -> NDArray[np.bool_]:
    """Whether the scale is no more than rounding."""
    collapsed = (live.s <= live.suspect) & ~(live.newton.on | live.done)
    for i in collapsed.nonzero()[0]:
        position = live.position[i]
        least = least_scale(stack, live.A[i], position, live.b[i], float(live.spread[i]))
        collapsed[i] = live.s[i] <= least
    return collapsed


def least_scale(
    stack: Stack, A: FloatArray, position: np.intp, b: FloatArray, spread: float
) -> float:
    """Give the scale that is no more than rounding of the typical row, or 1e-12 of the ``spread``.

    Typical is the upper quartile, so that a wild return does not hide the scale of all others; of
    returns that are mostly zero it is the median of those that are not. The period at ``position``
    has A (k, n) and coefficients ``b`` (k,) of A.
    """
    rows = _row_sizes(stack, A, position, b)
    returns = np.abs(stack.y[position])
    typical = max(float(np.quantile(rows, 0.75)), float(np.median(returns[returns > 0])))
    return max(COLLAPSED * min(spread, typical), ROUNDED * typical)


def _advance(stack: Stack, live: Live, options: SolverOptions) -> NDArray[np.bool_]:
    """Take one step with every period, each in its phase; give a mask of those that converged."""
    phase, loss = live.newton, options.loss
    newton, s, u = phase.on, live.s, live.u
    some_newton = bool(newton.any())

    # --- The step. Residuals change by what it adds to the fit.
    db, s_newton, refused, left = step(live, loss)
    du = combined(live.A, db)
    live.b, live.u = live.b + db, u - du
    # As the residuals moved: in a residual of 1e20 scales no step that matters is seen.
    moved = max_abs(np.subtract(live.u, u, out=du))

    # --- The scale: the median of the new residuals, or what Newton's step gives for it.
    _find_middle(live)
    live.s = scale_of(live.low, live.high)
    if some_newton:
        live.s = np.where(newton, s_newton, live.s)
    # The rounding of larger residuals must not stay in smaller ones.
    if not loss.is_quadratic:
        _refresh(stack, live, ~newton & (live.s < 0.5 * live.fresh))

    # --- The test for convergence: nothing moved by more than tol scales, or than rounding.
    change = moved
    if some_newton:
        change = np.where(newton, np.maximum(moved, np.abs(live.s - s)), moved)
    small = change <= np.maximum(options.tol * s, _noise(u, s, options))

    # --- Newton phases that strayed, found no step or take too long go back.
    fast = change <= FAST_RATE * live.last_change
    begins = ~(newton | small) & (change <= np.where(fast, live.switch, live.switch / 10) * s)
    if some_newton:
        phase.steps += newton
        phase.travelled += moved
        phase.rounding = EPS * live.condition / left * moved
        refused |= out_of_reach(live)
        one_of_many = ends_of_intervals(live, newton & small & ~refused, loss)
        live.switch[one_of_many] = 0.0
        refused[one_of_many] = True
        back = newton & (refused | ~small & (phase.steps >= NEWTON_STEPS))
        small &= ~back
        go_back(live, back)

    # --- IRLS that has come close goes on by Newton.
    begin_newton(live, begins, change)
    live.last_change = np.where(newton, live.last_change, change)
    return small


def _find_middle(live: Live) -> None:
    """Find the middle of the new residuals, near the last one."""
    before = 0.5 * (live.low + live.high)
    live.low, live.high = live.ranks.middle(live.u, before, SEARCHED * live.middle_moved)
    live.middle_moved = np.abs(0.5 * (live.low + live.high) / before - 1.0)


def _noise(u: FloatArray, s: FloatArray, options: SolverOptions) -> FloatArray | float:
    """Bound what rounding of psi alone moves in a step; zero where that is below ``tol``."""
    bound = options.loss.largest_psi
    if NOISE * bound < options.tol:
        return 0.0
    largest = max_abs(u)
    return NOISE * (largest if np.isinf(bound) else np.minimum(bound * s, largest))


def _refresh(stack: Stack, live: Live, which: NDArray[np.bool_]) -> None:
    """Compute residuals from the coefficients anew."""
    which &= ~live.done
    if which.any():
        live.u[which] = stack.y[live.position[which]] - combined(live.A[which], live.b[which])
        rescale(live, which)
        live.fresh[which] = live.s[which]
