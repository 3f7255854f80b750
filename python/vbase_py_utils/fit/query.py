"""One lazy query from a panel to a row per period, over blocks of whole periods.

A block is a frame that holds whole periods: the panel, a part of a very large one, made by hashing
the period, or what has been read of one that is sorted. ``fit_block`` is called on each.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import polars as pl

from vbase_py_utils.errors import PanelError
from vbase_py_utils.fit.block import OnFailure, fit_block, portfolio_block, raise_on_failure
from vbase_py_utils.fit.one_pass import one_pass
from vbase_py_utils.fit.progress import counting
from vbase_py_utils.fit.schema import fit_schema, portfolio_schema
from vbase_py_utils.kernel.covariance import CovType
from vbase_py_utils.kernel.period_fits import SolverOptions
from vbase_py_utils.keys import PERIOD, check_order
from vbase_py_utils.panel import PanelSpec
from vbase_py_utils.periods.order import (
    check_time_order,
    check_time_type,
    may_be_disordered,
    warn_unless_time_order,
)

# A panel is one block, unless it is so large that the copy of a block should be a part of it.
# Hashing the rows into blocks takes as long as a third of the fits.
BLOCK_ROWS = 2**24
LAZY_BLOCKS = 1
# What needs the order of time, in a message.
SORTED = "sorted_by_period=True"
# Filters and limits on the result must not reach the panel: they would change which rows are
# fitted.
NO_PUSHDOWN = {
    "predicate_pushdown": False,
    "projection_pushdown": False,
    "slice_pushdown": False,
}

FitsBlock: TypeAlias = Callable[[pl.DataFrame], pl.DataFrame]


def fit_frame(
    panel: pl.DataFrame,
    spec: PanelSpec,
    options: SolverOptions,
    *,
    on_failure: OnFailure = "null",
    cov_type: CovType | None = None,
    sorted_by_period: bool = False,
    progress: bool = False,
    warn: bool = True,
) -> pl.DataFrame:
    """Fit a panel in memory; arguments and answer as for ``fit_query``."""
    # Without its name, which Polars might read as a pattern.
    periods = panel.get_column(spec.period).alias(PERIOD)
    if sorted_by_period:
        check_time_order(periods, spec.period, SORTED)
        check_order(periods, spec.period, partial=False)
    try:
        with counting(periods.n_unique() if progress else None, progress=progress) as done:
            fit = partial(fit_block, spec=spec, options=options, cov_type=cov_type, done=done)
            fits = _fitted(panel, spec, fit, full=cov_type is not None)
    except PanelError:
        # The block that failed could count its own rows only.
        spec.check_values(spec.rows_of(panel), partial=False)
        raise
    if on_failure == "raise":
        raise_on_failure(fits)
    if warn:
        warn_unless_time_order(fits[PERIOD], spec.period)
    return fits


def _fitted(panel: pl.DataFrame, spec: PanelSpec, fit: FitsBlock, *, full: bool) -> pl.DataFrame:
    """Call ``fit`` on the blocks of a panel in memory; one block is fitted without a query."""
    n_blocks = blocks_of(panel)
    if n_blocks == 1:
        return fit(spec.rows_of(panel))
    schema = panel.schema
    out = fit_schema(schema[spec.period], schema[spec.asset], spec, full=full)
    # The streaming engine would cut the columns into pieces.
    return _by_blocks(panel.lazy(), spec, fit, out, n_blocks).collect(engine="in-memory")


def blocks_of(panel: pl.DataFrame) -> int:
    """Give the number of blocks into which a panel in memory is hashed."""
    return 1 + panel.height // BLOCK_ROWS


def fit_query(
    panel: pl.LazyFrame,
    spec: PanelSpec,
    options: SolverOptions,
    *,
    on_failure: OnFailure = "null",
    cov_type: CovType | None = None,
    sorted_by_period: bool = False,
    progress: bool = False,
    n_blocks: int = LAZY_BLOCKS,
) -> pl.LazyFrame:
    """Plan the fits: one row per period, sorted, with the columns of ``fit_schema``.

    Without ``cov_type`` there are only estimates, for a fraction of the time. With
    ``sorted_by_period`` the panel is read once, in batches; otherwise its periods are hashed into
    ``n_blocks`` blocks. The numbers depend on neither. The query warns of text that sorts in
    another order than time.
    """
    schema = panel.collect_schema()
    out = fit_schema(schema[spec.period], schema[spec.asset], spec, full=cov_type is not None)
    fit = partial(fit_block, spec=spec, options=options, cov_type=cov_type)
    if sorted_by_period:
        check_time_type(schema[spec.period], spec.period, SORTED)
        if on_failure == "raise":
            fit = partial(_fit_or_raise, fit=fit)
        return one_pass(panel, spec, fit, out, progress=progress)
    if progress:
        fit = partial(_fit_shown, fit=fit)
    fits = _by_blocks(panel, spec, fit, out, n_blocks)
    if on_failure == "raise":
        # A filter or a limit set later must not hide a failed period.
        fits = fits.map_batches(raise_on_failure, schema=out, **NO_PUSHDOWN)
    return _warning(fits, spec, out)


def _warning(answer: pl.LazyFrame, spec: PanelSpec, out: pl.Schema) -> pl.LazyFrame:
    """Warn, once when the query runs, if text has put the rows in another order than time."""
    if not may_be_disordered(out[PERIOD]):
        return answer

    def warn(rows: pl.DataFrame) -> pl.DataFrame:
        warn_unless_time_order(rows[PERIOD], spec.period)
        return rows

    return answer.map_batches(warn, schema=out, **NO_PUSHDOWN)


def _by_blocks(
    panel: pl.LazyFrame,
    spec: PanelSpec,
    fit: FitsBlock,
    out: pl.Schema,
    n_blocks: int,
) -> pl.LazyFrame:
    """Call ``fit`` on blocks of whole periods; its rows in the order of the periods."""
    rows = spec.select(panel)
    if n_blocks == 1:
        return rows.map_batches(fit, schema=out, **NO_PUSHDOWN)
    number = pl.col(PERIOD).hash() % n_blocks
    fits = rows.group_by(number, maintain_order=True).map_groups(fit, schema=out)
    return fits.sort(PERIOD, maintain_order=True)


def portfolio_query(
    panel: pl.DataFrame | pl.LazyFrame,
    spec: PanelSpec,
    options: SolverOptions,
    *,
    on_failure: OnFailure = "null",
    sorted_by_period: bool = False,
    n_blocks: int = LAZY_BLOCKS,
    warn: bool = True,
) -> pl.LazyFrame:
    """Plan the factor portfolios: a row per period, asset and factor, sorted by period."""
    panel = panel.lazy()
    schema = panel.collect_schema()
    out = portfolio_schema(schema[spec.period], schema[spec.asset])
    hold = partial(portfolio_block, spec=spec, options=options, on_failure=on_failure)
    if sorted_by_period:
        check_time_type(schema[spec.period], spec.period, SORTED)
        return one_pass(panel, spec, hold, out)
    answer = _by_blocks(panel, spec, hold, out, n_blocks)
    return _warning(answer, spec, out) if warn else answer


def _fit_or_raise(rows: pl.DataFrame, fit: FitsBlock) -> pl.DataFrame:
    return raise_on_failure(fit(rows), partial=True)


def _fit_shown(rows: pl.DataFrame, fit: Callable[..., pl.DataFrame]) -> pl.DataFrame:
    with counting(rows[PERIOD].n_unique()) as done:
        return fit(rows, done=done)
