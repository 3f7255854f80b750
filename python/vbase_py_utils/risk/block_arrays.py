"""Blocks of rows as arrays, and how assets are found in them by number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vbase_py_utils.kernel.losses import FloatArray
from vbase_py_utils.kernel.specific_variance import Integers
from vbase_py_utils.keys import ASSET, PERIOD
from vbase_py_utils.risk.holdings import PORTFOLIO
from vbase_py_utils.risk.numbers import AssetNumbers

NOWHERE = -1


def one_hot(codes: Integers, size: int) -> FloatArray:
    """One for the category (size,) of each asset (n,); NaN for an asset without one."""
    exposures = np.zeros((size, len(codes)))
    there = codes >= 0
    exposures[codes[there], np.flatnonzero(there)] = 1.0
    exposures[:, ~there] = np.nan
    return exposures


@dataclass(frozen=True, slots=True)
class Rows:
    """Where n assets are among the rows of a block.

    ``index`` (n,) of rows, -1 for none; ``None`` if they are those from ``start`` on.
    """

    n: int
    start: int
    index: Integers | None

    @property
    def absent(self) -> Integers:
        """The assets that have no row."""
        if self.index is None:
            return np.empty(0, dtype=np.intp)
        return np.flatnonzero(self.index < 0)

    def take(self, column: NDArray[Any], missing: float) -> NDArray[Any]:
        """Give the values of the assets in a column of the block."""
        if self.index is None:
            return column[self.start : self.start + self.n]
        if not len(column):
            return np.full(self.n, missing)
        values = column[self.index]
        values[self.index < 0] = missing
        return values


@dataclass(frozen=True, slots=True)
class Columns:
    """A block as arrays: keys, numbers and codes; ``starts`` (T + 1,) where its periods begin."""

    rows: pl.DataFrame
    periods: pl.Series
    starts: Integers
    assets: Integers
    numbers: list[FloatArray]
    codes: list[Integers]

    @classmethod
    def of(
        cls, rows: pl.DataFrame, values: list[str], codes: list[str], numbers: AssetNumbers
    ) -> Columns:
        """Take columns of values and of codes; assets get ``numbers``."""
        runs = rows[PERIOD].rle().struct.unnest()
        starts = np.append(0, np.cumsum(runs["len"].to_numpy(), dtype=np.intp))
        return cls(
            rows,
            runs["value"],
            starts,
            numbers.of(rows[ASSET]),
            [rows[name].to_numpy() for name in values],
            [rows[name].to_numpy() for name in codes],
        )

    def slices(self, periods: pl.Series) -> list[slice]:
        """Give the rows of each of some periods, none for those that are not here."""
        ours = self.periods.alias(PERIOD).to_frame().with_row_index("at")
        wanted = periods.alias(PERIOD).to_frame()
        both = wanted.join(ours, on=PERIOD, how="left", maintain_order="left")
        return [
            slice(0, 0) if at is None else slice(int(self.starts[at]), int(self.starts[at + 1]))
            for at in both["at"]
        ]

    def rows_of(self, held: Integers, rows: slice, finder: Finder) -> Rows:
        """Find the assets that are held (n,) among rows of one period."""
        assets = self.assets[rows]
        if np.array_equal(assets, held):
            return Rows(len(held), rows.start, None)
        index = finder.places(assets, held)
        return Rows(len(held), rows.start, np.where(index < 0, NOWHERE, index + rows.start))


@dataclass(frozen=True, slots=True)
class Weighed:
    """Rows (m) of weights of one period: numbers of their assets, and the weights."""

    rows: pl.DataFrame
    assets: Integers
    weights: FloatArray

    @classmethod
    def of(cls, columns: Columns, rows: slice) -> Weighed:
        """Take some rows of a block."""
        return cls(columns.rows[rows], columns.assets[rows], columns.numbers[0][rows])


@dataclass(frozen=True, slots=True)
class Owners:
    """Which portfolio each row belongs to, numbered through all periods.

    ``owner`` (N,) and ``portfolios``, a label for each number; both ``None`` if there is only one.
    """

    owner: Integers | None
    portfolios: pl.Series | None

    @classmethod
    def of(cls, weights: pl.DataFrame) -> Owners:
        """Count the portfolios of a block, which is sorted by period and portfolio."""
        if PORTFOLIO not in weights.columns:
            return cls(None, None)
        keys = pl.col(PERIOD, PORTFOLIO)
        first = weights.select(pl.any_horizontal(keys != keys.shift(1)).fill_null(value=True))
        begins = first.to_series()
        return cls(
            begins.cast(pl.Int64).cum_sum().to_numpy() - 1, weights[PORTFOLIO].filter(begins)
        )

    def of_rows(self, rows: slice) -> tuple[Integers | int, pl.Series | None]:
        """Give the owner of each row of a period, from 0, and the labels of the owners."""
        if self.owner is None or self.portfolios is None:
            return 0, None
        owner = self.owner[rows]
        return owner - owner[0], self.portfolios[int(owner[0]) : int(owner[-1]) + 1]


class Room:
    """Memory for an array of every period: fresh megabytes cost as much as what is done in them."""

    def __init__(self) -> None:
        self.numbers = np.empty(0)

    def array(self, k: int, n: int) -> FloatArray:
        """Give an array (k, n) of anything; the one before is lost."""
        if self.numbers.size < k * n:
            self.numbers = np.empty(k * n)
        return self.numbers[: k * n].reshape(k, n)


class Finder:
    """Finds numbers of assets in arrays of them, in room that is used again and again."""

    def __init__(self, n_assets: int) -> None:
        self.at = np.full(n_assets, NOWHERE, dtype=np.intp)

    def distinct(self, one: Integers, other: Integers) -> Integers:
        """Give the distinct assets of both, in the order in which they occur.

        Numbers depend on other periods, which must not change the order of sums.
        """
        both = np.concatenate([one, other])
        places = np.arange(len(both))
        # The place that is written last stays: the first.
        self.at[both[::-1]] = places[::-1]
        found: Integers = both[self.at[both] == places]
        self.at[found] = NOWHERE
        return found

    def places(self, among: Integers, wanted: Integers) -> Integers:
        """Give the place of each asset ``among`` others that are distinct, -1 for none."""
        self.at[among] = np.arange(len(among))
        places = self.at[wanted]
        self.at[among] = NOWHERE
        return places
