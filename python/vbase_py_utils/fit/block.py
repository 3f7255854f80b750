"""The fit of one block: rows of whole periods in, a frame of fits or of portfolios out.

The bridge between frames and arrays: every way of reading a panel calls it, so it never imports
query, one_pass or results. tests/whole/test_structure.py pins who may import whom.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import polars as pl

from vbase_py_utils.errors import FitError
from vbase_py_utils.fit.block_rows import BlockRows
from vbase_py_utils.fit.schema import (
    CONDITION_NUMBER,
    FACTOR,
    FITTED,
    HOLDING,
    LEVERAGE,
    MAX_LEVERAGE,
    N_ASSETS,
    N_DOWNWEIGHTED,
    N_EXCLUDED,
    N_ITER,
    R_SQUARED,
    REASON,
    ROBUST_R_SQUARED,
    ROBUSTNESS_WEIGHT,
    SCALE,
    SPECIFIC_RETURN,
    STATUS,
    STATUS_TYPE,
    fit_schema,
    inner_trust,
    portfolio_schema,
)
from vbase_py_utils.kernel.categories import (
    fit_and_assess_families,
    fit_families,
    fitted_with_families,
)
from vbase_py_utils.kernel.covariance import CovType
from vbase_py_utils.kernel.estimators import estimate, estimate_and_assess
from vbase_py_utils.kernel.inference import Inference, p_values
from vbase_py_utils.kernel.losses import FloatArray
from vbase_py_utils.kernel.period_fits import (
    ANSWERED,
    Done,
    PeriodFits,
    SolverOptions,
    Status,
    fitted_values,
)
from vbase_py_utils.kernel.portfolios import Holdings, factor_holdings
from vbase_py_utils.kernel.threads import one_blas_thread
from vbase_py_utils.keys import ASSET, PERIOD, label
from vbase_py_utils.panel import RETURN, PanelSpec
from vbase_py_utils.text import counted, listed

OnFailure = Literal["null", "raise"]

# Characters of the names in a reason.
REASON_NAMES = 80

STATUS_NAMES = pl.Series([status.name for status in Status], dtype=STATUS_TYPE)


def fit_block(
    rows: pl.DataFrame,
    spec: PanelSpec,
    options: SolverOptions,
    cov_type: CovType | None = None,
    done: Done | None = None,
) -> pl.DataFrame:
    """Fit the periods of a block: ``rows`` as ``PanelSpec.select`` gives them, whole periods.

    Returns a row per period, sorted, with the columns of ``fit_schema``: the full ones if
    ``cov_type`` names a kind of standard errors. ``done`` is called with the number of periods
    fitted since its last call. Raises PanelError for null keys, repeated (period, asset) and
    negative weights.
    """
    spec.check_values(rows, partial=True)
    block = BlockRows.of(rows, spec)
    with one_blas_thread():
        if cov_type is None:
            columns = _estimates(block, _fit(block, options, done))
        else:
            fits, trust = _fit_and_assess(block, options, cov_type, done)
            columns = _estimates(block, fits)
            columns |= _full_columns(block, _fitted(block, fits), fits, trust)
    schema = fit_schema(rows[PERIOD].dtype, rows[ASSET].dtype, spec, full=cov_type is not None)
    return _frame(columns, schema)


def _frame(columns: dict[str, Any], schema: pl.Schema) -> pl.DataFrame:
    """Build a frame from arrays, in which NaN becomes null, and columns."""
    return pl.DataFrame(
        [pl.Series(name, columns[name], dtype, nan_to_null=True) for name, dtype in schema.items()]
    )


def _estimates(block: BlockRows, fits: PeriodFits) -> dict[str, Any]:
    """Build the columns that every fit has."""
    n_assets = np.diff(block.kept_starts)
    return {
        PERIOD: block.periods,
        N_ASSETS: n_assets,
        N_EXCLUDED: np.diff(block.starts) - n_assets,
        SCALE: _unless_infinite(fits.scale),
        N_ITER: fits.n_iter,
        STATUS: STATUS_NAMES[fits.status],
        REASON: _reasons(block, fits),
        **dict(zip(block.spec.inner_factors, _unless_infinite(fits.coefficients).T, strict=True)),
    }


def fit_rows(block: BlockRows, options: SolverOptions, done: Done | None = None) -> PeriodFits:
    """Fit the periods of a block without categories; ``done`` as for ``fit_block``."""
    X, y, w = block.arrays()
    with one_blas_thread():
        return estimate(X, y, w, block.kept_starts, options, rows=block.kept, done=done)


def fit_period(
    rows: pl.DataFrame, spec: PanelSpec, options: SolverOptions
) -> tuple[FloatArray, Status, str | None]:
    """Fit the only period of ``rows``, which are as for ``fit_block`` but not checked.

    Returns the estimates, the status, and the reason in words unless it is converged.
    """
    block = BlockRows.in_place(rows, spec, np.array([0, rows.height]))
    fits = _fit(block, options, None)
    return _unless_infinite(fits.coefficients)[0], Status(fits.status[0]), _reasons(block, fits)[0]


def _fit(block: BlockRows, options: SolverOptions, done: Done | None) -> PeriodFits:
    """Fit the periods of a block, categories included."""
    if not block.spec.families:
        return fit_rows(block, options, done)
    X, y, w = block.arrays()
    return fit_families(
        X,
        block.members(),
        y,
        w,
        block.kept_starts,
        options,
        rows=block.kept,
        done=done,
        intercept=block.spec.intercept,
    )


def _fit_and_assess(
    block: BlockRows, options: SolverOptions, cov_type: CovType | None, done: Done | None
) -> tuple[PeriodFits, Inference]:
    """Fit the periods of a block, categories included, and assess the fits."""
    X, y, w = block.arrays()
    if not block.spec.families:
        return estimate_and_assess(
            X, y, w, block.kept_starts, options, rows=block.kept, done=done, cov_type=cov_type
        )
    return fit_and_assess_families(
        X,
        block.members(),
        y,
        w,
        block.kept_starts,
        options,
        rows=block.kept,
        done=done,
        intercept=block.spec.intercept,
        cov_type=cov_type,
    )


def _fitted(block: BlockRows, fits: PeriodFits) -> FloatArray:
    """Fitted values of all rows of a block, period by period."""
    X, _, _ = block.arrays()
    if block.spec.families:
        members = block.members()
        return fitted_with_families(X, members, fits.coefficients, block.starts, block.order)
    return fitted_values(X, fits.coefficients, block.starts, block.order)


def _full_columns(
    block: BlockRows, fitted: FloatArray, fits: PeriodFits, trust: Inference
) -> dict[str, Any]:
    """Build the columns that only a full fit has; ``fitted`` is for all rows of the block."""
    with np.errstate(over="ignore", invalid="ignore"):
        specific = block.in_order(block.rows[RETURN]).to_numpy() - fitted
    per_row = {
        FITTED: _unless_infinite(fitted),
        SPECIFIC_RETURN: _unless_infinite(specific),
        ROBUSTNESS_WEIGHT: _of_all_rows(block, trust.robustness_weights),
        LEVERAGE: _of_all_rows(block, trust.leverages),
    }
    number = pl.Series("number", np.repeat(np.arange(len(block.periods)), np.diff(block.starts)))
    lists = (
        pl.DataFrame([number.set_sorted(), block.in_order(block.rows[ASSET])])
        .with_columns(pl.Series(name, values, nan_to_null=True) for name, values in per_row.items())
        .group_by("number", maintain_order=True)
        .agg(ASSET, *per_row)
    )
    per_factor = np.hstack([trust.std_errors, trust.freedom, p_values(fits.coefficients, trust)])
    return {
        N_DOWNWEIGHTED: pl.Series(trust.n_downweighted).fill_nan(None).cast(pl.UInt32),
        R_SQUARED: trust.r_squared,
        ROBUST_R_SQUARED: trust.robust_r_squared,
        MAX_LEVERAGE: lists[LEVERAGE].list.max(),
        CONDITION_NUMBER: trust.condition_numbers,
        **dict(zip(inner_trust(block.spec), per_factor.T, strict=True)),
        **lists.drop("number").to_dict(),
    }


def _of_all_rows(block: BlockRows, values: FloatArray) -> FloatArray:
    """Values of all rows of a block from those of the usable rows, NaN for the others."""
    if block.usable is None:
        return values
    every = np.full(len(block.usable), np.nan)
    every[block.usable] = values
    return every


def _unless_infinite(values: FloatArray) -> FloatArray:
    """Replace infinite numbers by NaN, which becomes null."""
    return np.where(np.isfinite(values), values, np.nan)


def _reasons(block: BlockRows, fits: PeriodFits) -> list[str | None]:
    """Give the reason in words for each period that did not converge, null for the others."""
    spec, n_assets = block.spec, np.diff(block.kept_starts)
    reasons: list[str | None] = [None] * len(n_assets)
    only_exposures = not (spec.intercept or spec.families)
    noun = "exposures" if only_exposures else "factors"
    wanted = counted(len(spec.exposures), "exposure")
    if spec.intercept:
        wanted = f"an intercept and {wanted}"
    if spec.families:
        columns = listed((family.column for family in spec.families), room=REASON_NAMES)
        wanted += f" beside the categories of {columns}"
    for t in np.flatnonzero(fits.status != Status.converged):
        n, steps = n_assets[t], fits.n_iter[t]
        match Status(fits.status[t]):
            case Status.max_iter:
                why = f"not converged after {counted(steps, 'step')}"
            case Status.exact_fit:
                why = (
                    f"the {noun} fit most of the {n} returns exactly, "
                    "so there is no error to estimate"
                )
            case Status.rank_deficient:
                why = _collinear(block, fits, t, noun)
            case _:
                why = f"{counted(n, 'usable asset')} for {wanted}"
                if spec.families:
                    why += f", {fits.n_estimated[t]} factor returns to estimate"
        reasons[t] = why
    return reasons


def _collinear(block: BlockRows, fits: PeriodFits, t: np.intp, noun: str) -> str:
    """Name the collinear factors of period ``t``, those that are zero for all assets separately."""
    factors = np.flatnonzero(fits.collinear[t])
    first, end = block.kept_starts[t : t + 2]
    rows = np.arange(first, end) if block.kept is None else block.kept[first:end]
    X, _, _ = block.arrays()
    zero = [j for j in factors if j < len(X) and not X[j][rows].any()]
    names = [block.spec.factors[j] for j in zero]
    others = [block.spec.factors[j] for j in factors if j not in zero]
    parts = []
    if zero:
        are = "exposure {} is" if len(zero) == 1 else "exposures {} are"
        assets = "the only asset" if len(rows) == 1 else f"all {len(rows)} assets"
        parts.append(f"{are.format(listed(names, 6, REASON_NAMES))} zero for {assets}")
    if others:
        named = listed(others, 6, REASON_NAMES)
        if fits.only_start_deficient[t]:
            without = "once assets with outlying exposures are left out"
            parts.append(f"{noun} {named} are linearly dependent {without}")
        else:
            parts.append(f"{noun} {named} are linearly dependent over the {len(rows)} assets")
    return "; ".join(parts)


def portfolio_block(
    rows: pl.DataFrame,
    spec: PanelSpec,
    options: SolverOptions,
    on_failure: OnFailure = "null",
) -> pl.DataFrame:
    """Fit the periods of a block and compute the portfolios of those that converged.

    ``rows`` and errors as for ``fit_block``. Returns a row per period, used asset and factor with a
    return, in the columns of ``portfolio_schema``.
    """
    spec.check_values(rows, partial=True)
    block = BlockRows.of(rows, spec)
    with one_blas_thread():
        fits, trust = _fit_and_assess(block, options, None, None)
        if on_failure == "raise":
            raise_on_failure(pl.DataFrame(_estimates(block, fits)), partial=True)
        held, factors, holdings = _holdings(block, fits, trust)
    assets = block.in_order(rows[ASSET])
    if block.usable is not None:
        assets = assets.filter(pl.Series(block.usable))
    sizes = np.diff(block.kept_starts)
    return pl.DataFrame(
        {
            PERIOD: block.periods.gather(np.repeat(np.arange(len(sizes)), sizes)[held]),
            ASSET: assets.gather(held),
            FACTOR: pl.Series(spec.factors, dtype=pl.String).gather(factors),
            HOLDING: holdings,
        },
        schema=portfolio_schema(rows.schema[PERIOD], rows.schema[ASSET]),
    )


def _holdings(block: BlockRows, fits: PeriodFits, trust: Inference) -> Holdings:
    """Compute the portfolios of all periods that converged, asset by asset."""
    X, _, w = block.arrays()
    starts, intercept = block.kept_starts, block.spec.intercept
    converged = np.repeat(fits.status == Status.converged, np.diff(starts))
    weights = np.where(converged, trust.robustness_weights, np.nan)
    return factor_holdings(
        X, block.members(), w, starts, weights, rows=block.kept, intercept=intercept
    )


def raise_on_failure(fits: pl.DataFrame, *, partial: bool = False) -> pl.DataFrame:
    """Raise FitError if a period has no answer; ``partial``: more periods are still to come."""
    failed = fits.filter(~pl.col(STATUS).is_in(ANSWERED))
    if not failed.is_empty():
        n_periods = None if partial else fits.height
        raise FitError.failed_periods(
            failed.height, n_periods, label(failed[PERIOD]), failed[STATUS][0], failed[REASON][0]
        )
    return fits
