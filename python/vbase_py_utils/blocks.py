"""Between frames and arrays: the rows of a block, period by period, as the kernel wants them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vbase_py_utils.panel import ASSET, PERIOD, RETURN, WEIGHT, PanelSpec
from vbase_py_utils.robust import FloatArray


@dataclass(frozen=True, slots=True)
class BlockRows:
    """The rows of a block in the order of their periods, the order of the panel within each.

    ``rows`` as ``PanelSpec.select`` gives them. ``order`` (N,): the row that stands at a place,
    None if every row stands where it is. ``periods`` (T,): the keys, and ``starts`` (T + 1,) the
    places where they begin. ``usable`` (N,): whether the row at a place takes part in the fit, None
    if all do.
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
            places = rows.select(pl.arg_sort_by(PERIOD, maintain_order=True)).to_series()
            keys, order = keys.gather(places), places.to_numpy().astype(np.intp)
        runs = keys.rle().struct.unnest()
        starts = np.append(0, np.cumsum(runs["len"].to_numpy(), dtype=np.intp))
        usable = _usable(rows, spec)
        if usable is not None and order is not None:
            usable = usable[order]
        return cls(rows, spec, order, runs["value"], starts, usable)

    @property
    def kept_starts(self) -> NDArray[np.intp]:
        """Where the periods begin among the usable rows (T + 1,)."""
        if self.usable is None:
            return self.starts
        return np.append(0, np.cumsum(self.usable))[self.starts]

    def kept_arrays(self) -> tuple[list[FloatArray], FloatArray, FloatArray | None]:
        """Columns (N,) of X, y (N,) and w (N,), usable rows only; views where nothing moves."""
        places = self.order
        if self.usable is not None:
            places = np.flatnonzero(self.usable) if places is None else places[self.usable]
        w = None if self.spec.weights is None else self._values(WEIGHT, places)
        X = [self._values(name, places) for name in self.spec.inner_exposures]
        return X, self._values(RETURN, places), w

    def exposures(self) -> list[FloatArray]:
        """Get the columns (N,) of X with all rows."""
        return [self._values(name, self.order) for name in self.spec.inner_exposures]

    def returns(self) -> FloatArray:
        """Get the returns (N,) of all rows."""
        return self._values(RETURN, self.order)

    def assets(self) -> pl.Series:
        """Get the assets (N,) of all rows."""
        return self.rows[ASSET] if self.order is None else self.rows[ASSET].gather(self.order)

    def _values(self, name: str, places: NDArray[np.intp] | None) -> FloatArray:
        values = self.rows[name].to_numpy()
        return values if places is None else values.take(places)


def _usable(rows: pl.DataFrame, spec: PanelSpec) -> NDArray[np.bool_] | None:
    """Which rows are complete and have a weight above zero; None if all are."""
    names = [RETURN, *spec.inner_exposures, *([] if spec.weights is None else [WEIGHT])]
    # A sum tells at the cost of reading whether there is anything to look for.
    sums = rows.select(pl.col(names).sum()).row(0)
    if np.isfinite(sums).all() and (spec.weights is None or (rows[WEIGHT] > 0).all()):
        return None
    complete = pl.all_horizontal(pl.col(names).is_finite())
    positive = True if spec.weights is None else pl.col(WEIGHT) > 0
    usable: NDArray[np.bool_] = rows.select(complete & positive).to_series().to_numpy()
    return usable
