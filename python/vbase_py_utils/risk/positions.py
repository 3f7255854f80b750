"""Positions beside what is known of their assets, period by period, as arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vbase_py_utils.analyse.reading import AnyFrame
from vbase_py_utils.errors import PanelError
from vbase_py_utils.fit.one_pass import aligned
from vbase_py_utils.fit.results import Estimated
from vbase_py_utils.kernel.losses import FloatArray
from vbase_py_utils.kernel.specific_variance import Integers
from vbase_py_utils.keys import ASSET, PERIOD, check_values, label
from vbase_py_utils.panel import TEXT_TYPES, as_frame, holds_numbers
from vbase_py_utils.risk.block_arrays import (
    NOWHERE,
    Columns,
    Finder,
    Owners,
    Room,
    Rows,
    Weighed,
    one_hot,
)
from vbase_py_utils.risk.holdings import WEIGHT, KeyNames, Weights, sorted_blocks
from vbase_py_utils.risk.numbers import AssetNumbers, check_repeats
from vbase_py_utils.text import counted, one_line, quoted


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
    not_negative
        Inner names of columns whose numbers are zero or more.
    """

    frame: pl.DataFrame | pl.LazyFrame
    inner: dict[str, str]
    names: KeyNames
    numbers: list[str]
    families: dict[str, tuple[str, ...]]
    not_negative: tuple[str, ...] = ()

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
        return cls(frame, names.keys | {"x0": value}, names, ["x0"], {}, ("x0",))

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
        for block in sorted_blocks(self.frame, self.inner, in_order=in_order):
            self._check_keys(block)
            yield self._prepared(block.lazy()).collect(engine="in-memory")

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
        for name in self.not_negative:
            bad = rows.filter(pl.col(name) < 0)
            if not bad.is_empty():
                where = ", ".join(one_line(label(bad[role])) for role in (PERIOD, ASSET))
                raise PanelError(
                    f"column {quoted(self.inner[name])} is negative in "
                    f"{counted(bad.height, 'row')}, for example {bad[name][0]:.6g} at ({where}); "
                    "expected standard deviations"
                )


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
        own = Columns.of(weights, [WEIGHT], [], numbers)
        panels = [
            Columns.of(rows, frame.numbers, list(frame.families), numbers)
            for frame, rows in zip(self.frames, frames, strict=True)
        ]
        benchmark = None if bench is None else Columns.of(bench, [WEIGHT], [], numbers)
        for frame, columns in zip(self.frames, panels, strict=True):
            keys = frame.names.keys
            check_repeats(columns.rows, columns.assets, columns.starts, keys, partial=True)
        labels, owners = numbers.labels, Owners.of(weights)
        finder, periods, room = Finder(len(labels)), keys_of(own.periods), Room()
        slices = [columns.slices(own.periods) for columns in panels]
        of_bench = [] if benchmark is None else benchmark.slices(own.periods)
        for t, key in enumerate(periods):
            rows = slice(int(own.starts[t]), int(own.starts[t + 1]))
            mine, theirs = Weighed.of(own, rows), Weighed.of(own, slice(0, 0))
            if benchmark is not None:
                theirs = Weighed.of(benchmark, of_bench[t])
                if not len(theirs.assets):
                    self._raise_no_benchmark(own.periods.slice(t, 1))
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
            period = own.periods.slice(t, 1)
            weighed = matrix, bench_weights, positions
            yield Held(period, key, portfolios, *weighed, *arrays, held, labels)

    def _raise_no_benchmark(self, period: pl.Series) -> None:
        raise PanelError(
            f"benchmark has no rows at {one_line(label(period))}, a period of the weights; "
            "expected rows in every period: filter the weights to the periods of the benchmark"
        )

    @staticmethod
    def _matrix(
        table: Weights, given: Weighed, owner: Integers | int, finder: Finder, held: Integers
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
        self, panels: list[Columns], found: list[Rows], room: Room
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
            exposures[at : at + size] = one_hot(rows.take(codes, NOWHERE), size)
            at += size
        exposures[:, rows.absent] = np.nan
        values = [rows.take(column, np.nan) for column in panel.numbers[self.n_exposures :]]
        for columns, own in zip(panels[1:], found[1:], strict=True):
            values += [own.take(column, np.nan) for column in columns.numbers]
        return exposures, np.array(values).reshape(len(values), rows.n)
