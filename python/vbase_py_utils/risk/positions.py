"""Positions beside what is known of their assets, period by period, as arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vbase_py_utils.analyse.reading import AnyFrame
from vbase_py_utils.errors import PanelError
from vbase_py_utils.fit.one_pass import aligned
from vbase_py_utils.fit.results import Estimated
from vbase_py_utils.kernel.losses import FloatArray
from vbase_py_utils.kernel.specific_variance import Integers
from vbase_py_utils.keys import ASSET, PERIOD, check_values
from vbase_py_utils.panel import TEXT_TYPES, as_frame, holds_numbers
from vbase_py_utils.risk.holdings import PORTFOLIO, WEIGHT, KeyNames, Weights, sorted_blocks
from vbase_py_utils.risk.numbers import AssetNumbers, check_repeats

NOWHERE = -1


@dataclass(frozen=True, slots=True)
class Held:
    """What portfolios hold in a period, and what is known of it.

    Attributes
    ----------
    period, portfolios
        Labels (1,) and (p,); no portfolios without a column of them.
    key
        The period as ``keys_of`` gives it.
    weights
        (p, n) of all assets that somebody holds.
    benchmark
        (n,) weights of the benchmark; ``None`` without one.
    positions
        (p, n) whether the asset is in the portfolio or in the benchmark.
    exposures
        (k, n), NaN where missing. The next period takes their room.
    values
        (v, n) of the other columns that are asked for, NaN where missing.
    numbers, labels
        (n,) numbers of the assets, and the label of every number.
    """

    period: pl.Series
    key: object
    portfolios: pl.Series | None
    weights: FloatArray
    benchmark: FloatArray | None
    positions: NDArray[np.bool_]
    exposures: FloatArray
    values: FloatArray
    numbers: Integers
    labels: pl.Series


@dataclass(frozen=True, slots=True)
class AssetFrame:
    """A frame with a row per period and asset, whose blocks have PERIOD, ASSET, and its values.

    Attributes
    ----------
    frame
        The frame or query.
    inner
        Inner names of the columns, and the user's.
    names
        The user's names of the keys.
    numbers
        Inner names of columns of numbers.
    families
        Inner names of columns of categories, and all that there are.
    """

    frame: pl.DataFrame | pl.LazyFrame
    inner: dict[str, str]
    names: KeyNames
    numbers: list[str]
    families: dict[str, tuple[str, ...]]

    @classmethod
    def of_panel(
        cls, panel: AnyFrame, estimated: Estimated, names: KeyNames, returns: Sequence[str] = ()
    ) -> AssetFrame:
        """Read the exposures of a panel, and columns of returns."""
        columns = [f.column for f in estimated.families]
        wanted = dict.fromkeys((*names.keys.values(), *estimated.exposures, *columns, *returns))
        frame = as_frame(panel, list(wanted))
        schema = frame.collect_schema()
        names.check_types("the panel", schema, PERIOD, ASSET)
        roles = (("exposure", estimated.exposures), ("category", columns), ("returns", returns))
        for role, some in roles:
            absent = [name for name in some if name not in schema]
            if absent:
                raise PanelError.missing_columns(role, absent, schema.names())
        for role, some in (roles[0], roles[2]):
            for name in some:
                if not holds_numbers(schema[name], or_booleans=role == "exposure"):
                    raise PanelError.not_numeric(role, name, schema[name])
        for name in columns:
            if not (schema[name] in TEXT_TYPES or isinstance(schema[name], pl.Enum)):
                raise PanelError.no_categories(name, schema[name], text=False)
        given = [*estimated.exposures, *returns]
        numbers = {f"x{i}": name for i, name in enumerate(given)}
        codes = {f"c{i}": family for i, family in enumerate(estimated.families)}
        inner = names.keys | {inside: f.column for inside, f in codes.items()} | numbers
        families = {inside: family.categories for inside, family in codes.items()}
        return cls(frame, inner, names, list(numbers), families)

    @classmethod
    def of_risk(cls, specific_risk: AnyFrame, value: str, names: KeyNames) -> AssetFrame:
        """Read a column of values, such as specific risk."""
        frame = as_frame(specific_risk, [*names.keys.values(), value], value)
        schema = frame.collect_schema()
        names.check_types(value, schema, PERIOD, ASSET)
        if value not in schema:
            raise PanelError.missing_columns("", [value], schema.names(), value)
        if not holds_numbers(schema[value]):
            raise PanelError.not_numeric("value", value, schema[value])
        return cls(frame, names.keys | {"x0": value}, names, ["x0"], {})

    @property
    def schema(self) -> pl.Schema:
        """Names and types of the blocks."""
        given = self.frame.collect_schema()
        own = pl.Schema({inside: given[name] for inside, name in self.inner.items()})
        return self._prepared(own.to_frame().lazy()).collect_schema()

    def blocks(self, *, in_order: bool) -> Iterator[pl.DataFrame]:
        """Give blocks of whole periods, sorted by period.

        Numbers are Float64, NaN for null; categories are their positions, -1 for null or unknown.
        """
        blocks = sorted_blocks(self.frame, self.inner, in_order=in_order, check=self._check_keys)
        return (self._prepared(block.lazy()).collect(engine="in-memory") for block in blocks)

    def _prepared(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        return rows.with_columns(
            pl.col(self.numbers).cast(pl.Float64).fill_null(np.nan),
            *(
                pl.col(name)
                .cast(pl.String)
                .cast(pl.Enum(categories), strict=False)
                .to_physical()
                .cast(pl.Int64)
                .fill_null(NOWHERE)
                for name, categories in self.families.items()
            ),
        )

    def _check_keys(self, rows: pl.DataFrame) -> None:
        if rows[PERIOD].has_nulls() or rows[ASSET].has_nulls():
            check_values(rows, self.names.period, self.names.asset, {}, partial=False)


def keys_of(labels: pl.Series) -> list[object]:
    """Give labels as Python objects by which equal ones are found."""
    return labels.to_physical().to_list()


class Positions:
    """The holdings of weights and a benchmark, beside a panel and other frames of assets."""

    def __init__(
        self,
        weights: Weights,
        benchmark: Weights | None,
        panel: AssetFrame,
        intercept: bool,
        n_exposures: int,
        others: Sequence[AssetFrame] = (),
    ) -> None:
        self.weights, self.benchmark = weights, benchmark
        self.intercept, self.n_exposures = intercept, n_exposures
        self.frames = [panel, *others]

    def held(self, *, in_order: bool) -> Iterator[Held]:
        """Give the holdings of every period of the weights, in the order of the periods."""
        tables: list[Weights | AssetFrame] = [self.weights, *self.frames]
        tables += [] if self.benchmark is None else [self.benchmark]
        sources = [(table.blocks(in_order=in_order), table.schema) for table in tables]
        numbers = AssetNumbers(self.weights.names.asset_type)
        for block in aligned(sources):
            weights, *frames = block
            bench = None if self.benchmark is None else frames.pop()
            if not weights.is_empty():
                yield from self._of_block(numbers, weights, frames, bench)

    def _of_block(
        self,
        numbers: AssetNumbers,
        weights: pl.DataFrame,
        frames: list[pl.DataFrame],
        bench: pl.DataFrame | None,
    ) -> Iterator[Held]:
        """Give the holdings of a block of whole periods."""
        own = _Columns.of(weights, [WEIGHT], [], numbers)
        panels = [
            _Columns.of(rows, frame.numbers, list(frame.families), numbers)
            for frame, rows in zip(self.frames, frames, strict=True)
        ]
        benchmark = None if bench is None else _Columns.of(bench, [WEIGHT], [], numbers)
        for frame, columns in zip(self.frames, panels, strict=True):
            keys = frame.names.keys
            check_repeats(columns.rows, columns.assets, columns.starts, keys, partial=True)
        labels, owners = numbers.labels, _Owners.of(weights)
        finder, periods, room = _Finder(len(labels)), keys_of(own.periods), _Room()
        slices = [columns.slices(own.periods) for columns in panels]
        of_bench = [] if benchmark is None else benchmark.slices(own.periods)
        for t, key in enumerate(periods):
            rows = slice(int(own.starts[t]), int(own.starts[t + 1]))
            mine, theirs = _Weighed.of(own, rows), _Weighed.of(own, slice(0, 0))
            if benchmark is not None:
                theirs = _Weighed.of(benchmark, of_bench[t])
            held = finder.distinct(mine.assets, theirs.assets)
            owner, portfolios = owners.of_rows(rows)
            matrix, positions = self._matrix(self.weights, mine, owner, finder, held)
            bench_weights = None
            if self.benchmark is not None:
                row, there = self._matrix(self.benchmark, theirs, 0, finder, held)
                bench_weights, positions = row[0], positions | there
            found = [
                c.rows_of(held, some[t], finder) for c, some in zip(panels, slices, strict=True)
            ]
            arrays = self._arrays(panels, found, room)
            label = own.periods.slice(t, 1)
            weighed = matrix, bench_weights, positions
            yield Held(label, key, portfolios, *weighed, *arrays, held, labels)

    @staticmethod
    def _matrix(
        table: Weights, given: _Weighed, owner: Integers | int, finder: _Finder, held: Integers
    ) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Give the weights (p, n) of portfolios that own positions, and whether there is one."""
        size = (1 + int(np.max(owner, initial=0)), len(held))
        place = finder.places(held, given.assets)
        matrix, positions = np.zeros(size), np.zeros(size, dtype=bool)
        matrix[owner, place], positions[owner, place] = given.weights, True
        if np.count_nonzero(positions) != len(place):
            table.raise_repeats(given.rows)
        return matrix, positions

    def _arrays(
        self, panels: list[_Columns], found: list[_Rows], room: _Room
    ) -> tuple[FloatArray, FloatArray]:
        """Give exposures (k, n) and other values (v, n) of the held assets."""
        panel, rows = panels[0], found[0]
        first, sizes = int(self.intercept), list(map(len, self.frames[0].families.values()))
        exposures = room.array(first + self.n_exposures + sum(sizes), rows.n)
        if self.intercept:
            exposures[0] = 1.0
        for j in range(self.n_exposures):
            exposures[first + j] = rows.take(panel.numbers[j], np.nan)
        at = first + self.n_exposures
        for codes, size in zip(panel.codes, sizes, strict=True):
            exposures[at : at + size] = _one_hot(rows.take(codes, NOWHERE), size)
            at += size
        exposures[:, rows.absent] = np.nan
        values = [rows.take(column, np.nan) for column in panel.numbers[self.n_exposures :]]
        for columns, own in zip(panels[1:], found[1:], strict=True):
            values += [own.take(column, np.nan) for column in columns.numbers]
        return exposures, np.array(values).reshape(len(values), rows.n)


def _one_hot(codes: Integers, size: int) -> FloatArray:
    """One for the category (size,) of each asset (n,); NaN for an asset without one."""
    exposures = np.zeros((size, len(codes)))
    there = codes >= 0
    exposures[codes[there], np.flatnonzero(there)] = 1.0
    exposures[:, ~there] = np.nan
    return exposures


@dataclass(frozen=True, slots=True)
class _Rows:
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
class _Columns:
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
    ) -> _Columns:
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

    def rows_of(self, held: Integers, rows: slice, finder: _Finder) -> _Rows:
        """Find the assets that are held (n,) among rows of one period."""
        assets = self.assets[rows]
        if np.array_equal(assets, held):
            return _Rows(len(held), rows.start, None)
        index = finder.places(assets, held)
        return _Rows(len(held), rows.start, np.where(index < 0, NOWHERE, index + rows.start))


@dataclass(frozen=True, slots=True)
class _Weighed:
    """Rows (m) of weights of one period: numbers of their assets, and the weights."""

    rows: pl.DataFrame
    assets: Integers
    weights: FloatArray

    @classmethod
    def of(cls, columns: _Columns, rows: slice) -> _Weighed:
        """Take some rows of a block."""
        return cls(columns.rows[rows], columns.assets[rows], columns.numbers[0][rows])


@dataclass(frozen=True, slots=True)
class _Owners:
    """Which portfolio each row belongs to, numbered through all periods.

    ``owner`` (N,) and ``portfolios``, a label for each number; both ``None`` if there is only one.
    """

    owner: Integers | None
    portfolios: pl.Series | None

    @classmethod
    def of(cls, weights: pl.DataFrame) -> _Owners:
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


class _Room:
    """Memory for an array of every period: fresh megabytes cost as much as what is done in them."""

    def __init__(self) -> None:
        self.numbers = np.empty(0)

    def array(self, k: int, n: int) -> FloatArray:
        """Give an array (k, n) of anything; the one before is lost."""
        if self.numbers.size < k * n:
            self.numbers = np.empty(k * n)
        return self.numbers[: k * n].reshape(k, n)


class _Finder:
    """Finds numbers of assets in arrays of them, in room that is used again and again."""

    def __init__(self, n_assets: int) -> None:
        self.at = np.full(n_assets, NOWHERE, dtype=np.intp)

    def distinct(self, one: Integers, other: Integers) -> Integers:
        """Give the distinct assets of both, sorted by number."""
        self.at[one] = self.at[other] = 0
        found = np.flatnonzero(self.at == 0)
        self.at[found] = NOWHERE
        return found

    def places(self, among: Integers, wanted: Integers) -> Integers:
        """Give the place of each asset ``among`` others that are distinct, -1 for none."""
        self.at[among] = np.arange(len(among))
        places = self.at[wanted]
        self.at[among] = NOWHERE
        return places
