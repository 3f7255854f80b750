"""One pass over a panel that is sorted by period and need not fit in memory.

The only module that reads a query in batches and presents a generator as a lazy frame: Polars calls
both ways unstable.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl
from polars.io.plugins import register_io_source

from vbase_py_utils.fit.progress import counting
from vbase_py_utils.kernel.period_fits import Done
from vbase_py_utils.kernel.threads import map_ahead
from vbase_py_utils.keys import PERIOD, check_order
from vbase_py_utils.panel import PanelSpec, by_position
from vbase_py_utils.periods.order import check_time_order, may_be_disordered

# A block is cut when it holds this many numbers, 28 MB. Larger blocks are faster, since their
# periods are fitted in larger stacks, but every core holds one. It is read in PIECES, so that
# Polars' reader need not hold it a second time.
BLOCK_CELLS = 7 * 2**19
PIECES = 4
POLARS = str(Path(pl.__file__).parent)


def one_pass(
    panel: pl.LazyFrame,
    spec: PanelSpec,
    fit: Callable[[pl.DataFrame], pl.DataFrame],
    schema: pl.Schema,
    *,
    progress: bool = False,
) -> pl.LazyFrame:
    """Plan ``fit`` on blocks of whole periods of the panel, which is read once, as it comes.

    ``fit`` turns rows, as ``PanelSpec.select`` gives them, into a row per period in the columns of
    ``schema``. Filters on the period alone are pushed down into the panel's query, and a limit
    stops reading early. Rows that are not read are not checked. The query raises PanelError when a
    period comes after a later one.
    """

    def read(
        columns: list[str] | None,
        predicate: pl.Expr | None,
        n_rows: int | None,
        _batch_size: int | None,
    ) -> Iterator[pl.DataFrame]:
        conditions = []
        # With a limit, all rows before it count; periods 0.0 and -0.0 are one.
        if n_rows is None and not schema[PERIOD].is_float():
            conditions = [c for c in _conjuncts(predicate) if set(c.meta.root_names()) == {PERIOD}]
        with counting(progress=progress) as done:
            blocks = whole_periods(_batches(panel, spec, conditions), spec.period)
            fits = _counted(map_ahead(fit, blocks), done)
            yield from _asked_for(fits, columns, predicate, n_rows)

    # Pure: Polars may read once for several uses in a query.
    return register_io_source(read, schema=schema, is_pure=True)


def from_generator(blocks: Callable[[], Iterator[pl.DataFrame]], schema: pl.Schema) -> pl.LazyFrame:
    """Present blocks of rows as a lazy frame; filters apply to them, and a limit ends them."""

    def read(
        columns: list[str] | None,
        predicate: pl.Expr | None,
        n_rows: int | None,
        _batch_size: int | None,
    ) -> Iterator[pl.DataFrame]:
        yield from _asked_for(blocks(), columns, predicate, n_rows)

    return register_io_source(read, schema=schema, is_pure=True)


def _asked_for(
    blocks: Iterator[pl.DataFrame],
    columns: list[str] | None,
    predicate: pl.Expr | None,
    n_rows: int | None,
) -> Iterator[pl.DataFrame]:
    """Give what Polars asks of a source; a limit counts the rows before the predicate."""
    left = n_rows
    for block in blocks:
        answer = block if left is None else block.head(left)
        left = None if left is None else left - answer.height
        if predicate is not None:
            answer = answer.filter(predicate)
        yield answer if columns is None else answer.select(columns)
        if left == 0:
            return


def _counted(blocks: Iterator[pl.DataFrame], done: Done | None) -> Iterator[pl.DataFrame]:
    """Give the blocks, and their rows to ``done``."""
    for block in blocks:
        if done is not None:
            done(block.height)
        yield block


def _batches(
    panel: pl.LazyFrame, spec: PanelSpec, conditions: list[pl.Expr]
) -> Iterator[pl.DataFrame]:
    """Run the query of the panel and give its rows in batches, as ``PanelSpec.select`` does."""
    if conditions:
        yield from collected(spec.select(panel).filter(*conditions))
        return
    # A step that computes would hold dozens of batches in Polars' engine, so that comes after.
    for batch in collected(in_their_order(panel, spec.columns)):
        yield spec.select(batch.lazy()).collect(engine="in-memory")


def in_their_order(query: pl.LazyFrame, names: Iterable[str]) -> pl.LazyFrame:
    """Select columns, in the order of the query: to change it is a step that computes."""
    wanted = set(names)
    there = query.collect_schema().names()
    column = by_position(there)
    return query.select(column[name] for name in there if name in wanted)


def collected(query: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """Run a query and give its rows, in pieces of a block."""
    size = max(1, rows_of_block(len(query.collect_schema())) // PIECES)
    batches = iter(query.collect_batches(chunk_size=size, maintain_order=True, lazy=True))
    while True:
        try:
            batch = next(batches)
        except StopIteration as end:
            # A StopIteration that a function in the query let escape is an error, not the end.
            raised_in = traceback.extract_tb(end.__traceback__)[-1].filename
            if raised_in != __file__ and not raised_in.startswith(POLARS):
                raise RuntimeError("a query raised StopIteration") from end
            return
        yield batch


def collected_as(query: pl.LazyFrame, names: Mapping[str, str]) -> Iterator[pl.DataFrame]:
    """Run a query and give its rows in pieces, columns renamed: ``names`` maps new names to old.

    Renaming, like any step that computes, would hold dozens of batches in Polars' engine.
    """
    for batch in collected(in_their_order(query, names.values())):
        columns = {column.name: column for column in batch.get_columns()}
        yield pl.DataFrame([columns[name].alias(inside) for inside, name in names.items()])


def rows_of_block(n_columns: int) -> int:
    """Give the number of rows at which a block is cut."""
    return max(1, BLOCK_CELLS // n_columns)


def whole_periods(
    batches: Iterator[pl.DataFrame], column: str, width: int | None = None
) -> Iterator[pl.DataFrame]:
    """Put batches together to blocks of whole periods, checking their order.

    ``column``: what messages call the period. ``width``: of how many columns a block is, with what
    is made of it, if that is more than it has.
    """
    held: list[pl.DataFrame] = []
    n_held = n_open = 0  # rows held, and those of the last period among them
    last: pl.Series | None = None
    times = _Times(column)
    for batch in batches:
        if batch.is_empty():
            continue
        keys = batch[PERIOD]
        runs = keys.rle().struct.unnest()
        periods = runs["value"] if last is None else pl.concat([last, runs["value"]])
        times.add(runs["value"])
        check_order(periods, column, partial=True)
        goes_on = last is not None and len(runs) == 1 and periods.n_unique() == 1
        n_open = runs["len"][-1] + (n_open if goes_on else 0)
        last = keys.tail(1)
        held.append(batch)
        n_held += batch.height
        if n_held >= rows_of_block(width or batch.width) and n_held > n_open:
            together = pl.concat(held, rechunk=True)
            block = [together.head(n_held - n_open)]
            # The rest is a copy, and the block has no name: its memory is free once it is fitted.
            rest = pl.int_range(n_held - n_open, n_held)
            held, n_held = [together.select(pl.all().gather(rest))], n_open
            del together
            yield block.pop()
    times.check()
    if held:
        yield pl.concat(held, rechunk=True)


def aligned(
    sources: Sequence[tuple[Iterator[pl.DataFrame], pl.Schema]],
) -> Iterator[list[pl.DataFrame]]:
    """Cut blocks of whole periods, sorted in each source, so that they hold the same periods.

    Every source comes with its schema. Each answer has a frame per source, with all rows that the
    source has of the periods of the answer.
    """
    blocks = [(source for source in rows if not source.is_empty()) for rows, _ in sources]
    empty = [schema.to_frame() for _, schema in sources]
    held = [next(source, none) for source, none in zip(blocks, empty, strict=True)]
    while not all(block.is_empty() for block in held):
        ends = pl.concat([block[PERIOD].tail(1) for block in held])
        end = ends.sort().head(1)
        counts = [int((block[PERIOD] <= end).sum()) for block in held]
        yield [block.head(n) for block, n in zip(held, counts, strict=True)]
        for i, n in enumerate(counts):
            held[i] = held[i].slice(n)
            if held[i].is_empty():
                held[i] = next(blocks[i], empty[i])


class _Times:
    """Checks, as periods are read, that their order is that of time.

    Whether text sorts like time depends on all of it: the text read so far is checked whenever it
    has doubled, and at the end.
    """

    def __init__(self, column: str) -> None:
        self.column = column
        self.seen: list[pl.Series] = []
        self.count, self.least = 0, 2

    def add(self, periods: pl.Series) -> None:
        """Take the periods of a batch; raises as ``check_time_order``."""
        if not may_be_disordered(periods.dtype):
            return
        self.seen.append(periods)
        self.count += len(periods)
        if self.count >= self.least:
            self.check()
            self.least = 2 * self.count

    def check(self) -> None:
        """Check all periods that have been read."""
        if self.seen:
            self.seen = [pl.concat(self.seen)]
            check_time_order(self.seen[0], self.column, "sorted_by_period=True")


def _conjuncts(predicate: pl.Expr | None) -> Iterator[pl.Expr]:
    """Split a predicate into the conditions that "and" joins."""
    if predicate is None:
        return
    parts = predicate.meta.pop()
    if len(parts) == 2 and any((a & b).meta.eq(predicate) for a, b in (parts, parts[::-1])):
        for part in parts:
            yield from _conjuncts(part)
    else:
        yield predicate
