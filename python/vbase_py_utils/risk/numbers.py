"""Numbers of assets, with which arrays know them from period to period."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl

from vbase_py_utils.kernel.specific_variance import Integers
from vbase_py_utils.keys import ASSET, PERIOD, check_values

NUMBER = "number"
# How many times more places than rows a table of whole numbers may have.
SPARSE = 4
# NumPy has no such numbers.
WIDE = (pl.Int128, pl.UInt128)


class AssetNumbers:
    """Numbers of assets, from 0, in the order in which they first occur."""

    def __init__(self, dtype: pl.DataType) -> None:
        self.known = pl.DataFrame(schema={ASSET: dtype, NUMBER: pl.Int32()})
        self.latest: tuple[pl.Series, Integers] | None = None

    @property
    def labels(self) -> pl.Series:
        """The assets, by number."""
        return self.known[ASSET]

    def of(self, assets: pl.Series) -> Integers:
        """Give the numbers of assets; new ones get the next."""
        # Frames of the same assets in the same order are common.
        if self.latest is None or not assets.equals(self.latest[0]):
            self.latest = assets, self._numbers_of(assets)
        return self.latest[1]

    def _numbers_of(self, assets: pl.Series) -> Integers:
        if assets.dtype.is_integer() and len(assets):
            least, most = assets.min(), assets.max()
            if most - least <= SPARSE * len(assets) and assets.dtype not in WIDE:  # type: ignore[operator]
                return self._by_table(assets, assets.to_numpy())
        if assets.dtype != pl.String:
            return self._joined(assets, assets.unique(maintain_order=True))
        # Codes of text are twice as fast as a join.
        coded = assets.cast(pl.Categorical(pl.Categories.random()))
        distinct = coded.unique(maintain_order=True)
        text = distinct.cast(pl.String)
        numbers = np.empty(len(distinct), dtype=np.int32)
        numbers[distinct.to_physical().to_numpy()] = self._joined(text, text)
        answer: Integers = numbers[coded.to_physical().to_numpy()]
        return answer

    def _by_table(self, assets: pl.Series, values: Integers) -> Integers:
        """Find whole numbers that lie close together in a table of them."""
        # Numbers that wrap around have the right differences.
        places = values.astype(np.intp) - values.min().astype(np.intp)
        table = np.full(places.max() + 1, -1, dtype=np.intp)
        # The last value that is written stays: that of the first row.
        table[places[::-1]] = np.arange(len(places))[::-1]
        first = np.sort(table[table >= 0])
        distinct = assets.gather(first)
        table[places[first]] = self._joined(distinct, distinct)
        numbers: Integers = table[places]
        return numbers

    def _joined(self, assets: pl.Series, distinct: pl.Series) -> Integers:
        """Give the numbers of assets, of which these are all ``distinct``."""
        distinct = distinct.alias(ASSET)
        new = distinct.to_frame().join(self.known, on=ASSET, how="anti", maintain_order="left")
        first = self.known.height
        numbers = pl.int_range(first, first + new.height, dtype=pl.Int32, eager=True).alias(NUMBER)
        self.known = pl.concat([self.known, new.with_columns(numbers)])
        rows = assets.alias(ASSET).to_frame()
        return rows.join(self.known, on=ASSET, how="left", maintain_order="left")[NUMBER].to_numpy()


def check_repeats(
    rows: pl.DataFrame,
    assets: Integers,
    starts: Integers,
    names: dict[str, str],
    *,
    partial: bool,
) -> None:
    """Raise PanelError if an asset has two rows in a period of a block."""
    bad = False
    at = np.empty(int(assets.max(initial=-1)) + 1, dtype=np.int32)
    for start, end in pairwise(starts):
        own = assets[start:end]
        place = np.arange(end - start, dtype=np.int32)
        at[own] = place
        bad = bad or not np.array_equal(at[own], place)
    if bad:
        check_values(rows, names[PERIOD], names[ASSET], {}, partial=partial)
