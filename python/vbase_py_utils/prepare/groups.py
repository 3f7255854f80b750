"""Formulas on arrays, for all groups of a Polars expression in one call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vbase_py_utils.errors import PanelError
from vbase_py_utils.fit.expressions import IntoColumn, as_column, in_lists, role_of
from vbase_py_utils.kernel.losses import FloatArray
from vbase_py_utils.panel import holds_numbers

# Rows of whole groups that a formula takes at a time, a megabyte a column: what it works out on the
# way then stays in the cache.
TOGETHER = 2**17


Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Groups:
    """Where groups are among rows: group g has the rows from ``starts[g]`` to ``starts[g + 1]``.

    Sums, means and medians (G,) of values (N,) are NaN for a group without rows.
    """

    starts: NDArray[np.intp]

    @property
    def sizes(self) -> NDArray[np.intp]:
        """Rows of each group (G,)."""
        return np.diff(self.starts)

    def only(self, which: NDArray[np.bool_]) -> tuple[Groups, slice | NDArray[np.bool_]]:
        """Keep the rows ``which`` (N,): their groups, and what selects them; a slice if all are."""
        if which.all():
            return self, slice(None)
        return Groups(np.append(0, np.cumsum(which))[self.starts]), which

    def spread(self, values: NDArray[Number]) -> NDArray[Number]:
        """Give every row (N,) the value of its group (G,)."""
        return np.repeat(values, self.sizes)

    def _reduced(self, function: np.ufunc, values: FloatArray) -> FloatArray:
        held = self.sizes > 0
        reduced = np.full(len(held), np.nan)
        if held.any():
            reduced[held] = function.reduceat(values, self.starts[:-1][held])
        return reduced

    def sums(self, values: FloatArray) -> FloatArray:
        """Sum of each group."""
        return self._reduced(np.add, values)

    def means(self, values: FloatArray) -> FloatArray:
        """Mean of each group."""
        return self.sums(values) / self.sizes

    def least(self, values: FloatArray) -> FloatArray:
        """Least value of each group."""
        return self._reduced(np.minimum, values)

    def greatest(self, values: FloatArray) -> FloatArray:
        """Greatest value of each group."""
        return self._reduced(np.maximum, values)

    def medians(self, values: FloatArray) -> FloatArray:
        """Median of each group; no value may be NaN."""
        return self.lists(values).list.median().fill_null(np.nan).to_numpy()

    def ranks(self, values: FloatArray) -> FloatArray:
        """Rank (N,) of each value in its group, from 1, ties averaged; no value may be NaN."""
        ranks = self.lists(values).list.eval(pl.element().rank("average"))
        return ranks.explode(empty_as_null=False, keep_nulls=False).to_numpy()

    def lists(self, values: FloatArray, name: str = "") -> pl.Series:
        """Lay out values as a list for each group, null for NaN."""
        return in_lists(name, pl.Series(values, nan_to_null=True), self.starts)

    def runs(self, most: int) -> Iterator[tuple[slice, Groups]]:
        """Cut into runs of whole groups of about ``most`` rows."""
        cuts = np.flatnonzero(np.diff(self.starts[:-1] // most)) + 1
        for part in np.split(np.arange(len(self.starts) - 1), cuts):
            if len(part):
                starts = self.starts[part[0] : part[-1] + 2]
                yield slice(starts[0], starts[-1]), Groups(starts - starts[0])


# A function of Groups and of columns (N,) of their rows, NaN where missing, that gives a column.
Formula: TypeAlias = Callable[..., FloatArray]


def of_groups(
    formula: Formula, columns: Mapping[str, IntoColumn], together: int = TOGETHER
) -> pl.Expr:
    """Express a formula of numeric columns, given with the names of their arguments.

    A group is one list, so that the formula gets those of a whole frame at once, ``together`` rows
    at a time. NaN in its answer becomes null.
    """
    lists = [as_column(argument, column).implode() for argument, column in columns.items()]
    roles = [role_of(argument) for argument in columns]
    call = partial(_call, formula=formula, roles=roles, together=together)
    answer = pl.map_batches(lists, call, return_dtype=pl.List(pl.Float64), is_elementwise=True)
    return answer.explode(empty_as_null=False, keep_nulls=False)


def _call(lists: list[pl.Series], formula: Formula, roles: list[str], together: int) -> pl.Series:
    """Apply a formula to lists, one for each group, of each column."""
    groups = Groups(np.append(0, np.cumsum(lists[0].list.len().to_numpy(), dtype=np.intp)))
    columns = [_column_of(groups, lists[0], *pair) for pair in zip(lists, roles, strict=True)]
    answer = np.empty(groups.starts[-1])
    with np.errstate(all="ignore"):
        for rows, some in groups.runs(together):
            answer[rows] = _finite(formula(some, *(_finite(values[rows]) for values in columns)))
    return groups.lists(answer, lists[0].name)


def _finite(values: FloatArray) -> FloatArray:
    """Put NaN for infinite values."""
    infinite = np.isinf(values)
    return np.where(infinite, np.nan, values) if infinite.any() else values


def _column_of(groups: Groups, first: pl.Series, lists: pl.Series, role: str) -> FloatArray:
    """Give the values of a column row by row, as many in each group as the ``first`` has.

    A number instead of a column counts for all rows, whether it is one or one for each group.
    """
    values, sizes = _numbers(lists, role), lists.list.len().to_numpy()
    if np.array_equal(sizes, groups.sizes):
        return values
    if (sizes == 1).all():
        return groups.spread(np.broadcast_to(values, groups.sizes.shape))
    differs = int(np.argmax(sizes != groups.sizes))
    raise PanelError.unequal_lengths(
        lists.name,
        int(np.resize(sizes, len(groups.sizes))[differs]),
        first.name,
        int(groups.sizes[differs]),
    )


def _numbers(lists: pl.Series, role: str) -> FloatArray:
    """Give the values of all lists, NaN where missing; PanelError if they are not numeric."""
    values = lists.explode(empty_as_null=False, keep_nulls=False)
    if not holds_numbers(values.dtype, or_booleans=True):
        raise PanelError.not_numeric(role, lists.name, values.dtype)
    return values.cast(pl.Float64).fill_null(np.nan).to_numpy()
