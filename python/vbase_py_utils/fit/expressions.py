"""The estimator as Polars expressions, for any grouping and window.

Every group arrives as one list of rows, so that all groups are fitted side by side by the same
code as the periods of a panel.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vbase_py_utils.arguments import check_list, shown
from vbase_py_utils.errors import PanelError
from vbase_py_utils.fit.block import fit_rows
from vbase_py_utils.fit.block_rows import BlockRows
from vbase_py_utils.forks import check_process
from vbase_py_utils.kernel.losses import HUBER_T, FloatArray
from vbase_py_utils.kernel.period_fits import SolverOptions, fitted_values
from vbase_py_utils.panel import RETURN, WEIGHT, PanelSpec, holds_numbers

IntoColumn = str | pl.Expr

# The field of a row that holds its exposures.
EXPOSURES = "exposures"


def huber_regression(
    returns: IntoColumn,
    exposures: IntoColumn | Iterable[IntoColumn],
    *,
    weights: IntoColumn | None = None,
    huber_t: float = HUBER_T,
) -> pl.Expr:
    """Regress returns on exposures in every group of a ``group_by``, a window or a whole frame.

    The numbers are those of ``factor_returns``, which describes the estimate and missing values.

    Parameters
    ----------
    returns, weights
        Column name or expression, numeric. ``weights`` are regression weights, proportional to
        1 / variance; ``None`` weights all rows equally.
    exposures
        Column names or expressions, numeric or Boolean; a selector stands for all its columns.
    huber_t
        Tuning constant in units of the residual scale; infinity gives weighted least squares.

    Returns
    -------
    pl.Expr
        One struct per group, named like the returns, with a Float64 field per exposure, named
        after it. All fields are null where there is no answer: fewer usable rows than exposures,
        collinear exposures, or a negative weight.

    Raises
    ------
    PanelError
        No exposures, or one is named twice. When the query runs: a column is not numeric.
    ValueError, TypeError
        ``huber_t`` is out of range; a column is neither a name nor an expression; exposures have no
        order, as in a set.
    RuntimeError
        As ``factor_returns``.

    Examples
    --------
    >>> import polars as pl
    >>> from vbase_py_utils import huber_regression
    >>> panel = pl.DataFrame({
    ...     "country": ["DE"] * 5 + ["FR"] * 2,
    ...     "return": [0.010, 0.021, 0.500, 0.041, 0.049, 0.02, None],
    ...     "beta": [0.5, 1.0, 1.5, 2.0, 2.5, 1.0, 2.0],
    ... })
    >>> fit = huber_regression("return", "beta").alias("fit")
    >>> answer = panel.group_by("country", maintain_order=True).agg(fit).unnest("fit")
    >>> answer.select("country", pl.col("beta").round(4)).rows()
    [('DE', 0.0203), ('FR', 0.02)]
    """
    rows, fields = _group_rows("returns", returns, exposures, weights)
    fit = partial(_coefficients, **_arguments("returns", weights, huber_t))
    # first(): a group has one list, which the streaming engine could repeat for all its rows.
    return rows.map_batches(fit, return_dtype=pl.dtype_of(fields), is_elementwise=True).first()


def huber_residuals(
    returns: IntoColumn,
    exposures: IntoColumn | Iterable[IntoColumn],
    *,
    weights: IntoColumn | None = None,
    huber_t: float = HUBER_T,
) -> pl.Expr:
    """Give the residuals of returns, or of a signal, on the exposures: for ``.over("period")``.

    The numbers are the specific returns of ``fit_cross_sections``.

    Parameters
    ----------
    returns, exposures, weights, huber_t
        As in ``huber_regression``.

    Returns
    -------
    pl.Expr
        One Float64 per row, named like the returns: returns minus exposures times coefficients.
        Rows with a weight that is 0 or missing are not used in the fit, but have a residual. Null
        where the return or an exposure is missing, and in groups without an answer.

    Raises
    ------
    PanelError, ValueError, TypeError
        As ``huber_regression``.

    Examples
    --------
    >>> import polars as pl
    >>> from vbase_py_utils import huber_residuals
    >>> panel = pl.DataFrame({
    ...     "period": [1, 1, 1, 1, 1, 2, 2],
    ...     "signal": [2.0, 4.0, 9.0, 8.0, 10.0, 0.5, 0.7],
    ...     "size": [1.0, 2.0, 3.0, 4.0, 5.0, 1.0, None],
    ... })
    >>> neutral = huber_residuals("signal", "size").over("period").alias("neutral")
    >>> panel.with_columns(neutral.round(6)).filter(pl.col("neutral") != 0).rows()
    [(1, 9.0, 3.0, 3.0)]
    """
    return residuals_of("returns", returns, exposures, weights, huber_t)


def residuals_of(
    argument: str,
    column: IntoColumn,
    exposures: IntoColumn | Iterable[IntoColumn],
    weights: IntoColumn | None,
    huber_t: float,
    rounding: float | None = None,
) -> pl.Expr:
    """Express the residuals of a column; messages call the column ``argument``.

    Null in groups where no residual is above ``rounding`` times the largest sum of |exposure times
    coefficient|: what is subtracted is known only up to the rounding of these products.
    """
    rows, _ = _group_rows(argument, column, exposures, weights)
    fit = partial(_residuals, **_arguments(argument, weights, huber_t), rounding=rounding)
    residuals = rows.map_batches(fit, return_dtype=pl.List(pl.Float64), is_elementwise=True)
    return residuals.explode(empty_as_null=False, keep_nulls=False)


def _group_rows(
    argument: str,
    returns: IntoColumn,
    exposures: IntoColumn | Iterable[IntoColumn],
    weights: IntoColumn | None,
) -> tuple[pl.Expr, pl.Expr]:
    """Express a group as one list of rows, and a struct with the fields of its answer."""
    y, X = as_column(argument, returns), as_columns("exposures", exposures)
    if not X:
        raise PanelError.no_exposures()
    names = Counter(_name(x, "") for x in X)
    repeated = [name for name, count in names.items() if count > 1 and name]
    if repeated:
        raise PanelError.repeated_exposures(repeated)
    fields = [y.alias(RETURN), pl.struct(X).alias(EXPOSURES)]
    if weights is not None:
        fields.append(as_column("weights", weights).alias(WEIGHT))
    rows = pl.struct(fields).implode().alias(_name(y, RETURN))
    return rows, pl.struct(x.cast(pl.Float64) for x in X)


def _arguments(argument: str, weights: IntoColumn | None, huber_t: float) -> dict[str, Any]:
    """Collect the keyword arguments of a function on rows.

    ``role``: what messages call the returns. ``weights``: the name of the weights, if any.
    """
    name = None if weights is None else _name(as_column("weights", weights), WEIGHT)
    return {"role": role_of(argument), "weights": name, "options": SolverOptions(huber_t)}


def role_of(argument: str) -> str:
    """Give the role of a column in messages: empty if the argument is only called "column"."""
    return "" if argument == "column" else argument


def as_column(argument: str, column: object, verb: str = "is") -> pl.Expr:
    """Take a name or an expression as an expression; raise TypeError for anything else."""
    check_process()
    if isinstance(column, pl.Expr):
        return column
    if isinstance(column, str):
        return pl.col(column)
    raise TypeError(f"{argument} {verb} {shown(column)}, expected a column name or an expression")


def as_columns(argument: str, columns: object) -> list[pl.Expr]:
    """Take one or several names or expressions as expressions, in their order."""
    if isinstance(columns, IntoColumn):
        return [as_column(argument, columns)]
    several = check_list(argument, columns, "column names or expressions in a list")
    return [as_column(argument, column, "holds") for column in several]


def _name(column: pl.Expr, otherwise: str) -> str:
    """Name a column; ``otherwise`` for a selector, whose columns are not known yet."""
    name = column.meta.output_name(raise_if_undetermined=False)
    return otherwise if name is None else name


def _coefficients(
    groups: pl.Series, *, role: str, weights: str | None, options: SolverOptions
) -> pl.Series:
    """Give a struct of coefficients for every list of rows."""
    block = _block(groups, role, weights)
    coefficients = fit_rows(block, options).coefficients
    fields = zip(block.spec.exposures, _series(coefficients.T), strict=True)
    return pl.DataFrame(dict(fields)).to_struct(groups.name)


def _residuals(
    groups: pl.Series,
    *,
    role: str,
    weights: str | None,
    options: SolverOptions,
    rounding: float | None,
) -> pl.Series:
    """Give a list of residuals for every list of rows."""
    block = _block(groups, role, weights)
    coefficients = fit_rows(block, options).coefficients
    X, y, _ = block.arrays()
    with np.errstate(over="ignore", invalid="ignore"):
        residuals = y - fitted_values(X, coefficients, block.starts)
    if rounding is not None:
        products = fitted_values([np.abs(x) for x in X], np.abs(coefficients), block.starts)
        largest = partial(_largest, where=np.isfinite(residuals), starts=block.starts)
        residuals[largest(np.abs(residuals)) <= rounding * largest(products)] = np.nan
    return in_lists(groups.name, _series([residuals])[0], block.starts)


def in_lists(name: str, values: pl.Series, starts: NDArray[np.intp]) -> pl.Series:
    """Lay out values as lists: list g has those from ``starts[g]`` to ``starts[g + 1]``."""
    import pyarrow as pa  # noqa: PLC0415 - coefficients do without

    lists = pl.Series(name, pa.LargeListArray.from_arrays(starts, values.to_arrow()))
    # A copy, in memory of Polars. Freeing Arrow's needs Python's lock; who pickles a frame holds it
    # while waiting for a thread of Polars, which would wait for the lock.
    return lists.gather(np.arange(len(lists)))


def _largest(
    values: FloatArray, *, where: NDArray[np.bool_], starts: NDArray[np.intp]
) -> FloatArray:
    """Give every row the largest of its group's values, which are >= 0; 0 if there is none."""
    sizes = np.diff(starts)
    held = sizes > 0
    maxima = np.maximum.reduceat(np.where(where, values, 0.0), starts[:-1][held])
    return np.repeat(maxima, sizes[held])


def _series(arrays: Iterable[FloatArray]) -> list[pl.Series]:
    """Null for whatever is not a finite number."""
    return [
        pl.Series(np.where(np.isfinite(values), values, np.nan), nan_to_null=True)
        for values in arrays
    ]


def _block(groups: pl.Series, role: str, weights: str | None) -> BlockRows:
    """Lay out lists of rows as the periods of a block; no row of a bad group is usable."""
    fields = groups.explode(empty_as_null=False, keep_nulls=False).struct.unnest()
    exposures = fields[EXPOSURES].struct.unnest()
    spec = PanelSpec("group", "row", groups.name, tuple(exposures.columns), weights)
    columns = {
        RETURN: _as_float64(role, groups.name, fields[RETURN]),
        **{
            inside: _as_float64("exposure", x.name, x)
            for inside, x in zip(spec.inner_exposures, exposures.get_columns(), strict=True)
        },
    }
    if weights is not None:
        columns[WEIGHT] = _as_float64("weights", weights, fields[WEIGHT])
    sizes = groups.list.len().to_numpy()
    starts = np.append(0, np.cumsum(sizes, dtype=np.intp))
    block = BlockRows.in_place(pl.DataFrame(columns), spec, starts)
    if weights is not None and (columns[WEIGHT] < 0).any():
        negative = columns[WEIGHT].is_between(-math.inf, 0, closed="none").to_numpy()
        below = np.append(0, np.cumsum(negative))[starts]
        sound = np.repeat(np.diff(below) == 0, sizes)
        usable = sound if block.usable is None else sound & block.usable
        return replace(block, usable=usable)
    return block


def _as_float64(role: str, name: str, values: pl.Series) -> pl.Series:
    """Take a column as Float64 with NaN for null; PanelError when it is no column of numbers."""
    if not holds_numbers(values.dtype, or_booleans=role == "exposure"):
        raise PanelError.not_numeric(role, name, values.dtype)
    floats = values.cast(pl.Float64)
    # A query, which on small groups takes as long as the fit.
    return floats.fill_null(math.nan) if floats.has_nulls() else floats
