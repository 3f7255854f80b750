"""Read frames of risk: covariances as blocks, and returns beside their risk in order of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from vbase_py_utils.analyse.reading import AnyFrame, floats, key_column
from vbase_py_utils.errors import PanelError
from vbase_py_utils.fit.schema import FACTOR
from vbase_py_utils.kernel.losses import FloatArray
from vbase_py_utils.keys import PERIOD, check_key_type, label, missing_keys
from vbase_py_utils.panel import TEXT_TYPES, as_frame, holds_numbers
from vbase_py_utils.periods.order import check_time_order
from vbase_py_utils.risk.bias import Pairs, read_pairs
from vbase_py_utils.risk.options import as_labels, check_there
from vbase_py_utils.text import counted, one_line, quoted, type_name

ARGUMENT = "covariance"
# Largest difference of the two numbers of a pair of factors, in units of their volatilities.
TOLERANCE = 1e-8
POSITION = "position"


@dataclass(frozen=True, slots=True)
class Covariances:
    """Covariances of factors, period by period.

    Attributes
    ----------
    periods
        (T,) the periods, sorted, each once.
    factors
        (K,) names, in the order of the columns.
    blocks
        (T, K, K) symmetric, with no variance below zero; NaN where unknown.
    """

    periods: pl.Series
    factors: tuple[str, ...]
    blocks: FloatArray


def read_covariances(covariance: AnyFrame, argument: str = ARGUMENT) -> Covariances:
    """Collect a frame like that of ``factor_covariance``, rows in any order.

    The period is the column called "period", else the first besides "factor". Raises PanelError if
    a column is missing or of a wrong type, or a period is not a symmetric block of all factors.
    ``argument``: what messages call the frame.
    """
    return _blocks(_read(covariance, argument))


def read_covariance(covariance: AnyFrame, at: object = None) -> Covariances:
    """Collect one period of such a frame, ``None`` the last; only a frame without rows has none.

    Blocks of other periods are not checked. Raises as ``read_covariances``, and PanelError if
    ``at`` is not a period of the frame; without ``at``, if the periods are text that does not sort
    in the order of time.
    """
    table = _read(covariance)
    periods = table.rows[PERIOD]
    if at is None:
        check_time_order(periods, table.column, "the last period")
        wanted = periods.unique().sort().tail(1)
    else:
        wanted = as_labels("at", [at], table.column, periods.dtype)
        check_there("at", wanted, periods, table.column)
    rows = table.rows.filter(periods.is_in(wanted.implode()))
    return _blocks(_Table(rows, table.column, table.factors))


@dataclass(frozen=True, slots=True)
class _Table:
    """A frame of covariances: PERIOD, FACTOR as text, and c0, c1, ... of its factors.

    ``column``: what messages call the period.
    """

    rows: pl.DataFrame
    column: str
    factors: tuple[str, ...]


def _read(covariance: AnyFrame, argument: str = ARGUMENT) -> _Table:
    """Check the columns and the keys."""
    frame = as_frame(covariance, list, argument, others="need").lazy().collect()
    names = frame.columns
    column = key_column(PERIOD, None, _not_factors(frame) or [PERIOD], 0)
    for role, name in ((PERIOD, column), (FACTOR, FACTOR)):
        if name not in names:
            raise PanelError.missing_columns(role, [name], names, argument)
    parts = {part.name: part for part in frame.get_columns()}
    periods, owners = parts.pop(column), parts.pop(FACTOR)
    check_key_type("period", column, periods.dtype)
    if not (owners.dtype in TEXT_TYPES or isinstance(owners.dtype, pl.Enum)):
        raise PanelError(
            f"factor column 'factor' is {type_name(owners.dtype)}, expected text or an Enum: cast "
            "it first"
        )
    owners = owners.cast(pl.String)
    for name, part in parts.items():
        if not holds_numbers(part.dtype):
            raise PanelError.not_numeric("factor", name, part.dtype)
    if not parts:
        raise PanelError(f"{argument} has no column of a factor, expected one for each")
    # Under names of our own: Polars would read a name such as "^x$" as a pattern.
    columns = [part.alias(f"c{i}") for i, part in enumerate(parts.values())]
    rows = pl.DataFrame([periods.alias(PERIOD), owners.alias(FACTOR), *columns])
    _check_keys(rows, column)
    return _Table(rows, column, tuple(parts))


def _not_factors(frame: pl.DataFrame) -> list[str]:
    """Give the columns that no row is named after: the period, if all is well."""
    known = {FACTOR}
    if FACTOR in frame.columns and frame[FACTOR].dtype in (*TEXT_TYPES, pl.Enum):
        known |= set(frame[FACTOR].unique())
    return [name for name in frame.columns if name not in known]


def _check_keys(rows: pl.DataFrame, column: str) -> None:
    """Raise PanelError for keys that are missing or repeat."""
    for role, name, other in ((PERIOD, column, FACTOR), (FACTOR, FACTOR, PERIOD)):
        absent = rows.filter(missing_keys(rows[role]))
        if not absent.is_empty():
            shown = column if other == PERIOD else FACTOR
            example = f"{one_line(shown)} is {one_line(label(absent[other]))}"
            raise PanelError.missing_keys(role, name, absent.height, example)
    repeats = rows.filter(rows.select(PERIOD, FACTOR).is_duplicated())
    if not repeats.is_empty():
        example = f"{one_line(label(repeats[PERIOD]))}, {one_line(repeats[FACTOR][0])}"
        raise PanelError.repeated_keys([column, FACTOR], repeats.height, example)


def _blocks(table: _Table) -> Covariances:
    """Check that every period is a symmetric block, and put the blocks into an array."""
    k = len(table.factors)
    places = pl.DataFrame({FACTOR: table.factors}).with_row_index(POSITION)
    rows = table.rows.join(places, on=FACTOR, how="left", maintain_order="left")
    unknown = rows.filter(pl.col(POSITION).is_null())
    if not unknown.is_empty():
        example = f"{quoted(unknown[FACTOR][0])} at {one_line(label(unknown[PERIOD]))}"
        raise PanelError(
            f"factor column 'factor' names a factor that has no column in "
            f"{counted(unknown.height, 'row')}, for example {example}; expected a row and a column "
            "for each factor"
        )
    rows = rows.sort(PERIOD, POSITION)
    short = rows.group_by(PERIOD, maintain_order=True).len().filter(pl.col("len") != k)
    if not short.is_empty():
        there = rows.filter(pl.col(PERIOD) == short[PERIOD][:1])[FACTOR].to_list()
        absent = next(name for name in table.factors if name not in there)
        raise PanelError(
            f"period column {quoted(table.column)} has {counted(short.height, 'period')} without a "
            f"row for every factor, for example {one_line(label(short[PERIOD]))} without "
            f"{quoted(absent)}; expected {counted(k, 'row')} per period, as many as columns"
        )
    values = np.column_stack([floats(rows[f"c{i}"]) for i in range(k)])
    periods = rows[PERIOD].gather_every(k)
    answer = Covariances(periods, table.factors, values.reshape(-1, k, k))
    _check_numbers(answer)
    return answer


def _check_numbers(given: Covariances) -> None:
    """Raise PanelError for a variance below zero, and for blocks that are not symmetric."""
    variances = np.diagonal(given.blocks, axis1=1, axis2=2)
    negative = np.argwhere(variances < 0)
    if len(negative):
        t, i = negative[0]
        raise PanelError(
            f"factor column {quoted(given.factors[i])} has the first of "
            f"{counted(len(negative), 'variance')} below zero, {variances[t, i]:.6g} at "
            f"{_period(given, t)}; expected variances >= 0"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        risk = np.sqrt(variances)
        other = given.blocks.swapaxes(1, 2)
        size = np.fmax(np.abs(given.blocks), np.abs(other))
        size = np.fmax(size, risk[:, :, None] * risk[:, None, :])
        odd = np.abs(given.blocks - other) > TOLERANCE * size
    odd |= np.isnan(given.blocks) != np.isnan(other)
    pairs = np.argwhere(np.triu(odd))
    if len(pairs):
        t, i, j = pairs[0]
        one, two = (_number(blocks[t, i, j]) for blocks in (other, given.blocks))
        raise PanelError(
            f"factor column {quoted(given.factors[i], 40)} has the first of "
            f"{counted(len(pairs), 'pair')} of factors whose two covariances differ, {one} and "
            f"{two} with {quoted(given.factors[j], 40)} at {_period(given, t)}; expected symmetric "
            "blocks"
        )


def _period(given: Covariances, t: int) -> str:
    return one_line(label(given.periods.slice(t, 1)))


def _number(value: float) -> str:
    return "null" if np.isnan(value) else f"{value:.10g}"


def read_groups(
    returns: AnyFrame | pl.Series | ArrayLike,
    risk: AnyFrame | pl.Series | ArrayLike,
    by: Sequence[str],
    use: str,
) -> list[tuple[str, pl.DataFrame]]:
    """Collect the pairs of ``read_pairs`` of each group, in the order of time, with its name.

    ``use``: what needs the order of time, for the message. Raises as ``bias_statistics``.
    """
    pairs = read_pairs(returns, risk, by)
    rows = _collected(pairs, use)
    groups = []
    for _, part in pairs.by_group(rows):
        keys = [label(part[f"g{i}"]) for i in range(pairs.n_groups)]
        groups.append((", ".join(keys), part))
    return groups


def read_single(
    returns: AnyFrame | pl.Series | ArrayLike, risk: AnyFrame | pl.Series | ArrayLike, use: str
) -> pl.DataFrame:
    """Collect the pairs of a single series; raises PanelError if a period has several."""
    pairs = read_pairs(returns, risk, [])
    ((_, rows),) = pairs.by_group(_collected(pairs, use))
    several = rows.filter(rows[PERIOD].is_duplicated())
    if not several.is_empty():
        raise PanelError(
            f"period column {quoted(pairs.period)} repeats a period in "
            f"{counted(several.height, 'row')}, for example {one_line(label(several[PERIOD]))}; "
            "expected one row per period: filter to one portfolio"
        )
    return rows


def _collected(pairs: Pairs, use: str) -> pl.DataFrame:
    rows = pairs.rows.lazy().collect()
    check_time_order(rows[PERIOD], pairs.period, use)
    return rows
