"""From frames to arrays: the rows of a block, period by period, as the kernel takes them.

A row is usable if its return, exposures, categories and weight are there and its weight is above
zero. Other rows are left out of the fit here, and counted in ``fit/block``: missing values are not
an error.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vbase_py_utils.kernel.categories import Members
from vbase_py_utils.kernel.losses import FloatArray
from vbase_py_utils.keys import PERIOD
from vbase_py_utils.panel import RETURN, WEIGHT, PanelSpec


@dataclass(frozen=True, slots=True)
class BlockRows:
    """The rows of a block in the order of their periods, the order of the panel within each.

    ``rows`` as ``PanelSpec.select`` gives them. ``order`` (N,): the rows in that order, None
    if they stand in it. ``periods`` (T,): the keys, and ``starts`` (T + 1,) where they begin in
    that order. ``usable`` (N,): whether a row takes part in the fit, in that order; None if all do.
    """

    rows: pl.DataFrame
    spec: PanelSpec
    order: NDArray[np.intp] | None
    periods: pl.Series
    starts: NDArray[np.intp]
    usable: NDArray[np.bool_] | None

    @classmethod
    def of(cls, rows: pl.DataFrame, spec: PanelSpec) -> BlockRows:
        """Find order, periods and usable rows; copies no values."""
        keys, order = rows[PERIOD], None
        if not keys.is_sorted():
            ordered = rows.select(pl.arg_sort_by(PERIOD, maintain_order=True)).to_series()
            keys, order = keys.gather(ordered), ordered.to_numpy().astype(np.intp)
        starts = _starts(keys)
        usable = _usable(rows, spec)
        if usable is not None and order is not None:
            usable = usable[order]
        return cls(rows, spec, order, keys[starts[:-1]], starts, usable)

    @classmethod
    def in_place(cls, rows: pl.DataFrame, spec: PanelSpec, starts: NDArray[np.intp]) -> BlockRows:
        """Take rows without keys; period t, numbered from 0, begins at ``starts[t]``."""
        periods = pl.Series(np.arange(len(starts) - 1))
        return cls(rows, spec, None, periods, starts, _usable(rows, spec))

    @property
    def kept_starts(self) -> NDArray[np.intp]:
        """Where the periods begin among the usable rows (T + 1,)."""
        if self.usable is None:
            return self.starts
        return np.append(0, np.cumsum(self.usable))[self.starts]

    @property
    def kept(self) -> NDArray[np.intp] | None:
        """Which rows of the frame are usable, period by period; None if all are where they are."""
        if self.usable is None:
            return self.order
        return np.flatnonzero(self.usable) if self.order is None else self.order[self.usable]

    def arrays(self) -> tuple[list[FloatArray], FloatArray, FloatArray | None]:
        """Columns (N,) of X, y (N,) and w (N,) as they stand in the frame: views, not copies."""
        X = [np.ones(self.rows.height)] if self.spec.intercept else []
        X += [self.rows[name].to_numpy() for name in self.spec.inner_exposures]
        w = None if self.spec.weights is None else self.rows[WEIGHT].to_numpy()
        return X, self.rows[RETURN].to_numpy(), w

    def members(self) -> list[Members]:
        """Which category of each family the rows (N,) of the frame belong to."""
        spec, weighted = self.spec, iter(self.spec.inner_category_weights)
        return [
            Members(
                self.rows[name].to_numpy(),
                len(family.categories),
                None if family.weights is None else self.rows[next(weighted)].to_numpy(),
            )
            for name, family in zip(spec.inner_categories, spec.families, strict=True)
        ]

    def in_order(self, values: pl.Series) -> pl.Series:
        """Put a column of the frame (N,) into the order of the periods."""
        return values if self.order is None else values.gather(self.order)


def _starts(keys: pl.Series) -> NDArray[np.intp]:
    """Where the runs of equal keys, none of which is null, begin, and the number of keys."""
    others = max(0, len(keys) - 1)
    changes = np.flatnonzero((keys.tail(others) != keys.head(others)).to_numpy())
    ends = np.append(1 + changes, len(keys))
    return np.append(0, ends) if len(keys) else ends


def _usable(rows: pl.DataFrame, spec: PanelSpec) -> NDArray[np.bool_] | None:
    """Which rows are complete and have a weight above zero; None if all are."""
    names = [RETURN, *spec.inner_exposures, *spec.inner_category_weights]
    names += [] if spec.weights is None else [WEIGHT]
    usable = None
    for condition in _conditions(rows, names, spec):
        usable = condition if usable is None else usable & condition
    return usable


def _conditions(
    rows: pl.DataFrame, names: list[str], spec: PanelSpec
) -> Iterator[NDArray[np.bool_]]:
    """Whether each row meets a condition, for each condition that some row does not meet."""
    for name in names:
        # A finite sum shows that every number is finite. Where a sum of finite numbers overflows,
        # the condition is needless, and holds for all rows.
        if not math.isfinite(rows[name].sum()):
            yield np.isfinite(rows[name].to_numpy())
    for name in spec.inner_categories:
        if (rows[name] < 0).any():
            yield rows[name].to_numpy() >= 0
    if spec.weights is not None and (rows[WEIGHT] <= 0).any():
        yield rows[WEIGHT].to_numpy() > 0
